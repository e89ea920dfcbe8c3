"""A mix of two classes of requests on the real Triton, one with the higher priority, as a user runs it."""

import shutil
from pathlib import Path

import pytest

from tests.support.tune import tune
from tuner.results import Trial, read_result

pytestmark = pytest.mark.long

STUDY = """
study: mix
target: {kind: triton, model: digits, repository: digits/models}
workloads:
  mixed:
    arrival: {process: closed}
    timeout: 30 s
    mix:
      bulk: {weight: 4, requests: {source: dataset, path: digits/test.npz}}
      urgent:
        weight: 1
        priority: 1
        timeout: 20 s
        requests: {source: tensors, count: 50}
        slo: {p90: 10 s, error_rate: 50%}
space: {concurrency: [24, 32], max_batch_size: [1, 4]}
slo: {p90: 20 s}
objectives: [minimize mixed.urgent.p50, maximize mixed.throughput]
search: {budget: {trials: 1, time: 2 min}, seed: 1}
measure: {warmup: 0.2 s, max_warmup: 0.4 s, window: 2 s, max_window: 2 s}
confirm: {candidates: 1, redeployments: 2, max_redeployments: 2, rounds: 2, round: 0.5 s}
isolation: none
"""

SLOW = """

run = TritonPythonModel.execute


def execute(self, requests):
    time.sleep(0.005)
    return run(self, requests)


import time
TritonPythonModel.execute = execute
"""
"""A batch takes so long that it is the queue that requests wait in, however slow the load generator's core is."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study whose model has two levels of priority, without one given a request has the lower."""
    made = tmp_path_factory.mktemp("mix")
    shutil.copytree(Path(__file__).parents[2] / "studies" / "digits", made / "digits")
    config = made / "digits" / "models" / "digits" / "config.pbtxt"
    before = config.read_text()
    levels = "dynamic_batching { priority_levels: 2 default_priority_level: 2 }"
    config.write_text(before.replace("dynamic_batching { }", levels))
    assert config.read_text() != before
    model = made / "digits" / "models" / "digits" / "1" / "model.py"
    model.write_text(model.read_text() + SLOW)
    (made / "mix.yaml").write_text(STUDY)
    return made


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_requests_of_the_higher_priority_overtake_the_queue(folder: Path, protocol: str) -> None:
    """31 others are before a request in the queue, or one: whatever the machine, that is more than a factor of 2."""
    one_by_one = ["--set", "space.concurrency=[32]", "--set", "space.max_batch_size=[1]"]
    ended = tune("bench", "mix.yaml", *one_by_one, "--set", f"target.protocol={protocol}", cwd=folder)
    assert ended.returncode in (0, 5), ended.stderr
    assert "mixed.urgent" in ended.stdout
    trial = Trial.model_validate_json((folder / "runs/mix-bench/latest/bench.json").read_text())
    points = {point.workload: point for point in trial.points}
    assert list(points) == ["mixed", "mixed.bulk", "mixed.urgent"]
    counts = {name: sum(point.outcomes.values()) for name, point in points.items()}
    assert counts["mixed"] == counts["mixed.bulk"] + counts["mixed.urgent"]
    p50_s = {name: point.metrics["latency_p50_s"].value for name, point in points.items()}
    assert 2 * p50_s["mixed.urgent"] < p50_s["mixed.bulk"]
    assert set(points["mixed.urgent"].verdicts) == {"p90", "error_rate"}
    assert set(points["mixed.bulk"].verdicts) == {"p90"}
    assert points["mixed"].verdicts == {}
    assert points["mixed"].server is not None
    assert points["mixed.urgent"].server is None


def test_a_class_can_be_what_a_study_is_about(folder: Path) -> None:
    windows = ("measure.window=0.5 s", "measure.max_window=0.5 s", "measure.confidence=50%", "confirm.round=0.2 s")
    changes = ("space.concurrency=[32]", "search.budget.time=45 s", *windows)
    ended = tune("mix.yaml", "--fresh", *(f"--set={one}" for one in changes), cwd=folder)
    assert ended.returncode in (0, 5), ended.stdout + ended.stderr
    assert "mixed.urgent: p90" in ended.stdout
    result = read_result(folder / "runs" / "mix" / "latest")
    assert result.search is not None
    assert result.search.sampler == "twin"
    assert set(result.trials[1].predicted) == {"mixed", "mixed.bulk", "mixed.urgent"}
    assert result.study.workloads == ["mixed", "mixed.bulk", "mixed.urgent"]
    assert result.study.bounds_of("mixed.urgent") == {"p90": 10.0, "error_rate": 0.5}
    assert result.best is not None
    assert result.best.objective == "latency_p50_s"
    assert {"mixed", "mixed.bulk", "mixed.urgent"} == set(result.best.metrics)
    page = (folder / "runs/mix/latest/report.html").read_text()
    assert "mixed.urgent" in page
    rows = (folder / "runs/mix/latest/trials.csv").read_text()
    assert ",mixed.bulk," in rows
