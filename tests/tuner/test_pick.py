"""Which configuration is picked."""

import math
from collections.abc import Sequence

import pytest
from result_builders import estimate, point, result, trial

from tuner.pick import MEANING, NothingToPick, Pick, picked
from tuner.results import Confirmation, Point, Result, Side, SloVerdict, Trial
from tuner.usage import Gpu, Telemetry


def using(one: Point, cores: float | None = None, watts: float | None = None) -> Point:
    gpus = [] if watts is None else [Gpu(index=0, name="a", power_watts=watts, samples=3)]
    return one.model_copy(update={"telemetry": Telemetry(cpu_cores=cores, gpu=gpus)})


def run(*trials: Trial) -> Result:
    found = result(*trials)
    study = found.study.model_copy(update={"objectives": ["maximize throughput", "minimize p99"]})
    return found.model_copy(update={"study": study})


FAST = trial(1, using(point(throughput=100, p99=0.001), cores=0.5))
KNEE = trial(2, using(point(throughput=900, p99=0.002), cores=1.0))
MOST = trial(3, using(point(throughput=1000, p99=0.009), cores=2.0))
MISSED = trial(4, using(point(throughput=5000, p99=0.0001, violations={"accuracy_drop": 1.0}), cores=0.1))


def test_each_pick_is_what_it_says() -> None:
    found = run(FAST, KNEE, MOST, MISSED)
    assert picked(found, "fastest") == 1
    assert picked(found, "knee") == 2
    assert picked(found, "cheapest") == 2


def test_the_cheapest_does_at_least_what_yours_does() -> None:
    own = trial(0, using(point(throughput=950, p99=0.005), cores=3.0))
    assert picked(run(own, FAST, KNEE, MOST), "cheapest") == 3


def test_with_a_gpu_energy_is_what_counts() -> None:
    thirsty = trial(1, using(point(throughput=100), cores=0.1, watts=300))
    thrifty = trial(2, using(point(throughput=100), cores=0.9, watts=100))
    assert picked(run(thirsty, thrifty), "cheapest") == 2


def test_a_point_whose_gpu_was_not_seen_is_not_taken_for_a_cheap_one() -> None:
    unseen = trial(1, using(point(throughput=100), cores=0.1))
    seen = trial(2, using(point(throughput=100), cores=0.9, watts=100))
    assert picked(run(unseen, seen), "cheapest") == 2


def test_an_infinite_latency_is_no_knee() -> None:
    assert picked(run(trial(5, point(throughput=2000, p99=math.inf)), FAST, KNEE, MOST), "knee") == 2


@pytest.mark.parametrize("pick", [pick for pick in MEANING if pick != "best"])
def test_nothing_is_picked_where_nothing_meets_the_slo(pick: Pick) -> None:
    with pytest.raises(NothingToPick, match=f"no {pick} one"):
        picked(run(MISSED), pick)


def test_the_best_is_the_recommended_one() -> None:
    with pytest.raises(NothingToPick, match="--trial N"):
        picked(run(FAST), "best")


def test_the_cheapest_needs_to_know_what_was_used() -> None:
    with pytest.raises(NothingToPick, match="was not measured"):
        picked(run(trial(1, point())), "cheapest")


def test_an_only_point_is_its_own_knee() -> None:
    assert picked(run(FAST), "knee") == 1


def test_the_fastest_does_at_least_what_yours_does_at_its_best() -> None:
    """Yours is measured at every load, the lowest too, where every server is fast."""
    own = trial(0, point(level=1, throughput=100, p99=0.0009), point(level=64, throughput=900, p99=0.009))
    found = run(
        own,
        trial(1, point(level=64, throughput=1500, p99=0.004)),
        trial(2, point(level=32, throughput=1200, p99=0.002)),
    )
    assert picked(found, "fastest") == 2
    idle = trial(3, point(level=1, throughput=150, p99=0.0005))
    assert picked(run(*found.trials, idle), "fastest") == 2


def test_where_an_open_loop_offers_the_same_to_all_a_few_answers_less_are_no_less() -> None:
    own = trial(0, point(mode="open", level=400, throughput=400.2, p99=0.005))
    assert picked(run(own, trial(1, point(mode="open", level=400, throughput=399.1, p99=0.002))), "fastest") == 1


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
def test_what_missed_its_slo_when_it_was_measured_again_is_not_picked(again: Side) -> None:
    assert picked(bounded(FAST, KNEE, MOST, shortlist=[side(KNEE), again]), "fastest") == 2
    made = Confirmation(candidate=again, baseline=side(KNEE), redeployments=2, rounds=2, gains={}, verdict="missed")
    assert picked(bounded(FAST, KNEE, MOST, confirmation=made), "fastest") == 2
    assert picked(bounded(FAST, KNEE, MOST, shortlist=[side(KNEE), side(FAST, "undecided")]), "fastest") == 1


def test_of_yours_the_load_that_missed_its_slo_again_is_left_out() -> None:
    own = trial(0, point(level=64, throughput=900, p99=0.009), point(level=1, throughput=80, p99=0.0009))
    missed = side(own, "missed")
    assert picked(bounded(own, FAST), "fastest") == 0
    assert picked(bounded(own, FAST, shortlist=[missed]), "fastest") == 0
    assert picked(bounded(own, trial(1, point(throughput=100, p99=0.0005)), shortlist=[missed]), "fastest") == 1


@pytest.mark.parametrize("pick", [pick for pick in MEANING if pick != "best"])
def test_nothing_is_picked_where_all_missed_the_slo_when_measured_again(pick: Pick) -> None:
    with pytest.raises(NothingToPick, match=f"measured again, so there is no {pick} one"):
        picked(bounded(FAST, shortlist=[side(FAST, "missed")]), pick)
