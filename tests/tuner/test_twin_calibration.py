"""The server's laws are read from its own statistics."""

from dataclasses import replace

import numpy as np
import pytest

from tuner.twin.calibration import Observation, Service, calibrate


def observation(
    sizes: list[float],
    *,
    variant: tuple[str, ...] = (),
    instances: int = 1,
    fixed_s: float = 6e-4,
    each_s: float = 6e-5,
    turnaround_s: float = 4e-4,
    handling_s: float = 2e-5,
    queue_s: float = 1e-3,
    idle_s: float = 1e-3,
) -> Observation:
    """Return what a server that keeps its laws exactly would show, its instances idle for so long per request."""
    counts = np.full(len(sizes), 100.0)
    batch = np.array(sizes)
    times_s = fixed_s + each_s * batch
    window_s = float(counts @ (times_s + idle_s * batch)) / instances
    bare = Observation(variant, instances, batch, counts, times_s, 0.0, queue_s, window_s)
    latency_s = queue_s + bare.service_s + turnaround_s + handling_s * bare.place_in_batch
    return replace(bare, latency_s=latency_s)


def test_laws_are_found_exactly_where_the_server_keeps_them() -> None:
    found = calibrate([observation([1, 2, 4]), observation([8])], cores=1)
    assert found is not None
    law = found.service((), 1)
    assert (law.fixed_s, law.each_s) == pytest.approx((6e-4, 6e-5))
    assert (found.turnaround_s, found.handling_s) == pytest.approx((4e-4, 2e-5))


def test_nothing_is_known_without_batches() -> None:
    assert calibrate([], cores=1) is None
    empty = np.empty(0)
    assert calibrate([Observation((), 1, empty, empty, empty, 0.01, 0.0, 1.0)], cores=1) is None


def test_each_variant_has_its_law() -> None:
    found = calibrate(
        [observation([1, 4], variant=("fp32",)), observation([1, 4], variant=("int8",), each_s=2e-5)], cores=1
    )
    assert found is not None
    assert found.service(("fp32",), 1).each_s == pytest.approx(6e-5)
    assert found.service(("int8",), 1).each_s == pytest.approx(2e-5)


def test_one_batch_size_says_how_slow_a_variant_is_and_not_how_it_grows() -> None:
    found = calibrate(
        [observation([1, 8], variant=("fp32",)), observation([8], variant=("int8",), fixed_s=3e-4, each_s=3e-5)],
        cores=1,
    )
    assert found is not None
    law = found.service(("int8",), 1)
    assert law.table(8)[8] == pytest.approx(3e-4 + 8 * 3e-5)
    assert law.table(16)[16] > 1.1 * law.table(8)[8]
    assert law.fixed_s > 0
    assert law.each_s > 0


def test_instances_that_were_not_measured_share_the_cores() -> None:
    found = calibrate([observation([1, 4])], cores=2)
    assert found is not None
    assert found.service((), 2).table(8) == pytest.approx(found.service((), 1).table(8))
    assert found.service((), 4).table(8) == pytest.approx(2 * found.service((), 1).table(8))


def test_instances_that_were_measured_are_as_slow_as_they_were() -> None:
    found = calibrate([observation([1, 4]), observation([1, 4], instances=2, fixed_s=1e-3, each_s=1e-4)], cores=4)
    assert found is not None
    law = found.service((), 2)
    assert (law.fixed_s, law.each_s) == pytest.approx((1e-3, 1e-4))
    assert found.service((), 3) == law


def test_a_latency_that_is_infinite_says_nothing_of_the_way() -> None:
    one = observation([1, 4])
    lost = replace(one, latency_s=np.inf)
    found, with_lost = calibrate([one], cores=1), calibrate([one, lost], cores=1)
    assert found is not None
    assert with_lost is not None
    assert found.turnaround_s == with_lost.turnaround_s
    assert calibrate([lost], cores=1) is not None


def test_a_size_that_was_executed_takes_as_long_as_it_took_and_larger_ones_follow_the_upper_ones() -> None:
    """A lone request is often a special case: here it takes a quarter of what a batch of 2 takes."""
    sizes, times = np.array([1.0, 2.0, 4.0, 8.0]), np.array([4e-4, 1.6e-3, 1.9e-3, 2.5e-3])
    one = Observation((), 1, sizes, np.full(4, 100.0), times, 0.01, 0.0, 1.0)
    found = calibrate([one], cores=1)
    assert found is not None
    table = found.service((), 1).table(16)
    assert table[[1, 2, 4, 8]] == pytest.approx(times)
    assert table[3] == pytest.approx(1.75e-3)
    assert table[16] == pytest.approx(2.5e-3 + 8 * 1.5e-4, rel=0.05)


