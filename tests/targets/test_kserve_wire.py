"""The wire formats of the Open Inference Protocol, compared with what NVIDIA's own client sends."""

import json
from collections.abc import Mapping

import numpy as np
import pytest
import tritonclient.http
from ml_dtypes import bfloat16
from numpy.typing import NDArray
from tritonclient.grpc import service_pb2
from tritonclient.utils import np_to_triton_dtype

from targets.base import TargetError, Tls
from targets.kserve import wire_grpc, wire_http, wire_json
from targets.kserve.judge import HEADER_LENGTH, header_value
from targets.kserve.wire import ModelSpec, Site, check_inputs, fitted
from workloads.datatypes import NUMPY
from workloads.requests import Dataset, TensorSpec

SITE = Site("127.0.0.1", 8000)
NUMBERS = ["bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]
NUMBERS += ["float16", "float32", "float64"]
TEXTS = [
    np.array([[b"a", b"longer"], [b"", b"Gr\xc3\xbc\xc3\x9fe"]]),
    np.array([["a", "longer"], ["", "Grüße, 世界"]]),
    np.empty((2, 0), dtype="S3"),
]
Arrays = Mapping[str, NDArray[np.generic]]


def model(inputs: Arrays, *outputs: str, name: str = "model", version: str = "") -> ModelSpec:
    """A model that takes the given arrays, fitted to them."""
    specs = tuple(
        TensorSpec(
            key, "BYTES" if array.dtype.kind in "SU" else np_to_triton_dtype(array.dtype), (-1, *array.shape[1:])
        )
        for key, array in inputs.items()
    )
    return fitted(ModelSpec(name, specs, outputs, batched=False, version=version), Dataset(dict(inputs)))


def parts(request: bytes) -> tuple[list[str], bytes]:
    """Return the lines of a request's head, and its body."""
    head, _, body = request.partition(b"\r\n\r\n")
    assert int(header_value(head, b"content-length") or b"") == len(body)
    return head.decode().split("\r\n"), body


def by_tritonclient(inputs: Arrays, *, binary: bool) -> tuple[bytes, int | None]:
    """Return the body that tritonclient makes of the second rows, and the length of its JSON."""
    made = []
    for name, array in inputs.items():
        row = array[1:2]
        row = np.char.encode(row, "utf-8") if row.dtype.kind == "U" else row
        made.append(tritonclient.http.InferInput(name, list(row.shape), np_to_triton_dtype(row.dtype)))
        made[-1].set_data_from_numpy(row, binary_data=binary)
    outputs = [tritonclient.http.InferRequestedOutput(name, binary_data=binary) for name in ("B", "A")]
    body, length = tritonclient.http.InferenceServerClient.generate_request_body(made, outputs=outputs)
    return bytes(body), length


def cases() -> list[Arrays]:
    rng = np.random.default_rng(1)
    numbers = [{"X": rng.integers(0, 100, (2, 3, 4)).astype(dtype)} for dtype in NUMBERS]
    return [*numbers, *({"TEXT": text} for text in TEXTS), {"X": numbers[0]["X"], "TEXT": TEXTS[1]}]


def named(value: object) -> str | None:
    return "+".join(f"{array.dtype}" for array in value.values()) if isinstance(value, dict) else None


@pytest.mark.parametrize("inputs", cases(), ids=named)
def test_json_says_what_tritonclients_says(inputs: Arrays) -> None:
    head, body = parts(wire_json.endpoint(Dataset(dict(inputs)), model(inputs, "B", "A"), SITE).requests[1])
    expected, _ = by_tritonclient(inputs, binary=False)
    theirs = json.loads(expected)
    assert json.loads(body)["inputs"] == theirs["inputs"]
    assert json.loads(body)["outputs"] == [{"name": one["name"]} for one in theirs["outputs"]]
    assert "Content-Type: application/json" in head


@pytest.mark.parametrize("inputs", cases(), ids=named)
def test_binary_tensors_are_sent_as_tritonclient_sends_them(inputs: Arrays) -> None:
    head, body = parts(wire_http.endpoint(Dataset(dict(inputs)), model(inputs, "B", "A"), SITE).requests[1])
    expected, length = by_tritonclient(inputs, binary=True)
    assert body == expected
    assert header_value("\r\n".join(head).encode(), HEADER_LENGTH) == str(length or len(body)).encode()


def test_json_asks_for_no_output_of_a_model_that_names_none() -> None:
    inputs = {"X": np.zeros((1, 2), np.float32)}
    _, body = parts(wire_json.endpoint(Dataset(inputs), model(inputs), SITE).requests[0])
    assert set(json.loads(body)) == {"inputs"}


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.array([[1.0], [np.inf]]), "input 'X' has a value that JSON cannot say: inf"),
        (np.array([[b"a"], [b"\xff"]]), r"input 'X' has a value that JSON cannot say: b'\\xff', which is not UTF-8"),
    ],
)
def test_a_value_that_json_cannot_say_is_named(array: NDArray[np.generic], message: str) -> None:
    with pytest.raises(TargetError, match=message):
        wire_json.endpoint(Dataset({"X": array}), model({"X": array}), SITE)


