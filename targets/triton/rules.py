"""What Triton does not take: refused here with its rule named, before it is asked.

The rules are those of ValidateModelConfig and ValidateInstanceGroup in triton-inference-server/core,
src/model_config_utils.cc, of warm-up in the same repository, of the comments in model_config.proto, and of the READMEs
of the backends.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from tritonclient.grpc import model_config_pb2

from targets.base import ConfigRefused, Knob, Value
from targets.triton.fields import KINDS, as_numbers
from targets.triton.knobs import BATCHING, ModelKnob, level_names
from workloads.units import is_multiple

SCHEDULERS = "dynamic_batching, sequence_batching and ensemble_scheduling exclude one another"
CACHE_BYTES = 64 * 2**20
CACHE_KNOBS = ("response_cache", "cache_size")
LIMITER_KNOBS = ("rate_limiter_priority", "rate_limiter_count")
_BACKEND_OF = {"onnxruntime_onnx": "onnxruntime", "tensorrt_plan": "tensorrt", "pytorch_libtorch": "pytorch"}
_CALLED = {"onnxruntime": "ONNX Runtime", "tensorrt": "TensorRT"}
_DELAY = model_config_pb2.ModelQueuePolicy.DELAY


@dataclass(frozen=True)
class Offer:
    """What the server that configurations are for has.

    Attributes:
        gpus: numbers of its GPUs; None where that is not known.
        response_cache: it was started with --cache-config.
        rate_limit: it was started with --rate-limit.
        resources: of the rate limiter, (name, how much of it there is); of others it has what the models ask for.
    """

    gpus: tuple[int, ...] | None = None
    response_cache: bool = False
    rate_limit: bool = False
    resources: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True)
class _Broken:
    rule: str
    knobs: tuple[str, ...]


def offer_for(
    knobs: Collection[str], configs: Sequence[model_config_pb2.ModelConfig], gpus: tuple[int, ...] | None
) -> Offer:
    """Return what a server has to have for the knobs of a study and the configurations that these change."""
    return Offer(
        gpus,
        response_cache="response_cache" in knobs or any(one.response_cache.enable for one in configs),
        rate_limit=any(name in knobs for name in LIMITER_KNOBS) or any(_limits(one) for one in configs),
    )


def flags(offer: Offer) -> tuple[str, ...]:
    """Return the flags of tritonserver that make an offer good."""
    return (
        *((f"--cache-config=local,size={CACHE_BYTES}",) if offer.response_cache else ()),
        *(("--rate-limit=execution_count",) if offer.rate_limit else ()),
    )


NO_GPU = "it is for GPUs, and Triton finds none here"


def on_gpus(config: model_config_pb2.ModelConfig) -> bool:
    """Whether a model says that it needs a GPU."""
    return any(group.kind == KINDS["gpu"] for group in config.instance_group)


def unusable(one: ModelKnob, config: model_config_pb2.ModelConfig, gpus: tuple[int, ...] | None) -> str:
    """Say why no value of a knob can be used on a model, "" where one can.

    Args:
        one: the knob.
        config: of the model.
        gpus: of the server; None where that is not known.
    """
    if reason := _wrong(one, config):
        return reason
    if one.gpu and gpus == ():
        return NO_GPU
    return ""


def _wrong(one: ModelKnob, config: Any) -> str:
    return (
        _not_of_ensemble(one, config)
        or _wrong_backend(one, config)
        or _takes_no_batches(one, config)
        or _wrong_model(one, config)
    )


def _takes_no_batches(one: ModelKnob, config: Any) -> str:
    if one.name != "max_batch_size" or config.max_batch_size or not (config.input or config.output):
        return ""  # what a file leaves out Triton completes from the model, the axis of batches as well
    return (
        f"model {config.name!r} has max_batch_size 0, and another one would add an axis to its inputs and outputs; if "
        "it takes batches, say so in its config.pbtxt"
    )


def _wrong_backend(one: ModelKnob, config: Any) -> str:
    backend = config.backend or _BACKEND_OF.get(config.platform, config.platform)
    if not one.backend or not backend or backend == one.backend:
        return ""
    return (
        f"it is for the {_CALLED[one.backend]} backend ({one.backend}), and model {config.name!r} has the backend "
        f"{backend!r}"
    )


def _wrong_model(one: ModelKnob, config: Any) -> str:
    """Say what of the model itself stands against a knob: what no other knob can change."""
    scheduler = config.WhichOneof("scheduling_choice")
    if one.name == "max_queue_delay" or one.part == BATCHING:
        return "" if scheduler in (None, BATCHING) else f"model {config.name!r} has {scheduler}, and {SCHEDULERS}"
    if one.part in ("sequence_batching", "direct", "oldest") and scheduler != "sequence_batching":
        return f"model {config.name!r} has no sequence_batching"
    if one.part == "resource" and one.access.read(config) is None:
        return f"model {config.name!r} has no instance group with one resource under rate_limiter"
    if one.name == "response_cache":
        return next((broken.rule for broken in _cache_on(config)), "")
    if one.field.startswith("model_warmup"):
        return _no_warmup(config)
    return ""


def _not_of_ensemble(one: ModelKnob, config: Any) -> str:
    """Say in Triton's words that an ensemble cannot have what a knob sets, "" where it can, or is none."""
    if not config.HasField("ensemble_scheduling"):
        return ""
    refusal = {
        "instance_group": "instance group should not be specified for an ensemble",
        "optimization": "optimization should not be specified for an ensemble",
        "model_warmup": "model_warmup can not be specified for an ensemble",
        BATCHING: f"an ensemble has ensemble_scheduling, and {SCHEDULERS}",
    }.get(one.field.partition(".")[0])
    return f"{refusal}; search it of the composing models, under `composing`" if refusal else ""


