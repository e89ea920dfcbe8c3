"""The catalogue of Triton's knobs: each is read, written and exported; what Triton does not take is refused."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from targets.base import Config, ConfigRefused, TargetError, Value
from targets.triton import pbtxt, rules
from targets.triton.config import ModelConfig, applied, from_loaded, knob_mismatches, knob_values, parse
from targets.triton.knobs import ALWAYS_READ, BY_NAME, CATALOGUE, KNOBS, level_names
from targets.triton.loading import check_loaded
from tests.conftest import DIGITS, MakeTriton

ONNX = """# the whole of it
name: "big"
backend: "onnxruntime"  # not Python
max_batch_size: 16
input [ { name: "X" data_type: TYPE_FP32 dims: [ 4 ] }, { name: "Y" data_type: TYPE_INT8 dims: 1 optional: true } ]
output [ { name: "Z" data_type: TYPE_FP32 dims: [ 1 ] } ]
# one group
instance_group [
  {
    count: 1  # one is enough
    rate_limiter { resources [ { name: "R" count: 1 } ] }
  }
]
dynamic_batching {
  # sizes that the model likes
  preferred_batch_size: [ 8 ]
  priority_levels: 3
  default_priority_level: 2
}
optimization {
  execution_accelerators {
    gpu_execution_accelerator: [ { name: "tensorrt" parameters { key: "precision_mode" value: "FP32" } } ]
  }
}
model_warmup [
  { name: "mine" batch_size: 2 inputs { key: "X" value { data_type: TYPE_FP32 dims: 4 zero_data: true } } }
]
parameters { key: "intra_op_thread_count" value { string_value: "2" } }  # of eight
"""
LEVELS = ONNX.replace(
    "priority_levels: 3\n",
    """priority_levels: 4  # one for each class
  default_queue_policy { max_queue_size: 9 }
  priority_queue_policy [
    { key: 0x1 value { default_timeout_microseconds: 1000 } },  # the urgent ones
    { key: 3 value: { max_queue_size: 16 } }
  ]
""",
)
SINGLE = 'name: "single" input { name: "X" data_type: TYPE_FP32 dims: [ 4 ] }'
PLAN = 'name: "plan"\nbackend: "tensorrt"  # a plan\nmax_batch_size: 4\n'
SEQUENCES = """name: "turns"
backend: "onnxruntime"
max_batch_size: 4  # slots
sequence_batching {
  # how long one may be silent
  max_sequence_idle_microseconds: 5000
  direct { }
}
"""
OLDEST = SEQUENCES.replace("direct { }", "oldest { max_candidate_sequences: 2 }")
WAITING = SEQUENCES.replace("{ }", "{ max_queue_delay_microseconds: 500 minimum_slot_utilization: 0.75 }")
CHANGES: Mapping[str, tuple[str, Value]] = {
    "max_batch_size": (ONNX, 32),
    "max_queue_delay": (ONNX, 0.002),
    "preferred_batch_size": (ONNX, "4,16"),
    "preserve_ordering": (PLAN + "dynamic_batching { }", True),
    "priority_levels": (ONNX, 2),
    "default_priority_level": (ONNX, 3),
    "timeout_action": (ONNX, "delay"),
    "default_timeout": (ONNX, 0.25),
    "allow_timeout_override": (ONNX, True),
    "max_queue_size": (ONNX, 64),
    "eager_batching": (ONNX, True),
    **{
        f"level_{level}_{name}": (LEVELS, value)
        for level in (1, 2, 3, 4)
        for name, value in (
            ("timeout_action", "delay"),
            ("default_timeout", 0.25),
            ("allow_timeout_override", True),
            ("max_queue_size", 64),
        )
    },
    "instances": (ONNX, 3),
    "instance_kind": (ONNX, "cpu"),
    "gpus": (ONNX, "0,1"),
    "rate_limiter_priority": (ONNX, 2),
    "rate_limiter_count": (ONNX, 4),
    "response_cache": (ONNX, True),
    "warmup": (ONNX, "random"),
    "warmup_batch_size": (ONNX, 16),
    "warmup_count": (ONNX, 3),
    "sequence_strategy": (OLDEST, "direct"),
    "max_candidate_sequences": (OLDEST, 9),
    "sequence_preferred_batch_size": (OLDEST, "2,4"),
    "sequence_preserve_ordering": (OLDEST, True),
    "minimum_slot_utilization": (SEQUENCES, 0.7),
    "sequence_queue_delay": (OLDEST, 0.002),
    "max_sequence_idle": (SEQUENCES, 2.0),
    "intra_op_thread_count": (ONNX, 4),
    "inter_op_thread_count": (ONNX, 2),
    "execution_mode": (ONNX, "parallel"),
    "graph_level": (ONNX, "basic"),
    "cpu_accelerator": (ONNX, "openvino"),
    "gpu_accelerator": (ONNX, "none"),
    "tensorrt_precision": (ONNX, "fp16"),
    "tensorrt_workspace": (ONNX, 2**28),
    "cuda_graphs": (PLAN, True),
    "input_pinned_memory": (PLAN, False),
    "output_pinned_memory": (PLAN, False),
    "gather_kernel_buffer_threshold": (PLAN, 5),
}
"""Knob -> a configuration that has its part, and another value than that one's."""
GREAT = rules.Offer(gpus=(0, 1), response_cache=True, rate_limit=True)


