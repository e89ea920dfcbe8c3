"""Changing a config.pbtxt in its own text: the right message, and no line touched that need not be."""

import difflib
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from targets.base import Config
from targets.triton.config import ModelConfig, applied, knob_values, overlaid, parse
from targets.triton.pbtxt import rewrite

Lines = list[str]


def read(text: str) -> ModelConfig:
    return parse(text, Path("config.pbtxt"))


def tuned(text: str, config: Config) -> str:
    """Rewrite and check that the result says what was asked for."""
    wanted = applied(read(text), config)
    result = rewrite(text, read(text), wanted)
    assert read(result) == wanted
    return result


def varied(text: str, overlay: Mapping[str, object]) -> str:
    wanted = overlaid(read(text), overlay)
    result = rewrite(text, read(text), wanted)
    assert read(result) == wanted
    return result


def difference(before: str, after: str) -> tuple[Lines, Lines]:
    """Return the lines that went and the lines that came."""
    lines = list(difflib.ndiff(before.splitlines(), after.splitlines()))
    return [line[2:] for line in lines if line[0] == "-"], [line[2:] for line in lines if line[0] == "+"]


COMMENTED = """# The model of the quick start. max_batch_size: 3 is no field here.
name: "digits"   # its name
platform: "onnxruntime_onnx"

max_batch_size: 8  # was 4 {

# inputs [
input [
  { name: "IMAGE" data_type: TYPE_FP32 dims: [ 1, 8, 8 ] }  # one image
]
output [ { name: "LOGITS" data_type: TYPE_FP32 dims: [ 10 ] } ]

instance_group [  # see the docs
  {
    # count: 7
    count: 1  # one is enough
    kind: KIND_CPU
  }
]

dynamic_batching {  # on
  # wait a little
  max_queue_delay_microseconds: 100  # us
  preferred_batch_size: [ 4, 8 ]
}
# The end."""

