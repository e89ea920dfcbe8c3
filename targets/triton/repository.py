"""The user's model repository, read only, and the server's own, where models stand under aliases."""

import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from os.path import normpath
from pathlib import Path
from urllib.parse import quote

from targets.base import TargetError
from targets.repository import read_config
from targets.triton import config as model_config
from targets.triton import pbtxt
from targets.triton.completion import Completion

CONFIG_NAME = "config.pbtxt"


@dataclass(frozen=True)
class UserModel:
    """A model of the user's.

    Attributes:
        name: of the model.
        directory: its folder.
        text: of its config.pbtxt, "" where there is none.
        config: what the text says, or what Triton completed it to.
        completion: what is behind a configuration that Triton completed, None for one that is the text's.
    """

    name: str
    directory: Path
    text: str
    config: model_config.ModelConfig
    completion: Completion | None = None

    @property
    def known(self) -> bool:
        """Whether there is anything to change: a text, or what Triton completes in the place of one."""
        return bool(self.text) or self.completion is not None

    @property
    def said(self) -> model_config.ModelConfig:
        """What the text says."""
        return self.config if self.completion is None else self.completion.said

    def written(self, wanted: model_config.ModelConfig) -> model_config.ModelConfig:
        """Return what a configuration has to say to Triton: without what Triton completes in the same way again."""
        return wanted if self.completion is None else self.completion.written(wanted)

    def keeps(self, knob: str) -> str:
        """Return why the model has its own value of a knob whatever is written, "" where it has not."""
        return "" if self.completion is None else self.completion.keeps(knob)

    @property
    def unknown(self) -> tuple[str, ...]:
        """Fields of the text that `config` does not have, as only a newer server knows them."""
        return pbtxt.read(self.text, model_config.ModelConfig())[1]


def read_model(
    repository: Path, model: str, texts: Mapping[Path, str] | None = None
) -> tuple[str, model_config.ModelConfig]:
    """Return the text and the meaning of a model's config.pbtxt; without one it says nothing.

    Args:
        repository: the user's models.
        model: one of them.
        texts: path of a file -> what is taken for its text.

    Raises:
        TargetError: no repository, no such model in it, or a config.pbtxt that does not parse.
    """
    path, text = read_config(repository, model, CONFIG_NAME, may_lack=True)
    text = (texts or {}).get(path, text)
    parsed = model_config.parse(text, path)
    if parsed.name and parsed.name != model:
        raise TargetError(f"{path}: `name` is {parsed.name!r}, but the folder is {model!r}; Triton wants them equal")
    return text, parsed


def check_name(model: str) -> None:
    """Check that a model can be loaded and asked over HTTP by its name.

    Raises:
        TargetError: HTTP spells it otherwise (`%20` for a space), and Triton looks for a model of that spelling.
    """
    if quote(model, safe="") != model:
        raise TargetError(
            f"model {model!r}: Triton does not decode names in its URLs, so over HTTP it has no model of that name; "
            "name the folder, and `name` in its config.pbtxt, with letters, digits and `_.-~` alone"
        )


def needed(repository: Path, model: str, config: model_config.ModelConfig) -> dict[Path, Path]:
    """Return what a server needs to serve a model: path in a repository -> the user's folder or file.

    That is the model's folder, those of the models that an ensemble is made of, and what a parameter names beside the
    folder of its model, like a shared environment of the Python backend. What a model calls by itself is not known.
    A composing model that is not in the repository is left out: the server says what it lacks.
    """
    found = {Path(model): repository / model}
    _add(repository, model, config, found)
    return found


def _add(repository: Path, model: str, config: model_config.ModelConfig, found: dict[Path, Path]) -> None:
    for path in named_files(repository, model, config):
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


def named_files(repository: Path, model: str, config: model_config.ModelConfig) -> Iterator[Path]:
    """Yield the files and folders that parameters name in the repository, outside of the model's own folder."""
    for parameter in config.parameters.values():
        if not parameter.string_value.startswith(model_config.OF_MODEL):
            continue
        inside = parameter.string_value.removeprefix(model_config.OF_MODEL)
        path = Path(normpath(repository / model / inside))  # links stay links
        if path.exists() and path.is_relative_to(repository) and not path.is_relative_to(repository / model):
            yield path


def stage(source: Path, repository: Path, name: str, config: model_config.ModelConfig, text: str | None = None) -> None:
    """Make a model available to the server under a name: links to the user's files, and its own config.pbtxt.

    What parameters name beside the model's folder is linked beside it here, so that `..` leads to it.

    Args:
        source: the user's model folder.
        repository: the server's repository.
        name: the name it gets there.
        config: that it is loaded with.
        text: config.pbtxt, or None when the configuration comes with the load call.
    """
    directory = repository / name
    if directory.is_symlink():  # it was a folder that another model's parameter names: that is the user's own
        directory.unlink()
    directory.mkdir(exist_ok=True)
    links = {entry.name: entry.resolve() for entry in source.iterdir() if entry.name != CONFIG_NAME}
    present = {entry.name: entry.resolve() for entry in directory.iterdir() if entry.name != CONFIG_NAME}
    # An untouched folder lets Triton change the instance count in place instead of loading the model anew.
    if links != present:
        for name_there in present:
            _remove(directory / name_there)
        for name_there, target in links.items():
            (directory / name_there).symlink_to(target)
    if text is None:
        (directory / CONFIG_NAME).unlink(missing_ok=True)
    else:
        (directory / CONFIG_NAME).write_text(text)
    for path in named_files(source.parent, source.name, config):
        _link(path, repository / path.relative_to(source.parent))


def _link(source: Path, place: Path) -> None:
    """Link a file or folder of the user's; in a folder of the server's what it lacks, but for a config.pbtxt."""
    if source.is_dir() and place.is_dir() and not place.is_symlink():
        for entry in source.iterdir():
            if entry.name != CONFIG_NAME:
                _link(entry, place / entry.name)
    elif not place.exists():
        place.parent.mkdir(parents=True, exist_ok=True)
        place.unlink(missing_ok=True)  # a link to what is gone
        place.symlink_to(source.resolve())


def _remove(entry: Path) -> None:
    """Remove a link, or a folder of links."""
    if entry.is_dir() and not entry.is_symlink():
        shutil.rmtree(entry)
    else:
        entry.unlink()


def staged_text(repository: Path, name: str) -> str | None:
    """Return the config.pbtxt of a model that is available to the server, None where it has none."""
    path = repository / name / CONFIG_NAME
    return path.read_text() if path.is_file() else None
