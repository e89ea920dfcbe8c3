"""A tritonserver in a container: what it sees of this machine, and the command line of the engine."""

import csv
import io
import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from targets.base import TargetError
from targets.ports import HOST
from targets.triton.launch import Launch, Place
from targets.triton.options import DockerOptions

EVERYWHERE = "0.0.0.0"  # noqa: S104 - inside the container; outside of it the ports are published on loopback
LABEL = "paretune"
ENGINE_TIMEOUT_S = 30.0
LOOK_TIMEOUT_S = 5.0
"""How long an engine may take to say that it is there, where that is all that is asked."""
_SHOWN = 300


@dataclass(frozen=True)
class Mount:
    """A path of this machine that the container sees, read only, at a path of its own."""

    source: Path
    target: Path

    def text(self) -> str:
        """Return it as `--mount` takes it: a line of comma-separated values."""
        line = io.StringIO()
        fields = ["type=bind", f"source={self.source}", f"target={self.target}", "readonly"]
        csv.writer(line, lineterminator="").writerow(fields)
        return line.getvalue()


@dataclass(frozen=True)
class DockerLauncher:
    """Start tritonserver in a container that goes with it.

    Attributes:
        options: the section `docker` of the study's target.
        needed: folders of the models that may be loaded, and what these name beside.
        mounts: what the study wants to be seen besides.
    """

    options: DockerOptions
    needed: Sequence[Path]
    mounts: Sequence[Mount] = ()

    @property
    def address(self) -> str:
        """A published port leads to every address in the container; with the host's network it is the host's own."""
        return EVERYWHERE if self.options.network == "bridge" else HOST

    def launch(self, place: Place, flags: Sequence[str]) -> Launch:
        """Check that the engine has the image, and return the command line that runs it."""
        engine = find_engine(self.options.engine)
        version = check_image(engine, self.options.image)
        seen = [*_same_place([place.repository, *paths_seen(self.needed)]), *self.mounts]
        return Launch(
            command=run_command(engine, self.options, place, seen, flags),
            env=dict(os.environ),
            found={
                "server_found_in": f"image {self.options.image}",
                "server_executable": f"{engine} {version}".strip(),
            },
            farewell=[engine, "rm", "--force", place.name],
            asks_pid=[engine, "inspect", "--format={{.State.Pid}}", place.name],
        )


def run_command(
    engine: str, options: DockerOptions, place: Place, mounts: Sequence[Mount], flags: Sequence[str]
) -> list[str]:
    """Return the command line that runs a server in a container until it ends. Pure.

    Args:
        engine: the command of the engine.
        options: the section `docker` of the study's target.
        place: name, ports and CPUs of this run.
        mounts: what the container sees of this machine.
        flags: of the server.
    """
    published = [f"--publish={HOST}:{port}:{port}" for port in place.ports.values()]
    return [
        engine,
        "run",
        "--rm",
        f"--name={place.name}",
        f"--label={LABEL}",
        *(published if options.network == "bridge" else ["--network=host"]),
        *granted(options),
        *([f"--cpuset-cpus={','.join(map(str, sorted(place.cpus)))}"] if place.cpus else []),
        *(f"--mount={mount.text()}" for mount in mounts),
        *(f"--env={name}={value}" for name, value in options.env.items()),
        *options.args,
        options.image,
        "tritonserver",
        *flags,
    ]


def granted(options: DockerOptions) -> list[str]:
    """Return the arguments of the engine for memory, GPUs and user.

    A size of shared memory is for a container that has its own: beside the host's podman refuses it.
    """
    return [
        *([] if options.has_of_host("ipc") else [f"--shm-size={options.shm_size}"]),
        *([f"--gpus={_gpus(options.gpus)}"] if options.gpus else []),
        *([f"--user={options.user}"] if options.user else []),
    ]


def _gpus(given: str) -> str:
    """Return GPUs as the engine's line of comma-separated values: several devices are one value of it."""
    return f'"{given}"' if given.startswith("device=") and "," in given else given


def _same_place(paths: Sequence[Path]) -> list[Mount]:
    return [Mount(path, path) for path in paths]


