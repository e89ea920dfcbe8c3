"""The model of the search benchmarks, written to a folder: a network of 64-1024-1024-10 in Triton's Python backend.

One core serves it in about 0.5 ms plus 0.06 ms per request of a batch, so that batches pay; its default configuration
is what most people start from: batches up to 8, no queue delay, one instance.
"""

import itertools
from pathlib import Path

import numpy as np

LAYERS = (64, 1024, 1024, 10)
REQUESTS = 256

CONFIG = """\
name: "mlp"
backend: "python"
max_batch_size: 8
input [ { name: "INPUT" data_type: TYPE_FP32 dims: [ 64 ] } ]
output [ { name: "OUTPUT" data_type: TYPE_FP32 dims: [ 10 ] } ]
instance_group [ { count: 1 kind: KIND_CPU } ]
dynamic_batching { }
"""

MODEL = '''\
"""A network of three layers, in numpy."""

from pathlib import Path

import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def initialize(self, args):
        with np.load(Path(args["model_repository"]) / args["model_version"] / "weights.npz") as stored:
            self.layers = [stored[name] for name in sorted(stored.files)]

    def execute(self, requests):
        inputs = [pb_utils.get_input_tensor_by_name(request, "INPUT").as_numpy() for request in requests]
        rows = np.concatenate(inputs)
        for weights in self.layers[:-1]:
            rows = np.maximum(rows @ weights, 0)
        outputs = np.split(rows @ self.layers[-1], np.cumsum([len(one) for one in inputs])[:-1])
        return [pb_utils.InferenceResponse([pb_utils.Tensor("OUTPUT", one)]) for one in outputs]
'''

STUDY = """\
study: mlp
target: {kind: triton, model: mlp, repository: models}
workloads:
  steady:
    arrival: {process: closed}
    requests: {source: dataset, path: requests.npz}
space:
  max_batch_size: {low: 1, high: 64, scale: log2}
  max_queue_delay: [0 us, 500 us, 1 ms, 2 ms, 5 ms]
  instances: {low: 1, high: 4}
  concurrency: {low: 1, high: 64, scale: log2}
slo: {p99: 10 ms}
objectives: [maximize throughput, minimize p99]
search:
  budget: {trials: 40, time: 50 s}
measure: {warmup: 0.2 s, max_window: 1.5 s}
confirm: {candidates: 2, redeployments: 3, max_redeployments: 4, rounds: 3}
"""


def write(folder: Path) -> Path:
    """Write the model repository, its requests and a study; return the study's path."""
    version = folder / "models" / "mlp" / "1"
    version.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    shapes = list(itertools.pairwise(LAYERS))
    weights = {f"layer{index}": rng.normal(0, shape[0] ** -0.5, shape) for index, shape in enumerate(shapes)}
    np.savez(version / "weights.npz", **{name: one.astype(np.float32) for name, one in weights.items()})
    (version / "model.py").write_text(MODEL)
    (version.parent / "config.pbtxt").write_text(CONFIG)
    np.savez(folder / "requests.npz", INPUT=rng.normal(0, 1, (REQUESTS, LAYERS[0])).astype(np.float32))
    study = folder / "study.yaml"
    study.write_text(STUDY)
    return study
