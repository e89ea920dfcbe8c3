"""What the calibrated simulation says of configurations under workloads."""

import numpy as np
import pytest
from workload_builders import workload

from targets.base import Knob
from tuner.twin.calibration import Calibration, Service
from tuner.twin.forecast import FORECAST, Forecaster, Roles, Server, server_of
from tuner.workload import Workload
from workloads.arrivals import Arrivals, Bursty, Constant, Poisson
from workloads.think import Always

ONE_MS = Calibration({((), 1): Service(1e-3, 1e-9), ((), 4): Service(1e-3, 1e-9)}, 4, 1e-9, 0.0)
ROLES = Roles("batch", "delay", "instances", ("precision",))


def server(batch: int = 1, delay_s: float = 0.0, instances: int = 1) -> Server:
    return Server((), batch, delay_s, instances)


def test_a_closed_loop_is_as_fast_as_the_server() -> None:
    found = Forecaster(ONE_MS).forecast([server(), server(8, 0.001)], [8, 8], workload("steady"))
    assert set(found) == set(FORECAST)
    assert found["throughput"] == pytest.approx([1000, 8000], rel=0.01)
    assert found["p99"] == pytest.approx([0.008, 0.001], rel=0.01)


def test_thousands_in_flight_wait_in_the_queue_at_the_throughput_of_fewer() -> None:
    found = Forecaster(ONE_MS).forecast([server(), server(instances=4)], [4096, 4096], workload("steady"))
    assert found["throughput"] == pytest.approx([1000, 4000], rel=0.01)
    assert found["mean"] == pytest.approx([4.096, 1.024], rel=0.01)


def test_a_batch_larger_than_can_ever_be_full_waits_out_its_delay() -> None:
    found = Forecaster(ONE_MS).forecast([server(65_536, 0.002)], [16], workload("steady"))
    assert found["throughput"] == pytest.approx([16 / 0.003], rel=0.01)


def test_think_time_is_no_latency() -> None:
    thinking = workload("steady")
    thinking = type(thinking)(**{**vars(thinking), "think": Always(0.009)})
    found = Forecaster(ONE_MS).forecast([server()], [1], thinking)
    assert found["throughput"] == pytest.approx([100], rel=0.01)
    assert found["p50"] == pytest.approx([0.001], rel=0.01)


def test_an_open_loop_has_its_own_rate_or_the_level_that_is_searched() -> None:
    open_loop = workload("open", Constant(100.0))
    found = Forecaster(ONE_MS).forecast([server(), server()], [None, 500.0], open_loop)
    assert found["throughput"] == pytest.approx([100, 500], rel=0.02)
    assert found["p99"] == pytest.approx([0.001, 0.001], rel=0.01)


def test_a_burst_waits_for_itself() -> None:
    found = Forecaster(ONE_MS).forecast([server(), server(10)], [None, None], workload("bursty", Bursty(10, 0.1)))
    assert found["p99"] == pytest.approx([0.010, 0.001], rel=0.05)
    assert found["p50"][1] < found["p50"][0]


def test_an_overload_has_a_long_latency_and_the_servers_throughput() -> None:
    found = Forecaster(ONE_MS).forecast([server()], [None], workload("open", Poisson(5000.0)))
    assert found["throughput"] == pytest.approx([1000], rel=0.05)
    assert found["p99"][0] > 0.2


def test_what_was_simulated_is_known() -> None:
    one = Forecaster(ONE_MS)
    first = one.forecast([server(), server(), server(2)], [4, 4, 4], workload("steady"))
    again = one.forecast([server(2), server()], [4, 4], workload("steady"))
    assert again["p99"] == pytest.approx(first["p99"][[2, 0]])


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"batch": 8, "delay": 0.001, "instances": 2, "precision": "int8"}, Server(("int8",), 8, 0.001, 2)),
        ({}, Server(("",), 1, 0.0, 1)),
        ({"batch": 0, "delay": 0.0, "instances": 0, "precision": "fp32"}, Server(("fp32",), 1, 0.0, 1)),
    ],
)
def test_a_configuration_is_what_its_roles_say(config: dict[str, Knob], expected: Server) -> None:
    assert server_of(config, ROLES) == expected  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("levels", "default", "expected"),
    [
        (0, 0, [0, 0, 0, 0]),
        (0, 1, [1, 1, 1, 1]),
        (1, 1, [1, 1, 1, 1]),
        (2, 2, [2, 1, 2, 2]),
        (2, 1, [1, 1, 2, 1]),
        (3, 2, [2, 1, 2, 3]),
    ],
)
def test_a_request_without_a_level_of_the_queue_is_on_the_default_one(
    levels: int, default: int, expected: list[int]
) -> None:
    one = Server((), 1, 0.0, 1, levels, default)
    assert [one.level_of(priority) for priority in range(4)] == expected