@pytest.mark.parametrize("wire", [wire_http, wire_json])
def test_a_head_has_version_prefix_and_headers(wire: type[wire_json]) -> None:
    inputs = {"X": np.zeros((1, 2), np.float32)}
    tls = Tls()
    site = Site("::1", 81, (("Authorization", "Bearer x"), ("X-A", "b")), tls, "/serving")
    endpoint = wire.endpoint(Dataset(inputs), model(inputs, name="a b/c", version="2"), site)
    head, _ = parts(endpoint.requests[0])
    assert head[:4] == [
        "POST /serving/v2/models/a%20b%2Fc/versions/2/infer HTTP/1.1",
        "Host: [::1]:81",
        "Authorization: Bearer x",
        "X-A: b",
    ]
    assert (endpoint.host, endpoint.port, endpoint.tls) == ("::1", 81, tls)


def test_a_grpc_call_has_version_and_metadata() -> None:
    inputs = {"X": np.zeros((1, 2), np.float32)}
    site = Site("localhost", 8001, (("Authorization", "Bearer x"),))
    endpoint = wire_grpc.endpoint(Dataset(inputs), model(inputs, version="2"), site)
    message = service_pb2.ModelInferRequest.FromString(endpoint.requests[0])
    assert (message.model_name, message.model_version) == ("model", "2")
    assert endpoint.grpc is not None
    assert endpoint.grpc.metadata == (("authorization", "Bearer x"),)


# -- answers --


def http_answer(body: bytes, *headers: bytes) -> bytes:
    return b"\r\n".join((b"HTTP/1.1 200 OK", *headers, b"", body))


def test_an_answer_in_json_gives_all_its_outputs_or_those_asked_for() -> None:
    outputs = [
        {"name": "A", "datatype": "INT64", "shape": [1, 2], "data": [2**60, -3]},
        {"name": "B", "datatype": "BYTES", "shape": [1], "data": ["ü"]},
    ]
    answer = http_answer(json.dumps({"outputs": outputs}).encode())
    decoded = wire_json.decode(answer, ())
    assert {name: array.tolist() for name, array in decoded.items()} == {"A": [[2**60, -3]], "B": ["ü"]}
    assert list(wire_json.decode(answer, ("B",))) == ["B"]


def test_a_binary_answer_gives_its_outputs() -> None:
    values = np.array([[1.5, -2.0]], np.float32)
    output = {"name": "A", "datatype": "FP32", "shape": [1, 2], "parameters": {"binary_data_size": 8}}
    said = json.dumps({"outputs": [output]}).encode()
    answer = http_answer(said + values.tobytes(), b"Inference-Header-Content-Length: %d" % len(said))
    np.testing.assert_array_equal(wire_http.decode(answer, ())["A"], values)


@pytest.mark.parametrize("dtype", [*NUMBERS, "S"])
@pytest.mark.parametrize("raw", [True, False], ids=["raw", "typed"])
def test_a_grpc_answer_gives_its_outputs_raw_or_typed(dtype: str, raw: bool) -> None:
    values = np.array([[1, 0, 3]]).astype("S1" if dtype == "S" else dtype)
    datatype = "BYTES" if dtype == "S" else np_to_triton_dtype(values.dtype)
    if datatype == "FP16" and not raw:
        raw = True  # the protocol has no other way for it
    answer = service_pb2.ModelInferResponse(model_name="m")
    output = answer.outputs.add(name="A", datatype=datatype, shape=[1, 3])
    if not raw:
        getattr(output.contents, wire_grpc._CONTENTS[datatype]).extend(values.ravel().tolist())
    elif dtype == "S":
        answer.raw_output_contents.append(b"".join(b"\x01\x00\x00\x00" + one for one in values.ravel().tolist()))
    else:
        answer.raw_output_contents.append(values.tobytes())
    decoded = wire_grpc.decode(answer.SerializeToString(), ())["A"]
    assert decoded.tolist() == values.tolist()
    assert dtype == "S" or decoded.dtype == values.dtype


@pytest.mark.parametrize("datatype", [name for name in NUMPY if name != "BYTES"])
def test_every_type_of_number_comes_back_as_numpy_calculates_with_it(datatype: str) -> None:
    """BF16 comes as FP32: numpy takes it for bytes of no meaning."""
    values = np.array([[1, 0, 1]]).astype(NUMPY[datatype])
    answer = service_pb2.ModelInferResponse(raw_output_contents=[values.tobytes()])
    answer.outputs.add(name="A", datatype=datatype, shape=[1, 3])
    size = {"binary_data_size": values.nbytes}
    said = json.dumps({"outputs": [{"name": "A", "datatype": datatype, "shape": [1, 3], "parameters": size}]}).encode()
    over_http = http_answer(said + values.tobytes(), b"Inference-Header-Content-Length: %d" % len(said))
    for decoded in (wire_grpc.decode(answer.SerializeToString(), ())["A"], wire_http.decode(over_http, ())["A"]):
        assert decoded.dtype == (np.float32 if values.dtype == bfloat16 else values.dtype)
        assert decoded.dtype.kind in "biuf"
        assert decoded.tolist() == [[1, 0, 1]]


