"""Find vLLM on this machine and ask it what it is and what it can be told."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from targets.base import TargetError
from targets.openai.help import Option, parse
from targets.openai.installation import Installation, answer, find_command

COMMAND = "vllm"
ASK_TIMEOUT_S = 300.0
INSTALL_HINT = (
    "install it with: python3 -m venv vllm-env && vllm-env/bin/pip install vllm (without a GPU: tune init vllm-cpu && "
    "python3 -m venv vllm-env && vllm-env/bin/python vllm/install.py), and name the command with `target.server` in "
    "the study: vllm-env/bin/vllm"
)


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
    """Find the command `vllm`. Raises TargetError where there is none, or the given one is no executable file."""
    return find_command(COMMAND, given, INSTALL_HINT)


def abilities(installation: Installation, env: Mapping[str, str]) -> Abilities:
    """Ask a vLLM for its version and its options; a program that was asked already is not asked again.

    Args:
        installation: where it is.
        env: all of its environment.

    Raises:
        TargetError: it does not run.
    """
    executable = installation.executable
    return _asked(executable, executable.stat().st_mtime_ns, frozenset(env.items()))


@lru_cache(maxsize=8)
def _asked(executable: Path, changed_ns: int, env: frozenset[tuple[str, str]]) -> Abilities:  # noqa: ARG001 - the key
    def ask(arguments: Sequence[str]) -> str:
        return answer(executable, *arguments, env=dict(env), timeout_s=ASK_TIMEOUT_S, hint=INSTALL_HINT)

    with ThreadPoolExecutor() as pool:  # each takes seconds of importing
        version, text = pool.map(ask, (("--version",), ("serve", "--help=all")))
    options = parse(text)
    if "max-num-seqs" not in options:  # versions before 0.10 show everything without `=all`
        options = parse(ask(("serve", "--help")))
    if "max-num-seqs" not in options:
        raise TargetError(f"{executable} serve --help names no --max-num-seqs: is it vLLM? {INSTALL_HINT}")
    return Abilities(version.strip().splitlines()[-1].split()[-1], options)
