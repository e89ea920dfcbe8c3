"""What a person sees while a run goes on: a view on a terminal, plain lines otherwise; always on stderr."""

from collections import Counter
from collections.abc import Mapping, Sequence
from types import TracebackType

from rich.console import Group, RenderableType
from rich.live import Live as Drawing
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from tuner.objective import Goal
from tuner.results import Trial, Value
from tuner.run_info import MetricInfo
from tuner.space import Space
from tuner.terminal import plain_console
from tuner.trial_words import TrialWords

_LABEL = 9
"""Columns of the longest label."""


class Live:
    """A Listener for the terminal. Nothing is drawn while a measurement runs: drawing takes CPU time.

    Args:
        space: of the study.
        goals: of the study; a trial's line has their values.
        trials: how many may be tried, None where nothing is searched.
        quiet: say nothing.
        lines: plain lines, even on a terminal.
        own: the metrics that only this kind of server has, for their units.
    """

    def __init__(
        self,
        space: Space,
        goals: Sequence[Goal],
        *,
        trials: int | None = None,
        quiet: bool,
        lines: bool = False,
        own: Sequence[MetricInfo] = (),
    ) -> None:
        self._words = TrialWords(space, goals, own)
        self._trials, self._quiet = trials, quiet
        self._console = plain_console(stderr=True)
        self._phase, self._now = "start", ""
        self._spent_s, self._budget_s = 0.0, 0.0
        self._tried = 0
        self._baseline: Trial | None = None
        self._best: Trial | None = None
        self._failures: Counter[str] = Counter()
        self._last_failure = ""
        drawn = self._console.is_terminal and not (quiet or lines)
        # stdout is the results': what is written there goes there, drawing or not.
        self._drawing = (
            Drawing(console=self._console, auto_refresh=False, transient=True, redirect_stdout=False) if drawn else None
        )

    def __enter__(self) -> "Live":
        if self._drawing is not None:
            self._drawing.start()
            self._draw()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._drawing is not None:
            self._drawing.stop()

    def phase(self, name: str, detail: str) -> None:
        """Show the new part."""
        self._phase, self._now = name, detail
        self._say(f"{name}: {detail}")
        self._draw()

    def attempt(self, number: int, config: Mapping[str, Value]) -> None:
        """Show what is tried now; a line follows when it was."""
        self._now = f"{self._words.name(number)}  {self._words.config(config)}"
        self._draw()

    def resumed(self, trials: Sequence[Trial], best: Trial | None) -> None:
        """Take up what an earlier run knew."""
        self._best = best
        for trial in trials:
            self._count(trial)
        self._draw()

    def trial(self, trial: Trial, best: Trial | None) -> None:
        """Show a line for the trial."""
        self._best = best
        self._count(trial)
        used = self._words.counts(trial)
        outcome = self._words.outcome(trial)
        if used and trial.state != "complete":
            outcome += f"  (in part not used: {trial.reason})"
        marker = "  <- best so far" if best is not None and best.number == trial.number else ""
        config = self._words.config(trial.config)
        if trial.number == 0:
            config = f"{len(trial.points)} points, the best with" if used else ""
        self._say(f"{self._words.name(trial.number):>9}  {config}  {outcome}{marker}")

    def progress(self, spent_s: float, budget_s: float) -> None:
        """Show the time."""
        self._spent_s, self._budget_s = spent_s, budget_s
        self._draw()

    def note(self, text: str) -> None:
        """Show a remark."""
        self._say(text)

    def _count(self, trial: Trial) -> None:
        self._tried = max(self._tried, trial.number)
        if trial.number == 0:
            self._baseline = trial
        if trial.state != "complete":
            self._failures[trial.state] += 1
            self._last_failure = f"{self._words.name(trial.number)}, {self._words.failure(trial)}"

    def _say(self, text: str) -> None:
        if not self._quiet:
            self._console.print(text, soft_wrap=True)

    def _draw(self) -> None:
        if self._drawing is not None:
            self._drawing.update(self._view(), refresh=True)

    def _view(self) -> RenderableType:
        """Return what is known, as lines that are cut where the terminal ends."""
        rows = [(self._phase, self._progress()), ("now", self._now), ("best", self._best_so_far())]
        if self._failures:
            counted = ", ".join(f"{count} {state}" for state, count in self._failures.items())
            rows.append(("failures", f"{counted}; last: {self._last_failure}"))
        table = Table.grid(padding=(0, 1), expand=True)
        table.add_column(width=_LABEL, no_wrap=True)
        table.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
        for label, said in rows:
            table.add_row(Text(label, style="bold"), Text(" ".join(said.split())))
        done = min(self._spent_s, self._budget_s) / self._budget_s if self._budget_s else 0.0
        return Group(table, ProgressBar(total=1.0, completed=done))

    def _progress(self) -> str:
        parts = []
        if self._trials is not None and self._tried:
            parts.append(f"{self._tried} of {self._trials} trials")
        if self._budget_s:
            left_s = max(0.0, self._budget_s - self._spent_s)
            parts += [f"{clock(left_s)} left", f"{clock(self._spent_s)} of {clock(self._budget_s)}"]
        return ", ".join(parts)

    def _best_so_far(self) -> str:
        if self._best is None:
            return "nothing meets the SLO yet" if self._baseline else ""
        gain = self._words.gain(self._best, self._baseline)
        gained = "" if gain is None else f"{self._words.gained(gain)}, "
        config = f"  {self._words.config(self._best.config)}" if self._best.number else ""
        return f"{self._words.name(self._best.number)}: {gained}{self._words.outcome(self._best)}{config}"


def clock(seconds: float) -> str:
    """Return seconds as `4:05`, or `1:04:05`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
