"""What a change costs is learnt from the changes that were made."""

import pytest
from result_builders import trial

from targets.base import Value
from tuner.applying import FIRST_S, changed, learn_costs
from tuner.results import Trial, TrialState


def tried(apply_s: float, state: TrialState = "complete", **config: Value) -> Trial:
    return trial(1, config=config, state=state).model_copy(update={"apply_s": apply_s})


def test_nothing_is_known_at_first() -> None:
    assert learn_costs([]).of({"a": 1}, {"a": 2}) == FIRST_S
    assert learn_costs([tried(9.0, a=1)]).of({"a": 1}, {"a": 2}) == FIRST_S


def test_the_load_costs_nothing() -> None:
    assert changed({"a": 1, "concurrency": 1}, {"a": 1, "concurrency": 64}) == []
    assert learn_costs([]).of({"a": 1, "rate": 1.0}, {"a": 1, "rate": 2.0}) == 0


def test_what_changes_together_costs_as_much_as_its_dearest() -> None:
    trials = [tried(5, a=1, b=1), tried(0.2, a=2, b=1), tried(1.5, a=2, b=2), tried(1.6, a=1, b=1)]
    costs = learn_costs(trials)
    assert costs.knobs == {"a": 0.2, "b": 1.5}
    assert costs.of({"a": 1, "b": 1}, {"a": 2, "b": 2}) == 1.5
    assert costs.of({"a": 1, "b": 1}, {"a": 2, "b": 1}) == 0.2


def test_a_knob_that_never_changed_alone_has_the_cost_of_the_smallest_change() -> None:
    costs = learn_costs([tried(5, a=1, b=1, c=1), tried(3, a=2, b=2, c=2), tried(1, a=3, b=3, c=2)])
    assert costs.knobs == {"a": 1, "b": 1, "c": 3}


@pytest.mark.parametrize("state", ["refused", "crashed", "hung"])
def test_what_comes_after_a_failure_says_nothing(state: TrialState) -> None:
    """What was loaded then is not known; a server that crashed had to be started again."""
    costs = learn_costs([tried(1, a=1), tried(7, state, a=2), tried(9, a=3), tried(2, a=4)])
    assert costs.knobs == {"a": 2}
