"""What a run tells whoever watches it."""

from typing import Protocol

from tuner.results import Trial


class Listener(Protocol):
    """Watches a run. Called between measurements only, never while one is under way."""

    def phase(self, name: str, detail: str) -> None:
        """A new part of the run begins."""
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
