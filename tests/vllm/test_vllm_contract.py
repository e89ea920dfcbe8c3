"""The contract, kept by the real vLLM on the CPU."""

from pathlib import Path
from typing import ClassVar

import pytest

from targets.base import Config, Export, Target
from targets.openai import process
from targets.testing import TargetContract
from tests.vllm.conftest import some_prompts, vllm_target
from workloads.requests import Requests


@pytest.mark.vllm
class TestVLLM(TargetContract):
    other: ClassVar[Config] = {"max_num_seqs": 8, "max_num_batched_tokens": 512, "enable_prefix_caching": False}
    refused: ClassVar[Config] = {"max_num_batched_tokens": 2}

    @staticmethod
    def make(folder: Path, **options: object) -> Target:
        return vllm_target(folder, **options)

    @staticmethod
    def requests() -> Requests:
        return some_prompts()

    @staticmethod
    def reread(export: Export, folder: Path) -> Target:
        for path, text in export.files.items():
            (folder / path).write_text(text)
        return vllm_target(folder)

    def be_impatient(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(process, "CONTROL_TIMEOUT_S", 1.0)
