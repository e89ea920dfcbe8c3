"""What samplers are told of: of many trials the best and the newest, in their order."""

from pathlib import Path

import numpy as np
import optuna
import pytest
from optuna.distributions import IntDistribution
from optuna.samplers import RandomSampler
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState
from result_builders import GOALS, point, trial

from targets.base import Knob
from tuner.asking import Asked, Ranked, best_and_newest
from tuner.objective import Objective
from tuner.search import Search
from tuner.space import Parameter, Space
from tuner.storage import open_storage

UP, DOWN = StudyDirection.MAXIMIZE, StudyDirection.MINIMIZE
LEVELS = 200
SPACE = Space((Parameter(Knob("batch", "int", None, None, 1, "", "reload", ""), tuple(range(LEVELS)), True, None),))


def told(*values: float, violation: float = 0.0) -> FrozenTrial:
    return optuna.create_trial(
        params={"batch": 0},
        distributions={"batch": IntDistribution(0, LEVELS - 1)},
        values=values,
        constraints={"steady.p99": violation},
    )


def chance(count: int, seed: int) -> list[FrozenTrial]:
    rng = np.random.default_rng(seed)
    return [
        told(*map(float, rng.integers(20, size=2)), violation=float(rng.choice([0.0, 0.0, 1.0]))) for _ in range(count)
    ]


def test_the_best_are_those_within_the_bounds_then_those_that_come_closest() -> None:
    some = [told(1.0), told(9.0, violation=2.0), told(3.0), told(4.0, violation=0.1), told(2.0)]
    assert Ranked(UP).best(some, 4) == [2, 4, 0, 3]
    assert Ranked(DOWN).best(some, 2) == [0, 4]


def test_the_best_after_each_trial_are_those_of_all_that_came() -> None:
    some, kept_up = chance(60, seed=1), Ranked(DOWN, objective=1)
    for count in (1, 7, 40, 41, 60, 30):
        assert kept_up.best(some[:count], 9) == Ranked(DOWN, objective=1).best(some[:count], 9)


def test_of_a_few_trials_a_sampler_is_told_of_all() -> None:
    assert list(best_and_newest(chance(10, seed=1), [Ranked(UP)], 10)) == list(range(10))


def test_of_many_it_is_told_of_the_best_and_of_the_newest_of_all_others() -> None:
    some = [told(float(value)) for value in (9, 1, 2, 8, 3, 7, 4, 5)]
    assert list(best_and_newest(some, [Ranked(UP)], 4)) == [0, 3, 6, 7]


def test_with_several_objectives_the_best_on_each_are_among_them() -> None:
    some = [told(9.0, 9.0), told(5.0, 1.0), told(8.0, 8.0), told(4.0, 2.0), *(told(1.0, 20.0) for _ in range(9))]
    assert list(best_and_newest(some, [Ranked(UP), Ranked(DOWN, 1)], 8)) == [0, 1, 2, 3, 9, 10, 11, 12]


@pytest.mark.parametrize("objectives", [1, 2])
def test_what_was_left_out_once_stays_so(objectives: int) -> None:
    some = chance(200, seed=objectives)
    ranked = [Ranked(UP), Ranked(DOWN, 1)][:objectives]
    before: set[int] = set()
    for count in range(1, len(some) + 1):
        kept = set(best_and_newest(some[:count], ranked, 20))
        assert kept - {count - 1} <= before
        before = kept


class Listening(RandomSampler):
    """Keeps what it could have learnt from."""

    def __init__(self) -> None:
        super().__init__(seed=1)
        self.values: list[float] = []

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        found = study.get_trials(deepcopy=True, states=(TrialState.COMPLETE,))
        self.values = [one.values[0] for one in found]
        assert all(one.number < trial.number for one in found)


def heard(asked: Asked, some: list[FrozenTrial], of: list[int] | None) -> list[float]:
    sampler = Listening()
    asked.ask(sampler, SPACE, some, of)
    return sampler.values


def test_a_sampler_sees_what_it_is_told_of_alone_and_in_the_order_of_the_trials() -> None:
    some, asked = [told(float(one)) for one in range(6)], Asked([UP])
    assert heard(asked, some, [0, 3]) == [0.0, 3.0]
    assert heard(asked, some, [3, 5]) == [3.0, 5.0]
    assert heard(asked, some, []) == []
    assert heard(asked, some, [1, 3, 4]) == [1.0, 3.0, 4.0]
    assert heard(asked, some, None) == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]


def a_search(folder: Path) -> Search:
    return Search(open_storage("sqlite", folder), SPACE, GOALS, "tpe", 3)


def test_after_more_trials_than_it_is_told_of_a_reopened_study_proposes_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tuner.search.MOST_TOLD", 12)

    def tell(to: Search) -> int:
        proposal = to.ask()
        assert proposal is not None
        batch = int(proposal.config["batch"])
        made = trial(proposal.number, point("steady", float(batch)))
        to.tell(made, Objective((float(batch % 50), 1.0 + batch), {"steady.p99": float(batch > 100)}))
        return batch

    folders = [tmp_path / name for name in ("whole", "parts")]
    for folder in folders:
        folder.mkdir()
    whole = a_search(folders[0])
    expected = [tell(whole) for _ in range(50)]
    assert [tell(a_search(folders[1])) for _ in range(50)] == expected
