"""Triton's model configuration: read, overlaid, changed by knobs, compared."""

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from targets.base import Config, TargetError
from targets.triton.config import (
    ModelConfig,
    applied,
    check_variant,
    from_loaded,
    knob_values,
    mismatches,
    overlaid,
    parse,
    to_json,
)

DIGITS = """name: "digits"
backend: "python"
max_batch_size: 8
input [ { name: "IMAGE" data_type: TYPE_FP32 dims: [ 1, 8, 8 ] } ]
output [ { name: "LOGITS" data_type: TYPE_FP32 dims: [ 10 ] } ]
instance_group [ { count: 2 kind: KIND_CPU } ]
dynamic_batching { preferred_batch_size: [ 4, 8 ] max_queue_delay_microseconds: 500 preserve_ordering: true }
parameters { key: "model_file" value { string_value: "model.onnx" } }
parameters { key: "threads" value { string_value: "1" } }
"""
PLAIN = 'name: "plain"\nmax_batch_size: 4\n'


def config(text: str) -> ModelConfig:
    return parse(text, Path("models/digits/config.pbtxt"))


def parse_error(text: str) -> str:
    with pytest.raises(TargetError) as error:
        config(text)
    return str(error.value)


# parse


def test_a_parse_error_has_file_and_line_and_what_is_wrong() -> None:
    message = parse_error('name: "a"\nmax_batch_size: 8\nmax_batchsize: 4\n')
    assert message.startswith("models/digits/config.pbtxt:3: not a Triton model configuration: ")
    assert "max_batchsize" in message


def test_a_value_of_the_wrong_type_is_found_on_its_line() -> None:
    message = parse_error('name: "a"\n\n# a comment\nmax_batch_size: "eight"\n')
    assert message.startswith("models/digits/config.pbtxt:4: ")


def test_an_unknown_enumeration_value_is_named() -> None:
    message = parse_error('name: "a"\ninput [\n  { name: "X" data_type: TYPE_FLOAT32 }\n]\n')
    assert message.startswith("models/digits/config.pbtxt:3: ")
    assert "TYPE_FLOAT32" in message


def test_a_field_given_twice_is_refused() -> None:
    assert "config.pbtxt:2: " in parse_error("max_batch_size: 8\nmax_batch_size: 4\n")


def test_an_unclosed_bracket_is_refused_with_the_file() -> None:
    assert parse_error("instance_group [\n  { count: 1 }\n").startswith("models/digits/config.pbtxt")


# knob_values


def test_reads_the_knobs_of_a_configuration() -> None:
    assert knob_values(config(DIGITS)) == {"max_batch_size": 8, "instances": 2, "max_queue_delay": 0.0005}


def test_max_queue_delay_is_absent_without_dynamic_batching() -> None:
    assert knob_values(config(PLAIN)) == {"max_batch_size": 4}


def test_dynamic_batching_without_a_delay_waits_for_nobody() -> None:
    assert knob_values(config("dynamic_batching { }"))["max_queue_delay"] == 0.0


@pytest.mark.parametrize("text", ["instance_group { kind: KIND_CPU }", "", "instance_group [ {count: 1}, {count: 2} ]"])
def test_a_count_that_is_left_to_the_server_or_ambiguous_is_absent(text: str) -> None:
    assert "instances" not in knob_values(config(text))


def test_a_knob_is_read_where_it_is_asked_for() -> None:
    names = ("preferred_batch_size", "preserve_ordering", "eager_batching", "precision", "concurrency")
    assert knob_values(config(DIGITS), names) == {
        "preferred_batch_size": "4,8",
        "preserve_ordering": True,
        "eager_batching": False,
    }


# applied


def test_sets_every_knob() -> None:
    changed = applied(config(DIGITS), {"max_batch_size": 32, "max_queue_delay": 0.001, "instances": 3})
    assert knob_values(changed) == {"max_batch_size": 32, "max_queue_delay": 0.001, "instances": 3}


