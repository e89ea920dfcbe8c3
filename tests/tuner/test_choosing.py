"""Which sampler `auto` is."""

import pytest

from targets.base import Knob
from tuner.choosing import Choice, choose_sampler
from tuner.space import Parameter, Space
from tuner.study.spec import BudgetSpec, SearchSpec

SPACE = Space(
    tuple(
        Parameter(Knob(name, "int", 1, None, 1, "", "live", ""), tuple(range(1, count + 1)), ordered=True)
        for name, count in (("a", 5), ("b", 6))
    )
)


def chosen(asked: str, trials: int, no_twin: str, trial_s: float = 2.0, left_s: float = 100.0) -> Choice:
    asked_for = SearchSpec(sampler=asked, budget=BudgetSpec(trials=trials))  # type: ignore[arg-type]
    return choose_sampler(asked_for, SPACE, no_twin, trial_s, left_s)


@pytest.mark.parametrize("trials", [29, 30])
def test_auto_is_the_twin_wherever_it_can_be_had(trials: int) -> None:
    said = f"the server can be simulated; {trials} trials for 30 configurations"
    assert chosen("auto", trials, "") == Choice("twin", said)
    assert chosen("auto", trials, "", trial_s=60.0) == Choice("twin", said)


@pytest.mark.parametrize(
    ("trials", "trial_s", "expected"),
    [
        (30, 2.0, Choice("grid", "30 trials and 100 s are enough for all 30 configurations; no twin: no batches")),
        (29, 2.0, Choice("tpe", "29 trials for 30 configurations; no twin: no batches")),
        (30, 60.0, Choice("tpe", "all 30 configurations take about 1800 s, and 100 s are left; no twin: no batches")),
    ],
)
def test_without_a_twin_auto_is_the_grid_where_trials_and_time_are_enough(
    trials: int, trial_s: float, expected: Choice
) -> None:
    assert chosen("auto", trials, "no batches", trial_s) == expected


def test_another_sampler_is_taken_as_the_study_says() -> None:
    assert chosen("qmc", 30, "") == Choice("qmc", "as the study says")


def test_where_no_time_is_left_there_is_none_for_a_grid() -> None:
    assert chosen("auto", 30, "no batches", left_s=-3.0).sampler == "tpe"
