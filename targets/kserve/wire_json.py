"""The protocol over HTTP as every server of it understands it: tensors as lists in JSON."""

import json

import numpy as np

from targets.base import Endpoint, TargetError
from targets.kserve.judge import judge
from targets.kserve.wire import ModelSpec, Site, Tensor, items
from targets.kserve.wire_http import decode, head
from workloads.datatypes import STRINGS
from workloads.requests import Dataset

__all__ = ["decode", "endpoint"]


def endpoint(dataset: Dataset, model: ModelSpec, site: Site) -> Endpoint:
    """Encode each item of a dataset as a complete HTTP request with its tensors in JSON.

    Raises:
        TargetError: a value that JSON cannot say: no finite number, or a string that is not UTF-8.
    """
    requests = tuple(_request(tensors, model, site, dataset.priority) for tensors in items(dataset, model))
    return Endpoint(site.host, site.port, requests, judge, tls=site.tls)


def _request(tensors: list[Tensor], model: ModelSpec, site: Site, priority: int) -> bytes:
    content: dict[str, object] = {"inputs": [_input(tensor) for tensor in tensors]}
    if priority:
        content["parameters"] = {"priority": priority}
    if model.outputs:
        content["outputs"] = [{"name": name} for name in model.outputs]
    body = json.dumps(content, separators=(",", ":"), ensure_ascii=False).encode()
    return head(model, site, "application/json", len(body)) + body


def _input(tensor: Tensor) -> dict[str, object]:
    return {
        "name": tensor.name,
        "shape": list(tensor.array.shape),
        "datatype": tensor.datatype,
        "data": _values(tensor),
    }


def _values(tensor: Tensor) -> list[object]:
    """Return the values in row-major order, in one list."""
    values = tensor.array.ravel()
    if tensor.datatype == STRINGS:
        try:
            return [value.decode() for value in values.tolist()]
        except UnicodeDecodeError as error:
            raise TargetError(_unsayable(tensor, f"{error.object!r}, which is not UTF-8")) from None
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise TargetError(_unsayable(tensor, f"{values[~np.isfinite(values)][0]}"))
    return list(values.tolist())


def _unsayable(tensor: Tensor, value: str) -> str:
    return f"input {tensor.name!r} has a value that JSON cannot say: {value}; the server takes such values over gRPC"
