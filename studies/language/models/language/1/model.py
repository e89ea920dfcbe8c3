"""Tell the language of texts: Triton's Python backend with ONNX Runtime on the CPU.

The requests of a batch differ in length. The parameter `batching` says what is done about it:

padded    all are padded to the longest of them and run at once
bucketed  those of similar length are padded and run together: up to 32, 64, 128, 256 bytes, and longer
single    each is run by itself, without padding

`model_file` is the ONNX file beside this one. `intra_op_threads` is the threads of one execution; 1 leaves the cores to
the instances.
"""

import json
from pathlib import Path

import numpy as np
import onnxruntime
import triton_python_backend_utils as pb_utils

BUCKETS = (32, 64, 128, 256)


class TritonPythonModel:
    def initialize(self, args: dict[str, str]) -> None:
        parameters = {
            name: value["string_value"] for name, value in json.loads(args["model_config"])["parameters"].items()
        }
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = int(parameters["intra_op_threads"])
        path = Path(args["model_repository"]) / args["model_version"] / parameters["model_file"]
        self.session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self.groups = {"padded": together, "bucketed": by_length, "single": alone}[parameters["batching"]]

    def execute(self, requests: list) -> list:
        """Run the requests of the executed batch and give each its rows of the scores."""
        tokens = [pb_utils.get_input_tensor_by_name(request, "TOKENS").as_numpy() for request in requests]
        scores: list = [None] * len(tokens)
        for group in self.groups([rows.shape[1] for rows in tokens]):
            found = self.session.run(None, {"tokens": padded([tokens[index] for index in group])})[0]
            ends = np.cumsum([len(tokens[index]) for index in group])[:-1]
            for index, rows in zip(group, np.split(found, ends), strict=True):
                scores[index] = rows
        return [pb_utils.InferenceResponse([pb_utils.Tensor("SCORES", rows)]) for rows in scores]


def together(lengths: list[int]) -> list[list[int]]:
    return [list(range(len(lengths)))]


def by_length(lengths: list[int]) -> list[list[int]]:
    buckets = np.searchsorted(BUCKETS, lengths)
    return [np.flatnonzero(buckets == bucket).tolist() for bucket in np.unique(buckets)]


def alone(lengths: list[int]) -> list[list[int]]:
    return [[index] for index in range(len(lengths))]


def padded(some: list) -> np.ndarray:
    longest = max(rows.shape[1] for rows in some)
    return np.concatenate([np.pad(rows, ((0, 0), (0, longest - rows.shape[1]))) for rows in some])
