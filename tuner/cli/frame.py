"""The frame of the command line: the app, options that commands share, and how a failure ends."""

import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console
from typer.core import TyperGroup

from targets.base import TargetError
from tuner import __version__
from tuner.exporting import ExportError
from tuner.head_to_head import NotOneConfig
from tuner.load.generator import GeneratorError
from tuner.results import ResultError
from tuner.rundir import RunDirectoryError
from tuner.starters import StarterError
from tuner.storage import StorageError
from tuner.study.source import StudyError

BAD_USAGE, TARGET_UNUSABLE, NOT_VALID, OUR_BUG, INTERRUPTED = 2, 3, 5, 70, 130
_USAGE = (StudyError, RunDirectoryError, ResultError, ExportError, StarterError, NotOneConfig, StorageError)
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


@app.callback(invoke_without_command=True)
def _root(
    version: Annotated[bool, typer.Option("--version", help="print the version and exit")] = False,
) -> None:
    if version:
        Console().print(f"paretune {__version__}")
        raise typer.Exit


@contextmanager
def errors() -> Iterator[None]:
    """Turn what can go wrong into one message and an exit code."""
    try:
        yield
    except _USAGE as error:
        fail(BAD_USAGE, str(error))
    except TargetError as error:
        fail(TARGET_UNUSABLE, str(error))
    except GeneratorError as error:
        fail(NOT_VALID, str(error))
    except KeyboardInterrupt:
        fail(INTERRUPTED, "interrupted")
    except BrokenPipeError:  # whoever read our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (typer.Exit, typer.BadParameter, typer.Abort):
        raise
    except Exception:
        sys.stderr.write(traceback.format_exc())
        fail(
            OUR_BUG,
            f"this is a bug of Paretune {__version__}; please report it, with the lines above, in {ISSUES}",
        )


def fail(code: int, message: str) -> NoReturn:
    """Say what is wrong, and end with an exit code."""
    Console(stderr=True).print(f"tune: {message}", markup=False, highlight=False, soft_wrap=True)
    raise typer.Exit(code)
