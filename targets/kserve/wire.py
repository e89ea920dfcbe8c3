"""What the protocol's wire formats have in common: a model's tensors, the check of a dataset, an item's tensors."""

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from tritonclient.utils import np_to_triton_dtype, serialize_byte_tensor

from targets.base import Endpoint, Tls, Unfit, Value
from workloads.datatypes import NUMPY, STRINGS
from workloads.requests import Dataset, Rows, TensorSpec
from workloads.sequences import Sequences


@dataclass(frozen=True)
class Site:
    """Where requests go.

    Attributes:
        host: address to connect to.
        port: TCP port.
        headers: (name, value) pairs sent with each request, as HTTP headers or gRPC metadata.
        tls: None: in the clear.
        prefix: of every HTTP path, "" or `/...` without a slash at its end.
    """

    host: str
    port: int
    headers: tuple[tuple[str, str], ...] = ()
    tls: Tls | None = None
    prefix: str = ""

    @property
    def authority(self) -> str:
        """Host and port as the header `Host` has them."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True)
class ModelSpec:
    """What a model takes and gives.

    Attributes:
        name: requests ask for it by this name.
        inputs: in the model's order; shapes are those of one item, without a batch axis.
        outputs: names of the outputs to ask for; none: the server decides.
        batched: whether each request has a leading batch axis of 1.
        version: to ask for, "" for the server's choice.
    """

    name: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[str, ...]
    batched: bool
    version: str = ""


@dataclass(frozen=True)
class Place:
    """Where a tensor lies in memory that the server shares.

    Attributes:
        region: name that the memory is registered under.
        offset: of the tensor in it, in bytes.
        size: of the tensor, in bytes.
    """

    region: str
    offset: int
    size: int


@dataclass(frozen=True)
class Tensor:
    """An input of one request.

    Attributes:
        name: of the model's input.
        datatype: as the protocol spells it.
        array: the values; strings are bytes.
        place: where the values lie in shared memory; None: they go in the request.
    """

    name: str
    datatype: str
    array: NDArray[np.generic]
    place: Place | None = None


@dataclass(frozen=True)
class Wanted:
    """An output that a request asks for.

    Attributes:
        name: of the model's output.
        place: where the server is to put it; None: into the answer.
    """

    name: str
    place: Place | None = None


@dataclass(frozen=True)
class Request:
    """One request to a model.

    Attributes:
        inputs: in the model's order.
        outputs: to ask for; none: the server decides.
        parameters: name -> value, as the protocol has them.
        id: that the answer repeats, "" for none.
    """

    inputs: Sequence[Tensor]
    outputs: Sequence[Wanted]
    parameters: Mapping[str, Value] = field(default_factory=dict)
    id: str = ""


@dataclass(frozen=True)
class Said:
    """What an answer says of its outputs, apart from their values.

    Attributes:
        id: of its request, "" for none.
        outputs: name -> (datatype, shape).
    """

    id: str
    outputs: Mapping[str, tuple[str, tuple[int, ...]]]


class Wire(Protocol):
    """One format: requests encoded, answers decoded."""

    def encoded(self, requests: Iterable[Request], model: ModelSpec, site: Site) -> Endpoint:
        """Encode requests to a model."""
        ...

    def endpoint(self, dataset: Dataset, model: ModelSpec, site: Site) -> Endpoint:
        """Encode each item of a dataset as one request that has the model's outputs sent back."""
        ...

    def decode(self, answer: bytes, outputs: Sequence[str]) -> Mapping[str, NDArray[np.generic]]:
        """Return the outputs of one answer that was ok, each with the batch axis first; all if none is named."""
        ...

    def said(self, answer: bytes) -> Said:
        """Return what an answer that was ok says of outputs whose values are elsewhere."""
        ...


def fitted(model: ModelSpec, dataset: Dataset) -> ModelSpec:
    """Return a model whose input shapes are the server's, batch axis included, as one for the items of a dataset.

    The server does not say which axis is that of the batch: it is the first where an item has one axis less. Of a model
    whose inputs the server does not tell, the dataset says what they are.

    Raises:
        Unfit: the dataset does not fit; see `check_inputs`.
    """
    inputs = model.inputs or tuple(_described(dataset))
    given = [(tensor, dataset.inputs[tensor.name]) for tensor in inputs if tensor.name in dataset.inputs]
    batched = all(len(tensor.shape) == 1 + len(_shape(rows)) and tensor.shape[0] in (-1, 1) for tensor, rows in given)
    if batched:
        inputs = tuple(replace(tensor, shape=tensor.shape[1:]) for tensor in inputs)
    found = replace(model, inputs=inputs, batched=batched)
    check_inputs(dataset, found)
    return found


def items_of(model: ModelSpec) -> tuple[TensorSpec, ...]:
    """Return the inputs of one item of a model whose shapes are the server's: without the axis of the batch.

    It is taken to be the first one, where every input leaves its size open.
    """
    batched = all(tensor.shape and tensor.shape[0] == -1 for tensor in model.inputs)
    return tuple(replace(tensor, shape=tensor.shape[1:]) for tensor in model.inputs) if batched else model.inputs


