"""A study over the composing models of an ensemble, from the file to a server that runs what was exported."""

import csv
import json
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import yaml

from targets.triton.config import from_loaded, knob_values
from tests.support.foreign_triton import ForeignTriton, foreign_triton
from tests.support.triton_ensembles import images, write_ensemble
from tests.support.tune import tune
from tuner.found_studies import write_for_repository
from tuner.knob_rows import of_model
from tuner.nesting import override_of
from tuner.results import Result, Trial, read_result
from tuner.study.load import load_study
from tuner.study.source import StudyError
from tuner.wiring import prepare

pytestmark = pytest.mark.long

PAGE = Path(__file__).parents[2] / "docs" / "triton.md"
SMALL = (
    "search.budget.trials=1", "search.sampler=random", "slo={p90: 5 s, error_rate: 50%}", "space.concurrency=4",
    "measure={warmup: 100 ms, max_warmup: 200 ms, window: 200 ms, max_window: 300 ms}",
    "confirm={candidates: 1, redeployments: 2, max_redeployments: 2, rounds: 2, round: 200 ms}",
)  # fmt: skip
USER = {"preprocess.instances": 1, "classify.max_batch_size": 16, "classify.max_queue_delay": 0.0}
FIRST = {**USER, "preprocess.instances": 2, "classify.max_batch_size": 32}
"""The configuration that the study wants tried first."""


@dataclass(frozen=True)
class EnsembleRun:
    """The run of the documentation's study."""

    folder: Path
    result: Result

    @property
    def first(self) -> Trial:
        """The trial that the study begins with."""
        return next(one for one in self.result.trials if FIRST.items() <= one.config.items())


