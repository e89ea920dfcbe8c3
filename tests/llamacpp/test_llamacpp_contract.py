"""The contract, kept by the real llama-server on the CPU."""

from pathlib import Path
from typing import ClassVar

import pytest

from targets.base import Config, Export, Target
from targets.openai import process
from targets.testing import TargetContract
from tests.llamacpp.conftest import llamacpp_target, some_prompts
from workloads.requests import Requests


@pytest.mark.llamacpp
class TestLlamaCpp(TargetContract):
    counts: ClassVar[bool] = False
    other: ClassVar[Config] = {
        "parallel": 4, "ctx_size": 4096, "kv_unified": True, "batch_size": 512, "threads": 2, "cache_type_k": "q8_0",
    }  # fmt: skip
    refused: ClassVar[Config] = {"cache_type_v": "q4_0", "flash_attn": "off"}

    @staticmethod
    def make(folder: Path, **options: object) -> Target:
        return llamacpp_target(folder, **options)

    @staticmethod
    def requests() -> Requests:
        return some_prompts()

    @staticmethod
    def reread(export: Export, folder: Path) -> Target:
        for path, text in export.files.items():
            (folder / path).write_text(text)
        return llamacpp_target(folder)

    def be_impatient(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(process, "CONTROL_TIMEOUT_S", 1.0)


@pytest.mark.llamacpp
class TestLlamaCppSideBySide(TestLlamaCpp):
    @staticmethod
    def make(folder: Path, **options: object) -> Target:
        return llamacpp_target(folder, **({"side_by_side": True} | options))
