"""Ensembles on the real server: composing models are tuned, aliased, read back, counted and exported."""

import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from targets.base import Config, ConfigRefused, Deployment, Export, Target, difference
from targets.testing import TargetContract
from targets.triton.composed import ComposedTriton
from targets.triton.config import from_loaded, knob_values
from targets.triton.server import TritonServer
from targets.triton.target import TritonTarget
from tests.support.targets import loads_since, triton_target
from tests.support.triton_ensembles import check_answers, images, settled, without_a_config, write_ensemble
from workloads.requests import Dataset

pytestmark = pytest.mark.long

USER: Config = {
    "max_batch_size": 4,
    "preprocess.max_batch_size": 8,
    "preprocess.instances": 1,
    "classify.max_batch_size": 16,
    "classify.max_queue_delay": 0.0,
    "classify.instances": 1,
}
WRITTEN = """\
max_batch_size: 8
dynamic_batching {
  max_queue_delay_microseconds: 1000
}
instance_group {
  count: 2
}
"""
CHANGED: Config = {**USER, "preprocess.instances": 2, "classify.max_batch_size": 32, "classify.max_queue_delay": 0.001}


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model repository with an ensemble."""
    return write_ensemble(tmp_path_factory.mktemp("ensemble") / "models")


@pytest.fixture(scope="module")
def server(repository: Path) -> Iterator[TritonTarget]:
    """A Triton that was started for the ensemble."""
    target = triton_target(repository.parent / "log.txt", model="pipeline", repository=repository)
    target.start()
    yield target
    target.stop()


def asked(target: TritonTarget, path: str) -> Any:
    """Ask the server itself, past the target's own reading."""
    return json.loads(target._running().get(path))


def loaded(target: TritonTarget, alias: str, config: Config) -> Config:
    """Return what the server says of the composing models under an alias, by the names of a study."""
    found: dict[str, Any] = {}
    for model in ("preprocess", "classify"):
        knobs = [name.partition(".")[2] for name in config if name.startswith(f"{model}.")]
        values = knob_values(from_loaded(asked(target, f"/v2/models/{model}__{alias}/config")), knobs)
        found |= {f"{model}.{name}": value for name, value in values.items()}
    return found


def counted(deployment: Deployment) -> dict[str, int]:
    return {name: part.requests for name, part in deployment.statistics()().parts.items()}


def ready(target: TritonTarget) -> list[str]:
    """Return the names that the server has models loaded by."""
    index = target._running().ask(lambda client: client.get_model_repository_index())
    return list(dict.fromkeys(entry["name"] for entry in index if entry.get("state") == "READY"))


