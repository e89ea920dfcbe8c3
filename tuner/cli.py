"""The command line: `tune STUDY.yaml` and its companions. Wires the parts together; decides nothing else."""

import json
import os
import shutil
import signal
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

import studies
from reports import bench as bench_report
from reports import html, tables, text
from targets.base import Export, TargetError
from tuner import __version__, doctor
from tuner.ceiling import cached_ceiling
from tuner.live import Live
from tuner.load.generator import GeneratorError
from tuner.results import Result, ResultError, Trial, read_result, result_schema, write_atomically
from tuner.rundir import RunDirectory, RunDirectoryError, back_up, locked, open_run
from tuner.space import server_part
from tuner.study.load import Study, StudyError, load_study
from tuner.study.spec import StudySpec
from tuner.tuning import Tuning
from tuner.wiring import Prepared, prepare, started
from tuner.workload import every_load

BAD_USAGE, TARGET_UNUSABLE, NOT_VALID, OUR_BUG, INTERRUPTED = 2, 3, 5, 70, 130
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
    _note(f"this run is done: {_shown(directory.path)}; start over with --fresh")
    return result


def _tune(loaded: Study, directory: RunDirectory, *, quiet: bool) -> Result:
    prepared = prepare(loaded, directory.log)
    with Live(prepared.space, quiet=quiet) as live:
        try:
            with _interruptible(), started(prepared, directory.path) as bench:
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
                _note(f"what there is: {_shown(directory.path)}; the same command resumes")
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
    where = _shown(directory.path)
    console.print(f"report   {where}/report.html", highlight=False, soft_wrap=True)
    if result.best and result.best.export:
        verified = "loaded by the server" if result.best.export_verified else "not verified"
        console.print(f"config   {where}/{result.best.export}/  ({verified})", highlight=False, soft_wrap=True)
        console.print(f"apply    tune export {where} --to YOUR_REPOSITORY", highlight=False, soft_wrap=True)


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
        with (
            locked(directory),
            Live(prepared.space, quiet=quiet) as live,
            _interruptible(),
            started(prepared, directory.path) as made,
        ):
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


def _end_bench(trial: Trial) -> None:
    if trial.state in ("refused", "crashed", "hung"):
        _fail(TARGET_UNUSABLE, f"the configuration could not be measured ({trial.state}): {trial.reason}")
    if trial.state == "invalid":
        _fail(NOT_VALID, f"not valid: {trial.reason}")


@app.command()
def report(
    run_path: RunPath, open_it: Annotated[bool, typer.Option("--open", help="open it in the browser")] = False
) -> None:
    """Rebuild report.html, trials.csv and front.csv from the stored result; no server is needed."""
    with _errors():
        result = read_result(run_path)
        directory = RunDirectory(run_path.resolve())
        _write_reports(result, directory, _prepared_again(result, directory))
        path = directory.path / "report.html"
        Console().print(_shown(path), highlight=False, soft_wrap=True)
        if open_it:
            webbrowser.open(path.as_uri())


@app.command()
def export(
    run_path: RunPath,
    to: Annotated[Path | None, typer.Option("--to", metavar="DIR", help="model repository to write into")] = None,
    trial: Annotated[int | None, typer.Option(metavar="N", help="another trial than the best")] = None,
    diff: Annotated[bool, typer.Option("--diff", help="print the change instead, or as well")] = False,
) -> None:
    """Write a run's configuration in the server's own format; what stands there is kept as a backup."""
    with _errors():
        if to is None and not diff:
            raise typer.BadParameter("give --to DIR, or --diff to see the change")
        result = read_result(run_path)
        exported = _exported(result, RunDirectory(run_path.resolve()), trial)
        if diff:
            sys.stdout.write(html.config_diff(exported.originals, exported.files))
        if to is not None:
            for path, content in exported.files.items():
                _write_export(to / path, content)


def _exported(result: Result, directory: RunDirectory, number: int | None) -> Export:
    if number is None and result.best is None:
        _fail(BAD_USAGE, "this run has no best configuration; name a trial with --trial N")
    try:
        config = result.trial(number).config if number is not None else (result.best and result.best.config) or {}
    except KeyError:
        numbers = ", ".join(str(one.number) for one in result.trials)
        _fail(BAD_USAGE, f"--trial {number}: no such trial; there are {numbers}")
    prepared = _prepared_again(result, directory)
    if prepared is None:
        _fail(
            BAD_USAGE,
            f"the study {result.study.path} and its model repository are needed, and are not there any more",
        )
    return prepared.target.export(server_part(config))


def _write_export(path: Path, content: str) -> None:
    if path.exists() and path.read_text() == content:
        _note(f"{path} says so already")
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    backup = back_up(path)
    write_atomically(path, content)
    Console().print(f"{path}{f'  (the old one: {backup})' if backup else ''}", highlight=False, soft_wrap=True)


def _prepared_again(result: Result, directory: RunDirectory) -> Prepared | None:
    """Read a run's study and model again, None when they are not there any more."""
    overrides = [*result.study.overrides, "isolation=none"]  # nothing is started: the CPUs it names need not be here
    try:
        return prepare(load_study(Path(result.study.path), overrides, result.study.text), directory.log)
    except (StudyError, TargetError):
        return None


@app.command()
def init(
    kind: Annotated[str, typer.Argument(help="what to start from")] = "triton",
    directory: Annotated[Path, typer.Option("--to", metavar="DIR", help="where to put it")] = Path(),
) -> None:
    """Write a starter study: `triton` with every key explained, or `digits`, the example with its model."""
    with _errors():
        source = Path(studies.__path__[0])
        starters = {"triton": source / "templates" / "triton.yaml", "digits": source / "digits.yaml"}
        if kind not in starters:
            _fail(BAD_USAGE, f"no starter study {kind!r}; there are: {', '.join(starters)}")
        target = directory / f"{'study' if kind == 'triton' else kind}.yaml"
        folder = directory / "digits"
        for path in [target, *([folder] if kind == "digits" else [])]:
            if path.exists():
                _fail(BAD_USAGE, f"{path} is there already; move it away, or give another folder with --to")
        directory.mkdir(parents=True, exist_ok=True)
        shutil.copy(starters[kind], target)
        if kind == "digits":
            shutil.copytree(source / "digits", folder, ignore=shutil.ignore_patterns("__pycache__"))
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
        document = StudySpec.model_json_schema() if of == "study" else result_schema()
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
    except (StudyError, RunDirectoryError, ResultError) as error:
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


def _note(message: str) -> None:
    Console(stderr=True).print(message, markup=False, highlight=False, soft_wrap=True)


def _shown(path: Path) -> str:
    """Return a path as the user would type it from here."""
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)


@contextmanager
def _interruptible() -> Iterator[None]:
    """Let SIGTERM end a run the way Ctrl-C does."""

    def interrupt(*_: object) -> NoReturn:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
