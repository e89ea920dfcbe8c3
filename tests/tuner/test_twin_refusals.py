"""What the server does not take, learnt trial by trial."""

from collections.abc import Sequence

import numpy as np
import pytest
from result_builders import point, trial

from targets.base import Config, Knob
from tuner.results import Trial
from tuner.space import Parameter, Space
from tuner.twin.places import places
from tuner.twin.refusals import AT_ONCE, Floats, Refusals, fails

BATCHES = tuple(range(1, 11))
SPACE = Space((Parameter(Knob("batch", "int", None, None, 1, "", "reload", ""), BATCHES, ordered=True),))
CONFIGS = [{"batch": batch} for batch in BATCHES]


def tried(count: int) -> list[Trial]:
    """Try every batch size in turn; those of more than 7 are refused."""
    batches = [BATCHES[number * 3 % 10] for number in range(count)]
    return [
        trial(number, config={"batch": batch}, state="refused")
        if batch > 7
        else trial(number, point(), config={"batch": batch})
        for number, batch in enumerate(batches)
    ]


def test_while_nothing_failed_everything_is_taken() -> None:
    assert Refusals(SPACE, "concurrency").chances(tried(2), CONFIGS) == pytest.approx(np.ones(10))


def test_what_failed_and_what_is_near_it_is_less_likely_to_be_taken() -> None:
    chances = Refusals(SPACE, "concurrency").chances(tried(10), CONFIGS)
    assert chances[9] < 0.5 < chances[0]
    assert chances[6] < chances[0]


def test_trials_that_are_added_change_it_as_if_all_had_come_at_once() -> None:
    trials = tried(2 * AT_ONCE + 7)
    growing = Refusals(SPACE, "concurrency")
    for count in (5, 6, AT_ONCE, len(trials)):
        found = growing.chances(trials[:count], CONFIGS)
        assert (found == Refusals(SPACE, "concurrency").chances(trials[:count], CONFIGS)).all()


def test_trials_that_are_others_than_before_are_not_mixed_with_them() -> None:
    one = Refusals(SPACE, "concurrency")
    one.chances(tried(10), CONFIGS)
    others = tried(20)[10:]
    assert (one.chances(others, CONFIGS) == Refusals(SPACE, "concurrency").chances(others, CONFIGS)).all()


def test_trials_of_other_hosts_that_come_in_between_are_added_to_those_that_are_known(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    trials = tried(30)
    one = Refusals(SPACE, "concurrency")
    one.chances([*trials[:10], *trials[20:]], CONFIGS)
    expected = Refusals(SPACE, "concurrency").chances(trials, CONFIGS)
    placed: list[int] = []

    def listening(space: Space, configs: Sequence[Config], level_name: str | None) -> Floats:
        placed.append(len(configs))
        return places(space, configs, level_name)

    monkeypatch.setattr("tuner.twin.refusals.places", listening)
    assert one.chances(trials, CONFIGS) == pytest.approx(expected)
    assert placed == [10]


def test_a_bound_on_what_is_simulated_is_left_to_the_forecast() -> None:
    missed = {name: trial(1, point(violations={name: 0.5})) for name in ("throughput_at_least", "p99", "error_rate")}
    assert [name for name, one in missed.items() if fails(one)] == ["error_rate"]
