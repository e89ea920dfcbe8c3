"""The frame of the command line: the app, options that commands share, and how a failure ends."""

import atexit
import gc
import os
import select
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, NamedTuple, NoReturn

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command_from_info, get_group

from tuner import __version__
from tuner.garbage import keeping_all
from tuner.terminal import plain_console

BAD_USAGE, TARGET_UNUSABLE, NOT_VALID, OUR_BUG, INTERRUPTED = 2, 3, 5, 70, 130
DEBUG = "PARETUNE_DEBUG"
ISSUES = "the project's issue tracker"
_UsageError: type[Exception] = next(one for one in typer.BadParameter.__mro__ if one.__name__ == "UsageError")
"""What a command line that cannot be taken raises; it has no other place that is the same in all versions of typer."""
FIRST_CONTACT = """\
tune init         write a study: for the models of this folder, of a server (--url), or one to fill in
tune STUDY.yaml   find the fastest configuration that meets its SLO, prove it, and write it back
tune doctor       say what works on this machine; `tune --help` has the rest"""


class Listed(NamedTuple):
    """A command as the help lists it; its module is imported when the command is used."""

    module: str
    panel: str
    summary: str


_START, _MEASURE, _AFTER, _KNOW = "Start", "Measure", "Look at a run, use it", "Look things up"
COMMANDS = {
    "init": Listed("starting", _START, "Write a study: for your models, for a server, or an example."),
    "doctor": Listed("helping", _START, "Say what works on this machine, and what to do about the rest."),
    "run": Listed("running", _MEASURE, "Search, confirm, report, export. `tune STUDY.yaml` is the same."),
    "worker": Listed("hosting", _MEASURE, "Work on a study together with other hosts."),
    "bench": Listed("measuring", _MEASURE, "Measure one configuration: yours, or one given with --set."),
    "compare": Listed("measuring", _MEASURE, "Compare two configurations, or two stored runs."),
    "gate": Listed("gating", _MEASURE, "Fail where a release is slower than before, for certain."),
    "agent": Listed("joining", _MEASURE, "Make load for a run on another machine, see `tune run --agents`."),
    "preview": Listed("previewing", _MEASURE, "Show the traffic of a study; no server is needed."),
    "manifests": Listed("deploying", _MEASURE, "Render a study for Kubernetes, or for docker compose."),
    "status": Listed("hosting", _AFTER, "Show how a study that hosts share stands, from anywhere."),
    "show": Listed("looking", _AFTER, "Show a run's trials, or one of them in full."),
    "open": Listed("looking", _AFTER, "Open a run's report in the browser."),
    "ui": Listed("dashboard", _AFTER, "Open Optuna's dashboard on a run."),
    "report": Listed("looking", _AFTER, "Write a run's reports again, and in other formats."),
    "export": Listed("exporting", _AFTER, "Write a run's configuration in the server's own format."),
    "knobs": Listed("helping", _KNOW, "List what can be tuned on a kind of server."),
    "schema": Listed("helping", _KNOW, "Print the JSON Schema of study files, or of results."),
}
"""Every command, in the order of the help."""


