"""Find SGLang on this machine and ask it what it is and what it can be told."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

from targets.base import TargetError
from targets.openai.help import Option, parse

MODULE = "sglang.launch_server"
ASK_TIMEOUT_S = 300.0
INSTALL_HINT = (
    "install it with: pip install sglang (see docs/sglang.md), "
    "or name the Python that has it with `target.server` in the study"
)
_VERSION = "from importlib.metadata import version; print(version('sglang'))"


@dataclass(frozen=True)
class Installation:
    """A Python that has SGLang.

    Attributes:
        executable: the Python.
        source: where it was found: `study`, `environment` (the running Python) or `PATH` (beside the command `sglang`).
    """

    executable: Path
    source: str


@dataclass(frozen=True)
class Abilities:
    """What an SGLang is and can be told.

    Attributes:
        version: as it names it, like `0.5.23`.
        options: of its server, by name.
    """

    version: str
    options: Mapping[str, Option]


def find(given: Path | None) -> Installation:
    """Find a Python that has SGLang.

    Args:
        given: that the study names.

    Raises:
        TargetError: there is none, or the given one is no executable file.
    """
    if given is not None:
        if not os.access(given, os.X_OK) or given.is_dir():
            raise TargetError(f"target.server: {given} is no executable file; {INSTALL_HINT}")
        return Installation(given, "study")
    if find_spec("sglang") is not None:
        return Installation(Path(sys.executable), "environment")
    on_path = shutil.which("sglang")
    beside = Path(on_path).resolve().parent / "python3" if on_path else None
    if beside is not None and os.access(beside, os.X_OK):
        return Installation(beside, "PATH")
    raise TargetError(f"{sys.executable} has no sglang, and no command `sglang` is on PATH; {INSTALL_HINT}")


def abilities(installation: Installation, env: Mapping[str, str]) -> Abilities:
    """Ask an SGLang for its version and its options; one that was asked already is not asked again.

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
    version = _ask(executable, env, "-c", _VERSION).strip()
    options = parse(_ask(executable, env, "-m", MODULE, "--help"))
    if "max-running-requests" not in options:
        raise TargetError(f"{executable} -m {MODULE} --help names no --max-running-requests; {INSTALL_HINT}")
    return Abilities(version, options)


def _ask(executable: Path, env: frozenset[tuple[str, str]], *arguments: str) -> str:
    command = f"{executable} {' '.join(arguments)}"
    try:
        ended = subprocess.run(
            [executable, *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env=dict(env),
            text=True,
            timeout=ASK_TIMEOUT_S,
            check=False,
        )
    except OSError as error:
        raise TargetError(f"{executable} cannot be run: {error}; {INSTALL_HINT}") from None
    except subprocess.TimeoutExpired:
        raise TargetError(f"{command} gave no answer within {ASK_TIMEOUT_S:g} s") from None
    if ended.returncode != 0 or not ended.stdout.strip():
        last = next((line for line in reversed(ended.stderr.splitlines()) if line.strip()), "it said nothing")
        raise TargetError(f"{command} ended with exit code {ended.returncode}: {last}; {INSTALL_HINT}")
    return ended.stdout
