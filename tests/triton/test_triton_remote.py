"""`launch: remote`: a Triton that runs already, over each protocol and in each mode of model control."""

import json
import re
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import ClassVar
from urllib.request import urlopen

import numpy as np
import pytest
import yaml
from pydantic import ValidationError

from targets.base import Config, ConfigRefused, Context, Export, Target, TargetError, difference, metric_values
from targets.prometheus import parse
from targets.testing import RemoteTargetContract, TargetContract
from targets.triton.metrics import METRICS, gauges
from targets.triton.options import TritonOptions
from targets.triton.remote import RemoteTriton
from targets.triton.target import TritonTarget
from tests.conftest import DIGITS, STUDIES, VARIANTS
from tests.support.foreign_triton import ForeignTriton, foreign_triton
from tests.support.triton_models import drive
from tests.triton.test_triton_target import settled
from tuner.study.load import load_study
from tuner.study.source import StudyError
from tuner.wiring import prepare
from workloads.datasets import load_npz
from workloads.requests import Dataset

pytestmark = pytest.mark.long

COUNTED = ("nv_inference_request_success", "nv_inference_exec_count", "nv_inference_queue_duration_us")
USER = {"max_batch_size": 8, "instances": 1, "max_queue_delay": 0.0, "precision": "fp32"}
OTHER = {"max_batch_size": 32, "instances": 2, "max_queue_delay": 0.0005, "precision": "int8"}


@pytest.fixture(scope="module")
def explicit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ForeignTriton]:
    with foreign_triton(tmp_path_factory.mktemp("explicit"), "explicit") as server:
        yield server


@pytest.fixture(scope="module")
def uncontrolled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ForeignTriton]:
    with foreign_triton(tmp_path_factory.mktemp("uncontrolled"), "none") as server:
        yield server


def remote(folder: Path, server: ForeignTriton, protocol: str = "http", **options: object) -> TritonTarget:
    values = {
        "model": "digits",
        "launch": "remote",
        "protocol": protocol,
        "repository": server.repository,
        "variants": VARIANTS,
        **server.urls(protocol),
        **options,
    }
    return TritonTarget(TritonOptions.model_validate(values), Context(folder, folder / "log.txt"))


# -- the contract --


class Explicit(RemoteTargetContract):
    """A server that lets models be loaded: the contract of a remote one, and what it can keep of the other's."""

    protocol: ClassVar[str]
    server: ClassVar[ForeignTriton]
    other: ClassVar[Config] = OTHER
    refused: ClassVar[Config] = {"max_batch_size": 4, "precision": "fp32"}
    changed = TargetContract.changed
    spoiled = staticmethod(TargetContract.spoiled)

    @pytest.fixture(autouse=True)
    def _served(self, explicit: ForeignTriton) -> Iterator[None]:
        type(self).server = explicit
        before = explicit.config()
        yield
        assert explicit.config() == before, "the model has the configuration that it had"

    @classmethod
    def make(cls, folder: Path, **options: object) -> Target:  # type: ignore[override]
        # A batch size below this one is refused.
        overlay = {"dynamic_batching": {"preferred_batch_size": [8]}}
        variants = {name: {**one, **overlay} for name, one in VARIANTS.items()}
        return remote(folder, cls.server, cls.protocol, variants=variants, **options)

    @staticmethod
    def requests() -> Dataset:
        return load_npz(DIGITS / "test.npz")

    def reread(self, export: Export, folder: Path) -> Target:
        (folder / "models" / "digits").mkdir(parents=True)
        for path, text in export.files.items():
            (folder / "models" / path).write_text(text)
        return self.make(folder, repository=folder / "models")

    test_applied = TargetContract.test_a_legal_configuration_is_applied_and_read_back
    test_export = TargetContract.test_an_export_of_the_users_own_configuration_changes_nothing
    test_says = TargetContract.test_an_export_says_what_was_applied
    test_loaded = TargetContract.test_an_export_is_loaded_as_it_is
    test_spoiled = TargetContract.test_an_export_that_does_not_load_is_not_verified
    test_refused = TargetContract.test_a_refused_configuration_gives_the_reason_and_leaves_the_target_usable
    test_replaced = TargetContract.test_deployments_stand_side_by_side_or_replace_one_another
    test_alias = TargetContract.test_an_alias_is_taken_over
    test_unstarted = TargetContract.test_a_target_that_was_not_started_says_so


class TestExplicitOverHttp(Explicit):
    protocol = "http"


