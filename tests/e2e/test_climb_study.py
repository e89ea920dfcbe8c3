"""A study that looks for the highest load under the SLO, on the simulated server, as a user runs it."""

import json

import numpy as np
import pytest

from tests.support.tune import tune
from tuner.results import Result, read_result
from tuner.sustained import sustained

pytestmark = pytest.mark.long

STUDY = """
study: climb
target: {kind: simulated, model: queue, repository: models}
workloads:
  steady:
    arrival: {process: closed}
    requests: {source: dataset, path: requests.npz}
load: {search: max_under_slo, resolution: 1%}
space:
  instances: [1, 2]
  concurrency: {low: 1, high: 16, scale: log2}
slo: {p90: 150 ms}
objectives: [maximize throughput, minimize p99]
search: {budget: {trials: 4, time: 10 min}}
measure: {warmup: 0.3 s, max_warmup: 0.5 s, window: 1 s, max_window: 6 s, confidence: 90%}
confirm: {candidates: 1, redeployments: 2, max_redeployments: 2, rounds: 2, round: 0.5 s}
"""


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> tuple[Result, str]:
    """A request takes 20 ms, one at a time: an instance sustains 7 in flight within 150 ms, less on a busy machine."""
    folder = tmp_path_factory.mktemp("climb")
    (folder / "models" / "queue").mkdir(parents=True)
    queue = {"max_batch_size": 1, "max_queue_delay_us": 0, "instances": 1, "fixed_ms": 20.0, "each_ms": 0.0}
    (folder / "models" / "queue" / "queue.json").write_text(json.dumps(queue))
    np.savez(folder / "requests.npz", INPUT=np.zeros((50, 4)))
    (folder / "study.yaml").write_text(STUDY)
    ended = tune("study.yaml", cwd=folder)
    # 4: on a machine that has become busy since the search nothing meets the SLO when it is measured again
    assert ended.returncode in (0, 4, 5), ended.stdout + ended.stderr
    return read_result(folder / "runs" / "climb" / "latest"), ended.stdout + ended.stderr


def test_each_configuration_is_measured_up_to_the_load_that_it_sustains(found: tuple[Result, str]) -> None:
    result, _ = found
    for trial in result.trials:
        levels = [point.load.level for point in trial.points]
        assert len(set(levels)) == len(levels) > 2
        best = max((point.load.level for point in trial.points if sustained(point)), default=0)
        assert 1 <= best <= 7 * int(trial.config["instances"]) + 1, levels
        assert min((level for level in levels if level > best), default=17) == best + 1, "the next one is not sustained"


def test_the_space_is_that_of_the_server_and_the_answer_names_the_load(found: tuple[Result, str]) -> None:
    result, said = found
    assert "2 configurations in the space" in said
    assert "sampler twin: the server can be simulated; 4 trials for 2 configurations" in said
    assert "the search ends: every configuration of the space was tried" in said
    assert [trial.config["instances"] for trial in result.trials] == [1, 2], "yours is not tried again"
    made = result.confirmation
    assert made is not None
    assert made.candidate.config["instances"] == 2
    assert made.verdict != "met" or (result.best is not None and result.best.config["instances"] == 2)
    assert "concurrency" in said
