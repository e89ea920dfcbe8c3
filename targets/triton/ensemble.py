"""The models that an ensemble is composed of, or that a model calls: their knobs, and what Triton asks of all. Pure.

The rules are those of ValidateEnsembleSchedulingConfig and ValidateEnsembleConfig in triton-inference-server/core,
src/ensemble_scheduler/ensemble_utils.cc and src/model_repository_manager/model_repository_manager.cc.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from targets.base import Config, ConfigRefused, Knob, TargetError, Value
from targets.triton import config as model_config
from targets.triton import rules
from targets.triton.knobs import ALWAYS_READ, BY_NAME, CATALOGUE
from targets.triton.repository import UserModel

COMPOSING = "composing"
"""Key of a study's `space` that has the knobs of composing models."""
UNWRITTEN = "model {!r} has no config.pbtxt, and Triton does not complete it on its own; write one"


@dataclass(frozen=True)
class Part:
    """One of the models that are deployed together.

    Attributes:
        model: the user's files.
        config: what it has, or is to have.
        top: it is the one that requests ask for; the others are composing models of it.
        called: the one that requests ask for calls it by itself.
        fixed: why its knobs cannot be set, "" where they can.
    """

    model: UserModel
    config: model_config.ModelConfig
    top: bool = False
    called: bool = False
    fixed: str = ""

    @property
    def name(self) -> str:
        """The model's name in the user's repository."""
        return self.model.name

    @property
    def why_fixed(self) -> str:
        """Why its knobs cannot be set, "" where they can."""
        return self.fixed or ("" if self.model.known else UNWRITTEN.format(self.name))

    @property
    def what(self) -> str:
        """What it is called in errors."""
        return f"{'called' if self.called else 'composing'} model {self.name!r}"


def is_ensemble(config: model_config.ModelConfig) -> bool:
    """Whether a model only passes requests on to others."""
    return bool(config.HasField("ensemble_scheduling"))


def is_ensemble_text(text: str | None) -> bool:
    """Whether a text of config.pbtxt, where there is one, is that of an ensemble."""
    return bool(text) and is_ensemble(model_config.parse(str(text), Path()))


def steps_of(config: model_config.ModelConfig) -> list[str]:
    """Return the models that an ensemble passes requests on to, each once, in the order of its steps."""
    return list(dict.fromkeys(step.model_name for step in config.ensemble_scheduling.step))


def parts_of(model: UserModel, config: model_config.ModelConfig, read: Callable[[str], UserModel]) -> tuple[Part, ...]:
    """Return what a model needs to be deployed, in the order in which it can be loaded: the model itself is the last.

    Args:
        model: an ensemble, or a model that stands alone.
        config: of it.
        read: name -> model of the user's repository; raises TargetError.

    Raises:
        TargetError: a composing model is not there, or an ensemble is a part of itself.
    """
    found: dict[str, Part] = {}
    _add_composing(config, (model.name,), read, found)
    return (*found.values(), Part(model, config, top=True))


def _add_composing(
    config: model_config.ModelConfig,
    above: tuple[str, ...],
    read: Callable[[str], UserModel],
    found: dict[str, Part],
) -> None:
    for name in steps_of(config):
        if name in above:
            raise TargetError(f"circular dependency between ensembles: {' -> '.join((*above, name))}")
        if name in found:
            continue
        try:
            model = read(name)
        except TargetError as error:
            raise TargetError(f"ensemble {above[-1]!r} has a step of model {name!r}: {error}") from None
        _add_composing(model.config, (*above, name), read, found)
        found[name] = Part(model, model.config)


def knob_name(model: str, knob: str) -> str:
    """Return the name that a composing model's knob has in configurations, constraints and results."""
    return f"{model}.{knob}"


def of_model(config: Config, model: str) -> dict[str, Value]:
    """Return what a configuration says of a composing model, by the names that its knobs have there."""
    names = {knob_name(model, one.name): one.name for one in CATALOGUE}
    return {names[name]: value for name, value in config.items() if name in names}


