"""What Triton completes of a model's configuration by itself, beside what the user's file says. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass

from tritonclient.grpc import model_config_pb2

BATCHING = ("max_batch_size", "dynamic_batching", "sequence_batching")
"""These are written together: what Triton completes of the one depends on the others."""
OTHERS = ("name", "platform", "backend", "input", "output", "model_transaction_policy")


@dataclass(frozen=True)
class Completion:
    """What is behind a configuration that Triton completed.

    Attributes:
        said: what the user's config.pbtxt says; nothing where there is none.
        given: the same with a variant's overlay.
        known: what it became.
        fixed_batch: the model's own code sets `max_batch_size`, whatever the file says.
    """

    said: model_config_pb2.ModelConfig
    given: model_config_pb2.ModelConfig
    known: model_config_pb2.ModelConfig
    fixed_batch: bool = False

    def written(self, wanted: model_config_pb2.ModelConfig) -> model_config_pb2.ModelConfig:
        """Return a configuration without what Triton completes, unless it is to be otherwise than that.

        Args:
            wanted: `known` with some of its fields changed.
        """
        result = _copy_of(wanted)
        tuned = not all(_same(name, wanted, self.known) for name in BATCHING)
        left = [name for name in OTHERS if _same(name, wanted, self.known)]
        _take(result, self.given, [*left, *(() if tuned else BATCHING)])
        return result

    def keeps(self, knob: str) -> str:
        """Return why a knob cannot be changed although it is one of the configuration, "" where it can be."""
        if knob != "max_batch_size" or not self.fixed_batch:
            return ""
        return (
            f"auto_complete_config of model {self.known.name!r} sets max_batch_size to {self.known.max_batch_size}, "
            "whatever its config.pbtxt says; to tune it, take set_max_batch_size out of there and write it into that"
        )


def is_complete(config: model_config_pb2.ModelConfig) -> bool:
    """Whether a configuration names inputs and outputs: what lacks one of them Triton completes from the model."""
    return bool(config.HasField("ensemble_scheduling") or (config.input and config.output))


def completed(
    given: model_config_pb2.ModelConfig, told: model_config_pb2.ModelConfig, name: str
) -> model_config_pb2.ModelConfig:
    """Return a configuration with what Triton completed of it.

    It is without what Triton itself makes of batching that the model left open: a preferred batch of the largest size
    would keep smaller ones out.

    Args:
        given: the configuration.
        told: what the server has of it.
        name: of the model.
    """
    result = _copy_of(given)
    own = BATCHING[1:] if given.WhichOneof("scheduling_choice") else ()
    _take(result, told, [one for one in (*OTHERS, *BATCHING) if one not in own and not _has(given, one)])
    if not own and list(result.dynamic_batching.preferred_batch_size) == [told.max_batch_size]:
        result.dynamic_batching.ClearField("preferred_batch_size")
    result.name = name
    return result


def _copy_of(config: model_config_pb2.ModelConfig) -> model_config_pb2.ModelConfig:
    result = model_config_pb2.ModelConfig()
    result.CopyFrom(config)
    return result


def _has(config: model_config_pb2.ModelConfig, name: str) -> bool:
    """Whether a configuration has a part of its own that Triton leaves as it is."""
    field = model_config_pb2.ModelConfig.DESCRIPTOR.fields_by_name[name]
    return bool(field.message_type is not None and not field.is_repeated and config.HasField(name))


def _same(name: str, one: model_config_pb2.ModelConfig, other: model_config_pb2.ModelConfig) -> bool:
    return bool(_has(one, name) == _has(other, name) and getattr(one, name) == getattr(other, name))


def _take(into: model_config_pb2.ModelConfig, source: model_config_pb2.ModelConfig, names: Iterable[str]) -> None:
    """Give a configuration fields as another one has them; those that it does not have are taken away."""
    for name in names:
        field, value = model_config_pb2.ModelConfig.DESCRIPTOR.fields_by_name[name], getattr(source, name)
        into.ClearField(name)
        if field.is_repeated:
            getattr(into, name).MergeFrom(value)
        elif field.message_type is None:
            setattr(into, name, value)
        elif source.HasField(name):
            getattr(into, name).SetInParent()
            getattr(into, name).CopyFrom(value)
