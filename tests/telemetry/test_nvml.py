"""GPU telemetry through the real pynvml on a stand-in for NVIDIA's library, compiled here."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.nvml import compiled, loading, script
from tuner.telemetry.nvml import FIELDS, REASONS
from tuner.usage import Telemetry

PROGRAM = """
import json, os, sys, time, pynvml
from pathlib import Path
from tuner.telemetry.nvml import Gpus
from tuner.telemetry.sampler import Sampler
from tuner.telemetry.series import save_series
from tuner.telemetry.summary import summarised
[vars(pynvml).pop(name, None) for name in os.environ.get("BINDINGS_WITHOUT", "").split()]
gpus = Gpus()
sampler = Sampler(gpus, 0.05)
sampler.start([os.getpid(), *map(int, sys.argv[2:])])
time.sleep(0.6)
series = sampler.stop()
save_series(series, Path(sys.argv[1]))
print(json.dumps({"names": gpus.names, "used": summarised(series).model_dump(),
                  "lacking": gpus.lacking("energy_joules", "power_watts")}))
"""
GIB = 1 << 30
WHOLE: dict[str, object] = {
    "name": "Stub-A",
    "utilization": [10, 20, 30, 30],
    "memory_utilization": 5,
    "memory_used": [GIB, GIB, 3 * GIB, 2 * GIB],  # the first is read with the total
    "power": 71500,
    "energy": "@60000",
    "sm_clock": [1400, 1200],
    "memory_clock": 800,
    "temperature": [60, 61],
    "reasons": [0, 0x44],
    "pcie_rx": 2048,
    "pcie_tx": 1024,
    "processes": f"1:{5 * GIB},4242:{GIB}",
    "mig": 0,
}

Sampled = tuple[Telemetry, dict[str, Any], Mapping[str, Any]]
Sample = Callable[..., Sampled]


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compiled(tmp_path_factory.mktemp("nvml"))


@pytest.fixture
def sample(library: Path, tmp_path: Path) -> Sample:
    """Sample for 0.6 s, 20 times a second; the server is this process and the ones given."""

    def sampled(text: str, *processes: int) -> Sampled:
        ended = subprocess.run(
            [sys.executable, "-c", PROGRAM, tmp_path / "series.npz", *map(str, processes)],
            env={**os.environ, **loading(library, text, tmp_path)},
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        told = json.loads(ended.stdout)
        with np.load(tmp_path / "series.npz") as stored:
            return Telemetry.model_validate(told["used"]), told, dict(stored)

    return sampled


def test_a_gpu_that_tells_everything_is_told_in_full(sample: Sample) -> None:
    used, told, series = sample(script({"0": WHOLE}), 4242)
    (gpu,) = used.gpu
    count = used.samples
    assert count >= 3
    assert (gpu.index, gpu.name, gpu.mig, gpu.samples, gpu.server) == (0, "Stub-A", False, count, True)
    assert gpu.utilization == pytest.approx((0.3 * count - 0.3) / count)
    assert (gpu.utilization_max, gpu.memory_utilization) == (0.3, pytest.approx(0.05))
    assert (gpu.memory_total_bytes, gpu.memory_used_bytes, gpu.server_memory_bytes) == (16 * GIB, 3 * GIB, GIB)
    assert (gpu.power_watts, gpu.power_watts_max) == (71.5, 71.5)
    assert (gpu.sm_clock_hz_max, gpu.memory_clock_hz) == (1.4e9, 800e6)
    assert gpu.temperature_c_max == 61
    assert (gpu.pcie_rx_bytes_per_s, gpu.pcie_tx_bytes_per_s) == (2048 * 1024, 1024 * 1024)
    assert gpu.throttle == {"sw_power_cap": (count - 1) / count, "hw_thermal_slowdown": (count - 1) / count}
    assert {name for name in series if name.startswith("gpu0_")} == {f"gpu0_{name}" for name, _, _ in FIELDS}
    assert used.notes == []
    assert told["lacking"] is None


def test_the_energy_is_the_growth_of_the_counter(sample: Sample) -> None:
    used, _, _ = sample(script({"0": WHOLE}))
    assert used.gpu[0].energy_from == "counter"
    assert used.gpu[0].energy_joules == pytest.approx(60 * used.sampled_s, rel=0.3)


def test_without_a_counter_the_energy_is_the_power_over_time(sample: Sample) -> None:
    used, _, series = sample(script({"0": {**WHOLE, "energy": "!3", "power": [100000, 50000]}}))
    (gpu,) = used.gpu
    assert gpu.energy_from == "power"
    first_s = (series["time_ns"][1] - series["time_ns"][0]) / 1e9
    assert gpu.energy_joules == pytest.approx(75 * first_s + 50 * (used.sampled_s - first_s))
    assert used.notes == ["GPU 0: no energy counter: Not Supported"]


def test_samples_have_the_clock_of_the_records_and_times_that_only_grow(sample: Sample) -> None:
    used, _, series = sample(script({"0": WHOLE}))
    assert series["time_ns"].dtype == np.int64
    assert (np.diff(series["time_ns"]) > 0).all()
    assert (series["time_ns"][-1] - series["time_ns"][0]) / 1e9 == pytest.approx(used.sampled_s)
    assert all(len(column) == used.samples for column in series.values())
    assert series["gpu0_utilization"][:3].tolist() == [0.1, 0.2, 0.3]


def test_what_takes_long_is_read_once_a_second(sample: Sample) -> None:
    used, _, series = sample(script({"0": WHOLE}))
    assert used.samples > 2 + used.sampled_s
    for name in ("pcie_rx_bytes_per_s", "server_memory_bytes"):
        assert 1 <= np.isfinite(series[f"gpu0_{name}"]).sum() <= 1 + used.sampled_s
    assert np.isfinite(series["gpu0_power_watts"]).all()


@pytest.mark.parametrize(
    ("field", "what", "lost"),
    [
        ("utilization", "utilization", ("utilization", "memory_utilization")),
        ("power", "power", ("power_watts",)),
        ("temperature", "temperature", ("temperature_c",)),
        ("reasons", "throttle reasons", ("throttle",)),
        ("pcie_rx", "PCIe throughput", ("pcie_rx_bytes_per_s", "pcie_tx_bytes_per_s")),
        ("processes", "memory of processes", ("server", "server_memory_bytes")),
        ("mig", "MIG mode", ("mig",)),
    ],
)
def test_a_field_that_a_gpu_refuses_is_absent_with_its_reason_and_nothing_else_changes(
    sample: Sample, field: str, what: str, lost: tuple[str, ...]
) -> None:
    used, _, _ = sample(script({"0": {**WHOLE, field: "!3"}, "1": {**WHOLE, field: "!4"}, "2": WHOLE}), 4242)
    assert used.notes == [f"GPU 0: no {what}: Not Supported", f"GPU 1: no {what}: Insufficient Permissions"]
    *refused, whole = used.gpu
    for gpu in refused:
        absent = {name for name, value in gpu.model_dump().items() if value is None}
        assert {name.removesuffix("_max") for name in absent} == set(lost)
    assert all(value is not None for value in whole.model_dump().values())


def test_older_bindings_tell_the_temperature_too(sample: Sample, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BINDINGS_WITHOUT", "nvmlDeviceGetTemperatureV")
    used, _, _ = sample(script({"0": WHOLE}))
    assert used.gpu[0].temperature_c_max == 61
    assert used.notes == []


def test_an_error_that_passes_leaves_out_one_sample(sample: Sample) -> None:
    used, _, series = sample(script({"0": {**WHOLE, "power": [80000, "!999", 80000]}}))
    assert used.notes == ["GPU 0: no power: Unknown Error"]
    assert np.isnan(series["gpu0_power_watts"]).tolist() == [index == 1 for index in range(used.samples)]
    assert used.gpu[0].power_watts == 80.0


def test_a_gpu_that_disappears_keeps_what_it_told_and_gives_no_energy(sample: Sample) -> None:
    used, _, series = sample(script({"0": {**WHOLE, "utilization": [10, 20, "!15"], "power": 80000}, "1": WHOLE}))
    lost, whole = used.gpu
    assert used.notes == ["GPU 0: lost: GPU is lost"]
    assert np.isfinite(series["gpu0_memory_used_bytes"]).sum() == 2
    assert lost.utilization == pytest.approx(0.15)
    assert lost.energy_joules is None
    assert (whole.samples, whole.energy_from) == (used.samples, "counter")


def test_a_gpu_that_is_lost_from_the_start_is_left_out(sample: Sample) -> None:
    used, told, _ = sample(script({"0": {**WHOLE, "handle": "!15"}, "1": WHOLE}))
    assert told["names"] == ["Stub-A"]
    assert [gpu.index for gpu in used.gpu] == [1]
    assert used.notes == ["GPU 0: cannot be used: GPU is lost"]


def test_the_instances_of_mig_have_memory_of_their_own(sample: Sample) -> None:
    divided = {**WHOLE, "utilization": "!3", "mig": 1, "mig_slots": 7, "processes": "!4"}
    instances = {
        "1.0": {"name": "MIG-1g", "memory_used": GIB, "processes": f"4242:{GIB // 2}"},
        "1.3": {"name": "MIG-2g", "memory_used": [GIB, GIB, 4 * GIB], "processes": f"1:{GIB}"},
    }
    used, told, series = sample(script({"0": WHOLE, "1": divided, **instances}), 4242)
    assert told["names"] == ["Stub-A", "Stub-A"]
    whole, gpu = used.gpu
    assert (whole.mig, whole.instances) == (False, [])
    assert (gpu.mig, gpu.server, gpu.utilization) == (True, True, None)
    assert [(one.index, one.name) for one in gpu.instances] == [(0, "MIG-1g"), (3, "MIG-2g")]
    assert [one.memory_used_bytes for one in gpu.instances] == [GIB, 4 * GIB]
    assert [one.server_memory_bytes for one in gpu.instances] == [GIB // 2, 0]
    assert series["gpu1_mig3_memory_used_bytes"][0] == GIB
    assert used.notes == [
        "GPU 1: no utilization: Not Supported",
        "GPU 1: no memory of processes: Insufficient Permissions",
    ]


def test_where_the_server_is_seen_on_no_gpu_it_is_not_known_which_are_its_own(sample: Sample) -> None:
    """So it is in a container, where NVML tells process ids of the host, or none."""
    gpus = script({"0": {**WHOLE, "processes": f"1:{GIB}"}, "1": WHOLE})
    used, _, _ = sample(gpus)
    assert [gpu.server for gpu in used.gpu] == [None, None]
    used, _, _ = sample(gpus, 4242)
    assert [gpu.server for gpu in used.gpu] == [False, True]


def test_memory_of_a_process_that_the_driver_does_not_tell_is_absent(sample: Sample) -> None:
    used, _, _ = sample(script({"0": {**WHOLE, "processes": "4242"}}), 4242)
    assert (used.gpu[0].server, used.gpu[0].server_memory_bytes) == (True, None)


def test_a_missing_driver_is_no_error_and_the_host_is_sampled_all_the_same(sample: Sample) -> None:
    used, told, series = sample("- init !9\n")
    assert told["names"] == []
    assert used.gpu == []
    assert used.notes == ["no GPU telemetry: Driver Not Loaded"]
    assert told["lacking"] == "no GPU telemetry: Driver Not Loaded"
    assert not [name for name in series if name.startswith("gpu")]
    assert used.rss_bytes is not None


def test_gpus_that_tell_no_power_lack_energy_with_the_reason(sample: Sample) -> None:
    _, told, _ = sample(script({"0": {**WHOLE, "energy": "!3", "power": "!4"}}))
    assert told["lacking"] == "GPU 0: no power: Insufficient Permissions; GPU 0: no energy counter: Not Supported"


def test_every_reason_has_a_bit_of_its_own() -> None:
    assert sorted(REASONS.values()) == [1 << bit for bit in range(9)]
