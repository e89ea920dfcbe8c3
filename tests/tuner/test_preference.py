"""What ranks when there are several objectives."""

import math

import numpy as np
import pytest

from tuner.preference import FIRST, FURTHEST, Preference, best_values, regrets

MAXIMIZE = [True, False]
VALUES = np.array([[100.0, 0.010], [90.0, 0.004], [50.0, 0.002]])
BESTS = best_values(VALUES, MAXIMIZE)


def best(preference: Preference) -> int:
    return int(np.argmax(preference.scores(VALUES, BESTS, MAXIMIZE)))


def test_regrets_are_what_falls_short_of_the_best_of_each() -> None:
    assert list(BESTS) == [100.0, 0.002]
    assert regrets(VALUES, BESTS, MAXIMIZE) == pytest.approx(np.array([[0.0, 0.8], [0.1, 0.5], [0.5, 0.0]]))


def test_each_preference_has_its_best() -> None:
    assert best(FIRST) == 0
    assert best(Preference("robust")) in (1, 2)
    assert best(Preference("weighted", (1.0, 0.0))) == 0
    assert best(Preference("weighted", (9.0, 1.0))) == 0
    assert best(Preference("weighted", (1.0, 9.0))) == 2


def test_the_robust_choice_has_the_smallest_of_the_largest_regrets() -> None:
    values = np.array([[100.0, 0.010], [80.0, 0.0025], [50.0, 0.002]])
    scores = Preference("robust").scores(values, best_values(values, MAXIMIZE), MAXIMIZE)
    assert scores == pytest.approx([-0.8, -0.2, -0.5])


def test_the_first_objective_may_be_one_to_minimize() -> None:
    assert list(FIRST.scores(np.array([[2.0], [1.0]]), np.array([1.0]), [False])) == [-2.0, -1.0]


def test_a_latency_without_a_bound_is_all_regret() -> None:
    assert regrets(np.array([[math.inf]]), np.array([0.1]), [False])[0, 0] == 1.0
    assert regrets(np.array([[0.0]]), np.array([0.0]), [True])[0, 0] == 0.0


def test_of_scores_below_0_the_one_nearer_to_0_is_regretted_less() -> None:
    """A function that judges answers may return them: -2 is worse than -1, and no better than it by a factor of 2."""
    values = np.array([[100.0, -1.0], [90.0, -1.5], [100.0, -3.0]])
    bests = best_values(values, [True, True])
    assert list(bests) == [100.0, -1.0]
    assert regrets(values, bests, [True, True])[:, 1] == pytest.approx([0.0, 0.5, 2.0])
    for preference in (Preference("robust"), Preference("weighted", (1.0, 1.0))):
        assert np.argsort(-preference.scores(values, bests, [True, True])).tolist() == [0, 1, 2]


def test_what_is_minimized_may_be_below_0_too() -> None:
    values = np.array([[-2.0], [-1.0], [1.0], [math.inf]])
    assert regrets(values, np.array([-2.0]), [False])[:, 0] == pytest.approx([0.0, 0.5, 1.5, FURTHEST])


def test_below_a_best_of_0_all_is_lost() -> None:
    assert list(regrets(np.array([[0.0], [-1.0], [-7.0]]), np.array([0.0]), [True])[:, 0]) == [0.0, 1.0, 1.0]


def test_a_score_below_0_beside_a_best_above_it_is_regretted_more_than_one_of_0() -> None:
    assert regrets(np.array([[0.5], [0.0], [-0.5]]), np.array([0.5]), [True])[:, 0] == pytest.approx([0.0, 1.0, 2.0])
