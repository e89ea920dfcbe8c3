"""Serve the digits network: Triton's Python backend with ONNX Runtime on the CPU.

Parameters of config.pbtxt: `model_file` (the ONNX file beside this one) and `intra_op_threads` (threads of one
execution; 1 leaves the cores to the instances).
"""

import json
from pathlib import Path

import numpy as np
import onnxruntime
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def initialize(self, args: dict[str, str]) -> None:
        parameters = {
            name: value["string_value"] for name, value in json.loads(args["model_config"])["parameters"].items()
        }
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = int(parameters["intra_op_threads"])
        path = Path(args["model_repository"]) / args["model_version"] / parameters["model_file"]
        self.session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def execute(self, requests: list) -> list:
        """Run all requests of the executed batch at once and give each its rows of the answer."""
        images = [pb_utils.get_input_tensor_by_name(request, "IMAGE").as_numpy() for request in requests]
        logits = self.session.run(None, {"image": np.concatenate(images)})[0]
        ends = np.cumsum([len(image) for image in images])[:-1]
        return [pb_utils.InferenceResponse([pb_utils.Tensor("LOGITS", rows)]) for rows in np.split(logits, ends)]
