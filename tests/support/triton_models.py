"""Small models of Triton's Python backend, written where the tests want them, and what the load engine got of them."""

import time
from pathlib import Path

import numpy as np

from targets.base import Endpoint
from tuner.load import engine
from tuner.load.plan import ClosedLoop, Plan, RunReport
from tuner.records import Records, read_records

_CPU = "instance_group [ { count: 1 kind: KIND_CPU } ]\n"

ECHO = (
    """
backend: "python"
max_batch_size: 4
input [
  { name: "TEXT" data_type: TYPE_STRING dims: [ 2 ] },
  { name: "NUMBER" data_type: TYPE_INT64 dims: [ -1 ] }
]
output [
  { name: "TEXT_BACK" data_type: TYPE_STRING dims: [ 2 ] },
  { name: "SUM" data_type: TYPE_INT64 dims: [ 1 ] },
  { name: "PARAMETERS" data_type: TYPE_STRING dims: [ 1 ] }
]
"""
    + _CPU,
    """
import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def execute(self, requests):
        return [self.answer(request) for request in requests]

    def answer(self, request):
        text = pb_utils.get_input_tensor_by_name(request, "TEXT").as_numpy()
        number = pb_utils.get_input_tensor_by_name(request, "NUMBER").as_numpy()
        said = np.full((len(text), 1), request.parameters(), object)
        return pb_utils.InferenceResponse(
            [
                pb_utils.Tensor("SUM", number.sum(axis=1, keepdims=True)),
                pb_utils.Tensor("TEXT_BACK", text),
                pb_utils.Tensor("PARAMETERS", said),
            ]
        )
""",
)
"""Gives texts back, sums numbers, and says what came along."""

SUM = (
    """
backend: "python"
max_batch_size: 8
input [ { name: "X" data_type: TYPE_FP32 dims: [ 16 ] } ]
output [ { name: "SUM" data_type: TYPE_FP32 dims: [ 1 ] }, { name: "TWICE" data_type: TYPE_FP32 dims: [ 16 ] } ]
dynamic_batching { }
"""
    + _CPU,
    """
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def execute(self, requests):
        return [self.answer(pb_utils.get_input_tensor_by_name(request, "X").as_numpy()) for request in requests]

    def answer(self, rows):
        outputs = [pb_utils.Tensor("SUM", rows.sum(axis=1, keepdims=True)), pb_utils.Tensor("TWICE", 2 * rows)]
        return pb_utils.InferenceResponse(outputs)
""",
)

HALVES = (
    """
backend: "python"
max_batch_size: 8
input [ { name: "X" data_type: TYPE_BF16 dims: [ 4 ] } ]
output [ { name: "Y" data_type: TYPE_BF16 dims: [ 4 ] } ]
"""
    + _CPU,
    """
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def execute(self, requests):
        return [self.answer(pb_utils.get_input_tensor_by_name(request, "X")) for request in requests]

    def answer(self, tensor):
        return pb_utils.InferenceResponse([pb_utils.Tensor.from_dlpack("Y", tensor.to_dlpack())])
""",
)
"""Gives its input back, in BF16."""

WHOLES = (HALVES[0].replace("BF16", "FP32"), HALVES[1])
"""The same in FP32."""

CALLER = (
    WHOLES[0],
    """
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def execute(self, requests):
        return [self.answer(pb_utils.get_input_tensor_by_name(request, "X")) for request in requests]

    def answer(self, tensor):
        asked = pb_utils.InferenceRequest(model_name="whole", requested_output_names=["Y"], inputs=[tensor])
        answered = asked.exec()
        if answered.has_error():
            return pb_utils.InferenceResponse(error=answered.error())
        return pb_utils.InferenceResponse([pb_utils.get_output_tensor_by_name(answered, "Y")])
""",
)
"""Has the model `whole` give its input back."""

