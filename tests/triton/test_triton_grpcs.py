"""gRPC over TLS: a real Triton with a certificate of its own, asked by both targets of running servers."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest
import trustme
import yaml

from targets.base import Context, Target, TargetError
from targets.kserve.options import KServeOptions
from targets.kserve.target import KServeTarget
from targets.testing import RemoteTargetContract
from targets.triton.options import TritonOptions
from targets.triton.target import TritonTarget
from tests.conftest import DIGITS
from tests.support.foreign_triton import ForeignTriton, foreign_triton
from tests.support.tune import tune
from tuner.results import read_result
from tuner.study.load import load_study
from workloads.datasets import load_npz
from workloads.requests import Dataset

pytestmark = pytest.mark.long

USER = {"max_batch_size": 8, "instances": 1, "max_queue_delay": 0.0}
OTHER = {**USER, "max_batch_size": 32, "instances": 2}


@dataclass(frozen=True)
class Secured:
    """A Triton whose gRPC is over TLS, and the file with the certificate of who vouches for it."""

    server: ForeignTriton
    ca: Path

    @property
    def url(self) -> str:
        """Where its gRPC service is."""
        return self.server.grpc_url.replace("grpc://", "grpcs://")


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    folder = tmp_path_factory.mktemp("secured")
    authority = trustme.CA()
    own = authority.issue_cert("127.0.0.1", "localhost")
    authority.cert_pem.write_to_path(folder / "ca.pem")
    own.private_key_pem.write_to_path(folder / "key.pem")
    for part in own.cert_chain_pems:
        part.write_to_path(folder / "chain.pem", append=True)
    flags = ["--grpc-use-ssl=true", f"--grpc-server-cert={folder / 'chain.pem'}",
             f"--grpc-server-key={folder / 'key.pem'}"]  # fmt: skip
    with foreign_triton(folder, "explicit", flags) as server:
        yield Secured(server, folder / "ca.pem")


def remote(folder: Path, secured: Secured, **options: object) -> TritonTarget:
    values = {"model": "digits", "launch": "remote", "protocol": "grpc", "repository": secured.server.repository,
              "grpc_url": secured.url, "ca": secured.ca, **options}  # fmt: skip
    return TritonTarget(TritonOptions.model_validate(values), Context(folder, folder / "log.txt"))


class OverTls(RemoteTargetContract):
    where: ClassVar[Secured]

    @pytest.fixture(autouse=True)
    def _served(self, secured: Secured) -> None:
        type(self).where = secured

    @staticmethod
    def requests() -> Dataset:
        return load_npz(DIGITS / "test.npz")


class TestTritonOverGrpcs(OverTls):
    @classmethod
    def make(cls, folder: Path, **options: object) -> Target:  # type: ignore[override]
        return remote(folder, cls.where, **options)


class TestKServeOverGrpcs(OverTls):
    @classmethod
    def make(cls, folder: Path, **options: object) -> Target:  # type: ignore[override]
        values = {"url": cls.where.url, "model": "digits", "ca": cls.where.ca, **options}
        return KServeTarget(KServeOptions.model_validate(values), Context(folder, folder / "log.txt"))


def test_models_are_loaded_over_it_and_the_configuration_comes_back(
    secured: Secured, tmp_path: Path, digits: Dataset
) -> None:
    before = secured.server.config()
    target = remote(tmp_path, secured)
    target.start()
    try:
        assert target.environment()["protocol"].startswith("grpcs")
        deployment = target.deploy(OTHER, "one")
        assert secured.server.config()["max_batch_size"] == 32
        assert deployment.endpoint(digits).tls is not None
        target.verify(target.export(OTHER), digits)
    finally:
        target.stop()
    assert secured.server.config() == before


@pytest.mark.parametrize("kind", ["triton", "kserve"])
def test_a_certificate_that_nobody_trusts_is_refused(kind: str, secured: Secured, tmp_path: Path) -> None:
    target: Target = remote(tmp_path, secured, ca=None)
    if kind == "kserve":
        options = KServeOptions(url=secured.url, model="digits")
        target = KServeTarget(options, Context(tmp_path, tmp_path / "log.txt"))
    with pytest.raises(
        TargetError, match=r"grpcs://127\.0\.0\.1:\d+ does not answer \(gRPC UNAVAILABLE: .*CERTIFICATE"
    ):
        target.start()


def test_calls_in_the_clear_do_not_come_through(secured: Secured, tmp_path: Path) -> None:
    with pytest.raises(TargetError, match=r"grpc://127\.0\.0\.1:\d+ does not answer \(gRPC UNAVAILABLE"):
        remote(tmp_path, secured, grpc_url=secured.server.grpc_url, url="https://127.0.0.1:9", ca=None).start()


def test_a_study_is_written_for_it_and_runs_with_the_certificates_of_the_system(
    secured: Secured, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The authority is one of the system's here, so that no study names it."""
    monkeypatch.setenv("SSL_CERT_FILE", str(secured.ca))
    made = tune("init", "--url", secured.url, cwd=tmp_path)
    assert made.returncode == 0, made.stderr
    written = yaml.safe_load((tmp_path / "study.yaml").read_text())["target"]
    assert (written["grpc_url"], written["protocol"], "ca" in written) == (secured.url, "grpc", False)
    assert load_study(tmp_path / "study.yaml").spec.target.kind == "triton"
    small = ("--set", "space.concurrency=[2]", "--set", "measure.max_window=0.3 s", "--time", "20 s")
    ended = tune("study.yaml", *small, cwd=tmp_path)
    assert ended.returncode in (0, 4, 5), ended.stderr
    point = read_result(tmp_path / "runs/digits/latest").trial(0).points[0]
    assert point.outcomes["ok"] > 0
    assert not [name for name, count in point.outcomes.items() if count and name != "ok"]
