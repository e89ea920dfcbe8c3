"""The user's folder of models, read only, and the one that a server is started on."""

from collections.abc import Iterator
from difflib import get_close_matches
from glob import iglob
from pathlib import Path
from typing import NamedTuple

from targets.base import TargetError
from targets.mlserver import jsontext
from targets.mlserver.config import MODEL_SETTINGS, SETTINGS, Settings

_FOLDER_HINT = "give the folder that MLServer is started on"


class ModelFolder(NamedTuple):
    """Where a model stands in the user's repository: the repository, the model's folder in it, and its settings."""

    repository: Path
    relative: Path
    settings: Settings


def read_model(repository: Path, model: str) -> ModelFolder:
    """Find a model as MLServer does: a folder with a model-settings.json that has the name, or is in a folder of it.

    Raises:
        TargetError: no such folder, no such model, several of them, or settings that cannot be read.
    """
    if not repository.is_dir():
        raise TargetError(f"target.repository: {repository} is no directory; {_FOLDER_HINT}")
    found: dict[Path, str] = {}
    broken: list[TargetError] = []
    for path in sorted(_models(repository)):
        try:
            found[path] = _name(path)
        except TargetError as error:
            broken.append(error)
    paths = [path for path, name in found.items() if name == model]
    if not paths and broken:
        raise broken[0]
    if len(paths) != 1:
        raise TargetError(_not_one(repository, model, paths, sorted(set(found.values()))))
    return ModelFolder(repository, paths[0].parent.relative_to(repository), _settings(repository, paths[0]))


def model_names(repository: Path) -> list[str]:
    """Return the names of the models in a folder and below it, sorted.

    Raises:
        TargetError: a model-settings.json that cannot be read.
    """
    return sorted({_name(path) for path in _models(repository)})


def holds_models(repository: Path) -> bool:
    """Whether there is a model-settings.json in a folder or below it."""
    return next(_models(repository), None) is not None


def _name(path: Path) -> str:
    members = jsontext.parse(_read(path), path)
    given = members["name"].value if "name" in members else ""
    return str(given or path.parent.name)


def _settings(repository: Path, path: Path) -> Settings:
    server_path = repository / SETTINGS
    server = _read(server_path) if server_path.is_file() else None
    return Settings(_read(path), server, path, server_path)


def _not_one(repository: Path, model: str, paths: list[Path], names: list[str]) -> str:
    if paths:
        places = ", ".join(str(path.parent) for path in paths)
        return f"target.model: {model!r} is in several folders ({places}); give `target.repository` one of them"
    if not names:
        return f"target.repository: {repository} holds no {MODEL_SETTINGS}; {_FOLDER_HINT}"
    close = get_close_matches(model, names, n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"it holds: {', '.join(names)}"
    return f"target.model: no model {model!r} in {repository}; {hint}"


def _read(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise TargetError(f"{path}: cannot be read: {error}") from None


def stage(model: ModelFolder, settings: Settings, server_text: str, folder: Path) -> Settings:
    """Lay out a folder to start a server on: links to the user's files, and settings of its own.

    Other models of the repository, and hidden files, are left out.

    Args:
        model: the user's.
        settings: what to write as model-settings.json.
        server_text: what to write as settings.json.
        folder: that does not exist yet.

    Returns:
        The settings as they were written.
    """
    folder.mkdir(parents=True)
    inside = folder / model.relative
    inside.mkdir(parents=True, exist_ok=True)
    for source, target in {model.repository: folder, model.repository / model.relative: inside}.items():
        for entry in source.iterdir():
            if _is_linked(entry) and not (target / entry.name).exists():
                (target / entry.name).symlink_to(entry.resolve())
    (inside / MODEL_SETTINGS).write_bytes(settings.model.encode())
    (folder / SETTINGS).write_bytes(server_text.encode())
    return Settings(settings.model, server_text, inside / MODEL_SETTINGS, folder / SETTINGS)


def read_again(settings: Settings) -> Settings:
    """Read the files of a server anew."""
    return Settings(_read(settings.model_path), _read(settings.server_path), settings.model_path, settings.server_path)


def _is_linked(entry: Path) -> bool:
    if entry.name.startswith(".") or entry.name in (MODEL_SETTINGS, SETTINGS, "__pycache__"):
        return False
    return not (entry.is_dir() and next(_models(entry), None))


def _models(folder: Path) -> Iterator[Path]:
    """Yield the model-settings.json in a folder and in all below it, through links as well, as MLServer finds them."""
    found = iglob(f"**/{MODEL_SETTINGS}", root_dir=folder, recursive=True)  # noqa: PTH207 - pathlib passes over links
    return (folder / name for name in found)