CASES = {
    "scalar with a comment behind it": (
        COMMENTED,
        {"max_batch_size": 32},
        ["max_batch_size: 8  # was 4 {"],
        ["max_batch_size: 32  # was 4 {"],
    ),
    "count behind a comment that names it": (
        COMMENTED,
        {"instances": 4},
        ["    count: 1  # one is enough"],
        ["    count: 4  # one is enough"],
    ),
    "delay between comments": (
        COMMENTED,
        {"max_queue_delay": 0.005},
        ["  max_queue_delay_microseconds: 100  # us"],
        ["  max_queue_delay_microseconds: 5000  # us"],
    ),
    "everything on one line": (
        "max_batch_size: 8 instance_group { count: 1 } dynamic_batching { max_queue_delay_microseconds: 1 }",
        {"max_batch_size": 16, "instances": 2, "max_queue_delay": 0.001},
        ["max_batch_size: 8 instance_group { count: 1 } dynamic_batching { max_queue_delay_microseconds: 1 }"],
        ["max_batch_size: 16 instance_group { count: 2 } dynamic_batching { max_queue_delay_microseconds: 1000 }"],
    ),
    "no blanks at all": (
        'name:"a"max_batch_size:8,instance_group{count:1}',
        {"max_batch_size": 16, "instances": 2},
        ['name:"a"max_batch_size:8,instance_group{count:1}'],
        ['name:"a"max_batch_size:16,instance_group{count:2}'],
    ),
    "separators behind fields": (
        'name: "a",\nmax_batch_size: 8;\ninstance_group: [ { count: 1, kind: KIND_CPU; } ],\n',
        {"max_batch_size": 16, "instances": 2},
        ["max_batch_size: 8;", "instance_group: [ { count: 1, kind: KIND_CPU; } ],"],
        ["max_batch_size: 16;", "instance_group: [ { count: 2, kind: KIND_CPU; } ],"],
    ),
    "angle brackets": (
        "max_batch_size: 8\ninstance_group <\n  count: 1\n>\ndynamic_batching <>\n",
        {"instances": 3, "max_queue_delay": 0.0001},
        ["  count: 1", "dynamic_batching <>"],
        ["  count: 3", "dynamic_batching < max_queue_delay_microseconds: 100 >"],
    ),
    "angle brackets in a list": (
        "instance_group [\n  <\n    count: 1\n  >\n]\n",
        {"instances": 3},
        ["    count: 1"],
        ["    count: 3"],
    ),
    "colon before a bracket": (
        "max_batch_size:8\ninstance_group: {\n  count : 1\n}\ndynamic_batching: { max_queue_delay_microseconds:5 }\n",
        {"instances": 3, "max_queue_delay": 0.0001},
        ["  count : 1", "dynamic_batching: { max_queue_delay_microseconds:5 }"],
        ["  count : 3", "dynamic_batching: { max_queue_delay_microseconds:100 }"],
    ),
    "hexadecimal number": (
        "max_batch_size: 0x10\n",
        {"max_batch_size": 8},
        ["max_batch_size: 0x10"],
        ["max_batch_size: 8"],
    ),
    "strings that look like fields": (
        'name: "max_batch_size: 3 {"\nbackend: \'say "count: 2" # no\'\nmax_batch_size: 8\n',
        {"max_batch_size": 9},
        ["max_batch_size: 8"],
        ["max_batch_size: 9"],
    ),
    "escaped quotes": (
        "name: \"a\\\"b # {\"\nbackend: 'it\\'s ['\nmax_batch_size: 8\n",
        {"max_batch_size": 9},
        ["max_batch_size: 8"],
        ["max_batch_size: 9"],
    ),
    "adjacent string literals": (
        "name: \"dig\"  # first\n  'its'\nmax_batch_size: 8\n",
        {"max_batch_size": 9},
        ["max_batch_size: 8"],
        ["max_batch_size: 9"],
    ),
    "a missing batch size": (
        'name: "a"\n# nothing else\n',
        {"max_batch_size": 4},
        [],
        ["max_batch_size: 4"],
    ),
    "a text without a line end": (
        'name: "a"  # the end',
        {"max_batch_size": 4},
        [],
        ["max_batch_size: 4"],
    ),
    "an empty text": ("", {"max_batch_size": 4}, [], ["max_batch_size: 4"]),
    "a missing instance group": (
        'name: "a"\n',
        {"instances": 4},
        [],
        ["instance_group {", "  count: 4", "}"],
    ),
    "missing dynamic batching": (
        'name: "a"\n',
        {"max_queue_delay": 0.001},
        [],
        ["dynamic_batching {", "  max_queue_delay_microseconds: 1000", "}"],
    ),
    "dynamic batching turned on without a delay": (
        'name: "a"\n',
        {"max_queue_delay": 0.0},
        [],
        ["dynamic_batching {", "}"],
    ),
    "a missing count in one line": (
        "instance_group [ { kind: KIND_CPU } ]\n",
        {"instances": 2},
        ["instance_group [ { kind: KIND_CPU } ]"],
        ["instance_group [ { kind: KIND_CPU count: 2 } ]"],
    ),
    "a missing count in a block": (
        "instance_group [\n  {\n    kind: KIND_CPU  # no GPU\n  }\n]\n",
        {"instances": 2},
        [],
        ["    count: 2"],
    ),
    "a missing count in a block with separators": (
        "instance_group {\n    kind: KIND_CPU,  # no GPU\n}\n",
        {"instances": 2},
        [],
        ["    count: 2"],
    ),
    "a missing count behind a field that shares the closing line": (
        "instance_group {\n  kind: KIND_CPU }\n",
        {"instances": 2},
        ["  kind: KIND_CPU }"],
        ["  kind: KIND_CPU", "  count: 2 }"],
    ),
    "an empty instance group in a list": (
        "instance_group [ { } ]\n",
        {"instances": 2},
        ["instance_group [ { } ]"],
        ["instance_group [ { count: 2 } ]"],
    ),
    "an empty block": (
        "dynamic_batching {}\n",
        {"max_queue_delay": 0.0001},
        ["dynamic_batching {}"],
        ["dynamic_batching { max_queue_delay_microseconds: 100 }"],
    ),
    "an empty block with a blank": (
        "dynamic_batching { }\n",
        {"max_queue_delay": 0.0001},
        ["dynamic_batching { }"],
        ["dynamic_batching { max_queue_delay_microseconds: 100 }"],
    ),
    "an empty block over two lines": (
        "dynamic_batching {\n}\n",
        {"max_queue_delay": 0.0001},
        [],
        ["  max_queue_delay_microseconds: 100"],
    ),
    "a block with nothing but a comment": (
        "dynamic_batching {  # on\n  # by default\n}\n",
        {"max_queue_delay": 0.0001},
        [],
        ["  max_queue_delay_microseconds: 100"],
    ),
    "a block with other fields": (
        "dynamic_batching {\n\tpreferred_batch_size: [\n\t\t4,  # four\n\t\t8\n\t]\n}\n",
        {"max_queue_delay": 0.0001},
        [],
        ["\tmax_queue_delay_microseconds: 100"],
    ),
    "a delay set to zero": (
        "dynamic_batching { max_queue_delay_microseconds: 100 }\n",
        {"max_queue_delay": 0.0},
        ["dynamic_batching { max_queue_delay_microseconds: 100 }"],
        ["dynamic_batching { max_queue_delay_microseconds: 0 }"],
    ),
    "fields of the same name elsewhere": (
        "model_warmup [ { count: 3 name: 'w' } ]\ninstance_group [ { count: 1 } ]\n",
        {"instances": 2},
        ["instance_group [ { count: 1 } ]"],
        ["instance_group [ { count: 2 } ]"],
    ),
    "windows line ends": (
        'name: "a"\r\nmax_batch_size: 8\r\ninstance_group {\r\n  count: 1\r\n}\r\n',
        {"max_batch_size": 16, "instances": 2},
        ["max_batch_size: 8", "  count: 1"],
        ["max_batch_size: 16", "  count: 2"],
    ),
    "a byte that is not ASCII": (
        'name: "größe"  # naïve {\nmax_batch_size: 8\n',
        {"max_batch_size": 9},
        ["max_batch_size: 8"],
        ["max_batch_size: 9"],
    ),
}


