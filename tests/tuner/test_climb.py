"""The inner search: which load levels are measured, and what is found."""

from collections.abc import Callable, Collection, Mapping, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from result_builders import GOALS, point, trial
from workload_builders import workload

from tuner.climb import doublings, next_level
from tuner.load_plans import Climb, InTurn, Ladder
from tuner.rank import worth
from tuner.results import Point, SloVerdict, Validity
from tuner.sustained import starved, sustained
from workloads.arrivals import Bursty

DOUBLINGS = (1, 2, 4, 8, 16, 32, 64)


def climbed(
    meets: Callable[[float], bool],
    scan: Sequence[float] = DOUBLINGS,
    start: float = 8,
    resolution: float = 0.05,
    *,
    whole: bool = True,
    full: Collection[float] = (),
    starves: Callable[[float], bool] = lambda _: False,
) -> dict[float, bool]:
    """Return what is measured, in its order."""
    results: dict[float, bool] = {}

    def following() -> float | None:
        starved = [level for level, met in results.items() if not met and starves(level)]
        return next_level(results, scan, start, resolution, whole=whole, full=full, starved=starved)

    while (level := following()) is not None:
        assert level not in results
        results[level] = meets(level)
    return results


def highest(results: dict[float, bool]) -> float | None:
    return max((level for level, met in results.items() if met), default=None)


@given(st.integers(0, 100), st.integers(1, 64))
def test_the_highest_level_that_meets_the_slo_is_found_to_a_whole_request(capacity: int, start: int) -> None:
    found = climbed(lambda level: level <= capacity, start=start, resolution=0.0)
    assert highest(found) == (min(capacity, 64) or None)
    assert len(found) <= 14


@given(st.floats(101, 799), st.sampled_from([0.01, 0.03, 0.1]))
def test_a_rate_is_found_within_the_resolution(capacity: float, resolution: float) -> None:
    found = climbed(lambda rate: rate <= capacity, (100, 200, 400, 800), 200, resolution, whole=False)
    best = highest(found)
    assert best is not None
    assert best <= capacity <= best * (1 + resolution)


def test_the_search_begins_where_it_is_told_and_goes_up_while_the_slo_is_met() -> None:
    assert list(climbed(lambda _: True, start=9)) == [8, 16, 32, 64]


def test_it_goes_down_by_halves_of_what_is_left_while_the_slo_is_missed() -> None:
    assert list(climbed(lambda _: False, start=64))[:4] == [64, 8, 2, 1]


@given(st.sampled_from(DOUBLINGS))
def test_every_level_is_measured_before_a_configuration_is_given_up(start: int) -> None:
    assert sorted(climbed(lambda _: False, start=start)) == list(DOUBLINGS)


def test_an_slo_that_is_missed_for_want_of_load_is_met_above() -> None:
    """A long queue delay makes a lone request wait for others that do not come."""
    found = climbed(lambda level: 8 <= level <= 20, start=2, resolution=0.0)
    assert list(found)[:4] == [2, 1, 4, 8]
    assert highest(found) == 20


def test_where_too_little_throughput_is_all_that_is_missed_the_way_is_up() -> None:
    found = climbed(lambda level: 16 <= level <= 40, start=2, resolution=0.0, starves=lambda level: level < 16)
    assert list(found)[:3] == [2, 16, 32]
    assert highest(found) == 40


@given(st.integers(2, 60), st.integers(1, 60), st.sampled_from(DOUBLINGS))
def test_a_load_is_found_between_too_little_throughput_and_too_much_latency(least: int, width: int, start: int) -> None:
    """Also where that is between two levels of the scan, both of which miss."""
    most = min(least + width, 64)
    found = climbed(lambda level: least <= level <= most, start=start, resolution=0.0, starves=lambda one: one < least)
    assert highest(found) == most


def test_a_rate_between_two_that_miss_is_found() -> None:
    found = climbed(
        lambda rate: 500 <= rate <= 700, (100, 200, 400, 800, 1600), 800, whole=False, starves=lambda rate: rate < 500
    )
    best = highest(found)
    assert best is not None
    assert best == pytest.approx(700, rel=0.05)


