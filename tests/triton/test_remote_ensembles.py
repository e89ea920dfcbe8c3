"""`launch: remote` with an ensemble: composing models are tuned under their own names and get back what they had."""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import yaml

from targets.base import (
    Config,
    ConfigRefused,
    Context,
    Deployment,
    Export,
    ServerCounters,
    Target,
    TargetError,
    difference,
)
from targets.counters import ServerStats
from targets.testing import RemoteTargetContract, TargetContract
from targets.triton.config import from_loaded, knob_values
from targets.triton.options import TritonOptions
from targets.triton.remote_composed import RemoteComposed
from targets.triton.target import TritonTarget
from tests.support.foreign_triton import ForeignTriton, foreign_triton
from tests.support.triton_ensembles import CLASSIFY, check_answers, images, without_a_config, write_ensemble
from tests.support.triton_models import write_model
from tuner.study.load import load_study
from tuner.study.source import StudyError
from tuner.wiring import prepare
from workloads.requests import Dataset

pytestmark = pytest.mark.long

MODELS = ("preprocess", "classify", "pipeline")
USER: Config = {
    "max_batch_size": 4,
    "preprocess.max_batch_size": 8,
    "preprocess.instances": 1,
    "classify.max_batch_size": 16,
    "classify.max_queue_delay": 0.0,
    "classify.instances": 1,
}
CHANGED: Config = {**USER, "preprocess.instances": 2, "classify.max_batch_size": 32, "classify.max_queue_delay": 0.001}
LARGE: Config = {**USER, "max_batch_size": 32, "preprocess.max_batch_size": 32, "classify.max_batch_size": 32}
SMALL: Config = {**USER, "max_batch_size": 2, "preprocess.max_batch_size": 2, "classify.max_batch_size": 2}


def serving(folder: Path, mode: str) -> Iterator[ForeignTriton]:
    write_ensemble(folder / "models")
    with foreign_triton(folder, mode, model="pipeline") as server:
        yield server


@pytest.fixture(scope="module")
def explicit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ForeignTriton]:
    yield from serving(tmp_path_factory.mktemp("explicit"), "explicit")


@pytest.fixture(scope="module")
def uncontrolled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ForeignTriton]:
    yield from serving(tmp_path_factory.mktemp("uncontrolled"), "none")


def configs(server: ForeignTriton) -> dict[str, Mapping[str, Any]]:
    """Return what the server itself says of all models."""
    return {name: server.config(name) for name in MODELS}


def has(server: ForeignTriton) -> Config:
    """Return the same by the names of a study."""
    found: dict[str, Any] = {}
    for name, config in configs(server).items():
        start = "" if name == "pipeline" else f"{name}."
        knobs = [knob.removeprefix(start) for knob in USER if knob.startswith(start) and "." not in knob[len(start) :]]
        found |= {f"{start}{knob}": value for knob, value in knob_values(from_loaded(config), knobs).items()}
    return {knob: found[knob] for knob in USER}


def remote(folder: Path, server: ForeignTriton, protocol: str = "http", **options: object) -> TritonTarget:
    values = {
        "model": "pipeline",
        "launch": "remote",
        "protocol": protocol,
        "repository": server.repository,
        **server.urls(protocol),
        **options,
    }
    return TritonTarget(TritonOptions.model_validate(values), Context(folder, folder / "log.txt"))