class TestExplicitOverGrpc(Explicit):
    protocol = "grpc"


class Uncontrolled(RemoteTargetContract):
    """A server that lets nothing be loaded."""

    protocol: ClassVar[str]
    server: ClassVar[ForeignTriton]

    @pytest.fixture(autouse=True)
    def _served(self, uncontrolled: ForeignTriton) -> None:
        type(self).server = uncontrolled

    @classmethod
    def make(cls, folder: Path, **options: object) -> Target:  # type: ignore[override]
        return remote(folder, cls.server, cls.protocol, **options)

    @staticmethod
    def requests() -> Dataset:
        return load_npz(DIGITS / "test.npz")


class TestUncontrolledOverHttp(Uncontrolled):
    protocol = "http"


class TestUncontrolledOverGrpc(Uncontrolled):
    protocol = "grpc"


# -- what is the remote one's own --


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., TritonTarget]]:
    made: list[TritonTarget] = []

    def one(server: ForeignTriton, protocol: str = "http", **options: object) -> TritonTarget:
        made.append(remote(tmp_path, server, protocol, **options))
        return made[-1]

    yield one
    for target in made:
        target.stop()


MakeRemote = Callable[..., TritonTarget]


@pytest.mark.parametrize("protocol", ["http", "grpc"])
@pytest.mark.parametrize("how", ["stopped", "after an error"])
def test_the_server_gets_the_configuration_back_that_it_had_and_runs_on(
    protocol: str, how: str, explicit: ForeignTriton, make: MakeRemote, digits: Dataset
) -> None:
    before = explicit.config()
    broken = {"parameters": {"model_file": "missing.onnx"}}
    target = make(explicit, protocol, variants={**VARIANTS, "broken": broken})
    target.start()
    target.deploy(OTHER, "one").endpoint(digits)
    assert explicit.config()["max_batch_size"] == 32
    if how == "after an error":
        with pytest.raises(ConfigRefused, match=r"missing\.onnx"):
            target.deploy({**OTHER, "precision": "broken"}, "two")
    target.stop()
    assert explicit.config() == before
    assert explicit.process.running()


def test_a_configuration_that_was_loaded_over_the_servers_own_file_is_what_comes_back(
    explicit: ForeignTriton, make: MakeRemote
) -> None:
    """The file says 8: to load the model anew without a configuration would not do."""
    at_first = explicit.config()
    explicit.client.load_model("digits", config=json.dumps({**at_first, "max_batch_size": 12}))
    try:
        target = make(explicit)
        target.start()
        target.deploy(OTHER, "one")
        target.stop()
        assert explicit.config() == {**at_first, "max_batch_size": 12}
    finally:
        explicit.client.load_model("digits", config=json.dumps(at_first))
    assert explicit.config() == at_first


def test_the_users_own_configuration_is_left_as_it_is(explicit: ForeignTriton, make: MakeRemote) -> None:
    target = make(explicit)
    target.start()
    log = explicit.repository.parent / "server.log"
    size = log.stat().st_size
    target.deploy(target.user_config(), "one").retire()
    target.stop()
    assert "loading" not in log.read_text()[size:], "nothing was loaded"


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_without_a_repository_the_servers_own_configuration_is_the_users(
    protocol: str, explicit: ForeignTriton, make: MakeRemote, digits: Dataset
) -> None:
    target = make(explicit, protocol, repository=None)
    assert target.user_config() == USER
    target.check_requests(digits)
    target.start()
    target.deploy(OTHER, "one")
    assert explicit.config()["max_batch_size"] == 32
    export = target.export(OTHER)
    assert dict(export.files) == {}, "there is no file of the user's to change"
    target.verify(export, digits)


def test_answers_are_those_of_the_variant_that_was_loaded(
    explicit: ForeignTriton, make: MakeRemote, triton: TritonTarget, digits: Dataset
) -> None:
    target = make(explicit)
    target.start()
    for precision in ("fp32", "int8"):
        config = {**USER, "precision": precision}
        there, here = target.deploy(config, "x"), triton.deploy(config, "beside_remote")
        answers = [_answer(one, digits)["LOGITS"] for one in (there, here)]
        np.testing.assert_allclose(*answers, rtol=1e-5)
        here.retire()