def test_a_model_without_dynamic_batching_has_one_queue() -> None:
    roles = Roles("batch", "delay", "instances", (), "levels", "default")
    config = {"batch": 8, "instances": 1, "levels": 2, "default": 2}
    assert server_of(config, roles) == Server((), 1, 0.0, 1)
    assert server_of({**config, "delay": 0.0}, roles) == Server((), 8, 0.0, 1, 2, 2)


LEVELS = Server((), 1, 0.0, 1, 2, 2)
MIX = {"bulk": 8.0, "urgent": 2.0}


def mixed(arrivals: Arrivals | None = None) -> Workload:
    return workload("mixed", arrivals, mix=MIX, priorities={"urgent": 1})


def of_parts(one: Workload, server: Server, level: float | None) -> list[dict[str, float]]:
    """Return the forecast of all requests, and of each class."""
    forecaster = Forecaster(ONE_MS)
    found = (forecaster.forecast([server], [level], one, index) for index in (None, 0, 1))
    return [{name: float(values[0]) for name, values in part.items()} for part in found]


@pytest.mark.parametrize("arrivals", [None, Poisson(700.0)])
def test_without_levels_the_classes_have_the_latencies_of_all(arrivals: Arrivals | None) -> None:
    whole, bulk, urgent = of_parts(mixed(arrivals), server(), None if arrivals else 8)
    for part, share in ((bulk, 0.8), (urgent, 0.2)):
        assert part["throughput"] == pytest.approx(share * whole["throughput"])
        assert {name: part[name] for name in ("mean", "p50", "p99")} == {
            name: whole[name] for name in ("mean", "p50", "p99")
        }


def test_in_a_closed_loop_the_urgent_ones_wait_for_what_is_served_and_for_each_other() -> None:
    whole, bulk, urgent = of_parts(mixed(), LEVELS, 32)
    assert whole["throughput"] == pytest.approx(1000, rel=0.01)
    assert urgent["throughput"] == pytest.approx(200, rel=0.01)
    assert urgent["mean"] < 0.003
    assert bulk["mean"] == pytest.approx((32 - 200 * urgent["mean"]) / 800, rel=0.05)


def test_thousands_in_flight_wait_behind_the_urgent_ones() -> None:
    _, bulk, urgent = of_parts(mixed(), LEVELS, 4096)
    assert urgent["p99"] < 0.01
    assert bulk["mean"] == pytest.approx(4096 / 800, rel=0.05)


def test_an_overload_of_the_last_level_is_none_of_the_first() -> None:
    whole, bulk, urgent = of_parts(mixed(Poisson(2000.0)), LEVELS, None)
    assert whole["throughput"] == pytest.approx(1000, rel=0.05)
    assert urgent["throughput"] == pytest.approx(400, rel=0.1)
    assert bulk["throughput"] == pytest.approx(600, rel=0.1)
    assert urgent["p99"] < 0.02
    assert bulk["p50"] > 0.1


def test_who_is_urgent_arrives_when_the_schedule_says() -> None:
    """Bursts of ten, two of them urgent in the mean: these are done when as many were served, whoever came first."""
    _, bulk, urgent = of_parts(mixed(Bursty(10, 0.1)), LEVELS, None)
    assert urgent["p50"] < 0.0035
    assert bulk["p50"] > 0.0045
    assert bulk["p99"] == pytest.approx(0.010, rel=0.01)


def test_latencies_of_a_forecast_are_in_order() -> None:
    found = Forecaster(ONE_MS).forecast([server(4, 0.003)], [None], workload("open", Poisson(700.0)))
    percentiles = [found[name][0] for name in ("p50", "p90", "p95", "p99")]
    assert np.all(np.diff(percentiles) >= 0)
