"""Quantities for people to read; knobs and durations in the spelling of a study file."""

import math
from collections.abc import Callable, Mapping
from typing import TypeAlias

Shown: TypeAlias = Callable[[float], str]
"""How a kind of number is written."""


def format_number(value: float) -> str:
    """Return a number with four digits, and from 10,000 up with all before the point: `0.9722`, `123,456`."""
    return _digits(value, 4, ",") if math.isfinite(value) else "∞"


def format_duration(seconds: float) -> str:
    """Return seconds in the unit that a person would take: `500 us`, `10 ms`, `2 s`."""
    if not math.isfinite(seconds):
        return "∞"
    if seconds == 0:
        return "0 us"
    unit, scale = next(
        (unit, scale)
        for unit, scale in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6), ("ns", 1e-9))
        if seconds >= scale or unit == "ns"
    )
    return f"{_digits(seconds / scale, 4)} {unit}"


def format_rate(rate: float) -> str:
    """Return a measured rate: `11,776/s`, and with three digits below 100/s: `2.41/s`, `0.4/s`."""
    return f"{rate:.3g}/s" if abs(rate) < 100 else f"{rate:,.0f}/s"


def format_offered(rate: float) -> str:
    """Return a rate that was asked for, with the digits that it was given: `2.5/s`, `12,345/s`."""
    return f"{_digits(rate, 6, ',')}/s"


def format_load(mode: str, level: float) -> str:
    """Return a load level with what it is of: `16 in flight`, `500/s offered` or `50 users`."""
    match mode:
        case "closed":
            return f"{level:g} in flight"
        case "users":
            return f"{level:g} users"
    return f"{format_offered(level)} offered"


def format_share(fraction: float, digits: int = 2) -> str:
    """Return 98.50%; ∞ for a share without end, and `?` where there is none."""
    if math.isnan(fraction):
        return "?"
    return f"{fraction * 100:,.{digits}f}%" if math.isfinite(fraction) else "∞"


def format_energy(joules: float) -> str:
    """Return 4.21 mJ or 1.20 J; ∞ where nothing was answered or it was not told."""
    if not math.isfinite(joules):
        return "∞"
    return f"{joules:,.2f} J" if joules >= 0.9995 else f"{joules * 1e3:,.3g} mJ"


def format_size(size: float) -> str:
    """Return 512.0 MiB from bytes."""
    return f"{size / 2**20:,.1f} MiB" if math.isfinite(size) else "∞"


_UNITS: Mapping[str, Shown] = {
    "s": format_duration,
    "/s": format_rate,
    "share": format_share,
    "tokens": lambda value: f"{value:,.1f} tokens" if math.isfinite(value) else "∞",
    "bytes": format_size,
    "J": format_energy,
    "cores": lambda value: f"{value:,.2f} cores" if math.isfinite(value) else "∞",
}


def format_measured(value: float, unit: str) -> str:
    """Return what was measured, with its unit.

    Args:
        value: in the unit's base: seconds, per second, bytes, a share of 1.
        unit: as `tuner.catalog.Metric` has it; "" for a number without one.
    """
    return _UNITS.get(unit, format_number)(value)


def format_value(value: object, unit: str) -> str:
    """Return a knob's value as the study file would spell it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float) and unit == "s":
        return format_duration(float(value))
    if isinstance(value, int | float) and unit == "/s":
        return f"{_digits(value, 6)}/s"
    return str(value)


def format_setting(value: object, unit: str) -> str:
    """Return a knob's value as people read it: as `format_value` does, and bytes as `64 MiB`, `1.5 MiB` or `1,000 B`.

    A study file gives bytes as a whole number.
    """
    if unit != "bytes" or isinstance(value, bool) or not isinstance(value, int | float):
        return format_value(value, unit)
    return f"{value:,} B" if value < 2**20 else f"{_digits(value / 2**20, 6, ',')} MiB"


def _digits(value: float, digits: int, grouped: str = "") -> str:
    """Return a number with so many digits, and never with an exponent for a large one."""
    whole = abs(value) >= 10**digits - 0.5
    return format(value, f"{grouped}.0f" if whole else f"{grouped}.{digits}g")
