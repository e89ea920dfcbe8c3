"""Where an exported file comes from, in a comment at its head; a later export puts its own in its place."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from targets.exports import Export
from tuner.catalog import METRICS
from tuner.load_words import loads_in_words
from tuner.objective import Goal, parse_goals
from tuner.rank import best_of_each, candidates
from tuner.results import Best, Confirmation, Load, Result, SloVerdict, TrialState

MARK = "# paretune: "
_HEADER = re.compile(rf"(?:{re.escape(MARK)}[^\n]*(?:\n|\Z))+")
_FIRST_LINE = re.compile(r"#![^\n]*\n")


def header(
    study: str, run: str, environment: Mapping[str, str], trial: int, measured: Sequence[str]
) -> tuple[str, ...]:
    """Return the lines of the comment, without the mark.

    Args:
        study: its name.
        run: name of the run's directory.
        environment: of the run.
        trial: whose configuration is exported.
        measured: what the run knows of it, in lines, see `Standing`.
    """
    version, started = environment.get("paretune", "unknown"), environment.get("started", "an unknown time")
    return (
        f"study {_line(study)}, trial {trial}, tuned with Paretune {version}",
        f"run {_line(run)}, started {started}",
        *measured,
    )


@dataclass(frozen=True)
class Standing:
    """What a run knows of a trial.

    Attributes:
        said: in a line.
        doubtful: whether it was not measured, or missed its SLO.
        loads: workload -> the load that this is said of, the primary one first; {}: of none, or of another one.
    """

    said: str
    doubtful: bool = False
    loads: Mapping[str, Load] = field(default_factory=dict)

    @property
    def lines(self) -> tuple[str, ...]:
        """The same in lines: what is said, and at which loads."""
        return (self.said, *([f"at {loads_in_words(self.loads)}"] if self.loads else []))


def standing(result: Result, number: int, picked: Mapping[str, Load] | None = None) -> Standing:
    """Return what a run knows of a trial: whether it was measured, met its SLO, and was confirmed.

    Args:
        result: of the run.
        number: of the trial.
        picked: workload -> the load that it is picked for, which is said by whoever picks it. None: of a trial that was
            not confirmed the loads are those where it is best on the first objective, or comes closest to the SLO.
    """
    primary = result.study.workloads[0]
    goals = parse_goals(result.study.objectives, primary)
    if result.best is not None and result.best.trial == number:
        return of_best(result.best, result.confirmation, goals[0], primary)
    trial = result.trial(number)
    if not any(map(trial.counts, trial.points)):
        return Standing(_UNMEASURED.get(trial.state, _NOT_USED), doubtful=True)
    made = result.confirmation
    if made is not None and made.candidate.trial == number:
        return _tried(made, primary)
    best = best_of_each(candidates([trial], result.study.workloads, goals), goals[0])
    loads = best[0].workload_loads if best and picked is None else {}
    if not any(one.feasible for one in best):
        return Standing("measured in the search, where it missed the SLO", True, loads)
    return Standing(_SEARCHED, loads=loads)


def of_best(best: Best, made: Confirmation | None, goal: Goal, primary: str) -> Standing:
    """Return what a run knows of the configuration that it recommends.

    Args:
        best: the configuration.
        made: the last confirmation of the run, None without one.
        goal: the first, which its gain is of.
        primary: name of the first workload.
    """
    loads = {primary: best.load, **best.loads}
    if best.confirmed:
        return Standing(_confirmed(best, goal), loads=loads)
    if made is not None and made.candidate.trial == best.trial:
        return _tried(made, primary)
    return Standing(_SEARCHED, loads=loads)


def _tried(made: Confirmation, primary: str) -> Standing:
    """Return what is known of a trial that was confirmed, and did not become the confirmed best."""
    loads = {primary: made.candidate.load, **made.candidate.loads}
    return Standing(_TRIED[made.verdict], made.verdict == "missed", loads)


_SEARCHED = "measured in the search, not confirmed"
_NOT_USED = "not measured: the load generator was in the way"
_UNMEASURED: Mapping[TrialState, str] = {
    "refused": "not measured: the server refused it in the run",
    "crashed": "not measured: the server crashed with it in the run",
    "hung": "not measured: the server hung with it in the run",
}
_TRIED: Mapping[SloVerdict, str] = {
    "met": "confirmed to meet the SLO, and not recommended",
    "missed": "not confirmed: it missed the SLO in the confirmation",
    "undecided": "not confirmed: the confirmation was undecided",
}
"""Verdict of a confirmation that did not end with the trial as the confirmed best -> what is said of the trial."""


def _confirmed(best: Best, goal: Goal) -> str:
    if best.gain_vs_baseline is None:
        return "confirmed to meet the SLO; no gain is claimed"
    gain = best.gain_vs_baseline if goal.maximize else best.gain_vs_baseline.turned()
    high = f"{gain.high:.2f}" if math.isfinite(gain.high) else "unknown"
    name = next((name for name, metric in METRICS.items() if metric.key == best.objective), best.objective)
    than = "that of" if goal.maximize else "lower than that of"
    return f"confirmed: {name} {gain.value:.2f}x {than} the configuration before, 95% interval {gain.low:.2f} to {high}"


def with_header(text: str, lines: tuple[str, ...]) -> str:
    """Return a text with a comment at its head, in place of one that an earlier export wrote.

    The comment stands behind a first line that names an interpreter. Without lines an earlier one is taken away.
    """
    newline = "\r\n" if "\r\n" in text else "\n"
    before, _, rest = _parts(text)
    return before + "".join(f"{MARK}{line}{newline}" for line in lines) + rest


def without_header(text: str) -> str:
    """Return a text without the comment of an export."""
    return with_header(text, ())


def headed_as(text: str, other: str) -> str:
    """Return a text with the comment that an export wrote into another one; without any where that has none."""
    before, _, rest = _parts(text)
    return before + _parts(other)[1] + rest


def _parts(text: str) -> tuple[str, str, str]:
    """Return what stands before the comment of an export, the comment, and the rest."""
    first = _FIRST_LINE.match(text)
    start = first.end() if first else 0
    there = _HEADER.match(text, start)
    end = there.end() if there else start
    return text[:start], text[start:end], text[end:]


def signed(
    export: Export, study: str, run: str, environment: Mapping[str, str], trial: int, measured: Sequence[str]
) -> Export:
    """Return an export that says where it comes from, in every file that can have a comment.

    Trial 0 is the user's own configuration, in which nothing was tuned: it stays as it is. See `header` for the rest.
    """
    return marked(export, header(study, run, environment, trial, measured)) if trial else export


def marked(export: Export, lines: tuple[str, ...]) -> Export:
    """Return an export with the comment in every file that can have one."""
    files = {
        path: with_header(text, lines) if path in export.commented else text for path, text in export.files.items()
    }
    return replace(export, files=files)


def _line(text: str) -> str:
    return " ".join(text.split())