# -- what the server says of a model, and what the dataset has --


def spec(*shape: int) -> ModelSpec:
    return ModelSpec("m", (TensorSpec("X", "FP32", shape),), (), batched=False)


@pytest.mark.parametrize(
    ("shape", "batched"),
    [((-1, 64), True), ((1, 64), True), ((-1, -1), True), ((64,), False), ((-1,), False)],
)
def test_the_first_axis_is_the_batch_where_an_item_has_one_less(shape: tuple[int, ...], batched: bool) -> None:
    dataset = Dataset({"X": np.zeros((3, 64), np.float32)})
    model = fitted(spec(*shape), dataset)
    assert model.batched == batched
    _, body = parts(wire_json.endpoint(dataset, model, SITE).requests[0])
    assert json.loads(body)["inputs"][0]["shape"] == ([1, 64] if batched else [64])


def test_a_model_that_names_no_inputs_gets_what_the_dataset_has() -> None:
    dataset = Dataset({"X": np.zeros((3, 2), np.int16), "T": np.array([["a"]] * 3)})
    model = fitted(ModelSpec("m", (), (), batched=False), dataset)
    assert model.inputs == (TensorSpec("X", "INT16", (2,)), TensorSpec("T", "BYTES", (1,)))
    assert model.batched


@pytest.mark.parametrize(
    ("model", "array", "message"),
    [
        (spec(-1, 63), np.zeros((3, 64), np.float32), r"'X' has shape \[63\] in the model, but \[64\] a row"),
        (spec(8, 64), np.zeros((3, 64), np.float32), r"'X' has shape \[8, 64\] in the model, but \[64\] a row"),
        (spec(-1, 64), np.zeros((3, 64)), "'X' is FP32 in the model, but float64 in the dataset"),
        (ModelSpec("m", (), (), batched=False), np.zeros((3, 2), np.complex64), "complex64 in the dataset, which"),
    ],
)
def test_a_dataset_that_does_not_fit_is_named(model: ModelSpec, array: NDArray[np.generic], message: str) -> None:
    with pytest.raises(TargetError, match=message):
        fitted(model, Dataset({"X": array}))


@pytest.mark.parametrize("shape", [(-1,), (-1, 1)])
def test_texts_of_one_value_are_sent(shape: tuple[int, ...]) -> None:
    """A row of a one-dimensional array of texts is no array: its shape is told by the whole."""
    texts = np.array([b"hello", b"you"], object).reshape(2, *([1] * (len(shape) - 1)))
    dataset = Dataset({"TEXT": texts})
    found = fitted(ModelSpec("m", (TensorSpec("TEXT", "BYTES", shape),), (), batched=False), dataset)
    assert found.batched
    for wire in (wire_http, wire_grpc, wire_json):
        assert len(set(wire.endpoint(dataset, found, SITE).requests)) == 2


def test_an_optional_input_is_checked_too() -> None:
    inputs = (TensorSpec("A", "INT32", (1,)), TensorSpec("B", "INT32", (1,), optional=True))
    dataset = Dataset({"A": np.zeros((1, 1), np.int32), "B": np.zeros((1, 1))})
    with pytest.raises(TargetError, match="input 'B' is INT32 in the model, but float64 in the dataset"):
        check_inputs(dataset, ModelSpec("m", inputs, (), batched=True))


@pytest.mark.parametrize("wire", [wire_json, wire_http], ids=["json", "binary"])
def test_a_priority_is_a_parameter_of_the_request(wire: type[wire_json]) -> None:
    inputs = {"X": np.zeros((1, 2), np.float32)}
    for priority, expected in ((0, None), (3, 3)):
        (request,) = wire.endpoint(Dataset(dict(inputs), priority=priority), model(inputs), SITE).requests
        head, body = parts(request)
        lengths = [line.partition(": ")[2] for line in head if line.startswith(HEADER_LENGTH.decode().title())]
        said = json.loads(body[: int(lengths[0])] if lengths else body)
        assert said.get("parameters", {}).get("priority") == expected


def test_a_priority_is_a_parameter_of_the_call() -> None:
    inputs = {"X": np.zeros((1, 2), np.float32)}
    for priority in (0, 3):
        (request,) = wire_grpc.endpoint(Dataset(dict(inputs), priority=priority), model(inputs), SITE).requests
        found = service_pb2.ModelInferRequest.FromString(request).parameters
        assert ("priority" in found) == bool(priority)
        assert found["priority"].uint64_param == priority
