"""Find a tritonserver on this machine: the study's, $TRITONSERVER, PATH, or the nvidia-pytriton wheel."""

import os
import shutil
import sys
import sysconfig
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

from targets.base import TargetError

VARIABLE = "TRITONSERVER"
EXTRA_HINT = (
    "install one with: pip install 'paretune[triton]' (Linux x86-64, Python < 3.13), "
    f"or name yours with `target.server` in the study or the environment variable {VARIABLE}"
)


@dataclass(frozen=True)
class Installation:
    """A tritonserver and what it needs to run.

    Attributes:
        executable: the server's path.
        source: where it was found: `study`, `environment`, `PATH` or `wheel`.
        flags: command-line flags that it needs.
        env: environment variables that it needs on top of ours.
    """

    executable: Path
    source: str
    flags: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)


def find_installation(given: Path | None, workdir: Path) -> Installation:
    """Find a tritonserver; for the wheel's, lay out its backends under `workdir`.

    Raises:
        TargetError: none is there, the given one is missing, or the wheel lacks a part.
    """
    if given is not None:
        return Installation(_executable(given, "`target.server` of the study"), "study")
    if named := os.environ.get(VARIABLE):
        return Installation(_executable(Path(named), f"the environment variable {VARIABLE}"), "environment")
    if on_path := shutil.which("tritonserver"):
        return Installation(Path(on_path), "PATH")
    return _from_wheel(workdir)


def _executable(path: Path, origin: str) -> Path:
    if not os.access(path, os.X_OK) or path.is_dir():
        raise TargetError(f"{origin} names {path}, which is no executable file")
    return path.resolve()


def _from_wheel(workdir: Path) -> Installation:
    spec = find_spec("pytriton")
    if spec is None or spec.origin is None:
        raise TargetError(f"no tritonserver found; {EXTRA_HINT}")
    package = Path(spec.origin).parent
    server = package / "tritonserver"
    return Installation(
        executable=server / "bin" / "tritonserver",
        source="wheel",
        flags=(
            f"--backend-directory={_lay_out_backends(server, workdir)}",
            f"--cache-directory={server / 'caches'}",
        ),
        env={
            "LD_LIBRARY_PATH": _before(
                "LD_LIBRARY_PATH", package.parent / "nvidia_pytriton.libs", _libpython_directory()
            ),
            # The stub finds the interpreter's packages through the first python3 on PATH.
            "PATH": _before("PATH", Path(sys.executable).parent),
        },
    )


def _before(variable: str, *folders: Path) -> str:
    """Return folders with those that a variable of ours names behind them."""
    return os.pathsep.join([*map(str, folders), *filter(None, [os.environ.get(variable)])])


def _lay_out_backends(server: Path, workdir: Path) -> Path:
    """Put the Python backend and the stub of this interpreter's version side by side, as tritonserver wants them."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    stub = server / "python_backend_stubs" / version / "triton_python_backend_stub"
    if not stub.exists():
        raise TargetError(
            f"nvidia-pytriton has no Python backend for Python {version}; use Python 3.11 or 3.12 "
            f"or another server; {EXTRA_HINT}"
        )
    backends = workdir / "backends"
    python = backends / "python"
    python.mkdir(parents=True, exist_ok=True)
    for source in (*(server / "backends" / "python").iterdir(), stub):
        link = python / source.name
        link.unlink(missing_ok=True)
        link.symlink_to(source)
    return backends


def _libpython_directory() -> Path:
    name = f"libpython{sys.version_info.major}.{sys.version_info.minor}.so.1.0"
    libdir = sysconfig.get_config_var("LIBDIR") or ""
    multiarch = sysconfig.get_config_var("MULTIARCH") or ""
    directories = [Path(libdir), Path(sys.base_prefix) / "lib", Path("/usr/lib") / multiarch]
    for directory in directories:
        if (directory / name).exists():
            return directory
    raise TargetError(
        f"Triton's Python backend needs {name}, which this Python does not bring "
        f"(looked in {', '.join(map(str, directories))}); on Debian and Ubuntu: "
        f"apt-get install {name.removesuffix('.so.1.0')}"
    )
