"""report.html: one self-contained page made of a stored result."""

import difflib
import re
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from reports import answer, requests_by_name, tables, trials_table, trust, variants, words
from reports.axes import axes, verticals
from reports.charts import page, plot
from reports.compiled import Templates
from reports.packed import packed, packed_files, packed_library, script
from tuner.catalog import key_of
from tuner.data import by_key
from tuner.endings import SAID
from tuner.garbage import keeping_all
from tuner.results import Result

NOTHING_KEPT = page.Kept()
MOST_IN_FULL = 1000
"""With more points than this the result.json of a page has as many digits as its trials.csv, for the page's size."""
DIGITS = 9
_CONTEXT = 3
NO_LINE_END = "\\ No newline at end of file"


@dataclass(frozen=True)
class Place:
    """Where a run stands, for the commands that the page names.

    Attributes:
        run: its directory, as a user would type it.
        study: the study file, likewise.
        own_files: whether the best configuration can be written into the user's own files.
    """

    run: str
    study: str
    own_files: bool = False


@keeping_all()
def render(
    result: Result,
    diff: str = "",
    kept: page.Kept = NOTHING_KEPT,
    place: Place | None = None,
    sheets: Mapping[str, str] | None = None,
) -> str:
    """Return the page.

    Args:
        result: what to show.
        diff: unified diff of the exported configuration against the user's.
        kept: what charts need of the run's other files, see `page.kept`.
        place: where the run stands; without it no commands are named.
        sheets: what `csv_files` returns, where it is known already.
    """
    drawn = page.drawings(result, kept)
    table = trials_table.table(result)
    failed = trust.failed(result)
    return (
        _environment()
        .get_template("report.html.j2")
        .render(
            result=result,
            script=script,
            plotly=packed_library(plot.library()),
            charts=page.pieces(result, drawn),
            not_drawn=page.missing(drawn),
            endings=SAID,
            answer=answer,
            diff=diff,
            apply=apply_command(result, place),
            again=repeat_command(result, place),
            config=lambda values: words.config(values, result.knobs),
            loads=words.loads,
            interval=words.interval,
            beyond=words.beyond,
            side=words.side,
            shown=lambda name, value: words.metric_value(name, value, result.own_metrics),
            key_of=key_of,
            gain_of=words.gain_of,
            bounds=lambda name, estimate: words.metric_interval(name, estimate, result.own_metrics),
            variants=variants.rows(result),
            named=requests_by_name.rows(result),
            named_columns=requests_by_name.COLUMNS,
            across=axes(result)[0],
            ups=verticals(result),
            facts=trust.facts(result),
            failed=failed,
            most_failed=trust.MAX_FAILED,
            remarks=trust.remarks(result),
            hosts=trust.hosts(result),
            table=table,
            packed_trials=packed("packed-trials", table.packed_text()),
            files=packed_files(_carried(result, diff, sheets), _digits(result)),
        )
    )


def _digits(result: Result) -> int | None:
    return DIGITS if sum(len(trial.points) for trial in result.trials) > MOST_IN_FULL else None


def _environment() -> Environment:
    made = Environment(
        loader=PackageLoader("reports"),
        autoescape=True,
        undefined=StrictUndefined,
        bytecode_cache=Templates("report"),
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "ms": words.milliseconds,
        "rps": words.per_second,
        "percent": words.percent,
        "load": words.load,
        "duration": words.duration,
    }
    return made


@keeping_all()
def csv_files(result: Result) -> dict[str, str]:
    """Return the texts of the files that stand in the run directory and are carried by the page as well, by name."""
    return {"trials.csv": tables.trials_csv(result), "front.csv": tables.front_csv(result)}


def _carried(result: Result, diff: str, sheets: Mapping[str, str] | None) -> dict[str, object]:
    """Return the contents of the files that the page carries, by their names."""
    found: dict[str, object] = {**(csv_files(result) if sheets is None else sheets), "result.json": by_key(result)}
    return {**found, "config.patch": diff} if diff else found


def apply_command(result: Result, place: Place | None) -> str:
    """Return the command that writes the best configuration, "" where there is none to write but the user's own."""
    if place is None or result.best is None or result.best.export is None or result.best.trial == 0:
        return ""
    where = "--apply" if place.own_files else "--to YOUR_FOLDER"
    return f"tune export {shlex.quote(place.run)} {where}"


def repeat_command(result: Result, place: Place | None) -> str:
    """Return the command that makes the run once more; "" where the place is not known.

    Of a run of several hosts it is each host's, with a name that the storage does not have yet.
    """
    if place is None:
        return ""
    sets = [word for override in result.study.overrides for word in ("--set", override)]
    agents = max((len(point.generator.agents) for trial in result.trials for point in trial.points), default=0)
    load = ["--agents", str(agents)] if agents else []
    if result.hosts:
        return shlex.join(["tune", "worker", place.study, *sets, *load, "--run", "NEW_NAME"])
    return shlex.join(["tune", place.study, *sets, *load, "--fresh"])


def config_diff(
    originals: Mapping[Path, str], files: Mapping[Path, str], hide: Callable[[str], str] | None = None
) -> str:
    """Return the unified diff of exported files against the user's own, as `patch` and `git apply` take it.

    Args:
        originals: the user's own, by their path.
        files: exported, likewise.
        hide: takes out of a text what nobody may read; None: all of it may be read.
    """
    full = _config_diff(originals, files, _CONTEXT)
    if hide is None or hide(full) == full:
        return full
    # A line without its secret fits the user's file no more, and patches of fewer lines around a change do.
    shorter = (_config_diff(originals, files, context) for context in range(_CONTEXT - 1, 0, -1))
    return next((diff for diff in shorter if hide(diff) == diff), hide(full))


def _config_diff(originals: Mapping[Path, str], files: Mapping[Path, str], context: int) -> str:
    pieces: list[str] = []
    for path, text in files.items():
        before = originals.get(path)
        names = ("/dev/null" if before is None else f"yours/{path}", f"best/{path}")
        pieces += difflib.unified_diff(_lines(before or ""), _lines(text), *names, n=context)
    return "".join(piece if piece.endswith("\n") else f"{piece}\n{NO_LINE_END}\n" for piece in pieces)


def _lines(text: str) -> list[str]:
    """Return the lines of a text with their ends; only a line feed ends one."""
    return re.findall(r"[^\n]*\n|[^\n]+", text)
