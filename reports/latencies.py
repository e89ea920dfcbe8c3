"""The latency distributions of the best configuration and the user's, from the files of their points' records."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from reports.points import two_sides
from tuner.results import Point, Result

STEPS_PER_DECADE = 40
"""Quantiles per factor of ten of the share of slower requests."""
WINDOW = 1
"""The phase of requests that were intended in the window, see docs/results.md."""


@dataclass(frozen=True)
class Distribution:
    """Latencies of one point.

    Attributes:
        workload: the point's.
        label: which configuration, under which load.
        slower: share of requests that were slower, descending from 1, shape [quantiles].
        latency_s: the latency that they were slower than, shape [quantiles]; infinite where requests failed.
        requests: intended in the window.
        point: whose percentiles have intervals.
    """

    workload: str
    label: str
    slower: NDArray[np.float64]
    latency_s: NDArray[np.float64]
    requests: int
    point: Point


def distributions(result: Result, run: Path) -> list[Distribution]:
    """Return those of every workload and class whose records were kept.

    Args:
        result: of the run.
        run: its directory.
    """
    found = []
    for workload in result.study.workloads:
        for label, _, point in two_sides(result, workload):
            latencies_s = _latencies_s(point, run)
            if len(latencies_s):
                slower, quantiles_s = quantiles(latencies_s)
                found.append(Distribution(workload, label, slower, quantiles_s, len(latencies_s), point))
    return found


def quantiles(latencies_s: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return shares of slower requests, from 1 down to one request, and the latencies at them.

    The latency at a share s is the smallest that at least (1 - s) n of the n values do not exceed (the inverted
    empirical distribution), at steps of equal ratio of s. What lies beyond the slowest request is not extrapolated.

    Args:
        latencies_s: at least one, shape [n]; infinite for requests that failed.

    Returns:
        Shares of requests that were slower and latencies, both of shape [quantiles].
    """
    ordered = np.sort(latencies_s)
    count = len(ordered)
    steps = max(1, int(np.ceil(STEPS_PER_DECADE * np.log10(count)))) + 1
    slower = np.geomspace(1.0, 1.0 / count, steps)
    ranks = np.ceil((1.0 - slower) * count - 1e-9).astype(np.int64)
    return slower, ordered[np.clip(ranks - 1, 0, count - 1)]


def _latencies_s(point: Point, run: Path) -> NDArray[np.float64]:
    """Return done - intended of a point's own requests that were intended in the window.

    Nothing where the records were not kept, or the result is of before it told which of them are a class's.
    """
    if point.records is None or ("." in point.workload and point.request_class is None):
        return np.zeros(0)
    try:
        with np.load(run / point.records) as stored:
            inside = stored["phase"] == WINDOW
            if point.request_class is not None:
                inside &= stored["class"] == point.request_class
            latency_s = (stored["done_ns"][inside] - stored["intended_ns"][inside]) / 1e9
            return np.where(stored["outcome"][inside] == 0, latency_s, np.inf)
    except (OSError, KeyError, ValueError, BadZipFile):
        return np.zeros(0)


def of_workload(found: Sequence[Distribution], workload: str) -> list[Distribution]:
    """Return those of a workload."""
    return [one for one in found if one.workload == workload]
