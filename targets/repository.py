"""A model repository: a folder of the user's with a folder for each model, which holds the model's configuration."""

from difflib import get_close_matches
from pathlib import Path

from targets.base import TargetError


def read_config(repository: Path, model: str, name: str, *, may_lack: bool = False) -> tuple[Path, str]:
    """Return where a model's configuration stands, and its text.

    Args:
        repository: the model repository.
        model: the model's folder in it.
        name: the configuration's file in that.
        may_lack: a model without that file has the text "".

    Raises:
        TargetError: no repository, no such model in it, or no configuration that can be read.
    """
    if not repository.is_dir():
        raise TargetError(f"target.repository: {repository} is no directory; give the folder that holds the models")
    models = sorted(path.name for path in repository.iterdir() if path.is_dir())
    if not model or model not in models:
        close = get_close_matches(model, models, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"it holds: {', '.join(models) or 'nothing'}"
        raise TargetError(f"target.model: no model {model!r} in {repository}; {hint}")
    path = repository / model / name
    if may_lack and not (path.exists() or path.is_symlink()):
        return path, ""
    if not path.is_file():
        raise TargetError(f"{path}: no such file; Paretune changes the model's own {name}, so it has to be there")
    try:
        return path, path.read_bytes().decode("utf-8")  # line ends stay what they are
    except (OSError, UnicodeDecodeError) as error:
        raise TargetError(f"{path}: cannot be read: {error}") from None