def _described(dataset: Dataset) -> Iterator[TensorSpec]:
    for name, rows in dataset.inputs.items():
        dtype = rows.dtype if isinstance(rows, np.ndarray) else rows[0].dtype
        datatype = STRINGS if dtype.kind in "SUO" else np_to_triton_dtype(dtype)
        if datatype is None:
            raise Unfit(f"input {name!r} is {dtype} in the dataset, which the protocol has no type for")
        yield TensorSpec(name, datatype, (-1, *_shape(rows)))


def _shape(rows: Rows) -> tuple[int, ...]:
    """Return the shape of a row; -1 on every axis where rows differ."""
    if isinstance(rows, np.ndarray):
        return rows.shape[1:]
    return rows[0].shape if len({row.shape for row in rows}) == 1 else (-1,) * rows[0].ndim


def check_inputs(dataset: Dataset, model: ModelSpec) -> None:
    """Check that a dataset has every input of the model, in its type and shape.

    Raises:
        Unfit: naming the input, what the model wants and what the dataset has.
    """
    wanted = {tensor.name: tensor for tensor in model.inputs if not tensor.optional}
    known = {tensor.name for tensor in model.inputs}
    if missing := sorted(set(wanted) - set(dataset.inputs)):
        raise Unfit(f"the dataset lacks the model's input {missing[0]!r}; it has {', '.join(sorted(dataset.inputs))}")
    if extra := sorted(set(dataset.inputs) - known):
        raise Unfit(
            f"the dataset has an array {extra[0]!r}, which is no input of model {model.name!r} "
            f"({', '.join(sorted(known))})"
        )
    for tensor in model.inputs:
        if tensor.name in dataset.inputs:
            _check_input(tensor.name, dataset.inputs[tensor.name], tensor)


def _check_input(name: str, rows: Rows, tensor: TensorSpec) -> None:
    expected = NUMPY.get(tensor.datatype)
    arrays = [rows] if isinstance(rows, np.ndarray) else rows
    for array in arrays:
        text = array.dtype.kind in "SUO"
        fits = text if tensor.datatype == STRINGS else expected is not None and array.dtype == expected
        if not fits:
            raise Unfit(f"input {name!r} is {tensor.datatype} in the model, but {array.dtype} in the dataset")
        shape, dims = list(array.shape[1:] if array is rows else array.shape), list(tensor.shape)
        if len(shape) != len(dims) or any(dim not in (-1, size) for dim, size in zip(dims, shape, strict=True)):
            raise Unfit(f"input {name!r} has shape {dims} in the model, but {shape} a row in the dataset")


def items(dataset: Dataset, model: ModelSpec) -> Iterator[list[Tensor]]:
    """Yield the input tensors of each request, in the model's order.

    Raises:
        Unfit: requests of several rows, and the model does not batch.
    """
    if not model.batched and dataset.batches is not None and np.any(dataset.batches != 1):
        raise Unfit(f"model {model.name!r} takes one item a request; leave `batch` out")
    for index in range(len(dataset)):
        yield [
            Tensor(tensor.name, tensor.datatype, _value(dataset.rows(tensor.name, index), model.batched))
            for tensor in model.inputs
            if tensor.name in dataset.inputs
        ]


def requests_of(dataset: Dataset, model: ModelSpec, parameters: Mapping[str, Value] | None = None) -> Iterator[Request]:
    """Yield each item of a dataset as one request that has the model's outputs sent back.

    Args:
        dataset: what is sent; its priority becomes a parameter, and so does the place in a sequence.
        model: that is asked.
        parameters: of every request, beside that.

    Raises:
        Unfit: requests of several rows, and the model does not batch.
    """
    asked = {**({"priority": dataset.priority} if dataset.priority else {}), **(parameters or {})}
    outputs = tuple(map(Wanted, model.outputs))
    each = itertools.repeat(asked) if dataset.sequences is None else _in_sequences(dataset.sequences, asked)
    return (Request(tensors, outputs, own) for tensors, own in zip(items(dataset, model), each, strict=False))


def _in_sequences(sequences: Sequences, asked: Mapping[str, Value]) -> Iterator[Mapping[str, Value]]:
    """Yield the parameters of each request of sequences, as Triton's extension for stateful models names them."""
    for place in sequences.places():
        yield {**asked, "sequence_id": place.id, "sequence_start": place.start, "sequence_end": place.end}


def raw(tensor: Tensor) -> bytes:
    """Return the values in row-major order; a string is its length in 4 bytes, little-endian, and its bytes."""
    if tensor.datatype != STRINGS:
        return tensor.array.tobytes()
    return bytes(serialize_byte_tensor(tensor.array).item()) if tensor.array.size else b""


def _value(rows: NDArray[np.generic], batched: bool) -> NDArray[np.generic]:
    rows = np.char.encode(rows.astype(np.str_), "utf-8") if rows.dtype.kind == "U" else rows
    return rows if batched else rows.reshape(rows.shape[1:])
