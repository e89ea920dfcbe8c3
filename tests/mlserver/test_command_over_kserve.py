"""The command target, for a server that speaks KServe v2: a real MLServer that an argument list starts."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from targets.base import Context, TargetError
from targets.command.options import CommandOptions, RequestSpec
from targets.command.target import CommandTarget
from targets.mlserver.installation import find_installation
from targets.ports import free_port
from tests.mlserver.conftest import MODELS, answers
from tuner.accuracy.scoring import TopK, compared
from workloads.datasets import load_npz
from workloads.requests import Dataset


@pytest.fixture
def target(tmp_path: Path) -> Iterator[CommandTarget]:
    """A target whose server is MLServer, told by its environment where to listen."""
    shutil.copytree(MODELS, tmp_path / "models")
    ports = {f"MLSERVER_{name}_PORT": str(free_port(None)) for name in ("GRPC", "METRICS")}
    host = {"MLSERVER_HOST": "127.0.0.1", "MLSERVER_PARALLEL_WORKERS": "0"}
    options = {
        "command": [str(find_installation(None).executable), "start", "models"],
        "env": {"MLSERVER_HTTP_PORT": "{{ port }}", **host, **ports},
        "knobs": {"unused": {"type": "int", "default": 1}},
        "ready": {"url": "/v2/health/ready"},
        "request": {"protocol": "kserve", "model": "digits"},
        "read_back": False,
    }
    made = CommandTarget(CommandOptions.model_validate(options), Context(tmp_path, tmp_path / "log.txt"))
    yield made
    made.stop()


def test_a_server_that_speaks_kserve_is_asked_with_tensors(target: CommandTarget, tmp_path: Path) -> None:
    digits = load_npz(MODELS.parent / "test.npz")
    few = Dataset({name: array[:50] for name, array in digits.inputs.items()}, digits.labels[:50])
    target.check_requests(few)
    target.start()
    deployment = target.deploy(target.user_config(), "one")
    found = [compared(outputs, None) for outputs in answers(deployment, few, tmp_path)]
    assert TopK().scores(found, few.labels).mean() > 0.9
    with pytest.raises(TargetError, match="lacks the model's input"):
        deployment.endpoint(Dataset({"Y": np.zeros((2, 3))}))


@pytest.mark.parametrize(
    ("request_spec", "message"),
    [
        ({"protocol": "kserve"}, "needs `model`"),
        ({"protocol": "kserve", "model": "a", "body": "{}"}, "`body` does nothing"),
        ({"model": "a"}, "`model` is for `protocol: kserve`"),
    ],
)
def test_keys_of_the_other_protocol_are_named(request_spec: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        RequestSpec.model_validate(request_spec)
