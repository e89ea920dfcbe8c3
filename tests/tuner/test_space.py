"""The space of a study: ranges, lists and single values, checked against what the target can apply."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from targets.base import Config, Knob
from targets.common import named_choices
from tuner.relations import OPERATORS
from tuner.space import Space, make_space, server_part, with_starts
from tuner.study.source import Source, StudyError

KNOBS = (
    Knob("max_batch_size", "int", 1, 128, 1, "", "reload", "batch"),
    Knob("max_queue_delay", "duration", 0, 1.0, 0.0, "s", "reload", "delay"),
    Knob("instances", "int", 1, None, 1, "", "reload", "copies"),
    Knob("timeout", "duration", 0, None, 0.0, "s", "reload", "counted", grain=1e-6),
    Knob("precision", "choice", None, None, "", "", "reload", "variant", choices_from="target.variants"),
    Knob("dtype", "choice", None, None, "auto", "", "restart", "type", choices=("auto", "half")),
    Knob("caching", "bool", None, None, True, "", "restart", "yes or no"),
    Knob("memory", "float", 0.0, 1.0, 0.9, "", "restart", "share of the memory"),
)


def space(
    text: str,
    variants: Sequence[str] = ("fp32", "int8"),
    constraints: Sequence[object] = (),
    own: Config | None = None,
    starts: Sequence[dict[str, Any]] = (),
) -> Space:
    """Make a space of the lines below `space:`; key number k stands in line k + 1."""
    raw: dict[str, Any] = yaml.safe_load(text)
    lines: dict[tuple[str | int, ...], int] = {("space",): 1}
    for number, (name, content) in enumerate(raw.items(), 2):
        lines["space", name] = number
        inner = content if isinstance(content, dict) else range(len(content)) if isinstance(content, list) else ()
        lines.update({("space", name, key): number for key in inner})
    source = Source(Path("study.yaml"), text, lines, frozenset())
    made = make_space(raw, named_choices(KNOBS, "precision", variants), source, constraints, own)
    return with_starts(made, starts, source)


def values(text: str) -> tuple[object, ...]:
    (parameter,) = space(text)
    return parameter.values


def failure(text: str, variants: Sequence[str] = ("fp32", "int8")) -> str:
    with pytest.raises(StudyError) as error:
        space(text, variants)
    return str(error.value)


# What is read.


def test_a_range_of_whole_numbers_has_them_all() -> None:
    assert values("instances: {low: 1, high: 4}") == (1, 2, 3, 4)


def test_a_range_may_have_a_step() -> None:
    assert values("instances: {low: 2, high: 10, step: 4}") == (2, 6, 10)


def test_a_step_that_does_not_reach_the_end_stays_below_it() -> None:
    assert values("instances: {low: 1, high: 8, step: 3}") == (1, 4, 7)


def test_a_log2_range_doubles() -> None:
    assert values("max_batch_size: {low: 1, high: 64, scale: log2}") == (1, 2, 4, 8, 16, 32, 64)


def test_a_log2_range_ends_at_its_end() -> None:
    assert values("max_batch_size: {low: 3, high: 20, scale: log2}") == (3, 6, 12, 20)


def test_whole_numbers_stay_whole() -> None:
    for text in ("instances: {low: 1, high: 4}", "instances: {low: 1, high: 4, scale: log2}", "instances: [1, 4]"):
        assert all(type(value) is int for value in values(text))


def test_a_range_of_one_value_is_that_value() -> None:
    assert values("instances: {low: 3, high: 3}") == (3,)
    assert values("instances: {low: 3, high: 3, scale: log2}") == (3,)


def test_a_range_of_durations_takes_a_step_with_a_unit() -> None:
    assert values("max_queue_delay: {low: 0 us, high: 1 ms, step: 250 us}") == (0.0, 0.00025, 0.0005, 0.00075, 0.001)


def test_steps_of_durations_carry_no_binary_noise() -> None:
    assert values("max_queue_delay: {low: 0 us, high: 700 us, step: 100 us}")[3] == 0.0003


def test_what_is_counted_in_microseconds_takes_every_whole_number_of_them() -> None:
    assert values("timeout: [1100 us, 3600.000001 s]") == (0.0011, 3600.000001)
    assert values("timeout: {low: 1 us, high: 7 us, step: 3 us}") == (1e-6, 4e-6, 7e-6)


@pytest.mark.parametrize(
    ("text", "place", "given"),
    [
        ("timeout: 500 ns", "timeout", "500 ns"),
        ("timeout: [1 ms, 1.5 us]", "timeout.1", "1.5 us"),
        ("timeout: {low: 0 us, high: 2 us, step: 500 ns}", "timeout", "500 ns"),
        ("timeout: {low: 500 ns, high: 4 us, scale: log2}", "timeout.low", "500 ns"),
    ],
)
def test_what_the_server_cannot_count_is_refused_at_its_line(text: str, place: str, given: str) -> None:
    assert failure(text) == (
        f"study.yaml:2: space.{place}: {given} is no whole multiple of 1 us, which the server counts in"
    )


def test_durations_double_too() -> None:
    assert values("max_queue_delay: {low: 100 us, high: 1 ms, scale: log2}") == (0.0001, 0.0002, 0.0004, 0.0008, 0.001)


def test_a_list_is_sorted() -> None:
    assert values("max_queue_delay: [5 ms, 0 us, 100 us]") == (0.0, 0.0001, 0.005)


def test_one_value_is_fixed() -> None:
    assert values("max_queue_delay: 2 ms") == (0.002,)
    assert values("concurrency: 8") == (8,)


def test_names_and_answers_keep_the_order_of_the_study_and_have_none_of_their_own() -> None:
    dtype, caching = space("dtype: [half, auto]\ncaching: [true, false]")
    assert (dtype.values, dtype.ordered) == (("half", "auto"), False)
    assert (caching.values, caching.ordered) == ((True, False), False)


def test_a_number_may_have_a_fraction_and_be_a_range() -> None:
    (memory,) = space("memory: {low: 0.5, high: 0.75, step: 0.125}")
    assert memory.values == (0.5, 0.625, 0.75)
    (listed,) = space("memory: [1, 0.5]")
    assert listed.values == (0.5, 1.0)


def test_variants_keep_the_order_of_the_study() -> None:
    (parameter,) = space("precision: [int8, fp32]")
    assert parameter.values == ("int8", "fp32")
    assert not parameter.ordered


def test_numbers_are_ordered() -> None:
    assert all(parameter.ordered for parameter in space("instances: [1, 2]\nmax_queue_delay: [1 ms]\nrate: [5/s]"))


def test_a_rate_is_a_load_level() -> None:
    assert space("rate: [400/s, 100/s]").levels("rate") == (100.0, 400.0)
    assert space("rate: {low: 100/s, high: 300/s, step: 100/s}").levels("rate") == (100.0, 200.0, 300.0)


def test_a_load_level_that_is_not_searched_has_no_values() -> None:
    assert space("rate: [400/s]").levels("concurrency") == ()


def test_parameters_keep_the_order_of_the_file() -> None:
    assert [one.name for one in space("rate: 5/s\nprecision: fp32\ninstances: 1")] == ["rate", "precision", "instances"]


def test_the_size_is_the_number_of_configurations() -> None:
    assert space("instances: {low: 1, high: 4}\nprecision: [fp32, int8]\nconcurrency: [1, 2, 4]").size == 24


def test_an_empty_space_holds_one_configuration() -> None:
    assert space("{}").size == 1


def test_the_servers_part_is_without_the_load_level() -> None:
    assert server_part({"instances": 2, "concurrency": 8, "rate": 5.0}) == {"instances": 2}


@settings(deadline=None)
@given(
    st.integers(1, 128), st.integers(1, 128), st.sampled_from(["scale: log2", "step: 1", "step: 7", "scale: linear"])
)
def test_every_range_is_ascending_and_legal(one: int, other: int, rest: str) -> None:
    low, high = sorted((one, other))
    found = values(f"max_batch_size: {{low: {low}, high: {high}, {rest}}}")
    assert found[0] == low
    assert list(found) == sorted(set(found))
    assert all(isinstance(value, int) and low <= value <= high for value in found)


@settings(deadline=None)
@given(st.integers(0, 500), st.integers(1, 500), st.integers(1, 100))
def test_every_range_of_durations_is_evenly_spaced(low_us: int, width_us: int, count: int) -> None:
    high_us = low_us + width_us * count
    found = values(f"max_queue_delay: {{low: {low_us} us, high: {high_us} us, step: {width_us} us}}")
    assert found == tuple(float(f"{(low_us + index * width_us) / 1e6:.12g}") for index in range(count + 1))


# Knobs whose values are lists.

SIZES = Knob("sizes", "list", 1, 128, "none", "", "reload", "sizes")


def sizes(given: str) -> tuple[object, ...]:
    raw = {"sizes": yaml.safe_load(given)}
    source = Source(Path("study.yaml"), given, {("space", "sizes"): 2}, frozenset())
    (parameter,) = make_space(raw, [SIZES], source)
    assert not parameter.ordered
    return parameter.values


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("[[4], [4, 8], []]", ("4", "4,8", "none")),
        ("[[8, 4, 8]]", ("4,8",)),
        ("[4, 8]", ("4", "8")),
        ("4", ("4",)),
        ('["4,8", none]', ("4,8", "none")),
        ("4,8", ("4,8",)),
    ],
)
def test_a_list_of_lists_becomes_text_in_the_order_of_the_study(given: str, expected: tuple[str, ...]) -> None:
    assert sizes(given) == expected


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("[[4], [4.5]]", r"space\.sizes\.1: expected a list of whole numbers, but got \[4\.5\]"),
        ("[[true]]", "expected a list of whole numbers"),
        ("[few]", "expected a list of whole numbers, but got 'few'"),
        ("[[4], [0, 4]]", r"\[0, 4\] is out of the legal range, 1 to 128"),
        ("[[4, 8], [8, 4]]", "names a value twice"),
        ("{low: 1, high: 4}", r"is a list of lists of whole numbers, like \[\[4\], \[4, 8\], \[\]\]"),
    ],
)
def test_fails_with_the_line_of_a_value_that_is_no_list(given: str, message: str) -> None:
    with pytest.raises(StudyError, match=rf"study\.yaml:2: .*{message}"):
        sizes(given)


def test_a_list_can_be_compared_and_tried_first() -> None:
    raw = {"sizes": [[4], [4, 8], []], "instances": {"values": [1, 2], "when": "sizes != none"}}
    source = Source(Path("study.yaml"), "", {("space",): 1}, frozenset())
    made = make_space(raw, [*KNOBS, SIZES], source, ["sizes != 4"])
    assert list(made.configs()) == [
        {"sizes": "4,8", "instances": 1},
        {"sizes": "4,8", "instances": 2},
        {"sizes": "none"},
    ]
    assert with_starts(made, [{"sizes": [4, 8], "instances": 2}], source).starts == ({"sizes": "4,8", "instances": 2},)


# Errors.


def test_a_knob_that_cannot_be_used_is_named_with_the_reason() -> None:
    source = Source(Path("study.yaml"), "", {("space", "sizes"): 2}, frozenset())
    with pytest.raises(StudyError, match=r"study\.yaml:2: space\.sizes: cannot be used here: no GPU; take it out"):
        make_space({"sizes": [[4]]}, [replace(SIZES, unusable="no GPU")], source)


def test_fails_with_the_line_of_an_unknown_knob_and_suggests_one() -> None:
    assert failure("instances: 1\nmax_batchsize: 4") == (
        "study.yaml:3: space.max_batchsize: no such knob; did you mean `max_batch_size`?"
    )


def test_lists_the_knobs_where_none_is_close() -> None:
    assert failure("zzz: 4") == (
        "study.yaml:2: space.zzz: no such knob; known: max_batch_size, max_queue_delay, instances, timeout, precision, "
        "dtype, caching, memory, concurrency, rate, users"
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("max_batch_size: 0", "space.max_batch_size: 0 is out of the legal range, 1 to 128"),
        ("max_batch_size: [4, 256]", "space.max_batch_size.1: 256 is out of the legal range, 1 to 128"),
        ("max_batch_size: {low: 1, high: 256}", "space.max_batch_size.high: 256 is out of the legal range, 1 to 128"),
        ("max_batch_size: {low: 0, high: 25}", "space.max_batch_size.low: 0 is out of the legal range, 1 to 128"),
        ("instances: -1", "space.instances: -1 is out of the legal range, 1 to any"),
        ("max_queue_delay: 2 s", "space.max_queue_delay: 2 s is out of the legal range, 0 us to 1 s"),
        ("concurrency: 0", "space.concurrency: 0 is out of the legal range, 1 to 65536"),
    ],
)
def test_fails_with_the_line_of_a_value_out_of_its_legal_range(text: str, expected: str) -> None:
    assert failure(text) == f"study.yaml:2: {expected}"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("instances: two", "space.instances: expected a whole number, but got 'two'"),
        ("instances: 1.5", "space.instances: expected a whole number, but got 1.5"),
        ("instances: true", "space.instances: expected a whole number, but got True"),
        ("instances: [1, [2]]", "space.instances.1: expected a whole number, but got [2]"),
        ("instances: null", "space.instances: expected a whole number, but got None"),
        ("max_queue_delay: 5", "space.max_queue_delay: expected a duration with a unit"),
        ("max_queue_delay: [1 ms, 0.5]", "space.max_queue_delay.1: expected a duration with a unit"),
        ("max_queue_delay: -5 ms", "space.max_queue_delay: must not be negative, but got '-5 ms'"),
        ("rate: 5", "space.rate: expected a rate with a unit, like `200/s`, but got 5"),
        ("rate: 0/s", "space.rate: a rate must be > 0, but got '0/s'"),
        ("precision: int4", "space.precision: 'int4' is no name of target.variants (fp32, int8)"),
        ("precision: [fp32, 8]", "space.precision.1: 8 is no name of target.variants (fp32, int8)"),
    ],
)
def test_fails_with_the_line_of_a_value_of_the_wrong_kind(text: str, expected: str) -> None:
    assert failure(text).startswith(f"study.yaml:2: {expected}")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("instances: []", "space.instances: needs at least one value"),
        ("instances: [1, 2, 1]", "space.instances: names a value twice"),
        ("max_queue_delay: [1 ms, 1000 us]", "space.max_queue_delay: names a value twice"),
        ("instances: {low: 1}", "space.instances: a range needs `high`"),
        ("instances: {high: 1}", "space.instances: a range needs `low`"),
        ("instances: {}", "space.instances: a range needs `low`"),
        ("instances: {low: 4, high: 1}", "space.instances: `low <= high` must hold, but got low 4 and high 1"),
        ("instances: {low: 1, high: 4, scale: log10}", "space.instances.scale: must be `linear` or `log2`, but got"),
        ("instances: {low: 1, high: 4, steps: 2}", "space.instances.steps: unknown key; a range has low, high, scale"),
        ("instances: {low: 1, high: 4, step: 0}", "space.instances.step: step 0 makes no list"),
        ("instances: {low: 1, high: 4, step: -1}", "space.instances.step: step -1 makes no list"),
        ("instances: {low: 1, high: 4, step: 0.5}", "space.instances.step: expected a whole number, but got 0.5"),
        ("instances: {low: 1, high: 1000000}", "space.instances"),
        ("max_queue_delay: {low: 0 us, high: 1 ms}", "space.max_queue_delay: a linear range of this knob needs `step`"),
        ("max_queue_delay: {low: 0 us, high: 1 ms, step: 1}", "space.max_queue_delay.step: expected a duration with"),
        ("max_queue_delay: {low: 0 us, high: 1 ms, step: 0 us}", "space.max_queue_delay.step: step 0 us makes no list"),
        (
            "max_queue_delay: {low: 0 us, high: 1 ms, scale: log2}",
            "space.max_queue_delay.low: a log2 range needs low > 0",
        ),
        ("precision: {low: fp32, high: int8}", "space.precision: is a list of names of target.variants (fp32, int8)"),
        ("dtype: {low: auto, high: half}", "space.dtype: is a list of names: auto, half"),
        ("dtype: int4", "space.dtype: 'int4' is none of auto, half"),
        ("caching: {low: 0, high: 1}", "space.caching: is a list of true and false"),
        ("caching: [true, 1]", "space.caching.1: expected true or false, but got 1"),
        ("memory: [true]", "space.memory.0: expected a number, but got True"),
        ("memory: 1.5", "space.memory: 1.5 is out of the legal range, 0.0 to 1.0"),
        (
            "memory: {low: 0, high: 1}",
            "space.memory: a linear range of this knob needs `step`; or use `scale: log2`, or list the values",
        ),
    ],
)
def test_fails_with_the_line_of_a_range_or_list_that_is_none(text: str, expected: str) -> None:
    assert failure(text).startswith(f"study.yaml:2: {expected}")


def test_a_step_has_no_meaning_on_a_log2_scale() -> None:
    assert failure("instances: {low: 1, high: 8, scale: log2, step: 3}").startswith(
        "study.yaml:2: space.instances.step"
    )


def test_a_variant_needs_variants_in_the_study() -> None:
    assert failure("precision: [fp32]", variants=()).endswith("'fp32' is no name of target.variants (none given)")
    assert failure("precision: {low: 1}", variants=()).endswith("(none given)")


# Conditions and constraints.

CONDITIONAL = """
precision: [fp32, int8]
instances: {low: 1, high: 3, when: precision == int8}
max_queue_delay: {values: [0 ms, 1 ms], when: instances >= 2 and precision == int8}
"""


def test_a_parameter_counts_only_where_its_condition_holds() -> None:
    found = list(space(CONDITIONAL, own={"instances": 1, "max_queue_delay": 0.0}).configs())
    assert found == [
        {"precision": "fp32"},
        {"precision": "int8", "instances": 1},
        *(
            {"precision": "int8", "instances": count, "max_queue_delay": delay}
            for count in (2, 3)
            for delay in (0, 1e-3)
        ),
    ]
    assert space(CONDITIONAL, own={"instances": 1}).size == len(found)


def test_a_condition_sees_the_users_value_of_a_knob_that_is_not_searched() -> None:
    text = "max_queue_delay: {values: [0 ms, 1 ms], when: max_batch_size > 1}"
    assert list(space(text, own={"max_batch_size": 1}).configs()) == [{}]
    assert len(list(space(text, own={"max_batch_size": 2}).configs())) == 2


def test_a_constraint_leaves_out_what_does_not_keep_it() -> None:
    found = space(
        "max_batch_size: [1, 2, 4]\nmax_queue_delay: [0 ms, 1 ms]",
        constraints=["max_queue_delay == 0 ms and max_batch_size <= 4"],
    )
    assert found.size == 3
    assert {config["max_queue_delay"] for config in found.configs()} == {0.0}


def test_a_constraint_may_relate_two_knobs() -> None:
    found = space(
        "max_batch_size: [1, 2, 4]\ninstances: {low: 1, high: 4}", constraints=["instances <= max_batch_size"]
    )
    pairs = {(config["max_batch_size"], config["instances"]) for config in found.configs()}
    assert pairs == {(batch, count) for batch in (1, 2, 4) for count in range(1, 5) if count <= batch}
    assert found.allows({"max_batch_size": 2, "instances": 2})
    assert not found.allows({"max_batch_size": 2, "instances": 3})


@given(st.integers(1, 4), st.integers(1, 4), st.sampled_from(["<=", "<", "==", "!="]))
def test_the_size_counts_what_keeps_the_constraints(batches: int, copies: int, sign: str) -> None:
    text = f"max_batch_size: {{low: 1, high: {batches}}}\ninstances: {{low: 1, high: {copies}}}"
    pairs = [(one, two) for one in range(1, batches + 1) for two in range(1, copies + 1)]
    constraints = [f"max_batch_size {sign} instances"]
    kept = [pair for pair in pairs if OPERATORS[sign](*pair)]
    if kept:
        assert space(text, constraints=constraints).size == len(kept)
    else:
        assert "no configuration of the space keeps all of them" in failure_of(text, constraints)


def failure_of(text: str, constraints: Sequence[object] = (), starts: Sequence[dict[str, Any]] = ()) -> str:
    with pytest.raises(StudyError) as error:
        space(text, constraints=constraints, starts=starts)
    return str(error.value)


@pytest.mark.parametrize(
    ("text", "constraints", "says"),
    [
        ("instances: [1, 2]", ["instnces < 2"], "constraints.0: 'instnces' is no knob"),
        ("instances: [1, 2]", [{"instances": 1}], "constraints.0: expected a comparison"),
        ("instances: [1, 2]", ["instances < many"], "constraints.0: expected a whole number, but got 'many'"),
        (
            "instances: [1, 2]",
            ["instances < 2024-02-30"],
            "constraints.0: expected a whole number, but got '2024-02-30'",
        ),
        ("max_queue_delay: [0 ms]", ["max_queue_delay < 5"], "constraints.0: "),
        ("instances: {values: [1, 2], when: precision == fp64}", [], "space.instances.when: 'fp64' is no name"),
        ("instances: {values: [1], when: precision == int8}\nprecision: [int8]", [], "'precision' is no knob"),
        ("instances: {values: [1, 2], low: 1, when: memory < 1.0}", [], "unknown key"),
    ],
)
def test_what_is_wrong_with_a_relation_is_told_with_its_place(text: str, constraints: list[object], says: str) -> None:
    assert says in failure_of(text, constraints)


def test_starts_are_read_in_the_units_of_their_knobs() -> None:
    found = space(
        "max_queue_delay: [0 ms, 1 ms]\ninstances: [1, 2]", starts=[{"max_queue_delay": "1 ms"}, {"instances": 2}]
    )
    assert found.starts == ({"max_queue_delay": 0.001}, {"instances": 2})


@pytest.mark.parametrize(
    ("start", "says"),
    [
        ({"memory": 0.5}, "search.start.0.memory: is not in the space; it has instances"),
        ({"instances": 3}, "search.start.0.instances: 3 is not in the space; it has 1, 2"),
        ({"instances": "two"}, "search.start.0.instances: expected a whole number"),
        ({"instances": 2}, "search.start.0: does not keep the study's `constraints`"),
    ],
)
def test_what_is_wrong_with_a_start_is_told_with_its_place(start: dict[str, Any], says: str) -> None:
    assert says in failure_of("instances: [1, 2]", ["instances < 2"], [start])


def test_a_knob_that_does_not_count_does_not_keep_a_configuration_out_of_the_space() -> None:
    text = "precision: [fp32, int8]\ninstances: {values: [2, 4], when: precision == int8}"
    found = space(text, own={"precision": "fp32", "instances": 1})
    assert found.nearest({"precision": "fp32", "instances": 1}) == {"precision": "fp32", "instances": 2}
    assert found.nearest({"precision": "int8", "instances": 1}) is None
    assert [found.active(one) for one in found.at_every_load({"precision": "fp32", "instances": 1})] == [
        {"precision": "fp32"}
    ]


def test_a_configuration_that_breaks_a_constraint_is_none_of_the_space() -> None:
    found = space("max_batch_size: [1, 2]\ninstances: [1, 2]", constraints=["instances <= max_batch_size"])
    assert found.at_every_load({"max_batch_size": 1, "instances": 2}) == []


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("precision < instances", "precision and instances cannot be compared: one is a number, one a name"),
        ("precision < int8", "precision has no order; compare it with == or !="),
        ("caching >= true", "caching has no order; compare it with == or !="),
    ],
)
def test_what_cannot_be_compared_is_refused(text: str, says: str) -> None:
    assert says in failure_of("instances: [1, 2]", [text])
