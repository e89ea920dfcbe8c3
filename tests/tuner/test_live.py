"""The lines of a run: what each trial came to, and the view's row of the best."""

import pytest
from rich.console import Console

from tests.tuner.result_builders import GOALS, estimate, point, trial
from tuner.live import Live
from tuner.objective import Goal
from tuner.results import Point, Trial, TrialState, Validity
from tuner.run_info import MetricInfo
from tuner.space import Space
from tuner.trial_words import TrialWords

REASON = "steady: the load generator sent late"


def measured(throughput: float, level: float = 1, p99: float = 0.01, *, valid: bool = True) -> Point:
    one = point(level=level, throughput=throughput, p99=p99)
    goodput = {"goodput_rps": one.metrics["throughput_rps"]}
    validity = Validity(valid=valid, reasons=[] if valid else [REASON])
    return one.model_copy(update={"metrics": {**one.metrics, **goodput}, "validity": validity})


def ended(number: int, *points: Point, state: TrialState = "invalid") -> Trial:
    return trial(number, *points, state=state).model_copy(update={"reason": REASON})


def view(live: Live) -> str:
    """Return what stands on a terminal."""
    console = Console(width=200, record=True)
    console.print(live._view())
    return console.export_text()


def test_a_baseline_that_was_spoiled_in_part_has_its_numbers_and_the_reason(capsys: pytest.CaptureFixture[str]) -> None:
    with Live(Space(()), GOALS, quiet=False) as live:
        live.trial(ended(0, measured(200, 2), measured(100, 4, valid=False)), None)
    assert capsys.readouterr().err.strip() == (
        f"yours  2 points, the best with  200/s p99 10 ms  (in part not used: {REASON})"
    )


def test_a_trial_that_was_spoiled_whole_has_its_reason_alone(capsys: pytest.CaptureFixture[str]) -> None:
    with Live(Space(()), GOALS, quiet=False) as live:
        for number in (0, 1):
            live.trial(ended(number, measured(200, valid=False)), None)
    said = [line.split() for line in capsys.readouterr().err.splitlines()]
    assert said == [["yours", "invalid:", *REASON.split()], ["trial", "1", "invalid:", *REASON.split()]]


def test_the_best_has_its_numbers_and_the_failures_their_reason() -> None:
    with Live(Space(()), GOALS, quiet=True) as live:
        live.trial(trial(0, measured(100)), None)
        best = ended(1, measured(150), measured(50, 2, valid=False))
        live.trial(best, best)
        rows = view(live)
    assert "trial 1: 1.50x yours, 150/s p99 10 ms" in rows
    assert f"1 invalid; last: trial 1, invalid: {REASON}" in rows


def test_a_gain_on_what_is_minimised_is_said_to_be_lower() -> None:
    with Live(Space(()), (Goal(False, "steady", "p99"),), quiet=True) as live:
        live.trial(trial(0, measured(100, p99=0.02)), None)
        best = trial(1, measured(100, p99=0.01))
        live.trial(best, best)
        assert "trial 1: 2.00x lower than yours, p99 10 ms" in view(live)


@pytest.mark.parametrize(
    ("metric", "value", "said"),
    [
        ("gpu_memory", 2**30 * 11.5, "gpu_memory 11,776.0 MiB"),
        ("energy_per_inference", 0.0123, "energy_per_inference 12.3 mJ"),
        ("server_cpu", 1.5, "server_cpu 1.50 cores"),
        ("accuracy", 0.9722, "accuracy 97.22%"),
        ("request_duration", 0.00213, "request_duration 2.13 ms"),
        ("pending", 12_345.6, "pending 12,346"),
    ],
)
def test_every_number_has_its_unit(metric: str, value: float, said: str) -> None:
    goal = Goal(True, "steady", metric)
    one = point()
    metrics = {**one.metrics, goal.key: estimate(value), "goodput_rps": estimate(100.0)}
    own = [
        MetricInfo(name="request_duration", unit="s", doc="of its own"),
        MetricInfo(name="pending", unit="", doc="of its own"),
    ]
    words = TrialWords(Space(()), [goal], own)
    assert words.outcome(trial(1, one.model_copy(update={"metrics": metrics}))) == said
