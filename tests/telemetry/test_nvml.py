"""GPU telemetry through the real pynvml on a stand-in for NVIDIA's library, compiled here."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import json, time
from tuner.telemetry.nvml import GpuSampler
sampler = GpuSampler()
sampler.start()
time.sleep(0.35)
gpus = sampler.stop()
print(json.dumps({"names": sampler.names, "notes": sampler.notes, "gpus": [gpu.model_dump() for gpu in gpus]}))
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("nvml")
    source = Path(__file__).with_name("nvml_stub.c")
    subprocess.run(["cc", "-shared", "-fPIC", "-o", folder / "libnvidia-ml.so.1", source], check=True)
    return folder


def sample(library: Path | None, **environment: str) -> dict[str, object]:
    paths = {"LD_LIBRARY_PATH": str(library)} if library else {}
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={**os.environ, **paths, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(ended.stdout)


def test_utilisation_memory_and_power_are_sampled_over_the_window(library: Path) -> None:
    first, second = sample(library)["gpus"]
    assert first["name"] == "Stub GPU A"
    assert 2 <= first["samples"] <= 5
    assert first["utilization"] == pytest.approx(sum(range(1, first["samples"] + 1)) / first["samples"] / 10)
    assert first["memory_used_bytes"] == 1 << 30
    assert first["power_watts"] == 71.5
    assert (second["utilization"], second["memory_used_bytes"]) == (0.5, 2 << 30)


def test_a_field_that_a_gpu_lacks_is_absent_with_its_reason_and_nothing_else_changes(library: Path) -> None:
    sampled = sample(library)
    assert sampled["gpus"][1]["power_watts"] is None
    assert sampled["gpus"][1]["samples"] >= 2
    assert sampled["notes"] == ["GPU 1: no power: Not Supported"]


def test_a_missing_driver_is_no_error(library: Path) -> None:
    sampled = sample(library, STUB_NVML_FAIL="1")
    assert sampled == {"names": [], "notes": ["no GPU telemetry: Driver Not Loaded"], "gpus": []}
