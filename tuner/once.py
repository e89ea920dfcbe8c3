"""What follows from a trial is computed once: a trial does not change any more, and there may be a thousand of them."""

from collections.abc import Callable
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
