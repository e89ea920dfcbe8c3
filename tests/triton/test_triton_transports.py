"""Tensors in shared memory and as JSON, and what goes along with requests, on the real server."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from targets.base import ConfigRefused, Outcome, TargetError
from targets.triton.target import TritonTarget
from tests.conftest import MakeTriton
from tests.support.triton_models import ECHO, SLOW, SUM, drive, write_model
from tests.triton.test_guardian import wait_until
from workloads.requests import Dataset

pytestmark = pytest.mark.long

SHARED = Path("/dev/shm")
USER = {"max_batch_size": 8, "instances": 1, "max_queue_delay": 0.0, "precision": "fp32"}
ROWS = Dataset({"X": np.arange(640, dtype=np.float32).reshape(40, 16)}, batches=np.array([1, 4, 2, 8] * 2 + [1]))
TEXTS = Dataset(
    {
        "TEXT": np.array([["", "a"], ["Grüße", "世界"]]),
        "NUMBER": [np.array([1, -5, 2**40], np.int64), np.array([3], np.int64)],
    }
)


def regions(target: TritonTarget) -> list[str]:
    """Return the server's own shared memory that has tensors of requests."""
    return sorted(path.name for path in SHARED.glob(f"{target._running().shm_prefix}tensors*"))


def registered(target: TritonTarget) -> list[str]:
    """Return the names of what the server has mapped."""
    return sorted(one["name"] for one in target._running().ask(lambda client: client.get_system_shared_memory_status()))


@pytest.mark.parametrize("protocol", ["http", "grpc"])
@pytest.mark.parametrize("outputs", ["inline", "shared_memory"])
def test_every_digit_is_answered_through_shared_memory_as_without(
    protocol: str, outputs: str, triton: TritonTarget, make_triton: MakeTriton, digits: Dataset, tmp_path: Path
) -> None:
    plain = triton.deploy(USER, "plain")
    target = make_triton(protocol=protocol, tensors="shared_memory", outputs=outputs)
    target.start()
    shared = target.deploy(USER, "shared")
    found = []
    for deployment in (plain, shared):
        endpoint = deployment.endpoint(digits)
        report, records = drive(endpoint, tmp_path)
        assert (records.columns["outcome"] == Outcome.OK).all()
        answers = {index: deployment.outputs(answer)["LOGITS"] for index, answer in report.answers}
        found.append(np.concatenate([answers[index] for index in range(600)]))
    assert found[0].shape == (600, 10)
    np.testing.assert_allclose(found[1], found[0], rtol=1e-4)
    assert max(map(len, shared.endpoint(digits).requests)) < min(map(len, plain.endpoint(digits).requests))
    assert regions(target) == registered(target)
    assert len(regions(target)) == (1 if outputs == "inline" else 2)
    plain.retire()
    shared.retire()
    assert regions(target) == registered(target) == []


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_requests_of_several_rows_have_their_outputs_in_slots_of_their_own(
    protocol: str, make_triton: MakeTriton, tmp_path: Path
) -> None:
    repository = write_model(tmp_path / "models", "sum", SUM)
    settings = {"model": "sum", "repository": repository, "variants": {}, "protocol": protocol}
    target = make_triton(**settings, outputs="shared_memory")
    target.start()
    deployment = target.deploy({"max_batch_size": 8}, "x")
    other = deployment.endpoint(Dataset({"X": -ROWS.inputs["X"]}, batches=ROWS.batches))
    report, _ = drive(deployment.endpoint(ROWS), tmp_path)
    drive(other, tmp_path)
    assert len(report.answers) == 9
    for index, answer in report.answers:
        rows, outputs = ROWS.rows("X", index), deployment.outputs(answer)
        np.testing.assert_array_equal(outputs["SUM"], rows.sum(axis=1, keepdims=True))
        np.testing.assert_array_equal(outputs["TWICE"], 2 * rows)


