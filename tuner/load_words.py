"""Loads as people read them."""

from collections.abc import Mapping

from tuner.results import Load
from tuner.units import format_load


def load_in_words(one: Load) -> str:
    """Return `16 in flight`, `500/s offered` or `50 users`."""
    return format_load(one.mode, one.level)


def loads_in_words(loads: Mapping[str, Load]) -> str:
    """Return `16 in flight, web 500/s offered` of workloads, the primary one first, which is not named."""
    return ", ".join(f"{name} {load_in_words(one)}" if at else load_in_words(one)
                     for at, (name, one) in enumerate(loads.items()))  # fmt: skip
