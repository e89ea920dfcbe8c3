"""The knee of a load curve, against a queue whose knee is known."""

import math

import pytest

from tests.tuner.result_builders import estimate
from tuner.load_knee import knee

RATES = [0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875]


def mm1(spread: float = 0.0) -> tuple[list, list]:  # type: ignore[type-arg]
    """Return throughput and mean response time of an M/M/1 queue with a capacity of 1, at RATES."""

    def around(value: float) -> object:
        return estimate(value, value * (1 - spread), value * (1 + spread))

    return [around(rate) for rate in RATES], [around(1 / (1 - rate)) for rate in RATES]


def test_the_knee_of_a_queue_with_one_server_is_at_half_its_capacity() -> None:
    found = knee(*mm1())
    assert found is not None
    assert (RATES[found.index], found.first, found.last) == (0.5, 3, 3)


def test_noise_widens_the_range_of_levels_that_may_be_the_knee() -> None:
    found = knee(*mm1(spread=0.05))
    assert found is not None
    assert (found.index, found.first, found.last) == (3, 2, 4)
    wider = knee(*mm1(spread=0.2))
    assert wider is not None
    assert wider.first < found.first


def test_it_depends_on_no_unit() -> None:
    throughput, latency = mm1()
    scaled = [estimate(one.value * 1e3) for one in throughput], [estimate(one.value * 1e-3) for one in latency]
    assert knee(*scaled) == knee(throughput, latency)


@pytest.mark.parametrize("part", [slice(0, 3), slice(3, 7), slice(2, 4)])
def test_there_is_none_beyond_the_levels_that_were_measured(part: slice) -> None:
    throughput, latency = mm1()
    assert knee(throughput[part], latency[part]) is None


def test_failures_are_no_power_and_missing_bounds_reach_without_end() -> None:
    throughput, latency = mm1()
    latency[4] = estimate(math.inf, -math.inf, math.inf)
    latency[5] = estimate(latency[5].value, -math.inf, math.inf)
    found = knee(throughput, latency)
    assert found is not None
    assert (found.index, found.last) == (3, 5)
    assert knee(throughput, [estimate(math.inf)] * 7) is None


def test_each_level_has_both() -> None:
    with pytest.raises(ValueError, match="7 and 6"):
        knee(mm1()[0], mm1()[1][1:])
