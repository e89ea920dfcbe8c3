"""What knobs explain: known effects are found, their intervals cover them, and noise is called noise."""

import numpy as np
import pytest
from numpy.typing import NDArray

from tuner.effects import Effect, Factor, effects

SLOPE = np.linspace(-1, 1, 6) * 0.4
SIDES = np.array([-0.15, 0.15])
NOISE = 0.2
TOTAL = float((SLOPE**2).mean() + (SIDES**2).mean() + NOISE**2)


def simulated(rng: np.random.Generator, n: int = 40) -> list[Effect]:
    """Return the effects of a knob with a slope, one with two sides, and one that does nothing."""
    a, b, c = rng.integers(0, 6, n), rng.integers(0, 2, n), rng.integers(0, 4, n)
    values = np.exp(SLOPE[a] + SIDES[b] + rng.normal(0, NOISE, n))
    found = effects([Factor("a", a, 6, True), Factor("b", b, 2, False), Factor("c", c, 4, True)], values)
    assert found is not None
    return found


def test_intervals_of_shares_and_ratios_cover_the_truth_and_noise_is_seldom_taken_for_an_effect() -> None:
    rng = np.random.default_rng(20261127)
    runs = [simulated(rng) for _ in range(200)]
    shares = [(SLOPE**2).mean() / TOTAL, (SIDES**2).mean() / TOTAL, 0.0]
    for index, share in enumerate(shares):
        covered = np.mean([run[index].low <= share <= run[index].high for run in runs])
        assert covered >= 0.93, (index, covered)
    between = np.exp(SIDES[1] - SIDES[0])
    # A ratio against the mean over the observations; the difference of its two values is free of that mean.
    covered = np.mean([_covers(run[1], between) for run in runs])
    assert covered >= 0.93
    assert np.mean([run[2].distinguishable for run in runs]) <= 0.07
    assert np.mean([run[0].distinguishable for run in runs]) > 0.95


def _covers(effect: Effect, between: float) -> bool:
    """Whether the interval of the ratio of two values covers it: both move around one mean, so their widths add up."""
    low = np.log(effect.ratio_low[1]) - np.log(effect.ratio_high[0])
    high = np.log(effect.ratio_high[1]) - np.log(effect.ratio_low[0])
    return bool(low <= np.log(between) <= high)


def test_without_noise_shares_are_exact_and_a_parabola_is_found() -> None:
    grid = np.array([(a, b) for a in range(5) for b in range(2) for _ in range(2)])
    bend = -((np.arange(5) - 2.0) ** 2) / 4
    logs = bend[grid[:, 0]] + SIDES[grid[:, 1]]
    found = effects([Factor("a", grid[:, 0], 5, True), Factor("b", grid[:, 1], 2, False)], np.exp(logs))
    assert found is not None
    assert found[0].share + found[1].share == pytest.approx(1.0, abs=1e-6)
    assert found[1].share == pytest.approx((SIDES**2).mean() / logs.var(), abs=1e-6)
    assert np.argmax(found[0].ratio) == 2
    assert found[1].ratio == pytest.approx(np.exp(SIDES))
    assert found[0].partial == pytest.approx(found[0].ratio[grid[:, 0]])


def test_knobs_that_always_change_together_are_called_so() -> None:
    rng = np.random.default_rng(1)
    a, c = rng.integers(0, 2, 30), rng.integers(0, 2, 30)
    values = np.exp(0.5 * a + rng.normal(0, 0.05, 30))
    found = effects([Factor("a", a, 2, False), Factor("b", 1 - a, 2, False), Factor("c", c, 2, False)], values)
    assert found is not None
    assert [one.confounded for one in found] == [True, True, False]
    assert not found[0].distinguishable
    assert found[0].share == 0.0


def test_an_interaction_makes_an_effect_uncertain_rather_than_certain() -> None:
    rng = np.random.default_rng(2)
    a, b = rng.integers(0, 2, 60), rng.integers(0, 2, 60)
    values = np.exp(np.where(a == b, 0.5, -0.5) + rng.normal(0, 0.05, 60))
    found = effects([Factor("a", a, 2, False), Factor("b", b, 2, False)], values)
    assert found is not None
    assert not any(one.distinguishable for one in found)


def levels(*values: int) -> NDArray[np.int64]:
    return np.array(values, np.int64)


def test_too_few_observations_tell_nothing() -> None:
    six = Factor("a", levels(0, 1, 0, 1, 0, 1), 2, False)
    assert effects([six], np.array([1.0, 2, 1, 2, 1, 2.1])) is None, "4 to spare"
    seven = Factor("a", levels(0, 1, 0, 1, 0, 1, 0), 2, False)
    assert effects([seven], np.array([1.0, 2, 1, 2, 1, 2.1, 1])) is not None
    assert effects([seven], np.ones(7)) is None, "nothing to explain"
    assert effects([Factor("a", levels(), 2, False)], np.zeros(0)) is None


def test_a_knob_with_one_value_explains_nothing_and_is_not_confounded() -> None:
    rng = np.random.default_rng(3)
    a = rng.integers(0, 2, 20)
    found = effects(
        [Factor("a", a, 2, False), Factor("fixed", np.zeros(20, np.int64), 1, True)],
        np.exp(a + rng.normal(0, 0.1, 20)),
    )
    assert found is not None
    assert (found[1].share, found[1].high, found[1].confounded, found[1].distinguishable) == (0.0, 0.0, False, False)


@pytest.mark.parametrize("value", [0.0, -1.0, np.inf, np.nan])
def test_what_has_no_logarithm_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match="logarithm"):
        effects([Factor("a", levels(0, 1), 2, False)], np.array([1.0, value]))


def test_each_value_has_a_level() -> None:
    with pytest.raises(ValueError, match="each of the 3 values"):
        effects([Factor("a", levels(0, 1), 2, False)], np.array([1.0, 2.0, 3.0]))
