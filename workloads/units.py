"""Quantities with units, as people write them in a study: `10 ms`, `400/s`, `1%`, `8 GiB`, `20 mJ`, `$1.20/h`."""

import math
import re

_NEARLY = 1e-3
_LONGEST_S = 10 * 365 * 24 * 3600.0
"""The longest duration: its nanoseconds, and those of sums of a few, fit into 64 bits with room for the clock's own."""
_DURATION_S = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0}
_RATE_PER_S = {"s": 1.0, "min": 1 / 60, "h": 1 / 3600}
_SIZE_BYTES = {"B": 1, **{f"{one}iB": 2 ** (10 * power) for power, one in enumerate("KMGT", 1)}}
_SIZE_BYTES |= {f"{one}B": 1000**power for power, one in enumerate("kMGT", 1)}
_ENERGY_J = {"uJ": 1e-6, "mJ": 1e-3, "J": 1.0}
_NUMBER = r"([-+]?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?)"
_DURATION = re.compile(rf"{_NUMBER}\s*(ns|us|µs|ms|s|min|h)")
_RATE = re.compile(rf"{_NUMBER}\s*/\s*(s|min|h)")
_SIZE = re.compile(rf"{_NUMBER}\s*([KMGT]iB|[kMGT]?B)")
_ENERGY = re.compile(rf"{_NUMBER}\s*(uJ|mJ|J)")
_PERCENT = re.compile(rf"{_NUMBER}\s*%")
_PRICE = re.compile(rf"\$\s*{_NUMBER}\s*/\s*h")


def parse_duration(value: object) -> float:
    """Return seconds from `10 ms`, `500 us`, `2 s`, `5 min`.

    Raises:
        ValueError: anything else, a number without a unit, a negative duration and one over 10 years included.
    """
    match = _DURATION.fullmatch(str(value).strip())
    if match is None:
        raise ValueError(f"expected a duration with a unit, like `10 ms` or `2 s`, but got {value!r}")
    duration_s = _non_negative(_rounded(float(match[1]) * _DURATION_S[match[2]]), value)
    if duration_s > _LONGEST_S:
        raise ValueError(f"must not be longer than 10 years, but got {value!r}")
    return duration_s


def parse_rate(value: object) -> float:
    """Return requests per second from `200/s` or `6000/min`.

    Raises:
        ValueError: anything else, zero and negative rates included.
    """
    rate = _rate(value)
    if rate <= 0:
        raise ValueError(f"a rate must be > 0, but got {value!r}")
    return rate


def parse_rate_or_zero(value: object) -> float:
    """Return requests per second from `200/s`, `6000/min` or `0/s`.

    Raises:
        ValueError: anything else, negative rates included.
    """
    return _non_negative(_rate(value), value)


def _rate(value: object) -> float:
    match = _RATE.fullmatch(str(value).strip())
    if match is None:
        raise ValueError(f"expected a rate with a unit, like `200/s`, but got {value!r}")
    return _finite(float(match[1]) * _RATE_PER_S[match[2]], value)


def parse_fraction(value: object) -> float:
    """Return 0.01 from `1%`.

    Raises:
        ValueError: anything else: a bare number could mean either.
    """
    match = _PERCENT.fullmatch(str(value).strip())
    if match is None:
        raise ValueError(f"expected a percentage, like `1%`, but got {value!r}")
    return _non_negative(_rounded(float(match[1]) / 100), value)


def parse_size(value: object) -> float:
    """Return bytes from `8 GiB`, `500 MB` or `4096 B`.

    Raises:
        ValueError: anything else, a number without a unit and a negative size included.
    """
    match = _SIZE.fullmatch(str(value).strip())
    if match is None:
        raise ValueError(f"expected a size with a unit, like `8 GiB` or `500 MB`, but got {value!r}")
    return _non_negative(float(match[1]) * _SIZE_BYTES[match[2]], value)


def parse_energy(value: object) -> float:
    """Return joules from `0.5 J` or `500 mJ`.

    Raises:
        ValueError: anything else, a number without a unit and a negative energy included.
    """
    match = _ENERGY.fullmatch(str(value).strip())
    if match is None:
        raise ValueError(f"expected an energy with a unit, like `0.5 J` or `20 mJ`, but got {value!r}")
    return _non_negative(_rounded(float(match[1]) * _ENERGY_J[match[2]]), value)


def parse_price(value: object) -> float:
    """Return dollars per hour from `$1.20/h`.

    Raises:
        ValueError: anything else, a bare number and a negative price included.
    """
    match = _PRICE.fullmatch(str(value).strip())
    if match is None:
        raise ValueError(f"expected a price in dollars per hour, like `$1.20/h`, but got {value!r}")
    return _non_negative(float(match[1]), value)


def _rounded(value: float) -> float:
    """Undo binary noise of the multiplication, so that `100 us` is 0.0001 and two spellings are equal."""
    return float(f"{value:.12g}")


def _non_negative(value: float, given: object) -> float:
    if value < 0:
        raise ValueError(f"must not be negative, but got {given!r}")
    return _finite(value, given)


def _finite(value: float, given: object) -> float:
    if not math.isfinite(value):
        raise ValueError(f"is too large for a number, which ends at 1.8e308: {given!r}")
    return value


def is_multiple(value: float, grain: float) -> bool:
    """Whether a number is a whole multiple of another one, to a thousandth of that: decimals are no exact floats."""
    return abs(value / grain - round(value / grain)) <= _NEARLY