def counted_since(reading: ServerCounters, deployment: Deployment, requests: int) -> ServerStats:
    """Return what was counted once all models have counted so many requests: they do a moment after the answer."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        counted = difference(reading, deployment.statistics()())
        if min(counted.requests, *(part.requests for part in counted.parts.values())) >= requests:
            break
        time.sleep(0.01)
    return counted


MakeRemote = Callable[..., TritonTarget]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[MakeRemote]:
    made: list[TritonTarget] = []

    def one(server: ForeignTriton, protocol: str = "http", **options: object) -> TritonTarget:
        made.append(remote(tmp_path, server, protocol, **options))
        return made[-1]

    yield one
    for target in made:
        target.stop()


class TestTheContract(RemoteTargetContract):
    """That of a remote target, and what it can keep of the other's."""

    server: ClassVar[ForeignTriton]
    other: ClassVar[Config] = {name: value for name, value in CHANGED.items() if USER[name] != value}
    changed = TargetContract.changed
    spoiled = staticmethod(TargetContract.spoiled)

    @pytest.fixture(autouse=True)
    def _served(self, explicit: ForeignTriton) -> Iterator[None]:
        type(self).server = explicit
        before = configs(explicit)
        yield
        assert configs(explicit) == before, "all models have the configurations that they had"

    @classmethod
    def make(cls, folder: Path, **options: object) -> Target:  # type: ignore[override]
        return remote(folder, cls.server, **options)

    @staticmethod
    def requests() -> Dataset:
        return images()

    def reread(self, export: Export, folder: Path) -> Target:
        write_ensemble(folder / "models")
        for path, text in export.files.items():
            (folder / "models" / path).write_text(text)
        return self.make(folder, repository=folder / "models")

    test_export = TargetContract.test_an_export_of_the_users_own_configuration_changes_nothing
    test_says = TargetContract.test_an_export_says_what_was_applied
    test_loaded = TargetContract.test_an_export_is_loaded_as_it_is
    test_spoiled = TargetContract.test_an_export_that_does_not_load_is_not_verified
    test_alias = TargetContract.test_an_alias_is_taken_over
    test_unstarted = TargetContract.test_a_target_that_was_not_started_says_so


@pytest.mark.parametrize("protocol", ["http", "grpc"])
@pytest.mark.parametrize("known", [True, False])
def test_composing_models_are_loaded_read_back_counted_and_given_back(
    protocol: str, known: bool, explicit: ForeignTriton, make: MakeRemote, tmp_path: Path
) -> None:
    """Without a repository the user's configuration is what the server says."""
    before = configs(explicit)
    target = make(explicit, protocol, **({} if known else {"repository": None}))
    assert isinstance(target, RemoteComposed)
    assert target.user_config() == USER
    usable = [knob.name for knob in target.knobs() if not knob.unusable]
    assert {"max_batch_size", "preprocess.instances", "classify.preferred_batch_size"} <= set(usable)
    target.start()
    deployment = target.deploy(CHANGED, "one")
    assert has(explicit) == CHANGED
    reading = deployment.statistics()()
    check_answers(deployment, images(), tmp_path)
    counted = counted_since(reading, deployment, len(images()))
    assert counted.requests == len(images())
    assert {name: part.requests for name, part in counted.parts.items()} == {"preprocess": 40, "classify": 40}
    assert all(part.mean_s["compute_infer"] > 0 for part in counted.parts.values())
    export = target.export(CHANGED)
    written = {"preprocess", "classify", "pipeline"} if known else set()
    assert {path.parent.name for path in export.files} == written
    target.verify(export, images())
    target.stop()
    assert configs(explicit) == before
    assert explicit.client.is_model_ready("pipeline")
    assert explicit.process.running()


def test_what_the_server_completes_of_a_composing_model_without_a_config_is_tuned(tmp_path: Path) -> None:
    without_a_config(write_ensemble(tmp_path / "models"))
    with foreign_triton(tmp_path, "explicit", model="pipeline") as server:
        before = configs(server)
        target = remote(tmp_path, server)
        target.start()
        try:
            own = target.user_config()
            assert own["preprocess.max_batch_size"] == 8
            tuned: Config = {**own, "preprocess.instances": 2, "preprocess.max_queue_delay": 0.001}
            deployment = target.deploy(tuned, "one")
            assert configs(server)["preprocess"]["instance_group"][0]["count"] == 2
            check_answers(deployment, images(), tmp_path)
            export = target.export(tuned)
            assert "count: 2" in export.files[Path("preprocess/config.pbtxt")]
            assert "input" not in export.files[Path("preprocess/config.pbtxt")], "the model says that itself"
            target.verify(export, images())
        finally:
            target.stop()
        assert configs(server) == before


def test_the_users_own_configuration_is_left_as_it_is(explicit: ForeignTriton, make: MakeRemote) -> None:
    target = make(explicit)
    target.start()
    log = explicit.repository.parent / "server.log"
    size = log.stat().st_size
    target.deploy(target.user_config(), "one").retire()
    target.stop()
    assert "loading" not in log.read_text()[size:], "nothing was loaded"


