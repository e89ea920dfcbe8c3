"""The target kserve on real servers: MLServer and Triton, over HTTP, HTTPS and gRPC."""

import asyncio
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import trustme

from targets.base import Context, Deployment, Target, TargetError
from targets.kserve.options import KServeOptions
from targets.kserve.target import KServeTarget
from targets.mlserver.target import MLServerDeployment
from targets.testing import RemoteTargetContract
from targets.triton.target import TritonTarget
from tests.conftest import DIGITS, STUDIES, MakeTriton
from tests.mlserver.conftest import answers
from workloads.datasets import load_npz
from workloads.requests import Dataset

pytestmark = pytest.mark.long

MakeKServe = Callable[..., KServeTarget]


def kserve_target(folder: Path, **options: object) -> KServeTarget:
    return KServeTarget(KServeOptions.model_validate(options), Context(folder, folder / "log.txt"))


def urls(served: Deployment) -> dict[str, str]:
    assert isinstance(served, MLServerDeployment)
    server = served._server
    return {"http": f"http://127.0.0.1:{server.port}", "grpc": f"grpc://127.0.0.1:{server.grpc_port}"}


@pytest.fixture
def make(tmp_path: Path) -> Iterator[MakeKServe]:
    made = []

    def make(**options: object) -> KServeTarget:
        made.append(kserve_target(tmp_path, **options))
        return made[-1]

    yield make
    for target in made:
        target.stop()


class OnMLServer(RemoteTargetContract):
    counts = False
    protocol: ClassVar[str]
    url: ClassVar[str] = ""

    @pytest.fixture(autouse=True)
    def _served(self, served: Deployment) -> None:
        type(self).url = urls(served)[self.protocol]

    @classmethod
    def make(cls, folder: Path, **options: object) -> Target:  # type: ignore[override]
        return kserve_target(folder, url=cls.url, model="digits", **options)

    @staticmethod
    def requests() -> Dataset:
        return load_npz(STUDIES / "mlserver" / "test.npz")


class TestKServeOnMLServerOverHttp(OnMLServer):
    protocol = "http"


class TestKServeOnMLServerOverGrpc(OnMLServer):
    protocol = "grpc"


class TestKServeOnTritonOverHttp(RemoteTargetContract):
    url: ClassVar[str] = ""

    @pytest.fixture(autouse=True)
    def _served(self, triton: TritonTarget) -> Iterator[None]:
        deployment = triton.deploy(triton.user_config(), "remote")
        type(self).url = f"http://127.0.0.1:{triton._running().port}"
        yield
        deployment.retire()

    @classmethod
    def make(cls, folder: Path, **options: object) -> Target:  # type: ignore[override]
        return kserve_target(folder, url=cls.url, model="digits__remote", **options)

    @staticmethod
    def requests() -> Dataset:
        return load_npz(DIGITS / "test.npz")


def test_triton_is_asked_over_grpc_with_its_statistics(
    make_triton: MakeTriton, make: MakeKServe, digits: Dataset, tmp_path: Path
) -> None:
    triton = make_triton(protocol="grpc")
    triton.start()
    ours = triton.deploy(triton.user_config(), "remote")
    port = ours.endpoint(digits).port
    target = make(url=f"grpc://127.0.0.1:{port}", model="digits__remote", version=1)
    target.start()
    remote = target.deploy({}, "x")
    for one, other in zip(answers(remote, digits, tmp_path), answers(ours, digits, tmp_path), strict=True):
        np.testing.assert_allclose(one["LOGITS"], other["LOGITS"], rtol=1e-4)
    target.verify(target.export({}), digits)
    over_grpc, over_http = remote.statistics()(), ours.statistics()()
    assert over_grpc.batches.keys() == over_http.batches.keys()
    assert over_grpc.total_ns.keys() == over_http.total_ns.keys()
    assert over_grpc.requests > 600
    assert target.environment()["server"].startswith("triton 2.")