def config(text: str) -> ModelConfig:
    return parse(text, Path("config.pbtxt"))


def test_every_knob_has_a_change_here() -> None:
    assert list(CHANGES) == [one.name for one in CATALOGUE]


@pytest.mark.parametrize("name", CHANGES)
def test_a_value_that_was_written_is_read_back_and_legal(name: str) -> None:
    text, value = CHANGES[name]
    before = config(text)
    assert BY_NAME[name].access.read(before) != value
    changed = applied(before, {name: value})
    assert BY_NAME[name].access.read(changed) == value
    assert before == config(text), "the base stays"
    rules.check(changed, GREAT)
    parts = ("tensorrt_precision", "tensorrt_workspace", "max_candidate_sequences", "sequence_preferred_batch_size",
             "sequence_preserve_ordering", "minimum_slot_utilization")  # fmt: skip
    # A level has the default policy where it has none of its own.
    levels = [one.name for one in CATALOGUE if one.level and one.name.endswith(f"_{name}")]
    levels += level_names(3) if name == "priority_levels" else []
    others = [one.name for one in CATALOGUE if one.name not in (name, *parts, *levels)]
    assert knob_values(changed, others) == knob_values(before, others)


@pytest.mark.parametrize("name", CHANGES)
def test_a_value_is_exported_into_the_users_own_text(name: str) -> None:
    text, value = CHANGES[name]
    wanted = applied(config(text), {name: value})
    written = pbtxt.rewrite(text, config(text), wanted)
    assert config(written) == wanted
    comments = [line.partition("#")[2] for line in text.splitlines() if "#" in line]
    assert [line.partition("#")[2] for line in written.splitlines() if "#" in line] == comments


@pytest.mark.parametrize("name", CHANGES)
def test_the_way_back_is_exported_too(name: str) -> None:
    """A value that a field's absence says is written, or the field goes, but never the comments."""
    text, value = CHANGES[name]
    before = config(text)
    there = pbtxt.rewrite(text, before, applied(before, {name: value}))
    own = BY_NAME[name].access.read(before)
    if own is None:
        own = BY_NAME[name].knob.default
    wanted = applied(config(there), {name: own})
    back = pbtxt.rewrite(there, config(there), wanted)
    assert config(back) == wanted
    assert back.count("#") == text.count("#")


def test_every_knob_together_is_exported() -> None:
    names = [name for name, (text, _) in CHANGES.items() if text == ONNX and name not in ("gpu_accelerator", "gpus")]
    values: Config = {name: CHANGES[name][1] for name in names if name != "default_priority_level"}
    wanted = applied(config(ONNX), values)
    rules.check(wanted, GREAT)
    written = pbtxt.rewrite(ONNX, config(ONNX), wanted)
    assert knob_values(config(written), values) == values
    assert written.count("#") == ONNX.count("#")


