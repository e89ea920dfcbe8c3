"""How the study has a server started: by a tritonserver of this host, or in a container."""

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from targets.base import Context, TargetError
from targets.triton.docker import DockerLauncher, Mount, instead_of
from targets.triton.installation import find_installation
from targets.triton.launch import Launcher, LocalLauncher
from targets.triton.options import TritonOptions


def availability() -> str:
    """Say which tritonserver would be taken, or that an engine for containers answers at least."""
    with tempfile.TemporaryDirectory() as workdir:
        try:
            found = find_installation(None, Path(workdir))
        except TargetError as missing:
            return instead_of(missing)
    return f"{found.executable} (from {found.source})"


def launcher_for(options: TritonOptions, context: Context, needed: Callable[[], Sequence[Path]]) -> Launcher:
    """Return what starts the server.

    Args:
        options: of the study.
        context: where it runs.
        needed: returns the folders and files that a container has to see.
    """
    if options.docker is None:
        server = context.resolve(options.server) if options.server else None
        return LocalLauncher(server, context.inherited())
    return DockerLauncher(options.docker, needed(), mounts_of(options, context))


def mounts_of(options: TritonOptions, context: Context) -> list[Mount]:
    """Return what the study wants a container to see besides."""
    given = {} if options.docker is None else options.docker.mounts
    return [Mount(context.resolve(here), there) for here, there in given.items()]
