"""What a model's parameter names beside its folder: a Triton of ours finds it, under an alias and in a container."""

import io
import tarfile
from pathlib import Path

import numpy as np
import pytest

from targets.triton.config import ModelConfig, parse
from targets.triton.repository import stage
from tests.conftest import MakeTriton
from tests.support.docker import Docker
from tests.support.triton_ensembles import CLASSIFY, images, write_ensemble
from tests.support.triton_models import write_model
from workloads.requests import Dataset

pytestmark = pytest.mark.long

CONFIG = """
backend: "python"
max_batch_size: 4
input [ { name: "X" data_type: TYPE_FP32 dims: [ 2 ] } ]
output [ { name: "Y" data_type: TYPE_FP32 dims: [ 2 ] } ]
instance_group [ { count: 1 kind: KIND_CPU } ]
"""
CODE = """
import os
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def initialize(self, args):
        if os.environ.get("SHARED_ENVIRONMENT") != "found":
            raise RuntimeError("not in the shared environment")

    def execute(self, requests):
        rows = [pb_utils.get_input_tensor_by_name(request, "X").as_numpy() for request in requests]
        return [pb_utils.InferenceResponse([pb_utils.Tensor("Y", one)]) for one in rows]
"""
READS = """
import json

_OF_MODEL = "$$TRITON_MODEL_DIRECTORY"


def named(args, key):
    value = json.loads(args["model_config"])["parameters"][key]["string_value"]
    return value.replace(_OF_MODEL, args["model_repository"])
"""
ARCHIVE = "$$TRITON_MODEL_DIRECTORY/../environment.tar.gz"


def parameter(key: str, value: str) -> str:
    return f'parameters {{ key: "{key}" value {{ string_value: "{value}" }} }}\n'


def config(*values: str) -> ModelConfig:
    return parse("".join(parameter(f"p{index}", value) for index, value in enumerate(values)), Path("config.pbtxt"))


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """A repository with an environment that its models share."""
    folder = tmp_path / "models"
    folder.mkdir()
    script = b"export SHARED_ENVIRONMENT=found\n"
    with tarfile.open(folder / "environment.tar.gz", "w:gz") as archive:
        entry = tarfile.TarInfo("bin/activate")
        entry.size = len(script)
        archive.addfile(entry, io.BytesIO(script))
    return folder


# -- the real server --


@pytest.mark.parametrize("by", ["file", "variant"])
def test_a_shared_environment_is_found_by_every_alias_and_by_the_exported_file(
    by: str, models: Path, make_triton: MakeTriton
) -> None:
    own = parameter("EXECUTION_ENV_PATH", ARCHIVE) if by == "file" else ""
    write_model(models, "shared", (CONFIG + own, CODE))
    variants = {"packed": {} if by == "file" else {"parameters": {"EXECUTION_ENV_PATH": ARCHIVE}}}
    target = make_triton(model="shared", repository=models, variants=variants)
    rows = Dataset({"X": np.ones((2, 2), np.float32)})
    target.start()
    for alias in ("baseline", "candidate"):
        target.deploy({"max_batch_size": 2, "precision": "packed"}, alias).ask_once(rows)
    target.verify(target.export({"max_batch_size": 2, "precision": "packed"}), rows)


def test_a_composing_model_finds_what_it_names(models: Path, make_triton: MakeTriton) -> None:
    write_ensemble(models)
    text, code = CLASSIFY
    (models / "classify" / "config.pbtxt").write_text(text + parameter("labels", "$$TRITON_MODEL_DIRECTORY/../l.txt"))
    (models / "classify" / "1" / "model.py").write_text(
        READS
        + code
        + "\n    def initialize(self, args):\n        assert open(named(args, 'labels')).read() == 'one two'\n"
    )
    (models / "l.txt").write_text("one two")
    target = make_triton(model="pipeline", repository=models, variants={})
    target.start()
    target.deploy(target.user_config(), "candidate").ask_once(images())
    target.verify(target.export({"max_batch_size": 2}), images())


