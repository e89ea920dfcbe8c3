"""The command line: `tune STUDY.yaml` and its companions. Wires the parts together; decides nothing else."""

import json
import os
import shutil
import sys
import traceback
import webbrowser
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console
from typer.core import TyperGroup

from reports import bench as bench_report
from reports import comparison, html, tables, text
from targets.base import TargetError
from tuner import __version__, doctor, head_to_head
from tuner.ceiling import cached_ceiling
from tuner.exporting import ExportError, exported, prepared_again
from tuner.head_to_head import NotOneConfig
from tuner.live import Live
from tuner.load.generator import GeneratorError
from tuner.results import Comparison, Result, ResultError, Trial, read_result, result_schema, write_atomically
from tuner.rundir import RunDirectory, RunDirectoryError, back_up, locked, open_run
from tuner.space import server_part
from tuner.starters import StarterError, write_starter
from tuner.study.load import Study, load_study
from tuner.study.schema import study_schema
from tuner.study.source import StudyError
from tuner.terminal import interruptible, note, shown
from tuner.tuning import Tuning
from tuner.wiring import Bench, Prepared, prepare, started
from tuner.workload import every_load

BAD_USAGE, TARGET_UNUSABLE, NOT_VALID, OUR_BUG, INTERRUPTED = 2, 3, 5, 70, 130
_USAGE = (StudyError, RunDirectoryError, ResultError, ExportError, StarterError, NotOneConfig)
ISSUES = "the project's issue tracker"


