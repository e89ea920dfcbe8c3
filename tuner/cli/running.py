"""The whole job and its report: `run`, `report`."""

import sys
import webbrowser
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from reports import html, overtime, tables, text
from targets.base import TargetError
from tuner.cli.frame import Json, Out, Overrides, Quiet, RunPath, StudyPath, app, errors
from tuner.exporting import prepared_again
from tuner.files import write_atomically
from tuner.live import Live
from tuner.results import Result, read_result
from tuner.rundir import RunDirectory, StudyMark, locked, open_run
from tuner.space import server_part
from tuner.study.load import Study, load_study
from tuner.terminal import interruptible, note, shown
from tuner.tuning import Tuning
from tuner.wiring import Prepared, prepare, simulation_of, started


@app.command()
def run(
    study: StudyPath,
    out: Out = None,
    overrides: Overrides = None,
    trials: Annotated[int | None, typer.Option(min=1, help="search.budget.trials")] = None,
    time: Annotated[str | None, typer.Option(metavar="T", help="search.budget.time, like `5 min`")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="search.seed")] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="start over; an old run is kept")] = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Search, confirm, report and export: the whole job. `tune STUDY.yaml` is the same.

    An unfinished run of the same study is resumed. Exit codes: 0 done, 2 bad usage or study, 3 the target cannot be
    used, 4 nothing met the SLO, 5 not decided, 130 interrupted.
    """
    with errors():
        given = {"search.budget.trials": trials, "search.budget.time": time, "search.seed": seed}
        options = [f"{place}={value}" for place, value in given.items() if value is not None]
        loaded = load_study(study, [*(overrides or ()), *options])
        mark = StudyMark(loaded.fingerprint(), loaded.fingerprint_of_files(), loaded.given)
        directory = open_run(Path("runs"), loaded.spec.study, mark, out, fresh=fresh)
        with locked(directory):
            result = _finished(directory) or _tune(loaded, directory, quiet=quiet)
        _show(result, directory, as_json=as_json)
        raise typer.Exit(result.exit_code or 0)


def _finished(directory: RunDirectory) -> Result | None:
    """Return the result of a run that is done, None otherwise."""
    if not directory.result.exists():
        return None
    result = read_result(directory.path)
    if result.state != "done":
        return None
    note(f"this run is done: {shown(directory.path)}; start over with --fresh")
    return result


def _tune(loaded: Study, directory: RunDirectory, *, quiet: bool) -> Result:
    prepared = prepare(loaded, directory.log)
    with Live(prepared.space, prepared.goals, quiet=quiet) as live:
        try:
            with interruptible(), started(prepared, directory.path) as bench:
                simulation = simulation_of(prepared)
                tuning = Tuning(
                    loaded,
                    directory,
                    prepared.space,
                    prepared.workloads,
                    bench.trier,
                    bench.environment,
                    live,
                    simulation.twin,
                    simulation.missing,
                )
                result = tuning.run()
        except (KeyboardInterrupt, TargetError):
            if directory.result.exists():
                _write_reports(read_result(directory.path), directory, prepared)
                note(f"what there is: {shown(directory.path)}; the same command resumes")
            raise
        _write_reports(result, directory, prepared)
    return result


def _write_reports(result: Result, directory: RunDirectory, prepared: Prepared | None) -> None:
    """Write everything that is made of a stored result."""
    write_atomically(directory.path / "trials.csv", tables.trials_csv(result))
    write_atomically(directory.path / "front.csv", tables.front_csv(result))
    write_atomically(
        directory.path / "report.html",
        html.render(result, _diff(result, prepared), overtime.panels(result, directory.path)),
    )


def _diff(result: Result, prepared: Prepared | None) -> str:
    if prepared is None or result.best is None:
        return ""
    export = prepared.target.export(server_part(result.best.config))
    return html.config_diff(export.originals, export.files)


def _show(result: Result, directory: RunDirectory, *, as_json: bool) -> None:
    if as_json:
        sys.stdout.write(directory.result.read_text() + "\n")
        return
    console = Console()
    if (table := text.summary(result)) is not None:
        console.print(table)
    console.print(text.headline(result), highlight=False)
    where = shown(directory.path)
    console.print(f"report   {where}/report.html", highlight=False, soft_wrap=True)
    if result.best and result.best.export:
        verified = "loaded by the server" if result.best.export_verified else "not verified"
        console.print(f"config   {where}/{result.best.export}/  ({verified})", highlight=False, soft_wrap=True)
        console.print(f"apply    tune export {where} --to YOUR_FOLDER", highlight=False, soft_wrap=True)


@app.command()
def report(
    run_path: RunPath, open_it: Annotated[bool, typer.Option("--open", help="open it in the browser")] = False
) -> None:
    """Rebuild report.html, trials.csv and front.csv from the stored result; no server is needed."""
    with errors():
        result = read_result(run_path)
        directory = RunDirectory(run_path.resolve())
        _write_reports(result, directory, prepared_again(result, directory))
        path = directory.path / "report.html"
        Console().print(shown(path), highlight=False, soft_wrap=True)
        if open_it:
            webbrowser.open(path.as_uri())
