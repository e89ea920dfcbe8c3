"""Requests over gRPC on the real server."""

import socket
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import grpc
import numpy as np
import psutil
import pytest

from targets.base import Endpoint, Outcome, TargetError, difference
from targets.evidence import halt
from targets.kserve import wire_grpc, wire_http
from targets.kserve.judge import header_value
from targets.kserve.wire import Site
from targets.probe import failure_of
from targets.triton import server as triton_server
from targets.triton.target import TritonTarget
from targets.triton.wire import described
from tests.conftest import DIGITS, VARIANTS, MakeTriton
from tests.support.targets import triton_target
from tuner.load import engine
from tuner.load.plan import ClosedLoop, Plan
from workloads.requests import Dataset

pytestmark = pytest.mark.long

USER = {"max_batch_size": 8, "instances": 1, "max_queue_delay": 0.0, "precision": "fp32"}
ECHO_CONFIG = """
backend: "python"
max_batch_size: 4
input [ { name: "TEXT" data_type: TYPE_STRING dims: [ 2 ] }, { name: "NUMBER" data_type: TYPE_INT64 dims: [ -1 ] } ]
output [ { name: "TEXT_BACK" data_type: TYPE_STRING dims: [ 2 ] }, { name: "SUM" data_type: TYPE_INT64 dims: [ 1 ] } ]
instance_group [ { count: 1 kind: KIND_CPU } ]
"""
ECHO_MODEL = """
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def execute(self, requests):
        return [self.answer(request) for request in requests]

    def answer(self, request):
        text = pb_utils.get_input_tensor_by_name(request, "TEXT").as_numpy()
        number = pb_utils.get_input_tensor_by_name(request, "NUMBER").as_numpy()
        outputs = [pb_utils.Tensor("SUM", number.sum(axis=1, keepdims=True)), pb_utils.Tensor("TEXT_BACK", text)]
        return pb_utils.InferenceResponse(outputs)
"""


@pytest.fixture(scope="module")
def over_grpc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TritonTarget]:
    """A running Triton whose requests go over gRPC."""
    log = tmp_path_factory.mktemp("triton-grpc") / "log.txt"
    target = triton_target(log, model="digits", repository=DIGITS / "models", variants=VARIANTS, protocol="grpc")
    target.start()
    yield target
    target.stop()


def grpc_answers(endpoint: Endpoint) -> list[bytes]:
    """Send every request as it is, one after another."""
    assert endpoint.grpc is not None
    with grpc.insecure_channel(f"{endpoint.host}:{endpoint.port}") as channel:
        call = channel.unary_unary(endpoint.grpc.path)
        return [call(request, timeout=10) for request in endpoint.requests]


def http_answers(endpoint: Endpoint) -> list[bytes]:
    """Send every request as it is, one after another; return the complete answers."""
    answers = []
    with socket.create_connection((endpoint.host, endpoint.port), timeout=10) as connection:
        for request in endpoint.requests:
            connection.sendall(request)
            answer = b""
            while b"\r\n\r\n" not in answer:
                answer += connection.recv(65536)
            head, _, body = answer.partition(b"\r\n\r\n")
            length = int(header_value(head, b"content-length") or b"")
            while len(body) < length:
                body += connection.recv(65536)
            answers.append(head + b"\r\n\r\n" + body)
    return answers


def test_every_digit_is_answered_over_grpc_as_over_http(
    over_grpc: TritonTarget, triton: TritonTarget, digits: Dataset
) -> None:
    ours, other = over_grpc.deploy(USER, "same"), triton.deploy(USER, "same")
    answers = grpc_answers(ours.endpoint(digits))
    assert {ours.endpoint(digits).judge(0, answer) for answer in answers} == {Outcome.OK}
    for answer, http_answer in zip(answers, http_answers(other.endpoint(digits)), strict=True):
        logits = ours.outputs(answer)["LOGITS"]
        assert logits.shape == (1, 10)
        np.testing.assert_array_equal(logits, other.outputs(http_answer)["LOGITS"])
    ours.retire()
    other.retire()


def test_strings_and_whole_numbers_are_answered_over_grpc_as_over_http(make_triton: MakeTriton, tmp_path: Path) -> None:
    folder = tmp_path / "models" / "echo"
    (folder / "1").mkdir(parents=True)
    (folder / "config.pbtxt").write_text(ECHO_CONFIG)
    (folder / "1" / "model.py").write_text(ECHO_MODEL)
    target = make_triton(model="echo", repository=folder.parent, variants={}, protocol="grpc")
    target.start()
    text = np.array([["", "a"], ["Grüße", "世界"]])
    dataset = Dataset({"TEXT": text, "NUMBER": np.array([[1, -5, 2**40], [3, 0, 0]])})
    deployment = target.deploy({"max_batch_size": 4}, "x")
    outputs = [deployment.outputs(answer) for answer in grpc_answers(deployment.endpoint(dataset))]
    assert [one["TEXT_BACK"].tolist() for one in outputs] == [[[part.encode() for part in row]] for row in text]
    assert [one["SUM"].tolist() for one in outputs] == [[[2**40 - 4]], [[3]]]
    model = described(target._user.config, "echo__x")
    over_http = wire_http.endpoint(dataset, model, Site("127.0.0.1", target._running().port))
    for one, answer in zip(outputs, http_answers(over_http), strict=True):
        for name, array in wire_http.decode(answer, model.outputs).items():
            np.testing.assert_array_equal(one[name], array)