def write_study(folder: Path) -> Path:
    """Write the study of the documentation, with the ensemble that it is about."""
    (text,) = re.findall(r"^```yaml\n(study: pipeline\n.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    (folder / "study.yaml").write_text(text)
    write_ensemble(folder / "models")
    requests = images()
    np.savez(folder / "images.npz", **dict(requests.inputs), labels=np.asarray(requests.labels))
    return folder / "study.yaml"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> EnsembleRun:
    """A small run of it."""
    folder = tmp_path_factory.mktemp("ensemble")
    options = [part for value in SMALL for part in ("--set", value)]
    ended = tune(write_study(folder), *options, "--out", "out", cwd=folder)
    assert ended.returncode in (0, 5), ended.stderr
    return EnsembleRun(folder, read_result(folder / "out"))


def loaded(server: ForeignTriton) -> dict[str, object]:
    """Return what a server has of the knobs that were searched."""
    found: dict[str, object] = {}
    for name in USER:
        model, _, knob = name.partition(".")
        found[name] = knob_values(from_loaded(server.config(model)), [knob])[knob]
    return found


def test_the_study_of_the_documentation_tunes_the_composing_models(run: EnsembleRun) -> None:
    baseline = run.result.trials[0]
    assert USER.items() <= baseline.config.items()
    assert run.first.state == "complete", run.first.reason
    assert len(run.result.trials) == 2
    for trial in (baseline, run.first):
        for point in trial.points:
            assert point.server is not None
            composing = point.server.composing
            assert set(composing) == {"preprocess", "classify"}
            for model in composing.values():
                assert model.requests == pytest.approx(point.server.requests, abs=2 * 4)
                assert sum(batch.size * batch.count for batch in model.batch_sizes) == model.requests
                assert set(model.mean_s) == {"queue", "compute_input", "compute_infer", "compute_output"}
    assert "not known to set" not in "".join(run.result.validity.warnings)


def test_results_say_where_the_latency_goes(run: EnsembleRun) -> None:
    rows = list(csv.DictReader((run.folder / "out" / "trials.csv").read_text().splitlines()))
    assert {row["preprocess.instances"] for row in rows} >= {"1", "2"}
    assert float(rows[0]["server_classify_batch_size_mean"]) >= 1
    assert float(rows[0]["server_preprocess_queue_mean_s"]) >= 0
    shown = tune("show", "out", "--trial", run.first.number, cwd=run.folder).stdout
    assert re.search(r"composing model +queue +compute", shown)
    assert re.search(r"preprocess +[\d.]+ .s", shown)
    report = (run.folder / "out" / "report.html").read_text()
    assert re.search(r"preprocess: queue [\d.]+ ms, compute [\d.]+ ms, batch [\d.]+; classify: queue ", report)
    assert "preprocess.instances" in report
    document = json.loads((run.folder / "out" / "result.json").read_text())
    assert set(document["trials"][0]["points"][0]["server"]["composing"]) == {"preprocess", "classify"}
    best = sorted(
        str(path.relative_to(run.folder / "out" / "best")) for path in (run.folder / "out" / "best").rglob("*.pbtxt")
    )
    assert "pipeline/config.pbtxt" in best
    changed = run.result.best is not None and run.result.best.trial > 0
    assert ("classify/config.pbtxt" in best or "preprocess/config.pbtxt" in best) == changed


def test_what_was_exported_runs_in_a_server_of_the_users(run: EnsembleRun) -> None:
    """It loads in a fresh one; from there the way back is taken by the server that runs."""
    number = run.first.number
    ended = tune("export", "out", "--trial", number, "--diff", "--apply", cwd=run.folder)
    assert ended.returncode == 0, ended.stderr
    for line in ("preprocess/config.pbtxt", "classify/config.pbtxt", "-  { count: 1", "+max_batch_size: 32"):
        assert line.replace("-  {", "-instance_group [ {") in ended.stdout, ended.stdout
    texts = {name: (run.folder / "models" / name / "config.pbtxt").read_text() for name in ("preprocess", "pipeline")}
    assert "# one is enough" in texts["preprocess"]
    assert f"# paretune: study pipeline, trial {number}" in texts["preprocess"]
    assert "paretune" not in texts["pipeline"], "it did not change"
    with foreign_triton(run.folder, "explicit", model="pipeline") as server:
        assert loaded(server) == FIRST
        ended = tune("export", "out", "--trial", 0, "--apply", "--reload", server.url, cwd=run.folder)
        assert ended.returncode == 0, ended.stderr
        assert "has loaded it, and has what was written" in ended.stderr
        assert loaded(server) == USER
        assert server.client.is_model_ready("pipeline")


# -- without a run --


def test_a_repository_with_an_ensemble_gets_a_study_of_its_composing_models(tmp_path: Path) -> None:
    write_ensemble(tmp_path / "models")
    study = load_study(write_for_repository(tmp_path / "models", tmp_path, None))
    assert study.spec.target.model_dump()["model"] == "pipeline"
    batches = {"low": 4, "high": 8, "scale": "log2"}
    assert study.spec.space["composing"]["preprocess"]["max_batch_size"] == batches
    assert study.spec.space["composing"]["classify"]["max_batch_size"] == {**batches, "high": 16}
    assert study.spec.space["composing"]["classify"]["instances"] == {"low": 1, "high": 4}
    prepared = prepare(study, tmp_path / "log.txt")
    searched = [f"{model}.{knob}" for model in ("preprocess", "classify")
                for knob in ("max_batch_size", "max_queue_delay", "instances")]  # fmt: skip
    assert [one.name for one in prepared.space] == [*searched, "concurrency"]


def test_knobs_of_an_ensemble_are_those_of_its_composing_models(tmp_path: Path) -> None:
    write_ensemble(tmp_path / "models")
    rows = {row["knob"]: row for row in (one.row() for one in of_model("triton", "pipeline", tmp_path / "models"))}
    assert rows["classify.max_batch_size"]["now"] == "16"
    assert rows["preprocess.instance_kind"]["now"] == "cpu"
    assert rows["instances"]["legal"].startswith("not here: instance group should not be specified for an ensemble")
    assert rows["preprocess.execution_mode"]["legal"].startswith("not here: it is for the ONNX Runtime backend")


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ({"instances": [1, 2]}, "space.instances: cannot be used here: instance group should not be specified"),
        ({"preprocess.instances": [1]}, "write `composing: {preprocess: {instances: ...}}`"),
        ({"composing": {"classifi": {"instances": [1]}}}, "space.composing.classifi: no such name under `composing`; "
         "did you mean `classify`?"),
        ({"composing": {"classify": {"instance": [1]}}}, "space.composing.classify.instance: no such name under "
         "`composing.classify`; did you mean `instances`?"),
        ({"composing": {"classify": 4}}, "space.composing.classify: expected a mapping of max_batch_size, "),
        ({"composing": {"preprocess": {"max_batch_size": [1, 2]}}}, "space.composing.preprocess.max_batch_size: no "
         "value can be used: ensemble 'pipeline' allows maximum batch size 4, but it contains model 'preprocess'"),
        ({"composing": {"classify": {"instances": [0]}}}, "space.composing.classify.instances.0: 0 is out of"),
        ({"composing": {"classify": {"execution_mode": ["parallel"]}}}, "space.composing.classify.execution_mode: "
         "cannot be used here: it is for the ONNX Runtime backend"),
    ],
)  # fmt: skip
def test_a_space_that_does_not_fit_the_ensemble_names_its_line(
    space: dict[str, object], message: str, tmp_path: Path
) -> None:
    study = write_study(tmp_path)
    given = {**yaml.safe_load(study.read_text()), "space": {**space, "concurrency": [4]}, "search": {}}
    given.pop("constraints")
    study.write_text(yaml.safe_dump(given, sort_keys=False))
    with pytest.raises(StudyError) as raised:
        prepare(load_study(study), tmp_path / "log.txt")
    assert message in str(raised.value)
    assert re.match(r".*/study\.yaml:1[4-9]: space\.", str(raised.value)), "the line is that of the knob"


def test_a_composing_model_whose_name_has_dots_is_searched_and_overridden(tmp_path: Path) -> None:
    study, models = write_study(tmp_path), tmp_path / "models"
    (models / "preprocess").rename(models / "scale.v2")
    for path in (study, models / "pipeline" / "config.pbtxt"):
        path.write_text(path.read_text().replace("preprocess", "scale.v2"))
    target = prepare(load_study(study), tmp_path / "log.txt").target
    for given in ("scale.v2.instances=2", 'composing."scale.v2".instances=2'):
        changed = load_study(study, [override_of("--ours", given, target.knobs())])
        space = prepare(changed, tmp_path / "log.txt").space
        assert [one.values for one in space if one.name == "scale.v2.instances"] == [(2,)]
    with pytest.raises(StudyError, match=r'name that has dots stands in quotes: space\.composing\."scale\.v2"'):
        prepare(load_study(study, ["space.composing.scale.v2.instances=2"]), tmp_path / "log.txt")


def test_a_change_of_a_composing_model_is_a_change_of_the_study(tmp_path: Path) -> None:
    study = load_study(write_study(tmp_path))
    before = study.fingerprint_of_files()
    config = tmp_path / "models" / "classify" / "config.pbtxt"
    config.write_text(config.read_text() + "# changed\n")
    assert study.fingerprint_of_files() != before
