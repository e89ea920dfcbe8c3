"""A real Triton for the tests, and a study small enough to run through in seconds."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from targets.triton.target import TritonTarget
from tests.support.targets import triton_target
from workloads.datasets import load_npz
from workloads.requests import Dataset

STUDIES = Path(__file__).parent.parent / "studies"
DIGITS = STUDIES / "digits"
VARIANTS = {
    "fp32": {"parameters": {"model_file": "model.onnx"}},
    "int8": {"parameters": {"model_file": "model.int8.onnx"}},
}

MakeTriton = Callable[..., TritonTarget]


@pytest.fixture(scope="session", autouse=True)
def cache_of_the_tests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep out of the user's cache."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def digits() -> Dataset:
    """The 600 held-out digits."""
    return load_npz(DIGITS / "test.npz")


@pytest.fixture(scope="session")
def triton(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TritonTarget]:
    """One running Triton for all tests that leave it running."""
    log = tmp_path_factory.mktemp("triton") / "log.txt"
    target = triton_target(log, model="digits", repository=DIGITS / "models", variants=VARIANTS)
    target.start()
    yield target
    target.stop()


@pytest.fixture
def make_triton(tmp_path: Path) -> Iterator[MakeTriton]:
    """Make targets of one's own; they are stopped at the end."""
    made = []

    def make(**settings: object) -> TritonTarget:
        values = {"model": "digits", "repository": DIGITS / "models", "variants": VARIANTS} | settings
        made.append(triton_target(tmp_path / "log.txt", **values))
        return made[-1]

    yield make
    for target in made:
        target.stop()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A copy of the digits model repository, to be changed."""
    return Path(shutil.copytree(DIGITS / "models", tmp_path / "models"))


@pytest.fixture
def small_study(tmp_path: Path, repository: Path) -> Callable[..., Path]:
    """Write a study of the digits model that takes seconds; keyword arguments replace top-level sections."""
    shutil.copy(DIGITS / "test.npz", tmp_path / "test.npz")

    def write(**sections: object) -> Path:
        study = yaml.safe_load((STUDIES / "digits.yaml").read_text())
        study["target"]["repository"] = repository.name
        for workload in study["workloads"].values():
            workload["requests"]["path"] = "test.npz"
            workload["timeout"] = "1 s"
        study |= {
            "space": {"max_batch_size": [8, 32], "precision": ["fp32", "int8"], "concurrency": [4, 16]},
            "slo": {"p90": "300 ms", "error_rate": "5%", "accuracy_drop": "2%"},
            "search": {"budget": {"trials": 2, "time": "5 min"}, "seed": 1},
            "measure": {"warmup": "0.1 s", "max_warmup": "0.2 s", "window": "0.2 s", "max_window": "0.4 s"},
            "confirm": {"candidates": 1, "redeployments": 2, "max_redeployments": 8, "rounds": 2, "round": "0.2 s"},
        }
        study |= sections
        path = tmp_path / "study.yaml"
        path.write_text(yaml.safe_dump(study, sort_keys=False))
        return path

    return write
