"""What is done with a run's results: `show`, `open`, `report`."""

import json
import sys
import webbrowser
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from reports import bench as bench_report
from reports import images, markdown, parquet, perf_analyzer, trials
from reports.charts import page
from tuner.cli.frame import BAD_USAGE, Json, RunPath, app, errors, fail
from tuner.cli.writing import change, write_reports
from tuner.exporting import prepared_again
from tuner.files import write_atomically
from tuner.garbage import keeping_all
from tuner.results import Result, Trial, read_result
from tuner.rundir import RunDirectory
from tuner.terminal import note, plain_console, shown
from workloads.units import parse_price


def _file(option: str, what: str) -> Any:
    return typer.Option(option, metavar="FILE", help=what)


@app.command()
def show(
    run_path: RunPath,
    trial: Annotated[int | None, typer.Option(metavar="N", help="this one in full")] = None,
    as_json: Json = False,
) -> None:
    """Show a run's trials as a table, or one of them in full. A run that is under way can be shown as well."""
    with errors():
        result = read_result(run_path)
        one = None if trial is None else _trial(result, trial)
        if as_json:
            document = [each.model_dump(mode="json") for each in ([one] if one else result.trials)]
            sys.stdout.write(json.dumps(document[0] if one else document, indent=1) + "\n")
        elif one is not None:
            plain_console().print(trials.head(result, one), soft_wrap=True)
            isolation = result.environment.get("isolation", "unknown")
            plain_console().print(bench_report.picture(one, isolation, None, result.own_metrics))
        else:
            plain_console().print(trials.table(result))


def _trial(result: Result, number: int) -> Trial:
    try:
        return result.trial(number)
    except KeyError:
        numbers = ", ".join(str(one.number) for one in result.trials)
        fail(BAD_USAGE, f"--trial {number}: no such trial; there are {numbers}")


@app.command(name="open")
def open_command(run_path: RunPath) -> None:
    """Open a run's report in the browser."""
    with errors():
        path = run_path.resolve() / "report.html"
        if not path.is_file():
            read_result(run_path)  # says so where this is no run at all
            fail(BAD_USAGE, f"{shown(path)} is not there yet; `tune report {run_path}` writes it")
        _open(path)


def _open(path: Path) -> None:
    plain_console().print(shown(path), soft_wrap=True)
    if not webbrowser.open(path.as_uri()):
        note("no browser could be started here; open the file above in one")


def _price(given: str) -> float:
    try:
        return parse_price(given)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


@app.command()
@keeping_all()
def report(
    run_path: RunPath,
    open_it: Annotated[bool, typer.Option("--open", help="open it in the browser")] = False,
    summary: Annotated[Path | None, _file("--markdown", "a summary, for a pull request")] = None,
    analyzer: Annotated[Path | None, _file("--perf-analyzer", "CSV as perf_analyzer writes it")] = None,
    columns: Annotated[Path | None, _file("--parquet", "the trials as a Parquet file")] = None,
    price: Annotated[
        float | None, typer.Option(parser=_price, metavar="PRICE", help="of the server, like $1.20/h, for this report")
    ] = None,
    pictures: Annotated[
        images.Format | None, typer.Option("--images", help="the charts as files, in the run's folder images")
    ] = None,
) -> None:
    """Rebuild report.html, trials.csv and front.csv from the stored result; no server is needed."""
    with errors():
        result = _priced(read_result(run_path), price)
        directory = RunDirectory(run_path.resolve())
        prepared = prepared_again(result, directory)
        write_reports(result, directory, prepared)
        path = directory.path / "report.html"
        if summary is not None:
            said = markdown.summary(result, change(result, directory, prepared))
            _save(summary, lambda: write_atomically(summary, said))
        if analyzer is not None:
            _save(analyzer, lambda: write_atomically(analyzer, perf_analyzer.csv_of_best(result)))
        if columns is not None:
            _save(columns, lambda: parquet.write_trials(result, columns))
        for made in (summary, analyzer, columns):
            if made is not None:
                plain_console().print(str(made), soft_wrap=True)
        if pictures is not None:
            _draw(result, directory.path, pictures)
        if open_it:
            _open(path)
        else:
            plain_console().print(shown(path), soft_wrap=True)


def _priced(result: Result, price: float | None) -> Result:
    if price is None:
        return result
    return result.model_copy(update={"study": result.study.model_copy(update={"price_usd_per_h": price})})


def _draw(result: Result, run: Path, kind: images.Format) -> None:
    """Write the charts of a run as files and name them."""
    folder = run / "images"
    try:
        made = images.write_images([*page.drawings(result, page.kept(result, run)).values()], folder, kind)
    except images.NoImages as error:
        fail(BAD_USAGE, f"--images {kind}: {error}")
    except OSError as error:
        fail(BAD_USAGE, f"{folder}: cannot be written ({error.strerror})")
    for path in made:
        plain_console().print(shown(path), soft_wrap=True)


def _save(path: Path, write: Callable[[], None]) -> None:
    """Write a file that the user named, in a folder that is made if need be."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write()
    except ImportError as error:
        fail(BAD_USAGE, f"Parquet files need pyarrow ({error}); it comes with: pip install 'paretune[parquet]'")
    except OSError as error:
        fail(BAD_USAGE, f"{path}: cannot be written ({error.strerror}); name another file")
