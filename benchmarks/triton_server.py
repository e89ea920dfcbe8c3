"""A real Triton with the model of the digits study, to be loaded."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

from studies import __file__ as studies_file
from targets.base import Context, Deployment, Endpoint
from targets.triton.options import TritonOptions
from targets.triton.target import TritonTarget
from workloads.datasets import load_npz

STUDIES = Path(studies_file).parent
MODELS = STUDIES / "digits" / "models"


@contextmanager
def digits(
    protocol: str, batch: int, scratch: Path, cpu: int, models: Path = MODELS, delay_s: float = 0.002
) -> Iterator[tuple[Endpoint, str, Callable[[], int]]]:
    """Start Triton with the digits model, its batches as large as the load; yield endpoint, model name, counter."""
    options = TritonOptions(
        model="digits",
        repository=models,
        variants={"int8": {"parameters": {"model_file": "model.int8.onnx"}}},
        protocol="grpc" if protocol == "grpc" else "http",
    )
    target = TritonTarget(options, Context(scratch, scratch / "triton.log", frozenset({cpu})))
    with ExitStack() as stack:
        stack.callback(target.stop)
        target.start()
        config = {"precision": "int8", "max_batch_size": batch, "max_queue_delay": delay_s, "instances": 1}
        deployment = target.deploy({**target.user_config(), **config}, "bench")
        endpoint = deployment.endpoint(load_npz(STUDIES / "digits" / "test.npz", "labels"))
        yield endpoint, "digits__bench", partial(_answered, deployment)


def _answered(deployment: Deployment) -> int:
    return deployment.statistics()().requests
