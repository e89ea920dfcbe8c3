"""A Python model that asks another one by itself, on the real server."""

from pathlib import Path

import numpy as np
import pytest

from targets.base import TargetError
from tests.conftest import MakeTriton
from tests.support.triton_models import CALLER, WHOLES, drive, write_model
from workloads.requests import Dataset

pytestmark = pytest.mark.long

ROWS = np.arange(8, dtype=np.float32).reshape(2, 4)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    return write_model(write_model(tmp_path / "models", "whole", WHOLES), "caller", CALLER)


def test_a_model_finds_those_that_it_calls_and_they_are_exported_with_it(
    repository: Path, make_triton: MakeTriton, tmp_path: Path
) -> None:
    target = make_triton(model="caller", repository=repository, variants={}, also=["whole"])
    target.start()
    deployments = [target.deploy({"max_batch_size": size}, f"c{size}") for size in (4, 8)]
    for deployment in deployments:
        report, _ = drive(deployment.endpoint(Dataset({"X": ROWS})), tmp_path)
        answers = [deployment.outputs(answer)["Y"] for _, answer in sorted(report.answers)]
        np.testing.assert_array_equal(np.concatenate(answers), ROWS)
    export = target.export({"max_batch_size": 4})
    assert export.folders == {Path(name): repository / name for name in ("caller", "whole")}
    assert export.flags[1:] == ("--load-model=caller", "--load-model=whole")
    assert set(export.files) == {Path("caller/config.pbtxt")}
    target.verify(export, Dataset({"X": ROWS}))


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
