"""Quantities for people to read, in the spelling of a study file."""

import math


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
    return f"{seconds / scale:.4g} {unit}"


def format_rate(rate: float) -> str:
    """Return a measured rate: `11,776/s`, and with three digits below 100/s: `2.41/s`, `0.4/s`."""
    return f"{rate:.3g}/s" if abs(rate) < 100 else f"{rate:,.0f}/s"


def format_value(value: object, unit: str) -> str:
    """Return a knob's value as the study file would spell it."""
    if isinstance(value, int | float) and unit == "s":
        return format_duration(float(value))
    if isinstance(value, int | float) and unit == "/s":
        return f"{value:g}/s"
    return str(value)
