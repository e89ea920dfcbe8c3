"""A real llama-server and a small model of random weights, made once."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from targets.base import Context
from targets.llamacpp.options import LlamaCppOptions
from targets.llamacpp.target import LlamaCppTarget
from workloads.requests import Prompts

MODEL_VARIABLE = "PARETUNE_TESTS_LLAMACPP_MODEL"
MAKE_MODEL = Path(__file__).parents[2] / "studies" / "llamacpp" / "make_model.py"
CONFIG = """\
# The server of the tests.
LLAMA_ARG_N_PARALLEL=2
LLAMA_ARG_CTX_SIZE=2048   # of both slots
LLAMA_ARG_BATCH=256
LLAMA_ARG_THREADS=1
LLAMA_ARG_ALIAS='a llama'
"""

MakeLlamaCpp = Callable[..., LlamaCppTarget]


def llamacpp_target(folder: Path, **options: object) -> LlamaCppTarget:
    """Make a target that is not started; the user's environment file stands in the folder."""
    if not (folder / "llama.env").exists():
        (folder / "llama.env").write_text(CONFIG)
    values = {
        "model": os.environ[MODEL_VARIABLE],
        "config": "llama.env",
        "endpoint": "completions",
        "ignore_eos": True,
        "apply_timeout": "60 s",
    } | options
    return LlamaCppTarget(LlamaCppOptions.model_validate(values), Context(folder, folder / "log.txt"))


def some_prompts(count: int = 5, tokens: int = 8) -> Prompts:
    """Prompts of token ids, with answers of as many tokens."""
    rng = np.random.default_rng(11)
    texts = [[int(one) for one in rng.integers(300, 1600, 40)] for _ in range(count)]
    return Prompts(texts, np.full(count, tokens))


@pytest.fixture(scope="session", autouse=True)
def model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The model; the tests find it through the environment, also those in another process."""
    path = tmp_path_factory.mktemp("model") / "llama.gguf"
    subprocess.run([sys.executable, MAKE_MODEL, path], check=True, stdout=subprocess.DEVNULL)
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv(MODEL_VARIABLE, str(path))
        yield path


@pytest.fixture
def make_llamacpp(tmp_path: Path) -> Iterator[MakeLlamaCpp]:
    """Make targets of one's own; they are stopped at the end."""
    made = []

    def make(**options: object) -> LlamaCppTarget:
        made.append(llamacpp_target(tmp_path, **options))
        return made[-1]

    yield make
    for target in made:
        target.stop()
