"""Every knob of Triton's model configuration: legal values, what they ask of a model, and where they stand in it.

`since` is the first release of tritonclient whose protobuf has the field, of those from 2.4.0 on that were looked at
(2.4 to 2.11, 2.13 to 2.18, 2.22 to 2.24, 2.36 to 2.38); `2.4 or before` where the oldest of them has it already. Of
entries of `parameters` and of accelerators the protobuf does not tell. Those of ONNX Runtime are dated by
triton-inference-server/onnxruntime_backend: its pull request 82, of November 2021, adds `inter_op_thread_count` and
`execution_mode`, beside `intra_op_thread_count`; and by the server's docs/optimization.md, which moved after 2.27, for
TensorRT's.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from targets.base import Knob, Value
from targets.triton import fields, sequence_fields
from targets.triton.fields import NO_NUMBERS, Access
from targets.triton.levels import of_level

MAX_INT32 = 2**31 - 1
MAX_UINT32 = 2**32 - 1
BATCHING: Final = "dynamic_batching"
LEVELS: Final = 4
"""Levels of the queue, from 1 on, whose policies are knobs."""
OLD = "2.4 or before"
ONNX = "onnxruntime"
PRECISION = Knob(
    "precision", "choice", None, None, "", "", "reload",
    "one of the study's target.variants: an overlay of the model's config, or another model",
    choices_from="target.variants", changes_answers=True,
)  # fmt: skip


def _never(_value: Value, _loaded: Any) -> bool:
    return False


@dataclass(frozen=True)
class ModelKnob:
    """A knob and where it stands in a model's configuration.

    Attributes:
        knob: what a study sees.
        field: as config.pbtxt spells it.
        access: reads and writes it.
        part: of the configuration that has to be there for it to mean anything, "" for none.
        backend: the one backend that knows it, "" where all do.
        gpu: it does nothing without a GPU.
        level: of the queue whose policy has it, 0 for none.
        filled_in: (value asked for, loaded configuration) -> whether Triton put there what the value leaves to it.
    """

    knob: Knob
    field: str
    access: Access
    part: Literal["", "dynamic_batching", "sequence_batching", "direct", "oldest", "tensorrt", "warmup", "resource"] = (
        ""
    )
    backend: str = ""
    gpu: bool = False
    level: int = 0
    filled_in: Callable[[Value, Any], bool] = _never

    @property
    def name(self) -> str:
        """The knob's name."""
        return self.knob.name


def _number(name: str, low: int, high: int, default: int, doc: str, *, since: str = OLD, **more: Any) -> Knob:
    return Knob(name, "int", low, high, default, more.pop("unit", ""), "reload", doc, since=since, **more)


def _flag(name: str, default: bool, doc: str, *, since: str = OLD, rule: str = "") -> Knob:
    return Knob(name, "bool", None, None, default, "", "reload", doc, since=since, rule=rule)


def _names(name: str, choices: Sequence[str], doc: str, *, since: str = OLD, **more: Any) -> Knob:
    return Knob(name, "choice", None, None, choices[0], "", "reload", doc, tuple(choices), since=since, **more)


def level_names(level: int) -> tuple[str, ...]:
    """Return the knobs of the queue policy of a level, none where it has no knobs."""
    return tuple(one.name for one in _LEVELS if one.level == level)


def _duration(name: str, doc: str, **more: Any) -> Knob:
    return Knob(name, "duration", 0, None, 0.0, "s", "reload", doc, since=OLD, grain=1 / fields.US_PER_S, **more)


def _list(name: str, low: int, doc: str, rule: str) -> Knob:
    return Knob(name, "list", low, MAX_INT32, NO_NUMBERS, "", "reload", doc, since=OLD, rule=rule)


def _the_largest_batch(value: Value, loaded: Any) -> bool:
    scheduler = loaded.sequence_batching.oldest if loaded.HasField("sequence_batching") else loaded.dynamic_batching
    return value == NO_NUMBERS and list(scheduler.preferred_batch_size) == [loaded.max_batch_size]


def _any_kind(value: Value, _loaded: Any) -> bool:
    return value == "auto"


def _all_gpus(value: Value, _loaded: Any) -> bool:
    return value == NO_NUMBERS


_POLICY = "dynamic_batching.default_queue_policy"
_ACCELERATORS = "optimization.execution_accelerators"

