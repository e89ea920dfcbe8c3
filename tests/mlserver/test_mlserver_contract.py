"""The contract, kept by a real MLServer."""

import shutil
from pathlib import Path
from typing import ClassVar

import pytest

from targets.base import Config, Export, Target
from targets.kserve import control
from targets.mlserver import server
from targets.testing import TargetContract
from tests.conftest import STUDIES
from tests.mlserver.conftest import MODELS, mlserver_target
from workloads.datasets import load_npz
from workloads.requests import Dataset

pytestmark = pytest.mark.long


class TestMLServer(TargetContract):
    other: ClassVar[Config] = {"max_batch_size": 8, "max_batch_time": 0.002, "parallel_workers": 1}
    refused: ClassVar[Config] = {"parallel_workers": -1}

    @staticmethod
    def make(folder: Path, **options: object) -> Target:
        if not (folder / "models").exists():
            shutil.copytree(MODELS, folder / "models")
            settings = folder / "models" / "settings.json"
            settings.write_text(settings.read_text().replace("{", '{\n  "parallel_workers": 0,', 1))
        return mlserver_target(folder, repository="models", **options)

    @staticmethod
    def requests() -> Dataset:
        return load_npz(STUDIES / "mlserver" / "test.npz")

    @classmethod
    def reread(cls, export: Export, folder: Path) -> Target:
        shutil.copytree(MODELS, folder / "models")
        for path, text in export.files.items():
            (folder / "models" / path).write_text(text)
        return cls.make(folder)

    def be_impatient(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(server, "CONTROL_TIMEOUT_S", 0.5)
        monkeypatch.setattr(control, "CONTROL_TIMEOUT_S", 0.5)