def test_leaves_the_base_as_it_is() -> None:
    base = config(DIGITS)
    applied(base, {"max_batch_size": 32, "max_queue_delay": 0.001, "instances": 3})
    assert base == config(DIGITS)


def test_leaves_everything_else_as_it_is() -> None:
    changed = applied(config(DIGITS), {"max_batch_size": 32, "max_queue_delay": 0.001, "instances": 3})
    changed.max_batch_size = 8
    changed.dynamic_batching.max_queue_delay_microseconds = 500
    changed.instance_group[0].count = 2
    assert changed == config(DIGITS)


@pytest.mark.parametrize("text", [DIGITS, PLAIN, "dynamic_batching { }", "instance_group { kind: KIND_CPU }", ""])
def test_the_values_a_configuration_has_already_change_nothing(text: str) -> None:
    base = config(text)
    assert applied(base, knob_values(base)) == base


def test_dynamic_batching_stays_off_when_the_delay_is_not_given() -> None:
    assert not applied(config(PLAIN), {"max_batch_size": 16, "instances": 2}).HasField("dynamic_batching")


@pytest.mark.parametrize(("delay_s", "microseconds"), [(0.0, 0), (0.0001, 100), (0.0007, 700), (0.005, 5000)])
def test_a_delay_turns_dynamic_batching_on(delay_s: float, microseconds: int) -> None:
    changed = applied(config(PLAIN), {"max_queue_delay": delay_s})
    assert changed.HasField("dynamic_batching")
    assert changed.dynamic_batching.max_queue_delay_microseconds == microseconds
    assert knob_values(changed)["max_queue_delay"] == delay_s


def test_an_instance_group_is_added_where_there_is_none() -> None:
    changed = applied(config(PLAIN), {"instances": 3})
    assert [group.count for group in changed.instance_group] == [3]


def test_the_load_level_and_precision_are_not_the_servers() -> None:
    assert applied(config(DIGITS), {"precision": "int8", "concurrency": 4}) == config(DIGITS)


GROUPS = 'name: "digits"\ninstance_group [ { count: 1 kind: KIND_GPU }, { count: 2 kind: KIND_CPU } ]\n'


def test_several_instance_groups_are_ambiguous() -> None:
    with pytest.raises(TargetError, match=r"'digits' has 2 instance groups; .*merge them, or take `instances` out"):
        applied(config(GROUPS), {"instances": 4})


def test_several_instance_groups_do_not_hinder_other_knobs() -> None:
    assert applied(config(GROUPS + "max_batch_size: 8"), {"max_batch_size": 4}).max_batch_size == 4


# overlaid


def overlay(change: Mapping[str, object], text: str = DIGITS) -> ModelConfig:
    return overlaid(config(text), change)


def test_an_empty_overlay_changes_nothing() -> None:
    assert overlay({}) == config(DIGITS)


def test_an_overlay_does_not_change_its_base() -> None:
    base = config(DIGITS)
    overlaid(base, {"max_batch_size": 2, "parameters": {"threads": 4}})
    assert base == config(DIGITS)


def test_maps_are_merged() -> None:
    changed = overlay({"parameters": {"model_file": "model.int8.onnx", "new": "yes"}})
    assert {key: value.string_value for key, value in changed.parameters.items()} == {
        "model_file": "model.int8.onnx",
        "threads": "1",
        "new": "yes",
    }


@pytest.mark.parametrize(("given", "text"), [(4, "4"), (0.5, "0.5"), (True, "true"), (False, "false"), ("x", "x")])
def test_plain_parameter_values_become_text(given: object, text: str) -> None:
    assert overlay({"parameters": {"p": given}}).parameters["p"].string_value == text


def test_parameters_may_be_spelt_as_triton_does() -> None:
    assert overlay({"parameters": {"p": {"string_value": "x"}}}).parameters["p"].string_value == "x"


def test_lists_are_replaced() -> None:
    changed = overlay({"dynamic_batching": {"preferred_batch_size": [16]}, "instance_group": [{"count": 7}]})
    assert list(changed.dynamic_batching.preferred_batch_size) == [16]
    assert [(group.count, group.kind) for group in changed.instance_group] == [(7, 0)]


