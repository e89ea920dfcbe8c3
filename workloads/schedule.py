"""A schedule: what an open loop sends and when, fixed before the run from its own seeds."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from workloads.arrivals import Arrivals


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


def make_schedule(arrivals: Arrivals, duration_s: float, n_requests: int, seed: int) -> Schedule:
    """Draw the arrivals of `duration_s` seconds and a request for each.

    Args:
        arrivals: the arrival process.
        duration_s: length of the load in seconds.
        n_requests: how many requests the source holds, > 0.
        seed: arrivals and request choice use two independent streams of it.
    """
    arrival_rng, request_rng = (np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(2))
    offsets = arrivals.offsets_ns(duration_s, arrival_rng)
    return Schedule(offsets, request_order(n_requests, len(offsets), request_rng))


def request_order(n_requests: int, length: int, rng: np.random.Generator) -> NDArray[np.int32]:
    """Return `length` request indices: shuffled passes over all of them, so each is sent equally often."""
    if n_requests < 1:
        raise ValueError(f"`n_requests` must be >= 1, but got {n_requests}.")
    passes = -(-length // n_requests)
    order = [rng.permutation(n_requests) for _ in range(passes)]
    indices: NDArray[np.int32] = np.concatenate([*order, np.empty(0, np.int64)])[:length].astype(np.int32)
    return indices