class _DefaultsToRun(TyperGroup):
    """`tune STUDY.yaml` is `tune run STUDY.yaml`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and not args[0].startswith("-") and args[0] not in self.commands:
            args = ["run", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=_DefaultsToRun,
    add_completion=True,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Find the fastest configuration of a model server that meets a latency SLO, prove it, and write it back.",
)

StudyPath = Annotated[Path, typer.Argument(metavar="STUDY.yaml", help="the study file")]
RunPath = Annotated[Path, typer.Argument(metavar="RUN", help="a run directory, like runs/digits/latest")]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="PATH=VALUE", help="override a value of the study; may be repeated"),
]
Out = Annotated[Path | None, typer.Option("--out", metavar="DIR", help="the run directory itself")]
Json = Annotated[bool, typer.Option("--json", help="print the result as JSON on stdout")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="no progress")]


def main() -> None:
    """Run the command line; every failure ends in one message and its exit code."""
    try:
        app(standalone_mode=True)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


@app.callback(invoke_without_command=True)
def _root(
    version: Annotated[bool, typer.Option("--version", help="print the version and exit")] = False,
) -> None:
    if version:
        Console().print(f"paretune {__version__}")
        raise typer.Exit


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
    with _errors():
        given = {"search.budget.trials": trials, "search.budget.time": time, "search.seed": seed}
        options = [f"{place}={value}" for place, value in given.items() if value is not None]
        loaded = load_study(study, [*(overrides or ()), *options])
        directory = open_run(Path("runs"), loaded.spec.study, loaded.fingerprint(), out, fresh=fresh)
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
                tuning = Tuning(
                    loaded,
                    directory,
                    prepared.space,
                    prepared.workloads,
                    bench.trier,
                    bench.environment,
                    live,
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
    write_atomically(directory.path / "report.html", html.render(result, _diff(result, prepared)))


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
    console.print(text.summary(result))
    console.print(text.headline(result), highlight=False)
    where = shown(directory.path)
    console.print(f"report   {where}/report.html", highlight=False, soft_wrap=True)
    if result.best and result.best.export:
        verified = "loaded by the server" if result.best.export_verified else "not verified"
        console.print(f"config   {where}/{result.best.export}/  ({verified})", highlight=False, soft_wrap=True)
        console.print(f"apply    tune export {where} --to YOUR_FOLDER", highlight=False, soft_wrap=True)


@app.command()
def bench(study: StudyPath, overrides: Overrides = None, as_json: Json = False, quiet: Quiet = False) -> None:
    """Measure one configuration: yours, with every knob fixed by --set space.KNOB=VALUE.

    Each workload is measured at each load level of the space. Exit code 5: a measurement was not valid.
    """
    with _errors():
        loaded = load_study(study, overrides or ())
        directory = open_run(Path("runs"), f"{loaded.spec.study}-bench", "", None, fresh=True)
        prepared = prepare(loaded, directory.log)
        ceiling = cached_ceiling()
        with _started(prepared, directory, quiet=quiet) as (live, made):
            fixed = {one.name: one.values[0] for one in prepared.space if len(one.values) == 1}
            user = prepared.target.user_config()
            made.trier.learn_reference(user)
            config = {**user, **server_part(fixed)}
            live.phase("bench", "one configuration, every workload and load level")
            loads = every_load(prepared.workloads, prepared.space)
            trial = made.trier.trial(0, config, loads)
        write_atomically(directory.path / "bench.json", trial.model_dump_json(indent=1))
        if as_json:
            sys.stdout.write(trial.model_dump_json(indent=1) + "\n")
        else:
            console = Console(width=max(140, shutil.get_terminal_size().columns))
            core_rps = ceiling.core_rps if ceiling else None
            console.print(bench_report.picture(trial, made.environment["isolation"], core_rps))
        _end_bench(trial)


@contextmanager
def _started(prepared: Prepared, directory: RunDirectory, *, quiet: bool) -> Iterator[tuple[Live, Bench]]:
    with (
        locked(directory),
        Live(prepared.space, prepared.goals, quiet=quiet) as live,
        interruptible(),
        started(prepared, directory.path) as made,
    ):
        yield live, made


def _end_bench(trial: Trial) -> None:
    if trial.state in ("refused", "crashed", "hung"):
        _fail(TARGET_UNUSABLE, f"the configuration could not be measured ({trial.state}): {trial.reason}")
    if trial.state == "invalid":
        _fail(NOT_VALID, f"not valid: {trial.reason}")


@app.command()
def compare(
    ours: Annotated[Path, typer.Argument(metavar="STUDY.yaml|RUN", help="a study, or a run to compare with another")],
    theirs: Annotated[Path | None, typer.Argument(metavar="[RUN]", help="the other run", show_default=False)] = None,
    first: Annotated[
        list[str] | None, typer.Option("--ours", metavar="KNOB=VALUE", help="of our configuration")
    ] = None,
    second: Annotated[list[str] | None, typer.Option("--theirs", metavar="KNOB=VALUE", help="of theirs")] = None,
    overrides: Overrides = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Compare two configurations of a study, measured in turn; or two stored runs.

    A side keeps your own configuration but for the knobs that are given. Exit code 5: not valid.
    """
    with _errors():
        if theirs is not None:
            ratios = head_to_head.of_stored(ours, theirs)
            if as_json:
                sys.stdout.write(
                    json.dumps(ratios, indent=1, default=lambda ratio: ratio.model_dump(mode="json")) + "\n"
                )
            else:
                Console().print(comparison.ratios(ratios))
            return
        if ours.is_dir():
            raise typer.BadParameter(f"{ours} is a run: give another one to compare it with")
        made = _compare(ours, (first or [], second or []), overrides or [], quiet=quiet)
        if as_json:
            sys.stdout.write(made.model_dump_json(indent=1) + "\n")
        else:
            Console().print(comparison.sides(made), comparison.ratios(made.ratios))
        if reasons := [*made.ours.reasons, *made.theirs.reasons]:
            _fail(NOT_VALID, f"not valid: {'; '.join(reasons)}")


def _compare(study: Path, settings: tuple[list[str], list[str]], overrides: list[str], *, quiet: bool) -> Comparison:
    loaded = [load_study(study, [*overrides, *(f"space.{one}" for one in knobs)]) for knobs in settings]
    directory = open_run(Path("runs"), f"{loaded[0].spec.study}-compare", "", None, fresh=True)
    prepared, other = (prepare(one, directory.log) for one in loaded)
    user = prepared.target.user_config()
    pair = tuple(
        head_to_head.contender(number, user, one.space, one.workloads) for number, one in enumerate((prepared, other))
    )
    with _started(prepared, directory, quiet=quiet) as (live, made):
        made.trier.learn_reference(user)
        live.phase("compare", f"two configurations in turn, deployed {prepared.study.spec.confirm.redeployments} times")
        found = head_to_head.measure(made.trier, (pair[0], pair[1]), prepared.study.spec.confirm)
    write_atomically(directory.path / "compare.json", found.model_dump_json(indent=1))
    return found