def test_batches_of_all_models_grow_and_shrink_together(explicit: ForeignTriton, make: MakeRemote) -> None:
    """Whichever goes first must fit what the others still have."""
    log = explicit.repository.parent / "server.log"
    before, size = configs(explicit), log.stat().st_size
    target = make(explicit)
    target.start()
    for config in (LARGE, SMALL, LARGE):
        target.deploy(config, "one").endpoint(images())
        assert has(explicit) == config
        assert target.alive(), "the ensemble is there"
    target.stop()
    assert configs(explicit) == before
    assert explicit.client.is_model_ready("pipeline")
    assert "only allows maximum batch size" not in log.read_text()[size:], "the ensemble was never gone"


def test_files_that_are_newer_than_what_was_loaded_over_them_do_not_come_back(
    explicit: ForeignTriton, make: MakeRemote
) -> None:
    """Triton looks at the files of composing models when it loads their ensemble."""
    before = configs(explicit)
    target = make(explicit)
    target.start()
    target.deploy(CHANGED, "one")
    code = explicit.repository / "classify" / "1" / "model.py"
    code.write_text(f"{code.read_text()}\n")
    other: Config = {**CHANGED, "max_batch_size": 2}
    target.deploy(other, "one")
    assert has(explicit) == other
    code.write_text(f"{code.read_text()}\n")
    target.stop()
    assert configs(explicit) == before


def test_what_was_loaded_over_a_composing_models_own_file_is_what_comes_back(
    explicit: ForeignTriton, make: MakeRemote
) -> None:
    at_first = configs(explicit)
    text = json.dumps({**at_first["classify"], "max_batch_size": 24})
    explicit.client.load_model("classify", config=text)
    try:
        before = configs(explicit)
        assert before["classify"]["max_batch_size"] == 24
        target = make(explicit)
        target.start()
        target.deploy(LARGE, "one")
        target.stop()
        assert configs(explicit) == before
    finally:
        explicit.client.load_model("classify", config=json.dumps(at_first["classify"]))
    assert configs(explicit) == at_first