def watched(server: TritonServer, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return what the server is asked from now on: `+NAME` to load a model, `-NAME` to unload one."""
    asked: list[str] = []

    def watch(mark: str, call: Callable[[str], None]) -> Callable[[str], None]:
        def noted(name: str) -> None:
            asked.append(f"{mark}{name}")
            call(name)

        return noted

    monkeypatch.setattr(server, "load", watch("+", server.load))
    monkeypatch.setattr(server, "unload", watch("-", server.unload))
    return asked


def composing_part(config: Config) -> Config:
    return {name: value for name, value in config.items() if "." in name}


def test_the_users_configuration_is_that_of_all_models(repository: Path, tmp_path: Path) -> None:
    target = triton_target(tmp_path / "log.txt", model="pipeline", repository=repository)
    assert isinstance(target, ComposedTriton)
    assert target.user_config() == USER
    target.expect(["classify.preferred_batch_size"])
    assert target.user_config() == {**USER, "classify.preferred_batch_size": "none"}


class EnsembleContract(TargetContract):
    """The contract of all targets, for those of its tests that need no server; the others are too dear to run here."""

    other: ClassVar[Config] = {name: value for name, value in CHANGED.items() if USER[name] != value}

    @staticmethod
    def make(folder: Path, **options: object) -> Target:
        if not (folder / "models").exists():
            write_ensemble(folder / "models")
        return triton_target(folder / "log.txt", model="pipeline", repository=folder / "models", **options)

    @staticmethod
    def requests() -> Dataset:
        return images()

    @classmethod
    def reread(cls, export: Export, folder: Path) -> Target:
        write_ensemble(folder / "models")
        for path, text in export.files.items():
            (folder / "models" / path).write_text(text)
        return cls.make(folder)


def test_the_contract_of_all_targets_is_kept_as_far_as_it_needs_no_server(tmp_path: Path) -> None:
    contract, target = EnsembleContract(), EnsembleContract.make(tmp_path)
    contract.test_knobs_are_declared_with_all_that_a_study_needs(target)
    contract.test_the_users_configuration_is_of_declared_knobs_and_legal(target)
    contract.test_requests_that_fit_are_taken(target)
    contract.test_an_export_says_what_was_applied(target, tmp_path)
    contract.test_an_export_of_the_users_own_configuration_changes_nothing(target)
    contract.test_a_target_that_was_not_started_says_so(target)


def test_two_aliases_answer_are_counted_and_share_no_composing_model(server: TritonTarget, tmp_path: Path) -> None:
    requests = images()
    one, other = server.deploy(USER, "one"), server.deploy(CHANGED, "other")
    assert loaded(server, "one", USER) == composing_part(USER)
    assert loaded(server, "other", CHANGED) == composing_part(CHANGED)
    before = one.statistics()(), other.statistics()()
    check_answers(one, requests, tmp_path)
    settled(one, before[0].requests + len(requests))
    mine, others = (difference(then, made.statistics()()) for then, made in zip(before, (one, other), strict=True))
    assert mine.requests == len(requests)
    assert set(mine.parts) == {"preprocess", "classify"}
    for part in mine.parts.values():
        assert sum(batch.size * batch.count for batch in part.batch_sizes) == part.requests == len(requests)
        assert part.mean_s["compute_infer"] > 0
    assert [part.requests for part in others.parts.values()] == [0, 0]
    one.retire()
    assert not [name for name in ready(server) if name.endswith("__one")], "a composing model is left"
    other.ask_once(requests)
    other.retire()


def test_only_what_changed_is_loaded_anew(server: TritonTarget) -> None:
    wanted: Config = {**USER, "preprocess.max_batch_size": 16}
    server.deploy(USER, "again")
    server.deploy(wanted, "again").ask_once(images())  # Python has written its caches now
    settled(server.deploy(wanted, "again"), 1)
    more: Config = {**wanted, "preprocess.instances": 3}
    assert counted(server.deploy(more, "again")) == {"preprocess": 1, "classify": 1}, "instances come to what is there"
    less: Config = {**more, "max_batch_size": 2, "preprocess.max_batch_size": 2}
    deployment = server.deploy(less, "again")
    assert counted(deployment) == {"preprocess": 0, "classify": 1}, "what did not change stays"
    deployment.ask_once(images())
    deployment = server.deploy(more, "again")
    deployment.ask_once(images())
    assert loaded(server, "again", more) == composing_part(more)
    deployment.retire()


@pytest.mark.parametrize("fits", [True, False])
def test_what_is_to_be_replaced_is_unloaded_before_another_is_loaded(
    fits: bool, server: TritonTarget, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The ensemble goes first. What stays is neither unloaded nor loaded; what was refused gives way to what was."""
    server.deploy({**USER, "preprocess.max_batch_size": 16}, "turn").ask_once(images())
    before: Config = {**USER, "preprocess.max_batch_size": 4}
    server.deploy(before, "turn")
    asked = watched(server._running(), monkeypatch)
    first = ["-pipeline__turn", "-preprocess__turn", "+pipeline__turn"]
    if fits:
        server.deploy({**before, "preprocess.max_batch_size": 8}, "turn").retire()
        assert asked[:3] == first
        return
    monkeypatch.setattr("targets.triton.ensemble.check_together", lambda _: None)
    with pytest.raises(ConfigRefused, match="which only allows maximum batch size to be 2"):
        server.deploy({**before, "preprocess.max_batch_size": 2}, "turn")
    assert asked == [*first, "+pipeline__turn"]
    assert loaded(server, "turn", before) == composing_part(before)
    server._deployed["turn"].ask_once(images())
    server._deployed["turn"].retire()


def test_a_composing_model_that_breaks_a_rule_is_refused_before_the_server_is_asked(server: TritonTarget) -> None:
    mark = server._log.mark()
    server.deploy(USER, "refused").retire()
    assert loads_since(server, mark), "this one the server was asked for"
    mark = server._log.mark()
    for change, rule, knobs in (
        ({"preprocess.max_batch_size": 2}, "ensemble 'pipeline' allows maximum batch size 4, but it contains model "
         "'preprocess' which only allows maximum batch size to be 2", ("preprocess.max_batch_size", "max_batch_size")),
        ({"classify.preferred_batch_size": "32"}, "composing model 'classify': dynamic batching preferred size must be "
         "<= max batch size, but 32 > 16", ("classify.preferred_batch_size", "classify.max_batch_size")),
        ({"preprocess.preferred_batch_size": "2"}, "is a part of dynamic_batching, which is off",
         ("preprocess.preferred_batch_size", "preprocess.max_queue_delay")),
        ({"instances": 2}, "instance group should not be specified for an ensemble", ("instances",)),
        ({"max_queue_delay": 0.001}, "exclude one another", ("max_queue_delay",)),
        ({"eager_batching": True}, "optimization should not be specified for an ensemble", ("eager_batching",)),
        ({"warmup": "zero"}, "model_warmup can not be specified for an ensemble", ("warmup",)),
    ):  # fmt: skip
        with pytest.raises(ConfigRefused) as refused:
            server.deploy({**USER, **change}, "refused")
        assert rule in str(refused.value)
        assert refused.value.knobs == knobs
    assert loads_since(server, mark) == [], "the server was not asked"


def test_what_the_server_refuses_leaves_all_models_of_the_alias_as_they_were(
    server: TritonTarget, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rule that only the server knows: the ensemble is broken off after a composing model was changed."""
    kept = server.deploy(USER, "kept")
    monkeypatch.setattr("targets.triton.ensemble.check_together", lambda _: None)
    with pytest.raises(ConfigRefused, match="which only allows maximum batch size to be 2"):
        server.deploy({**USER, "preprocess.max_batch_size": 2, "classify.instances": 2}, "kept")
    assert loaded(server, "kept", USER) == composing_part(USER)
    kept.ask_once(images())
    kept.retire()
    with pytest.raises(ConfigRefused):
        server.deploy({**USER, "preprocess.max_batch_size": 2}, "kept")
    assert not [name for name in ready(server) if name.endswith("__kept")], "a part of it is left"


def test_every_changed_model_is_exported_and_loads_as_it_is(server: TritonTarget, repository: Path) -> None:
    export = server.export(CHANGED)
    assert [str(path) for path in export.files] == [
        "preprocess/config.pbtxt", "classify/config.pbtxt", "pipeline/config.pbtxt"
    ]  # fmt: skip
    assert (
        "instance_group [ { count: 2 kind: KIND_CPU } ]  # one is enough"
        in export.files[Path("preprocess/config.pbtxt")]
    )
    assert "batches as they come" in export.files[Path("classify/config.pbtxt")]
    top = Path("pipeline/config.pbtxt")
    assert export.files[top] == export.originals[top] == (repository / top).read_text()
    assert export.places == {path: repository / path for path in export.files}
    server.verify(export, images())
    one = server.export({**USER, "classify.instances": 3})
    assert [str(path) for path in one.files] == ["classify/config.pbtxt", "pipeline/config.pbtxt"]


def test_an_ensemble_in_an_ensemble_is_deployed_with_all_of_them_over_grpc(tmp_path: Path) -> None:
    """One has no config.pbtxt: Triton completes it, and gets what is tuned of it. Of another an older version is asked.

    The inner ensemble is a variant.
    """
    variants = {"outer": {}, "inner": {"model": "pipeline"}}
    options = {"model": "outer", "repository": nested(tmp_path), "variants": variants}
    target = triton_target(tmp_path / "log.txt", protocol="grpc", **options)
    knobs = {knob.name: knob.unusable for knob in target.knobs() if knob.name.startswith("preprocess.")}
    assert "auto_complete_config of model 'preprocess' sets max_batch_size" in knobs["preprocess.max_batch_size"]
    assert (knobs["preprocess.instances"], knobs["preprocess.max_queue_delay"]) == ("", "")
    own = target.user_config()
    assert own["preprocess.max_batch_size"] == 8, "as Triton completes it"
    assert Path("preprocess/config.pbtxt") not in target.export(own).files
    tuned: Config = {"preprocess.instances": 2, "preprocess.max_queue_delay": 0.001}
    changed: Config = {**own, **tuned, "classify.instances": 2, "pipeline.max_batch_size": 8}
    target.start()
    try:
        deployment = target.deploy(changed, "one")
        check_answers(deployment, images(), tmp_path)
        settled(deployment, len(images()))
        assert counted(deployment) == dict.fromkeys(("preprocess", "classify", "pipeline"), len(images()))
        loaded = target._running().ask(lambda client: client.get_model_config("preprocess__one"))
        assert loaded["instance_group"][0]["count"] == 2
        assert loaded["dynamic_batching"]["max_queue_delay_microseconds"] == 1000
        deployment = target.deploy({**changed, "precision": "inner"}, "one")
        check_answers(deployment, images(), tmp_path)
        assert set(deployment.statistics()().parts) == {"preprocess", "classify"}
        assert sorted(ready(target)) == ["classify__one", "pipeline__one", "preprocess__one"], "the outer one is gone"
        deployment.retire()
        export = target.export(changed)
        assert [path.parent.name for path in export.files] == ["preprocess", "classify", "pipeline", "outer"]
        assert export.originals[Path("preprocess/config.pbtxt")] == ""
        assert export.files[Path("preprocess/config.pbtxt")] == WRITTEN
        target.verify(export, images())
        assert ready(target) == []
    finally:
        target.stop()


def nested(folder: Path) -> Path:
    """Write an ensemble around the ensemble, whose first model has no config.pbtxt, and whose second two versions."""
    models = without_a_config(write_ensemble(folder / "models"))
    shutil.copytree(models / "classify" / "1", models / "classify" / "2")
    with (models / "classify" / "config.pbtxt").open("a") as file:
        file.write("version_policy { all { } }\n")
    inner = models / "pipeline" / "config.pbtxt"
    inner.write_text(re.sub(r'("classify"\s+model_version:) -1', r"\1 1", inner.read_text()))
    text = inner.read_text()
    step = """model_name: "pipeline" model_version: -1
      input_map { key: "IMAGE" value: "IMAGE" } output_map { key: "DIGIT" value: "DIGIT" }"""
    outer = text[: text.index("ensemble_scheduling")] + f"ensemble_scheduling {{ step [ {{ {step} }} ] }}\n"
    (models / "outer" / "1").mkdir(parents=True)
    (models / "outer" / "config.pbtxt").write_text(outer)
    return models
