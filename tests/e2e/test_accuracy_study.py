"""Kinds of accuracy as a user chooses them in a study, on the real Triton, and what is wrong with them by its line."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml

from tests.conftest import DIGITS
from tests.support.tune import tune
from tuner.results import Trial

pytestmark = pytest.mark.long

WriteStudy = Callable[..., Path]
ONE_POINT = ("--set", "space.concurrency=[4]", "--set", "space.max_batch_size=[8]", "--set", "space.precision=int8")
OWN = '''
import numpy as np


def margin(outputs, labels):
    """How far the right class is ahead of the others: 0 to 1."""
    scores = np.exp(outputs - outputs.max(axis=1, keepdims=True))
    shares = scores / scores.sum(axis=1, keepdims=True)
    return shares[np.arange(len(labels)), labels]


def broken(outputs, labels):
    return outputs[0] / None
'''


def written(small_study: WriteStudy, accuracy: object, slo: dict[str, object] | None = None, **keys: object) -> Path:
    """Write a study of one workload with this kind of accuracy and, beside the usual ones, these bounds."""
    requests = {"source": "dataset", "path": "test.npz", "accuracy": accuracy, **keys}
    workloads = {"steady": {"arrival": {"process": "closed"}, "requests": requests}}
    study = small_study(workloads=workloads, slo={"p90": "20 s", **(slo or {})})
    (study.parent / "scores.py").write_text(OWN)
    return study


def benched(study: Path) -> tuple[Trial, str]:
    ended = tune("bench", study.name, *ONE_POINT, cwd=study.parent)
    assert ended.returncode in (0, 5), ended.stderr
    trial = Trial.model_validate_json((study.parent / "runs/digits-bench/latest/bench.json").read_text())
    return trial, ended.stdout


def test_bench_shows_accuracy_and_how_answers_differ(small_study: WriteStudy) -> None:
    bounds = {"accuracy": "50%", "accuracy_drop": "10%"}
    trial, shown = benched(written(small_study, {"kind": "top_k", "k": 2}, bounds))
    (point,) = trial.points
    assert point.metrics["accuracy"].value > 0.99
    assert point.metrics["answer_difference_max"].value > point.metrics["answer_difference_mean"].value > 0
    assert point.verdicts["accuracy"] == point.verdicts["accuracy_drop"] == "met"
    for words in ("accuracy drop", "answer difference max", "answer difference mean"):
        assert words in shown
    assert (Path(str(small_study())).parent / "runs/digits-bench/latest/answers/steady.npz").is_file()


def test_a_function_of_the_users_own_is_asked(small_study: WriteStudy) -> None:
    trial, _ = benched(written(small_study, {"kind": "function", "function": "scores:margin"}))
    metrics = trial.points[0].metrics
    assert 0.9 < metrics["accuracy"].low < metrics["accuracy"].value < metrics["accuracy"].high < 1
    assert metrics["accuracy"].n == 600


def test_a_regression_has_an_error_that_grows_by_a_share(small_study: WriteStudy) -> None:
    """The label of an item is a vector of ten numbers near the logits; INT8 is further away from it."""
    study = written(small_study, {"kind": "squared_error"}, {"accuracy_drop": "0%", "prediction_error": 0.001})
    inputs = np.load(DIGITS / "test.npz")
    np.savez(study.parent / "test.npz", IMAGE=inputs["IMAGE"], labels=np.zeros((600, 10)))
    trial, shown = benched(study)
    (point,) = trial.points
    assert point.metrics["prediction_error"].value > 1
    assert point.verdicts["prediction_error"] == "missed"
    assert point.violations["prediction_error"] > 100
    assert "prediction error" in shown


def line_of(study: Path, key: str) -> int:
    return next(n for n, line in enumerate(study.read_text().splitlines(), 1) if re.match(rf"\s*{key}:", line))


@pytest.mark.parametrize(
    ("accuracy", "key", "message"),
    [
        ({"kind": "top_k", "k": 10}, "k", "the model tells 10 classes apart, so all would be among the top 10"),
        (
            {"kind": "function", "function": "scores:broken"},
            "function",
            "scores.py:13: broken failed: TypeError: unsupported operand",
        ),
    ],
)
def test_what_the_answers_show_to_be_wrong_is_told_by_its_line(
    accuracy: dict[str, object], key: str, message: str, small_study: WriteStudy
) -> None:
    study = written(small_study, accuracy)
    ended = tune("bench", study.name, *ONE_POINT, cwd=study.parent)
    assert ended.returncode == 2
    place = f"study.yaml:{line_of(study, key)}: workloads.steady.requests.accuracy.{key}: {message}"
    assert place in ended.stderr
    assert "Traceback" not in ended.stderr


def test_accuracy_is_traded_against_throughput(small_study: WriteStudy) -> None:
    """The front holds the better of two variants on each objective; a bound on the accuracy itself holds for all."""
    study = small_study(
        slo={"p90": "20 s", "error_rate": "50%", "accuracy": "90%"},
        objectives=["maximize throughput", "maximize accuracy"],
        space={"max_batch_size": [8], "precision": ["fp32", "int8"], "concurrency": [16]},
        search={"budget": {"trials": 1, "time": "5 min"}, "sampler": "grid", "seed": 1},
    )
    changed = yaml.safe_load(study.read_text())
    changed["workloads"] = {"steady": changed["workloads"]["steady"]}
    study.write_text(yaml.safe_dump(changed, sort_keys=False))
    ended = tune(study.name, cwd=study.parent)
    assert ended.returncode in (0, 5), ended.stderr
    result = json.loads((study.parent / "runs/digits/latest/result.json").read_text())
    assert {trial["config"]["precision"] for trial in result["trials"]} == {"fp32", "int8"}
    (baseline, other) = (trial["points"][0]["metrics"] for trial in result["trials"])
    assert (baseline["accuracy_drop"]["low"], baseline["accuracy_drop"]["high"]) == (0.0, 0.0)
    assert "answer_difference_max" not in baseline
    assert other["answer_difference_max"]["value"] > 0
    page = (study.parent / "runs/digits/latest/report.html").read_text()
    assert "Answers of each variant" in page
    assert "precision int8" in page
