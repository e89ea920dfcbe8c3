"""Find SGLang on this machine and ask it what it is and what it can be told."""

import os
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from importlib.util import find_spec
from pathlib import Path

from targets.base import TargetError
from targets.openai.help import Option, parse
from targets.openai.installation import Installation, answer, the_given

MODULE = "sglang.launch_server"
ASK_TIMEOUT_S = 300.0
INSTALL_HINT = (
    "install it, where there is a GPU, with: python3 -m venv sglang-env && sglang-env/bin/pip install sglang, and name "
    "the Python that has it with `target.server` in the study: sglang-env/bin/python"
)
_VERSION = "from importlib.metadata import version; print(version('sglang'))"


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
        return the_given(given, INSTALL_HINT)
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
    ask = partial(answer, executable, env=dict(env), timeout_s=ASK_TIMEOUT_S, hint=INSTALL_HINT)
    version = ask("-c", _VERSION).strip()
    options = parse(ask("-m", MODULE, "--help"))
    if "max-running-requests" not in options:
        raise TargetError(f"{executable} -m {MODULE} --help names no --max-running-requests; {INSTALL_HINT}")
    return Abilities(version, options)
