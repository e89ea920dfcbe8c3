"""A trial in a line."""

import pytest

from tests.tuner.result_builders import GOALS, point, trial
from tuner.objective import Goal
from tuner.results import Point, Validity
from tuner.space import Space
from tuner.trial_words import TrialWords


@pytest.mark.parametrize(("rate", "said"), [(11_776.2, "11,776/s"), (2.4, "2.4/s"), (0.4, "0.4/s")])
def test_a_low_throughput_has_its_decimals(rate: float, said: str) -> None:
    one = point(throughput=rate)
    goodput = {"goodput_rps": one.metrics["throughput_rps"]}
    made = trial(1, one.model_copy(update={"metrics": {**one.metrics, **goodput}}))
    assert TrialWords(Space(()), GOALS).outcome(made) == f"{said} p99 10 ms"


LATENCY_FIRST = (Goal(False, "steady", "p99"), Goal(True, "steady", "throughput"))
OWN = trial(0, point(level=1, throughput=900, p99=0.001), point(level=64, throughput=9000, p99=0.0095))


@pytest.mark.parametrize(("p99", "gain"), [(0.00095, 1.0526), (0.0011, 0.9091)])
def test_where_latency_comes_first_a_trial_meets_the_load_at_which_yours_has_the_least(p99: float, gain: float) -> None:
    words = TrialWords(Space(()), LATENCY_FIRST)
    assert words.top(OWN).load.level == 1
    assert words.gain(trial(3, point(level=1, throughput=950, p99=p99)), OWN) == pytest.approx(gain, abs=1e-4)
    assert words.values(OWN) == {"steady.p99": 0.001, "steady.throughput": 900}


def test_a_gain_of_throughput_is_that_of_the_best_loads_within_the_slo() -> None:
    words = TrialWords(Space(()), GOALS)
    over = point(level=64, throughput=5000, p99=0.02, violations={"p99": 1.0})
    made = trial(2, point(level=16, throughput=1800), over)
    own = trial(0, point(level=8, throughput=1000), point(level=16, throughput=1200), over)
    assert words.gain(made, own) == pytest.approx(1.5)
    assert words.missed(made) == []
    assert words.top(made).load.level == 16


@pytest.mark.parametrize(
    ("mode", "said"), [("closed", "at 16 in flight"), ("open", "at 16/s offered"), ("users", "at 16 users")]
)
def test_the_load_of_the_best_point_says_what_it_is_of(mode: str, said: str) -> None:
    made = trial(1, point(level=8, mode=mode, throughput=100), point(level=16, mode=mode, throughput=200))
    assert TrialWords(Space(()), GOALS).outcome(made) == f"200/s p99 10 ms {said}"


def spoiled(one: Point) -> Point:
    return one.model_copy(update={"validity": Validity(valid=False, reasons=["sent late"])})


def test_a_level_that_the_generator_spoiled_is_not_the_best_of_a_climb() -> None:
    words = TrialWords(Space(()), GOALS)
    made = trial(1, point(level=4, throughput=400), spoiled(point(level=8, throughput=800)))
    assert words.top(made).load.level == 4


def test_there_is_no_gain_over_a_baseline_that_misses_the_slo_of_another_workload() -> None:
    words = TrialWords(Space(()), GOALS)
    own = trial(0, point(), point("bursty", mode="open", violations={"p99": 0.5}))
    made = trial(1, point(throughput=300), point("bursty", mode="open"))
    assert words.gain(made, own) is None
    assert words.missed(own) == ["bursty.p99"]
    assert words.gain(made, trial(0, point(), point("bursty", mode="open"))) == pytest.approx(3.0)
