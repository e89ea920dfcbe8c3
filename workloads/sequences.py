"""Requests that belong together: a server keeps a state for each sequence of them. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from workloads.lengths import Lengths


class Place(NamedTuple):
    """Where a request stands.

    Attributes:
        id: of its sequence, as the server tells sequences apart.
        start: it is the first one.
        end: it is the last one.
    """

    id: int
    start: bool
    end: bool


@dataclass(frozen=True)
class Sequences:
    """Which requests of a source belong together: the first ones are the first sequence, and so on.

    Attributes:
        lengths: int64 [s], how many requests each takes, all >= 1.
        first_id: id of the first sequence; the others count up from it.
    """

    lengths: NDArray[np.int64]
    first_id: int = 1

    def __len__(self) -> int:
        return len(self.lengths)

    @property
    def firsts(self) -> NDArray[np.int64]:
        """The index of the first request of each, int64 [s]."""
        return np.cumsum(self.lengths) - self.lengths

    def cut(self, count: int) -> "Sequences":
        """Return those of the first requests; the last one ends early where it has to.

        Args:
            count: how many requests, >= 1.
        """
        kept = self.lengths[self.firsts < count].copy()
        kept[-1] = count - int(kept[:-1].sum())
        return replace(self, lengths=kept)

    def begun(self, count: int) -> "Sequences":
        """Return those that begin with one of the first requests, each whole.

        Args:
            count: how many requests, >= 1.
        """
        return replace(self, lengths=self.lengths[self.firsts < count])

    def places(self) -> Iterator[Place]:
        """Yield the place of each request."""
        for index, length in enumerate(self.lengths.tolist()):
            for position in range(length):
                yield Place(self.first_id + index, position == 0, position == length - 1)


def drawn(lengths: Lengths, count: int, first_id: int, rng: np.random.Generator) -> Sequences:
    """Return sequences of drawn lengths, as many as requests suffice for; the last one ends with them.

    Args:
        lengths: of the sequences.
        count: how many requests there are, >= 1.
        first_id: id of the first sequence.
        rng: what is drawn from.
    """
    return Sequences(lengths.draw(count, rng).astype(np.int64), first_id).cut(count)
