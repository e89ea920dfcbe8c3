"""Models without a config.pbtxt, or with one that lacks inputs and outputs: Triton is asked for the rest, once."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from targets.base import Config, TargetError
from targets.triton.found import models_at
from targets.triton.target import TritonTarget
from tests.support.foreign_triton import foreign_triton
from tests.support.targets import triton_target
from tests.support.triton_models import write_alone
from workloads.requests import Dataset

pytestmark = pytest.mark.long

USER: Config = {"max_batch_size": 8, "max_queue_delay": 0.0}
TUNED: Config = {"max_batch_size": 4, "max_queue_delay": 0.001, "instances": 2}
WRITTEN = """\
max_batch_size: 4
dynamic_batching {
  max_queue_delay_microseconds: 1000
}
instance_group {
  count: 2
}
"""
ROWS = Dataset({"X": np.ones((3, 4), np.float32)})
FILE = Path("alone/config.pbtxt")


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two models that complete themselves; one of them does not let its largest batch be changed."""
    return write_alone(write_alone(tmp_path_factory.mktemp("completed") / "models", "alone"), "fixed", fixed=True)


def made(repository: Path) -> TritonTarget:
    variants = {"own": {}, "raised": {"max_batch_size": 16}, "other": {"model": "fixed"}}
    return triton_target(repository.parent / "log.txt", model="alone", repository=repository, variants=variants)


@pytest.fixture(scope="module")
def target(repository: Path) -> Iterator[TritonTarget]:
    """A Triton for one of them, with variants."""
    target = made(repository)
    target.start()
    yield target
    target.stop()


def test_what_triton_completes_is_the_users_own(target: TritonTarget) -> None:
    assert target.user_config() == {**USER, "precision": "own"}
    target.check_requests(ROWS)
    with pytest.raises(TargetError, match="lacks the model's input 'X'"):
        target.check_requests(Dataset({"Y": np.ones((3, 4), np.float32)}))
    assert target.export(target.user_config()).files == {FILE: ""}


def test_it_is_tuned_and_written_with_the_tuned_fields_alone(target: TritonTarget) -> None:
    deployment = target.deploy(TUNED, "candidate")
    deployment.ask_once(ROWS)
    path = "/v2/models/alone__candidate/config"
    loaded = json.loads(target._running().get(path))
    assert (loaded["max_batch_size"], loaded["instance_group"][0]["count"]) == (4, 2)
    deployment.retire()
    export = target.export(TUNED)
    assert (export.files, export.originals) == ({FILE: WRITTEN}, {FILE: ""})
    target.verify(export, ROWS)


def test_variants_are_asked_for_with_their_overlays(target: TritonTarget) -> None:
    raised = target.export({**USER, "max_batch_size": 16, "precision": "raised"})
    assert raised.files == {FILE: "max_batch_size: 16\n"}
    assert target._bases["raised"][1].max_batch_size == 16
    other, _ = target._bases["other"]
    assert other.keeps("max_batch_size").startswith("auto_complete_config of model 'fixed' sets max_batch_size to 8")
    assert not any(knob.unusable for knob in target.knobs() if knob.name in USER), "of one of the variants they can be"


def test_what_was_told_is_kept_as_long_as_the_models_files_stay(repository: Path, target: TritonTarget) -> None:
    mark = target._log.mark()
    assert made(repository).user_config() == target.user_config()
    assert target._log.mark() == mark, "no server was started"


def test_a_model_that_fixes_its_batch_has_no_knob_of_it(repository: Path, target: TritonTarget) -> None:
    """What is known of it was told to the study before."""
    alone = triton_target(target._log.path, model="fixed", repository=repository)
    unusable = {knob.name: knob.unusable for knob in alone.knobs() if knob.name in TUNED}
    assert "take set_max_batch_size out of there" in unusable.pop("max_batch_size")
    assert not any(unusable.values())


def test_a_model_that_triton_does_not_complete_says_why(tmp_path: Path) -> None:
    folder = write_alone(tmp_path / "models", "alone") / "alone"
    code = folder / "1" / "model.py"
    code.write_text(code.read_text().replace("config.add_input", "config.add_inputs"))
    reason = "and Triton does not load the model as it is: .*'ModelConfig' object has no attribute 'add_inputs'"
    with pytest.raises(TargetError, match=f"alone/config.pbtxt: no such file, {reason}"):
        triton_target(tmp_path / "log.txt", model="alone", repository=tmp_path / "models")
    code.write_text(code.read_text().replace("auto_complete_config", "unused"))
    (folder / "config.pbtxt").write_text('backend: "python"\nmax_batch_size: 8\n')
    with pytest.raises(TargetError, match="inputs or outputs are not named, and Triton does not know them of this"):
        triton_target(tmp_path / "log.txt", model="alone", repository=tmp_path / "models")


def test_without_a_triton_here_it_is_said_what_the_file_lacks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    repository = write_alone(tmp_path / "models", "alone")
    monkeypatch.setenv("TRITONSERVER", str(tmp_path / "nowhere"))
    log = tmp_path / "log.txt"
    lacks = "alone/config.pbtxt: no such file, and Triton cannot be asked for the rest: the environment variable "
    for make in (
        lambda: triton_target(log, model="alone", repository=repository),
        lambda: models_at(str(repository), "alone"),
    ):
        with pytest.raises(TargetError, match=f"{lacks}TRITONSERVER names .*nowhere.*; write its inputs and outputs"):
            make()
    (repository / "alone" / "config.pbtxt").write_text("max_batch_size: 2\n")
    (found,) = models_at(str(repository), None)
    assert (found.inputs, found.max_batch) == ((), 2), "a study to fill in can be written"


def test_one_that_runs_already_is_asked_itself(repository: Path, tmp_path: Path) -> None:
    shutil.copytree(repository / "alone", tmp_path / "models" / "alone")
    with foreign_triton(tmp_path, "explicit", model="alone") as server:
        before = server.config()
        log, models = tmp_path / "log.txt", tmp_path / "models"
        remote = triton_target(log, model="alone", repository=models, launch="remote", url=server.url)
        remote.start()
        try:
            assert remote.user_config() == USER
            remote.deploy(TUNED, "candidate")
            assert server.config()["max_batch_size"] == 4
            export = remote.export(TUNED)
            assert export.files == {FILE: WRITTEN}
            remote.verify(export, ROWS)
        finally:
            remote.stop()
        assert server.config() == before
