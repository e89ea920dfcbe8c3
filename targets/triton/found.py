"""The models of a repository, or of a Triton that runs, as a study for one of them needs to know them."""

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from targets.base import Context, TargetError
from targets.found import FoundModel, NothingFound, models_alone
from targets.kserve.control import Control
from targets.kserve.found import control_at, models_of
from targets.triton import command_line, rules
from targets.triton import config as model_config
from targets.triton.asking import completed_by
from targets.triton.completion import is_complete
from targets.triton.config import ModelConfig
from targets.triton.ensemble import steps_of
from targets.triton.installation import find_installation
from targets.triton.options import TritonOptions
from targets.triton.repository import CONFIG_NAME, UserModel, read_model
from targets.triton.server import ServerLog
from targets.triton.starting import start_server
from targets.triton.wire import described

Configs = Callable[[str], ModelConfig | None]
"""Name of a model -> its configuration, None where nobody tells it."""


def models_at(place: str, model: str | None) -> Sequence[FoundModel]:
    """Return the models of a repository, or the one that is wanted.

    What the configuration of the only one lacks, or of the one that is wanted, Triton is started for and asked. Of one
    among several only what its file says is known.

    Args:
        place: the repository.
        model: the one that is wanted, None: every one.

    Raises:
        NothingFound: it has no models.
        TargetError: it is the folder of one model, has no such model, a config.pbtxt does not parse, or Triton does not
            complete a model.
    """
    repository = Path(place)
    if (repository / CONFIG_NAME).is_file():
        raise TargetError(f"{repository} is the folder of one model; give the repository that it stands in: "
                          f"{repository.resolve().parent}")  # fmt: skip
    alone = models_alone(repository, CONFIG_NAME)
    names = sorted([*(path.parent.name for path in repository.glob(f"*/{CONFIG_NAME}")), *alone])
    if not names:
        raise NothingFound(f"no folder in it holds a {CONFIG_NAME}, or a version of a model (1/model.*)")

    def configs(name: str) -> ModelConfig | None:
        return read_model(repository, name)[1] if (repository / name / CONFIG_NAME).is_file() else None

    if model is None and len(names) > 1:
        return [_found(name, read_model(repository, name)[1], configs) for name in names]
    one = _completed(repository, model or names[0])
    found = _found(one.name, one.config, configs)
    return [replace(found, knobs=tuple(knob for knob in found.knobs if not one.keeps(knob)))]


def _completed(repository: Path, name: str) -> UserModel:
    """Return a model with what Triton completes of it; without a Triton here what its file says has to do."""
    text, config = read_model(repository, name)
    model = UserModel(name, repository / name, text, config)
    if is_complete(config):
        return model
    with TemporaryDirectory(prefix="paretune-found-") as folder:
        if text and not _triton_is_here(Path(folder)):
            return model
        options = TritonOptions.model_validate({"model": name, "repository": repository.resolve()})
        context = Context(Path.cwd(), Path(folder) / "log.txt")
        flags = command_line.with_needed((), rules.offer_for((), [config], None))
        start = partial(start_server, options, context, ServerLog(context.log_path), list, flags, True)
        return completed_by(start, {name: (model, config)})[name]


def _triton_is_here(folder: Path) -> bool:
    """Whether there is a tritonserver to start; the folder is for what is laid out."""
    try:
        find_installation(None, folder)
    except TargetError:
        return False
    return True


def models_served(url: str, model: str | None, key_env: str | None) -> Sequence[FoundModel]:
    """Return the models of a Triton that runs and are ready, or the one that is wanted.

    Args:
        url: of the server.
        model: the one that is wanted, None: every one.
        key_env: the environment variable with the token that the server wants, None for none.

    Raises:
        NothingFound: the server does not speak the protocol, or is no Triton.
        TargetError: as `targets.kserve.found.models_of`.
    """
    served = models_of(url, model, key_env)
    if not served[0].server.lower().startswith("triton"):
        raise NothingFound("GET /v2: it does not call itself Triton")
    with closing(control_at(url, key_env)) as control:
        fixed = bool(control.why_not_load())
        return [_served(control, one, fixed=fixed) for one in served]


def _served(control: Control, one: FoundModel, *, fixed: bool) -> FoundModel:
    """Return a model with what its configuration on the server says; as it was found where that is not told."""

    def configs(name: str) -> ModelConfig | None:
        try:
            return model_config.from_loaded(control.config(name))
        except TargetError:
            return None

    if (config := configs(one.name)) is None:
        return one
    return replace(_found(one.name, config, configs), server=one.server, fixed=fixed)


def _found(name: str, config: ModelConfig, configs: Configs) -> FoundModel:
    composing = _composing(config, configs)
    return FoundModel(
        name,
        described(config, name).inputs,
        _knobs(config),
        config.max_batch_size,
        composing,
        config.HasField("sequence_batching"),
        _decoupled(config) or any(one.streams for one in composing),
    )


def _composing(config: ModelConfig, configs: Configs) -> tuple[FoundModel, ...]:
    """Return what an ensemble is composed of, each model once; one whose configuration nobody tells is left out.

    Raises:
        TargetError: a config.pbtxt does not parse.
    """
    found: dict[str, FoundModel] = {}
    waiting = steps_of(config)
    while waiting:
        name = waiting.pop(0)
        if name in found or (own := configs(name)) is None:
            continue
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
