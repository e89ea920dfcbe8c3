"""Studies that ask for what a server uses, as a user runs them, on a GPU that a stand-in for NVML plays."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.support.nvml import compiled, loading, script
from tests.support.tune import tune
from tuner.records import load_records
from tuner.results import Trial, read_result
from tuner.telemetry.series import FIELDS

pytestmark = pytest.mark.long

STUDY = """\
study: energy
target: {kind: simulated, model: queue, repository: models}
workloads:
  steady:
    arrival: {process: closed}
    requests: {source: dataset, path: requests.npz}
space:
  max_batch_size: [1, 8]
  instances: [1]
  concurrency: [8]
objectives:
  - maximize throughput
  - minimize energy_per_inference
slo: {p90: 2 s, gpu_memory: 8 GiB}
telemetry: {period: 50 ms}
search: {sampler: grid, budget: {trials: 4, time: 2 min}}
measure: {warmup: 0.2 s, max_warmup: 0.2 s, window: 0.6 s, max_window: 0.6 s}
confirm: {candidates: 1, redeployments: 2, max_redeployments: 2, rounds: 2, round: 0.5 s}
"""
GOALS = "[maximize throughput, minimize energy_per_inference, maximize gpu_utilization]"
GIB = 1 << 30
WATTS = 60
GPU: dict[str, object] = {
    "name": "Stub",
    "utilization": 40,
    "memory_utilization": 5,
    "memory_used": 2 * GIB,
    "power": 1000 * WATTS,
    "energy": f"@{1000 * WATTS}",
}

Folder = Callable[[str], tuple[Path, dict[str, str]]]


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compiled(tmp_path_factory.mktemp("nvml"))


@pytest.fixture
def folder(library: Path, tmp_path: Path) -> Folder:
    """The study beside its model, and the environment in which NVML follows a script."""

    def made(text: str) -> tuple[Path, dict[str, str]]:
        (tmp_path / "models" / "queue").mkdir(parents=True)
        queue = {"max_batch_size": 1, "max_queue_delay_us": 0, "instances": 1, "fixed_ms": 10.0, "each_ms": 1.0}
        (tmp_path / "models" / "queue" / "queue.json").write_text(json.dumps(queue))
        np.savez(tmp_path / "requests.npz", INPUT=np.zeros((50, 4)))
        (tmp_path / "energy.yaml").write_text(STUDY)
        return tmp_path, loading(library, text, tmp_path)

    return made


def test_a_study_minimizes_energy_and_keeps_to_the_gpus_memory(folder: Folder) -> None:
    """A batch of 8 takes 18 ms where 8 single requests take 88 ms: each answer takes a fraction of the energy."""
    path, environment = folder(script({"0": GPU}))
    busy = ["--set", "slo.gpu_utilization_at_least=30%", "--set", f"objectives={GOALS}"]
    ended = tune("energy.yaml", *busy, cwd=path, **environment)
    assert ended.returncode in (0, 5), ended.stdout + ended.stderr
    result = read_result(path / "runs" / "energy" / "latest")
    assert result.environment["gpu"] == "Stub"
    for trial in result.trials:
        (point,) = trial.points
        rate, energy = point.metrics["throughput_rps"].value, point.metrics["energy_per_inference_joules"].value
        assert energy == pytest.approx(WATTS / rate, rel=0.2)
        assert point.verdicts["gpu_memory"] == point.verdicts["gpu_utilization_at_least"] == "met"
        assert point.telemetry.gpu[0].energy_from == "counter"
        assert point.telemetry.gpu[0].server is None
    assert result.confirmation is not None
    assert result.confirmation.gains["energy_per_inference_joules"].value < 0.5
    assert result.confirmation.gains["gpu_utilization"].verdict == "no difference"
    page = (path / "runs" / "energy" / "latest" / "report.html").read_text()
    assert "energy per inference" in page
    assert ('id="over-time"' in page) is (result.best is not None)
    assert ("GPU utilisation, %" in page) is (result.best is not None)


def test_the_samples_of_a_point_lie_in_the_window_of_its_records(folder: Folder) -> None:
    path, environment = folder(script({"0": GPU, "1": {**GPU, "name": "Other", "energy": "!3"}}))
    ended = tune("bench", "energy.yaml", "--set", "space.max_batch_size=8", cwd=path, **environment)
    assert ended.returncode in (0, 5), ended.stdout + ended.stderr
    run = path / "runs" / "energy-bench" / "latest"
    (point,) = Trial.model_validate_json((run / "bench.json").read_text()).points
    assert point.records is not None
    assert point.telemetry.series is not None
    ((start_ns, end_ns),) = load_records(run / point.records).windows_ns
    with np.load(run / point.telemetry.series) as stored:
        samples = dict(stored)
    assert start_ns <= samples["time_ns"][0] < end_ns <= samples["time_ns"][-1]
    assert len(samples["time_ns"]) == point.telemetry.samples
    assert {name for name, _, _ in FIELDS} <= set(samples)
    assert (samples["gpu1_power_watts"] == WATTS).all()
    assert "gpu1_energy_joules" not in samples
    assert "GPU 1: no energy counter: Not Supported" in point.telemetry.notes
    assert [gpu.energy_from for gpu in point.telemetry.gpu] == ["counter", "power"]
    assert point.telemetry.cpu_cores is not None
    assert "energy per inference" in ended.stdout
    assert "GPU 1, Other: utilisation 40%, 2,048.0 MiB, 60.0 W" in ended.stdout


def test_a_study_that_asks_for_energy_without_a_gpu_ends_at_once_with_its_line(folder: Folder) -> None:
    path, environment = folder("- init !9\n")
    ended = tune("energy.yaml", cwd=path, **environment)
    assert ended.returncode == 2
    said = "no GPU of this host tells `gpu_memory`: no GPU telemetry: Driver Not Loaded; take it out"
    assert ended.stderr == f"tune: energy.yaml:14: slo.gpu_memory: {said}\n"
    without_bound = tune("energy.yaml", "--fresh", "--set", "slo={p90: 2 s}", cwd=path, **environment)
    assert without_bound.returncode == 2
    page = (Path(__file__).parents[2] / "docs" / "telemetry.md").read_text()
    assert without_bound.stderr.removeprefix("tune: ") in page


def test_a_gpu_that_is_lost_is_a_missed_bound_and_not_the_end_of_the_run(folder: Folder) -> None:
    """It is lost in the first window: from then on no configuration can be told to keep the bound."""
    path, environment = folder(script({"0": {**GPU, "utilization": [40, 40, "!15"]}}))
    ended = tune("energy.yaml", cwd=path, **environment)
    assert ended.returncode in (4, 5), ended.stdout + ended.stderr
    result = read_result(path / "runs" / "energy" / "latest")
    assert len(result.trials) > 1
    for trial in result.trials[1:]:
        (point,) = trial.points
        assert trial.state == "complete"
        assert "GPU 0: lost: GPU is lost" in (point.metrics["gpu_memory_bytes"].note or "")
        assert point.violations["gpu_memory"] == float("inf")
        assert np.isfinite(point.metrics["throughput_rps"].value)