def test_mlserver_gives_the_same_answers_over_http_and_grpc(
    served: Deployment, make: MakeKServe, scans: Dataset, tmp_path: Path
) -> None:
    found = {}
    for protocol, url in urls(served).items():
        target = make(url=url, model="digits", version="1")
        target.start()
        found[protocol] = [one["predict"].tolist() for one in answers(target.deploy({}, "x"), scans, tmp_path)]
        assert (
            target.environment()["protocol"] == {"http": "http, JSON tensors", "grpc": "grpc, binary tensors"}[protocol]
        )
    assert found["http"] == found["grpc"]
    assert scans.labels is not None
    assert (np.array(found["http"]).ravel() == scans.labels).mean() > 0.97


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_a_model_that_is_not_there_is_named_with_a_close_one(
    protocol: str, served: Deployment, make: MakeKServe
) -> None:
    url = urls(served)[protocol]
    with pytest.raises(TargetError, match=rf"target\.model: {url} has no model 'digit' .*; did you mean 'digits'\?"):
        make(url=url, model="digit").start()
    with pytest.raises(TargetError, match="has no model 'digits' in version 7 that is ready; look into"):
        make(url=url, model="digits", version=7).start()


def test_a_server_of_something_else_is_found_out(served: Deployment, make: MakeKServe) -> None:
    assert isinstance(served, MLServerDeployment)
    with pytest.raises(TargetError, match=r"/v2/health/ready is not there \(HTTP 404\): no server of the Open"):
        make(url=f"http://127.0.0.1:{served._server._metrics_port}", model="digits").start()


def test_a_dataset_that_does_not_fit_is_named_once_the_server_was_asked(served: Deployment, make: MakeKServe) -> None:
    target = make(url=urls(served)["http"], model="digits")
    wrong = Dataset({"IMAGE": np.zeros((2, 63), np.float32)})
    target.check_requests(wrong)
    target.start()
    with pytest.raises(TargetError, match=r"'IMAGE' has shape \[64\] in the model, but \[63\] a row in the dataset"):
        target.deploy({}, "x").endpoint(wrong)


def test_nothing_of_a_remote_server_can_be_changed(served: Deployment, make: MakeKServe) -> None:
    target = make(url=urls(served)["http"], model="digits")
    target.start()
    with pytest.raises(TargetError, match="nothing of a remote server can be changed, so not max_batch_size"):
        target.deploy({"max_batch_size": 3}, "x")
    target.deploy({}, "x").retire()
    assert served.processes()


# -- behind TLS, with a secret --


@pytest.fixture
def secured(served: Deployment, tmp_path: Path) -> Iterator[tuple[str, Path, list[bytes]]]:
    """End TLS before the MLServer: its URL, the authority's certificate, and what came in."""
    authority = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    port, seen = int(urls(served)["http"].rpartition(":")[2]), []
    loop = asyncio.new_event_loop()

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", port)

        async def copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter, kept: list[bytes]) -> None:
            while data := await source.read(65536):
                kept.append(data)
                sink.write(data)
            sink.close()

        await asyncio.gather(copy(reader, back, seen), copy(there, writer, []), return_exceptions=True)

    server = loop.run_until_complete(asyncio.start_server(forward, "127.0.0.1", 0, ssl=context))
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    yield f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}", tmp_path / "ca.pem", seen
    loop.call_soon_threadsafe(server.close)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    for task in asyncio.all_tasks(loop):
        task.cancel()
    loop.run_until_complete(asyncio.sleep(0.05))
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()


def test_a_secret_goes_to_the_server_with_every_request_and_nowhere_else(
    secured: tuple[str, Path, list[bytes]],
    make: MakeKServe,
    scans: Dataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    url, ca, seen = secured
    monkeypatch.setenv("DIGITS_TOKEN", "hush")
    target = make(url=url, model="digits", ca=str(ca), headers={"Authorization": "Bearer ${DIGITS_TOKEN}"})
    target.start()
    assert target.alive()
    target.verify(target.export({}), scans)
    assert len(answers(target.deploy({}, "x"), scans, tmp_path)) == 600
    requests = [data for data in seen if data.startswith((b"GET ", b"POST "))]
    assert len(requests) >= 600
    assert all(b"\r\nAuthorization: Bearer hush\r\n" in request for request in requests)
    assert "hush" not in repr(target.environment())


def test_a_server_whose_certificate_is_not_trusted_is_refused(
    secured: tuple[str, Path, list[bytes]], make: MakeKServe
) -> None:
    with pytest.raises(TargetError, match=r"does not answer \(.*CERTIFICATE_VERIFY_FAILED"):
        make(url=secured[0], model="digits").start()
