"""Which request is sent when: shuffled, in order, some of them again, several classes mixed. Pure and seeded."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

_BLOCK = 1 << 14


class Indices(Protocol):
    """An order of requests. A longer one only appends."""

    def indices(self, length: int, rng: np.random.Generator) -> NDArray[np.int32]:
        """Return `length` request indices, int32 [length]."""
        ...


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


@dataclass(frozen=True)
class Mixed:
    """The orders of several classes of requests, mixed. A longer one only appends.

    Each position is of class c with probability w_c / sum of w, independently of all others; the k-th position of a
    class takes the k-th request of the class' own order. The requests of the classes are numbered one class after the
    other.

    Attributes:
        orders: of each class.
        weights: w_c > 0, one for each class.
    """

    orders: Sequence[Order]
    weights: Sequence[float]

    def __post_init__(self) -> None:
        if not self.orders or len(self.orders) != len(self.weights):
            raise ValueError(f"each class has a weight, but got {len(self.orders)} orders, {len(self.weights)} weights")
        if not all(weight > 0 and np.isfinite(weight) for weight in self.weights):
            raise ValueError(f"weights must be above 0, but got {list(self.weights)}")

    @cached_property
    def firsts(self) -> NDArray[np.int64]:
        """Number of the first request of each class, int64 [classes]."""
        return np.cumsum([0, *(order.count for order in self.orders[:-1])])

    def indices(self, length: int, rng: np.random.Generator) -> NDArray[np.int32]:
        """Return `length` request indices, int32 [length]."""
        classes_rng, *own_rngs = rng.spawn(1 + len(self.orders))
        classes = self._drawn(length, classes_rng)
        found = np.empty(length, np.int32)
        for index, (order, own_rng) in enumerate(zip(self.orders, own_rngs, strict=True)):
            mine = classes == index
            found[mine] = order.indices(int(mine.sum()), own_rng) + self.firsts[index]
        return found

    def classes(self, length: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """Return the class of each of the requests that `indices` returns for a generator in the same state."""
        return self._drawn(length, rng.spawn(1)[0])

    def _drawn(self, length: int, rng: np.random.Generator) -> NDArray[np.int64]:
        shares = np.cumsum(self.weights) / np.sum(self.weights)
        return np.searchsorted(shares[:-1], rng.random(length), side="right")
