"""The first proposals: one knob moved at a time, then all moves that helped."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest
from result_builders import GOALS, candidate, point, trial

from targets.base import Config, Knob, Value
from tuner.objective import Goal
from tuner.probes import WORTH, next_probe, starting_points, unmeasured_variants
from tuner.rank import Candidate, candidates
from tuner.relations import Relation, Term
from tuner.space import Parameter, Space

THROUGHPUT = GOALS[0]


def parameter(name: str, *values: Value, ordered: bool = True) -> Parameter:
    return Parameter(Knob(name, "int", None, None, 1, "", "reload", ""), values, ordered)


SPACE = Space(
    (
        parameter("batch", 1, 2, 4, 8),
        parameter("delay", 0.0, 0.001, 0.005),
        parameter("precision", "fp32", "int8", "fp16", ordered=False),
        parameter("concurrency", 1, 4, 16),
    )
)
ORIGIN: dict[str, Value] = {"batch": 2, "delay": 0.0, "precision": "fp32", "concurrency": 4}


def start(config: Mapping[str, Value] = ORIGIN, level: float = 4, throughput: float = 100.0) -> Candidate:
    server = {name: value for name, value in config.items() if name != "concurrency"}
    return candidate(server, throughput, level=level, number=0)


def probes(gains: Mapping[str, float], goal: Goal = THROUGHPUT, space: Space = SPACE) -> list[dict[str, Value]]:
    """Ask until nothing is left; a moved knob multiplies the throughput by its gain."""
    tried: list[Candidate] = []
    asked: list[dict[str, Value]] = []
    while (config := next_probe(space, start(), goal, tried, [])) is not None:
        asked.append(dict(config))
        gain = 1.0
        for name, value in config.items():
            if value != ORIGIN[name]:
                gain *= gains.get(f"{name}={value}", gains.get(name, 1.0))
                gain *= gains.get(f"{name}={value}&concurrency={config.get('concurrency')}", 1.0)
        tried.append(candidate(config, 100.0 * gain, number=len(tried) + 1))
        assert len(asked) < 20
    return asked


def moves(config: Mapping[str, Value]) -> dict[str, Value]:
    return {name: value for name, value in config.items() if value != ORIGIN[name]}


def test_first_each_knob_is_moved_alone() -> None:
    assert [moves(config) for config in probes({})][:4] == [
        {"batch": 8},
        {"delay": 0.005},
        {"precision": "int8"},
        {"precision": "fp16"},
    ]


def test_what_is_dear_to_change_is_moved_last() -> None:
    """Each move is made from the user's: a cheap one between two dear ones would take back the first of them."""
    changed = {"batch": "restart", "precision": "live"}
    parameters = (
        replace(one, knob=replace(one.knob, applied=changed.get(one.name, one.knob.applied))) for one in SPACE
    )
    asked = [moves(config) for config in probes({}, space=replace(SPACE, parameters=tuple(parameters)))]
    assert asked == [
        {"precision": "int8"},
        {"precision": "fp16"},
        {"delay": 0.005},
        {"batch": 8},
        {"concurrency": 16},
        {"delay": 0.005, "concurrency": 16},
        {"batch": 8, "concurrency": 16},
    ]


def test_what_did_not_help_is_tried_once_more_under_the_highest_load() -> None:
    assert [moves(config) for config in probes({})][4:] == [
        {"concurrency": 16},
        {"batch": 8, "concurrency": 16},
        {"delay": 0.005, "concurrency": 16},
    ]


def test_moves_that_help_only_under_the_highest_load_are_made_together_at_last() -> None:
    asked = [moves(config) for config in probes({"batch=8&concurrency=16": 1.5, "delay=0.005&concurrency=16": 1.5})]
    assert asked[-1] == {"batch": 8, "delay": 0.005, "concurrency": 16}