def test_what_the_server_refuses_leaves_all_models_as_they_were(
    explicit: ForeignTriton, make: MakeRemote, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A rule that only the server knows: the ensemble is gone after a composing model was changed."""
    target = make(explicit)
    target.start()
    kept = target.deploy(CHANGED, "one")
    monkeypatch.setattr("targets.triton.ensemble.check_together", lambda _: None)
    with pytest.raises(ConfigRefused, match="which only allows maximum batch size to be 2"):
        target.deploy({**CHANGED, "preprocess.max_batch_size": 2, "classify.instances": 2}, "one")
    assert has(explicit) == CHANGED
    check_answers(kept, images(), tmp_path)


def test_a_composing_model_that_does_not_load_leaves_all_models_as_they_were(
    explicit: ForeignTriton, make: MakeRemote, tmp_path: Path
) -> None:
    own = write_ensemble(tmp_path / "models")
    target = make(explicit, repository=own)
    target.start()
    kept = target.deploy(CHANGED, "one")
    export = target.export({**CHANGED, "preprocess.max_batch_size": 16})
    path = Path("preprocess/config.pbtxt")
    broken = f"{export.files[path]}\nversion_policy {{ specific {{ versions: 9 }} }}\n"
    with pytest.raises(ConfigRefused, match="at least one version must be available"):
        target.verify(Export({**export.files, path: broken}, export.originals), images())
    assert has(explicit) == CHANGED
    check_answers(kept, images(), tmp_path)


def test_a_model_that_does_not_load_any_more_keeps_the_others_from_nothing_and_is_not_forgotten(
    explicit: ForeignTriton, make: MakeRemote
) -> None:
    """The others get back what they had; so does it once it loads again, though the target was started meanwhile."""
    before = configs(explicit)
    target = make(explicit)
    target.start()
    target.deploy(LARGE, "one")
    code = explicit.repository / "preprocess" / "1" / "model.py"
    works = code.read_text()
    try:
        code.write_text("raise RuntimeError('broken meanwhile')\n")
        with pytest.raises(TargetError, match=r"(?s)could not be loaded again: .*broken meanwhile"):
            target.stop()
        assert has(explicit)["classify.max_batch_size"] == USER["classify.max_batch_size"]
        assert has(explicit)["preprocess.max_batch_size"] == LARGE["preprocess.max_batch_size"]
        target.start()
    finally:
        code.write_text(works)
        target.stop()
    assert configs(explicit) == before


def test_an_answer_is_applied_to_models_that_are_not_loaded(explicit: ForeignTriton, make: MakeRemote) -> None:
    before = configs(explicit)
    target = make(explicit)
    try:
        explicit.client.unload_model("pipeline")
        assert not explicit.client.is_model_ready("pipeline")
        target.apply(LARGE)
        assert has(explicit) == LARGE
        assert explicit.client.is_model_ready("pipeline")
    finally:
        for name in reversed(MODELS):
            explicit.client.load_model(name, config=json.dumps(before[name]))
    assert configs(explicit) == before


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_a_variant_of_models_that_are_not_loaded_is_named_with_what_to_do(
    protocol: str, explicit: ForeignTriton, make: MakeRemote
) -> None:
    before, name = configs(explicit), f"better_{protocol}"
    write_model(explicit.repository, name, CLASSIFY)
    steps = [
        {"model_name": "preprocess", "model_version": -1, "input_map": {"RAW": "IMAGE"}, "output_map": {"PIXELS": "p"}},
        {"model_name": name, "model_version": -1, "input_map": {"PIXELS": "p"}, "output_map": {"LABEL": "DIGIT"}},
    ]
    target = make(explicit, protocol, variants={"usual": {}, "other": {"ensemble_scheduling": {"step": steps}}})
    with pytest.raises(
        TargetError,
        match=rf"(?s)target\.variants\.other: ensemble 'pipeline' is composed of model '{name}', .*unknown model.*; "
        rf"load it there before \(POST /v2/repository/models/{name}/load\)",
    ):
        target.start()
    assert configs(explicit) == before
    explicit.client.load_model(name)
    target.start()
    target.deploy({**target.user_config(), "precision": "other"}, "one").endpoint(images())
    target.stop()
    assert configs(explicit) == before


def test_a_server_without_model_control_has_composing_models_that_cannot_be_changed(
    uncontrolled: ForeignTriton, make: MakeRemote, tmp_path: Path
) -> None:
    target = make(uncontrolled)
    target.start()
    assert all(knob.unusable for knob in target.knobs())
    deployment = target.deploy(target.user_config(), "one")
    check_answers(deployment, images(), tmp_path)
    assert set(deployment.statistics()().parts) == {"preprocess", "classify"}
    with pytest.raises(ConfigRefused, match=r"does not let models be loaded .*--model-control-mode=explicit"):
        target.deploy(CHANGED, "two")


def test_a_server_without_model_control_whose_composing_model_is_another_than_the_file_says_is_refused(
    uncontrolled: ForeignTriton, make: MakeRemote, tmp_path: Path
) -> None:
    own = write_ensemble(tmp_path / "models")
    config = own / "classify" / "config.pbtxt"
    config.write_text(config.read_text().replace("max_batch_size: 16", "max_batch_size: 32"))
    with pytest.raises(TargetError, match="than your file: classify: max_batch_size: asked 32, loaded 16"):
        make(uncontrolled, repository=own).start()


@pytest.mark.parametrize(
    ("mode", "message"),
    [
        ("explicit", ""),
        ("uncontrolled", "space.composing.preprocess.instances: cannot be used here: .* does not let models be loaded"),
    ],
)
def test_a_study_searches_composing_models_where_the_server_lets_them_be_loaded(
    mode: str, message: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    server: ForeignTriton = request.getfixturevalue(mode)
    requests = images()
    np.savez(tmp_path / "images.npz", **dict(requests.inputs), labels=np.asarray(requests.labels))
    workload = {"arrival": {"process": "closed"}, "requests": {"source": "dataset", "path": "images.npz"}}
    study = {
        "study": "pipeline",
        "target": {"kind": "triton", "model": "pipeline", "launch": "remote", "url": server.url},
        "workloads": {"steady": workload},
        "space": {"composing": {"preprocess": {"instances": [1, 2]}}, "concurrency": 4},
        "slo": {"p99": "1 s"},
        "objectives": ["maximize goodput"],
    }
    path = tmp_path / "study.yaml"
    path.write_text(yaml.safe_dump(study, sort_keys=False))
    if message:
        with pytest.raises(StudyError, match=rf"study\.yaml:\d+: {message}"):
            prepare(load_study(path), tmp_path / "log.txt")
    else:
        prepared = prepare(load_study(path), tmp_path / "log.txt")
        assert [one.name for one in prepared.space] == ["preprocess.instances", "concurrency"]