def test_tensors_and_parameters_travel_as_the_study_says(
    explicit: ForeignTriton, make: MakeRemote, digits: Dataset
) -> None:
    answers = []
    for tensors, mark in (("json", b'"data":['), ("binary", b'"binary_data_size"')):
        target = make(explicit, tensors=tensors, parameters={"who": "me"}, queue_timeout="1 s")
        target.start()
        deployment = target.deploy(USER, "x")
        (first, *_) = deployment.endpoint(digits).requests
        assert mark in first
        assert b'"who"' in first
        assert b'"timeout"' in first
        answers.append(_answer(deployment, digits)["LOGITS"])
        target.stop()
    np.testing.assert_allclose(*answers, rtol=1e-5)


def _answer(deployment: object, digits: Dataset) -> object:
    endpoint = deployment.endpoint(digits)  # type: ignore[attr-defined]
    with socket.create_connection((endpoint.host, endpoint.port)) as connection:
        connection.sendall(endpoint.requests[0].replace(b" HTTP/1.1\r\n", b" HTTP/1.1\r\nConnection: close\r\n", 1))
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    return deployment.outputs(answer)  # type: ignore[attr-defined]


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_a_server_without_model_control_is_measured_and_nothing_else(
    protocol: str, uncontrolled: ForeignTriton, make: MakeRemote
) -> None:
    target = make(uncontrolled, protocol)
    target.start()
    assert all(knob.unusable for knob in target.knobs())
    assert target.environment()["model_control"] == "none: only the load is searched"
    target.deploy(target.user_config(), "one")
    with pytest.raises(ConfigRefused, match=r"does not let models be loaded .*--model-control-mode=explicit"):
        target.deploy(OTHER, "two")


def test_a_server_without_model_control_that_has_another_configuration_than_the_file_is_refused(
    uncontrolled: ForeignTriton, make: MakeRemote, repository: Path
) -> None:
    config = repository / "digits" / "config.pbtxt"
    config.write_text(config.read_text().replace("max_batch_size: 8", "max_batch_size: 16"))
    with pytest.raises(TargetError, match="another configuration than your file: max_batch_size: asked 16, loaded 8"):
        make(uncontrolled, repository=repository).start()


def test_knobs_of_the_command_line_are_fixed_on_a_server_that_somebody_else_starts(
    explicit: ForeignTriton, make: MakeRemote
) -> None:
    fixed = {knob.name for knob in make(explicit).knobs() if "when it starts" in knob.unusable}
    assert {knob.name for knob in TritonTarget.all_knobs() if knob.applied == "restart"} == fixed


def write_study(folder: Path, server: ForeignTriton, space: dict[str, object]) -> Path:
    study = yaml.safe_load((DIGITS.parent / "digits.yaml").read_text())
    study["target"] = {"kind": "triton", "model": "digits", "launch": "remote", "url": server.url}
    for workload in study["workloads"].values():
        workload["requests"]["path"] = str(DIGITS / "test.npz")
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump(study | {"space": space}, sort_keys=False))
    return path