def test_then_the_moves_that_helped_are_made_together_and_under_the_highest_load() -> None:
    asked = [moves(config) for config in probes({"batch": 1.5, "precision=int8": 1.2, "precision=fp16": 0.9})]
    assert asked[4:] == [
        {"batch": 8, "precision": "int8"},
        {"batch": 8, "precision": "int8", "concurrency": 16},
        {"batch": 8, "delay": 0.005, "precision": "int8", "concurrency": 16},
    ]


def test_a_single_move_that_helped_is_not_asked_for_twice() -> None:
    asked = [moves(config) for config in probes({"batch": 1.5})]
    assert asked[4:] == [{"batch": 8, "concurrency": 16}, {"batch": 8, "delay": 0.005, "concurrency": 16}]


def test_of_two_names_that_helped_the_better_is_taken() -> None:
    asked = [moves(config) for config in probes({"precision=int8": 2.0, "precision=fp16": 1.2})]
    assert asked[4] == {"precision": "int8", "concurrency": 16}


def test_no_configuration_is_proposed_twice() -> None:
    for gains in ({}, {"batch": 2.0}, {"batch": 2.0, "delay": 2.0, "precision": 2.0}):
        asked = [tuple(config.items()) for config in probes(gains)]
        assert len(set(asked)) == len(asked)


def test_every_probe_lies_in_the_space() -> None:
    for config in probes({"batch": 2.0, "delay": 2.0}):
        assert list(config) == [one.name for one in SPACE]
        assert all(config[one.name] in one.values for one in SPACE)


@pytest.mark.parametrize(("gain", "helps"), [(1 + WORTH + 0.001, True), (1 + WORTH - 0.001, False)])
def test_a_move_helps_when_it_is_worth_it(gain: float, helps: bool) -> None:
    asked = [moves(config) for config in probes({"batch": gain})]
    assert (asked[4] == {"batch": 8, "concurrency": 16}) is helps


def test_less_helps_where_the_goal_is_to_minimize() -> None:
    goal = Goal(False, "steady", "throughput")
    asked = [moves(config) for config in probes({"batch": 0.5, "delay": 2.0}, goal)]
    assert asked[4] == {"batch": 8, "concurrency": 16}


def test_a_faster_move_that_misses_the_slo_does_not_help() -> None:
    tried = [candidate({**ORIGIN, "batch": 8}, 500.0, violations={"p99": 0.5})]
    refused: Sequence[Config] = [
        {**ORIGIN, "delay": 0.005},
        {**ORIGIN, "precision": "int8"},
        {**ORIGIN, "precision": "fp16"},
    ]
    assert next_probe(SPACE, start(), THROUGHPUT, tried, refused) == {**ORIGIN, "concurrency": 16}


def test_a_refused_configuration_is_not_probed_again() -> None:
    refused: Sequence[Config] = [{**ORIGIN, "batch": 8}]
    assert next_probe(SPACE, start(), THROUGHPUT, [], refused) == {**ORIGIN, "delay": 0.005}


def test_a_knob_moves_to_its_far_end() -> None:
    config: dict[str, Value] = {**ORIGIN, "batch": 8, "delay": 0.005}
    first = next_probe(SPACE, start(config), THROUGHPUT, [], [])
    assert first == {**config, "batch": 1}
    second = next_probe(SPACE, start(config), THROUGHPUT, [], [{**config, "batch": 1}])
    assert second == {**config, "delay": 0.0}


def test_a_knob_of_one_value_stays() -> None:
    space = Space((parameter("batch", 2), parameter("concurrency", 1, 4)))
    begin = candidate({"batch": 2}, level=4, number=0)
    assert next_probe(space, begin, THROUGHPUT, [], []) is None


def test_the_load_level_is_that_of_the_start() -> None:
    first = next_probe(SPACE, start(level=1), THROUGHPUT, [], [])
    assert first == {**ORIGIN, "batch": 8, "concurrency": 1}
    assert type(first["concurrency"]) is int


def test_a_space_without_a_load_level_is_probed_too() -> None:
    space = Space(tuple(one for one in SPACE if one.name != "concurrency"))
    assert next_probe(space, start(), THROUGHPUT, [], []) == {"batch": 8, "delay": 0.0, "precision": "fp32"}


