"""What follows from a trial is computed once: it does not change any more, and there may be ten thousand of them."""

from collections.abc import Callable, Sequence
from operator import is_
from typing import Generic, TypeVar

Of = TypeVar("Of")
T = TypeVar("T")


class Once(Generic[Of, T]):
    """A function of a trial, ours or Optuna's, that remembers what it returned.

    Args:
        make: the function; what it depends on beside the trial stays as it is.
    """

    def __init__(self, make: Callable[[Of], T]) -> None:
        self._make = make
        self._known: dict[int, tuple[Of, T]] = {}

    def __call__(self, trial: Of) -> T:
        """Return what follows from a trial, told apart from others by its identity."""
        known = self._known.get(id(trial))
        if known is None:
            known = self._known[id(trial)] = trial, self._make(trial)  # the trial is kept: its id stays its own
        return known[1]


class Each(Generic[Of, T]):
    """The same for every trial of a list, which mostly is that of the last time with some more at its end.

    Args:
        make: see `Once`.
    """

    def __init__(self, make: Callable[[Of], T]) -> None:
        self._once = Once(make)
        self._of: list[Of] = []
        self._found: list[T] = []

    def __call__(self, trials: Sequence[Of]) -> Sequence[T]:
        """Return what follows from each; it is good until the next call."""
        if not begins_with(trials, self._of):
            self._of, self._found = [], []
        new = trials[len(self._of) :]
        self._of += new
        self._found += map(self._once, new)
        return self._found


class Latest(Generic[Of, T]):
    """A function of a list that remembers what it returned last, for as long as the list has the same in it.

    Args:
        make: the function; what it depends on beside the list stays as it is.
    """

    def __init__(self, make: Callable[[Sequence[Of]], T]) -> None:
        self._make = make
        self._known: tuple[list[Of], T] | None = None

    def __call__(self, of: Sequence[Of]) -> T:
        """Return what follows from a list, told apart from others by the identity of what is in it."""
        if self._known is None or len(self._known[0]) != len(of) or not begins_with(of, self._known[0]):
            self._known = list(of), self._make(of)
        return self._known[1]


def begins_with(some: Sequence[Of], others: Sequence[Of]) -> bool:
    """Whether a list begins with the very ones that another one has."""
    return len(others) <= len(some) and all(map(is_, others, some))