@pytest.mark.parametrize(("text", "config", "gone", "come"), CASES.values(), ids=CASES)
def test_changes_only_the_lines_it_must(text: str, config: Config, gone: Lines, come: Lines) -> None:
    assert difference(text, tuned(text, config)) == (gone, come)


@pytest.mark.parametrize("text", [text for text, *_ in CASES.values()], ids=CASES)
def test_the_values_that_stand_there_already_change_nothing(text: str) -> None:
    assert tuned(text, knob_values(read(text))) == text


@pytest.mark.parametrize(("text", "config"), [(text, config) for text, config, *_ in CASES.values()], ids=CASES)
def test_changing_twice_is_changing_once(text: str, config: Config) -> None:
    once = tuned(text, config)
    assert tuned(once, config) == once


def test_line_ends_stay_what_they_are() -> None:
    text = 'name: "a"\r\nmax_batch_size: 8\r\n'
    assert tuned(text, {"max_batch_size": 16}) == 'name: "a"\r\nmax_batch_size: 16\r\n'


def test_a_final_line_end_is_neither_lost_nor_doubled() -> None:
    assert tuned("max_batch_size: 8", {"max_batch_size": 9}) == "max_batch_size: 9"
    assert tuned("max_batch_size: 8\n", {"instances": 2}) == "max_batch_size: 8\ninstance_group {\n  count: 2\n}\n"


def test_all_knobs_of_a_commented_file_at_once() -> None:
    gone, come = difference(
        COMMENTED, tuned(COMMENTED, {"max_batch_size": 64, "max_queue_delay": 0.002, "instances": 2})
    )
    assert len(gone) == len(come) == 3


def test_the_file_of_the_quick_start_keeps_its_comments() -> None:
    text = (Path(__file__).parents[2] / "studies/digits/models/digits/config.pbtxt").read_text()
    result = tuned(text, {"max_batch_size": 64, "max_queue_delay": 0.0005, "instances": 2})
    assert [line for line in result.splitlines() if "#" in line] == [line for line in text.splitlines() if "#" in line]


# Variants: maps, lists, messages, strings.


def test_a_map_entry_is_changed_where_it_stands() -> None:
    text = """parameters {
  key: "threads"   # per instance
  value: { string_value: "1" }
}
parameters { key: "model_file" value { string_value: "model.onnx" } }  # or model.int8.onnx
"""
    gone, come = difference(text, varied(text, {"parameters": {"model_file": "model.int8.onnx"}}))
    assert gone == ['parameters { key: "model_file" value { string_value: "model.onnx" } }  # or model.int8.onnx']
    assert come == ['parameters { key: "model_file" value { string_value: "model.int8.onnx" } }  # or model.int8.onnx']


