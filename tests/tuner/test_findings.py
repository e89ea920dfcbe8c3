"""What a result says of the baseline's place."""

from result_builders import GOALS, candidate, point, trial

from tuner.findings import front_point
from tuner.rank import candidates, pareto
from tuner.results import FrontPoint


def test_the_baseline_is_as_the_front_lists_it() -> None:
    own = candidates([trial(0, point(level=1, throughput=50, p99=0.001), point(level=2))], ["steady"], GOALS)
    front = pareto(own, GOALS)
    assert front_point(own[1], front) == front[1]
    assert front[1].membership == 1.0


def test_a_baseline_that_is_not_listed_has_no_membership() -> None:
    own, better = candidate(number=0), candidate(number=1, throughput=200)
    assert front_point(own, pareto([own, better], GOALS)) == FrontPoint(
        trial=0, point=0, meets_slo=True, membership=0.0, on_front=False
    )
