"""The gate: `gate`, `gate compare`, `gate accept`, `gate history`."""

import os
import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from reports.gate import history as history_report
from reports.gate import junit, markdown, page, table
from tuner.cli.agents import load_makers, takes_agents, told_by
from tuner.cli.frame import BAD_USAGE, Json, Out, Overrides, Quiet, app, errors, fail
from tuner.files import write_atomically
from tuner.gate import asked, baseline, ending, history, opening, places, running
from tuner.gate.document import Form, GateResult, Measurement
from tuner.gate.hosts import FACTS, HostsDiffer
from tuner.gate.revisions import checked_out, without_changes
from tuner.live import Live
from tuner.load.distributed.options import AgentsWanted
from tuner.rundir import RunDirectory, StudyMark, opened_anew
from tuner.study.load import Study, load_study
from tuner.study.source import StudyError
from tuner.terminal import interruptible, note, plain_console, shown, wide_console
from tuner.wiring import Prepared, prepare

DEFAULT = "check"


class GateCommands(TyperGroup):
    """The commands of the gate. `tune gate STUDY.yaml` is `tune gate check STUDY.yaml`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put `check` in front of anything that is no command, and of nothing."""
        if not args or (args[0] not in self.commands and args[0] != "--help"):
            args = [DEFAULT, *args]
        return super().parse_args(ctx, args)


gate = typer.Typer(cls=GateCommands)
app.add_typer(gate, name="gate")

Despite = Annotated[
    list[str] | None,
    typer.Option("--despite", metavar="WHAT", help=f"compare though this differs: {', '.join(FACTS)}; may be repeated"),
]
JUnit = Annotated[Path | None, typer.Option("--junit", metavar="FILE", help="write JUnit XML as well")]
Markdown = Annotated[Path | None, typer.Option("--markdown", metavar="FILE", help="write Markdown as well")]
Html = Annotated[Path | None, typer.Option("--html", metavar="FILE", help="write the page as well")]


@dataclass(frozen=True)
class _Outputs:
    """Where results go."""

    as_json: bool
    junit: Path | None = None
    markdown: Path | None = None
    html: Path | None = None

    @property
    def _files(self) -> list[tuple[Path, Callable[[GateResult], str]]]:
        """Every file that is asked for, and what makes its content."""
        wanted = ((self.junit, junit.report), (self.markdown, markdown.summary), (self.html, page.render))
        return [(path, content) for path, content in wanted if path is not None]

    def check(self) -> None:
        """End with an error where a file that is asked for cannot be written: nothing is measured in vain then."""
        for path, _ in self._files:
            if why := _unwritable(path):
                fail(BAD_USAGE, _said_of(path, why))

    def write(self, result: GateResult) -> None:
        """Write every file that is asked for, and print the table or JSON; then say which file could not be written."""
        failed = [why for path, content in self._files if (why := _save(path, content(result)))]
        if self.as_json:
            sys.stdout.write(result.model_dump_json(by_alias=True, indent=1) + "\n")
        else:
            console = wide_console(140)
            console.print(table.picture(result))
        if failed:
            fail(BAD_USAGE, "; ".join(failed))


def _unwritable(path: Path) -> str:
    """Say why a file cannot be written, "" where nothing speaks against it. Its folder is made."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        return f"its folder: {error.strerror}"
    if path.is_dir():
        return "it is a folder"
    return "" if os.access(path.parent, os.W_OK | os.X_OK) else "nothing may be written into its folder"


def _save(path: Path, content: str) -> str:
    """Write a file, in a folder that is made if need be; say why it could not be, "" where it was."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, content)
    except OSError as error:
        return _said_of(path, str(error.strerror))
    return ""


def _said_of(path: Path, why: str) -> str:
    return f"{path}: cannot be written ({why}); name another file"


@gate.callback()
def _gate() -> None:
    """Find out whether a release is slower than before. `tune gate STUDY.yaml` is `tune gate check STUDY.yaml`."""


