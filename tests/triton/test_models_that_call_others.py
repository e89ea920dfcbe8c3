"""A Python model that asks another one by itself, on the real server: what is asked is tuned with it."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from targets.base import Config, ConfigRefused, Deployment, TargetError, difference
from targets.triton.calling import CallingTriton
from targets.triton.config import from_loaded, knob_values
from targets.triton.deployment import TritonDeployment
from targets.triton.server import TritonServer
from targets.triton.target import TritonTarget
from tests.conftest import MakeTriton
from tests.support.foreign_triton import foreign_triton
from tests.support.targets import triton_target
from tests.support.triton_ensembles import write_ensemble
from tests.support.triton_models import CALLER, WHOLES, drive, write_model
from tuner.study.load import load_study
from tuner.study.source import StudyError
from tuner.wiring import prepare
from workloads.requests import Dataset

pytestmark = pytest.mark.long

ROWS = np.arange(8, dtype=np.float32).reshape(2, 4)
USER: Config = {"max_batch_size": 8, "instances": 1, "whole.max_batch_size": 8, "whole.instances": 1}
COMMENT = "# gives back what it gets\n"


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    return write_model(write_model(tmp_path / "models", "whole", WHOLES, COMMENT), "caller", CALLER)


def called(deployment: Deployment) -> Config:
    """Return what the server of a deployment says of the model that is called."""
    assert isinstance(deployment, TritonDeployment)
    found = deployment._server.ask(lambda client: client.get_model_config("whole"))
    return {f"whole.{name}": value for name, value in _knobs(found).items()}


def _knobs(found: Any) -> Config:
    return knob_values(from_loaded(found), ["max_batch_size", "instances"])


def full(flags: Sequence[str], beside: bool) -> TritonServer:
    """Start no server."""
    raise TargetError(f"no room for one {'beside another ' * beside}with {flags}")


def answers(deployment: Deployment, folder: Path) -> None:
    """Check that every row comes back, and that both models have counted it."""
    before, deadline = deployment.statistics()(), time.monotonic() + 10
    report, _ = drive(deployment.endpoint(Dataset({"X": ROWS})), folder)
    found = [deployment.outputs(answer)["Y"] for _, answer in sorted(report.answers)]
    np.testing.assert_array_equal(np.concatenate(found), ROWS)
    parts: dict[str, int] = {}
    while sum(parts.values()) < len(ROWS) and time.monotonic() < deadline:  # it counts a moment after it has answered
        parts = {name: part.requests for name, part in difference(before, deployment.statistics()()).parts.items()}
    assert parts == {"whole": len(ROWS)}


def test_a_model_finds_those_that_it_calls_and_they_are_tuned_under_their_own_names(
    repository: Path, make_triton: MakeTriton, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = make_triton(model="caller", repository=repository, variants={}, also=["whole"])
    assert isinstance(target, CallingTriton)
    assert target.user_config() == USER
    target.start()
    more: Config = {**USER, "whole.max_batch_size": 4, "whole.instances": 2}
    trial = target.deploy(more, "trial")
    assert USER | called(trial) == more
    _is_as_it_was_after_a_refusal(target, trial, more, monkeypatch)
    trial.retire()
    pair = target.deploy_together([(more, "contender0"), ({**more, "max_batch_size": 4}, "contender1")])
    assert pair[0].processes() == pair[1].processes(), "they share a server"
    answers(pair[0], tmp_path)
    with pytest.raises(ConfigRefused, match="load them one after the other"):
        target.deploy_together([(more, "contender0"), (USER, "contender1")])
    with monkeypatch.context() as patched:
        patched.setattr(target._fleet, "_start", full)
        with pytest.raises(ConfigRefused, match="a second server, beside the one that runs: no room for one"):
            target.deploy(USER, "contender2")
    other = target.deploy(USER, "contender2")
    assert not set(other.processes()) & set(pair[0].processes()), "beside others it is called on another server"
    for one, config in ((pair[1], more), (other, USER)):
        assert USER | called(one) == config
        answers(one, tmp_path)


def test_models_that_are_called_are_exported_with_the_one_that_calls_them(
    repository: Path, make_triton: MakeTriton
) -> None:
    target = make_triton(model="caller", repository=repository, variants={}, also=["whole"])
    export = target.export({"max_batch_size": 4})
    assert export.folders == {Path(name): repository / name for name in ("caller", "whole")}
    assert export.flags[1:] == ("--load-model=caller", "--load-model=whole")
    assert set(export.files) == {Path("caller/config.pbtxt")}
    export = target.export({**USER, "whole.max_batch_size": 4, "whole.instances": 2})
    assert [str(path) for path in export.files] == ["whole/config.pbtxt", "caller/config.pbtxt"]
    text = (repository / "whole" / "config.pbtxt").read_text()
    changed = text.replace("max_batch_size: 8", "max_batch_size: 4").replace("count: 1", "count: 2")
    assert export.files[Path("whole/config.pbtxt")] == changed
    assert COMMENT in changed
    assert export.commented == {Path("whole/config.pbtxt")}
    target.start()
    target.verify(export, Dataset({"X": ROWS}))
    loaded = target._running().ask(lambda client: client.get_model_config("whole"))
    assert _knobs(loaded) == {"max_batch_size": 4, "instances": 2}


def _is_as_it_was_after_a_refusal(
    target: TritonTarget, trial: TritonDeployment, has: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One is refused by a rule; then the server refuses the called model, and the model that calls it."""
    wrong: Config = {"max_queue_delay": 0.0, "preferred_batch_size": "16"}
    with pytest.raises(ConfigRefused, match=r"^called model 'whole': dynamic batching preferred size must be <= max"):
        target.deploy({**has, **{f"whole.{name}": value for name, value in wrong.items()}}, "trial")
    with monkeypatch.context() as patched:
        patched.setattr("targets.triton.ensemble.rules.check", lambda *_: None)
        for refused in ({f"whole.{name}": value for name, value in wrong.items()}, {"whole.instances": 1, **wrong}):
            with pytest.raises(ConfigRefused, match="preferred size must be <= max batch size"):
                target.deploy({**has, **refused}, "trial")
            assert USER | called(trial) == has
            trial.ask_once(Dataset({"X": ROWS}))


