"""`launch: remote`: a Triton that runs already, over each protocol and in each mode of model control."""

import json
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from fnmatch import fnmatch
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import ClassVar
from urllib.request import urlopen

import numpy as np
import pytest
import yaml
from pydantic import ValidationError

from targets.base import Config, ConfigRefused, Context, Export, Exposes, Target, TargetError, difference, metric_values
from targets.guardian import SHARED
from targets.prometheus import parse
from targets.testing import RemoteTargetContract, TargetContract
from targets.triton.metrics import METRICS, gauges, gpus, lacking
from targets.triton.options import TritonOptions
from targets.triton.remote import RemoteTriton
from targets.triton.target import TritonTarget
from tests.conftest import DIGITS, STUDIES, VARIANTS
from tests.support.foreign_triton import ForeignTriton, foreign_triton
from tests.support.triton_models import drive
from tests.triton.test_triton_target import settled
from tuner.instruments import started
from tuner.stopping import Pace
from tuner.study.load import load_study
from tuner.study.source import StudyError
from tuner.verdicts import slo_verdicts
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


def mapped(server: ForeignTriton) -> list[str]:
    """Return the names of the shared memory that a server has mapped."""
    return sorted(one["name"] for one in server.client.get_system_shared_memory_status())


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_a_server_on_this_machine_takes_tensors_through_shared_memory(
    protocol: str, explicit: ForeignTriton, make: MakeRemote, digits: Dataset, tmp_path: Path
) -> None:
    target = make(explicit, protocol, tensors="shared_memory", outputs="shared_memory")
    target.start()
    assert mapped(explicit) == [], "what it was tried with is gone"
    deployment = target.deploy(USER, "x")
    endpoint = deployment.endpoint(digits)
    assert len(mapped(explicit)) == 2
    assert not [name for name in mapped(explicit) if (SHARED / name).exists()], "a kill -9 would leave none"
    report, _ = drive(endpoint, tmp_path, np.arange(100, dtype=np.int32))
    assert digits.labels is not None
    found = {index: np.argmax(deployment.outputs(answer)["LOGITS"]) for index, answer in report.answers}
    assert sum(found[index] == digits.labels[index] for index in range(100)) >= 95
    assert target.environment()["protocol"] == f"{protocol}, shared memory tensors, outputs in shared memory"
    target.deploy(USER, "x").endpoint(digits)
    assert len(mapped(explicit)) == 2, "those of what had the alias before are given back"
    target.verify(target.export(USER), digits)
    deployment = target.deploy(USER, "y")
    deployment.endpoint(digits)
    deployment.retire()
    assert len(mapped(explicit)) == 2
    target.stop()
    assert mapped(explicit) == []


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_a_server_that_does_not_see_this_machines_shared_memory_says_so(
    protocol: str, explicit: ForeignTriton, make: MakeRemote, monkeypatch: pytest.MonkeyPatch
) -> None:
    with TemporaryDirectory(dir=SHARED) as elsewhere:
        monkeypatch.setattr("targets.triton.remote_memory.SHARED", Path(elsewhere))
        refused = r"target\.outputs: the server does not take this machine's shared memory: .*[Uu]nable to open shared"
        with pytest.raises(TargetError, match=refused):
            make(explicit, protocol, outputs="shared_memory").start()
        assert list(Path(elsewhere).iterdir()) == []
    assert mapped(explicit) == []


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


def write_study(
    folder: Path, server: ForeignTriton, space: dict[str, object], *, metrics_url: str | None = None, **sections: object
) -> Path:
    study = yaml.safe_load((DIGITS.parent / "digits.yaml").read_text()) | sections
    study["target"] = {"kind": "triton", "model": "digits", "launch": "remote", "url": server.url}
    if metrics_url is not None:
        study["target"]["metrics_url"] = metrics_url
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
    assert isinstance(deployment, Exposes)
    told = {one.name: one for one in deployment.exposed().told(deployment.exposed().get(10.0))}
    assert told['nv_inference_pending_request_count{model="digits",version="1"}'].grows is False
    assert told['nv_inference_request_success{model="digits",version="1"}'].grows is True
    without = make(explicit)
    assert without.metrics() == ()
    without.start()
    with pytest.raises(TargetError, match=r"give `target\.metrics_url`"):
        without.deploy(USER, "one").exposed()  # type: ignore[attr-defined]


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


WATTS = (40, 25)
RECORDED = """\
# HELP nv_inference_pending_request_count Instantaneous number of pending requests awaiting execution per-model.
# TYPE nv_inference_pending_request_count gauge
nv_inference_pending_request_count{model="digits",version="1"} 0
# HELP nv_gpu_utilization GPU utilization rate [0.0 - 1.0)
# TYPE nv_gpu_utilization gauge
nv_gpu_utilization{gpu_uuid="GPU-1c62"} 0.6
nv_gpu_utilization{gpu_uuid="GPU-9f07"} 0.2
# HELP nv_gpu_memory_total_bytes GPU total memory, in bytes
# TYPE nv_gpu_memory_total_bytes gauge
nv_gpu_memory_total_bytes{gpu_uuid="GPU-1c62"} 16106127360
nv_gpu_memory_total_bytes{gpu_uuid="GPU-9f07"} 16106127360
# HELP nv_gpu_memory_used_bytes GPU used memory, in bytes
# TYPE nv_gpu_memory_used_bytes gauge
nv_gpu_memory_used_bytes{gpu_uuid="GPU-1c62"} 3221225472
nv_gpu_memory_used_bytes{gpu_uuid="GPU-9f07"} 1073741824
# HELP nv_energy_consumption GPU energy consumption in joules since the Triton Server started
# TYPE nv_energy_consumption counter
nv_energy_consumption{gpu_uuid="GPU-1c62"} FIRST
nv_energy_consumption{gpu_uuid="GPU-9f07"} SECOND
# HELP nv_gpu_power_usage GPU power usage in watts
# TYPE nv_gpu_power_usage gauge
nv_gpu_power_usage{gpu_uuid="GPU-1c62"} 40.1
nv_gpu_power_usage{gpu_uuid="GPU-9f07"} 24.8
"""
"""What Triton tells where it has two GPUs; the counters go on."""


