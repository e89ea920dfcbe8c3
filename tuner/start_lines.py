"""How a server is started on exported files: as a command, with docker, or as a container of Kubernetes."""

import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

import yaml

from targets.exports import FOLDER, Export, Start

Form = Literal["command", "docker", "kubernetes"]
FORMS: dict[Form, str] = {
    "command": "a command line for a shell",
    "docker": "the same in a container",
    "kubernetes": "an entry of `containers` of a pod, in YAML",
}


class NoStart(Exception):
    """Nothing can be said of how the server is started; the message says why."""


def start_lines(export: Export, form: Form, folder: Path | None, image: str | None) -> str:
    """Return how a server is started on the files of an export.

    Args:
        export: with its `start` and its `flags`.
        form: what it is written for.
        folder: where the files are, None: where the user's own are.
        image: the container's image, None for what the target knows.

    Raises:
        NoStart: the target does not know how its server is started, or in which image.
    """
    start = export.start
    if start is None:
        raise NoStart(f"--as {form}: of this kind of target it is not known how the server is started on its files")
    home = (folder or start.home).resolve()
    if form == "command":
        return _command(start, export.flags, str(home))
    image = image or start.image
    if not image:
        raise NoStart(f"--as {form}: no container image of this server is known; `--as command` has its command line")
    arguments = [*_placed(start.files, start.folder), *start.in_container, *export.flags]
    return _docker(start, arguments, home, image) if form == "docker" else _kubernetes(start, arguments, image)


def _command(start: Start, flags: Sequence[str], folder: str) -> str:
    env = [f"{name}={value}" for name, value in start.env.items()]
    words = [*(["env", *env] if env else []), *_placed(start.program, folder)]
    return _wrapped(words, [*_placed(start.files, folder), *flags])


def _docker(start: Start, arguments: Sequence[str], home: Path, image: str) -> str:
    options = [
        "--rm",
        *start.docker,
        *(f"--publish={port}:{port}" for port in start.ports),
        f"--volume={home}:{start.folder}:ro",
        *(f"--env={name}={value}" for name, value in start.env.items()),
    ]
    return _wrapped(["docker", "run"], [*options, image, *start.in_image, *arguments])


def _kubernetes(start: Start, arguments: Sequence[str], image: str) -> str:
    container = {
        "name": "model-server",
        "image": image,
        "command": list(start.program),
        "args": list(arguments),
        **({"env": [{"name": name, "value": value} for name, value in start.env.items()]} if start.env else {}),
        "ports": [{"containerPort": port} for port in start.ports],
        **({"resources": {"limits": {"nvidia.com/gpu": start.gpus}}} if start.gpus else {}),
        "volumeMounts": [
            {"name": "models", "mountPath": start.folder, "readOnly": True},
            *([{"name": "shared-memory", "mountPath": "/dev/shm"}] if start.shared_memory else []),  # noqa: S108
        ],
    }
    return yaml.safe_dump([container], sort_keys=False, width=1000)


def _placed(words: Iterable[str], folder: str) -> list[str]:
    return [word.replace(FOLDER, folder) for word in words]


def _wrapped(first: Sequence[str], rest: Sequence[str]) -> str:
    """Return a shell command with each option on a line of its own."""
    text = shlex.join(first)
    for word in rest:
        text += (" \\\n  " if word.startswith("-") else " ") + shlex.quote(word)
    return text + "\n"