_BATCHING = (
    ModelKnob(
        _number("max_batch_size", 1, MAX_INT32, 0, "largest batch the server may form; 0 (no batching) changes the "
                "model's shape and is not tuned", role="max_batch"),
        "max_batch_size", fields.scalar("max_batch_size"),
    ),
    ModelKnob(
        _duration("max_queue_delay", "how long a request may wait for others to fill its batch "
                  "(max_queue_delay_microseconds)", role="max_delay",
                  rule="turns dynamic batching on; not beside sequence_batching or ensemble_scheduling"),
        "dynamic_batching.max_queue_delay_microseconds",
        fields.microseconds("dynamic_batching.max_queue_delay_microseconds", within=BATCHING),
    ),
    ModelKnob(
        _list("preferred_batch_size", 1, "batch sizes that are sent at once, without waiting longer",
              "each within 1 and max_batch_size"),
        "dynamic_batching.preferred_batch_size", fields.numbers("dynamic_batching.preferred_batch_size"),
        part=BATCHING, filled_in=_the_largest_batch,
    ),
    ModelKnob(
        _flag("preserve_ordering", False, "answers leave in the order of their requests",
              rule="not with priority_levels > 1, nor with a default_timeout and timeout_action delay"),
        "dynamic_batching.preserve_ordering", fields.scalar("dynamic_batching.preserve_ordering"), part=BATCHING,
    ),
    ModelKnob(
        _number("priority_levels", 0, MAX_INT32, 0, "levels of the queue; 1 is served first, 0: no levels",
                role="priority_levels", rule="needs a default_priority_level within it"),
        "dynamic_batching.priority_levels", fields.scalar("dynamic_batching.priority_levels"), part=BATCHING,
    ),
    ModelKnob(
        _number("default_priority_level", 0, MAX_INT32, 0, "level of requests that name none; 0: there are no levels",
                role="default_level", rule="within 1 and priority_levels"),
        "dynamic_batching.default_priority_level", fields.scalar("dynamic_batching.default_priority_level"),
        part=BATCHING,
    ),
    ModelKnob(
        _names("timeout_action", ("reject", "delay"), "what becomes of a request that waited longer than its timeout",
               rule="delay with a default_timeout: not with preserve_ordering"),
        f"{_POLICY}.timeout_action", fields.named(f"{_POLICY}.timeout_action", {"reject": 0, "delay": 1}),
        part=BATCHING,
    ),
    ModelKnob(
        _duration("default_timeout", "how long a request may wait in the queue; 0: for ever",
                  rule="with timeout_action delay: not with preserve_ordering"),
        f"{_POLICY}.default_timeout_microseconds", fields.microseconds(f"{_POLICY}.default_timeout_microseconds"),
        part=BATCHING,
    ),
    ModelKnob(
        _flag("allow_timeout_override", False, "a request may name a timeout of its own, shorter than the default"),
        f"{_POLICY}.allow_timeout_override", fields.scalar(f"{_POLICY}.allow_timeout_override"), part=BATCHING,
    ),
    ModelKnob(
        _number("max_queue_size", 0, MAX_UINT32, 0, "requests that may wait; further ones are rejected; 0: any number"),
        f"{_POLICY}.max_queue_size", fields.scalar(f"{_POLICY}.max_queue_size"), part=BATCHING,
    ),
    ModelKnob(
        _flag("eager_batching", False, "form the next batch before an instance is free for it", since="2.8"),
        "optimization.eager_batching", fields.scalar("optimization.eager_batching"),
    ),
)  # fmt: skip


def _policy_of(level: int) -> tuple[ModelKnob, ...]:
    """Return the knobs of the queue policy of a priority level."""
    needed = f"needs priority_levels of {level} or more"
    start = f"level_{level}_"
    behind = f"of requests of priority level {level}; the default policy's where it is not set"
    parts = (
        ("timeout_action", fields.named("timeout_action", {"reject": 0, "delay": 1}),
         _names(f"{start}timeout_action", ("reject", "delay"), f"timeout_action {behind}",
                rule=f"{needed}; delay with a timeout: not with preserve_ordering")),
        ("default_timeout_microseconds", fields.microseconds("default_timeout_microseconds"),
         _duration(f"{start}default_timeout", f"default_timeout {behind}",
                   rule=f"{needed}; with delay: not with preserve_ordering")),
        ("allow_timeout_override", fields.scalar("allow_timeout_override"),
         _flag(f"{start}allow_timeout_override", False, f"allow_timeout_override {behind}", rule=needed)),
        ("max_queue_size", fields.scalar("max_queue_size"),
         _number(f"{start}max_queue_size", 0, MAX_UINT32, 0, f"max_queue_size {behind}", rule=needed)),
    )  # fmt: skip
    return tuple(
        ModelKnob(knob, f"dynamic_batching.priority_queue_policy[{level}].{field}", of_level(level, access),
                  BATCHING, level=level)
        for field, access, knob in parts
    )  # fmt: skip


_LEVELS = tuple(one for level in range(1, LEVELS + 1) for one in _policy_of(level))