class Page(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        joules = [f"{watts * time.monotonic():.3f}" for watts in WATTS]
        text = RECORDED.replace("FIRST", joules[0]).replace("SECOND", joules[1]).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def with_gpus() -> Iterator[str]:
    """The address of the metrics of a server with GPUs: there are none here, so they are recorded ones."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Page) as page:
        thread = threading.Thread(target=page.serve_forever, args=(0.05,))
        thread.start()
        yield f"http://127.0.0.1:{page.server_port}/metrics"
        page.shutdown()
        thread.join()


def test_what_the_servers_gpus_use_is_asked_of_its_metrics(
    uncontrolled: ForeignTriton, with_gpus: str, tmp_path: Path
) -> None:
    path = write_study(
        tmp_path,
        uncontrolled,
        {"concurrency": 2},
        metrics_url=with_gpus,
        slo={"gpu_memory": "3 GiB", "gpu_utilization_at_least": "30%"},
        objectives=["maximize throughput", "minimize energy_per_inference", "maximize gpu_utilization"],
        workloads={"steady": {"arrival": {"process": "closed"}, "requests": {"source": "dataset", "path": "a.npz"}}},
    )
    prepared = prepare(load_study(path), tmp_path / "log.txt")
    (steady,) = prepared.workloads
    with started(prepared, tmp_path) as bench:
        deployed = bench.trier.deploy(prepared.target.user_config(), "one")
        run = bench.trier.measure(deployed, steady, steady.at(2.0), Pace.fixed(0.2, 1.2))
        found = bench.trier.meter.summary(run, "steady")
    energy, rate = found["energy_per_inference_joules"], found["throughput_rps"]
    assert energy.value == pytest.approx(sum(WATTS) / rate.value, rel=0.2)
    assert energy.low < energy.value < energy.high
    assert found["gpu_utilization"].value == pytest.approx(0.4)
    assert found["gpu_memory_bytes"].value == 4 * 2**30
    bounds = bench.trier.meter.slos["steady"].bounds
    verdicts = slo_verdicts(found, bounds)
    assert verdicts == {"gpu_utilization_at_least": "met", "gpu_memory": "missed"}
    assert [gpu.name for gpu in run.used.gpu] == ["GPU-1c62", "GPU-9f07"]


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"objectives": ["maximize throughput", "minimize energy_per_inference"]},
         r"objectives\.1: the server does not tell `energy_per_inference`: its metrics have no `nv_energy_consumption` "
         "or `nv_gpu_power_usage`, nor anything of a GPU: it has none, or does not see it; take it out"),
        ({"slo": {"gpu_memory": "1 GiB"}},
         r"slo\.gpu_memory: the server does not tell `gpu_memory`: its metrics have no `nv_gpu_memory_used_bytes`"),
        ({"slo": {"server_rss": "1 GiB"}}, r"slo\.server_rss: `server_rss` is measured of the server's processes"),
    ],
)  # fmt: skip
def test_what_the_servers_metrics_do_not_tell_is_refused_at_its_line(
    sections: dict[str, object], message: str, uncontrolled: ForeignTriton, tmp_path: Path
) -> None:
    path = write_study(tmp_path, uncontrolled, {"concurrency": 2}, metrics_url=uncontrolled.metrics_url, **sections)
    with pytest.raises(StudyError, match=rf"study\.yaml:\d+: {message}") as refused:
        prepare(load_study(path), tmp_path / "log.txt")
    page = (STUDIES.parent / "docs" / "telemetry.md").read_text()
    said = str(refused.value).partition(": ")[2]
    assert said in page or "gpu_memory" in said


def test_gpus_are_those_that_the_metrics_name() -> None:
    assert gpus(RECORDED.replace("FIRST", "812.5").replace("SECOND", "Nan").encode()) == {
        "GPU-1c62": {
            "utilization": 0.6,
            "memory_used_bytes": 3221225472,
            "memory_total_bytes": 16106127360,
            "power_watts": 40.1,
            "energy_joules": 812.5,
        },
        "GPU-9f07": {
            "utilization": 0.2,
            "memory_used_bytes": 1073741824,
            "memory_total_bytes": 16106127360,
            "power_watts": 24.8,
        },
    }
    old = b'nv_gpu_utilization{gpu_uuid="x"} 0.5\n'
    assert lacking(old, ["utilization"]) == ""
    assert lacking(old, ["energy_joules"]) == "its metrics have no `nv_energy_consumption`"


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
        ({"url": "grpcs://x:1"}, "`url` has to begin with http:// or https://"),
        ({"url": "grpc://x:1"}, "`url` has to begin with http:// or https://"),
        ({"url": "http://x:1", "grpc_url": "http://x:2"}, "`grpc_url` has to begin with grpc:// or grpcs://"),
        ({"url": "x:1"}, "expected http://HOST:PORT"),
        ({"url": "http://x:1", "ca": "ca.pem"}, "`ca` is for https and grpcs, and no URL is one of them"),
        ({"url": "http://x:1", "flags": {"id": "x"}}, "`flags` does not go with `launch: remote`"),
        ({"url": "http://x:1", "http_port": 80}, "`http_port` does not go with `launch: remote`"),
        ({"url": "http://x:1", "tensors": "cuda_shared_memory"}, "`cuda_shared_memory` is for a server that Paretune"),
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
