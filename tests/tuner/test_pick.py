"""Which configuration is picked."""

import math
from collections.abc import Sequence

import pytest
from result_builders import estimate, point, result, trial

from tuner.pick import MEANING, NothingToPick, Pick, picked
from tuner.results import Confirmation, Load, Point, Result, Side, SloVerdict, Trial
from tuner.usage import Gpu, Telemetry


def using(one: Point, cores: float | None = None, watts: float | None = None) -> Point:
    gpus = [] if watts is None else [Gpu(index=0, name="a", power_watts=watts, samples=3)]
    return one.model_copy(update={"telemetry": Telemetry(cpu_cores=cores, gpu=gpus)})


def run(*trials: Trial) -> Result:
    found = result(*trials)
    study = found.study.model_copy(update={"objectives": ["maximize throughput", "minimize p99"]})
    return found.model_copy(update={"study": study})


def number(found: Result, pick: Pick) -> int:
    return picked(found, pick).trial


FAST = trial(1, using(point(throughput=100, p99=0.001), cores=0.5))
KNEE = trial(2, using(point(throughput=900, p99=0.002), cores=1.0))
MOST = trial(3, using(point(throughput=1000, p99=0.009), cores=2.0))
MISSED = trial(4, using(point(throughput=5000, p99=0.0001, violations={"accuracy_drop": 1.0}), cores=0.1))


def test_each_pick_is_what_it_says() -> None:
    found = run(FAST, KNEE, MOST, MISSED)
    assert number(found, "fastest") == 1
    assert number(found, "knee") == 2
    assert number(found, "cheapest") == 2


def test_the_cheapest_does_at_least_what_yours_does() -> None:
    own = trial(0, using(point(throughput=950, p99=0.005), cores=3.0))
    assert number(run(own, FAST, KNEE, MOST), "cheapest") == 3


def test_with_a_gpu_energy_is_what_counts() -> None:
    thirsty = trial(1, using(point(throughput=100), cores=0.1, watts=300))
    thrifty = trial(2, using(point(throughput=100), cores=0.9, watts=100))
    assert number(run(thirsty, thrifty), "cheapest") == 2


def test_a_point_whose_gpu_was_not_seen_is_not_taken_for_a_cheap_one() -> None:
    unseen = trial(1, using(point(throughput=100), cores=0.1))
    seen = trial(2, using(point(throughput=100), cores=0.9, watts=100))
    assert number(run(unseen, seen), "cheapest") == 2


def test_an_infinite_latency_is_no_knee() -> None:
    assert number(run(trial(5, point(throughput=2000, p99=math.inf)), FAST, KNEE, MOST), "knee") == 2


@pytest.mark.parametrize("pick", [pick for pick in MEANING if pick != "best"])
def test_nothing_is_picked_where_nothing_meets_the_slo(pick: Pick) -> None:
    with pytest.raises(NothingToPick, match=f"no {pick} one"):
        number(run(MISSED), pick)


def test_the_best_is_the_recommended_one() -> None:
    with pytest.raises(NothingToPick, match="--trial N"):
        number(run(FAST), "best")


def test_the_cheapest_needs_to_know_what_was_used() -> None:
    with pytest.raises(NothingToPick, match="was not measured"):
        number(run(trial(1, point())), "cheapest")


def test_an_only_point_is_its_own_knee() -> None:
    assert number(run(FAST), "knee") == 1


def test_the_fastest_does_at_least_what_yours_does_at_its_best() -> None:
    """Yours is measured at every load, the lowest too, where every server is fast."""
    own = trial(0, point(level=1, throughput=100, p99=0.0009), point(level=64, throughput=900, p99=0.009))
    found = run(
        own,
        trial(1, point(level=64, throughput=1500, p99=0.004)),
        trial(2, point(level=32, throughput=1200, p99=0.002)),
    )
    assert number(found, "fastest") == 2
    idle = trial(3, point(level=1, throughput=150, p99=0.0005))
    assert number(run(*found.trials, idle), "fastest") == 2