@pytest.mark.parametrize(
    "text",
    [
        "parameters [ { key: 'a' value { string_value: 'x' } }, { key: 'b' value { string_value: 'y' } } ]\n",
        "parameters: [\n  {\n    value: < string_value: 'x' >\n    key: 'a'\n  },\n  { key: 'b', value: {} }\n]\n",
        "parameters < key: 'a' ; value < string_value: 'x' > >\n",
        'parameters { key: "\\141" value { string_value: "x" "y" } }\n',
        "parameters { value { string_value: 'x' } key: 'a' }\n",
    ],
    ids=["list", "list of blocks", "angle brackets", "escaped key", "value first"],
)
def test_a_map_entry_is_found_in_any_layout(text: str) -> None:
    gone, come = difference(text, varied(text, {"parameters": {"a": "new"}}))
    assert len(gone) == len(come) == 1
    assert "new" in come[0]


def test_a_new_map_entry_is_added_behind_the_others() -> None:
    text = 'name: "a"\nparameters { key: "a" value { string_value: "1" } }\n'
    gone, come = difference(text, varied(text, {"parameters": {"b": "2"}}))
    assert gone == []
    assert come == ["parameters {", '  key: "b"', "  value {", '    string_value: "2"', "  }", "}"]


def test_old_and_new_map_entries_are_changed_together() -> None:
    text = 'parameters { key: "a" value { string_value: "1" } }\nparameters { key: "b" value { string_value: "2" } }\n'
    gone, come = difference(text, varied(text, {"parameters": {"a": "9", "c": "3"}}))
    assert gone == ['parameters { key: "a" value { string_value: "1" } }']
    assert come[0] == 'parameters { key: "a" value { string_value: "9" } }'
    assert '  key: "c"' in come


@pytest.mark.parametrize("entry", ['key: "a"', 'key: "a" value { }', 'key: "a" value < >'])
def test_a_map_entry_without_a_value_gets_one(entry: str) -> None:
    assert 'string_value: "1"' in varied(f"parameters {{ {entry} }}\n", {"parameters": {"a": "1"}})


def test_a_map_entry_without_a_key_is_the_empty_key() -> None:
    text = 'parameters { value { string_value: "1" } }\n'
    assert 'string_value: "2"' in varied(text, {"parameters": {"": "2"}})


def test_the_last_of_two_entries_of_a_key_counts() -> None:
    text = 'parameters { key: "a" value { string_value: "1" } }\nparameters { key: "a" value { string_value: "2" } }\n'
    assert read(varied(text, {"parameters": {"a": "3"}})).parameters["a"].string_value == "3"


def test_a_value_with_quotes_and_line_ends_is_escaped() -> None:
    value = "a \"quoted\" 'text'\nwith \\ and ü"
    text = 'parameters { key: "a" value { string_value: "1" } }\n'
    assert read(varied(text, {"parameters": {"a": value}})).parameters["a"].string_value == value


def test_adjacent_literals_are_replaced_together() -> None:
    text = 'name: "a"\nbackend: "py"  # one\n  "thon"  # two\nmax_batch_size: 8\n'
    assert varied(text, {"backend": "onnxruntime"}) == ('name: "a"\nbackend: "onnxruntime"  # two\nmax_batch_size: 8\n')


def test_numbers_in_a_list_are_replaced() -> None:
    text = "dynamic_batching {\n  preferred_batch_size: [ 4, 8 ]  # good ones\n}\n"
    gone, come = difference(text, varied(text, {"dynamic_batching": {"preferred_batch_size": [16, 32]}}))
    assert gone == ["  preferred_batch_size: [ 4, 8 ]  # good ones"]
    assert come == ["  preferred_batch_size: [ 16, 32 ]  # good ones"]


