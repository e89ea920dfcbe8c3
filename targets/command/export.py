"""A configuration as the user keeps it: a file of values, the rendered files, and a script that starts the server."""

import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path

from targets.base import Knob, Value
from targets.command.blueprint import Launch
from targets.command.knobs import written
from targets.command.templates import MARK

DEFAULT_PORT = 8000
DEFAULT_METRICS_PORT = 8001
HERE = "here"


def script(
    launch: Launch, folder: Path, ports: Mapping[str, int], knobs: Mapping[str, Knob], values: Mapping[str, Value]
) -> str:
    """Return a shell script that starts the server.

    Args:
        launch: with marks for what stays variable.
        folder: where the command runs.
        ports: shell variable -> port where it is not set.
        knobs: by name.
        values: of the knobs.
    """
    said = ", ".join(f"{name} {written(knobs[name], value)}" for name, value in values.items())
    lines = [
        "#!/bin/sh",
        f"# Starts the server with: {said or 'no knobs'}.",
        f"# {' and '.join([', '.join(ports), 'STUDY_FOLDER'])} can be set otherwise; the command runs in STUDY_FOLDER.",
        *(['here=$(CDPATH="" cd -- "$(dirname -- "$0")" && pwd) || exit 1'] if launch.files else []),
        *(f"{name}=${{{name}:-{port}}}" for name, port in ports.items()),
        f"STUDY_FOLDER=${{STUDY_FOLDER:-{shlex.quote(str(folder))}}}",
        'cd -- "$STUDY_FOLDER" || exit 1',
        *_start(launch),
    ]
    return "".join(f"{line}\n" for line in lines)


def _start(launch: Launch) -> Iterator[str]:
    """Yield the commands that start the server.

    The arguments are made before the variables are set, and these in one command: all refer to the environment as it
    was before.
    """
    if not launch.env:
        yield f"exec {_wrapped(launch.arguments)}"
        return
    yield f"set -- {_wrapped(launch.arguments)}"
    yield "export " + " \\\n  ".join(f"{name}={_word(text)}" for name, text in launch.env.items())
    yield 'exec "$@"'


def _wrapped(arguments: tuple[str, ...]) -> str:
    """Return the arguments as shell words, with each option on a line of its own."""
    text = _word(arguments[0])
    for argument in arguments[1:]:
        text += (" \\\n  " if argument.startswith("-") else " ") + _word(argument)
    return text


def _word(text: str) -> str:
    """Return a rendered text as one shell word: everything is quoted but the variables that its marks name."""
    pieces = MARK.split(text)  # text, expression, text, expression, ..., text
    words = [_variable(piece) if index % 2 else shlex.quote(piece) for index, piece in enumerate(pieces) if piece]
    return "".join(words) or "''"


def _variable(expression: str) -> str:
    return f'"${{{expression}}}"' if ":" in expression else f'"${expression}"'