def test_where_an_open_loop_offers_the_same_to_all_a_few_answers_less_are_no_less() -> None:
    own = trial(0, point(mode="open", level=400, throughput=400.2, p99=0.005))
    assert number(run(own, trial(1, point(mode="open", level=400, throughput=399.1, p99=0.002))), "fastest") == 1


def side(one: Trial, verdict: SloVerdict = "met", p99: float = 0.005) -> Side:
    """Return what a trial was when it was measured again."""
    return Side(
        trial=one.number,
        config={},
        load=one.points[0].load,
        metrics={"steady": {"latency_p99_s": estimate(p99)}},
        verdicts={"steady": {"p99": verdict}},
        server={},
        valid=True,
    )


def bounded(*trials: Trial, shortlist: Sequence[Side] = (), confirmation: Confirmation | None = None) -> Result:
    found = run(*trials)
    study = found.study.model_copy(update={"bounds": {"steady": {"p99": 0.01}}})
    return found.model_copy(update={"study": study, "shortlist": list(shortlist), "confirmation": confirmation})


@pytest.mark.parametrize("again", [side(FAST, "missed"), side(FAST, "undecided", p99=0.011)])
def test_what_missed_its_slo_when_it_was_measured_again_is_not_number(again: Side) -> None:
    assert number(bounded(FAST, KNEE, MOST, shortlist=[side(KNEE), again]), "fastest") == 2
    made = Confirmation(candidate=again, baseline=side(KNEE), redeployments=2, rounds=2, gains={}, verdict="missed")
    assert number(bounded(FAST, KNEE, MOST, confirmation=made), "fastest") == 2
    assert number(bounded(FAST, KNEE, MOST, shortlist=[side(KNEE), side(FAST, "undecided")]), "fastest") == 1


def test_of_yours_the_load_that_missed_its_slo_again_is_left_out() -> None:
    own = trial(0, point(level=64, throughput=900, p99=0.009), point(level=1, throughput=80, p99=0.0009))
    missed = side(own, "missed")
    assert number(bounded(own, FAST), "fastest") == 0
    assert number(bounded(own, FAST, shortlist=[missed]), "fastest") == 0
    assert number(bounded(own, trial(1, point(throughput=100, p99=0.0005)), shortlist=[missed]), "fastest") == 1


@pytest.mark.parametrize("pick", [pick for pick in MEANING if pick != "best"])
def test_nothing_is_picked_where_all_missed_the_slo_when_measured_again(pick: Pick) -> None:
    with pytest.raises(NothingToPick, match=f"measured again, so there is no {pick} one"):
        number(bounded(FAST, shortlist=[side(FAST, "missed")]), pick)


# Workloads that climbed each by itself, or have loads of two kinds.


def steady(level: float, p99: float = 0.005, over: float = -0.5) -> Point:
    """Return a point that answers 100 a second for each request in flight."""
    return point(level=level, throughput=100 * level, p99=p99, violations={"p99": over})


def web(level: float, over: float = -0.5, name: str = "web") -> Point:
    """Return a point of an open loop whose window had a few requests less than it offers."""
    return point(name, level, throughput=0.97 * level, violations={"p99": over}, mode="open")


def climbed(number: int, *measured: Point) -> Trial:
    return trial(number, *measured).model_copy(update={"own_loads": True})


def both(*trials: Trial, again: Sequence[Side] = (), classes: Sequence[str] = ()) -> Result:
    found = bounded(*trials, shortlist=again)
    names = ["steady", "web", *classes]
    study = found.study.model_copy(update={"workloads": names, "bounds": {name: {"p99": 0.01} for name in names}})
    return found.model_copy(update={"study": study})


