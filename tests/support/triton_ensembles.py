"""An ensemble of two models of Triton's Python backend: one scales pixels, the other tells which is the brightest."""

import time
from pathlib import Path

import numpy as np

from targets.base import Deployment, ServerCounters
from tests.support.triton_models import drive, write_model
from workloads.requests import Dataset

PREPROCESS = (
    """
backend: "python"
max_batch_size: 8
input [ { name: "RAW" data_type: TYPE_UINT8 dims: [ 10 ] } ]
output [ { name: "PIXELS" data_type: TYPE_FP32 dims: [ 10 ] } ]
instance_group [ { count: 1 kind: KIND_CPU } ]  # one is enough
""",
    """
import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def execute(self, requests):
        return [self.answer(pb_utils.get_input_tensor_by_name(request, "RAW").as_numpy()) for request in requests]

    def answer(self, rows):
        return pb_utils.InferenceResponse([pb_utils.Tensor("PIXELS", rows.astype(np.float32) / 255)])
""",
)
CLASSIFY = (
    """
backend: "python"
max_batch_size: 16
input [ { name: "PIXELS" data_type: TYPE_FP32 dims: [ 10 ] } ]
output [ { name: "LABEL" data_type: TYPE_INT64 dims: [ 1 ] } ]
dynamic_batching { }  # batches as they come
instance_group [ { count: 1 kind: KIND_CPU } ]
""",
    """
import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def execute(self, requests):
        return [self.answer(pb_utils.get_input_tensor_by_name(request, "PIXELS").as_numpy()) for request in requests]

    def answer(self, rows):
        labels = rows.argmax(axis=1).astype(np.int64).reshape(-1, 1)
        return pb_utils.InferenceResponse([pb_utils.Tensor("LABEL", labels)])
""",
)
COMPLETES = """
    @staticmethod
    def auto_complete_config(config):
        config.set_max_batch_size(8)
        config.add_input({"name": "RAW", "data_type": "TYPE_UINT8", "dims": [10]})
        config.add_output({"name": "PIXELS", "data_type": "TYPE_FP32", "dims": [10]})
        return config
"""
ENSEMBLE = """
platform: "ensemble"
max_batch_size: 4
input [ { name: "IMAGE" data_type: TYPE_UINT8 dims: [ 10 ] } ]
output [ { name: "DIGIT" data_type: TYPE_INT64 dims: [ 1 ] } ]
ensemble_scheduling {
  step [
    {
      model_name: "preprocess"  # first this one
      model_version: -1
      input_map { key: "RAW" value: "IMAGE" }
      output_map { key: "PIXELS" value: "scaled" }
    },
    {
      model_name: "classify"
      model_version: -1
      input_map { key: "PIXELS" value: "scaled" }
      output_map { key: "LABEL" value: "DIGIT" }
    }
  ]
}
"""


def write_ensemble(repository: Path, name: str = "pipeline") -> Path:
    """Write the ensemble and its composing models into a repository; return the repository."""
    write_model(repository, "preprocess", PREPROCESS)
    write_model(repository, "classify", CLASSIFY)
    (repository / name / "1").mkdir(parents=True)
    (repository / name / "config.pbtxt").write_text(ENSEMBLE)
    return repository


def without_a_config(repository: Path) -> Path:
    """Take the config.pbtxt of the first composing model away: it completes itself; return the repository."""
    (repository / "preprocess" / "config.pbtxt").unlink()
    code = repository / "preprocess" / "1" / "model.py"
    code.write_text(code.read_text() + COMPLETES)
    return repository


def images(count: int = 40) -> Dataset:
    """Return images with one brightest pixel each, and its place as their label."""
    labels = np.arange(count, dtype=np.int64) % 10
    pixels = np.full((count, 10), 20, np.uint8)
    pixels[np.arange(count), labels] = 200
    return Dataset({"IMAGE": pixels}, labels)


def settled(deployment: Deployment, requests: int) -> ServerCounters:
    """Read the counters once all of them are there: Triton counts a request a moment after it has answered it."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        counters = deployment.statistics()()
        if min(counters.requests, *(part.requests for part in counters.parts.values())) >= requests:
            break
        time.sleep(0.01)
    return counters


def check_answers(deployment: Deployment, requests: Dataset, folder: Path) -> None:
    """Send every request and compare each answer with its label."""
    report, _ = drive(deployment.endpoint(requests), folder)
    assert len(report.answers) == len(requests)
    assert requests.labels is not None
    for index, answer in report.answers:
        assert deployment.outputs(answer)["DIGIT"].item() == requests.labels[index]