SLOW = (
    """
backend: "python"
max_batch_size: 1
input [ { name: "X" data_type: TYPE_FP32 dims: [ 1 ] } ]
output [ { name: "Y" data_type: TYPE_FP32 dims: [ 1 ] } ]
dynamic_batching {
  default_queue_policy {
    timeout_action: REJECT
    default_timeout_microseconds: 100000000
    allow_timeout_override: true
  }
}
"""
    + _CPU,
    """
import time

import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def execute(self, requests):
        time.sleep(0.3)
        return [pb_utils.InferenceResponse([pb_utils.Tensor("Y", self.row(request))]) for request in requests]

    def row(self, request):
        return pb_utils.get_input_tensor_by_name(request, "X").as_numpy()
""",
)
"""Takes 0.3 s for each request, and lets requests say how long they will wait."""

COUNTER = (
    """
backend: "python"
max_batch_size: 0
input [ { name: "N" data_type: TYPE_INT32 dims: [ 1 ] } ]
output [ { name: "I" data_type: TYPE_INT32 dims: [ 1 ] } ]
model_transaction_policy { decoupled: true }
"""
    + _CPU,
    """
import json
import time

import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def execute(self, requests):
        for request in requests:
            self.answer(request)

    def answer(self, request):
        sender = request.get_response_sender()
        (count,) = pb_utils.get_input_tensor_by_name(request, "N").as_numpy().tolist()
        told = json.loads(request.parameters() or "{}")
        for index in range(abs(count)):
            time.sleep(float(told.get("pause_s", 0)))
            if "log" in told:
                with open(told["log"], "a") as log:
                    log.write(f"{count} {time.monotonic_ns()}\\n")
            sender.send(pb_utils.InferenceResponse([pb_utils.Tensor("I", np.array([index], np.int32))]))
        if count < 0:
            sender.send(pb_utils.InferenceResponse(error=pb_utils.TritonError("counted backwards")))
        sender.send(flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)
""",
)
"""Decoupled: gives N answers, and for a negative N an error after them."""

SEQUENCE_CONTROLS = """
  control_input [
    {
      name: "START"
      control [ { kind: CONTROL_SEQUENCE_START fp32_false_true: [ 0, 1 ] } ]
    },
    {
      name: "END"
      control [ { kind: CONTROL_SEQUENCE_END fp32_false_true: [ 0, 1 ] } ]
    },
    {
      name: "READY"
      control [ { kind: CONTROL_SEQUENCE_READY fp32_false_true: [ 0, 1 ] } ]
    },
    {
      name: "ID"
      control [ { kind: CONTROL_SEQUENCE_CORRID data_type: TYPE_UINT64 } ]
    }
  ]
"""

RUNNING_SUM = (
    """
backend: "python"
max_batch_size: 4
input [
  { name: "X" data_type: TYPE_INT64 dims: [ 1 ] },
  { name: "EXPECTED" data_type: TYPE_INT64 dims: [ 1 ] optional: true }
]
output [ { name: "SUM" data_type: TYPE_INT64 dims: [ 1 ] } ]
sequence_batching {
  max_sequence_idle_microseconds: 60000000
"""
    + SEQUENCE_CONTROLS
    + """
  direct { }
}
"""
    + _CPU,
    """
import numpy as np
import triton_python_backend_utils as pb_utils


def value(request, name):
    tensor = pb_utils.get_input_tensor_by_name(request, name)
    return None if tensor is None else tensor.as_numpy().ravel()[0]


class TritonPythonModel:
    def initialize(self, args):
        self.sums = {}

    def execute(self, requests):
        return [self.answer(request) for request in requests]

    def answer(self, request):
        if not value(request, "READY"):  # the slot of a sequence that has no request in this batch
            return pb_utils.InferenceResponse([pb_utils.Tensor("SUM", np.zeros((1, 1), np.int64))])
        sequence = int(value(request, "ID"))
        if value(request, "START"):
            self.sums[sequence] = 0
        elif sequence not in self.sums:
            return pb_utils.InferenceResponse(error=pb_utils.TritonError(f"sequence {sequence} did not start here"))
        self.sums[sequence] += int(value(request, "X"))
        total, expected = self.sums[sequence], value(request, "EXPECTED")
        if value(request, "END"):
            del self.sums[sequence]
        if expected is not None and expected != total:
            return pb_utils.InferenceResponse(error=pb_utils.TritonError(f"expected {expected}, but it is {total}"))
        return pb_utils.InferenceResponse([pb_utils.Tensor("SUM", np.array([[total]], np.int64))])
""",
)
"""Adds up each sequence; an answer is an error where the sum is not the one that the request expects."""


