"""Gates of workloads whose requests have labels, on simulated servers."""

from pathlib import Path

import numpy as np
import pytest

from tests.support.simulated_study import write_simulated_study
from tuner.gate import opening
from tuner.gate.baseline import parse_measurement, written
from tuner.gate.document import Form, GateResult, Measurement
from tuner.study.load import Study, load_study
from tuner.wiring import prepare

pytestmark = pytest.mark.long

ITEMS = 20
OWN = "requests={source: dataset, path: labelled.npz, accuracy: {kind: function, function: 'scores:near'}}"
SETTINGS = (
    f"workloads.steady.{OWN}",
    "slo={p99: 900 ms, accuracy_drop: 1%}",
    "gate={concurrency: 2, rounds: 2, round: 60 ms, restarts: 2, time: 3 s}",
)


class Unheard:
    """Takes note of nothing."""

    def progress(self, spent_s: float, budget_s: float) -> None:
        """Take no note."""

    def note(self, text: str) -> None:
        """Take no note."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A study, and labelled requests whose scores are neither 0 nor 1."""
    labels = np.arange(ITEMS) % 3
    np.savez(tmp_path / "labelled.npz", INPUT=np.zeros((ITEMS, 4)), labels=labels)
    (tmp_path / "scores.py").write_text("def near(outputs, labels):\n    return 0.6 + labels / 7\n")
    return write_simulated_study(tmp_path)


def gated(form: Form, study: Study, baseline: Measurement | None = None, *despite: str) -> GateResult:
    folder = study.source.path.parent
    sides = [("new", prepare(study, folder / "log.txt"))]
    with opening.opened(form, sides, folder, baseline, despite) as made:
        return made.run(Unheard())


def test_a_drop_of_any_score_is_counted_against_a_baseline(path: Path) -> None:
    study = load_study(path, SETTINGS)
    baseline = parse_measurement("baseline", written(gated("alone", study).new))
    found = gated("against", study, baseline)
    assert [(one.workload, one.state) for one in found.rules if one.rule == "accuracy_drop"] == [("steady", "pass")]
    lost = path.parent / "scores.py"
    lost.write_text(lost.read_text().replace("0.6", "0.5"))
    worse = gated("against", study, baseline, "workload")
    assert [one.state for one in worse.rules if one.rule == "accuracy_drop"] == ["fail"]


PLAIN = "workloads.plain={arrival: {process: closed}, requests: {source: dataset, path: requests.npz}}"


def test_a_bound_on_labelled_items_is_a_rule_of_the_workloads_that_have_some(path: Path) -> None:
    bounds = "slo={p99: 900 ms, accuracy_drop: 1%, accuracy: 10%}"
    found = gated("alone", load_study(path, (*SETTINGS, PLAIN, bounds)))
    rules = {(one.workload, one.rule) for one in found.rules}
    assert rules == {("steady", "p99"), ("steady", "accuracy"), ("steady", "accuracy_drop"), ("plain", "p99")}
    assert found.new.bounds["plain"] == {"p99": 0.9}


def of_class(items: int, label: int, weight: int, folder: Path) -> str:
    name = f"labelled-{label}.npz"
    np.savez(folder / name, INPUT=np.zeros((items, 4)), labels=np.full(items, label))
    return f"{{weight: {weight}, {OWN.replace('=', ': ').replace('labelled.npz', name)}}}"


def test_a_class_of_a_mix_counts_by_its_share_of_the_requests(path: Path) -> None:
    """The class that nine requests in ten are of loses 0.1; its items are a tenth of all, so their mean loses 0.01."""
    folder = path.parent
    classes = f"{{often: {of_class(10, 0, 9, folder)}, rare: {of_class(90, 2, 1, folder)}}}"
    steady = f"workloads={{steady: {{arrival: {{process: closed}}, mix: {classes}}}}}"
    study = load_study(path, (steady, "slo={p99: 900 ms, accuracy_drop: 5%, accuracy: 60%}", SETTINGS[-1]))
    baseline = parse_measurement("baseline", written(gated("alone", study).new))
    (folder / "scores.py").write_text("def near(outputs, labels):\n    return 0.5 + labels * (1 / 7 + 0.05)\n")
    found = gated("against", study, baseline, "workload")
    drops = {one.workload: one.state for one in found.rules if one.rule == "accuracy_drop"}
    assert drops == {"steady": "fail"}
    whole = found.new.workloads["steady"].accuracy
    assert whole is not None
    assert (whole.value, whole.items) == (pytest.approx(0.9 * 0.5 + 0.1 * (0.6 + 2 / 7)), 100)
    assert (whole.right, whole.scores) == (None, None), "its classes have them"
    verdicts = found.new.workloads["steady"].slo
    assert (verdicts["accuracy_drop"], verdicts["accuracy"]) == ("missed", "missed")