@given(st.sampled_from(DOUBLINGS))
def test_a_throughput_that_no_level_brings_is_looked_for_at_every_level(start: int) -> None:
    assert sorted(climbed(lambda _: False, start=start, starves=lambda _: True)) == list(DOUBLINGS)


@given(st.sampled_from(DOUBLINGS), st.sampled_from(DOUBLINGS))
def test_the_one_level_that_meets_the_slo_is_found_wherever_the_climb_begins(only: int, start: int) -> None:
    assert highest(climbed(lambda level: level == only, start=start)) == only


@given(st.sets(st.sampled_from(DOUBLINGS)), st.sampled_from(DOUBLINGS))
def test_a_missed_level_hides_none_above_it(meets: set[int], start: int) -> None:
    found = highest(climbed(lambda level: level in meets, start=start))
    assert found == max(meets, default=None)


def test_above_a_level_where_the_server_is_full_nothing_is_measured_once_the_slo_is_met() -> None:
    assert list(climbed(lambda level: level <= 8, full=[16])) == [8, 16, 11, 9]
    assert sorted(climbed(lambda level: level == 64, full=[16, 32])) == list(DOUBLINGS), "nothing is met below"


def test_levels_close_together_are_scanned_by_doublings() -> None:
    found = climbed(lambda level: level <= 20, range(1, 51), 32, 0.0)
    assert list(found) == [32, 4, 8, 16, 50, 23, 19, 21, 20]
    assert doublings([5]) == [5]
    assert doublings([0, 100, 150, 200, 300, 350]) == [0, 100, 200, 350]


@pytest.mark.parametrize("met", [True, False])
def test_a_single_level_is_measured_once(met: bool) -> None:
    assert climbed(lambda _: met, (16,), 16) == {16: met}


@given(st.integers(0, 2**32), st.integers(1, 64))
def test_it_ends_whatever_the_answers_are(answers: int, start: int) -> None:
    found = climbed(lambda level: bool(answers >> int(level) % 32 & 1), start=start, resolution=0.0)
    assert len(found) <= 64


# What a trial measures.

STEADY, BURSTY = workload("steady"), workload("bursty", Bursty(10, 0.02))
OTHER, WEB = workload("other"), workload("web", Bursty(10, 0.02))
LEVELS = (1, 2, 4, 8, 16)
LADDER = Ladder({"concurrency": LEVELS}, 0.05)
LEAST = "throughput_at_least"


def from_level(level: float) -> dict[str, float]:
    return dict.fromkeys(("steady", "other", "web"), level)


def seen(
    name: str,
    level: float,
    *,
    met: bool = True,
    mode: str = "closed",
    verdict: SloVerdict | None = None,
    throughput: float | None = None,
) -> Point:
    answered = 100 * level if throughput is None else throughput
    one = point(name, level, throughput=answered, violations={"p99": -0.5 if met else 0.5}, mode=mode)
    return one.model_copy(update={"verdicts": {"p99": verdict or ("met" if met else "missed")}})


def measured_in_turn(
    climb: Climb,
    answers: Callable[[str, float], bool],
    verdicts: Mapping[str, SloVerdict] | None = None,
    throughput: Callable[[float], float] = lambda level: 100 * level,
) -> list[tuple[str, float]]:
    """Return what is measured; `verdicts` are those of workloads whose verdict does not follow from the answer."""
    points: list[Point] = []
    while (at := climb.next(points)) is not None:
        ((one, load),) = at
        met, verdict = answers(one.name, load.level), (verdicts or {}).get(one.name)
        points.append(
            seen(one.name, load.level, met=met, mode=load.mode, verdict=verdict, throughput=throughput(load.level))
        )
    return [(one.workload, one.load.level) for one in points]


def test_a_climb_measures_what_does_not_change_once_and_then_each_workload_on_its_own_levels() -> None:
    highest_of = {"steady": 8, "other": 2, "bursty": 500}
    found = measured_in_turn(
        Climb([STEADY, BURSTY, OTHER], LADDER, {"steady": 4, "other": 4}), lambda name, level: level <= highest_of[name]
    )
    assert found == [
        ("bursty", 500),
        ("steady", 4),
        ("other", 4),
        ("other", 2),
        ("steady", 8),
        ("steady", 16),
        ("steady", 11),
        ("steady", 9),
        *(("other", level) for level in (8, 16, 3)),
    ]


