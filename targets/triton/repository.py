"""The user's model repository, read only, and the server's own, where models stand under aliases."""

from dataclasses import dataclass
from pathlib import Path

from targets.base import TargetError
from targets.repository import read_config
from targets.triton import config as model_config
from targets.triton import pbtxt

CONFIG_NAME = "config.pbtxt"


@dataclass(frozen=True)
class UserModel:
    """A model of the user's: its folder, the text of its config.pbtxt and what the text says."""

    name: str
    directory: Path
    text: str
    config: model_config.ModelConfig

    @property
    def unknown(self) -> tuple[str, ...]:
        """Fields of the text that `config` does not have, as only a newer server knows them."""
        return pbtxt.read(self.text, model_config.ModelConfig())[1]


def read_model(repository: Path, model: str) -> tuple[str, model_config.ModelConfig]:
    """Return the text and the meaning of a model's config.pbtxt.

    Raises:
        TargetError: no repository, no such model in it, no config.pbtxt, or one that does not parse.
    """
    path, text = read_config(repository, model, CONFIG_NAME)
    parsed = model_config.parse(text, path)
    if parsed.name and parsed.name != model:
        raise TargetError(f"{path}: `name` is {parsed.name!r}, but the folder is {model!r}; Triton wants them equal")
    return text, parsed


def stage(source: Path, repository: Path, name: str, text: str | None = None) -> None:
    """Make a model available to the server under a name: links to the user's files, and its own config.pbtxt.

    Args:
        source: the user's model folder.
        repository: the server's repository.
        name: the name it gets there.
        text: config.pbtxt, or None when the configuration comes with the load call.
    """
    directory = repository / name
    directory.mkdir(exist_ok=True)
    links = {entry.name: entry.resolve() for entry in source.iterdir() if entry.name != CONFIG_NAME}
    present = {entry.name: entry.resolve() for entry in directory.iterdir() if entry.name != CONFIG_NAME}
    # An untouched folder lets Triton change the instance count in place instead of loading the model anew.
    if links != present:
        for name_there in present:
            (directory / name_there).unlink()
        for name_there, target in links.items():
            (directory / name_there).symlink_to(target)
    if text is None:
        (directory / CONFIG_NAME).unlink(missing_ok=True)
    else:
        (directory / CONFIG_NAME).write_text(text)


def staged_text(repository: Path, name: str) -> str | None:
    """Return the config.pbtxt of a model that is available to the server, None where it has none."""
    path = repository / name / CONFIG_NAME
    return path.read_text() if path.is_file() else None