def test_a_policy_of_a_level_is_changed_where_it_stands_and_a_new_one_is_the_default_one_but_for_what_is_set() -> None:
    values: Config = {"level_1_max_queue_size": 5, "level_2_timeout_action": "delay", "level_3_max_queue_size": 17}
    written = pbtxt.rewrite(LEVELS, config(LEVELS), applied(config(LEVELS), values))
    assert "{ key: 0x1 value { default_timeout_microseconds: 1000 max_queue_size: 5 } },  # the urgent ones" in written
    assert "{ key: 3 value: { max_queue_size: 17 } }" in written
    policy = config(written).dynamic_batching.priority_queue_policy[2]
    assert (policy.timeout_action, policy.max_queue_size) == (1, 9)
    assert knob_values(config(written), ["level_2_max_queue_size", "level_4_max_queue_size"]) == {
        "level_2_max_queue_size": 9,
        "level_4_max_queue_size": 9,
    }


def test_all_policies_of_levels_together_are_exported() -> None:
    values: Config = {name: value for name, (text, value) in CHANGES.items() if text == LEVELS}
    wanted = applied(config(LEVELS), values)
    rules.check(wanted, GREAT)
    written = pbtxt.rewrite(LEVELS, config(LEVELS), wanted)
    assert knob_values(config(written), values) == values
    assert written.count("#") == LEVELS.count("#")


def test_a_level_that_is_not_there_has_no_values() -> None:
    assert knob_values(config(PLAN), level_names(1)) == {}
    assert set(knob_values(config(PARTED), [*level_names(2), *level_names(3)])) == set(level_names(2))


def test_another_strategy_takes_the_place_of_the_first_with_comments_kept() -> None:
    values: Config = {"sequence_strategy": "oldest", "max_candidate_sequences": 6}
    written = pbtxt.rewrite(SEQUENCES, config(SEQUENCES), applied(config(SEQUENCES), values))
    expected = SEQUENCES.replace("  direct { }", "  oldest {\n    max_candidate_sequences: 6\n  }")
    assert written == expected
    assert (
        pbtxt.rewrite(written, config(written), applied(config(written), {"sequence_strategy": "direct"})).replace(
            "direct {\n  }", "direct { }"
        )
        == SEQUENCES
    )


def test_a_plain_file_gives_the_defaults_of_the_catalogue() -> None:
    read = knob_values(config(PLAN), [one.name for one in CATALOGUE])
    assert {name: BY_NAME[name].knob.default for name in read if name != "max_batch_size"} == {
        name: value for name, value in read.items() if name != "max_batch_size"
    }


def test_the_users_own_way_of_warming_up_has_no_name_of_ours() -> None:
    mixed = 'inputs { key: "W" value { data_type: TYPE_FP32 dims: 4 input_data_file: "x" } }'
    own = config(ONNX.replace('name: "mine"', f'name: "mine" {mixed}'))
    assert "warmup" not in knob_values(own, ["warmup"])
    assert not applied(own, {"warmup": "none"}).model_warmup


def test_accelerators_that_are_not_asked_about_stay() -> None:
    before = config(ONNX.replace('{ name: "tensorrt"', '{ name: "other" }, { name: "tensorrt"'))
    changed = applied(before, {"gpu_accelerator": "none"})
    assert [one.name for one in changed.optimization.execution_accelerators.gpu_execution_accelerator] == ["other"]


@pytest.mark.parametrize("size", ["1G", "", "-1", "1e9"])
def test_a_workspace_that_is_no_number_of_bytes_is_none(size: str) -> None:
    own = config(
        ONNX.replace('key: "precision_mode" value: "FP32"', f'key: "max_workspace_size_bytes" value: "{size}"')
    )
    assert knob_values(own, ["tensorrt_workspace", "tensorrt_precision"]) == {"tensorrt_precision": "fp32"}
    assert knob_values(applied(own, {"tensorrt_workspace": 2**30}), ["tensorrt_workspace"])


@pytest.mark.parametrize("number", ["many", "7"])
def test_a_parameter_that_is_no_value_of_the_knob_is_none(number: str) -> None:
    own = config(f'parameters {{ key: "execution_mode" value {{ string_value: "{number}" }} }}')
    assert knob_values(own, ["execution_mode"]) == {}


