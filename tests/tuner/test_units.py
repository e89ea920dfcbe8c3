"""Quantities with units: read from a study, written for people."""

import math
import re
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuner.units import (
    format_duration,
    format_measured,
    format_number,
    format_offered,
    format_rate,
    format_setting,
    format_value,
)
from workloads.units import (
    is_multiple,
    parse_duration,
    parse_energy,
    parse_fraction,
    parse_price,
    parse_rate,
    parse_rate_or_zero,
    parse_size,
)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("10 ms", 0.01),
        ("500us", 0.0005),
        ("500 µs", 0.0005),
        ("250 ns", 2.5e-7),
        ("2 s", 2.0),
        ("3.5 min", 210.0),
        ("1 h", 3600.0),
        ("0 us", 0.0),
        ("1e3 ms", 1.0),
        ("+1.5 s", 1.5),
        ("  7 ms  ", 0.007),
    ],
)
def test_reads_a_duration(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["100 us", "0.1 ms", "100000 ns", "0.0001 s"])
def test_spellings_of_one_duration_are_equal(text: str) -> None:
    assert parse_duration(text) == 0.0001


@pytest.mark.parametrize(
    "given", [10, 0, 0.5, None, True, "10", "ms", "10 m", "10 sec", "1,5 s", "10 ms 5 us", "", ".5 s"]
)
def test_a_duration_needs_a_number_and_a_unit(given: object) -> None:
    with pytest.raises(ValueError, match="expected a duration with a unit, like `10 ms` or `2 s`, but got"):
        parse_duration(given)


@pytest.mark.parametrize(
    ("parse", "text"),
    [
        (parse_duration, "1e400 s"),
        (parse_duration, "1e308 h"),
        (parse_rate, "1e400/s"),
        (parse_rate_or_zero, "1e309/min"),
        (parse_fraction, "1e400%"),
        (parse_size, "1e300 TiB"),
        (parse_energy, "1e400 J"),
        (parse_price, "$1e400/h"),
    ],
)
def test_a_quantity_is_finite(parse: Callable[[object], float], text: str) -> None:
    with pytest.raises(ValueError, match=rf"is too large for a number, which ends at 1\.8e308: '{re.escape(text)}'"):
        parse(text)


@pytest.mark.parametrize("text", ["87601 h", "1e300 s"])
def test_a_duration_has_an_end_that_the_clock_can_tell(text: str) -> None:
    with pytest.raises(ValueError, match=f"must not be longer than 10 years, but got '{text}'"):
        parse_duration(text)
    assert parse_duration("87600 h") == 10 * 365 * 24 * 3600


def test_a_duration_is_not_negative() -> None:
    with pytest.raises(ValueError, match="must not be negative, but got '-5 ms'"):
        parse_duration("-5 ms")


@pytest.mark.parametrize(("text", "rate"), [("200/s", 200.0), ("6000 / min", 100.0), ("7200/h", 2.0), ("0.5/s", 0.5)])
def test_reads_a_rate(text: str, rate: float) -> None:
    assert parse_rate(text) == pytest.approx(rate)


@pytest.mark.parametrize("given", [200, 0.5, "200", "200 rps", "200/ms", "/s", None])
def test_a_rate_needs_a_unit(given: object) -> None:
    with pytest.raises(ValueError, match="expected a rate with a unit, like `200/s`, but got"):
        parse_rate(given)


@pytest.mark.parametrize("text", ["0/s", "-5/s"])
def test_a_rate_is_positive(text: str) -> None:
    with pytest.raises(ValueError, match=f"a rate must be > 0, but got '{text}'"):
        parse_rate(text)


@pytest.mark.parametrize(("text", "fraction"), [("1%", 0.01), ("0.1 %", 0.001), ("0%", 0.0), ("100%", 1.0)])
def test_reads_a_percentage(text: str, fraction: float) -> None:
    assert parse_fraction(text) == fraction


@pytest.mark.parametrize("given", [0.01, 1, "0.01", "one %", "", None])
def test_a_bare_number_is_no_percentage(given: object) -> None:
    with pytest.raises(ValueError, match="expected a percentage, like `1%`, but got"):
        parse_fraction(given)


def test_a_percentage_is_not_negative() -> None:
    with pytest.raises(ValueError, match="must not be negative, but got '-1%'"):
        parse_fraction("-1%")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0 us"),
        (2.5e-7, "250 ns"),
        (0.0005, "500 us"),
        (0.01, "10 ms"),
        (0.0123456, "12.35 ms"),
        (1.0, "1 s"),
        (210.0, "210 s"),
        (10_000.0, "10000 s"),
        (math.inf, "∞"),
    ],
)
def test_writes_a_duration_in_the_unit_a_person_would_take(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


@given(st.integers(1, 9999), st.sampled_from(["ns", "us", "ms", "s"]))
def test_a_written_duration_is_read_as_the_same(number: int, unit: str) -> None:
    seconds = parse_duration(f"{number} {unit}")
    assert parse_duration(format_duration(seconds)) == seconds


@given(st.floats(1e-9, 1e6))
def test_every_written_duration_can_be_read_and_is_within_its_four_digits(seconds: float) -> None:
    assert parse_duration(format_duration(seconds)) == pytest.approx(seconds, rel=1e-3)


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [(0.005, "s", "5 ms"), (0, "s", "0 us"), (200.0, "/s", "200/s"), (8, "", "8"), ("int8", "", "int8")],
)
def test_writes_a_value_as_the_study_spells_it(value: object, unit: str, text: str) -> None:
    assert format_value(value, unit) == text


