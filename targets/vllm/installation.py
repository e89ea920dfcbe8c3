"""Find vLLM on this machine and ask it what it is and what it can be told."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

from targets.base import TargetError
from targets.openai.help import Option, parse

COMMAND = "vllm"
ASK_TIMEOUT_S = 300.0
INSTALL_HINT = (
    "install it with: pip install vllm (see docs/vllm.md for a machine without a GPU), "
    "or name the command of yours with `target.server` in the study"
)


@dataclass(frozen=True)
class Installation:
    """A vLLM.

    Attributes:
        executable: its command.
        source: where it was found: `study`, `environment` (beside the running Python) or `PATH`.
    """

    executable: Path
    source: str


@dataclass(frozen=True)
class Abilities:
    """What a vLLM is and can be told.

    Attributes:
        version: as it names it, like `0.32.0+cpu`.
        options: of `vllm serve`, by name.
    """

    version: str
    options: Mapping[str, Option]

    @property
    def device(self) -> str:
        """What the build is for, as the version says it; builds for CUDA have the plain version, or `+cu129`."""
        local = self.version.partition("+")[2].split(".")[0]
        return local if local and not local.startswith("cu") else "cuda"


def find(given: Path | None) -> Installation:
    """Find the command `vllm`.

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
    """Ask a vLLM for its version and its options; a program that was asked already is not asked again.

    Raises:
        TargetError: it does not run.
    """
    executable = installation.executable
    return _asked(executable, executable.stat().st_mtime_ns, frozenset(env.items()))


@lru_cache(maxsize=8)
def _asked(executable: Path, changed_ns: int, env: frozenset[tuple[str, str]]) -> Abilities:  # noqa: ARG001 - the key
    ask = partial(_answer, executable, env)
    with ThreadPoolExecutor() as pool:  # each takes seconds of importing
        version, text = pool.map(ask, (("--version",), ("serve", "--help=all")))
    options = parse(text)
    if "max-num-seqs" not in options:  # versions before 0.10 show everything without `=all`
        options = parse(ask(("serve", "--help")))
    if "max-num-seqs" not in options:
        raise TargetError(f"{executable} serve --help names no --max-num-seqs: is it vLLM? {INSTALL_HINT}")
    return Abilities(version.strip().splitlines()[-1].split()[-1], options)


def _answer(executable: Path, env: frozenset[tuple[str, str]], arguments: Sequence[str]) -> str:
    asked = f"{executable} {' '.join(arguments)}"
    try:
        done = subprocess.run(
            [executable, *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env={**os.environ, **dict(env)},
            text=True,
            timeout=ASK_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise TargetError(f"{asked} gave no answer within {ASK_TIMEOUT_S:g} s") from None
    except OSError as error:
        raise TargetError(f"{asked} cannot be run: {error}; {INSTALL_HINT}") from None
    if done.returncode != 0 or not done.stdout.strip():
        last = next((line for line in reversed(done.stderr.splitlines()) if line.strip()), "it said nothing")
        raise TargetError(f"{asked} ended with exit code {done.returncode}: {last}; {INSTALL_HINT}")
    return done.stdout