@pytest.mark.parametrize(
    "text",
    [
        "dynamic_batching {\n  preferred_batch_size: 4\n  preferred_batch_size: 8\n}\n",
        "dynamic_batching { preferred_batch_size: 4 preferred_batch_size: 8 }\n",
        "dynamic_batching { preferred_batch_size: 4, preferred_batch_size: 8, }\n",
        "dynamic_batching { preferred_batch_size: 4; preferred_batch_size: 8; preserve_ordering: true }\n",
        "dynamic_batching { preferred_batch_size: [ 4 ] preferred_batch_size: 8 }\n",
        "dynamic_batching { preferred_batch_size: [ ] }\n",
        "dynamic_batching { preferred_batch_size: 4 }\n",
        "dynamic_batching { }\n",
        "",
    ],
    ids=["repeated", "one line", "commas", "semicolons", "both", "empty", "single", "missing", "nothing"],
)
@pytest.mark.parametrize("sizes", [[16], [16, 32], [4, 8, 16], []])
def test_a_list_of_numbers_is_replaced_in_any_layout(text: str, sizes: list[int]) -> None:
    result = varied(text, {"dynamic_batching": {"preferred_batch_size": sizes}})
    assert list(read(result).dynamic_batching.preferred_batch_size) == sizes


@pytest.mark.parametrize(
    "text",
    [
        "instance_group [ { count: 1 kind: KIND_CPU } ]\n",
        "instance_group [\n  { count: 1 kind: KIND_CPU },\n  { count: 2 kind: KIND_CPU }\n]\n",
        "instance_group { count: 1 }\ninstance_group { count: 2 }  # second\n",
        "instance_group [ ]\n",
        "",
    ],
    ids=["one", "two", "repeated", "empty", "missing"],
)
@pytest.mark.parametrize("counts", [[3], [3, 1], [1, 2, 3], []])
def test_instance_groups_of_any_number_are_replaced(text: str, counts: list[int]) -> None:
    result = varied(text, {"instance_group": [{"count": count, "kind": "KIND_CPU"} for count in counts]})
    assert [group.count for group in read(result).instance_group] == counts


def test_groups_of_the_same_number_are_changed_where_they_stand() -> None:
    text = "instance_group [\n  { count: 1 gpus: [ 0 ] },  # the first\n  { count: 2 gpus: [ 1 ] }\n]\n"
    gone, come = difference(
        text, varied(text, {"instance_group": [{"count": 1, "gpus": [0]}, {"count": 5, "gpus": [1]}]})
    )
    assert gone == ["  { count: 2 gpus: [ 1 ] }"]
    assert come == ["  { count: 5 gpus: [ 1 ] }"]


@pytest.mark.parametrize(
    ("text", "overlay"),
    [
        ("dynamic_batching { preserve_ordering: true }\n", {"dynamic_batching": {"preserve_ordering": False}}),
        ("max_batch_size: 8\n", {"max_batch_size": 0}),
        ('backend: "python"\n', {"backend": ""}),
        ('name: "a"\n', {"version": 2}),
        ("version_policy { specific { versions: [ 1, 2 ] } }\n", {"version": 2}),
        ('name: "a"\n', {"optimization": {"graph": {"level": -1}}}),
        ("optimization { priority: PRIORITY_MAX }\n", {"optimization": {"priority": "PRIORITY_DEFAULT"}}),
        (
            'input [ { name: "X" data_type: TYPE_FP32 dims: [ 1, 8 ] } ]\n',
            {"input": [{"name": "X", "data_type": "TYPE_FP16", "dims": [2, 8]}]},
        ),
        ('cc_model_filenames { key: "7.5" value: "a.plan" }\n', {"cc_model_filenames": {"8.0": "b.plan"}}),
        ('cc_model_filenames { key: "7.5" value: "a.plan" }\n', {"cc_model_filenames": {"7.5": "b.plan"}}),
        ('metric_tags { key: "a" value: "1" }\n', {"metric_tags": {"a": "2", "b": "3"}}),
    ],
    ids=[
        "false",
        "zero",
        "empty string",
        "new version policy",
        "other version",
        "nested messages",
        "enumeration",
        "tensor",
        "new entry of a map of strings",
        "entry of a map of strings",
        "entries of a map of strings",
    ],
)
def test_any_field_can_be_overlaid(text: str, overlay: Mapping[str, object]) -> None:
    assert read(varied(text, overlay)) != read(text)


def test_a_version_takes_the_place_of_another_policy() -> None:
    text = 'name: "a"\nversion_policy: { latest { num_versions: 1 } }\n'
    assert "latest" not in varied(text, {"version": 2})


def test_a_field_that_has_to_vanish_goes_with_its_line() -> None:
    text = 'name: "a"\ndynamic_batching { }\n'
    assert rewrite(text, read(text), read('name: "a"\n')) == 'name: "a"\n'