class Commands(TyperGroup):
    """The commands. `tune STUDY.yaml` is `tune run STUDY.yaml`; --debug may stand anywhere."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        known = dict(self.commands)
        for name, one in COMMANDS.items():
            listed = TyperCommand(name, help=one.summary, rich_help_panel=one.panel)
            self.commands[name] = known.get(name, listed)
        self._whole = set(known)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put --debug in front, and `run` before the name of a study, or before options of a run that precede it."""
        given = [one for one in args if one != "--debug"]
        if given and (self._of_a_run(ctx, given) if given[0].startswith("-") else not self._is_command(given[0])):
            given = ["run", *given]
        return super().parse_args(ctx, [*(["--debug"] if "--debug" in args else []), *given])

    def _of_a_run(self, ctx: Any, given: list[str]) -> bool:
        """Whether a line that begins with an option, which is none for all commands, is about a study."""
        own = {name for one in self.get_params(ctx) for name in one.opts}
        named = any(Path(word).suffix in (".yaml", ".yml") for word in given)
        return given[0] not in own and named and not any(word in self.commands for word in given)

    def _is_command(self, word: str) -> bool:
        """Whether a word is a command, or one mistyped: it is like one, and no file."""
        mistyped = not Path(word).suffix and not Path(word).exists() and bool(get_close_matches(word, self.commands))
        return word in self.commands or mistyped

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Return the command that is asked for, imported now."""
        self.load(args[0])
        return super().resolve_command(ctx, args)

    def load(self, name: str) -> None:
        """Import a command; nothing where there is none of that name."""
        if name in self._whole or name not in COMMANDS:
            return
        with keeping_all():
            import_module(f"{__package__}.{COMMANDS[name].module}")
        for info in app.registered_commands:
            if name in (info.name, getattr(info.callback, "__name__", None)):
                self.commands[name] = get_command_from_info(
                    info, pretty_exceptions_short=True, rich_markup_mode=self.rich_markup_mode
                )
                self._whole.add(name)
        for group in app.registered_groups:
            if name == group.name and group.typer_instance is not None:
                self.commands[name] = get_group(group.typer_instance)
                self._whole.add(name)

    def loaded(self) -> dict[str, Any]:
        """Return every command by its name, all of them imported."""
        for name in COMMANDS:
            self.load(name)
        return dict(self.commands)


app = typer.Typer(
    cls=Commands,
    add_completion=True,
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


@app.callback(invoke_without_command=True)
def _root(
    ctx: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="print the version and exit")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="show the traceback of an error; anywhere in a line")] = False,
) -> None:
    if debug:
        os.environ[DEBUG] = "1"
    if version:
        plain_console().print(f"paretune {__version__}")
        raise typer.Exit
    if ctx.invoked_subcommand is None:
        plain_console().print(FIRST_CONTACT, soft_wrap=True)


@contextmanager
def errors() -> Iterator[None]:
    """Turn what can go wrong into one message and an exit code."""
    try:
        yield
    except KeyboardInterrupt:
        fail(INTERRUPTED, "interrupted")
    except typer.Exit:
        raise
    except Exception as error:
        if isinstance(error, _UsageError):
            fail(BAD_USAGE, _misused(error))
        if isinstance(error, BrokenPipeError) and _nobody_reads_stdout():  # whoever read our output has seen enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return
        debugging = os.environ.get(DEBUG, "") not in ("", "0")
        if debugging:
            sys.stderr.write(traceback.format_exc())
        code, said = import_module(f"{__package__}.failures").code_of(error)
        fail(OUR_BUG, _bug(error, shown=debugging)) if code is None else fail(code, said)


def _misused(error: Any) -> str:
    """Return what is said of a command line that cannot be taken, with the remedy."""
    if type(error) is typer.BadParameter and error.ctx is None:  # one of ours, which says it all
        return str(error.message)
    said = " ".join(error.format_message().split())
    said = f"{said[:1].lower()}{said[1:]}".removesuffix(".")
    command = error.ctx.command_path if error.ctx is not None else "tune COMMAND"
    if error.ctx is not None and error.ctx.parent is None and type(error).__name__ == "NoSuchOption":
        return f"{said}; what a command takes stands behind its name: {command} COMMAND --help"
    return f"{said}{' see' if said.endswith('?') else '; see'} {command} --help"


def _nobody_reads_stdout() -> bool:
    """Whether it is stdout that is broken, and no other pipe."""
    poll = select.poll()
    poll.register(sys.stdout.fileno(), 0)
    return any(event & select.POLLERR for _, event in poll.poll(0))


def _bug(error: Exception, *, shown: bool) -> str:
    """Return what is said of an error that nobody expected."""
    said = " ".join(str(error).split())
    what = f"{type(error).__name__}: {said}" if said else type(error).__name__
    hint = "the lines above" if shown else "what --debug shows"
    return f"{what}; this is a bug of Paretune {__version__}: please report it, with {hint}, in {ISSUES}"


def fail(code: int, message: str) -> NoReturn:
    """Say what is wrong, and end with an exit code."""
    plain_console(stderr=True).print(f"tune: {message}", soft_wrap=True)
    raise typer.Exit(code)


def main() -> None:
    """Run the command line; every failure ends in one message and its exit code."""
    called = Path(sys.argv[0]).name
    atexit.register(gc.freeze)  # the interpreter looks through all objects before it ends: 0.7 s after a run
    try:
        with errors():
            # Otherwise it would say by itself, in a box of lines, what is wrong with a command line.
            code = app(prog_name=called if called in ("tune", "paretune") else "tune", standalone_mode=False)
        sys.exit(code)
    except typer.Exit as end:
        sys.exit(end.exit_code)
