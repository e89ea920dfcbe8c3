"""The whole job: `run`."""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Annotated, TextIO

import typer

from targets.base import TargetError
from tuner import events
from tuner.cli.agents import load_makers, takes_agents, told_by
from tuner.cli.frame import (
    BAD_USAGE,
    Json,
    Out,
    Overrides,
    Quiet,
    StudyPath,
    app,
    errors,
    fail,
)
from tuner.document import own_metrics
from tuner.instruments import Bench, started
from tuner.listener import Listener, Listeners
from tuner.live import Live
from tuner.load.distributed.fleet import Fleet
from tuner.load.distributed.options import AgentsWanted
from tuner.load.generator import GeneratorError
from tuner.results import Result, read_result
from tuner.rundir import RunDirectory, StudyMark, locked, open_run
from tuner.study.hidden import tell_of_secrets
from tuner.study.load import Study, load_study
from tuner.terminal import interruptible, note, plain_console, shown
from tuner.users_traffic import tell_of_unused
from tuner.wiring import Prepared, prepare

Stream = Annotated[bool, typer.Option("--events", help="write each event of the run as a line of JSON on stdout")]


@app.command()
@takes_agents
def run(
    study: StudyPath,
    out: Out = None,
    overrides: Overrides = None,
    trials: Annotated[int | None, typer.Option(min=1, help="search.budget.trials")] = None,
    time: Annotated[str | None, typer.Option(metavar="T", help="search.budget.time, like `5 min`")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="search.seed")] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="start over; an old run is kept")] = False,
    agents: AgentsWanted | None = None,
    as_json: Json = False,
    stream: Stream = False,
    quiet: Quiet = False,
) -> None:
    """Search, confirm, report and export: the whole job. `tune STUDY.yaml` is the same.

    An unfinished run of the same study is resumed. Exit codes: 0 done, 2 bad usage or study, 3 the target cannot be
    used, 4 nothing met the SLO, 5 not decided, 130 interrupted.
    """
    with errors():
        if as_json and stream:
            fail(BAD_USAGE, "--json prints the result and --events what happens: give one of them")
        loaded = _loaded(study, overrides or (), {"--trials": trials, "--time": time, "--seed": seed})
        mark = StudyMark(loaded.fingerprint(), loaded.fingerprint_of_files(), loaded.shown)
        directory = open_run(Path("runs"), loaded.spec.study, mark, out, fresh=fresh)
        events_to = sys.stdout if stream else None
        with locked(directory), interruptible(), _told(loaded, directory, events_to):
            result, prepared = _finished(directory), None
            if result is None:
                prepared = prepare(loaded, directory.log)
                result = _tune(prepared, directory, events_to, agents, quiet=quiet)
        if not stream:
            show(result, directory, prepared, as_json=as_json)
        raise typer.Exit(result.exit_code or 0)


_PLACES = {"--trials": "search.budget.trials", "--time": "search.budget.time", "--seed": "search.seed"}
"""Options that stand for a key of the study."""


def _loaded(study: Path, overrides: Sequence[str], given: Mapping[str, int | str | None]) -> Study:
    """Return the study with what options of the command say, None where one is absent."""
    options = {_PLACES[name]: name for name, value in given.items() if value is not None}
    own = [f"{place}={given[name]}" for place, name in options.items()]
    return load_study(study, [*overrides, *own], options=options)


@contextmanager
def _told(loaded: Study, directory: RunDirectory, events_to: TextIO | None) -> Iterator[None]:
    """Write the first event of a run, and the last one of it however it ends, where there is a result."""
    if events_to is None:
        yield
        return
    budget, path = loaded.spec.search.budget, directory.path.resolve()
    events.write_started(events_to, loaded.spec.study, path, budget.trials, budget.time)
    try:
        yield
    finally:
        if directory.result.exists():
            events.write_finished(events_to, read_result(path), path)


def _finished(directory: RunDirectory) -> Result | None:
    """Return the result of a run that is done, None otherwise."""
    if not directory.result.exists():
        return None
    result = read_result(directory.path)
    if result.state != "done":
        return None
    note(f"this run is done: {shown(directory.path)}; start over with --fresh")
    return result