def owner(busy_s: float, lock: Path) -> tuple[str, str]:
    """Return a model that has a device for itself while it executes, for so long."""
    return _ONE_BY_ONE, _code(
        f"with open({str(lock)!r}, 'w') as device:\n"
        "            fcntl.flock(device, fcntl.LOCK_EX)\n"
        f"            time.sleep({busy_s})"
    )


def guest(alone_s: float, beside_s: float, lock: Path) -> tuple[str, str]:
    """Return a model that executes in a time, and in another one where the owner of the device is executing."""
    return _ONE_BY_ONE, _code(
        f"time.sleep({beside_s} if self.taken({str(lock)!r}) else {alone_s})",
        """
    def taken(self, lock):
        with open(lock, "w") as device:
            try:
                fcntl.flock(device, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
        return False
""",
    )


def sleeper(busy_s: float) -> tuple[str, str]:
    """Return a model that takes so long for a batch of up to 4 requests, without using a CPU."""
    return _ONE_BY_ONE.replace("max_batch_size: 1", "max_batch_size: 4"), _code(f"time.sleep({busy_s})")


def _code(execute: str, more: str = "") -> str:
    """Return a model that does something for a batch and gives its input back."""
    return f"""
import fcntl
import time

import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def execute(self, requests):
        {execute}
        return [pb_utils.InferenceResponse([pb_utils.Tensor("Y", self.row(request))]) for request in requests]

    def row(self, request):
        return pb_utils.get_input_tensor_by_name(request, "X").as_numpy()
{more}"""


_ONE_BY_ONE = (
    """
backend: "python"
max_batch_size: 1
input [ { name: "X" data_type: TYPE_FP32 dims: [ 1 ] } ]
output [ { name: "Y" data_type: TYPE_FP32 dims: [ 1 ] } ]
"""
    + _CPU
)


def write_alone(repository: Path, name: str, *, fixed: bool = False) -> Path:
    """Write a model without a config.pbtxt, which it completes itself; return the repository.

    Args:
        repository: to write it into.
        name: of the model.
        fixed: it sets its largest batch whatever a config.pbtxt says of it.
    """
    (repository / name / "1").mkdir(parents=True)
    (repository / name / "1" / "model.py").write_text(_ALONE.replace("FIXED", str(fixed)))
    return repository


_ALONE = """
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    @staticmethod
    def auto_complete_config(config):
        config.add_input({"name": "X", "data_type": "TYPE_FP32", "dims": [4]})
        config.add_output({"name": "Y", "data_type": "TYPE_FP32", "dims": [4]})
        if FIXED or not config.as_dict()["max_batch_size"]:
            config.set_max_batch_size(8)
        config.set_dynamic_batching()
        return config

    def execute(self, requests):
        rows = [pb_utils.get_input_tensor_by_name(request, "X").as_numpy() for request in requests]
        return [pb_utils.InferenceResponse([pb_utils.Tensor("Y", 2 * one)]) for one in rows]
"""


def write_model(repository: Path, name: str, model: tuple[str, str], more: str = "") -> Path:
    """Write a model into a repository; return the repository."""
    config, code = model
    (repository / name / "1").mkdir(parents=True, exist_ok=True)
    (repository / name / "config.pbtxt").write_text(config + more)
    (repository / name / "1" / "model.py").write_text(code)
    return repository


def drive(
    endpoint: Endpoint, folder: Path, order: "np.ndarray | None" = None, at_once: int = 8
) -> tuple[RunReport, Records]:
    """Send requests in an order, each once without one; keep the answers."""
    order = np.arange(len(endpoint.requests), dtype=np.int32) if order is None else order
    plan = Plan(
        endpoint=endpoint,
        load=ClosedLoop(at_once, order, total=len(order)),
        start_ns=time.monotonic_ns(),
        warmup_ns=0,
        window_ns=120_000_000_000,
        timeout_ns=60_000_000_000,
        records_path=folder / "records.bin",
        keep_answers=True,
    )
    report = engine.run(plan)
    return report, read_records(plan.records_path, plan.window)