@pytest.mark.parametrize(
    "begin",
    [start({**ORIGIN, "batch": 3}), start({"batch": 2, "precision": "fp32"}), start(level=3)],
    ids=["a value outside", "no value", "a level outside"],
)
def test_a_start_outside_the_space_is_not_probed_from(begin: Candidate) -> None:
    assert next_probe(SPACE, begin, THROUGHPUT, [], []) is None


def of_both(closed: Candidate, rate: float, goal: Goal = THROUGHPUT) -> Candidate:
    """Return a candidate whose first workload is an open loop, beside one that is closed."""
    points = [point("shop", rate, mode="open"), *closed.trial.points]
    (found,) = candidates([trial(0, *points, config=closed.trial.config)], ["shop", "steady"], [goal])
    return found


def test_the_level_of_another_workload_is_its_own() -> None:
    """The first workload has a rate of its own, which says nothing of `concurrency`."""
    goal = Goal(True, "shop", "throughput_rps")
    asked = next_probe(SPACE, of_both(start(), 50.0, goal), goal, [], [])
    assert asked == {**ORIGIN, "batch": 8}


def test_each_workload_gives_the_level_that_it_has_in_the_space() -> None:
    goal = Goal(True, "shop", "throughput_rps")
    space = Space((*SPACE.parameters, parameter("rate", 50.0, 100.0)))
    for rate, levels in ((100.0, {"concurrency": 4, "rate": 100.0}), (70.0, None)):
        asked = next_probe(space, of_both(start(), rate, goal), goal, [], [])
        assert asked == (levels and {**ORIGIN, "batch": 8, **levels})


# What the study wants tried first, and variants that were not measured.


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (ORIGIN, {"delay": 0.0, "precision": "fp32", "concurrency": 4}),
        ({"batch": 2, "precision": "fp32"}, {"precision": "fp32", "concurrency": 4}),
        ({**ORIGIN, "delay": 0.3}, {"precision": "fp32", "concurrency": 4}),
    ],
    ids=["in the space", "a knob that it does not have", "a value outside"],
)
def test_a_starting_point_is_at_the_load_of_the_start(config: Config, expected: Mapping[str, Value]) -> None:
    """Without a load it would be tried at the lowest one of the space, and told as what that configuration is worth."""
    own = {name: value for name, value in config.items() if name != "concurrency"}
    space = replace(SPACE, own=own, starts=({"batch": 8}, {"batch": 8, "concurrency": 16}))
    first, second = starting_points(space, start(config))
    assert first == {"batch": 8, **expected}
    assert second == {"batch": 8, **expected, "concurrency": 16}


def test_a_variant_is_measured_at_the_load_of_a_start_outside_the_space() -> None:
    own: dict[str, Value] = {"batch": 2, "precision": "fp32"}
    found = unmeasured_variants(replace(SPACE, own=own), start(own), [own])
    assert found == [{"batch": 2, "precision": name, "concurrency": 4} for name in ("int8", "fp16")]


def test_without_a_start_a_starting_point_is_at_the_load_in_the_middle() -> None:
    """Where the user's meets the SLO nowhere, at the lowest load a hint would be told as next to no throughput."""
    space = replace(SPACE, own={"batch": 2}, starts=({"delay": 0.005}, {"delay": 0.001, "concurrency": 1}))
    assert starting_points(space, None) == [
        {"batch": 2, "delay": 0.005, "concurrency": 4},
        {"batch": 2, "delay": 0.001, "concurrency": 1},
    ]


def test_a_starting_point_that_may_not_have_the_load_in_the_middle_names_none() -> None:
    few = Relation("concurrency <= batch", (Term("concurrency", "<=", right="batch"),))
    space = replace(SPACE, own={"batch": 2}, constraints=(few,), starts=({"delay": 0.005},))
    assert starting_points(space, None) == [{"batch": 2, "delay": 0.005}]
