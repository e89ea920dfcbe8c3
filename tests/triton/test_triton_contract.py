"""The contract, kept by a real Triton, over each of its protocols."""

import shutil
from pathlib import Path
from typing import ClassVar

import pytest

from targets.base import Config, Context, Export, Target
from targets.testing import TargetContract
from targets.triton import server as triton_server
from targets.triton.options import TritonOptions
from targets.triton.target import TritonTarget
from tests.conftest import DIGITS, VARIANTS
from workloads.datasets import load_npz
from workloads.requests import Dataset


class TestTriton(TargetContract):
    other: ClassVar[Config] = {"max_batch_size": 32, "instances": 2, "max_queue_delay": 0.0005, "precision": "int8"}
    refused: ClassVar[Config] = {"max_batch_size": 4}

    @staticmethod
    def make(folder: Path, **options: object) -> Target:
        if not (folder / "models").exists():
            shutil.copytree(DIGITS / "models", folder / "models")
            config = folder / "models" / "digits" / "config.pbtxt"
            # A batch size below this one is refused.
            preferred = "dynamic_batching { preferred_batch_size: [ 8 ] }"
            config.write_text(config.read_text().replace("dynamic_batching { }", preferred))
        values = {"model": "digits", "repository": "models", "variants": VARIANTS, **options}
        return TritonTarget(TritonOptions.model_validate(values), Context(folder, folder / "log.txt"))

    @staticmethod
    def requests() -> Dataset:
        return load_npz(DIGITS / "test.npz")

    @classmethod
    def reread(cls, export: Export, folder: Path) -> Target:
        shutil.copytree(DIGITS / "models", folder / "models")
        for path, text in export.files.items():
            (folder / "models" / path).write_text(text)
        # Which variant a configuration is shows in its files alone: the one that changes nothing in them.
        return cls.make(folder)

    def be_impatient(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(triton_server, "CONTROL_TIMEOUT_S", 0.5)


class TestTritonOverGrpc(TestTriton):
    """The whole of it again: processes, ports and the control plane are others with gRPC."""

    @staticmethod
    def make(folder: Path, **options: object) -> Target:
        return TestTriton.make(folder, protocol="grpc", **options)
