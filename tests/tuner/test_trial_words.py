"""A trial in a line."""

import pytest

from tests.tuner.result_builders import GOALS, point, trial
from tuner.space import Space
from tuner.trial_words import TrialWords


@pytest.mark.parametrize(("rate", "said"), [(11_776.2, "11,776/s"), (2.4, "2.4/s"), (0.4, "0.4/s")])
def test_a_low_throughput_has_its_decimals(rate: float, said: str) -> None:
    one = point(throughput=rate)
    goodput = {"goodput_rps": one.metrics["throughput_rps"]}
    made = trial(1, one.model_copy(update={"metrics": {**one.metrics, **goodput}}))
    assert TrialWords(Space(()), GOALS).outcome(made) == f"{said} p99 10 ms"
