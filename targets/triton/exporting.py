"""How Triton is started on an exported config.pbtxt."""

from collections.abc import Sequence
from pathlib import Path

from targets.exports import FOLDER, Start
from targets.triton.docker import Mount, granted
from targets.triton.options import DockerOptions

IMAGE = "nvcr.io/nvidia/tritonserver:YY.MM-py3"
ALL_GPUS = "--gpus=all"


def load_flags(*models: str) -> tuple[str, ...]:
    """Return the arguments of a server that serves these models of a repository alone, as they were measured."""
    return ("--model-control-mode=explicit", *(f"--load-model={model}" for model in models))


def _count(gpus: str) -> int:
    """Return how many GPUs a container is given; of `all` it is one that is known to be there."""
    named = gpus.removeprefix("device=")
    return int(gpus) if gpus.isdecimal() else len(named.split(","))


def start_of(repository: Path, docker: DockerOptions | None, mounts: Sequence[Mount], *, gpus: bool) -> Start:
    """Return how Triton is started on a repository.

    Args:
        repository: the user's.
        docker: the container that the study has it in, None for none: then the image is not known.
        mounts: what that container sees besides.
        gpus: without a container of the study's: whether it needs GPUs.
    """
    # Without the first the Python backend has 64 MB: it takes 1 MB for each instance at the start, and more later.
    options = ["--shm-size=1g", *([ALL_GPUS] if gpus else [])]
    if docker is not None:
        options = [*granted(docker), *(f"--mount={one.text()}" for one in mounts), *docker.args]
    return Start(
        program=("tritonserver",),
        files=(f"--model-repository={FOLDER}",),
        home=repository,
        image=IMAGE if docker is None else docker.image,
        in_image=("tritonserver",),
        folder="/models",
        ports=(8000, 8001, 8002),
        docker=tuple(options),
        env={} if docker is None else docker.env,
        gpus=_count(docker.gpus or "0") if docker is not None else int(gpus),
        shared_memory=True,
    )
