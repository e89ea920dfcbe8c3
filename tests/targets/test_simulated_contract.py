"""The contract, kept by the simulated server."""

from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from targets.base import Config, Context, Export, Target
from targets.simulated import client
from targets.simulated.options import SimulatedOptions
from targets.simulated.target import SimulatedTarget
from targets.testing import TargetContract
from workloads.requests import Dataset

QUEUE = '{"max_batch_size": 4, "max_queue_delay_us": 500, "instances": 2, "fixed_ms": 0.5, "each_ms": 0.125}\n'


class TestSimulated(TargetContract):
    other: ClassVar[Config] = {"max_batch_size": 16, "max_queue_delay": 0.002, "instances": 1}
    refused: ClassVar[Config] = {"instances": 0}

    @staticmethod
    def make(folder: Path, **options: object) -> Target:
        if not (folder / "models").exists():
            (folder / "models" / "queue").mkdir(parents=True)
            (folder / "models" / "queue" / "queue.json").write_text(QUEUE)
        values = {"model": "queue", "repository": "models", **options}
        return SimulatedTarget(SimulatedOptions.model_validate(values), Context(folder, folder / "log.txt"))

    @staticmethod
    def requests() -> Dataset:
        return Dataset({"X": np.arange(40, dtype=np.float32).reshape(10, 4)})

    @classmethod
    def reread(cls, export: Export, folder: Path) -> Target:
        for path, text in export.files.items():
            (folder / "models" / path).parent.mkdir(parents=True)
            (folder / "models" / path).write_text(text)
        return cls.make(folder)

    def be_impatient(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(client, "CONTROL_TIMEOUT_S", 0.5)
