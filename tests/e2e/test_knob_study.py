"""A study over Triton's further knobs, from the file to the exported configuration, on the real server."""

import csv
import json
from collections.abc import Callable
from pathlib import Path

from tests.support.tune import tune
from tuner.results import read_result

SPACE = {
    "max_batch_size": [8, 16],
    "preferred_batch_size": [[4], [4, 16], []],
    "preserve_ordering": [True, False],
    "max_queue_size": [0, 512],
    "warmup": ["zero", "none"],
    "concurrency": [4],
}


def test_a_study_of_further_knobs_runs_to_an_export_that_loads(
    small_study: Callable[..., Path], tmp_path: Path
) -> None:
    search = {
        "budget": {"trials": 5, "time": "5 min"},
        "seed": 3,
        "sampler": "random",
        "start": [{"preferred_batch_size": [4, 16], "max_batch_size": 8}],
    }
    study = small_study(space=SPACE, search=search, slo={"p99": "2 s", "error_rate": "50%"})
    ended = tune(study, "--out", "out", cwd=tmp_path)
    assert ended.returncode in (0, 5), ended.stderr
    result = read_result(tmp_path / "out")
    baseline, *candidates = result.trials
    assert baseline.config["preferred_batch_size"] == "none"
    refused = [one for one in candidates if one.state == "refused"]
    assert any("preferred size must be <= max batch size, but 16 > 8" in (one.reason or "") for one in refused)
    assert all(one.config["preferred_batch_size"] == "4,16" and one.config["max_batch_size"] == 8 for one in refused)
    assert any(one.state == "complete" for one in candidates)
    rows = list(csv.DictReader((tmp_path / "out" / "trials.csv").read_text().splitlines()))
    assert {row["preferred_batch_size"] for row in rows} <= {"4", "4,16", "none"}
    assert "4,16" in {row["preferred_batch_size"] for row in rows}
    assert "preferred_batch_size" in (tmp_path / "out" / "report.html").read_text()
    assert list((tmp_path / "out" / "best").rglob("config.pbtxt"))


def test_knobs_of_a_model_say_what_it_has_and_what_it_cannot_have(repository: Path, tmp_path: Path) -> None:
    ended = tune("knobs", "triton", "--model", "digits", "--repository", repository, "--json", cwd=tmp_path)
    rows = {row["knob"]: row for row in json.loads(ended.stdout)}
    assert rows["max_batch_size"]["now"] == "8"
    assert rows["instance_kind"]["now"] == "cpu"
    assert rows["preferred_batch_size"]["now"] == "none"
    assert rows["preferred_batch_size"]["rule"] == "each within 1 and max_batch_size"
    assert rows["response_cache"]["since"] == "2.15"
    assert rows["execution_mode"]["legal"].startswith("not here: it is for the ONNX Runtime backend")
    assert "concurrency" not in rows


def test_knobs_of_a_model_that_is_not_there_name_it(repository: Path, tmp_path: Path) -> None:
    ended = tune("knobs", "triton", "--model", "digit", "--repository", repository, cwd=tmp_path)
    assert ended.returncode == 3
    assert "no model 'digit'" in ended.stderr
    ended = tune("knobs", "vllm", "--model", "digits", "--repository", repository, cwd=tmp_path)
    assert ended.returncode == 3
    assert "target 'vllm' has no knobs of a model in a repository" in ended.stderr
