"""The files that are made of a stored result."""

import math
import shlex
from collections.abc import Mapping
from pathlib import Path

from reports import html
from reports.charts import page
from targets.base import TargetError
from targets.exports import Export
from targets.hiding import secrets_in, without
from tuner.files import write_atomically
from tuner.garbage import keeping_all
from tuner.provenance import headed_as
from tuner.results import Result
from tuner.rundir import RunDirectory, read_files
from tuner.space import server_part
from tuner.terminal import shown
from tuner.wiring import Prepared


@keeping_all()
def write_reports(result: Result, directory: RunDirectory, prepared: Prepared | None) -> None:
    """Write everything that stands in a run directory and is made of its result.

    Args:
        result: of the run.
        directory: the run's.
        prepared: the study, for the command that applies the change; None: its files are not there any more.
    """
    export = _export(result, prepared)
    place = _place(result, directory, export)
    diff = _change(result, directory, export)
    sheets = html.csv_files(result)
    for name, text in sheets.items():
        write_atomically(directory.path / name, text)
    content = html.render(result, diff, page.kept(result, directory.path), place, sheets)
    write_atomically(directory.path / "report.html", content)


def next_command(result: Result, directory: RunDirectory, prepared: Prepared | None) -> tuple[str, str]:
    """Return what is to be done after a run, in a word, and the command that does it.

    It is the export that the report names, where there is one. Without it: the same run with more time, where that was
    too short to try anything; else what came closest to the SLO, where nothing met it; else the report.

    Args:
        result: of the run.
        directory: the run's.
        prepared: the study; None: its files are not there any more.
    """
    place = _place(result, directory, _export(result, prepared))
    if applied := html.apply_command(result, place):
        return "apply", applied
    if prepared is not None and _out_of_time(result):
        enough_s = 2 * max(prepared.study.spec.search.budget.time, result.timing.wall_s)
        return "next", html.repeat_command(_with_time(result, math.ceil(enough_s)), place)
    if result.best is None and result.closest is not None:
        return "next", shlex.join(["tune", "show", place.run, "--trial", str(result.closest.trial)])
    return "next", shlex.join(["tune", "open", place.run])


def _out_of_time(result: Result) -> bool:
    """Whether a run had no time to try anything."""
    return len(result.trials) == 1 and result.search is not None and result.search.ended == "time"


def _with_time(result: Result, time_s: int) -> Result:
    """Return a result as if its study had been given so much time."""
    key = "search.budget.time="
    others = [one for one in result.study.overrides if not one.startswith(key)]
    return result.model_copy(
        update={"study": result.study.model_copy(update={"overrides": [*others, f"{key}{time_s} s"]})}
    )


def _place(result: Result, directory: RunDirectory, export: Export | None) -> html.Place:
    """Return where a run and its study stand, for the commands that are named."""
    own_files = bool(export and export.places)
    return html.Place(shown(directory.path.resolve()), shown(Path(result.study.path)), own_files=own_files)


def change(result: Result, directory: RunDirectory, prepared: Prepared | None) -> str:
    """Return the change that the export makes to the user's own files, "" where there is none to show.

    Args:
        result: of the run.
        directory: the run's; it keeps both sides of the change.
        prepared: the study, for runs that do not; None: its files are not there any more.
    """
    return _change(result, directory, _export(result, prepared))


def _change(result: Result, directory: RunDirectory, export: Export | None) -> str:
    """Return the change as the run made it: the user's own files may have it already, or may be others by now."""
    best, yours = read_files(directory.best), read_files(directory.yours)
    if result.best is not None and result.best.export is not None and best and yours:
        return _readable(yours, {path: headed_as(text, yours.get(path, "")) for path, text in best.items()})
    return "" if export is None else _readable(export.originals, export.files)


def _readable(yours: Mapping[Path, str], best: Mapping[Path, str]) -> str:
    """Return the change as reports have it, which others read: without API keys."""
    secrets = [secret for text in (*yours.values(), *best.values()) for secret in secrets_in(text)]
    return html.config_diff(yours, best, lambda text: without(text, secrets))


def _export(result: Result, prepared: Prepared | None) -> Export | None:
    if prepared is None or result.best is None:
        return None
    try:
        return prepared.target.export(server_part(result.best.config))
    except TargetError:  # it no longer fits the user's own files, and what the run kept tells the change
        return None
