"""Records as Locust's own statistics, so that its web interface and whatever reads it see the load."""

import time
from typing import Any

import numpy as np
from locust.stats import RequestStats, StatsEntry, StatsError
from numpy.typing import NDArray

from targets.base import Endpoint, Outcome

ROUNDED_MS = ((100, 1), (1_000, 10), (10_000, 100))
"""Locust counts response times below the first number rounded to the second, and longer ones to 1,000 ms."""


def label_of(endpoint: Endpoint) -> tuple[str, str]:
    """Return what Locust calls the requests of an endpoint: method and name."""
    if endpoint.grpc:
        return "gRPC", endpoint.grpc.path
    method, _, rest = endpoint.requests[0].partition(b" ")
    return method.decode("latin-1"), rest.partition(b" ")[0].decode("latin-1")


def count(stats: RequestStats, label: tuple[str, str], rows: NDArray[np.void]) -> None:
    """Add requests to the statistics: all at once, where Locust's event for each would cost the load its CPU.

    Args:
        stats: Locust's.
        label: method and name.
        rows: the requests, array [n] of dtype ROW, on this host's clock; each is counted once, however it ended.
    """
    if not len(rows):
        return
    method, name = label
    entry = StatsEntry.unserialize(_entry(method, name, rows), stats)  # type: ignore[arg-type]  # what it serialises
    stats.entries[name, method].extend(entry)
    stats.total.extend(entry)
    failed = rows[rows["outcome"] != Outcome.OK]
    if not len(failed):
        return
    kinds, counts = np.unique(np.stack([failed["outcome"], failed["code"]]), axis=1, return_counts=True)
    for (outcome, code), times in zip(kinds.T.tolist(), counts.tolist(), strict=True):
        said = f"{Outcome(outcome).name.lower()} {code}".removesuffix(" 0")
        key = StatsError.create_key(method, name, said)
        error = stats.errors.setdefault(key, StatsError(method, name, said))
        error.occurrences += times


def _entry(method: str, name: str, rows: NDArray[np.void]) -> dict[str, Any]:
    """Return requests as what Locust's workers send of an entry."""
    since_s = time.time() - time.monotonic()
    times_ms = (rows["done_ns"] - rows["intended_ns"]) / 1e6
    failed = rows["outcome"] != Outcome.OK
    return {
        "name": name,
        "method": method,
        "last_request_timestamp": float(rows["done_ns"].max() / 1e9 + since_s),
        "start_time": float(rows["intended_ns"].min() / 1e9 + since_s),
        "num_requests": len(rows),
        "num_none_requests": 0,
        "num_failures": int(failed.sum()),
        "total_response_time": float(times_ms.sum()),
        "max_response_time": float(times_ms.max()),
        "min_response_time": float(times_ms.min()),
        "total_content_length": int(rows["bytes_in"].sum(dtype=np.int64)),
        "response_times": _counted(_rounded(times_ms)),
        "num_reqs_per_sec": _counted((rows["done_ns"] / 1e9 + since_s).astype(np.int64)),
        "num_fail_per_sec": _counted((rows["done_ns"][failed] / 1e9 + since_s).astype(np.int64)),
    }


def _rounded(times_ms: NDArray[np.float64]) -> NDArray[np.int64]:
    step = np.full(len(times_ms), 1_000.0)
    for below, to in reversed(ROUNDED_MS):
        step[times_ms < below] = to
    rounded: NDArray[np.float64] = np.rint(times_ms / step) * step
    return rounded.astype(np.int64)


def _counted(values: NDArray[np.int64]) -> dict[int, int]:
    found, counts = np.unique(values, return_counts=True)
    return dict(zip(found.tolist(), counts.tolist(), strict=True))
