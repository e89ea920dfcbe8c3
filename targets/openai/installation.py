"""Find the program of a server on this machine, and ask it what it is."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from targets.base import TargetError


@dataclass(frozen=True)
class Installation:
    """A server's program.

    Attributes:
        executable: its command, or the Python that has it.
        source: where it was found: `study`, `environment` (the running Python, or beside it) or `PATH`.
    """

    executable: Path
    source: str


def find_command(command: str, given: Path | None, hint: str) -> Installation:
    """Find a command: the one that the study names, else beside the running Python, else on PATH.

    Args:
        command: its name.
        given: that the study names.
        hint: how to install it.

    Raises:
        TargetError: there is none, or the given one is no executable file.
    """
    if given is not None:
        return the_given(given, hint)
    beside = Path(sys.executable).parent / command
    if os.access(beside, os.X_OK):
        return Installation(beside, "environment")
    if on_path := shutil.which(command):
        return Installation(Path(on_path), "PATH")
    raise TargetError(f"no {command} found beside {sys.executable} or on PATH; {hint}")


def the_given(given: Path, hint: str) -> Installation:
    """Take the program that the study names. Raises TargetError where it is no executable file."""
    if not os.access(given, os.X_OK) or given.is_dir():
        raise TargetError(f"target.server: {given} is no executable file; {hint}")
    return Installation(given, "study")


def answer(executable: Path, *arguments: str, env: Mapping[str, str], timeout_s: float, hint: str) -> str:
    """Run a program and return what it writes, to standard output or, if nothing, to standard error.

    Args:
        executable: the program.
        arguments: of its command line.
        env: all of its environment.
        timeout_s: how long it may take.
        hint: how to install another.

    Raises:
        TargetError: it does not run, fails, or says nothing.
    """
    asked = f"{executable} {' '.join(arguments)}"
    try:
        ended = subprocess.run(
            [executable, *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env=dict(env),
            text=True,
            errors="replace",
            timeout=timeout_s,
            check=False,
        )
    except OSError as error:
        raise TargetError(f"{executable} cannot be run: {error}; {hint}") from None
    except subprocess.TimeoutExpired:
        raise TargetError(f"{asked} gave no answer within {timeout_s:g} s") from None
    said = ended.stdout if ended.stdout.strip() else ended.stderr
    if ended.returncode != 0 or not said.strip():
        last = next((line for line in reversed(ended.stderr.splitlines()) if line.strip()), "it said nothing")
        raise TargetError(f"{asked} ended with exit code {ended.returncode}: {last}; {hint}")
    return said
