"""What a study and a YAML for `--config` may both name: the model, and its name in requests."""

import json
import os
import tempfile
from pathlib import Path

from targets.base import Context, TargetError
from targets.openai.serve_yaml import ServeConfig
from workloads.requests import Prompts


def one_of_both(config: ServeConfig, key: str, option: str, given: str | None, otherwise: str | None = None) -> str:
    """Return what the study or the file says; both may say the same.

    Args:
        config: the file.
        key: of the file.
        option: of the study's `target`.
        given: what the study says.
        otherwise: where neither says anything.

    Raises:
        TargetError: they say different things, or nothing is said.
    """
    said = config.text_of(key)
    if given is not None and said is not None and given != said:
        raise TargetError(f"target.{option}: is {given!r}, but {config.place(key)}: {said!r}; keep one of them")
    found = given or said or otherwise
    if found is None:
        raise TargetError(f"target.{option}: is missing, and {config.path} has no `{key}` either")
    return found


def check_ids(asked: Prompts, model: str, context: Context) -> None:
    """Check the ids of tokens against a model that is a folder here: servers find a wrong one when they are asked.

    Raises:
        TargetError: the model has no such tokens.
    """
    described = context.resolve(Path(model)) / "config.json"
    if asked.ids is None or not described.is_file():
        return
    try:
        size = json.loads(described.read_text(encoding="utf-8")).get("vocab_size")
    except (ValueError, AttributeError):
        return  # the server says what is wrong with it
    low, high = asked.ids
    if isinstance(size, int) and not 0 <= low <= high < size:
        raise TargetError(
            f"the model has the token ids 0 to {size - 1}, but the prompts have {low} to {high}; give other ids, "
            f"made up ones with `token_ids: {{low: 0, high: {size - 1}}}`"
        )


def compiled_kept() -> dict[str, str]:
    """Return the variables with which what PyTorch compiles is found by the next start."""
    return {"TORCHINDUCTOR_CACHE_DIR": str(Path(tempfile.gettempdir()) / f"torchinductor_{os.getuid()}")}
