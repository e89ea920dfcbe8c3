"""What a point shows: that its load can be sustained, that it cannot, that its trial is settled. Pure."""

from tuner.catalog import BOUNDED, THROUGHPUT_BOUND
from tuner.results import Point, overall


def sustained(point: Point) -> bool:
    """Whether a point shows that its load can be sustained: every bound is kept, and certainly so on latency.

    Bounds on errors, throughput and accuracy are mostly undecided in so short a time; there the measured value decides.
    """
    if not within(point):
        return False
    return all(verdict == "met" or name not in BOUNDED for name, verdict in point.verdicts.items())


def within(point: Point) -> bool:
    """Whether a valid point keeps every bound by its measured values."""
    return point.validity.valid and all(over <= 0 for over in point.violations.values())


def bearable(point: Point) -> bool:
    """Whether a load is not known to be too much: no bound is missed, by its value or for certain."""
    return within(point) and "missed" not in point.verdicts.values()


def starved(point: Point) -> bool:
    """Whether a valid point misses the bound on its throughput alone: more load may bring enough, less hardly does."""
    missed = {name for name, over in point.violations.items() if over > 0}
    missed |= {name for name, verdict in point.verdicts.items() if verdict == "missed"}
    return point.validity.valid and missed == {THROUGHPUT_BOUND}


def settled(point: Point) -> bool:
    """Whether a point leaves nothing to find out of its trial."""
    return point.ended == "dominated" or overall(point.verdicts.values()) == "missed"