# what is loaded


@pytest.mark.parametrize(
    ("asked", "loaded"),
    [
        ({"preferred_batch_size": "none"}, {"max_batch_size": 8, "dynamic_batching": {"preferred_batch_size": [8]}}),
        (
            {"sequence_preferred_batch_size": "none"},
            {"max_batch_size": 8, "sequence_batching": {"oldest": {"preferred_batch_size": [8]}}},
        ),
        ({"instance_kind": "auto"}, {"instance_group": [{"kind": "KIND_CPU", "count": 1}]}),
        ({"gpus": "none"}, {"instance_group": [{"kind": "KIND_GPU", "gpus": [0, 1]}]}),
    ],
)
def test_what_triton_fills_in_is_no_mismatch(asked: Config, loaded: Mapping[str, object]) -> None:
    assert list(knob_mismatches(asked, from_loaded(loaded))) == []


@pytest.mark.parametrize(
    ("asked", "loaded", "found"),
    [
        ({"preferred_batch_size": "none"}, {"dynamic_batching": {"preferred_batch_size": [4, 8]}}, "4,8"),
        ({"preserve_ordering": False}, {"dynamic_batching": {"preserve_ordering": True}}, "True"),
        ({"instance_kind": "cpu"}, {"instance_group": [{"kind": "KIND_GPU"}]}, "gpu"),
        ({"max_candidate_sequences": 3}, {"sequence_batching": {"direct": {}}}, "None"),
    ],
)
def test_another_value_is_a_mismatch(asked: Config, loaded: Mapping[str, object], found: str) -> None:
    ((name, value),) = asked.items()
    assert list(knob_mismatches(asked, from_loaded(loaded))) == [f"{name}: asked {value}, loaded {found}"]


# what Triton does not take


def refusal(text: str, change: Config, offer: rules.Offer = GREAT) -> ConfigRefused:
    with pytest.raises(ConfigRefused) as refused:
        rules.check(applied(config(text), change), offer)
    return refused.value


PARTED = PLAN + "dynamic_batching { priority_levels: 2 default_priority_level: 1 }"