def _no_warmup(config: Any) -> str:
    tensors = [tensor for tensor in config.input if not tensor.optional]
    if not tensors:
        return f"model {config.name!r} names no inputs in its config.pbtxt, of which model_warmup would be made"
    for tensor in tensors:
        if any(size < 1 for size in tensor.dims):
            return f"model_warmup needs a shape, and input {tensor.name!r} has dims {list(tensor.dims)}"
    return ""


def out_of_range(knob: Knob, value: Value) -> ConfigRefused | None:
    """Return why a value is none that a knob has, None where it is one."""
    if knob.type == "choice" and value not in knob.choices:
        return ConfigRefused(f"{knob.name}: {value!r} is none of {', '.join(knob.choices)}", (knob.name,))
    if knob.type not in ("int", "float", "duration", "list"):
        return None
    if knob.grain and not is_multiple(float(value), knob.grain):
        counted = "whole microseconds" if knob.type == "duration" else f"a whole multiple of {knob.grain:g}"
        return ConfigRefused(f"{knob.name}: must be {counted}, but is {value:g} {knob.unit}".rstrip(), (knob.name,))
    for number in as_numbers(value) if knob.type == "list" else [float(value)]:
        if (knob.low is not None and number < knob.low) or (knob.high is not None and number > knob.high):
            high = "" if knob.high is None else f" and <= {knob.high:g}"
            return ConfigRefused(f"{knob.name}: must be >= {knob.low:g}{high}, but is {value}", (knob.name,))
    return None


def missing_part(one: ModelKnob, config: model_config_pb2.ModelConfig, value: Value) -> ConfigRefused | None:
    """Return why a value of a knob means nothing in a configuration, None where it does."""
    if reason := _wrong(one, config):
        return ConfigRefused(f"{one.name}: {reason}", (one.name,))
    if said := _no_level(one, config.dynamic_batching, value):
        return ConfigRefused(said, ("priority_levels", one.name))
    missing = {
        BATCHING: (
            not config.HasField(BATCHING),
            "is a part of dynamic_batching, which is off; give `max_queue_delay` too, or write `dynamic_batching { }`",
            "max_queue_delay",
        ),
        "direct": (
            config.sequence_batching.HasField("oldest"),
            "is a part of sequence_batching.direct; give `sequence_strategy: direct` too",
            "sequence_strategy",
        ),
        "oldest": (
            not config.sequence_batching.HasField("oldest"),
            "is a part of sequence_batching.oldest; give `sequence_strategy: oldest` too",
            "sequence_strategy",
        ),
        "tensorrt": (
            not any(
                listed.name == "tensorrt"
                for listed in config.optimization.execution_accelerators.gpu_execution_accelerator
            ),
            "is a parameter of the accelerator tensorrt, which is off; search it `when: gpu_accelerator == tensorrt`",
            "gpu_accelerator",
        ),
        "warmup": (
            len(config.model_warmup) != 1,
            "is of the one entry of model_warmup; search it `when: warmup != none`",
            "warmup",
        ),
    }
    absent, why, needed = missing.get(one.part, (False, "", ""))
    return ConfigRefused(f"{one.name}: {why}", (one.name, needed)) if absent else None


