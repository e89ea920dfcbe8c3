"""What goes over the wire to Triton, compared with what NVIDIA's own client sends."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc
import numpy as np
import pytest
import tritonclient.grpc
from google.protobuf import text_format
from numpy.typing import NDArray
from tritonclient.grpc import model_config_pb2, service_pb2
from tritonclient.utils import np_to_triton_dtype

from targets.base import Grpc
from targets.kserve import wire_grpc, wire_http
from targets.kserve.wire import Site
from targets.probe import failure_of
from targets.triton.wire import described, output_names
from workloads.requests import Dataset

SITE = Site("127.0.0.1", 1)
Arrays = dict[str, NDArray[np.generic]]
NUMBERS = ["bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]
NUMBERS += ["float16", "float32", "float64"]


@pytest.fixture
def sent_by_tritonclient() -> Iterator[Callable[[Arrays, list[str]], bytes]]:
    """The ModelInferRequest, as bytes, that tritonclient sends for given inputs and names of outputs."""
    received: list[bytes] = []

    class Recorder(grpc.GenericRpcHandler):
        def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
            assert details.method == wire_grpc.PATH
            return grpc.unary_unary_rpc_method_handler(lambda request, _: received.append(request) or b"")

    def send(arrays: Arrays, outputs: list[str]) -> bytes:
        inputs = []
        for name, array in arrays.items():
            inputs.append(tritonclient.grpc.InferInput(name, array.shape, np_to_triton_dtype(array.dtype)))
            inputs[-1].set_data_from_numpy(array)
        wanted = [tritonclient.grpc.InferRequestedOutput(name) for name in outputs]
        client.infer("model", inputs, outputs=wanted)
        return received.pop()

    server = grpc.server(ThreadPoolExecutor(1), handlers=[Recorder()])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    with tritonclient.grpc.InferenceServerClient(f"127.0.0.1:{port}") as client:
        yield send
    server.stop(None).wait()


def model(inputs: Arrays, max_batch_size: int = 8) -> model_config_pb2.ModelConfig:
    """A model that takes the given arrays, rows of a dataset, and has two outputs."""
    config = model_config_pb2.ModelConfig(name="model", max_batch_size=max_batch_size)
    for name, array in inputs.items():
        kind = "STRING" if array.dtype.kind in "SU" else np_to_triton_dtype(array.dtype)
        config.input.add(name=name, data_type=f"TYPE_{kind}", dims=array.shape[1:])
    text_format.Parse('output { name: "B" } output { name: "A" }', config)
    return config


def encoded(inputs: Arrays, max_batch_size: int = 8) -> tuple[bytes, ...]:
    config = model(inputs, max_batch_size)
    return wire_grpc.endpoint(Dataset(inputs), described(config, "model"), SITE).requests


@pytest.mark.parametrize("dtype", NUMBERS)
def test_numbers_are_sent_over_grpc_as_tritonclient_sends_them(
    dtype: str, sent_by_tritonclient: Callable[[Arrays, list[str]], bytes]
) -> None:
    values = np.random.default_rng(1).integers(0, 100, (2, 3, 4)).astype(dtype)
    assert encoded({"X": values})[1] == sent_by_tritonclient({"X": values[1:2]}, ["B", "A"])


@pytest.mark.parametrize(
    "strings",
    [
        np.array([[b"a", b"longer"], [b"", b"\xff\x00\x01"]]),
        np.array([["a", "longer"], ["", "Grüße, 世界"]]),
        np.empty((2, 0), dtype="S3"),
    ],
    ids=["bytes", "text", "none"],
)
def test_strings_are_sent_over_grpc_as_tritonclient_sends_them(
    strings: NDArray[np.generic], sent_by_tritonclient: Callable[[Arrays, list[str]], bytes]
) -> None:
    row = [one if isinstance(one, bytes) else one.encode() for one in strings[1].tolist()]
    expected = sent_by_tritonclient({"TEXT": np.array([row], dtype=np.object_)}, ["B", "A"])
    assert encoded({"TEXT": strings})[1] == expected


def test_several_inputs_go_in_the_models_order(sent_by_tritonclient: Callable[[Arrays, list[str]], bytes]) -> None:
    inputs: Arrays = {"Z": np.array([[1.5]], np.float32), "A": np.array([[b"one"]]), "M": np.array([[7]], np.int64)}
    shuffled = Dataset({name: inputs[name] for name in ("A", "M", "Z")})
    (request,) = wire_grpc.endpoint(shuffled, described(model(inputs), "model"), SITE).requests
    assert request == sent_by_tritonclient(inputs, ["B", "A"])


def test_an_optional_input_that_the_dataset_lacks_is_not_sent() -> None:
    config = model({"X": np.zeros((1, 2), np.int32), "EXTRA": np.zeros((1, 2), np.int32)})
    dataset = Dataset({"X": np.zeros((1, 2), np.int32)})
    (request,) = wire_grpc.endpoint(dataset, described(config, "model"), SITE).requests
    assert [one.name for one in service_pb2.ModelInferRequest.FromString(request).inputs] == ["X"]


def test_values_that_do_not_lie_in_row_major_order_are_sent_in_it() -> None:
    values = np.asfortranarray(np.arange(12, dtype=np.int16).reshape(1, 3, 4))
    message = service_pb2.ModelInferRequest.FromString(encoded({"X": values})[0])
    assert message.raw_input_contents == [np.arange(12, dtype=np.int16).tobytes()]


@pytest.mark.parametrize(("max_batch_size", "shape"), [(8, [1, 3]), (0, [3])])
def test_an_item_has_a_batch_axis_only_where_the_model_batches(max_batch_size: int, shape: list[int]) -> None:
    requests = encoded({"X": np.zeros((2, 3), np.float32)}, max_batch_size)
    assert [list(service_pb2.ModelInferRequest.FromString(one).inputs[0].shape) for one in requests] == [shape, shape]


def test_a_grpc_answer_gives_the_models_outputs_as_arrays() -> None:
    answer = service_pb2.ModelInferResponse(model_name="model")
    answer.outputs.add(name="A", datatype="FP32", shape=[1, 2])
    answer.outputs.add(name="B", datatype="BYTES", shape=[1, 1])
    answer.raw_output_contents.extend([np.array([1.5, -2], np.float32).tobytes(), b"\x02\x00\x00\x00hi"])
    outputs = wire_grpc.decode(answer.SerializeToString(), output_names(model({})))
    assert {name: array.tolist() for name, array in outputs.items()} == {"A": [[1.5, -2.0]], "B": [[b"hi"]]}


@pytest.mark.parametrize("wire", [wire_http, wire_grpc])
def test_an_endpoint_says_where_its_requests_go(wire: type[wire_http]) -> None:
    inputs: Arrays = {"X": np.zeros((3, 2), np.float32)}
    endpoint = wire.endpoint(Dataset(inputs), described(model(inputs), "model"), Site("127.0.0.1", 8001))
    assert (endpoint.host, endpoint.port, len(endpoint.requests)) == ("127.0.0.1", 8001, 3)
    assert endpoint.grpc == (Grpc(wire_grpc.PATH) if wire is wire_grpc else None)


@pytest.mark.parametrize(
    ("wire", "message"), [(wire_http, "no answer over HTTP: ConnectionRefused"), (wire_grpc, "gRPC UNAVAILABLE: ")]
)
def test_a_server_that_is_not_there_is_a_failure(wire: type[wire_http], message: str) -> None:
    inputs: Arrays = {"X": np.zeros((1, 2), np.float32)}
    endpoint = wire.endpoint(Dataset(inputs), described(model(inputs), "model"), SITE)
    assert message in failure_of(endpoint, 2.0)
