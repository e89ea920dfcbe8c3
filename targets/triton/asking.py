"""Triton asked for what it completes by itself: a server is started for it once, and what it says is kept."""

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import TypeVar

from targets.base import ConfigRefused, TargetError
from targets.triton import config as model_config
from targets.triton.completion import Completion, completed, is_complete
from targets.triton.loading import loaded_of, rewritten
from targets.triton.repository import CONFIG_NAME, UserModel, stage
from targets.triton.server import TritonServer

ANSWERS = "completed.json"
"""What was said, beside the server's log."""
REMEDY = (
    "write its inputs and outputs there, and max_batch_size if it takes batches: Paretune changes the model's own "
    "config.pbtxt; or take a Triton that completes it: TRITONSERVER names one, `tune init --url URL` asks one that runs"
)
_Key = TypeVar("_Key")
Base = tuple[UserModel, model_config.ModelConfig]
"""A model, and its configuration with a variant's overlay."""


@dataclass(frozen=True)
class _Answer:
    """What Triton says of a model.

    Attributes:
        config: that it has loaded.
        fixed_batch: see `Completion`.
    """

    config: model_config.ModelConfig
    fixed_batch: bool


def completed_by(
    start: Callable[[], TritonServer], bases: Mapping[_Key, Base], kept: Path | None = None
) -> dict[_Key, UserModel]:
    """Return models with what Triton completes of their configurations.

    Args:
        start: starts a server; it is called only where something is not known yet.
        bases: of which configurations lack something; under any keys.
        kept: folder where answers are kept, None for none. One holds as long as the model's files are what they were.

    Raises:
        TargetError: the server does not start or does not load one of the models, or it does not complete one.
    """
    digests = {key: _digest(*base) for key, base in bases.items()}
    answers = {} if kept is None else _read(kept / ANSWERS)
    unknown = {digest: bases[key] for key, digest in digests.items() if digest not in answers}
    if unknown:
        answers |= _asked(start, unknown)
        if kept is not None:
            _write(kept / ANSWERS, answers)
    return {key: _with(bases[key], answers[digest]) for key, digest in digests.items()}


def _with(base: Base, answer: _Answer) -> UserModel:
    model, given = base
    known = completed(given, answer.config, model.name)
    return replace(model, config=known, completion=Completion(model.said, given, known, answer.fixed_batch))


def _asked(start: Callable[[], TritonServer], bases: Mapping[str, Base]) -> dict[str, _Answer]:
    model, _ = next(iter(bases.values()))
    try:
        server = start()
    except TargetError as error:
        raise TargetError(f"{_lacks(model)}, and Triton cannot be asked for the rest: {error}; {REMEDY}") from None
    try:
        return {digest: _ask(server, f"{base[0].name}__{digest[:8]}", *base) for digest, base in bases.items()}
    finally:
        server.stop()


def _ask(server: TritonServer, name: str, model: UserModel, given: model_config.ModelConfig) -> _Answer:
    """Load a model as the user has it, and return what Triton made of it. Raises TargetError with Triton's reason."""
    try:
        told = _loaded_as(server, name, model, given)
    except ConfigRefused as error:
        raise TargetError(f"{_lacks(model)}, and Triton does not load the model as it is: {error}; {REMEDY}") from None
    if not is_complete(told):
        raise TargetError(f"{_lacks(model)}, and Triton does not know them of this model either; {REMEDY}")
    return _Answer(told, fixed_batch=_fixes_batch(server, name, model, given, told))


def _fixes_batch(
    server: TritonServer,
    name: str,
    model: UserModel,
    given: model_config.ModelConfig,
    told: model_config.ModelConfig,
) -> bool:
    """Whether a Python model that sets the largest batch itself does so whatever its file says: another one is tried.

    Args:
        server: that is asked.
        name: to load the model by.
        model: the user's files.
        given: its configuration.
        told: what Triton made of it.
    """
    if told.backend != "python" or told.max_batch_size in (0, 1, given.max_batch_size):
        return False
    other = model_config.named(given, "")
    other.max_batch_size = told.max_batch_size // 2
    try:
        return bool(_loaded_as(server, name, model, other).max_batch_size != other.max_batch_size)
    except ConfigRefused:
        return True


def _loaded_as(
    server: TritonServer, name: str, model: UserModel, given: model_config.ModelConfig
) -> model_config.ModelConfig:
    text = rewritten(model, model_config.named(given, name))
    stage(model.directory, server.repository, name, given, text)
    server.load(name)
    return loaded_of(server, name)


def _lacks(model: UserModel) -> str:
    path = model.directory / CONFIG_NAME
    return f"{path}: inputs or outputs are not named" if path.exists() else f"{path}: no such file"


def _digest(model: UserModel, given: model_config.ModelConfig) -> str:
    """Return what an answer depends on, in short: the configuration and the state of the model's files."""
    files = sorted(
        (str(path.relative_to(model.directory)), path.stat().st_size, path.stat().st_mtime_ns)
        for path in model.directory.rglob("*")
        if path.is_file() and not path.name.startswith(CONFIG_NAME) and path.parent.name != "__pycache__"
    )
    what = [str(model.directory), rewritten(model, given), files]
    return sha256(json.dumps(what).encode()).hexdigest()


def _read(path: Path) -> dict[str, _Answer]:
    """Return the answers that are kept in a file; none where there is none that can be read."""
    try:
        found = json.loads(path.read_text())
        return {
            digest: _Answer(model_config.from_loaded(one["config"]), bool(one["fixed_batch"]))
            for digest, one in found.items()
        }
    except (OSError, ValueError):
        return {}


def _write(path: Path, answers: Mapping[str, _Answer]) -> None:
    """Keep answers; where that cannot be done Triton is asked again."""
    text = json.dumps(
        {
            digest: {"config": json.loads(model_config.to_json(one.config, one.config.name)),
                     "fixed_batch": one.fixed_batch}
            for digest, one in answers.items()
        }
    )  # fmt: skip
    with suppress(OSError):
        part = path.with_name(f"{path.name}.part")
        part.write_text(text)
        part.replace(path)
