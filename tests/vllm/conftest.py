"""A real vLLM and a small model of random weights, made once."""

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from targets.base import Context
from targets.vllm.installation import find
from targets.vllm.options import VLLMOptions
from targets.vllm.target import VLLMTarget
from workloads.requests import Prompts

MODEL_VARIABLE = "PARETUNE_TESTS_VLLM_MODEL"
MAKE_MODEL = Path(__file__).parents[2] / "studies" / "vllm" / "make_model.py"
CONFIG = """\
# The server of the tests.
max-num-seqs: 4
max_num_batched_tokens: 256   # of a step
max-model-len: 1024
enforce-eager: true  # it starts faster
"""

MakeVLLM = Callable[..., VLLMTarget]


def vllm_target(folder: Path, **options: object) -> VLLMTarget:
    """Make a target that is not started; the user's YAML stands in the folder."""
    if not (folder / "vllm.yaml").exists():
        (folder / "vllm.yaml").write_text(CONFIG)
    values = {
        "model": os.environ[MODEL_VARIABLE],
        "config": "vllm.yaml",
        "served_model_name": "llama",
        "endpoint": "completions",
        "ignore_eos": True,
        "env": {"VLLM_CPU_KVCACHE_SPACE": 1},
        "apply_timeout": "180 s",
    } | options
    return VLLMTarget(VLLMOptions.model_validate(values), Context(folder, folder / "log.txt"))


def some_prompts(count: int = 5, tokens: int = 8) -> Prompts:
    """Prompts of token ids, with answers of as many tokens."""
    rng = np.random.default_rng(11)
    texts = [[int(one) for one in rng.integers(300, 1600, 40)] for _ in range(count)]
    return Prompts(texts, np.full(count, tokens))


@pytest.fixture(scope="session", autouse=True)
def model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The model, made with the Python that has vLLM; the tests find it through the environment."""
    folder = tmp_path_factory.mktemp("model") / "llama"
    python = find(None).executable.parent / "python"
    subprocess.run([python, MAKE_MODEL, folder], check=True, capture_output=True)
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv(MODEL_VARIABLE, str(folder))
        yield folder


@pytest.fixture
def make_vllm(tmp_path: Path) -> Iterator[MakeVLLM]:
    """Make targets of one's own; they are stopped at the end."""
    made = []

    def make(**options: object) -> VLLMTarget:
        made.append(vllm_target(tmp_path, **options))
        return made[-1]

    yield make
    for target in made:
        target.stop()
