"""Models that the one of a study calls by itself, as Python models do (BLS): beside it, under their own names."""

from collections.abc import Sequence
from pathlib import Path

from targets.base import ConfigRefused, TargetError
from targets.triton import config as model_config
from targets.triton.repository import CONFIG_NAME, needed, read_model, stage
from targets.triton.server import TritonServer


def check(repository: Path, names: Sequence[str], model: str) -> None:
    """Check that models are in the repository, and others than the one of the study. Raises TargetError."""
    for name in names:
        if name == model:
            raise TargetError(f"target.also: {name!r} is the model of the study; name those that it calls")
        if not (repository / name).is_dir():
            raise TargetError(f"target.also: no model {name!r} in {repository}")


def load(server: TritonServer, repository: Path, names: Sequence[str]) -> None:
    """Load models as they are. Raises TargetError with the server's reason where it refuses one; it is stopped then."""
    name = ""
    try:
        for name in names:
            text, config = _read(repository, name)
            stage(repository / name, server.repository, name, config, text)
            server.load(name)
    except BaseException as error:
        server.stop()
        if isinstance(error, ConfigRefused):
            raise TargetError(f"target.also: {name!r} was not loaded: {error}") from None
        raise


def folders(repository: Path, names: Sequence[str]) -> dict[Path, Path]:
    """Return what a server needs to serve models: path in a repository -> the user's folder or file."""
    found: dict[Path, Path] = {}
    for name in names:
        found |= needed(repository, name, _read(repository, name)[1])
    return found


def _read(repository: Path, name: str) -> tuple[str | None, model_config.ModelConfig]:
    """Return a model's config.pbtxt; without one the model is Triton's to complete."""
    if not (repository / name / CONFIG_NAME).is_file():
        return None, model_config.ModelConfig()
    return read_model(repository, name)