@pytest.mark.parametrize(
    ("text", "change", "rule", "knobs"),
    [
        (ONNX, {"preferred_batch_size": "4,32"}, "preferred size must be <= max batch size, but 32 > 16",
         ("preferred_batch_size", "max_batch_size")),
        (ONNX, {"max_batch_size": 4}, "preferred size must be <= max batch size, but 8 > 4",
         ("preferred_batch_size", "max_batch_size")),
        (ONNX, {"preferred_batch_size": "0,4"}, "preferred_batch_size: must be >= 1", ("preferred_batch_size",)),
        (OLDEST.replace("oldest {", "oldest { preferred_batch_size: [ 4 ]"), {"max_batch_size": 2},
         "sequence batching preferred batch size must be <= max batch size",
         ("sequence_preferred_batch_size", "max_batch_size")),
        (PARTED, {"default_priority_level": 3}, r"default priority level must be in range \[1, 2\], but is 3",
         ("priority_levels", "default_priority_level")),
        (PARTED, {"default_priority_level": 0}, r"default priority level must be in range \[1, 2\], but is 0",
         ("priority_levels", "default_priority_level")),
        (PLAN + "dynamic_batching { }", {"default_priority_level": 1}, "is 1, but there are no priority_levels",
         ("priority_levels", "default_priority_level")),
        (PLAN, {"max_queue_delay": 5e-7}, "max_queue_delay: must be whole microseconds, but is 5e-07 s",
         ("max_queue_delay",)),
        (SINGLE, {"max_batch_size": 8}, "'single' has max_batch_size 0", ("max_batch_size",)),
        (PARTED, {"preserve_ordering": True}, "only one priority level is allowed when preserve_ordering is true",
         ("preserve_ordering", "priority_levels")),
        (PLAN + "dynamic_batching { preserve_ordering: true }", {"timeout_action": "delay", "default_timeout": 1.0},
         "cannot have DELAY as timeout action", ("preserve_ordering", "timeout_action", "default_timeout")),
        (PLAN + "dynamic_batching { preserve_ordering: true priority_levels: 1 default_priority_level: 1 }",
         {"level_1_timeout_action": "delay", "level_1_default_timeout": 1.0}, "cannot have DELAY as timeout action",
         ("preserve_ordering", "level_1_timeout_action", "level_1_default_timeout")),
        (PARTED, {"level_3_max_queue_size": 0}, r"priority queue policy must have priority level in range \[1, 2\], "
         "but has 3; search it `when: priority_levels >= 3`", ("priority_levels", "level_3_max_queue_size")),
        (PLAN + "dynamic_batching { }", {"level_1_default_timeout": 1.0}, "is of priority level 1, but there are no "
         "priority_levels; search it `when: priority_levels >= 1`", ("priority_levels", "level_1_default_timeout")),
        (PARTED, {"priority_levels": 0, "level_2_timeout_action": "delay"}, "there are no priority_levels",
         ("priority_levels", "level_2_timeout_action")),
        (PARTED, {"level_1_max_queue_size": -1}, "level_1_max_queue_size: must be >= 0", ("level_1_max_queue_size",)),
        (PARTED, {"level_1_default_timeout": 5e-7}, "must be whole microseconds", ("level_1_default_timeout",)),
        (SEQUENCES, {"level_1_max_queue_size": 4}, "exclude one another", ("level_1_max_queue_size",)),
        (PLAN, {"preferred_batch_size": "2"}, "part of dynamic_batching, which is off.*give `max_queue_delay` too",
         ("preferred_batch_size", "max_queue_delay")),
        (SEQUENCES, {"max_queue_delay": 0.001}, "has sequence_batching, and dynamic_batching, sequence_batching and "
         "ensemble_scheduling exclude one another", ("max_queue_delay",)),
        ('name: "all" platform: "ensemble" ensemble_scheduling { }', {"preserve_ordering": True},
         "has ensemble_scheduling, and .*exclude one another", ("preserve_ordering",)),
        (SEQUENCES, {"sequence_strategy": "oldest"}, "max_candidate_sequences, which must be >= 1",
         ("sequence_strategy", "max_candidate_sequences")),
        (SEQUENCES, {"max_candidate_sequences": 4}, "give `sequence_strategy: oldest` too",
         ("max_candidate_sequences", "sequence_strategy")),
        (SEQUENCES, {"sequence_queue_delay": 0.002}, "max_queue_delay_microseconds will be ignored unless "
         "minimum_slot_utilization is set to a non-zero value, but it is 0, and the delay 2000 us",
         ("sequence_queue_delay", "minimum_slot_utilization", "sequence_strategy")),
        (WAITING, {"minimum_slot_utilization": 0.0}, "will be ignored unless minimum_slot_utilization",
         ("sequence_queue_delay", "minimum_slot_utilization", "sequence_strategy")),
        (SEQUENCES, {"sequence_preserve_ordering": True}, "give `sequence_strategy: oldest` too",
         ("sequence_preserve_ordering", "sequence_strategy")),
        (OLDEST, {"sequence_preferred_batch_size": "2,8"}, "sequence batching preferred batch size must be <= max "
         "batch size, but 8 > 4", ("sequence_preferred_batch_size", "max_batch_size")),
        (OLDEST, {"minimum_slot_utilization": 0.5}, "give `sequence_strategy: direct` too",
         ("minimum_slot_utilization", "sequence_strategy")),
        (SEQUENCES, {"minimum_slot_utilization": 1.5}, "must be >= 0 and <= 1, but is 1.5",
         ("minimum_slot_utilization",)),
        (SEQUENCES, {"minimum_slot_utilization": 1 / 3}, "must be a whole multiple of 1e-06, but is 0.333333",
         ("minimum_slot_utilization",)),
        (ONNX, {"warmup": "none", "warmup_count": 4}, "search it `when: warmup != none`", ("warmup_count", "warmup")),
        (ONNX, {"sequence_strategy": "oldest"}, "has no sequence_batching", ("sequence_strategy",)),
        (ONNX, {"instance_kind": "cpu", "gpus": "0"}, "kind KIND_CPU cannot name gpus", ("instance_kind", "gpus")),
        (ONNX, {"instance_kind": "model", "gpus": "1"}, "kind KIND_MODEL cannot name gpus", ("instance_kind", "gpus")),
        (ONNX, {"gpus": "2"}, "names GPU 2; Triton finds here: 0, 1", ("gpus",)),
        (PLAN, {"rate_limiter_count": 2}, "no instance group with one resource", ("rate_limiter_count",)),
        (SEQUENCES, {"response_cache": True}, "does not support a model with a sequence batching scheduler",
         ("response_cache",)),
        (PLAN + "model_transaction_policy { decoupled: true }", {"response_cache": True},
         "does not support a model with a decoupled", ("response_cache",)),
        (ONNX, {"warmup_batch_size": 17}, "warm-up batch must be within 1 and max_batch_size, but 17 > 16",
         ("warmup_batch_size", "max_batch_size")),
        (ONNX, {"warmup_batch_size": 0}, "warmup_batch_size: must be >= 1", ("warmup_batch_size",)),
        (ONNX, {"warmup": "none", "warmup_batch_size": 4}, "search it `when: warmup != none`",
         ("warmup_batch_size", "warmup")),
        (PLAN, {"warmup": "zero"}, "names no inputs", ("warmup",)),
        (ONNX.replace("dims: [ 4 ]", "dims: [ -1 ]"), {"warmup": "random"}, "needs a shape, and input 'X'",
         ("warmup",)),
        (PLAN, {"intra_op_thread_count": 2}, r"ONNX Runtime backend \(onnxruntime\), and model 'plan' has the backend",
         ("intra_op_thread_count",)),
        (ONNX, {"cuda_graphs": True}, "TensorRT backend", ("cuda_graphs",)),
        (ONNX, {"gpu_accelerator": "none", "tensorrt_precision": "fp16"}, "`when: gpu_accelerator == tensorrt`",
         ("tensorrt_precision", "gpu_accelerator")),
        (ONNX, {"execution_mode": "both"}, "'both' is none of sequential, parallel", ("execution_mode",)),
    ],
)  # fmt: skip
def test_what_triton_does_not_take_is_refused_with_its_rule(
    text: str, change: Config, rule: str, knobs: tuple[str, ...]
) -> None:
    refused = refusal(text, change)
    assert refused.knobs == knobs
    with pytest.raises(ConfigRefused, match=rule):
        raise refused