def paths_seen(needed: Sequence[Path]) -> list[Path]:
    """Return what a container has to see, at the same paths, so that every link to and in these places leads on.

    The server's repository holds links to where the entries of a model's folder really are; links further down lead
    from link to link.

    Args:
        needed: folders of models, and files and folders that are used beside them.
    """
    found: list[Path] = []
    for place in (path.resolve() for path in needed):
        _see(place, found)
        for entry in place.iterdir() if place.is_dir() else ():
            _see(entry.resolve(), found)
    return found


def _see(path: Path, found: list[Path]) -> None:
    """Add a path, and all that the links in it lead to, unless it is seen already."""
    if any(path.is_relative_to(one) for one in found) or not path.exists():
        return
    found.append(path)
    for link in _links(path):
        _see(Path(os.path.normpath(link.parent / link.readlink())), found)
        _see(link.resolve(), found)


def _links(path: Path) -> Iterator[Path]:
    """Yield the links in a folder, and a path that is one itself."""
    if path.is_symlink():
        yield path
    for folder, folders, files in os.walk(path.resolve()):
        for name in (*folders, *files):
            if (entry := Path(folder, name)).is_symlink():
                yield entry


def find_engine(name: str) -> str:
    """Return the path of the engine's command.

    Raises:
        TargetError: it is not there.
    """
    if found := shutil.which(name):
        return found
    raise TargetError(
        f"target.docker.engine: no command {name!r} on this machine; install Docker Engine, name another engine that "
        "takes the same command line (podman), or take `launch: local`"
    )


def instead_of(missing: TargetError) -> str:
    """Say that an engine answers, so that containers can be had in the place of a server that is not here.

    Args:
        missing: why there is no tritonserver on this machine.

    Raises:
        TargetError: no engine answers either.
    """
    if (engine := shutil.which("docker")) is None:
        raise missing
    try:
        version = engine_version(engine, LOOK_TIMEOUT_S)
    except TargetError as error:
        raise TargetError(f"{missing}; and for `launch: docker`: {error}") from None
    return f"with `launch: docker` only, by {engine} {version}: there is no tritonserver here"


def default_runtime(engine: str) -> str | None:
    """Return what an engine runs containers with that name no runtime, None where it does not say."""
    if (found := shutil.which(engine)) is None:
        return None
    try:
        ended = _ask(found, "info", "--format={{.DefaultRuntime}}")
    except TargetError:
        return None
    return (not ended.returncode and ended.stdout.strip()) or None


def engine_version(engine: str, timeout_s: float = ENGINE_TIMEOUT_S) -> str:
    """Return the version of the engine that a command talks to.

    Args:
        engine: the command.
        timeout_s: how long it may take.

    Raises:
        TargetError: it talks to none, or gets no answer; with what it says and the remedy.
    """
    ended = _ask(engine, "version", "--format={{.Server.Version}}", timeout_s=timeout_s)
    if ended.returncode:
        raise TargetError(
            f"{engine} has no engine to talk to: {_last_line(ended)}; start it, and check that you may use it "
            f"(`{engine} info`)"
        )
    return ended.stdout.strip()


def check_image(engine: str, image: str) -> str:
    """Check that the engine answers and has an image; return the engine's version.

    Raises:
        TargetError: it does not, or has not; with what it says and the remedy.
    """
    version = engine_version(engine)
    ended = _ask(engine, "image", "inspect", "--format={{.Id}}", image)
    if ended.returncode:
        raise TargetError(
            f"target.docker.image: {engine} has no image {image!r} here: {_last_line(ended)}; fetch it first: "
            f"{engine} pull {image}"
        )
    return version


def _ask(engine: str, *arguments: str, timeout_s: float = ENGINE_TIMEOUT_S) -> "subprocess.CompletedProcess[str]":
    try:
        return subprocess.run([engine, *arguments], capture_output=True, text=True, timeout=timeout_s, check=False)
    except subprocess.TimeoutExpired:
        raise TargetError(
            f"{engine} {arguments[0]} does not answer within {timeout_s:g} s; start its engine anew"
        ) from None
    except OSError as error:
        raise TargetError(f"{engine} cannot be run: {error.strerror}") from None


def _last_line(ended: "subprocess.CompletedProcess[str]") -> str:
    lines = ended.stderr.strip().splitlines()
    return lines[-1][:_SHOWN] if lines else f"exit code {ended.returncode}"