_INSTANCES = (
    ModelKnob(
        _number("instances", 1, MAX_INT32, 1, "copies of the model that run at once (instance_group.count)",
                role="instances", rule="one instance group at most; per GPU"),
        "instance_group.count", fields.count(),
    ),
    ModelKnob(
        _names("instance_kind", tuple(fields.KINDS), "what the instances run on; auto: Triton's choice",
               rule="gpu needs a GPU; cpu and model not with gpus"),
        "instance_group.kind", fields.kind(), filled_in=_any_kind,
    ),
    ModelKnob(
        _list("gpus", 0, "GPUs that have instances; none named: all", "not with instance_kind cpu or model"),
        "instance_group.gpus", fields.gpus(), gpu=True, filled_in=_all_gpus,
    ),
    ModelKnob(
        _number("rate_limiter_priority", 1, MAX_UINT32, 1, "a group of priority 2 runs half as often as one of 1",
                since="2.5", rule="needs a server with --rate-limit"),
        "instance_group.rate_limiter.priority", fields.limiter_priority(),
    ),
    ModelKnob(
        _number("rate_limiter_count", 1, MAX_UINT32, 1, "how much an instance takes of the resource that the group "
                "names; the server has as much as the largest instance takes", since="2.5",
                rule="needs a server with --rate-limit, and one resource in the group"),
        "instance_group.rate_limiter.resources.count", fields.limiter_count(), part="resource",
    ),
)  # fmt: skip

_REST = (
    ModelKnob(
        _flag("response_cache", False, "answer a request that came before from the server's cache", since="2.15",
              rule="needs a server with --cache-config; not with sequence_batching or a decoupled model"),
        "response_cache.enable", fields.scalar("response_cache.enable"),
    ),
    ModelKnob(
        _names("warmup", ("none", "zero", "random"), "what a model is asked with before it serves, in the shape of its "
               "own inputs (model_warmup)", rule="inputs of a fixed shape"),
        "model_warmup.inputs", fields.warmup(),
    ),
    ModelKnob(
        _number("warmup_batch_size", 1, MAX_INT32, 1, "batch of the warm-up request",
                rule="within 1 and max_batch_size; needs a warmup"),
        "model_warmup.batch_size", fields.warmup_batch_size(), part="warmup",
    ),
    ModelKnob(
        _number("warmup_count", 1, MAX_UINT32, 1, "how often the warm-up request is sent", since="2.24",
                rule="needs a warmup"),
        "model_warmup.count", fields.warmup_count(), part="warmup",
    ),
    ModelKnob(
        _names("sequence_strategy", ("direct", "oldest"), "how sequences share batches: a slot each, or the oldest "
               "requests first", rule="needs sequence_batching; oldest needs max_candidate_sequences"),
        "sequence_batching.direct|oldest", sequence_fields.strategy(), part="sequence_batching",
    ),
    ModelKnob(
        _number("max_candidate_sequences", 1, MAX_INT32, 1, "sequences whose requests are looked at for a batch",
                rule="needs sequence_strategy oldest"),
        "sequence_batching.oldest.max_candidate_sequences", sequence_fields.candidates(), part="oldest",
    ),
    ModelKnob(
        _list("sequence_preferred_batch_size", 1, "batch sizes that are sent at once, without waiting longer",
              "each within 1 and max_batch_size; needs sequence_strategy oldest"),
        "sequence_batching.oldest.preferred_batch_size",
        sequence_fields.of_strategy("oldest", fields.numbers("sequence_batching.oldest.preferred_batch_size")),
        part="oldest", filled_in=_the_largest_batch,
    ),
    ModelKnob(
        _flag("sequence_preserve_ordering", False, "answers of a sequence leave in the order of its requests",
              since="2.37", rule="needs sequence_strategy oldest"),
        "sequence_batching.oldest.preserve_ordering",
        sequence_fields.of_strategy("oldest", fields.scalar("sequence_batching.oldest.preserve_ordering")),
        part="oldest",
    ),
    ModelKnob(
        Knob("minimum_slot_utilization", "float", 0, 1, 0.0, "", "reload", "share of an instance's slots with a "
             "request at which it runs without waiting longer; 0: one request is enough", since="2.5",
             rule="needs sequence_strategy direct", grain=10.0**-sequence_fields.SHARE_DECIMALS),
        "sequence_batching.direct.minimum_slot_utilization", sequence_fields.slot_utilization(), part="direct",
    ),
    ModelKnob(
        _duration("sequence_queue_delay", "how long a request of a sequence may wait for others to fill its batch",
                  rule="needs sequence_batching; over 0 with strategy direct: minimum_slot_utilization over 0"),
        "sequence_batching.direct|oldest.max_queue_delay_microseconds", sequence_fields.sequence_delay(),
        part="sequence_batching",
    ),
    ModelKnob(
        Knob("max_sequence_idle", "duration", 1e-6, None, 1.0, "s", "reload", "how long a sequence may be without a "
             "request before it is given up; its slot is then free", since=OLD, rule="needs sequence_batching"),
        "sequence_batching.max_sequence_idle_microseconds", sequence_fields.idle_time(), part="sequence_batching",
    ),
)  # fmt: skip