def _no_level(one: ModelKnob, batching: Any, value: Value) -> str:
    """Say that the level which a value is about is not there, "" where it is."""
    levels = batching.priority_levels
    if one.name == "default_priority_level" and value and not levels:
        # Triton passes over the level then: in a file of the user's it may stand.
        return f"default priority level is {value}, but there are no priority_levels"
    if not one.level or one.level <= levels:
        return ""
    search = f"search it `when: priority_levels >= {one.level}`"
    if not levels:
        return f"{one.name}: is of priority level {one.level}, but there are no priority_levels; {search}"
    return (
        f"{one.name}: priority queue policy must have priority level in range [1, {levels}], but has {one.level}; "
        f"{search}"
    )


def vain_delay(before: model_config_pb2.ModelConfig, config: model_config_pb2.ModelConfig) -> ConfigRefused | None:
    """Return why sequences wait for no batch in spite of their queue delay, None where they do, or none is asked for.

    Triton takes such a configuration, so that a file of the user's may have it.

    Args:
        before: what the file says.
        config: what knobs make of it.
    """
    direct, own = config.sequence_batching.direct, before.sequence_batching.direct
    if not direct.max_queue_delay_microseconds or direct.minimum_slot_utilization or direct == own:
        return None
    return ConfigRefused(
        "sequence_batching.direct: max_queue_delay_microseconds will be ignored unless minimum_slot_utilization is set "
        f"to a non-zero value, but it is 0, and the delay {direct.max_queue_delay_microseconds} us; give "
        "`minimum_slot_utilization`, or `sequence_strategy: oldest`",
        ("sequence_queue_delay", "minimum_slot_utilization", "sequence_strategy"),
    )


def check(config: model_config_pb2.ModelConfig, offer: Offer) -> None:
    """Raise ConfigRefused, with every rule that a configuration breaks, where it breaks one.

    Args:
        config: of a model, as it would be loaded.
        offer: what the server has.
    """
    found = [
        *_batching(config),
        *_sequences(config),
        *_instances(config, offer.gpus),
        *_cache(config, offer),
        *_limiter(config, offer),
        *_warmup(config),
    ]
    if found:
        names = dict.fromkeys(name for one in found for name in one.knobs)
        parts = [ConfigRefused(one.rule, one.knobs) for one in found]
        raise ConfigRefused("; ".join(one.rule for one in found), tuple(names), parts)


def _batching(config: Any) -> Iterator[_Broken]:
    batching, largest = config.dynamic_batching, config.max_batch_size
    for field, sizes, knobs in (
        ("dynamic batching preferred size", batching.preferred_batch_size, ("preferred_batch_size", "max_batch_size")),
        (
            "sequence batching preferred batch size",
            config.sequence_batching.oldest.preferred_batch_size,
            ("sequence_preferred_batch_size", "max_batch_size"),
        ),
    ):
        if any(size <= 0 for size in sizes):
            yield _Broken(f"{field} must be positive, but is {min(sizes)}", knobs)
        if any(size > largest for size in sizes):
            yield _Broken(f"{field} must be <= max batch size, but {max(sizes)} > {largest}", knobs)
    yield from _levels(batching)
    if batching.preserve_ordering:
        yield from _ordered(batching)


def _sequences(config: Any) -> Iterator[_Broken]:
    batching = config.sequence_batching
    if batching.HasField("oldest") and batching.oldest.max_candidate_sequences < 1:
        yield _Broken(
            "sequence_batching.oldest serves max_candidate_sequences, which must be >= 1, but is "
            f"{batching.oldest.max_candidate_sequences}",
            ("sequence_strategy", "max_candidate_sequences"),
        )


