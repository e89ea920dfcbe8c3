"""The knee of a load curve: the load from which more of it costs more than it brings. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tuner.results import Estimate

FEWEST = 3
"""Levels that a curve needs to have a knee inside."""


@dataclass(frozen=True)
class Knee:
    """Where a load curve has its knee.

    Attributes:
        index: of the level with the most power.
        first: the lowest level that may be the knee under the measurement noise.
        last: the highest.
    """

    index: int
    first: int
    last: int


def knee(throughput: Sequence[Estimate], latency: Sequence[Estimate]) -> Knee | None:
    """Return the level of a load curve with the most power, throughput / latency.

    Kleinrock (Power and deterministic rules of thumb for probabilistic problems in computer communications, ICC 1979)
    calls the ratio of throughput to mean response time the power of a system, and its maximum the point to operate at:
    below it more load brings relatively more throughput than it costs latency, above it less. On the plane of the
    two it is where a line through the origin touches the curve. An M/M/1 queue has it at half of its capacity, which
    the tests check. It depends on no unit and needs no smoothing, but it is one of the levels that were measured.

    A level may be the knee under the measurement noise where its highest power (the high bound of its throughput over
    the low bound of its latency) reaches the largest of the lowest powers. Both intervals are taken at their ends
    together, so the range is wider than one of 95% confidence. Bounds that are missing reach without end.

    Args:
        throughput: per second, one for each level in ascending order of the load.
        latency: mean or median, in seconds; infinite where requests failed, which is no power at all.

    Returns:
        None with fewer than 3 levels, where no level has any power, or where the most is at the first or the last one:
        then the knee is not between the levels that were measured.

    Raises:
        ValueError: there are not as many latencies as throughputs.
    """
    if len(throughput) != len(latency):
        raise ValueError(f"a throughput for each latency, but got {len(throughput)} and {len(latency)}")
    power = np.array([_ratio(up.value, down.value) for up, down in zip(throughput, latency, strict=True)])
    if len(power) < FEWEST or not power.any():
        return None
    index = int(np.argmax(power))
    if index in (0, len(power) - 1):
        return None
    surely = max(_ratio(max(up.low, 0.0), down.high) for up, down in zip(throughput, latency, strict=True))
    most = np.array([_most(up, down) for up, down in zip(throughput, latency, strict=True)])
    able = np.flatnonzero(most >= min(surely, power[index]))
    return Knee(index, int(able[0]), int(able[-1]))


def _ratio(throughput: float, latency: float) -> float:
    return throughput / latency if 0 < latency < np.inf and np.isfinite(throughput) else 0.0


def _most(throughput: Estimate, latency: Estimate) -> float:
    """Return the highest power that the intervals allow; none where the latency itself is infinite."""
    if not np.isfinite(latency.value):
        return 0.0
    return throughput.high / latency.low if latency.low > 0 else np.inf