def test_noise_does_not_make_a_larger_batch_faster() -> None:
    sizes, times = np.array([1.0, 2.0, 3.0]), np.array([1e-3, 3e-3, 2e-3])
    found = calibrate([Observation((), 1, sizes, np.array([1.0, 1.0, 3.0]), times, 0.01, 0.0, 1.0)], cores=1)
    assert found is not None
    assert found.service((), 1).table(3)[1:] == pytest.approx([1e-3, 2.25e-3, 2.25e-3])


def test_one_measurement_that_waited_elsewhere_does_not_hide_the_way_of_the_others() -> None:
    good = [observation([1, 2, 4]), observation([8])]
    one = observation([4])
    late = replace(one, latency_s=1.0)
    found = calibrate([*good, late], cores=1)
    assert found is not None
    assert found.turnaround_s < 0.02


def test_a_law_scales() -> None:
    law = Service(1.0, 2.0, (1.0, 4.0), (2.0, 9.0), 0.5)
    assert law.times(3).table(9) == pytest.approx(3 * law.table(9))
    assert law.times(3).held_s == 1.5


def test_instances_that_are_idle_though_there_is_work_are_held_by_their_answers() -> None:
    waited = observation([1, 4], handling_s=9e-5, idle_s=5e-4)
    saturated = observation([8], handling_s=9e-5, idle_s=6e-5)
    found = calibrate([waited, saturated], cores=4)
    assert found is not None
    assert found.handling_s == pytest.approx(9e-5)
    assert found.service((), 1).held_s == pytest.approx(6e-5)


def test_answers_hold_an_instance_no_longer_than_they_are_handled() -> None:
    found = calibrate([observation([1, 4], idle_s=2e-3), observation([8], idle_s=1e-3)], cores=4)
    assert found is not None
    assert found.service((), 1).held_s == pytest.approx(2e-5)


def test_handling_takes_no_longer_than_the_cores_were_without_a_batch() -> None:
    busy = [observation([1, 4], handling_s=9e-5, idle_s=6e-5), observation([8], handling_s=9e-5, idle_s=6e-5)]
    found, of_more = calibrate(busy, cores=1), calibrate(busy, cores=2)
    assert found is not None
    assert of_more is not None
    assert found.handling_s == found.service((), 1).held_s == pytest.approx(6e-5)
    assert of_more.handling_s == pytest.approx(9e-5), "the other core may handle them"


def test_one_measurement_of_many_that_is_hardly_idle_does_not_make_the_way_free() -> None:
    good = [observation(sizes, idle_s=3e-5) for sizes in ([1, 2], [8]) for _ in range(10)]
    found = calibrate([*good, observation([1, 2], idle_s=1e-9)], cores=1)
    assert found is not None
    assert found.service((), 1).held_s == pytest.approx(2e-5)


@pytest.mark.parametrize("instances", [1, 2])
def test_batches_of_one_size_do_not_tell_handling_from_turnaround_so_nothing_waits_for_it(instances: int) -> None:
    """A front end that is thought to be slow would be the limit of every configuration with more instances."""
    rng = np.random.default_rng(0)
    found = calibrate(
        [
            observation([1], instances=instances, turnaround_s=4e-4 * noise, idle_s=1e-3)
            for noise in rng.lognormal(0, 0.05, 6)
        ],
        cores=8,
    )
    assert found is not None
    assert found.handling_s < 1e-6
    assert found.turnaround_s == pytest.approx(4.2e-4, rel=0.1)


def test_the_turnaround_is_the_best_beside_the_handling_that_the_cores_have_time_for() -> None:
    busy = [observation([size], handling_s=9e-5, idle_s=6e-5) for size in (1, 4, 8)]
    found = calibrate(busy, cores=1)
    assert found is not None
    assert found.handling_s == pytest.approx(6e-5)
    assert 4e-4 < found.turnaround_s < 4e-4 + 3e-5 * 4.5


def test_a_measurement_without_any_idle_time_does_not_make_the_way_free() -> None:
    good = [observation([1, 4], idle_s=3e-5), observation([8], idle_s=3e-5)]
    found = calibrate([*good, replace(good[0], window_s=1e-3)], cores=1)
    assert found is not None
    assert found.service((), 1).held_s == pytest.approx(2e-5)
    assert found.handling_s == pytest.approx(2e-5)
