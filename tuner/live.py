"""What a person sees while a run goes on: a bar on a terminal, plain lines otherwise; always on stderr."""

from collections.abc import Sequence
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from tuner.catalog import METRICS
from tuner.companions import companions
from tuner.objective import Goal
from tuner.results import Point, Trial
from tuner.space import Space
from tuner.units import format_value


class Live:
    """A Listener for the terminal. Nothing is drawn while a measurement runs: drawing takes CPU time.

    Args:
        space: of the study.
        goals: of the study; a trial's line has their values.
        quiet: say nothing.
    """

    def __init__(self, space: Space, goals: Sequence[Goal], *, quiet: bool) -> None:
        self._goals = goals
        self._units = {parameter.name: parameter.knob.unit for parameter in space}
        self._quiet = quiet
        self._console = Console(stderr=True)
        self._bar = Progress(
            TextColumn("{task.fields[phase]:<9}"),
            BarColumn(bar_width=None),
            TextColumn("{task.fields[times]}"),
            console=self._console,
            auto_refresh=False,
            disable=quiet or not self._console.is_terminal,
        )
        self._task = self._bar.add_task("", total=1.0, phase="start", times="")

    def __enter__(self) -> "Live":
        self._bar.start()
        self._bar.refresh()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def phase(self, name: str, detail: str) -> None:
        """Show the new part."""
        self._bar.update(self._task, phase=name)
        self._bar.refresh()
        self._say(f"{name}: {detail}")

    def trial(self, trial: Trial, best: Trial | None) -> None:
        """Show a line for the trial."""
        outcome = self._outcome(trial) if trial.state == "complete" else f"{trial.state}: {trial.reason}"
        marker = "  <- best so far" if best is not None and best.number == trial.number else ""
        name = "yours" if trial.number == 0 else f"trial {trial.number}"
        self._say(f"{name:>9}  {self._config(trial)}  {outcome}{marker}")

    def progress(self, spent_s: float, budget_s: float) -> None:
        """Move the bar."""
        times = f"{spent_s:.0f} of {budget_s:.0f} s"
        self._bar.update(self._task, completed=min(1.0, spent_s / budget_s), times=times)
        self._bar.refresh()

    def note(self, text: str) -> None:
        """Show a remark."""
        self._say(text)

    def _say(self, text: str) -> None:
        if not self._quiet:
            self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def _config(self, trial: Trial) -> str:
        if trial.number == 0:
            return f"{len(trial.points)} points, the best with"
        known = {name: unit for name, unit in self._units.items() if name in trial.config}
        return " ".join(f"{name}={format_value(trial.config[name], unit)}" for name, unit in known.items())

    def _outcome(self, trial: Trial) -> str:
        workload = self._goals[0].workload.partition(".")[0]
        same = [point for point in trial.points if point.workload == workload]
        fine = [point for point in same if all(over <= 0 for over in point.violations.values())]
        top = max(fine or same, key=lambda point: point.metrics["goodput_rps"].value)
        others = companions(trial, top)
        judged = [(point.workload, name, over) for point in (top, *others) for name, over in point.violations.items()]
        missed = [f"{place}.{name}" for place, name, over in judged if over > 0]
        verdict = f"misses {', '.join(missed)}" if missed and trial.number else ""
        if len(same) > 1 and trial.number:
            verdict = f"at {top.load.level:g} {verdict}".rstrip()
        values = [_value(goal, point) for goal in self._goals for point in (top, *others) if _is_of(goal, point)]
        return f"{' '.join(values)} {verdict}".rstrip()


def _is_of(goal: Goal, point: Point) -> bool:
    return point.workload == goal.workload and goal.key in point.metrics


def _value(goal: Goal, point: Point) -> str:
    """Return `11,776/s` for a throughput, else the metric's name and value."""
    value, unit = point.metrics[goal.key].value, METRICS[goal.metric].unit if goal.metric in METRICS else ""
    shown = f"{value:,.0f}/s" if unit == "/s" else format_value(value, unit) if unit == "s" else f"{value:,.4g}"
    return shown if goal.metric == "throughput" else f"{goal.metric} {shown}"
