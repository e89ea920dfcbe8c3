"""A real MLServer with the digits of the study, and one that sends back what it is sent."""

import json
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from targets.base import Context, Deployment
from targets.mlserver.options import MLServerOptions
from targets.mlserver.target import MLServerTarget
from tests.conftest import STUDIES
from tuner.load import engine
from tuner.load.plan import ClosedLoop, Plan
from workloads.datasets import load_npz
from workloads.requests import Dataset

MODELS = STUDIES / "mlserver" / "models"
BATCHED = {"max_batch_size": 8, "max_batch_time": 0.002, "parallel_workers": 1}
ECHO = """
from mlserver import MLModel
from mlserver.types import InferenceResponse, ResponseOutput


class Echo(MLModel):
    async def predict(self, payload):
        outputs = [
            ResponseOutput(name=one.name, shape=one.shape, datatype=one.datatype, data=one.data)
            for one in payload.inputs
        ]
        return InferenceResponse(model_name=self.name, outputs=outputs)
"""
MakeMLServer = Callable[..., MLServerTarget]


def mlserver_target(folder: Path, **options: object) -> MLServerTarget:
    """Make a target that is not started; it serves the digits of the study."""
    values = {"model": "digits", "repository": MODELS, **options}
    return MLServerTarget(MLServerOptions.model_validate(values), Context(folder, folder / "log.txt"))


def answers(deployment: Deployment, dataset: Dataset, folder: Path) -> list[Mapping[str, NDArray[np.generic]]]:
    """Send every item once, eight in flight, and return the decoded answers in the items' order."""
    plan = Plan(
        endpoint=deployment.endpoint(dataset),
        load=ClosedLoop(8, np.arange(len(dataset), dtype=np.int32), total=len(dataset)),
        start_ns=time.monotonic_ns(),
        warmup_ns=0,
        window_ns=120_000_000_000,
        timeout_ns=60_000_000_000,
        records_path=folder / "records.bin",
        keep_answers=True,
    )
    report = engine.run(plan)
    assert report.failures == ()
    found = {index: deployment.outputs(answer) for index, answer in report.answers}
    return [found[index] for index in range(len(dataset))]


@pytest.fixture(scope="session")
def scans() -> Dataset:
    """The 600 held-out digits of the study, 64 numbers each."""
    return load_npz(STUDIES / "mlserver" / "test.npz")


@pytest.fixture(scope="session")
def mlserver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MLServerTarget]:
    """One MLServer target for all tests that leave it running."""
    target = mlserver_target(tmp_path_factory.mktemp("mlserver"))
    target.start()
    yield target
    target.stop()


@pytest.fixture(scope="session")
def served(mlserver: MLServerTarget) -> Deployment:
    """An MLServer with adaptive batching that stays."""
    return mlserver.deploy(BATCHED, "served")


@pytest.fixture
def make_mlserver(tmp_path: Path) -> Iterator[MakeMLServer]:
    """Make targets of one's own; they are stopped at the end."""
    made = []

    def make(**options: object) -> MLServerTarget:
        made.append(mlserver_target(tmp_path, **options))
        return made[-1]

    yield make
    for target in made:
        target.stop()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A copy of the study's models, to be changed."""
    return Path(shutil.copytree(MODELS, tmp_path / "models"))


@pytest.fixture(scope="session")
def echoes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository of one model, in no folder of its own, that sends back its inputs."""
    folder = tmp_path_factory.mktemp("echo") / "models"
    folder.mkdir()
    (folder / "echo.py").write_text(ECHO)
    (folder / "model-settings.json").write_text(json.dumps({"name": "echo", "implementation": "echo.Echo"}))
    (folder / "settings.json").write_text('{"parallel_workers": 0, "debug": false, "metrics_endpoint": null}')
    return folder