@pytest.mark.parametrize(
    ("mode", "space", "message"),
    [
        ("uncontrolled", {"max_batch_size": [8, 16]}, "does not let models be loaded"),
        ("explicit", {"http_thread_count": [4, 8]}, "given to the server when it starts"),
    ],
)
def test_a_study_that_searches_what_cannot_be_changed_is_refused_with_its_line(
    mode: str, space: dict[str, object], message: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    path = write_study(tmp_path, request.getfixturevalue(mode), space | {"concurrency": [1, 4]})
    (name,) = space
    number = next(n for n, line in enumerate(path.read_text().splitlines(), 1) if line.startswith(f"  {name}:"))
    with pytest.raises(StudyError, match=rf"study\.yaml:{number}: space\.{name}: .*{message}"):
        prepare(load_study(path), tmp_path / "log.txt")


def test_a_study_of_the_load_alone_is_prepared_on_a_server_without_model_control(
    uncontrolled: ForeignTriton, tmp_path: Path
) -> None:
    prepared = prepare(load_study(write_study(tmp_path, uncontrolled, {"concurrency": [1, 4]})), tmp_path / "log.txt")
    assert isinstance(prepared.target, RemoteTriton)
    assert not prepared.space.of_server


def test_the_servers_own_metrics_stand_beside_its_statistics(explicit: ForeignTriton, make: MakeRemote) -> None:
    target = make(explicit, metrics_url=explicit.metrics_url)
    assert target.metrics() == METRICS
    target.start()
    deployment = target.deploy(USER, "one")
    values = metric_values(difference(deployment.statistics()(), deployment.statistics()()), target.metrics())
    assert values["pending_requests"] == 0
    assert 0 <= values["machine_cpu"] <= 1
    assert "machine_gpu" not in values, "there is no GPU here"
    assert make(explicit).metrics() == ()


def test_what_tritons_metrics_tell_is_told_elsewhere_as_the_page_says(
    explicit: ForeignTriton, make: MakeRemote, digits: Dataset, tmp_path: Path
) -> None:
    """The reason why a server of ours is started without them."""
    page = (STUDIES.parent / "docs" / "triton.md").read_text()
    told_of = page.partition("### Triton's metrics endpoint")[2].partition("\n## ")[0]
    named = re.findall(r"`(nv_[a-z_*]+)`", told_of)
    target = make(explicit)
    target.start()
    deployment = target.deploy(USER, "one")
    first, before = deployment.statistics()(), parse(urlopen(explicit.metrics_url, timeout=10).read()).series
    drive(deployment.endpoint(digits), tmp_path, np.arange(50, dtype=np.int32))
    told = settled(deployment, first.requests + 50)
    found = parse(urlopen(explicit.metrics_url, timeout=10).read()).series
    families = {name.removesuffix("_total") for name in found if name.startswith("nv_")}
    assert {name for name in families if not any(fnmatch(name, one) for one in named)} == set()
    then, now = ([_of_digits(series, name) for name in COUNTED] for series in (before, found))
    requests, executions, queue_us = (late - early for early, late in zip(then, now, strict=True))
    assert (requests, executions) == (50, told.executions - first.executions)
    queue_ns = told.total_ns["queue"] - first.total_ns["queue"]
    assert queue_us == pytest.approx(queue_ns / 1000, abs=told.requests)


def _of_digits(series: Mapping[str, Sequence[tuple[Mapping[str, str], float]]], name: str) -> float:
    """Return what was counted of the model since the server was started, whatever was loaded meanwhile."""
    return sum(value for given, value in series.get(f"{name}_total", ()) if given["model"] == "digits")


def test_gauges_are_those_of_the_model_and_means_over_the_gpus() -> None:
    text = (
        b'nv_inference_pending_request_count{model="a",version="1"} 3\n'
        b'nv_inference_pending_request_count{model="a",version="2"} 4\n'
        b'nv_inference_pending_request_count{model="b",version="1"} 50\n'
        b'nv_gpu_utilization{gpu_uuid="x"} 0.5\nnv_gpu_utilization{gpu_uuid="y"} 1.0\n'
    )
    assert gauges(text, "a") == {"pending_requests": 7, "machine_gpu": 0.75}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "`launch: remote` with `protocol: http` needs `url`"),
        ({"url": "http://x:1", "protocol": "grpc"}, "with `protocol: grpc` needs `grpc_url`"),
        ({"url": "grpc://x:1"}, "`url` has to begin with http:// or https://"),
        ({"url": "http://x:1", "grpc_url": "http://x:2"}, "`grpc_url` has to begin with grpc://"),
        ({"url": "x:1"}, "expected http://HOST:PORT"),
        ({"url": "http://x:1", "ca": "ca.pem"}, "`ca` is for https"),
        ({"url": "http://x:1", "flags": {"id": "x"}}, "`flags` does not go with `launch: remote`"),
        ({"url": "http://x:1", "http_port": 80}, "`http_port` does not go with `launch: remote`"),
        ({"url": "http://x:1", "tensors": "shared_memory"}, "does not see this host's shared_memory"),
        (
            {"grpc_url": "grpc://x:1", "protocol": "grpc", "streaming": True},
            "`streaming` is for a server that Paretune starts",
        ),
    ],
)
def test_keys_that_do_not_fit_a_remote_server_are_named(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        TritonOptions.model_validate({"model": "digits", "launch": "remote", **options})


def test_another_model_is_no_variant_of_a_remote_one(explicit: ForeignTriton, make: MakeRemote) -> None:
    with pytest.raises(TargetError, match=r"target\.variants\.small: with `launch: remote` another model cannot"):
        make(explicit, variants={"small": {"model": "small"}})


def test_a_server_that_does_not_answer_is_named(tmp_path: Path, explicit: ForeignTriton) -> None:
    with pytest.raises(TargetError, match=r"http://127\.0\.0\.1:9 does not answer"):
        remote(tmp_path, explicit, url="http://127.0.0.1:9").start()
    with pytest.raises(TargetError, match=r"http://127\.0\.0\.1:9 does not answer"):
        remote(tmp_path, explicit, url="http://127.0.0.1:9", repository=None)