@pytest.mark.parametrize(
    ("protocol", "tensors"),
    [("http", "shared_memory"), ("grpc", "shared_memory"), ("http", "json"), ("http", "binary")],
)
def test_texts_numbers_and_parameters_reach_the_model(
    protocol: str, tensors: str, make_triton: MakeTriton, tmp_path: Path
) -> None:
    parameters = {"whole": -3, "real": 1.5, "yes": True, "text": "Grüße"}
    repository = write_model(tmp_path / "models", "echo", ECHO)
    settings = {"model": "echo", "repository": repository, "variants": {}, "protocol": protocol, "tensors": tensors}
    target = make_triton(**settings, parameters=parameters)
    target.start()
    deployment = target.deploy({"max_batch_size": 4}, "x")
    report, _ = drive(deployment.endpoint(TEXTS), tmp_path)
    outputs = [deployment.outputs(answer) for _, answer in sorted(report.answers)]
    texts = [[text.decode() if isinstance(text, bytes) else text for text in one["TEXT_BACK"][0]] for one in outputs]
    assert texts == [["", "a"], ["Grüße", "世界"]]
    assert [one["SUM"].tolist() for one in outputs] == [[[2**40 - 4]], [[3]]]
    for one in outputs:
        assert json.loads(one["PARAMETERS"][0][0]) == parameters
    assert target.environment()["requests"] == f"{protocol}, {tensors.replace('_', ' ')} tensors"


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_requests_wait_in_the_queue_no_longer_than_the_study_says(
    protocol: str, make_triton: MakeTriton, tmp_path: Path
) -> None:
    repository = write_model(tmp_path / "models", "slow", SLOW)
    settings = {"model": "slow", "repository": repository, "variants": {}, "protocol": protocol}
    dataset = Dataset({"X": np.ones((6, 1), np.float32)})
    for timeout, outcome in (("1 ms", 1 if protocol == "http" else 2), (None, 0)):
        target = make_triton(**settings, **({"queue_timeout": timeout} if timeout else {}))
        target.start()
        deployment = target.deploy({}, "x")
        report, records = drive(deployment.endpoint(dataset), tmp_path, at_once=6)
        late = int((records.columns["outcome"] == outcome).sum())
        assert late >= (4 if timeout else 6), report.failures
        if timeout:
            assert "timeout" in report.failures[0].text.lower()
        target.stop()


def test_sources_that_were_not_asked_for_lately_give_their_memory_back(
    make_triton: MakeTriton, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("targets.triton.transport.SOURCES", 2)
    target = make_triton(tensors="shared_memory")
    target.start()
    deployment = target.deploy(USER, "x")
    sources = [Dataset({"IMAGE": np.full((3, 1, 8, 8), value, np.float32)}) for value in range(4)]
    held = []
    for source in sources:
        deployment.endpoint(source)
        held.append(len(regions(target)))
    assert held == [1, 2, 2, 2]
    assert regions(target) == registered(target)
    deployment.ask_once(sources[3])
    deployment.ask_once(sources[0])


def test_the_next_deployment_of_an_alias_takes_the_place_of_the_memory_too(
    make_triton: MakeTriton, digits: Dataset
) -> None:
    target = make_triton(tensors="shared_memory")
    target.start()
    for size in (8, 4):
        deployment = target.deploy({**USER, "max_batch_size": size}, "same")
        deployment.ask_once(digits)
        assert len(regions(target)) == 1
        assert regions(target) == registered(target)


def test_memory_that_does_not_fit_is_refused_with_what_is_free(make_triton: MakeTriton, tmp_path: Path) -> None:
    config, code = SUM
    repository = write_model(
        tmp_path / "models", "sum", (config.replace("[ 16 ] } ]\ndyn", f"[ {2**44} ] }} ]\ndyn"), code)
    )
    target = make_triton(model="sum", repository=repository, variants={}, outputs="shared_memory")
    target.start()
    deployment = target.deploy({}, "x")
    with pytest.raises(
        TargetError, match=r"target.tensors: 70,368,744,\d{3},\d{3} bytes of shared memory do not fit .* free"
    ):
        deployment.endpoint(Dataset({"X": np.ones((1, 16), np.float32)}))
    assert regions(target) == []


def test_outputs_of_no_known_size_are_refused(make_triton: MakeTriton, tmp_path: Path) -> None:
    repository = write_model(tmp_path / "models", "echo", ECHO)
    with pytest.raises(TargetError, match=r"target.outputs: output 'TEXT_BACK' of model 'echo' is of strings, so that"):
        make_triton(model="echo", repository=repository, variants={}, outputs="shared_memory")


TUNER = """
import sys, time
from pathlib import Path
from tests.conftest import DIGITS, VARIANTS
from tests.support.targets import triton_target
from workloads.datasets import load_npz

target = triton_target(
    Path(sys.argv[1]), model="digits", repository=DIGITS / "models", variants=VARIANTS, tensors="shared_memory",
    outputs="shared_memory",
)
target.start()
deployment = target.deploy(target.user_config(), "x")
deployment.endpoint(load_npz(DIGITS / "test.npz"))
print(target._running().shm_prefix, flush=True)
time.sleep(600)
"""


def test_shared_memory_is_gone_when_the_tuner_is_killed(tmp_path: Path) -> None:
    command = [sys.executable, "-c", TUNER, str(tmp_path / "log.txt")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]) as tuner:
        assert tuner.stdout is not None
        prefix = tuner.stdout.readline().strip()
        assert len(list(SHARED.glob(f"{prefix}tensors*"))) == 2
        os.kill(tuner.pid, signal.SIGKILL)
    assert wait_until(lambda: not list(SHARED.glob(f"{prefix}*")))


