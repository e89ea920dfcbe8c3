"""A schedule: what an open loop sends and when, fixed before the run from its own seeds."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from workloads.arrivals import Arrivals
from workloads.order import Indices


@dataclass(frozen=True)
class Schedule:
    """Intended send times and which request each of them carries.

    Attributes:
        offsets_ns: int64 [n], sorted, nanoseconds from the start of the load.
        requests: int32 [n], index into the request source.
    """

    offsets_ns: NDArray[np.int64]
    requests: NDArray[np.int32]

    def __post_init__(self) -> None:
        if self.offsets_ns.shape != self.requests.shape:
            raise ValueError(
                f"offsets and requests must match, but got {self.offsets_ns.shape} and {self.requests.shape}."
            )

    def __len__(self) -> int:
        return len(self.offsets_ns)

    def shard(self, index: int, count: int) -> "Schedule":
        """Return every `count`-th arrival from the `index`-th on; the shards 0..count-1 add up to the whole."""
        if not 0 <= index < count:
            raise ValueError(f"`0 <= index < count` must hold, but got ({index=}, {count=}).")
        return Schedule(self.offsets_ns[index::count], self.requests[index::count])


def make_schedule(arrivals: Arrivals, duration_s: float, order: Indices, seed: int) -> Schedule:
    """Draw the arrivals of `duration_s` seconds and a request for each.

    Args:
        arrivals: the arrival process.
        duration_s: length of the load in seconds.
        order: of the requests.
        seed: arrivals and request choice use two independent streams of it.
    """
    arrival_rng, request_rng = (np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(2))
    offsets = arrivals.offsets_ns(duration_s, arrival_rng)
    return Schedule(offsets, order.indices(len(offsets), request_rng))