def test_what_cannot_be_tuned_of_called_models_is_refused_with_the_reason(repository: Path, tmp_path: Path) -> None:
    write_ensemble(repository)
    write_model(repository, "cached", WHOLES, "response_cache { enable: true }")
    write_model(repository, "bare", WHOLES)
    (repository / "bare" / "config.pbtxt").unlink()
    names = ["whole", "preprocess", "pipeline", "cached", "bare"]
    target = triton_target(tmp_path / "log.txt", model="caller", repository=repository, also=names)
    knobs = {knob.name: knob.unusable for knob in target.knobs()}
    assert knobs["whole.instances"] == ""
    for name, reason in (
        ("preprocess.instances", "called model 'preprocess' is a step of ensemble 'pipeline'"),
        ("pipeline.max_batch_size", "called model 'pipeline' is an ensemble"),
        ("whole.response_cache", "called model 'whole' keeps its name, so with response_cache on"),
        ("cached.instances", "called model 'cached' keeps its name, so with response_cache on"),
        ("bare.instances", "model 'bare' has no config.pbtxt"),
    ):
        assert knobs[name].startswith(reason)
    with pytest.raises(ConfigRefused, match="is a step of ensemble"):
        target.check({"preprocess.instances": 2})
    assert {name.partition(".")[0] for name in target.user_config() if "." in name} == {"whole"}
    assert list(target.export({"max_batch_size": 4}).files) == [Path("caller/config.pbtxt")]


def test_a_study_searches_what_is_called_under_composing(repository: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "rows.npz", X=ROWS)
    study: dict[str, Any] = {
        "study": "calls",
        "target": {"kind": "triton", "model": "caller", "repository": str(repository), "also": ["whole"]},
        "workloads": {
            "steady": {"arrival": {"process": "closed"}, "requests": {"source": "dataset", "path": "rows.npz"}}
        },
        "space": {"instances": [1, 2], "composing": {"whole": {"instances": [1, 2]}}, "concurrency": [1]},
        "constraints": ["whole.instances >= instances"],
        "slo": {"error_rate": "1%"},
    }  # fmt: skip
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(study))
    prepared = prepare(load_study(tmp_path / "study.yaml"), tmp_path / "log.txt")
    assert {one.name for one in prepared.space} == {"instances", "whole.instances", "concurrency"}
    del study["target"]["also"]
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(study))
    with pytest.raises(StudyError, match=r"space\.composing: has the models .* or that a model calls"):
        prepare(load_study(tmp_path / "study.yaml"), tmp_path / "log.txt")


def test_what_is_called_on_a_server_that_runs_gets_back_what_it_had(repository: Path, tmp_path: Path) -> None:
    write_model(repository, "third", WHOLES)
    with foreign_triton(tmp_path, "explicit", ["--load-model=whole"], model="caller") as server:
        place = {"launch": "remote", "repository": repository, **server.urls("http")}
        target = triton_target(tmp_path / "log.txt", model="caller", also=["whole"], **place)
        assert target.user_config() == USER
        target.start()
        answers(target.deploy({"whole.max_batch_size": 4}, "trial"), tmp_path)
        assert server.config("whole")["max_batch_size"] == 4
        names = [path.parent.name for path in target.export({"whole.max_batch_size": 4}).files]
        assert names == ["whole", "caller"]
        target.stop()
        assert _knobs(server.config("whole")) == {"max_batch_size": 8, "instances": 1}
        target = triton_target(tmp_path / "log.txt", model="caller", also=["third"], **place)
        with pytest.raises(TargetError, match=r"target\.also: 'caller' calls model 'third', of which the server tells"):
            target.start()


@pytest.mark.parametrize(
    ("also", "message"),
    [
        ("other", "target.also: no model 'other' in "),
        ("caller", "target.also: 'caller' is the model of the study; name those that it calls"),
    ],
)
def test_a_model_that_cannot_be_called_is_named(
    also: str, message: str, repository: Path, make_triton: MakeTriton
) -> None:
    with pytest.raises(TargetError, match=message):
        make_triton(model="caller", repository=repository, variants={}, also=[also])


def test_one_that_the_server_does_not_load_is_said_with_its_reason(repository: Path, make_triton: MakeTriton) -> None:
    (repository / "whole" / "1" / "model.py").write_text("raise RuntimeError('no such luck')")
    target = make_triton(model="caller", repository=repository, variants={}, also=["whole"])
    with pytest.raises(TargetError, match=r"target\.also: 'whole' was not loaded: .*no such luck"):
        target.start()
    assert not target.alive()