def _levels(batching: Any) -> Iterator[_Broken]:
    levels, default = batching.priority_levels, batching.default_priority_level
    knobs = ("priority_levels", "default_priority_level")
    if levels and not 1 <= default <= levels:
        yield _Broken(f"default priority level must be in range [1, {levels}], but is {default}", knobs)
    for level in batching.priority_queue_policy:
        if levels and not 1 <= level <= levels:
            yield _Broken(
                f"priority queue policy must have priority level in range [1, {levels}], but has {level}", knobs
            )


def _ordered(batching: Any) -> Iterator[_Broken]:
    if batching.priority_levels > 1:
        yield _Broken(
            "only one priority level is allowed when preserve_ordering is true, but priority_levels is "
            f"{batching.priority_levels}",
            ("preserve_ordering", "priority_levels"),
        )
    policies = {0: batching.default_queue_policy, **batching.priority_queue_policy}
    late = [
        level for level, one in policies.items() if one.default_timeout_microseconds and one.timeout_action == _DELAY
    ]
    if late:
        names = [("timeout_action", "default_timeout") if not level else level_names(level)[:2] for level in late]
        yield _Broken(
            "a queue policy cannot have DELAY as timeout action when preserve_ordering is true",
            ("preserve_ordering", *(name for knobs in names for name in knobs)),
        )


def _instances(config: Any, gpus: tuple[int, ...] | None) -> Iterator[_Broken]:
    for group in config.instance_group:
        kind = model_config_pb2.ModelInstanceGroup.Kind.Name(group.kind)
        if group.kind in (KINDS["cpu"], KINDS["model"]) and group.gpus:
            yield _Broken(
                f"an instance group of kind {kind} cannot name gpus, but names {list(group.gpus)}",
                ("instance_kind", "gpus"),
            )
        if gpus is None:
            continue
        if group.kind == KINDS["gpu"] and not gpus:
            yield _Broken("an instance group has kind KIND_GPU but no GPUs are available", ("instance_kind",))
        elif unknown := [one for one in group.gpus if one not in gpus]:
            found = ", ".join(map(str, gpus)) or "none"
            yield _Broken(f"an instance group names GPU {unknown[0]}; Triton finds here: {found}", ("gpus",))


def _cache(config: Any, offer: Offer) -> Iterator[_Broken]:
    if not config.response_cache.enable:
        return
    yield from _cache_on(config)
    if not offer.response_cache:
        yield _Broken("response_cache needs a server that was started with --cache-config", CACHE_KNOBS)


def _cache_on(config: Any) -> Iterator[_Broken]:
    for present, what in (
        (config.HasField("sequence_batching"), "a sequence batching scheduler"),
        (config.model_transaction_policy.decoupled, "a decoupled transaction policy"),
    ):
        if present:
            yield _Broken(f"the response cache does not support a model with {what}", ("response_cache",))


def _limiter(config: Any, offer: Offer) -> Iterator[_Broken]:
    if not offer.rate_limit and _limits(config):
        yield _Broken("rate_limiter needs a server that was started with --rate-limit", (*LIMITER_KNOBS, "rate_limit"))
    limits = dict(offer.resources)
    for resource in (one for group in config.instance_group for one in group.rate_limiter.resources):
        limit = limits.get(resource.name, resource.count)
        if resource.count > limit:
            yield _Broken(
                f"resource count for {resource.name!r} is limited to {limit} by --rate-limit-resource, but an instance "
                f"takes {resource.count}",
                ("rate_limiter_count",),
            )


def _limits(config: Any) -> bool:
    return any(group.HasField("rate_limiter") for group in config.instance_group)


def _warmup(config: Any) -> Iterator[_Broken]:
    largest = max(1, config.max_batch_size)
    for entry in config.model_warmup:
        if entry.batch_size > largest:
            yield _Broken(
                f"a warm-up batch must be within 1 and max_batch_size, but {entry.batch_size} > {largest}",
                ("warmup_batch_size", "max_batch_size"),
            )