_BACKENDS = (
    ModelKnob(
        _number("intra_op_thread_count", 0, MAX_INT32, 0, "threads within an operator; 0: one a core",
                since="2.17 or before"),
        'parameters["intra_op_thread_count"]', fields.parameter("intra_op_thread_count"), backend=ONNX,
    ),
    ModelKnob(
        _number("inter_op_thread_count", 0, MAX_INT32, 0, "threads across operators; 0: one a core", since="2.17",
                rule="does nothing with execution_mode sequential"),
        'parameters["inter_op_thread_count"]', fields.parameter("inter_op_thread_count"), backend=ONNX,
    ),
    ModelKnob(
        _names("execution_mode", ("sequential", "parallel"), "whether operators run beside each other", since="2.17"),
        'parameters["execution_mode"]', fields.parameter("execution_mode", ("sequential", "parallel")), backend=ONNX,
    ),
    ModelKnob(
        _names("graph_level", ("all", "basic", "extended", "disabled"), "which optimizations of the graph are made",
               changes_answers=True),
        "optimization.graph.level",
        fields.named("optimization.graph.level", {"all": 0, "basic": -1, "extended": 1, "disabled": 2}), backend=ONNX,
    ),
    ModelKnob(
        _names("cpu_accelerator", ("none", "openvino"), "what runs the parts of the graph that it can",
               changes_answers=True),
        f"{_ACCELERATORS}.cpu_execution_accelerator", fields.accelerator("cpu", "openvino"), backend=ONNX,
    ),
    ModelKnob(
        _names("gpu_accelerator", ("none", "tensorrt"), "what runs the parts of the graph that it can",
               changes_answers=True),
        f"{_ACCELERATORS}.gpu_execution_accelerator", fields.accelerator("gpu", "tensorrt"), backend=ONNX, gpu=True,
    ),
    ModelKnob(
        _names("tensorrt_precision", ("fp32", "fp16", "bf16", "int8"), "what TensorRT computes in (precision_mode)",
               changes_answers=True, since="2.27 or before", rule="needs gpu_accelerator tensorrt"),
        f"{_ACCELERATORS}.gpu_execution_accelerator.parameters.precision_mode",
        fields.tensorrt_parameter("precision_mode", str.lower, "fp32"), part="tensorrt", backend=ONNX, gpu=True,
    ),
    ModelKnob(
        _number("tensorrt_workspace", 1, 2**63 - 1, 2**30, "memory that TensorRT may use (max_workspace_size_bytes)",
                unit="bytes", since="2.27 or before", rule="needs gpu_accelerator tensorrt"),
        f"{_ACCELERATORS}.gpu_execution_accelerator.parameters.max_workspace_size_bytes",
        fields.tensorrt_parameter("max_workspace_size_bytes", fields.whole_bytes, 2**30), part="tensorrt", backend=ONNX,
        gpu=True,
    ),
    ModelKnob(
        _flag("cuda_graphs", False, "capture kernels in CUDA graphs and replay them"),
        "optimization.cuda.graphs", fields.scalar("optimization.cuda.graphs"), backend="tensorrt", gpu=True,
    ),
    ModelKnob(
        _flag("input_pinned_memory", True, "inputs go to the GPU through pinned memory"),
        "optimization.input_pinned_memory.enable", fields.switch("optimization.input_pinned_memory"), gpu=True,
    ),
    ModelKnob(
        _flag("output_pinned_memory", True, "outputs come from the GPU through pinned memory"),
        "optimization.output_pinned_memory.enable", fields.switch("optimization.output_pinned_memory"), gpu=True,
    ),
    ModelKnob(
        _number("gather_kernel_buffer_threshold", 0, MAX_UINT32, 0, "from how many buffers of an input on a kernel "
                "gathers them; 0: never", since="2.8"),
        "optimization.gather_kernel_buffer_threshold", fields.scalar("optimization.gather_kernel_buffer_threshold"),
        gpu=True,
    ),
)  # fmt: skip

CATALOGUE: tuple[ModelKnob, ...] = (*_BATCHING, *_LEVELS, *_INSTANCES, *_REST, *_BACKENDS)
"""In the order in which they are written: what a knob needs comes before it."""
BY_NAME: Mapping[str, ModelKnob] = {one.name: one for one in CATALOGUE}
KNOBS: Sequence[Knob] = (*(one.knob for one in CATALOGUE), PRECISION)
ALWAYS_READ = ("max_batch_size", "max_queue_delay", "instances")
"""What every configuration says; the others are read where a study sets them."""