def measured_again(level: float, other: float, missed: Sequence[str] = (), parts: Sequence[str] = ()) -> Side:
    """Return what yours was when it was measured again, and which workloads or classes missed their SLO then."""
    names = ["steady", "web", *parts]
    return side(OWN).model_copy(
        update={
            "load": Load(mode="closed", level=level),
            "loads": {"web": Load(mode="open", level=other)},
            "metrics": {name: {"latency_p99_s": estimate(0.02 if name in missed else 0.005)} for name in names},
            "verdicts": {name: {"p99": "missed" if name in missed else "met"} for name in names},
        }
    )


OWN = climbed(0, steady(4, 0.002), steady(8), steady(16, over=0.5), web(200), web(300), web(400, over=0.5))
QUICK = climbed(1, steady(4, 0.001), steady(8, 0.009), web(300), web(400, over=0.5))
BOTH = {"steady": Load(mode="closed", level=8), "web": Load(mode="open", level=300)}


def test_a_pick_has_the_load_of_each_workload() -> None:
    assert picked(both(OWN), "fastest").loads == BOTH
    assert picked(both(OWN, climbed(1, steady(8, 0.001), web(300))), "fastest").loads == BOTH


def test_where_another_workload_missed_its_slo_again_only_that_load_of_it_is_left_out() -> None:
    """What is faster at half of the throughput is no pick: yours still counts at its highest load of the first one."""
    found = both(OWN, QUICK, again=[measured_again(8, 300, missed=["web"])])
    chosen = picked(found, "fastest")
    assert (chosen.trial, chosen.loads) == (0, {**BOTH, "web": Load(mode="open", level=200)})


def test_where_the_first_workload_missed_its_slo_again_the_load_of_the_other_one_counts_on() -> None:
    chosen = picked(both(OWN, again=[measured_again(8, 300, missed=["steady"])]), "fastest")
    assert chosen.loads == {**BOTH, "steady": Load(mode="closed", level=4)}


def test_a_class_that_missed_its_slo_again_keeps_its_workload_off_that_load() -> None:
    mixed = [web(level, name=name) for level in (200, 300) for name in ("web", "web.read")]
    own = climbed(0, steady(4), steady(8), *mixed)
    again = [measured_again(8, 300, missed=["web.read"], parts=["web.read"])]
    assert picked(both(own, again=again, classes=["web.read"]), "fastest").loads["web"].level == 200


def test_workloads_of_one_window_miss_their_slos_together() -> None:
    windows = [
        one.model_copy(update={"window": at})
        for at, level in enumerate((4, 8))
        for one in (steady(level), point("web", level, mode="closed"))
    ]
    again = side(OWN).model_copy(
        update={
            "load": Load(mode="closed", level=8),
            "loads": {"web": Load(mode="closed", level=8)},
            "verdicts": {"web": {"p99": "missed"}},
            "metrics": {"steady": {"latency_p99_s": estimate(0.005)}, "web": {"latency_p99_s": estimate(0.02)}},
        }
    )
    chosen = picked(both(trial(0, *windows), again=[again]), "fastest")
    assert [load.level for load in chosen.loads.values()] == [4, 4]


def test_of_a_run_that_does_not_say_the_other_loads_the_whole_load_is_left_out() -> None:
    again = measured_again(8, 300, missed=["web"]).model_copy(update={"loads": {}})
    assert picked(both(OWN, again=[again]), "fastest").loads["steady"].level == 4


def test_what_carries_less_of_another_workload_that_climbed_does_less_than_yours() -> None:
    less = climbed(1, steady(8, 0.001), web(150), web(200, over=0.5))
    assert number(both(OWN, less), "fastest") == 0
    as_much = climbed(2, steady(8, 0.002), web(298))
    assert number(both(OWN, less, as_much), "fastest") == 2


def test_what_carries_less_of_a_workload_whose_load_is_not_searched_is_compared_on_the_first_one_alone() -> None:
    own = trial(0, steady(8), point("web", 4, throughput=100))
    slower = trial(1, steady(8, 0.001), point("web", 4, throughput=80))
    assert number(both(own, slower), "fastest") == 1
