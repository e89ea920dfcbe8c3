"""Studies that `tune init` writes for MLServer: for the models of a folder, and for a server that runs."""

import json
from pathlib import Path

import pytest

from targets.base import Deployment, TargetError
from targets.mlserver.target import MLServerDeployment
from tests.support.tune import tune
from tuner.found_studies import repository_here, write_for_repository
from tuner.results import read_result
from tuner.starters import StarterError
from tuner.study.load import load_study
from tuner.study.spec import StudySpec
from tuner.study.traffic import DatasetSpec, TensorsSpec
from tuner.wiring import prepare

SMALL = [
    "--trials", "1", "--set", "space.concurrency=[2]", "--set", "slo={mean: 1 us, p90: 20 s}",
    "--set", "workloads.steady.timeout=60 s",
    "--set", "measure={warmup: 0.1 s, max_warmup: 0.2 s, window: 0.2 s, max_window: 0.3 s}",
]  # fmt: skip
"""No server answers within this: two configurations are measured, and there is none to confirm."""
NOTHING_MET = 4


def add(folder: Path, name: str, **settings: object) -> None:
    """Add a model that has settings and nothing else."""
    (folder / name).mkdir(parents=True)
    (folder / name / "model-settings.json").write_text(json.dumps({"name": name, **settings}))


def requests_of(spec: StudySpec) -> DatasetSpec | TensorsSpec:
    drawn = spec.workloads["steady"].requests
    assert isinstance(drawn, DatasetSpec | TensorsSpec)
    return drawn


def study_of(folder: Path, model: str | None = None) -> StudySpec:
    """Write the study of a model, and return what it says once its target has read it."""
    path = write_for_repository(folder, folder.parent / "study", model)
    study = load_study(path)
    if requests_of(study.spec).source != "dataset":
        assert prepare(study, folder.parent / "log.txt").workloads
    return study.spec


@pytest.mark.long
@pytest.mark.usefixtures("repository")
def test_a_folder_of_models_gets_a_study_that_runs(tmp_path: Path) -> None:
    made = tune("init", cwd=tmp_path)
    assert made.returncode == 0, made.stderr
    assert made.stdout == "study.yaml  (next: tune study.yaml)\n"
    assert "found in models" in made.stderr
    spec = load_study(tmp_path / "study.yaml").spec
    assert spec.target.kind == "mlserver"
    assert set(spec.space) == {"max_batch_size", "max_batch_time", "parallel_workers", "concurrency"}
    ended = tune("study.yaml", *SMALL, cwd=tmp_path)
    assert ended.returncode == NOTHING_MET, ended.stderr
    yours, tried = read_result(tmp_path / "runs" / "digits" / "latest").trials
    assert yours.config != tried.config
    for one in (yours, tried):
        assert one.points[0].outcomes.get("ok", 0) > 0, one.points[0].outcomes


@pytest.mark.long
@pytest.mark.parametrize("scheme", ["http", "grpc"])
def test_a_server_that_runs_gets_a_study_that_runs(scheme: str, served: Deployment, tmp_path: Path) -> None:
    assert isinstance(served, MLServerDeployment)
    port = served._server.port if scheme == "http" else served._server.grpc_port
    made = tune("init", "--url", f"{scheme}://127.0.0.1:{port}", cwd=tmp_path)
    assert made.returncode == 0, made.stderr
    text = (tmp_path / "study.yaml").read_text()
    assert "on a server that runs (mlserver 1." in text
    assert "To tune MLServer's batching and workers as well: `tune init FOLDER`" in text
    assert load_study(tmp_path / "study.yaml").spec.target.kind == "kserve"
    ended = tune("study.yaml", *SMALL, cwd=tmp_path)
    assert ended.returncode == NOTHING_MET, ended.stderr
    (point,) = read_result(tmp_path / "runs" / "digits" / "latest").trial(0).points
    assert point.outcomes["ok"] > 0


