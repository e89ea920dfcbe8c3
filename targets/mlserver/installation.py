"""Find an MLServer on this machine: the study's, the one beside the running Python, or that on PATH."""

import os
import shutil
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from targets.base import TargetError

COMMAND = "mlserver"
BESIDE = "environment of Paretune"
EXTRA_HINT = "install one with: pip install 'paretune[mlserver]', or name yours with `target.server` in the study"
_SHOWN = 300


@dataclass(frozen=True)
class Installation:
    """An MLServer.

    Attributes:
        executable: the command's path.
        source: where it was found: `study`, `environment of Paretune` or `PATH`.
    """

    executable: Path
    source: str

    def version_within(self, timeout_s: float) -> str:
        """Return its version: as installed beside us, or as the command tells it.

        Raises:
            TargetError: it does not run, or not within the timeout.
        """
        if self.source == BESIDE:
            with suppress(PackageNotFoundError):
                return version(COMMAND)
        try:
            ended = subprocess.run(
                [str(self.executable), "--version"], capture_output=True, text=True, timeout=timeout_s, check=False
            )
        except subprocess.TimeoutExpired:
            raise TargetError(
                f"{self.executable} did not tell its version within {timeout_s:g} s; "
                "give it more time with `target.apply_timeout`"
            ) from None
        except OSError as error:
            raise TargetError(f"{self.executable} cannot be run: {error.strerror}; {EXTRA_HINT}") from None
        if ended.returncode:
            said = ended.stderr.strip().splitlines()
            raise TargetError(f"{self.executable} does not run: {said[-1][:_SHOWN] if said else 'it says nothing'}")
        return ended.stdout.strip().rpartition(" ")[2]


def find_installation(given: Path | None) -> Installation:
    """Find the `mlserver` command.

    Raises:
        TargetError: there is none, or the one given is none.
    """
    if given is not None:
        if not os.access(given, os.X_OK) or given.is_dir():
            raise TargetError(f"target.server: {given} is no executable file; {EXTRA_HINT}")
        return Installation(given, "study")
    beside = Path(sys.executable).parent / COMMAND
    if os.access(beside, os.X_OK):
        return Installation(beside, BESIDE)
    if on_path := shutil.which(COMMAND):
        return Installation(Path(on_path), "PATH")
    raise TargetError(f"no MLServer found; {EXTRA_HINT}")