@gate.command(DEFAULT)
@takes_agents
def check(
    study: Annotated[
        Path | None, typer.Argument(metavar="[STUDY.yaml]", help="the study file", show_default=False)
    ] = None,
    against: Annotated[
        Path | None, typer.Option("--against", metavar="BASELINE.json", help="compare with a stored baseline")
    ] = None,
    ab: Annotated[
        tuple[str, str] | None,
        typer.Option("--ab", metavar="OLD NEW", help="compare two studies, or two git revisions of STUDY, interleaved"),
    ] = None,
    despite: Despite = None,
    overrides: Overrides = None,
    out: Out = None,
    agents: AgentsWanted | None = None,
    junit_file: JUnit = None,
    markdown_file: Markdown = None,
    html_file: Html = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Measure, and fail where a rule of the study's `gate` section or an SLO is broken for certain.

    Exit codes: 0 passed (or inconclusive where the study only warns), 1 a regression, 2 bad usage or not comparable,
    3 the target cannot be used, 4 an SLO is missed and that is no regression, 5 inconclusive or not valid.
    """
    with errors():
        _check_usage(study, against, ab, despite or [])
        outputs = _Outputs(as_json, junit_file, markdown_file, html_file)
        outputs.check()
        with ExitStack() as stack:
            labelled = _sides(study, ab, stack)
            stored = baseline.read_valid(against) if against is not None else None
            notes = [told for told in [without_changes(study, ab[1]) if study and ab else ""] if told]
            result = _measured(labelled, stored, overrides or [], despite or [], out, agents, notes, quiet=quiet)
        outputs.write(result)
        if result.state == "unfinished":
            fail(result.exit_code, result.message)
        raise typer.Exit(result.exit_code)


def _check_usage(study: Path | None, against: Path | None, ab: tuple[str, str] | None, despite: list[str]) -> None:
    if ab is not None and against is not None:
        raise typer.BadParameter("--ab measures both sides, --against one; give one of them")
    if ab is None and study is None:
        raise typer.BadParameter("give a study, or two with --ab OLD.yaml NEW.yaml")
    if ab is not None and study is None and not all(Path(one).is_file() for one in ab):
        missing = next(one for one in ab if not Path(one).is_file())
        raise typer.BadParameter(
            f"--ab: no file {missing!r}; for two git revisions give the study too: tune gate STUDY.yaml --ab OLD NEW"
        )
    for one in despite:
        if one not in FACTS:
            raise typer.BadParameter(f"--despite {one}: expected one of {', '.join(FACTS)}")


def _sides(study: Path | None, ab: tuple[str, str] | None, stack: ExitStack) -> list[tuple[str, Path]]:
    """Return label and study file of each side, the old one first."""
    if ab is None:
        assert study is not None, "usage was checked"
        return [(str(study), study)]
    if study is None:
        return [(one, Path(one)) for one in ab]
    return [(one.label, one.study) for one in stack.enter_context(checked_out(study, ab))]


def _measured(
    labelled: list[tuple[str, Path]],
    stored: Measurement | None,
    overrides: list[str],
    despite: list[str],
    out: Path | None,
    agents: AgentsWanted | None,
    notes: list[str],
    *,
    quiet: bool,
) -> GateResult:
    form: Form = "ab" if len(labelled) > 1 else "alone" if stored is None else "against"
    studies = [(label, load_study(path, overrides)) for label, path in labelled]
    judged = studies[-1][1]
    asked.check(judged)
    if form == "ab":
        own, moved = places.beside(studies[0][1], judged)
        studies[-1], notes = (studies[-1][0], own), [*notes, *moved]
    refusals = (StudyError, HostsDiffer)
    with (
        opened_anew(Path("runs"), f"{judged.spec.study}-gate", StudyMark(""), out, refusals) as directory,
        interruptible(),
    ):
        result = _run(form, studies, directory, stored, despite, agents, notes, quiet=quiet)
        _kept(result, directory)
    accepting = f"; to make it the baseline: tune gate accept {shown(directory.path)} --to FILE"
    note(f"the run: {shown(directory.path)}{accepting if result.state != 'unfinished' else ''}")
    return result


def _run(
    form: Form,
    studies: list[tuple[str, Study]],
    directory: RunDirectory,
    stored: Measurement | None,
    despite: list[str],
    agents: AgentsWanted | None,
    notes: list[str],
    *,
    quiet: bool,
) -> GateResult:
    """Run a gate; return what there is of it, whatever ended it."""
    result = None
    logs = [directory.path / "log-old.txt", directory.log][-len(studies) :]
    try:
        prepared = [(label, prepare(one, log)) for (label, one), log in zip(studies, logs, strict=True)]
        notes = [*notes, *_notes([one for _, one in prepared])]
        opening.measured_at(form, [one for _, one in prepared], stored)  # before anybody waits for agents
        with (
            load_makers(agents, [one for _, one in prepared], quiet=quiet) as fleet,
            Live(prepared[-1][1].space, prepared[-1][1].goals, quiet=quiet) as live,
            opening.opened(form, prepared, directory.path, stored, despite, notes, fleet) as made,
        ):
            told_by(fleet, live.note)
            live.phase("gate", " against ".join(label for label, _ in reversed(studies)))
            try:
                result = made.run(live)
            except ending.ENDS as error:
                result = made.unfinished(error)
            if fleet is not None:
                result = result.model_copy(update={"notes": [*result.notes, *fleet.losses]})
    except ending.ENDS as error:
        return ending.not_begun(form, studies, stored, error, notes) if result is None else ending.late(result, error)
    return result


def _notes(prepared: list[Prepared]) -> list[str]:
    """Say what a reader should know before anything was measured."""
    rules = [asked.limits(one.study) for one in prepared]
    return ["the two sides have different rules; those of the new one hold"] if rules[0] != rules[-1] else []


def _kept(result: GateResult, directory: RunDirectory) -> None:
    """Write the files of a run; what came to no end is nothing to be accepted."""
    measured = [] if result.state == "unfinished" else [(baseline.MEASURED, baseline.written(result.new))]
    for name, content in (
        (baseline.RESULT, result.model_dump_json(by_alias=True, indent=1) + "\n"),
        *measured,
        ("gate.html", page.render(result)),
        ("gate.md", markdown.summary(result)),
        ("junit.xml", junit.report(result)),
    ):
        write_atomically(directory.path / name, content)


@gate.command()
def compare(
    old: Annotated[Path, typer.Argument(metavar="OLD.json", help="a baseline, or the run of a gate")],
    new: Annotated[Path, typer.Argument(metavar="NEW.json", help="another; its rules hold")],
    despite: Despite = None,
    junit_file: JUnit = None,
    markdown_file: Markdown = None,
    html_file: Html = None,
    as_json: Json = False,
) -> None:
    """Compare two stored measurements; nothing is measured. Exit codes as those of `tune gate`."""
    with errors():
        _check_usage(old, None, None, despite or [])
        result = running.compare(baseline.read_measurement(old), baseline.read_measurement(new), despite or [])
        _Outputs(as_json, junit_file, markdown_file, html_file).write(result)
        raise typer.Exit(result.exit_code)


@gate.command()
def accept(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="the run of a gate, like runs/digits-gate/latest")],
    to: Annotated[Path, typer.Option("--to", metavar="FILE", help="the baseline")],
    why: Annotated[str, typer.Option("--why", metavar="TEXT", help="kept in the file")] = "",
    by: Annotated[str | None, typer.Option("--by", metavar="NAME", help="kept in the file; else your user")] = None,
) -> None:
    """Make what a gate measured the new baseline, with who accepted it, when and why in the file."""
    with errors():
        made = baseline.accept(run, to, by=by, why=why)
        plain_console().print(f"{shown(to)}", soft_wrap=True)
        if lacks := baseline.lacking(made):
            note(lacks)


@gate.command("history")
def show_history(
    place: Annotated[Path, typer.Argument(metavar="DIR|FILE", help="baselines, or one of them")],
    git: Annotated[bool, typer.Option("--git", help="every version of them that git has")] = False,
    to: Annotated[Path, typer.Option("--to", metavar="FILE", help="the page")] = Path("gate-history.html"),
) -> None:
    """Draw every figure over the accepted runs, with the steps in it, as a self-contained page."""
    with errors():
        found = history.of_git(place) if git else history.of_folder(place)
        for name in found.skipped:
            note(f"{name} is no baseline and is left out")
        for why in found.unusable:
            note(f"left out: {why}")
        courses = history.courses(found.entries)
        plain_console().print(history_report.table(courses))
        if why := _save(to, history_report.render(place.resolve().name, courses)):
            fail(BAD_USAGE, why)
        plain_console().print(f"page     {shown(to)}", soft_wrap=True)
