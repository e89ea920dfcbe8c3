"""What a run tells whoever watches it."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from tuner.results import Trial, Value


class Listener(Protocol):
    """Watches a run. Called between measurements only, never while one is under way."""

    def phase(self, name: str, detail: str) -> None:
        """A new part of the run begins."""
        ...

    def resumed(self, trials: Sequence[Trial], best: Trial | None) -> None:
        """An earlier run goes on: these are its trials, the baseline first; `best` as in `trial`."""
        ...

    def attempt(self, number: int, config: Mapping[str, Value]) -> None:
        """A configuration is to be tried next."""
        ...

    def trial(self, trial: Trial, best: Trial | None) -> None:
        """A trial ended; `best` is the best so far that meets every SLO."""
        ...

    def progress(self, spent_s: float, budget_s: float) -> None:
        """How much of the time budget is spent."""
        ...

    def note(self, text: str) -> None:
        """Something a person should know."""
        ...


class Listeners:
    """Several that watch the same run, told in their order."""

    def __init__(self, listeners: Sequence[Listener]) -> None:
        self._listeners = listeners

    def phase(self, name: str, detail: str) -> None:
        """Tell each."""
        for one in self._listeners:
            one.phase(name, detail)

    def resumed(self, trials: Sequence[Trial], best: Trial | None) -> None:
        """Tell each."""
        for one in self._listeners:
            one.resumed(trials, best)

    def attempt(self, number: int, config: Mapping[str, Value]) -> None:
        """Tell each."""
        for one in self._listeners:
            one.attempt(number, config)

    def trial(self, trial: Trial, best: Trial | None) -> None:
        """Tell each."""
        for one in self._listeners:
            one.trial(trial, best)

    def progress(self, spent_s: float, budget_s: float) -> None:
        """Tell each."""
        for one in self._listeners:
            one.progress(spent_s, budget_s)

    def note(self, text: str) -> None:
        """Tell each."""
        for one in self._listeners:
            one.note(text)
