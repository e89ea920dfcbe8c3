"""The models of a repository, as a study for one of them needs to know them."""

from collections.abc import Sequence
from pathlib import Path

from targets.base import TargetError
from targets.found import FoundModel
from targets.triton.config import ModelConfig
from targets.triton.ensemble import steps_of
from targets.triton.repository import CONFIG_NAME, read_model
from targets.triton.wire import described


def models_in(repository: Path, model: str | None) -> Sequence[FoundModel]:
    """Return the models of a repository that have a config.pbtxt, or the one that is wanted.

    Raises:
        TargetError: it is no repository, has no such model, or a config.pbtxt does not parse.
    """
    if (repository / CONFIG_NAME).is_file():
        raise TargetError(f"{repository} is the folder of one model; give the repository that it stands in: "
                          f"{repository.resolve().parent}")  # fmt: skip
    if model is not None:
        return [_found(repository, model)]
    names = sorted(path.parent.name for path in repository.glob(f"*/{CONFIG_NAME}"))
    if not names:
        raise TargetError(f"{repository}: no folder in it holds a {CONFIG_NAME}; give a model repository of Triton's")
    return [_found(repository, name) for name in names]


def _found(repository: Path, name: str) -> FoundModel:
    _, config = read_model(repository, name)
    composing = _composing(repository, config)
    return FoundModel(
        name,
        described(config, name).inputs,
        _knobs(config),
        config.max_batch_size,
        composing,
        config.HasField("sequence_batching"),
        _decoupled(config) or any(one.streams for one in composing),
    )


def _composing(repository: Path, config: ModelConfig) -> tuple[FoundModel, ...]:
    """Return what an ensemble is composed of, each model once; one without a config.pbtxt has nothing to be searched.

    Raises:
        TargetError: a config.pbtxt does not parse.
    """
    found: dict[str, FoundModel] = {}
    waiting = steps_of(config)
    while waiting:
        name = waiting.pop(0)
        if name in found or not (repository / name / CONFIG_NAME).is_file():
            continue
        own = read_model(repository, name)[1]
        inputs, streams = described(own, name).inputs, _decoupled(own)
        found[name] = FoundModel(name, inputs, _knobs(own), own.max_batch_size, streams=streams)
        waiting += steps_of(own)
    return tuple(found.values())


def _decoupled(config: ModelConfig) -> bool:
    return bool(config.model_transaction_policy.decoupled)


def _knobs(config: ModelConfig) -> tuple[str, ...]:
    """Return what can be searched: batching where the model batches on its own, instances where there is one group."""
    if config.HasField("ensemble_scheduling"):
        return ()
    own_batches = config.max_batch_size > 0 and not config.HasField("sequence_batching")
    instances = ("instances",) if len(config.instance_group) <= 1 else ()
    return (*(("max_batch_size", "max_queue_delay") if own_batches else ()), *instances)