def test_an_empty_list_clears_a_list() -> None:
    assert list(overlay({"dynamic_batching": {"preferred_batch_size": []}}).dynamic_batching.preferred_batch_size) == []


def test_messages_are_merged() -> None:
    batching = overlay({"dynamic_batching": {"max_queue_delay_microseconds": 100}}).dynamic_batching
    assert batching.max_queue_delay_microseconds == 100
    assert list(batching.preferred_batch_size) == [4, 8]
    assert batching.preserve_ordering


def test_false_and_zero_are_values_too() -> None:
    change = {"max_batch_size": 0, "dynamic_batching": {"preserve_ordering": False, "max_queue_delay_microseconds": 0}}
    changed = overlay(change)
    assert changed.max_batch_size == 0
    assert not changed.dynamic_batching.preserve_ordering
    assert changed.dynamic_batching.max_queue_delay_microseconds == 0


def test_an_empty_message_turns_a_feature_on() -> None:
    assert overlay({"dynamic_batching": {}}, PLAIN).HasField("dynamic_batching")


def test_version_is_a_shorthand() -> None:
    assert list(overlay({"version": 2}).version_policy.specific.versions) == [2]


def test_version_replaces_another_policy() -> None:
    changed = overlay({"version": 3}, "version_policy { latest { num_versions: 2 } }")
    assert changed.version_policy.WhichOneof("policy_choice") == "specific"
    assert list(changed.version_policy.specific.versions) == [3]


def test_the_model_of_a_variant_is_no_field() -> None:
    assert overlay({"model": "digits_int8"}) == config(DIGITS)


def test_an_enumeration_is_given_by_name() -> None:
    assert overlay({"instance_group": [{"kind": "KIND_GPU"}]}).instance_group[0].kind == 1


# check_variant


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"model": "other"},
        {"version": 2},
        {"parameters": {"a": 1}},
        {"dynamic_batching": {"max_queue_delay_microseconds": 100}},
        {"max_batch_size": 0},
    ],
)
def test_a_good_variant_passes(change: Mapping[str, object]) -> None:
    check_variant("int8", change)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"max_batchsize": 4}, "max_batchsize"),
        ({"dynamic_batching": {"queue_delay": 4}}, "queue_delay"),
        ({"max_batch_size": "eight"}, "max_batch_size"),
        ({"max_batch_size": [4]}, "max_batch_size"),
        ({"instance_group": {"count": 1}}, "instance_group"),
        ({"instance_group": [{"kind": "KIND_TPU"}]}, "KIND_TPU"),
        ({"parameters": ["a", "b"]}, "parameters"),
        ({"dynamic_batching": 5}, "dynamic_batching"),
        ({"version": "new"}, "new"),
        ({"maxBatchSize": 4}, "maxBatchSize"),
    ],
)
def test_a_bad_variant_is_named_with_its_field(change: Mapping[str, object], named: str) -> None:
    with pytest.raises(TargetError) as error:
        check_variant("int8", change)
    assert str(error.value).startswith("target.variants.int8: ")
    assert named in str(error.value)


@pytest.mark.parametrize("change", [{"max_batch_size": None}, {"dynamic_batching": None}, {"parameters": {"a": None}}])
def test_a_variant_without_a_value_is_refused(change: Mapping[str, object]) -> None:
    """`max_batch_size:` with nothing behind it is a slip, not a value."""
    with pytest.raises(TargetError, match=r"target\.variants\.int8"):
        check_variant("int8", change)


# to_json, from_loaded


def test_the_load_api_gets_the_configuration_under_another_name() -> None:
    document = json.loads(to_json(config(DIGITS), "digits__candidate"))
    assert document["name"] == "digits__candidate"
    assert document["max_batch_size"] == 8
    assert from_loaded({**document, "name": "digits"}) == config(DIGITS)


def test_fields_of_a_newer_server_are_passed_over() -> None:
    loaded = {"name": "digits", "max_batch_size": 8, "invented_later": {"a": 1}}
    assert knob_values(from_loaded(loaded))["max_batch_size"] == 8


