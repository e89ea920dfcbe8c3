"""The protocol over HTTP as every server of it understands it: tensors as lists in JSON."""

import json
from collections.abc import Iterable

import numpy as np

from targets.base import Endpoint, Unfit
from targets.kserve.judge import judge
from targets.kserve.wire import ModelSpec, Request, Site, Tensor, requests_of
from targets.kserve.wire_http import decode, head, said
from workloads.datatypes import STRINGS
from workloads.requests import Dataset

__all__ = ["decode", "encoded", "endpoint", "said"]


def endpoint(dataset: Dataset, model: ModelSpec, site: Site) -> Endpoint:
    """Encode each item of a dataset as a complete HTTP request with its tensors in JSON.

    Raises:
        Unfit: a value that JSON cannot say: no finite number, or a string that is not UTF-8.
    """
    return encoded(requests_of(dataset, model), model, site)


def encoded(requests: Iterable[Request], model: ModelSpec, site: Site) -> Endpoint:
    """Encode requests with their tensors in JSON.

    Raises:
        Unfit: as `endpoint`.
    """
    return Endpoint(site.host, site.port, tuple(_request(one, model, site) for one in requests), judge, tls=site.tls)


def _request(request: Request, model: ModelSpec, site: Site) -> bytes:
    content: dict[str, object] = {"inputs": [_input(tensor) for tensor in request.inputs]}
    if request.id:
        content["id"] = request.id
    if request.parameters:
        content["parameters"] = dict(request.parameters)
    if request.outputs:
        content["outputs"] = [{"name": one.name} for one in request.outputs]
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
            raise Unfit(_unsayable(tensor, f"{error.object!r}, which is not UTF-8")) from None
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise Unfit(_unsayable(tensor, f"{values[~np.isfinite(values)][0]}"))
    return list(values.tolist())


def _unsayable(tensor: Tensor, value: str) -> str:
    return f"input {tensor.name!r} has a value that JSON cannot say: {value}; the server takes such values over gRPC"