@pytest.mark.parametrize(
    ("rate", "text"),
    [
        (11_776.4, "11,776/s"),
        (100.0, "100/s"),
        (99.97, "100/s"),
        (23.46, "23.5/s"),
        (2.4, "2.4/s"),
        (1.6, "1.6/s"),
        (0.4, "0.4/s"),
        (3.0, "3/s"),
        (0.0, "0/s"),
    ],
)
def test_a_low_rate_keeps_its_decimals(rate: float, text: str) -> None:
    assert format_rate(rate) == text


@pytest.mark.parametrize(
    ("text", "size"),
    [("8 GiB", 8 * 2**30), ("500 MB", 500e6), ("4096 B", 4096), ("1.5KiB", 1536), ("2 kB", 2000), ("1 TiB", 2**40)],
)
def test_reads_a_size(text: str, size: float) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("given", [8, "8", "8 G", "8 gib", "8 KB", "GiB", None])
def test_a_size_needs_a_unit(given: object) -> None:
    with pytest.raises(ValueError, match="expected a size with a unit, like `8 GiB` or `500 MB`, but got"):
        parse_size(given)


@pytest.mark.parametrize(("text", "joules"), [("0.5 J", 0.5), ("20 mJ", 0.02), ("100uJ", 0.0001)])
def test_reads_an_energy(text: str, joules: float) -> None:
    assert parse_energy(text) == joules


@pytest.mark.parametrize("given", [0.5, "0.5", "2 W", "20 kJ", "J", None])
def test_an_energy_needs_a_unit(given: object) -> None:
    with pytest.raises(ValueError, match=r"expected an energy with a unit, like `0.5 J` or `20 mJ`, but got"):
        parse_energy(given)


@pytest.mark.parametrize("parse", [parse_size, parse_energy])
def test_sizes_and_energies_are_not_negative(parse: Callable[[object], float]) -> None:
    given = "-5 B" if parse is parse_size else "-5 J"
    with pytest.raises(ValueError, match=f"must not be negative, but got '{given}'"):
        parse(given)


@pytest.mark.parametrize(("text", "dollars"), [("$1.20/h", 1.2), ("$ 3 / h", 3.0), ("$0/h", 0.0)])
def test_reads_a_price(text: str, dollars: float) -> None:
    assert parse_price(text) == dollars


@pytest.mark.parametrize("given", ["1.20", "$1.20", "1.20/h", "$1.20/s", "$-1/h", 1.2, None])
def test_refuses_what_is_no_price_per_hour(given: object) -> None:
    with pytest.raises(ValueError, match=r"like `\$1.20/h`|must not be negative"):
        parse_price(given)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.97223, "0.9722"),
        (-12.5, "-12.5"),
        (9_999.4, "9,999"),
        (9_999.6, "10,000"),
        (12_345.0, "12,345"),
        (1.5e7, "15,000,000"),
        (math.inf, "∞"),
    ],
)
def test_a_large_number_has_all_its_digits(value: float, text: str) -> None:
    assert format_number(value) == text


@pytest.mark.parametrize(
    ("rate", "text"),
    [(2.5, "2.5/s"), (250.5, "250.5/s"), (12_345.0, "12,345/s"), (20_000.0, "20,000/s"), (1.5e6, "1,500,000/s")],
)
def test_an_offered_rate_has_the_digits_that_it_was_given(rate: float, text: str) -> None:
    assert format_offered(rate) == text
    assert parse_rate(format_value(rate, "/s")) == rate


@pytest.mark.parametrize(
    ("value", "unit", "as_in_a_study", "text"),
    [
        (2**30, "bytes", "1073741824", "1,024 MiB"),
        (1_000, "bytes", "1000", "1,000 B"),
        (0.0005, "s", "500 us", "500 us"),
        (True, "", "true", "true"),
        (False, "bytes", "false", "false"),
        ("fp32", "", "fp32", "fp32"),
        (16, "", "16", "16"),
    ],
)
def test_a_knobs_value_is_read_with_its_unit_and_written_as_a_study_has_it(
    value: object, unit: str, as_in_a_study: str, text: str
) -> None:
    assert format_value(value, unit) == as_in_a_study
    assert format_setting(value, unit) == text


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.00213, "s", "2.13 ms"),
        (11_776.0, "/s", "11,776/s"),
        (0.985, "share", "98.50%"),
        (math.inf, "share", "∞"),
        (math.nan, "share", "?"),
        (2.0**29, "bytes", "512.0 MiB"),
        (0.0042, "J", "4.2 mJ"),
        (1.204, "J", "1.20 J"),
        (1.25, "cores", "1.25 cores"),
        (33.0, "tokens", "33.0 tokens"),
        (12_345.0, "", "12,345"),
    ],
)
def test_what_was_measured_has_its_unit(value: float, unit: str, text: str) -> None:
    assert format_measured(value, unit) == text


@pytest.mark.parametrize(
    ("value", "grain", "whole"),
    [(0.0003, 1e-6, True), (0.1 + 0.2, 0.1, True), (0.0, 1e-6, True), (1.5e-6, 1e-6, False), (4e-7, 1e-6, False)],
)
def test_a_whole_multiple_is_one_however_its_decimals_are_stored(value: float, grain: float, whole: bool) -> None:
    assert is_multiple(value, grain) == whole