def test_where_a_workload_misses_says_nothing_of_another() -> None:
    found = measured_in_turn(
        Climb([STEADY, OTHER], LADDER, from_level(1)), lambda name, level: name == "other" or level < 4
    )
    assert max(level for name, level in found if name == "other") == 16
    assert [level for name, level in found if name == "steady"] == [1, 2, 4, 8, 16, 3]


def test_a_closed_and_an_open_loop_climb_each_on_the_levels_of_its_kind() -> None:
    ladder = Ladder({"concurrency": LEVELS, "rate": (100.0, 200.0, 400.0)}, 0.3)
    found = measured_in_turn(
        Climb([STEADY, WEB], ladder, {"web": 100}), lambda name, level: level <= (5 if name == "steady" else 250)
    )
    assert found == [
        ("steady", 4),
        ("web", 100),
        ("steady", 8),
        ("steady", 16),
        ("steady", 6),
        ("steady", 5),
        ("web", 200),
        ("web", 400),
        ("web", pytest.approx(283, abs=1)),
        ("web", pytest.approx(238, abs=1)),
    ]


@pytest.mark.parametrize("hopeless", ["steady", "other"])
def test_where_a_workload_meets_its_slo_at_no_level_the_others_are_measured_once(hopeless: str) -> None:
    found = measured_in_turn(Climb([STEADY, OTHER], LADDER, from_level(4)), lambda name, _: name != hopeless)
    assert sorted(level for name, level in found if name == hopeless) == list(LEVELS)
    assert [level for name, level in found if name != hopeless] == [4]


def test_a_workload_with_too_few_requests_for_a_verdict_at_any_level_stops_no_other() -> None:
    found = measured_in_turn(Climb([STEADY, OTHER], LADDER, from_level(4)), lambda *_: True, {"steady": "undecided"})
    assert [level for name, level in found if name == "other"] == [4, 8, 16]


def test_a_level_is_met_where_each_class_of_a_mix_meets_its_slo() -> None:
    mixed = workload("steady", mix={"rare": 1.0, "usual": 9.0})
    points: list[Point] = []
    climb = Climb([mixed], LADDER, from_level(4))
    while (at := climb.next(points)) is not None:
        level = at[0][1].level
        points += [seen("steady", level), seen("steady.rare", level, met=level <= 4), seen("steady.usual", level)]
    assert [one.load.level for one in points if one.workload == "steady"] == [4, 8, 16, 6, 5]


def test_nothing_is_looked_for_when_the_load_that_does_not_change_is_too_much() -> None:
    found = measured_in_turn(Climb([STEADY, BURSTY], LADDER, from_level(4)), lambda name, _: name == "steady")
    assert found == [("bursty", 500), ("steady", 4)]


def test_a_load_that_does_not_change_and_has_too_few_requests_for_a_verdict_stops_no_climb() -> None:
    """Nothing is known against it; that every configuration was measured at one level alone was said nowhere."""
    found = measured_in_turn(
        Climb([STEADY, BURSTY], LADDER, from_level(4)), lambda _, level: level != 16, {"bursty": "undecided"}
    )
    assert found[:4] == [("bursty", 500), ("steady", 4), ("steady", 8), ("steady", 16)]


def test_a_load_that_does_not_change_and_was_spoiled_leaves_nothing_to_look_for() -> None:
    spoiled = seen("bursty", 500, mode="open").model_copy(update={"validity": Validity(valid=False, reasons=["late"])})
    assert Climb([STEADY, BURSTY], LADDER, from_level(4)).next([spoiled, seen("steady", 4)]) is None


def test_a_load_that_brings_no_more_throughput_ends_the_way_up() -> None:
    """From 5 in flight on the server answers 500 a second: what misses there is not met for more of them."""
    found = measured_in_turn(
        Climb([STEADY], LADDER, from_level(2)),
        lambda _, level: level <= 4,
        throughput=lambda level: min(100 * level, 500),
    )
    assert [level for _, level in found] == [2, 4, 8, 6, 5]


