"""Which request is sent when: shuffled, in order, or with some of them sent again. Pure and seeded."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_BLOCK = 1 << 14


@dataclass(frozen=True)
class Order:
    """The order of requests. A longer one only appends.

    Without repeats all requests are sent equally often, in passes over all of them. With `repeats`, each position but
    the first has that probability of being a request that was sent before: one of the distinct requests sent so far,
    the i-th of them (in the order in which they came) with probability proportional to i^-skew (Zipf). The other
    positions take the next request of the passes. The share of repeats is `repeats` as long as the passes find requests
    that were not sent yet; after the first pass nothing is new.

    Attributes:
        count: how many requests there are, > 0.
        shuffled: False: each pass is in the order of the source.
        repeats: probability of a repeat, in [0, 1).
        skew: of the popularity, >= 0; 0: all that were sent are equally popular.
    """

    count: int
    shuffled: bool = True
    repeats: float = 0.0
    skew: float = 1.0

    def __post_init__(self) -> None:
        if self.count < 1:
            raise ValueError(f"`count` must be >= 1, but got {self.count}.")
        if not 0 <= self.repeats < 1:
            raise ValueError(f"`repeats` must be at least 0 and below 1, but got {self.repeats:g}")
        if not self.skew >= 0:
            raise ValueError(f"`skew` must be >= 0, but got {self.skew:g}")

    def indices(self, length: int, rng: np.random.Generator) -> NDArray[np.int32]:
        """Return `length` request indices, int32 [length]."""
        if not self.repeats:
            return self._passes(length, rng)
        passes_rng, repeats_rng = rng.spawn(2)
        weights = np.cumsum(np.arange(1, self.count + 1, dtype=np.float64) ** -self.skew)
        fresh = np.ones(length, np.bool_)
        ranks: list[NDArray[np.int32]] = []
        sent = 0
        for start in range(0, length, _BLOCK):
            # Whole blocks are drawn, so that a shorter order is the start of a longer one.
            new, which = repeats_rng.random(_BLOCK) >= self.repeats, repeats_rng.random(_BLOCK)
            new, which = new[: length - start], which[: length - start]
            if start == 0:
                new[0] = True
            known = np.minimum(sent + np.cumsum(new), self.count)[~new]
            ranks.append(np.searchsorted(weights, which[~new] * weights[known - 1], side="right").astype(np.int32))
            fresh[start : start + _BLOCK] = new
            sent += int(new.sum())
        news = self._passes(sent, passes_rng)
        found = np.empty(length, np.int32)
        found[fresh] = news
        found[~fresh] = news[np.concatenate([*ranks, np.empty(0, np.int32)])]
        return found

    def _passes(self, length: int, rng: np.random.Generator) -> NDArray[np.int32]:
        """Return passes over all requests."""
        all_of_them = np.arange(self.count, dtype=np.int32)
        found = np.empty(length, np.int32)
        for start in range(0, length, self.count):
            one = rng.permutation(all_of_them) if self.shuffled else all_of_them
            found[start : start + self.count] = one[: length - start]
        return found