def test_shared_memory_is_gone_when_the_server_stops(make_triton: MakeTriton, digits: Dataset) -> None:
    target = make_triton(tensors="shared_memory")
    target.start()
    deployment = target.deploy(USER, "x")
    deployment.endpoint(digits)
    prefix = target._running().shm_prefix
    assert list(SHARED.glob(f"{prefix}tensors*"))
    target.stop()
    assert not list(SHARED.glob(f"{prefix}*"))


def test_an_export_loads_as_it_is_and_answers_through_shared_memory(make_triton: MakeTriton, digits: Dataset) -> None:
    target = make_triton(tensors="shared_memory", outputs="shared_memory")
    target.start()
    target.verify(target.export({**USER, "max_batch_size": 32}), digits)
    assert regions(target) == []


# -- memory of a GPU --


@pytest.mark.gpu
@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_every_digit_is_answered_through_a_gpus_memory(
    protocol: str, make_triton: MakeTriton, digits: Dataset, tmp_path: Path
) -> None:
    kind = "cuda_shared_memory"
    found = []
    for settings in ({}, {"tensors": kind, "outputs": kind}):
        target = make_triton(protocol=protocol, **settings)
        target.start()
        deployment = target.deploy(USER, "x")
        report, _ = drive(deployment.endpoint(digits), tmp_path)
        answers = {index: deployment.outputs(answer)["LOGITS"] for index, answer in report.answers}
        found.append(np.concatenate([answers[index] for index in range(600)]))
        deployment.retire()
        target.stop()
    np.testing.assert_allclose(found[1], found[0], rtol=1e-4)


def test_without_cudas_library_its_memory_is_refused_with_the_reason(
    make_triton: MakeTriton, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("targets.triton.cuda.LIBRARIES", ("libcudart-of-nobody.so",))
    monkeypatch.setattr("targets.triton.cuda.find_library", lambda _: None)
    with pytest.raises(TargetError, match=r"CUDA's runtime library is not installed \(looked for libcudart-of-nobody"):
        make_triton(tensors="cuda_shared_memory").start()


@pytest.fixture
def cudart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stand-in for CUDA's runtime, compiled here, whose GPU memory is plain memory."""
    library = tmp_path / "libcudart-stub.so"
    source = Path(__file__).with_name("cudart_stub.c")
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source], check=True)
    monkeypatch.setattr("targets.triton.cuda.LIBRARIES", (str(library),))
    return library


@pytest.mark.usefixtures("cudart")
def test_a_handle_that_the_server_cannot_open_is_refused_with_its_reason_and_the_memory_given_back(
    make_triton: MakeTriton, digits: Dataset
) -> None:
    target = make_triton(tensors="cuda_shared_memory")
    target.start()
    deployment = target.deploy(USER, "x")
    with pytest.raises(ConfigRefused, match=r"failed to open CUDA IPC handle|CUDA|cuda"):
        deployment.endpoint(digits)
    cuda = target._memories._cuda
    assert cuda is not None
    assert cuda._library.stub_allocations() == 0


@pytest.mark.usefixtures("cudart")
def test_a_gpu_that_is_not_there_is_named(make_triton: MakeTriton, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TargetError, match=r"target.cuda_device: there is no GPU 2, of 2"):
        make_triton(tensors="cuda_shared_memory", cuda_device=2).start()
    monkeypatch.setenv("STUB_CUDA_FAIL", "1")
    with pytest.raises(
        TargetError, match=r"cudaGetDeviceCount failed: no CUDA-capable device is detected \(CUDA error 100\)"
    ):
        make_triton(tensors="cuda_shared_memory").start()
