"""What goes over the wire to the simulated server. Light: the load generator imports it to judge answers."""

import json
from collections.abc import Mapping
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from targets.base import Endpoint, Outcome
from workloads.requests import Dataset

OUTPUT = "CLASS"


def path_of(alias: str) -> str:
    """Return where the control API has a deployment."""
    return f"/deployments/{quote(alias, safe='')}"


def endpoint(dataset: Dataset, alias: str, host: str, port: int) -> Endpoint:
    """Encode each item of a dataset as a request: its inputs as opaque bytes, and its label for the answer to repeat.

    Items without a whole number for a label have class 0.
    """
    classes = dataset.labels is not None and dataset.labels.dtype.kind == "i" and dataset.labels.ndim == 1
    labels = dataset.labels.tolist() if dataset.labels is not None and classes else [0] * len(dataset)
    requests = tuple(_request(dataset, index, label, alias, f"{host}:{port}") for index, label in enumerate(labels))
    return Endpoint(host, port, requests, judge)


def _request(dataset: Dataset, index: int, label: int, alias: str, host: str) -> bytes:
    body = b"".join(dataset.rows(name, index).tobytes() for name in dataset.inputs)
    head = (
        f"POST {path_of(alias)}/infer HTTP/1.1\r\n"
        f"Host: {host}\r\n"
        "Content-Type: application/octet-stream\r\n"
        f"Class: {label}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def judge(status: int, body: bytes) -> Outcome:
    """The server answers 200 with what the queue did, and anything else with an error."""
    if status != 200:
        return Outcome.HTTP_ERROR
    return Outcome.OK if body else Outcome.MALFORMED


def decode(answer: bytes) -> Mapping[str, NDArray[np.generic]]:
    """Return the class that one complete HTTP answer names, shape [1]."""
    _, _, body = answer.partition(b"\r\n\r\n")
    return {OUTPUT: np.array([json.loads(body)["class"]], np.int64)}