@app.command()
def report(
    run_path: RunPath, open_it: Annotated[bool, typer.Option("--open", help="open it in the browser")] = False
) -> None:
    """Rebuild report.html, trials.csv and front.csv from the stored result; no server is needed."""
    with _errors():
        result = read_result(run_path)
        directory = RunDirectory(run_path.resolve())
        _write_reports(result, directory, prepared_again(result, directory))
        path = directory.path / "report.html"
        Console().print(shown(path), highlight=False, soft_wrap=True)
        if open_it:
            webbrowser.open(path.as_uri())


@app.command()
def export(
    run_path: RunPath,
    to: Annotated[Path | None, typer.Option("--to", metavar="DIR", help="folder to write into")] = None,
    trial: Annotated[int | None, typer.Option(metavar="N", help="another trial than the best")] = None,
    diff: Annotated[bool, typer.Option("--diff", help="print the change instead, or as well")] = False,
) -> None:
    """Write a run's configuration in the server's own format; what stands there is kept as a backup."""
    with _errors():
        if to is None and not diff:
            raise typer.BadParameter("give --to DIR, or --diff to see the change")
        result = read_result(run_path)
        made = exported(result, RunDirectory(run_path.resolve()), trial)
        if diff:
            sys.stdout.write(html.config_diff(made.originals, made.files))
        if to is not None:
            for path, content in made.files.items():
                _write_export(to / path, content)


def _write_export(path: Path, content: str) -> None:
    if path.exists() and path.read_text() == content:
        note(f"{path} says so already")
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    backup = back_up(path)
    write_atomically(path, content)
    Console().print(f"{path}{f'  (the old one: {backup})' if backup else ''}", highlight=False, soft_wrap=True)


@app.command()
def init(
    kind: Annotated[str, typer.Argument(help="what to start from")] = "triton",
    directory: Annotated[Path, typer.Option("--to", metavar="DIR", help="where to put it")] = Path(),
) -> None:
    """Write a starter study: `triton` with every key explained, or an example: `digits`, `mlserver`, `vllm-cpu`."""
    with _errors():
        target = write_starter(kind, directory)
        Console().print(f"{target}  (next: tune {target})", highlight=False, soft_wrap=True)


@app.command()
def knobs(kind: Annotated[str, typer.Argument(help="kind of target")], as_json: Json = False) -> None:
    """List what can be tuned on a kind of target, and the load levels."""
    with _errors():
        rows = doctor.knob_rows(kind)
        if as_json:
            sys.stdout.write(json.dumps(rows, indent=1) + "\n")
        else:
            Console(width=max(100, shutil.get_terminal_size().columns)).print(doctor.table(rows))


@app.command()
def schema(of: Annotated[str, typer.Argument(help="`study` or `result`")] = "study") -> None:
    """Print the JSON Schema of study files, for editors, or of result.json."""
    with _errors():
        if of not in ("study", "result"):
            _fail(BAD_USAGE, f"there is a schema of `study` and of `result`, not of {of!r}")
        document = study_schema() if of == "study" else result_schema()
        sys.stdout.write(json.dumps(document, indent=1) + "\n")


@app.command(name="doctor")
def doctor_command(
    fresh: Annotated[bool, typer.Option("--fresh", help="measure the load generator again")] = False,
) -> None:
    """Say what works on this machine, and what to do about what does not. Exit code 3: no target can be used."""
    with _errors():
        checks = doctor.examine(fresh=fresh)
        Console(width=max(100, shutil.get_terminal_size().columns)).print(doctor.table(checks))
        if not doctor.some_server_can_be_tuned(checks):
            raise typer.Exit(TARGET_UNUSABLE)


@contextmanager
def _errors() -> Iterator[None]:
    """Turn what can go wrong into one message and an exit code."""
    try:
        yield
    except _USAGE as error:
        _fail(BAD_USAGE, str(error))
    except TargetError as error:
        _fail(TARGET_UNUSABLE, str(error))
    except GeneratorError as error:
        _fail(NOT_VALID, str(error))
    except KeyboardInterrupt:
        _fail(INTERRUPTED, "interrupted")
    except BrokenPipeError:  # whoever read our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (typer.Exit, typer.BadParameter, typer.Abort):
        raise
    except Exception:
        sys.stderr.write(traceback.format_exc())
        _fail(
            OUR_BUG,
            f"this is a bug of Paretune {__version__}; please report it, with the lines above, in {ISSUES}",
        )


def _fail(code: int, message: str) -> NoReturn:
    Console(stderr=True).print(f"tune: {message}", markup=False, highlight=False, soft_wrap=True)
    raise typer.Exit(code)
