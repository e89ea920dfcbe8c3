"""Pauses of a closed loop's slots."""

import math

import numpy as np
import pytest
from scipy import stats

from workloads import think


def test_times_that_are_all_the_same_are_said_once() -> None:
    assert think.Always(0.5).draw(100, np.random.default_rng(0)).tolist() == [0.5]
    assert think.NONE.draw(100, np.random.default_rng(0)).tolist() == [0.0]


@pytest.mark.parametrize(
    ("pauses", "law"),
    [
        (think.Exponential(2.0), stats.expon(scale=2.0)),
        (think.Uniform(1.0, 3.0), stats.uniform(1.0, 2.0)),
        (think.LogNormal(2.0, 0.5), stats.lognorm(0.5, scale=math.exp(math.log(2.0)))),
    ],
)
def test_times_follow_their_law(pauses: think.Pauses, law: stats.rv_continuous) -> None:
    drawn = pauses.draw(5_000, np.random.default_rng(1))
    assert stats.kstest(drawn, law.cdf).pvalue > 0.01


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: think.Exponential(0.0), "`mean` must be > 0"),
        (lambda: think.Uniform(2.0, 1.0), "`0 <= low <= high` must hold"),
        (lambda: think.LogNormal(0.0, 1.0), "`median` must be > 0"),
    ],
)
def test_says_what_is_wrong(make: object, message: str) -> None:
    assert callable(make)
    with pytest.raises(ValueError, match=message):
        make()