def test_the_load_engine_gets_the_answers_that_grpcs_own_client_gets(
    over_grpc: TritonTarget, digits: Dataset, tmp_path: Path
) -> None:
    endpoint = over_grpc.deploy(USER, "engine").endpoint(digits)
    plan = Plan(
        endpoint=endpoint,
        load=ClosedLoop(16, np.arange(600, dtype=np.int32), total=600),
        start_ns=time.monotonic_ns(),
        warmup_ns=0,
        window_ns=60_000_000_000,
        timeout_ns=10_000_000_000,
        records_path=tmp_path / "records.bin",
        keep_answers=True,
    )
    report = engine.run(plan)
    assert report.failures == ()
    expected = [wire_grpc.decode(answer, ("LOGITS",))["LOGITS"] for answer in grpc_answers(endpoint)]
    answers = {index: wire_grpc.decode(answer, ("LOGITS",))["LOGITS"] for index, answer in report.answers}
    assert sorted(answers) == list(range(600))
    np.testing.assert_allclose(np.concatenate([answers[i] for i in range(600)]), np.concatenate(expected), rtol=1e-4)


def test_statistics_count_what_was_asked_over_grpc(over_grpc: TritonTarget, digits: Dataset) -> None:
    deployment = over_grpc.deploy(USER, "counted")
    before = deployment.statistics()()
    grpc_answers(deployment.endpoint(digits))
    deadline = time.monotonic() + 10
    while deployment.statistics()().requests < before.requests + 600 and time.monotonic() < deadline:
        time.sleep(0.01)  # Triton counts a request a moment after it has answered it
    assert difference(before, deployment.statistics()()).requests == 600


def test_an_export_loads_as_it_is_and_answers_over_grpc(over_grpc: TritonTarget, digits: Dataset) -> None:
    over_grpc.verify(over_grpc.export({**USER, "max_batch_size": 32, "precision": "int8"}), digits)


def test_a_model_that_is_gone_is_a_grpc_error(over_grpc: TritonTarget, digits: Dataset) -> None:
    deployment = over_grpc.deploy(USER, "gone")
    endpoint = deployment.endpoint(digits)
    deployment.retire()
    with pytest.raises(grpc.RpcError, match="unknown model: 'digits__gone'"):
        grpc_answers(replace(endpoint, requests=endpoint.requests[:1]))
    with pytest.raises(TargetError, match=r"gRPC NOT_FOUND: .*unknown model: 'digits__gone'"):
        deployment.ask_once(digits)


def test_a_model_that_is_gone_is_an_http_error(triton: TritonTarget, digits: Dataset) -> None:
    deployment = triton.deploy(USER, "gone")
    deployment.retire()
    with pytest.raises(TargetError, match=r"failed: HTTP 4..: .*unknown model: .*digits__gone"):
        deployment.ask_once(digits)


def test_serves_grpc_on_the_port_that_the_study_names(make_triton: MakeTriton, digits: Dataset) -> None:
    ports = triton_server.choose_ports({"http": None, "grpc": None})
    target = make_triton(protocol="grpc", http_port=ports["http"], grpc_port=ports["grpc"])
    target.start()
    deployment = target.deploy(USER, "x")
    assert deployment.endpoint(digits).port == ports["grpc"]
    assert target._running().port == ports["http"]
    assert len(grpc_answers(deployment.endpoint(digits))) == 600


def test_with_http_nothing_listens_for_grpc(triton: TritonTarget) -> None:
    assert triton._running().request_port == triton._running().port
    log = triton._context.log_path.read_text()
    assert "Started HTTPService" in log
    assert "Started GRPCInferenceService" not in log


def test_grpc_is_ready_before_http_says_so(over_grpc: TritonTarget) -> None:
    log = over_grpc._context.log_path.read_text()
    assert 0 < log.index("Started GRPCInferenceService at 127.0.0.1:") < log.index("Started HTTPService")


def test_a_server_that_hangs_is_a_grpc_failure(make_triton: MakeTriton, digits: Dataset) -> None:
    target = make_triton(protocol="grpc")
    target.start()
    deployment = target.deploy(USER, "x")
    assert failure_of(deployment.endpoint(digits), 10.0) == ""
    halt([psutil.Process(deployment.processes()[0])])
    assert failure_of(deployment.endpoint(digits), 0.5).startswith("gRPC DEADLINE_EXCEEDED: ")