# mismatches


def wrong(asked: str, loaded: str) -> list[str]:
    return list(mismatches(config(asked), config(loaded)))


def test_the_same_configuration_has_no_mismatch() -> None:
    assert wrong(DIGITS, DIGITS) == []


def test_the_name_may_differ() -> None:
    assert wrong('name: "digits"', 'name: "digits__candidate"') == []


def test_what_triton_adds_is_no_mismatch() -> None:
    loaded = """max_batch_size: 8
        dynamic_batching { preferred_batch_size: [ 8 ] }
        instance_group { name: "digits_0" count: 1 kind: KIND_CPU }
        parameters { key: "EXECUTION_ENV_PATH" value { string_value: "" } }"""
    assert wrong("max_batch_size: 8 dynamic_batching { } instance_group { kind: KIND_CPU }", loaded) == []


@pytest.mark.parametrize(
    ("asked", "loaded", "found"),
    [
        ("max_batch_size: 8", "max_batch_size: 4", ["max_batch_size: asked 8, loaded 4"]),
        (
            "dynamic_batching { max_queue_delay_microseconds: 5 }",
            "dynamic_batching { max_queue_delay_microseconds: 7 }",
            ["dynamic_batching.max_queue_delay_microseconds: asked 5, loaded 7"],
        ),
        ("instance_group { count: 2 }", "", ["instance_group: asked 1 entries, loaded 0"]),
        (
            "instance_group { count: 2 }",
            "instance_group { count: 1 }",
            ["instance_group[0].count: asked 2, loaded 1"],
        ),
        ("input { dims: [ 1, 8 ] }", "input { dims: [ 1, 9 ] }", ["input[0].dims[1]: asked 8, loaded 9"]),
        (
            'parameters { key: "a" value { string_value: "1" } } parameters { key: "b" value { string_value: "2" } }',
            'parameters { key: "a" value { string_value: "9" } }',
            ["parameters[a]", "parameters[b]"],
        ),
    ],
    ids=["scalar", "nested", "missing entry", "entry", "number in a list", "map"],
)
def test_a_mismatch_is_named(asked: str, loaded: str, found: list[str]) -> None:
    assert sorted(wrong(asked, loaded)) == found


def test_a_feature_that_was_not_turned_on_is_a_mismatch() -> None:
    assert wrong("dynamic_batching { }", "") == ["dynamic_batching"]


def test_every_mismatch_is_listed() -> None:
    values: Config = {"max_batch_size": 16, "instances": 4, "max_queue_delay": 0.002}
    assert len(list(mismatches(applied(config(DIGITS), values), config(DIGITS)))) == 3


@pytest.mark.parametrize(
    ("asked", "loaded", "same"),
    [
        ("../environment.tar.gz", "/srv/models/environment.tar.gz", True),
        ("../environment.tar.gz", "/srv/models/digits__x/../environment.tar.gz", True),
        ("../environment.tar.gz", "$$TRITON_MODEL_DIRECTORY/../environment.tar.gz", True),
        ("env/a.tar.gz", "/srv/models/digits/env/a.tar.gz", True),
        ("..", "/srv/models", True),
        ("../environment.tar.gz", "/srv/models/other.tar.gz", False),
        ("env/a.tar.gz", "/srv/models/digits/a.tar.gz", False),
        ("../environment.tar.gz", "environment.tar.gz", False),
        ("../environment.tar.gz", "", False),
    ],
)
def test_a_path_from_the_models_folder_may_be_loaded_as_the_whole_path(asked: str, loaded: str, same: bool) -> None:
    def parameter(value: str) -> str:
        return f'parameters {{ key: "EXECUTION_ENV_PATH" value {{ string_value: "{value}" }} }}\n'

    wrong = list(mismatches(config(parameter(f"$$TRITON_MODEL_DIRECTORY/{asked}")), config(parameter(loaded))))
    assert wrong == ([] if same else ["parameters[EXECUTION_ENV_PATH]"])