@pytest.mark.parametrize(
    ("text", "after", "expected"),
    [
        ('name: "a"\ndynamic_batching { }\n', 'name: "a"', 'name: "a"\n'),
        ('dynamic_batching { }\nname: "a"', 'name: "a"', 'name: "a"'),
        ('name: "a"  # mine\ndynamic_batching { }  # none\n', 'name: "a"', 'name: "a"  # mine\n# none\n'),
        (
            "dynamic_batching {\n  # sizes\n  preferred_batch_size: [ 4 ],\n  preserve_ordering: true\n}\n",
            "dynamic_batching { preserve_ordering: true }",
            "dynamic_batching {\n  # sizes\n  preserve_ordering: true\n}\n",
        ),
        (
            "dynamic_batching { preferred_batch_size: 4, preferred_batch_size: 8, preserve_ordering: true }",
            "dynamic_batching { preserve_ordering: true }",
            "dynamic_batching { preserve_ordering: true }",
        ),
        (
            'model_warmup [\n  { name: "w" }  # once\n]\nname: "a"\n',
            'name: "a"',
            'name: "a"\n',
        ),
    ],
    ids=["its line", "the first line", "a comment beside it", "within a message", "inline", "a list"],
)
def test_a_field_that_is_no_more_leaves_the_rest_as_it_is(text: str, after: str, expected: str) -> None:
    changed = rewrite(text, read(text), read(after))
    assert read(changed) == read(after)
    assert changed == expected


def test_what_the_text_does_not_say_before_cannot_be_changed() -> None:
    text = 'parameters { key: "a" value { string_value: "1" } }\n'
    with pytest.raises(ValueError, match="does not say what was asked for"):
        rewrite(text, read('name: "other"'), read("max_batch_size: 4"))


# Round trips.

NAMES = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=8)
KNOB_VALUES = st.fixed_dictionaries(
    {},
    optional={
        "max_batch_size": st.integers(1, 2**31 - 1),
        "max_queue_delay": st.integers(0, 10**7).map(lambda microseconds: microseconds / 1e6),
        "instances": st.integers(1, 1000),
    },
)


@settings(deadline=None, max_examples=150)
@given(st.sampled_from([text for text, *_ in CASES.values()]), st.lists(KNOB_VALUES, min_size=1, max_size=3))
def test_random_knob_values_round_trip(text: str, configs: list[dict[str, int | float]]) -> None:
    for config in configs:
        text = tuned(text, config)
        assert {name: knob_values(read(text)).get(name, value) for name, value in config.items()} == config


@settings(deadline=None, max_examples=100)
@given(
    st.sampled_from(
        [
            "",
            'name: "a"',
            'parameters { key: "a" value { string_value: "1" } }\n',
            'parameters [ { key: "a" value { string_value: "1" } }, { key: "b" value: <> } ]\n',
        ]
    ),
    st.dictionaries(st.one_of(st.sampled_from(["a", "b"]), NAMES), NAMES, max_size=3),
)
def test_random_parameters_round_trip(text: str, parameters: dict[str, str]) -> None:
    result = read(varied(text, {"parameters": parameters}))
    assert {name: result.parameters[name].string_value for name in parameters} == parameters


@settings(deadline=None, max_examples=100)
@given(
    name=NAMES,
    batch=st.none() | st.integers(0, 64),
    groups=st.lists(st.sampled_from(["{ count: 1 }", "{kind: KIND_CPU}", "<count:2 kind:KIND_CPU>", "{}"]), max_size=1),
    comment=st.sampled_from(["", " # a { comment", " # 'quote"]),
    config=KNOB_VALUES,
)
def test_generated_texts_round_trip(
    name: str, batch: int | None, groups: list[str], comment: str, config: dict[str, int | float]
) -> None:
    literal = "".join(f"\\{byte:03o}" for byte in name.encode())
    lines = [f'name: "{literal}"{comment}', f"instance_group [{', '.join(groups)}]{comment}"]
    lines += [] if batch is None else [f"max_batch_size: {batch}{comment}"]
    text = "\n".join(lines) + "\n"
    result = tuned(text, config)
    assert result.count("#") == text.count("#")
    assert read(result).name == name
