"""A study that the twin searches, on the simulated server, as a user runs it."""

import json
from pathlib import Path

import numpy as np
import pytest

from tests.support.tune import tune
from tuner.pick import picked
from tuner.results import Result, read_result

pytestmark = pytest.mark.long

STUDY = """
study: twin
target: {kind: simulated, model: queue, repository: models}
workloads:
  steady:
    arrival: {process: closed}
    requests: {source: dataset, path: requests.npz}
  bursty:
    arrival: {process: bursty, burst_size: 4, pause: 50 ms}
    requests: {source: dataset, path: requests.npz}
space:
  max_batch_size: {low: 1, high: 16, scale: log2}
  max_queue_delay: [0 ms, 5 ms, 25 ms]
  instances: [1, 2]
  concurrency: {low: 1, high: 16, scale: log2}
slo: {p90: 200 ms}
objectives: [maximize throughput, minimize p90]
search: {budget: {trials: 8, time: 3 min}}
measure: {warmup: 0.1 s, max_warmup: 0.2 s, window: 0.4 s, max_window: 1 s, confidence: 90%}
confirm: {candidates: 1, redeployments: 2, max_redeployments: 2, rounds: 2, round: 0.5 s}
"""


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> tuple[Result, str, Path]:
    """A batch of b takes 10 + 2.5 b ms: with 16 in flight, batches of 16 on two instances answer most."""
    folder = tmp_path_factory.mktemp("twin")
    (folder / "models" / "queue").mkdir(parents=True)
    queue = {"max_batch_size": 1, "max_queue_delay_us": 0, "instances": 1, "fixed_ms": 10.0, "each_ms": 2.5}
    (folder / "models" / "queue" / "queue.json").write_text(json.dumps(queue))
    np.savez(folder / "requests.npz", INPUT=np.zeros((50, 4)))
    (folder / "study.yaml").write_text(STUDY)
    ended = tune("study.yaml", cwd=folder)
    assert ended.returncode in (0, 5), ended.stdout + ended.stderr
    run = folder / "runs" / "twin" / "latest"
    return read_result(run), ended.stdout + ended.stderr, run


def test_auto_takes_the_twin_and_says_why_it_ended(found: tuple[Result, str, Path]) -> None:
    result, said, _ = found
    assert "sampler twin: the server can be simulated; 8 trials for 150 configurations" in said
    assert result.search is not None
    assert result.search.sampler == "twin"
    assert result.search.ended in ("trials", "certain", "time")
    assert "the search ends: " in said


def test_every_trial_was_predicted_on_every_workload(found: tuple[Result, str, Path]) -> None:
    result, _, run = found
    for trial in result.trials[1:]:
        assert set(trial.predicted) == {"steady", "bursty"}
        assert set(trial.predicted["steady"]) == {"latency_p90_s", "throughput_rps"}
        assert set(trial.predicted["bursty"]) == {"latency_p90_s"}
    assert result.search is not None
    assert result.search.predictions > 0
    assert result.search.prediction_error is not None
    assert 'id="predictions"' in (run / "report.html").read_text()


def test_it_finds_a_configuration_that_is_several_times_as_fast_within_a_few_trials(
    found: tuple[Result, str, Path],
) -> None:
    result, _, _ = found
    own = max(point.metrics["throughput_rps"].value for point in result.trials[0].points)
    best = max(
        point.metrics["throughput_rps"].value
        for trial in result.trials[1:]
        for point in trial.points
        if point.workload == "steady"
    )
    assert best > 3 * own


def test_what_a_change_took_is_in_the_result(found: tuple[Result, str, Path]) -> None:
    result, _, _ = found
    assert any(knob.apply_s is not None and knob.applied == "reload" for knob in result.knobs)


def test_an_export_is_of_the_trial_that_is_picked(found: tuple[Result, str, Path]) -> None:
    result, _, run = found
    ended = tune("export", run, "--pick", "fastest", "--to", run / "picked", cwd=run)
    assert ended.returncode == 0, ended.stderr
    (path,) = (run / "picked").rglob("queue.json")
    written, wanted = json.loads(path.read_text()), result.trial(picked(result, "fastest").trial).config
    assert (written["max_batch_size"], written["instances"]) == (wanted["max_batch_size"], wanted["instances"])
    assert written["max_queue_delay_us"] == pytest.approx(1e6 * wanted["max_queue_delay"])