def _tune(
    prepared: Prepared, directory: RunDirectory, events_to: TextIO | None, agents: AgentsWanted | None, *, quiet: bool
) -> Result:
    loaded = prepared.study
    tell_of_secrets(loaded.source, loaded.given, note)
    tell_of_unused(prepared.workloads, note)
    trials = loaded.spec.search.budget.trials
    # Events on the terminal itself go between plain lines: a view would be drawn over them.
    lines = events_to is not None and events_to.isatty()
    own = own_metrics(loaded)
    try:
        with (
            load_makers(agents, [prepared], quiet=quiet) as fleet,
            Live(prepared.space, prepared.goals, trials=trials, quiet=quiet, lines=lines, own=own) as live,
        ):
            listener = _listener(live, prepared, events_to)
            told_by(fleet, listener.note)
            return _tuned(directory, prepared, listener, fleet)
    except (KeyboardInterrupt, TargetError, GeneratorError):
        if directory.result.exists():
            write_report(read_result(directory.path), directory, prepared)
            note(f"what there is: {shown(directory.path)}; the same command resumes")
        raise


def _listener(live: Live, prepared: Prepared, events_to: TextIO | None) -> Listener:
    if events_to is None:
        return live
    return Listeners([live, events.Events(events_to, prepared.space, prepared.goals)])


def _tuned(directory: RunDirectory, prepared: Prepared, listener: Listener, fleet: Fleet | None) -> Result:
    """Go through a run and write its reports: what the server does not need is done while it starts and stops."""
    with ThreadPoolExecutor(1, "meanwhile") as meanwhile:
        opening = meanwhile.submit(_opened, directory, prepared)
        with started(prepared, directory.path, fleet, ahead=not directory.result.exists()) as bench:
            go = opening.result()
            result = go(bench, listener, lambda: meanwhile.submit(import_module, "tuner.cli.writing"))
            stopping = meanwhile.submit(prepared.target.stop)
            try:
                write_report(result, directory, prepared)
            finally:
                stopping.result()
        return result


def _opened(directory: RunDirectory, prepared: Prepared) -> Callable[[Bench, Listener, Callable[[], object]], Result]:
    """Open the search of a run; return what goes through it on a started server, see `Tuning`."""
    from tuner.opening import open_search  # noqa: PLC0415 - takes a second, in which the server starts
    from tuner.tuning import Tuning  # noqa: PLC0415

    opened = open_search(prepared, directory)
    return lambda bench, listener, measured: Tuning(prepared, directory, opened, bench, listener, measured).run()


def write_report(result: Result, directory: RunDirectory, prepared: Prepared) -> None:
    """Write what is made of a result."""
    from tuner.cli.writing import write_reports  # noqa: PLC0415 - takes a second, in which the server stops

    write_reports(result, directory, prepared)


def show(result: Result, directory: RunDirectory, prepared: Prepared | None, *, as_json: bool) -> None:
    """Print a result, where its files are, and the next command; without `prepared` the study is read again."""
    if as_json:
        sys.stdout.write(directory.result.read_text() + "\n")
        return
    from reports import text  # noqa: PLC0415 - imported with what the reports are written by
    from tuner.cli.writing import next_command  # noqa: PLC0415
    from tuner.exporting import prepared_again  # noqa: PLC0415

    console = plain_console()
    if (table := text.summary(result)) is not None:
        console.print(table)
    console.print(text.headline(result))
    if agents := text.load_from(result):
        console.print(f"load from {agents}")
    where = shown(directory.path)
    console.print(f"report   {where}/report.html", soft_wrap=True)
    if result.best and result.best.export:
        verified = "loaded by the server" if result.best.export_verified else "not verified"
        console.print(f"config   {where}/{result.best.export}/  ({verified})", soft_wrap=True)
    word, command = next_command(result, directory, prepared or prepared_again(result, directory))
    console.print(f"{word:<8} {command}", soft_wrap=True)