@pytest.mark.parametrize(
    ("change", "offer", "rule"),
    [
        ({"response_cache": True}, rules.Offer(), "server that was started with --cache-config"),
        ({"rate_limiter_count": 2}, rules.Offer(), "server that was started with --rate-limit"),
        ({"rate_limiter_count": 5}, rules.Offer(rate_limit=True, resources=(("R", 4),)), "for 'R' is limited to 4 by"),
        ({"instance_kind": "gpu"}, rules.Offer(gpus=(), rate_limit=True), "kind KIND_GPU but no GPUs are available"),
    ],
)
def test_what_the_server_lacks_is_refused(change: Config, offer: rules.Offer, rule: str) -> None:
    with pytest.raises(ConfigRefused, match=rule):
        raise refusal(ONNX, change, offer)


def test_a_default_level_without_levels_may_stand_in_a_file() -> None:
    """Triton passes over it."""
    text = PLAN + "dynamic_batching { default_priority_level: 1 }"
    rules.check(applied(config(text), {"default_priority_level": 1, "max_batch_size": 2}), GREAT)
    rules.check(applied(config(PARTED), {"priority_levels": 0}), GREAT)


@pytest.mark.parametrize(
    ("text", "change", "left"),
    [
        (OLDEST, {"sequence_strategy": "direct"}, {"max_candidate_sequences": 2}),
        (SEQUENCES, {"sequence_strategy": "oldest", "max_candidate_sequences": 3}, {"minimum_slot_utilization": 0.0}),
        (ONNX, {"gpu_accelerator": "none"}, {"tensorrt_precision": "fp32", "tensorrt_workspace": 2**30}),
        (ONNX, {"warmup": "none"}, {"warmup_batch_size": 2, "warmup_count": 1}),
        (PARTED, {"priority_levels": 0}, {"level_2_timeout_action": "reject"}),
    ],
)
def test_the_users_own_value_of_a_part_that_another_knob_takes_away_asks_for_nothing(
    text: str, change: Config, left: Config
) -> None:
    """As a search gives it, to a knob that its condition leaves out."""
    wanted = applied(config(text), {**change, **left})
    assert wanted == applied(config(text), change)
    check_loaded(wanted, "mine", wanted, {**change, **left})