def short_of(bound: float, level: float, throughput: float) -> Point:
    """Return a point that answers in time, with a bound on its throughput."""
    one = point("steady", level, throughput=throughput, violations={"p99": -0.5, LEAST: 1 - throughput / bound})
    verdict: SloVerdict = "met" if throughput >= bound else "missed"
    return one.model_copy(update={"verdicts": {"p99": "met", LEAST: verdict}})


def test_a_low_load_that_brings_too_little_throughput_is_not_taken_for_too_much_load() -> None:
    points: list[Point] = []
    climb = Climb([STEADY], LADDER, from_level(2))
    while (at := climb.next(points)) is not None:
        ((_, load),) = at
        points.append(short_of(700, load.level, 100 * load.level))
    assert [one.load.level for one in points] == [2, 8, 16]
    assert [one.load.level for one in points if sustained(one)] == [8, 16]


def test_a_level_that_misses_its_latency_too_is_not_short_of_load() -> None:
    short = short_of(700, 4, 400)
    assert starved(short)
    assert not starved(short.model_copy(update={"violations": {**short.violations, "p99": 0.1}}))
    assert not starved(short.model_copy(update={"verdicts": {**short.verdicts, "p99": "missed"}}))
    assert not starved(short.model_copy(update={"validity": Validity(valid=False)}))
    assert not starved(short_of(700, 8, 800))


def test_a_load_that_does_not_change_and_brings_too_little_leaves_nothing_to_look_for() -> None:
    low = short_of(700, 500, 400).model_copy(update={"workload": "bursty"})
    assert Climb([STEADY, BURSTY], LADDER, from_level(4)).next([low, seen("steady", 4)]) is None


def test_a_level_that_the_generator_spoiled_ends_the_way_up() -> None:
    points = [seen("steady", 4), seen("steady", 8).model_copy(update={"validity": Validity(valid=False)})]
    assert Climb([STEADY], LADDER, from_level(4)).next(points) == ((STEADY, STEADY.at(6)),)


@pytest.mark.parametrize(
    ("verdicts", "expected"),
    [
        ({"p99": "met", "error_rate": "undecided"}, True),
        ({"p99": "met", "accuracy_drop": "undecided"}, True),
        ({"p99": "undecided"}, False),
        ({"p99": "met", "ttft_p90": "undecided"}, False),
    ],
)
def test_a_load_is_sustained_when_every_bound_on_latency_is_certainly_kept(
    verdicts: dict[str, SloVerdict], expected: bool
) -> None:
    one = seen("steady", 4).model_copy(update={"verdicts": verdicts})
    assert sustained(one) is expected
    assert not sustained(one.model_copy(update={"violations": {"error_rate": 0.1}}))


def test_given_loads_are_measured_in_turn() -> None:
    loads = [((STEADY, STEADY.at(1)),), ((BURSTY, BURSTY.at(None)),)]
    plan = InTurn(loads)
    assert [plan.next([]), plan.next([]), plan.next([])] == [*loads, None]


def test_a_trial_is_worth_its_best_sustained_load() -> None:
    levels = {1: True, 2: True, 4: False}
    one = trial(1, *(seen("steady", level, met=met) for level, met in levels.items()))
    assert worth(one, ["steady"], GOALS).values[0] == 200


def test_a_trial_that_sustains_no_load_is_worth_the_one_that_came_closest() -> None:
    near = seen("steady", 1, met=False).model_copy(update={"violations": {"p99": 0.1}})
    one = trial(1, seen("steady", 4, met=False), near)
    assert worth(one, ["steady"], GOALS).violations == {"steady.p99": 0.1}


def test_a_trial_without_a_point_on_every_workload_is_worth_the_worst() -> None:
    one = worth(trial(1, seen("steady", 4, met=False)), ["steady", "other"], GOALS)
    assert one.values[0] == 0.0
    assert one.violations == {"steady.p99": 0.5}
    assert not one.feasible
