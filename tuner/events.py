"""A run as a stream of JSON objects, one a line, for programs that watch it."""

import json
import math
import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

from tuner import __version__
from tuner.objective import Goal
from tuner.results import Result, Trial, Value
from tuner.space import Space
from tuner.terminal import note
from tuner.trial_words import TrialWords


class Events:
    """A Listener that writes each event at once.

    Args:
        out: where to.
        space: of the study.
        goals: of the study.
    """

    def __init__(self, out: TextIO, space: Space, goals: Sequence[Goal]) -> None:
        self._out = out
        self._words = TrialWords(space, goals)
        self._baseline: Trial | None = None

    def phase(self, name: str, detail: str) -> None:
        """Write that a part begins."""
        write(self._out, "phase", name=name, detail=detail)

    def resumed(self, trials: Sequence[Trial], best: Trial | None) -> None:
        """Write each trial that is kept, as when it ended."""
        for trial in trials:
            self.trial(trial, best)

    def attempt(self, number: int, config: Mapping[str, Value]) -> None:
        """Write what is tried next."""
        write(self._out, "attempt", trial=number, config=dict(config))

    def trial(self, trial: Trial, best: Trial | None) -> None:
        """Write what came of a trial."""
        if trial.number == 0:
            self._baseline = trial
        used = self._words.counts(trial)
        write(
            self._out,
            "trial",
            trial=trial.number,
            config=trial.config,
            state=trial.state,
            reason=trial.reason,
            level=self._words.top(trial).load.level if used else None,
            levels=self._words.levels(trial) if used else {},
            values=_finite(self._words.values(trial)) if used else {},
            missed=self._words.missed(trial) if used else [],
            gain=self._words.gain(trial, self._baseline) if used else None,
            best=None if best is None else best.number,
        )

    def progress(self, spent_s: float, budget_s: float) -> None:
        """Write how much of the time is spent."""
        write(self._out, "progress", spent_s=round(spent_s, 3), budget_s=budget_s)

    def note(self, text: str) -> None:
        """Write a remark."""
        write(self._out, "note", text=text)


def write_started(out: TextIO, study: str, run: Path, trials: int, budget_s: float) -> None:
    """Write that a run begins.

    Args:
        out: where to.
        study: its name.
        run: its directory.
        trials: how many may be tried.
        budget_s: how long it may take.
    """
    write(out, "started", version=__version__, study=study, run=str(run), trials=trials, budget_s=budget_s)


def write_finished(out: TextIO, result: Result, run: Path) -> None:
    """Write how a run ended, and where its result stands."""
    best = result.best
    write(
        out,
        "finished",
        state=result.state,
        exit_code=result.exit_code,
        message=result.message,
        run=str(run),
        result=str(run / "result.json"),
        best=best
        and {
            "trial": best.trial,
            "config": best.config,
            "load": best.load.model_dump(),
            "loads": {name: load.model_dump() for name, load in best.loads.items()},
            "confirmed": best.confirmed,
            "objective": best.objective,
            "gain_vs_baseline": best.gain_vs_baseline and best.gain_vs_baseline.model_dump(mode="json"),
            "export": best.export,
        },
    )


def write(out: TextIO, event: str, **fields: object) -> None:
    """Write one event with its time, and flush: whoever reads along is not to wait for the next one."""
    at = datetime.now(UTC).isoformat(timespec="milliseconds")
    try:
        out.write(json.dumps({"event": event, "at": at, **fields}, allow_nan=False) + "\n")
        out.flush()
    except BrokenPipeError:
        _write_to_nobody(out)


def _write_to_nobody(out: TextIO) -> None:
    """Let what is still to be written vanish: a run is not lost for a reader that has ended."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, out.fileno())
    os.close(nowhere)
    note("nobody reads the events any more; the run goes on without them")


def _finite(values: Mapping[str, float]) -> dict[str, float | None]:
    """Return values as JSON has them: null for an infinite latency."""
    return {name: value if math.isfinite(value) else None for name, value in values.items()}