def test_a_container_sees_what_a_variant_names(models: Path, tmp_path: Path, make_triton: MakeTriton) -> None:
    write_model(models, "shared", (CONFIG, CODE))
    engine = Docker(tmp_path / "engine")
    target = make_triton(
        model="shared",
        repository=models,
        variants={"packed": {"parameters": {"EXECUTION_ENV_PATH": ARCHIVE}}},
        launch="docker",
        docker={"image": "triton:test", "engine": str(engine.executable), "network": "host"},
    )
    target.start()
    target.stop()
    (run,) = (call for call in engine.calls() if call[0] == "run")
    archive = (models / "environment.tar.gz").resolve()
    assert f"--mount=type=bind,source={archive},target={archive},readonly" in run


def test_a_container_sees_what_any_of_several_models_names(models: Path, make_triton: MakeTriton) -> None:
    write_model(models, "plain", (CONFIG, CODE))
    write_model(models, "shared", (CONFIG + parameter("EXECUTION_ENV_PATH", ARCHIVE), CODE))
    target = make_triton(
        models={"plain": {}, "shared": {}},
        model="",
        variants={},
        repository=models,
        launch="docker",
        docker={"image": "triton:test"},
    )
    needed = target._first._needed()  # type: ignore[attr-defined]
    assert needed == [models / one for one in ("plain", "shared", "environment.tar.gz")]


# -- links in the server's repository --


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A repository of the user's with two models, one in two versions, and a folder that is none."""
    folder = tmp_path / "own"
    for path in (
        "one/1/model.py",
        "other/config.pbtxt",
        "other/1/weights",
        "other/2/weights",
        "data/words/a",
        "data/b",
    ):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(path)
    return folder


@pytest.fixture
def there(tmp_path: Path) -> Path:
    """The server's repository."""
    folder = tmp_path / "there"
    folder.mkdir()
    return folder


def texts(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("named", "inside"),
    [
        ("../data/b", "data/b"),
        ("../data/words", "data/words/a"),
        ("../data", "data/words/a"),
        ("1/../../data/b", "data/b"),
        ("../other/2/weights", "other/2/weights"),
    ],
)
def test_what_is_named_beside_a_model_stands_beside_its_alias(named: str, inside: str, own: Path, there: Path) -> None:
    stage(own / "one", there, "one__x", config(f"$$TRITON_MODEL_DIRECTORY/{named}"))
    assert (there / "one__x" / ".." / inside).read_text() == inside


def test_what_is_in_the_model_or_outside_of_the_repository_is_not_linked(own: Path, there: Path) -> None:
    (own.parent / "outside").write_text("")
    named = ("1/model.py", "../../outside", "../missing", f"{'../' * 40}dev/null")
    stage(own / "one", there, "one__x", config(*(f"$$TRITON_MODEL_DIRECTORY/{one}" for one in named), "plain"))
    assert [path.name for path in there.iterdir()] == ["one__x"]


def test_a_folder_of_which_a_part_was_named_is_completed(own: Path, there: Path) -> None:
    stage(own / "one", there, "one__x", config("$$TRITON_MODEL_DIRECTORY/../data/b"))
    stage(own / "one", there, "one__y", config("$$TRITON_MODEL_DIRECTORY/../data"))
    assert (there / "data" / "words" / "a").read_text() == "data/words/a"


@pytest.mark.parametrize("named", ["../other", "../other/2/weights"])
@pytest.mark.parametrize("first", ["the one that names", "the named one"])
def test_a_model_that_another_one_names_is_staged_and_the_users_own_file_stays(
    first: str, named: str, own: Path, there: Path
) -> None:
    def stage_other() -> None:
        stage(own / "other", there, "other", config(), "ours")

    before = texts(own)
    if first == "the named one":
        stage_other()
    stage(own / "one", there, "one", config(f"$$TRITON_MODEL_DIRECTORY/{named}"), "ours")
    if first == "the one that names":
        stage_other()
    assert (there / "other" / "config.pbtxt").read_text() == "ours"
    for version in ("1", "2"):
        assert (there / "other" / version / "weights").read_text() == f"other/{version}/weights"
    assert texts(own) == before


def test_a_link_to_what_is_gone_is_made_anew(own: Path, there: Path) -> None:
    named = config("$$TRITON_MODEL_DIRECTORY/../current")
    for version in ("b", "words/a"):
        (own / "current").unlink(missing_ok=True)
        (own / "current").symlink_to(own / "data" / version)
        stage(own / "one", there, "one__x", named)
        assert (there / "current").read_text() == f"data/{version}"
        (own / "data" / version).unlink()
