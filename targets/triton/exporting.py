"""What goes with an exported config.pbtxt: the folders that the model needs, and how Triton is started on them."""

from collections.abc import Iterator
from pathlib import Path

from targets.base import TargetError
from targets.exports import FOLDER, Start
from targets.triton.config import ModelConfig
from targets.triton.repository import read_model

_OF_MODEL = "$$TRITON_MODEL_DIRECTORY/"
IMAGE = "nvcr.io/nvidia/tritonserver:YY.MM-py3"


def needed(repository: Path, model: str, config: ModelConfig) -> dict[Path, Path]:
    """Return what a server needs to serve a model: path in a repository -> the user's folder or file.

    That is the model's folder, those of the models that an ensemble is made of, and what a parameter names beside the
    folder of its model, like a shared environment of the Python backend. What a model calls by itself is not known.
    A composing model that is not in the repository is left out: the server says what it lacks.
    """
    found = {Path(model): repository / model}
    _add(repository, model, config, found)
    return found


def _add(repository: Path, model: str, config: ModelConfig, found: dict[Path, Path]) -> None:
    for path in _named_files(repository, model, config):
        found[path.relative_to(repository)] = path
    for step in config.ensemble_scheduling.step:
        name = step.model_name
        if Path(name) in found or not (repository / name).is_dir():
            continue
        found[Path(name)] = repository / name
        try:
            _add(repository, name, read_model(repository, name)[1], found)
        except TargetError:
            continue  # Triton completes a model without a configuration of its own


def _named_files(repository: Path, model: str, config: ModelConfig) -> Iterator[Path]:
    """Yield what parameters name in the repository, outside of the model's own folder."""
    for parameter in config.parameters.values():
        if not parameter.string_value.startswith(_OF_MODEL):
            continue
        path = _normal(repository / model, parameter.string_value.removeprefix(_OF_MODEL))
        if path.exists() and path.is_relative_to(repository) and not path.is_relative_to(repository / model):
            yield path


def _normal(folder: Path, relative: str) -> Path:
    """Return a path without `..`; links stay links."""
    parts: list[str] = []
    for part in (folder / relative).parts:
        if part == "..":
            parts.pop()
        else:
            parts.append(part)
    return Path(*parts)


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