def test_a_delay_that_nothing_waits_for_may_stand_in_a_file() -> None:
    """Triton takes it; it goes with the strategy that it is of, and with a share of slots it is waited."""
    own = config(SEQUENCES.replace("{ }", "{ max_queue_delay_microseconds: 500 }"))
    assert applied(own, {"sequence_queue_delay": 0.0005, "minimum_slot_utilization": 0.0}) == own
    change: Config = {"sequence_queue_delay": 0.001, "minimum_slot_utilization": 0.25}
    assert knob_values(applied(own, change), change) == change
    applied(own, {"sequence_strategy": "oldest", "max_candidate_sequences": 1, "sequence_queue_delay": 0.001})


@pytest.mark.parametrize("value", [0.0, 1e-6, 0.0011, 3600.000001])
def test_whole_microseconds_are_taken(value: float) -> None:
    assert knob_values(applied(config(PLAN), {"max_queue_delay": value}))["max_queue_delay"] == value


def test_every_rule_that_is_broken_is_named() -> None:
    refused = refusal(ONNX, {"preferred_batch_size": "64", "default_priority_level": 4})
    assert "preferred size" in str(refused)
    assert "default priority level" in str(refused)


def test_several_instance_groups_are_ambiguous_to_every_knob_of_theirs() -> None:
    groups = config('name: "two"\ninstance_group [ { count: 1 kind: KIND_GPU }, { count: 2 kind: KIND_CPU } ]\n')
    for name, value in (("instance_kind", "cpu"), ("gpus", "1"), ("rate_limiter_priority", 2), ("instances", 4)):
        with pytest.raises(TargetError, match=f"2 instance groups; `{name}` tunes models with one"):
            applied(groups, {name: value})


# what can be used


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("execution_mode", PLAN, "for the ONNX Runtime backend"),
        ("max_batch_size", SINGLE, "'single' has max_batch_size 0"),
        ("graph_level", 'name: "a" platform: "tensorrt_plan"', "model 'a' has the backend 'tensorrt'"),
        ("gpus", ONNX, "for GPUs, and Triton finds none here"),
        ("cuda_graphs", PLAN, "for GPUs"),
        ("sequence_strategy", PLAN, "no sequence_batching"),
        ("preserve_ordering", SEQUENCES, "exclude one another"),
        ("response_cache", SEQUENCES, "sequence batching scheduler"),
        ("warmup", PLAN, "names no inputs"),
        ("rate_limiter_count", PLAN, "one resource"),
    ],
)
def test_a_knob_that_can_never_fit_says_why(name: str, text: str, reason: str) -> None:
    assert reason in rules.unusable(BY_NAME[name], config(text), ())


@pytest.mark.parametrize("name", CHANGES)
def test_a_knob_can_be_used_where_its_part_is_and_on_gpus_that_are_not_known(name: str) -> None:
    assert rules.unusable(BY_NAME[name], config(CHANGES[name][0]), None) == ""


def test_a_backend_that_triton_finds_by_itself_stands_against_nothing() -> None:
    assert rules.unusable(BY_NAME["execution_mode"], config('name: "found"'), ()) == ""


def test_a_target_marks_the_knobs_that_fit_no_variant(make_triton: MakeTriton) -> None:
    marked = {knob.name for knob in make_triton().knobs() if knob.unusable}
    assert "execution_mode" in marked
    assert not marked & {"preferred_batch_size", "response_cache", "warmup", "precision"}
    onnx = {"fp32": {}, "onnx": {"backend": "onnxruntime"}}
    assert "execution_mode" not in {knob.name for knob in make_triton(variants=onnx).knobs() if knob.unusable}


