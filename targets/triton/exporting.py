"""How Triton is started on an exported config.pbtxt."""

from pathlib import Path

from targets.exports import FOLDER, Start

IMAGE = "nvcr.io/nvidia/tritonserver:YY.MM-py3"


def load_flags(model: str) -> tuple[str, ...]:
    """Return the arguments of a server that serves one model of a repository, as it was measured."""
    return ("--model-control-mode=explicit", f"--load-model={model}")


def start_of(repository: Path) -> Start:
    """Return how Triton is started on a repository."""
    return Start(
        program=("tritonserver",),
        files=(f"--model-repository={FOLDER}",),
        home=repository,
        image=IMAGE,
        in_image=("tritonserver",),
        folder="/models",
        ports=(8000, 8001, 8002),
        docker=("--shm-size=1g",),  # the Python backend takes 1 MB for each instance at the start, and more later
    )