def bare(names: Collection[str]) -> list[str]:
    """Return the names of knobs without those of models."""
    return [name.rpartition(".")[2] for name in names]


def knobs_of(part: Part, gpus: tuple[int, ...] | None) -> Iterator[Knob]:
    """Yield the knobs of a composing model.

    Args:
        part: the model.
        gpus: of the server; None where that is not known.
    """
    config = model_config.named(part.config, part.name)
    for one in CATALOGUE:
        yield replace(
            one.knob,
            name=knob_name(part.name, one.name),
            place=(COMPOSING, part.name, one.name),
            role="",  # a batch of one model is not what the latency of the ensemble is simulated from
            unusable=part.why_fixed or rules.unusable(one, config, gpus) or part.model.keeps(one.name),
        )


def values_of(part: Part, expected: Collection[str]) -> dict[str, Value]:
    """Return the values that the user's files give the knobs of a composing model.

    Args:
        part: the model.
        expected: names of the knobs that a study sets, of this model and of others.
    """
    if part.why_fixed:
        return {}
    wanted = dict.fromkeys((*ALWAYS_READ, *of_model(dict.fromkeys(expected, 0), part.name)))
    usable = [name for name in wanted if name in BY_NAME and not rules.unusable(BY_NAME[name], part.config, None)]
    return {knob_name(part.name, name): value for name, value in model_config.knob_values(part.config, usable).items()}


def changed(part: Part, config: Config, offer: rules.Offer) -> Part:
    """Return a part with the knobs of a configuration set.

    Raises:
        ConfigRefused: it breaks a rule of Triton's, or has a knob of a model whose knobs cannot be set.
        TargetError: a knob is ambiguous.
    """
    if part.top:
        wanted = model_config.applied(part.config, config)
        rules.check(wanted, offer)
        return replace(part, config=wanted)
    own = of_model(config, part.name)
    if part.why_fixed and own:
        raise ConfigRefused(part.why_fixed, [knob_name(part.name, name) for name in own])
    if part.why_fixed:
        return part
    try:
        wanted = model_config.applied(part.config, own)
        rules.check(wanted, offer)
    except ConfigRefused as refused:
        whole, *parts = (
            ConfigRefused(f"{part.what}: {one}", [knob_name(part.name, name) for name in one.knobs])
            for one in (refused, *refused.parts)
        )
        raise ConfigRefused(str(whole), whole.knobs, parts) from None
    return replace(part, config=wanted)


def check_together(parts: Sequence[Part]) -> None:
    """Check what Triton asks of an ensemble and the models that it is composed of.

    Raises:
        ConfigRefused: a composing model takes smaller batches than its ensemble.
    """
    configs = {part.name: part for part in parts}
    for ensemble in (part for part in parts if not part.fixed):
        most = ensemble.config.max_batch_size
        for name in steps_of(ensemble.config):
            composing = configs[name]
            if composing.model.known and 0 < composing.config.max_batch_size < most:
                own = "max_batch_size" if ensemble.top else knob_name(ensemble.name, "max_batch_size")
                raise ConfigRefused(
                    f"ensemble {ensemble.name!r} allows maximum batch size {most}, but it contains model {name!r} "
                    f"which only allows maximum batch size to be {composing.config.max_batch_size}",
                    (knob_name(name, "max_batch_size"), own),
                )


def only_instances(before: str | None, after: str | None) -> bool:
    """Whether two texts of config.pbtxt differ in their instances alone."""
    if not before or not after or before == after:
        return False
    return model_config.only_instances(*(model_config.parse(text, Path()) for text in (before, after)))


def under_names(part: Part, names: Mapping[str, str]) -> model_config.ModelConfig:
    """Return the configuration of a part under the name that it is loaded by, with those of its steps' models.

    Args:
        part: the model.
        names: model -> name that it is loaded by.
    """
    renamed = model_config.named(part.config, names[part.name])
    for step in renamed.ensemble_scheduling.step if is_ensemble(renamed) else ():
        step.model_name = names[step.model_name]
    return renamed