@pytest.mark.parametrize(("gpus", "marked"), [((), True), ((0,), False), (None, False)])
def test_the_memory_pool_of_a_gpu_needs_one(
    gpus: tuple[int, ...] | None, marked: bool, make_triton: MakeTriton, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = make_triton()
    monkeypatch.setattr(target, "_gpus", gpus)
    (knob,) = [one for one in target.knobs() if one.name == "cuda_memory_pool_size"]
    assert bool(knob.unusable) == marked


# what the server is started with


def test_the_server_gets_the_flags_that_the_studys_knobs_need() -> None:
    def flags(knobs: tuple[str, ...], text: str = PLAN) -> tuple[str, ...]:
        return rules.flags(rules.offer_for(knobs, [config(text)], ()))

    assert flags(("max_batch_size",)) == ()
    assert flags(("response_cache",)) == (f"--cache-config=local,size={rules.CACHE_BYTES}",)
    assert flags(("rate_limiter_priority",)) == ("--rate-limit=execution_count",)
    assert flags((), PLAN + "response_cache { enable: true }") == flags(("response_cache",))
    assert flags((), ONNX) == flags(("rate_limiter_count",))


# the target


@pytest.mark.parametrize(
    "change",
    [
        {"preferred_batch_size": "16"},
        {"priority_levels": 2},
        {"response_cache": True},
        {"rate_limiter_priority": 2},
        {"warmup": "zero", "warmup_batch_size": 9},
        {"instance_kind": "gpu"},
        {"execution_mode": "parallel"},
    ],
)
def test_the_server_is_not_asked_about_what_breaks_a_rule(change: Config, make_triton: MakeTriton) -> None:
    target = make_triton()  # it is not started: asking it is another error
    user = target.user_config()
    with pytest.raises(ConfigRefused):
        target.deploy({**user, **change}, "x")
    if "instance_kind" not in change:  # the machine that serves an export may have GPUs
        with pytest.raises(ConfigRefused):
            target.export({**user, **change})
    with pytest.raises(TargetError, match="the server was not started"):
        target.deploy(user, "x")


def test_the_users_configuration_has_the_knobs_that_a_study_sets(make_triton: MakeTriton) -> None:
    target = make_triton()
    assert set(target.user_config()) == {*ALWAYS_READ, "precision"}
    target.expect(["preserve_ordering", "preferred_batch_size", "concurrency", "execution_mode"])
    own = {name: value for name, value in target.user_config().items() if name not in (*ALWAYS_READ, "precision")}
    assert own == {"preserve_ordering": False, "preferred_batch_size": "none", "execution_mode": "sequential"}


def test_roles_are_those_of_batch_service() -> None:
    assert {knob.role: knob.name for knob in KNOBS if knob.role} == {
        "max_batch": "max_batch_size",
        "max_delay": "max_queue_delay",
        "instances": "instances",
        "priority_levels": "priority_levels",
        "default_level": "default_priority_level",
    }


def test_what_the_users_file_gives_a_knob_is_known_whether_or_not_a_study_sets_it(make_triton: MakeTriton) -> None:
    target = make_triton()
    assert "priority_levels" not in target.user_config()
    assert target.own_values(["priority_levels", "preserve_ordering"]) == {
        "priority_levels": 0,
        "preserve_ordering": False,
    }


def test_what_computes_otherwise_may_answer_otherwise() -> None:
    assert {knob.name for knob in KNOBS if knob.changes_answers} == {
        "graph_level",
        "cpu_accelerator",
        "gpu_accelerator",
        "tensorrt_precision",
        "precision",
    }


def test_the_digits_model_needs_no_change_to_be_its_own_baseline(make_triton: MakeTriton) -> None:
    text = (DIGITS / "models" / "digits" / "config.pbtxt").read_text()
    target = make_triton()
    target.expect([one.name for one in CATALOGUE])
    (exported,) = target.export(target.user_config()).files.values()
    assert exported == text


def test_a_file_that_leaves_its_inputs_to_triton_may_get_batches() -> None:
    """Triton completes them from the model: it says then whether the model has the axis."""
    assert rules.missing_part(BY_NAME["max_batch_size"], config('name: "plain" backend: "onnxruntime"'), 8) is None
