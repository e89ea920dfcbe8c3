"""Means, largest values and energy of samples, against numbers worked out by hand."""

import numpy as np
import pytest

from tuner.telemetry.nvml import REASONS, Device
from tuner.telemetry.series import Samples, Series, columns
from tuner.telemetry.summary import summarised
from tuner.usage import Gpu

MS = 1_000_000
GPU = Device(0, None, "stub", None, None, None)


def series(times_ms: list[float], host: dict[str, list[float]], gpu: dict[str, list[float]] | None = None) -> Series:
    def arrays(fields: dict[str, list[float]]) -> Samples:
        return {name: np.array(values) for name, values in fields.items()}

    devices = [(GPU, arrays(gpu))] if gpu is not None else []
    return Series(np.array([round(time * MS) for time in times_ms], np.int64), arrays(host), devices, ("why",), 0.002)


def of_gpu(times_ms: list[float], **fields: list[float]) -> Gpu:
    (gpu,) = summarised(series(times_ms, {}, fields)).gpu
    return gpu


def test_cores_are_cpu_seconds_per_second_of_the_window() -> None:
    used = summarised(series([0, 100, 200], {"server_cpu_s": [5.0, 5.2, 5.3]}))
    assert used.cpu_cores == pytest.approx(1.5)
    assert used.cpu_cores_max == pytest.approx(2.0)
    assert (used.samples, used.sampled_s, used.notes) == (3, 0.2, ["why"])
    assert used.sampler_cpu_share == pytest.approx(0.01)


def test_a_last_sample_right_after_another_makes_no_peak() -> None:
    used = summarised(series([0, 100, 200, 201], {"server_cpu_s": [0.0, 0.1, 0.2, 0.21]}))
    assert used.cpu_cores_max == pytest.approx(1.0)
    assert used.cpu_cores == pytest.approx(0.21 / 0.201)


def test_memory_is_the_largest_and_the_mean() -> None:
    used = summarised(series([0, 100], {"server_rss_bytes": [100.0, 300.0]}))
    assert (used.rss_bytes, used.rss_mean_bytes) == (300, 200.0)


def test_steal_and_use_are_shares_of_the_hosts_cpu_time() -> None:
    host = {
        "host_load": [1.0, np.nan, 3.0],
        "host_cpu_s": [100.0, np.nan, 104.0],
        "host_used_s": [50.0, np.nan, 52.0],
        "host_steal_s": [1.0, np.nan, 1.1],
    }
    used = summarised(series([0, 100, 200], host))
    assert (used.host_load, used.host_cpu_share) == (2.0, 0.5)
    assert used.steal_share == pytest.approx(0.025)


def test_what_was_not_read_is_absent() -> None:
    used = summarised(series([0, 100], {}))
    always = {"samples", "sampled_s", "notes", "gpu", "server_metrics", "sampler_cpu_share"}
    assert used.model_dump(exclude=always) == dict.fromkeys(set(type(used).model_fields) - always)
    assert used.server_metrics == []


def test_one_sample_has_no_rates() -> None:
    used = summarised(series([0], {"server_cpu_s": [1.0]}, {"energy_joules": [5.0], "power_watts": [5.0]}))
    assert (used.cpu_cores, used.sampler_cpu_share, used.gpu[0].energy_joules) == (None, None, None)


def test_energy_is_the_growth_of_the_counter_and_else_the_power_by_trapezoids() -> None:
    counted = of_gpu([0, 100, 300], energy_joules=[10.0, 14.0, 25.0], power_watts=[1.0, 1.0, 1.0])
    assert (counted.energy_joules, counted.energy_from) == (15.0, "counter")
    integrated = of_gpu([0, 100, 300], power_watts=[100.0, 200.0, 0.0])
    assert (integrated.energy_joules, integrated.energy_from) == (pytest.approx(15.0 + 20.0), "power")


def test_a_counter_that_stopped_gives_way_to_the_power() -> None:
    gpu = of_gpu([0, 100, 200], energy_joules=[10.0, 14.0, np.nan], power_watts=[50.0, 50.0, 50.0])
    assert (gpu.energy_joules, gpu.energy_from) == (pytest.approx(10.0), "power")


def test_energy_that_lacks_a_little_of_the_window_is_brought_to_all_of_it_and_else_not_given() -> None:
    times_ms = [float(time) for time in range(0, 1001, 100)]
    nearly = of_gpu(times_ms, power_watts=[50.0] * 10 + [np.nan])
    assert nearly.energy_joules == pytest.approx(50.0)
    assert of_gpu(times_ms, power_watts=[50.0] * 8 + [np.nan] * 3).energy_joules is None


def test_throttle_reasons_are_named_with_their_share_of_the_samples() -> None:
    both = float(REASONS["sw_power_cap"] | REASONS["hw_thermal_slowdown"])
    gpu = of_gpu([0, 1, 2, 3, 4], throttle_reasons=[0.0, float(REASONS["sw_power_cap"]), both, np.nan, 0.0])
    assert gpu.throttle == {"sw_power_cap": 0.5, "hw_thermal_slowdown": 0.25}
    assert of_gpu([0, 1], power_watts=[1.0, 1.0]).throttle is None


def test_columns_hold_what_was_read_at_least_once() -> None:
    made = columns([{"a": 1.0}, {"b": np.nan}, {"a": 3.0}])
    assert list(made) == ["a"]
    assert made["a"].tolist()[::2] == [1.0, 3.0]
    assert np.isnan(made["a"][1])