def test_values_of_ones_own_are_among_those_that_are_searched(tmp_path: Path) -> None:
    inputs = [{"name": "ids", "datatype": "INT64", "shape": [-1, -1]}]
    add(tmp_path / "models", "own", max_batch_size=48, max_batch_time=0.05, inputs=inputs)
    (tmp_path / "models" / "settings.json").write_text('{"parallel_workers": 3}')
    spec = study_of(tmp_path / "models")
    assert spec.space["max_batch_size"] == {"low": 2, "high": 48, "scale": "log2"}
    assert spec.space["max_batch_time"] == ["1 ms", "2 ms", "5 ms", "10 ms", "50 ms"]
    assert spec.space["parallel_workers"] == [0, 1, 3]
    drawn = requests_of(spec)
    assert isinstance(drawn, TensorsSpec)
    assert drawn.shapes == {"ids": ["axis1"]}


def test_a_model_whose_first_axis_is_fixed_has_no_batches_to_search(tmp_path: Path) -> None:
    add(tmp_path / "models", "fixed", inputs=[{"name": "x", "datatype": "FP32", "shape": [4]}])
    assert set(study_of(tmp_path / "models").space) == {"parallel_workers", "concurrency"}


def test_a_model_that_does_not_say_what_it_takes_needs_a_file_of_requests(tmp_path: Path) -> None:
    add(tmp_path / "models", "plain")
    drawn = requests_of(study_of(tmp_path / "models"))
    assert isinstance(drawn, DatasetSpec)
    assert drawn.path == Path("requests.npz")


def test_several_models_are_listed_with_the_command_of_each(tmp_path: Path) -> None:
    for name in ("one", "other"):
        add(tmp_path / "models", name, inputs=[{"name": "x", "datatype": "FP32", "shape": [-1, 4]}])
    with pytest.raises(StarterError, match=r"there are 2 models(.|\n)*models --model one\n(.|\n)*models --model other"):
        study_of(tmp_path / "models")
    assert study_of(tmp_path / "models", "other").study == "other"


def test_a_folder_that_cannot_be_used_is_named_with_the_remedy(tmp_path: Path) -> None:
    add(tmp_path / "models", "one")
    (tmp_path / "models" / "settings.json").write_text("{}")
    with pytest.raises(TargetError, match=r"models/one is the folder of one model, .*is given: .*/models$"):
        study_of(tmp_path / "models" / "one")
    with pytest.raises(TargetError, match=r"no model 'onc' in .*did you mean 'one'"):
        study_of(tmp_path / "models", "onc")
    (tmp_path / "models" / "one" / "model-settings.json").write_text("{")
    with pytest.raises(TargetError, match=r"one/model-settings\.json:1: not JSON"):
        study_of(tmp_path / "models")
    (tmp_path / "empty").mkdir()
    with pytest.raises(
        TargetError, match=r"a config\.pbtxt, or a version .*, and nothing in it holds a model-settings\.json; .*give"
    ):
        study_of(tmp_path / "empty")


def test_a_run_does_not_begin_where_mlserver_would_load_what_it_exports(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(tmp_path / "models", "one")
    monkeypatch.chdir(tmp_path / "models")
    assert repository_here(Path()) == Path()
    with pytest.raises(StarterError, match=r"go outside: cd .* && tune init models$"):
        write_for_repository(Path(), Path(), None)


@pytest.mark.parametrize(
    ("files", "here"),
    [
        (["models/one/model-settings.json"], "models"),
        (["models/model-settings.json"], "."),
        (["settings.json", "models/one/model-settings.json"], "."),
        (["one/model-settings.json", "models/one/config.pbtxt"], "models"),
        (["a/b/c/model-settings.json"], None),
    ],
)
def test_models_are_looked_for_where_a_server_is_usually_started(
    files: list[str], here: str | None, tmp_path: Path
) -> None:
    for file in files:
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text("{}")
    assert repository_here(tmp_path) == (None if here is None else tmp_path / here)
