"""A study whose configuration with the lowest latency does too little, on the simulated server, as a user runs it."""

import json

import numpy as np
import pytest

from tests.support.tune import tune
from tuner.results import Result, read_result

pytestmark = pytest.mark.long

STUDY = """
study: least
target: {kind: simulated, model: queue, repository: models}
workloads:
  steady:
    arrival: {process: closed}
    requests: {source: dataset, path: requests.npz}
space:
  max_batch_size: [1, 8]
  concurrency: [1, 8]
slo: {throughput_at_least: 50/s}
objectives: [minimize p50, maximize throughput]
search: {sampler: grid, budget: {trials: 4, time: 5 min}}
measure: {warmup: 0.3 s, max_warmup: 0.6 s, window: 1 s, max_window: 3 s, confidence: 90%}
confirm: {candidates: 1, redeployments: 2, max_redeployments: 2, rounds: 2, round: 1 s}
"""
BATCH_MS = 40.0
"""However large it is, one at a time: 25 requests per second without batches, and up to 200 in batches of 8."""


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> tuple[Result, str]:
    folder = tmp_path_factory.mktemp("least")
    (folder / "models" / "queue").mkdir(parents=True)
    queue = {"max_batch_size": 1, "max_queue_delay_us": 0, "instances": 1, "fixed_ms": BATCH_MS, "each_ms": 0.0}
    (folder / "models" / "queue" / "queue.json").write_text(json.dumps(queue))
    np.savez(folder / "requests.npz", INPUT=np.zeros((50, 4)))
    (folder / "study.yaml").write_text(STUDY)
    ended = tune("study.yaml", cwd=folder)
    assert ended.returncode in (0, 5), ended.stdout + ended.stderr
    return read_result(folder / "runs" / "least" / "latest"), ended.stdout + ended.stderr


def test_what_is_fast_and_does_too_little_misses_the_slo(found: tuple[Result, str]) -> None:
    result, _ = found
    points = [(trial, point) for trial in result.trials for point in trial.points]
    trial, fastest = min(points, key=lambda one: one[1].metrics["latency_p50_s"].value)
    assert fastest.load.level == 1
    assert fastest.verdicts["throughput_at_least"] == "missed"
    assert fastest.violations["throughput_at_least"] > 0.4
    assert {point.load.level for one, point in points if all(over <= 0 for over in point.violations.values())} == {8}
    assert trial.number != (result.best.trial if result.best else None) or fastest.load != result.best.load


def test_the_answer_is_one_that_does_enough(found: tuple[Result, str]) -> None:
    result, said = found
    assert result.confirmation is not None
    assert result.confirmation.candidate.config["max_batch_size"] == 8
    assert result.confirmation.candidate.load.level == 8
    assert result.confirmation.candidate.verdicts["steady"]["throughput_at_least"] == "met"
    assert "throughput >= 50/s" in said
