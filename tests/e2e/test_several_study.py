"""Two models that share a server, tuned together as a user does it; and the study of the documentation."""

import csv
import re
import shutil
from pathlib import Path

import pytest

from tests.support.triton_models import sleeper, write_model
from tests.support.tune import tune
from tuner.exporting import exported
from tuner.results import Result, Trial, read_result
from tuner.rundir import RunDirectory

pytestmark = pytest.mark.long

ROOT = Path(__file__).parents[2]
STUDY = """
study: pair
target: {kind: triton, repository: models, models: {quick: {}, slow: {}}}
workloads:
  shop:
    model: quick
    arrival: {process: closed, concurrency: 2}
    requests: {source: tensors, count: 5}
    slo: {p50: 1 s}
  chat:
    model: slow
    arrival: {process: closed, concurrency: 2}
    requests: {source: tensors, count: 5}
space:
  models:
    quick: {max_queue_delay: [0 us, 200 ms]}
    slow: {max_queue_delay: [0 us, 200 ms]}
slo: {p50: 2 s}
objectives: [minimize shop.p50, maximize total_throughput]
search:
  start: [{quick.max_queue_delay: 0 us, slow.max_queue_delay: 0 us}]
  budget: {trials: 1, time: 5 min}
measure: {warmup: 0.2 s, max_warmup: 0.3 s, window: 0.5 s, max_window: 0.8 s}
telemetry: {server_metrics: 500 ms}
confirm: {candidates: 1, redeployments: 3, max_redeployments: 4, rounds: 2, round: 0.6 s}
isolation: none
"""
DELAY = "dynamic_batching { max_queue_delay_microseconds: 200000 }\n"
"""Two requests never fill a batch of four: as the user has it, they wait for nothing, some 20 times too long."""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pair")
    write_model(folder / "models", "quick", sleeper(0.005), DELAY)
    write_model(folder / "models", "slow", sleeper(0.01), DELAY)
    (folder / "study.yaml").write_text(STUDY)
    ended = tune("study.yaml", "--out", "run", cwd=folder)
    assert ended.returncode == 0, ended.stderr
    assert "shop: p50" in ended.stdout
    return folder / "run"


@pytest.fixture(scope="module")
def result(run: Path) -> Result:
    return read_result(run)


def test_the_joint_configuration_is_found_and_confirmed(result: Result) -> None:
    assert result.best is not None
    assert result.best.config["quick.max_queue_delay"] == result.best.config["slow.max_queue_delay"] == 0
    assert result.best.confirmed
    assert result.confirmation is not None
    assert result.confirmation.gains["latency_p50_s"].value < 0.5
    assert "total_throughput_rps" in result.trials[1].points[0].metrics
    assert set(result.best.metrics) == {"shop", "chat"}
    assert result.study.bounds == {"shop": {"p50": 1.0}, "chat": {"p50": 2.0}}


def test_the_configuration_of_both_models_is_exported_and_was_loaded(run: Path, result: Result) -> None:
    assert result.best is not None
    assert result.best.export_verified
    for name in ("quick", "slow"):
        text = (run / "best" / name / "config.pbtxt").read_text()
        assert "200000" not in text, text
        assert f"successfully loaded '{name}'" in (run / "log.txt").read_text()
        assert "200000" in (run / "yours" / name / "config.pbtxt").read_text()


def test_every_trial_measured_both_in_one_window(result: Result) -> None:
    assert [trial.number for trial in result.trials] == [0, 1]
    for trial in result.trials:
        assert [(one.workload, one.window) for one in trial.points] == [("shop", 0), ("chat", 0)]
        assert len({one.metrics["total_throughput_rps"].value for one in trial.points}) == 1
        assert len({one.window_s for one in trial.points}) == 1
        for point in trial.points:
            told = {one.name for one in point.telemetry.server_metrics}
            waiting = [f'nv_inference_pending_request_count{{model="{one}",version="1"}}' for one in ("quick", "slow")]
            assert told.issuperset(waiting), "the metrics are those of the server that both share"


def test_the_rows_of_one_window_can_be_told_from_those_of_others(run: Path) -> None:
    with (run / "trials.csv").open() as table:
        rows = [(row["trial"], row["workload"], row["window"]) for row in csv.DictReader(table)]
    assert rows == [("0", "shop", "0"), ("0", "chat", "0"), ("1", "shop", "0"), ("1", "chat", "0")]


def test_a_stored_run_exports_every_model_anew(run: Path, result: Result) -> None:
    made = exported(result, RunDirectory(run), None)
    assert {path.parent.name for path in made.export.files} == {"quick", "slow"}
    assert {path.name for path in made.export.folders} == {"quick", "slow"}
    assert made.changed == []


def test_the_study_of_the_documentation_runs(tmp_path: Path) -> None:
    """The models and requests are those of the ready studies, in one repository."""
    page = (ROOT / "docs" / "triton.md").read_text()
    text = re.search(r"^```yaml\n(study: pair\n.*?)^```$", page, re.MULTILINE | re.DOTALL)
    assert text
    (tmp_path / "pair.yaml").write_text(text[1])
    for name, requests in (("digits", "test.npz"), ("language", "test.jsonl")):
        shutil.copytree(ROOT / "studies" / name / "models" / name, tmp_path / "models" / name)
        shutil.copy(ROOT / "studies" / name / requests, tmp_path)
    short = [("measure.max_warmup", "0.3 s"), ("measure.max_window", "0.5 s")]
    ended = tune("bench", "pair.yaml", *(f"--set={key}={value}" for key, value in short), cwd=tmp_path)
    assert ended.returncode in (0, 5), ended.stderr
    trial = Trial.model_validate_json((tmp_path / "runs/pair-bench/latest/bench.json").read_text())
    assert [(one.workload, one.load.mode, one.window) for one in trial.points] == [
        ("shop", "closed", 0),
        ("chat", "open", 0),
    ]
    assert trial.points[0].metrics["accuracy_drop"].value == 0.0, "digits have labels"
    assert all(one.server is not None and one.server.requests > 0 for one in trial.points)
