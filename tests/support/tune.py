"""The command `tune` as a user runs it, with the Python of the tests."""

import os
import subprocess
import sys
from pathlib import Path


def tune(
    *arguments: object, cwd: Path, timeout_s: float = 300.0, **environment: str
) -> "subprocess.CompletedProcess[str]":
    """Run it to its end; `python` of the tests comes first on its PATH."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return subprocess.run(
        [sys.executable, "-m", "tuner", *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, "PATH": path, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout_s,
    )
