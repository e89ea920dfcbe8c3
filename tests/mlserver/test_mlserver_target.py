"""MLServer: what it answers, what it says when it does not, and the user's files."""

import json
import os
import shutil
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest

from targets import registry
from targets.base import ConfigRefused, Deployment, Export, ServerDied, TargetError, difference, metric_values
from targets.mlserver import installation
from targets.mlserver.options import MLServerOptions
from targets.mlserver.target import MLServerTarget
from targets.probe import failure_of
from tests.conftest import STUDIES
from tests.mlserver.conftest import BATCHED, MODELS, MakeMLServer, answers, mlserver_target
from tuner.study.load import load_study
from tuner.wiring import prepare
from tuner.writing import write_all
from workloads.requests import Dataset

pytestmark = pytest.mark.long

OWN = {"max_batch_size": 0, "max_batch_time": 0.0, "parallel_workers": 1}


def accuracy(deployment: Deployment, scans: Dataset, folder: Path) -> float:
    assert scans.labels is not None
    found = [int(one["predict"].item()) for one in answers(deployment, scans, folder)]
    return float((np.array(found) == scans.labels).mean())


# -- answers --


def test_the_target_is_found_by_its_kind() -> None:
    assert registry.options_of("mlserver") is MLServerOptions
    assert [knob.name for knob in registry.knobs("mlserver")] == list(BATCHED)
    assert "mlserver" in registry.availability("mlserver")


def test_batches_change_no_answer_over_either_protocol(
    served: Deployment, make_mlserver: MakeMLServer, scans: Dataset, tmp_path: Path
) -> None:
    assert accuracy(served, scans, tmp_path) > 0.97
    over_grpc = make_mlserver(protocol="grpc")
    over_grpc.start()
    unbatched = over_grpc.deploy({**OWN, "parallel_workers": 0}, "grpc")
    assert unbatched.endpoint(scans).grpc is not None
    for one, other in zip(answers(served, scans, tmp_path), answers(unbatched, scans, tmp_path), strict=True):
        assert {name: array.tolist() for name, array in one.items()} == {
            name: array.tolist() for name, array in other.items()
        }


def test_the_servers_own_metrics_tell_how_long_a_request_takes(
    mlserver: MLServerTarget, served: Deployment, scans: Dataset, tmp_path: Path
) -> None:
    before = served.statistics()()
    answers(served, scans, tmp_path)
    stats = difference(before, served.statistics()())
    assert (stats.requests, stats.failures) == (600, 0)
    values = metric_values(stats, mlserver.metrics())
    assert values["request_duration"] > 0
    assert 0 < values["batch_queue"] < 8


def test_a_request_that_fails_in_the_model_is_counted(served: Deployment, scans: Dataset) -> None:
    before = served.statistics()()
    endpoint = served.endpoint(scans)
    wrong = endpoint.requests[0].replace(b'"predict"', b'"predits"')
    assert "HTTP 400: " in failure_of(replace(endpoint, requests=(wrong,)), 60.0)
    stats = difference(before, served.statistics()())
    assert (stats.requests, stats.failures) == (0, 1)


def test_metrics_that_the_user_has_switched_off_stay_off(
    make_mlserver: MakeMLServer, echoes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLSERVER_METRICS_ENDPOINT", "/metrics")
    target = make_mlserver(model="echo", repository=echoes)
    target.start()
    deployment = target.deploy(target.user_config(), "x")
    assert deployment.statistics()().requests == 0
    listening = {one.laddr.port for one in psutil.Process(deployment.processes()[0]).net_connections("tcp")}
    assert len(listening) == 2, "HTTP and gRPC"
    for pid in deployment.processes():
        os.kill(pid, 9)
    with pytest.raises(ServerDied, match="MLServer ended with exit code -9"):
        deployment.statistics()


# -- the wire formats, on a server that sends back what it is sent --

NUMBERS = ["bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]
NUMBERS += ["float16", "float32", "float64"]


@pytest.fixture(scope="module", params=["http", "grpc"])
def echo(
    request: pytest.FixtureRequest, echoes: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Deployment]:
    target = mlserver_target(tmp_path_factory.mktemp("log"), model="echo", repository=echoes, protocol=request.param)
    target.start()
    yield target.deploy(target.user_config(), "echo")
    target.stop()


@pytest.mark.parametrize("dtype", NUMBERS)
def test_numbers_come_back_as_they_were_sent(echo: Deployment, dtype: str, tmp_path: Path) -> None:
    values = np.random.default_rng(1).normal(0, 40, (3, 2, 4)).astype(dtype)
    back = answers(echo, Dataset({"X": values}), tmp_path)
    for row, outputs in zip(values, back, strict=True):
        assert outputs["X"].dtype == values.dtype
        np.testing.assert_array_equal(outputs["X"], row[None])


def test_strings_come_back_as_they_were_sent(echo: Deployment, tmp_path: Path) -> None:
    text = np.array([["", "a"], ["Grüße", "世界"]])
    numbers = np.array([[1], [2]], np.int32)
    back = answers(echo, Dataset({"TEXT": text, "NUMBER": numbers}), tmp_path)
    said = [[_text(one) for one in outputs["TEXT"].ravel()] for outputs in back]
    assert said == text.tolist()
    assert [outputs["NUMBER"].tolist() for outputs in back] == [[[1]], [[2]]]


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


# -- the user's files --


def test_what_the_files_do_not_say_has_mlservers_default(mlserver: MLServerTarget) -> None:
    assert mlserver.user_config() == OWN


def test_the_servers_settings_may_be_missing(make_mlserver: MakeMLServer, repository: Path, scans: Dataset) -> None:
    (repository / "settings.json").unlink()
    target = make_mlserver(repository=repository)
    assert target.user_config() == OWN
    assert set(target.export(OWN).files) == {Path("digits/model-settings.json")}
    export = target.export({**OWN, "parallel_workers": 0})
    assert export.files[Path("settings.json")] == '{\n  "parallel_workers": 0\n}\n'
    assert set(export.originals) == {Path("digits/model-settings.json")}
    target.start()
    target.verify(export, scans)
    target.stop()
    write_all({repository / path: text for path, text in export.files.items()})
    target.verify_copy(repository, export, {"": scans})
    assert not target.alive()
    shutil.rmtree(repository / "digits")
    with pytest.raises(TargetError, match=r"no model 'digits'|holds no model-settings"):
        target.verify_copy(repository, export, {"": scans})


def test_an_export_changes_what_was_tuned_and_nothing_else(make_mlserver: MakeMLServer, repository: Path) -> None:
    settings = repository / "digits" / "model-settings.json"
    text = '{ "name":"digits",\n\t"max_batch_time" : 0.010 , "a": "x.Y", "max_batch_size": 1,\r\n "é": [{}]}\n'
    settings.write_bytes(text.encode())
    (repository / "settings.json").write_text('{"parallel_workers":2,"debug":true}')
    target = make_mlserver(repository=repository)
    assert target.user_config() == {"max_batch_size": 1, "max_batch_time": 0.01, "parallel_workers": 2}
    same = target.export(target.user_config())
    assert same.files == same.originals
    files = target.export({"max_batch_size": 16, "max_batch_time": 0.01, "parallel_workers": 0}).files
    assert files[Path("digits/model-settings.json")] == text.replace('"max_batch_size": 1', '"max_batch_size": 16')
    assert files[Path("settings.json")] == '{"parallel_workers":0,"debug":true}'
    files = target.export({"max_batch_size": 1, "max_batch_time": 0.0005, "parallel_workers": 2}).files
    assert files[Path("digits/model-settings.json")] == text.replace("0.010", "0.0005")


def test_an_export_adds_members_laid_out_as_their_neighbours(make_mlserver: MakeMLServer, repository: Path) -> None:
    text = (repository / "digits" / "model-settings.json").read_text()
    export = make_mlserver(repository=repository).export({**OWN, "max_batch_size": 4, "max_batch_time": 0.001})
    added = ',\n  "max_batch_size": 4,\n  "max_batch_time": 0.001\n}\n'
    assert export.files[Path("digits/model-settings.json")] == text.removesuffix("\n}\n") + added


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("digits/model-settings.json", '{\n  "name": "digits",\n}', r"model-settings\.json:3: not JSON: "),
        ("digits/model-settings.json", "[1]", r"model-settings\.json: expected an object, \{\.\.\.\}, but got \[1\]"),
        ("digits/model-settings.json", '{"name": "d",\n"name": "digits"}', r"json:2: `name` is given twice; keep one"),
        (
            "digits/model-settings.json",
            '{"name": "digits",\n "max_batch_size": "8"}',
            r"json:2: `max_batch_size` has to be a whole number from 0 to 65536, but is '8'",
        ),
        (
            "digits/model-settings.json",
            '{"name": "digits", "max_batch_time": -1}',
            r"`max_batch_time` has to be a number of seconds from 0 to 3600, but is -1",
        ),
        (
            "digits/model-settings.json",
            '{"name": "digits", "parallel_workers": 0}',
            r"`parallel_workers` has its place in settings\.json since MLServer 1\.2; move it there",
        ),
        ("settings.json", '{"debug": false\n"host": 1}', r"settings\.json:2: not JSON: "),
        ("settings.json", '{"parallel_workers": true}', r"settings\.json:1: `parallel_workers` has to be .* is True"),
    ],
)
def test_a_file_that_cannot_be_used_is_named_with_its_line(
    file: str, text: str, message: str, make_mlserver: MakeMLServer, repository: Path
) -> None:
    (repository / file).write_text(text)
    with pytest.raises(TargetError, match=message):
        make_mlserver(repository=repository)


def test_models_are_found_by_their_names_or_folders(make_mlserver: MakeMLServer, repository: Path) -> None:
    settings = repository / "digits" / "model-settings.json"
    with pytest.raises(TargetError, match=r"target\.model: no model 'digit' in .*; did you mean 'digits'\?"):
        make_mlserver(repository=repository, model="digit")
    with pytest.raises(TargetError, match=r"target\.repository: .*nowhere is no directory"):
        make_mlserver(repository=repository / "nowhere")
    other = repository / "other"
    other.mkdir()
    (other / "model-settings.json").write_text(settings.read_text())
    with pytest.raises(TargetError, match=r"'digits' is in several folders \(.*digits, .*other\)"):
        make_mlserver(repository=repository)
    (other / "model-settings.json").write_text("{}")
    assert make_mlserver(repository=repository, model="other").user_config() == OWN
    settings.unlink()
    (other / "model-settings.json").unlink()
    with pytest.raises(TargetError, match=r"target\.repository: .* holds no model-settings\.json"):
        make_mlserver(repository=repository)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"SCAN": np.zeros((2, 64), np.float32)}, "the dataset lacks the model's input 'IMAGE'; it has SCAN"),
        ({"IMAGE": np.zeros((2, 64))}, "input 'IMAGE' is FP32 in the model, but float64 in the dataset"),
        ({"IMAGE": np.zeros((2, 63), np.float32)}, r"'IMAGE' has shape \[64\] in the model, but \[63\] a row"),
    ],
)
def test_requests_that_do_not_fit_are_found_before_the_start(
    inputs: dict[str, np.ndarray], message: str, mlserver: MLServerTarget
) -> None:
    with pytest.raises(TargetError, match=message):
        mlserver.check_requests(Dataset(inputs))


def test_a_value_that_json_cannot_say_is_refused(served: Deployment) -> None:
    values = np.full((2, 64), np.nan, np.float32)
    with pytest.raises(TargetError, match=r"input 'IMAGE' has a value that JSON cannot say: nan; .* gRPC"):
        served.endpoint(Dataset({"IMAGE": values}))


# -- servers that do not start --


@pytest.mark.parametrize(
    ("change", "workers", "message"),
    [
        ({"parameters": {"uri": "./gone.joblib"}}, 0, r"InvalidModelURI: .*model digits \(.*gone\.joblib\)"),
        ({"parameters": {"uri": "./gone.joblib"}}, 1, r"InvalidModelURI: .*model digits \(.*gone\.joblib\)"),
        ({"implementation": "nothing.Model"}, 0, "ModuleNotFoundError: No module named 'nothing'"),
        ({"versions": 3}, 0, "ValidationError: 1 validation error for ModelSettings versions Input should be a valid"),
    ],
)
def test_a_model_that_does_not_load_is_refused_with_the_servers_reason(
    change: dict[str, object], workers: int, message: str, make_mlserver: MakeMLServer, repository: Path
) -> None:
    settings = repository / "digits" / "model-settings.json"
    settings.write_text(json.dumps({**json.loads(settings.read_text()), **change}))
    target = make_mlserver(repository=repository)
    target.start()
    with pytest.raises(ConfigRefused, match=f"MLServer did not start with model 'digits': .*{message}.*; its log: "):
        target.deploy({**OWN, "parallel_workers": workers}, "x")
    assert target.alive()


def test_an_export_that_the_server_cannot_load_is_not_verified(mlserver: MLServerTarget, scans: Dataset) -> None:
    export = mlserver.export({**OWN, "parallel_workers": 0})
    spoiled = {path: text.replace("mlserver_sklearn", "mlserver_nothing") for path, text in export.files.items()}
    with pytest.raises(TargetError, match="No module named 'mlserver_nothing'"):
        mlserver.verify(replace(export, files=spoiled), scans)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"max_batch_size": 1 << 20}, "`max_batch_size` has to be a whole number from 0 to 65536, but is 1048576"),
        ({"max_batch_time": 1e9}, "`max_batch_time` has to be a number of seconds from 0 to 3600"),
        ({"threads": 3}, "no such knob `threads`; there are: max_batch_size, max_batch_time, parallel_workers"),
    ],
)
def test_a_value_that_is_not_legal_is_refused(
    config: dict[str, object], message: str, mlserver: MLServerTarget
) -> None:
    with pytest.raises(ConfigRefused, match=message):
        mlserver.deploy({**OWN, **config}, "x")


# -- finding and starting it --


def test_a_missing_server_is_an_error_that_names_the_extra(
    make_mlserver: MakeMLServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with pytest.raises(TargetError, match=r"target\.server: .*/nothing is no executable file; .*paretune\[mlserver\]"):
        make_mlserver(server="nothing").start()
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(installation.sys, "executable", str(tmp_path / "python"))
    with pytest.raises(TargetError, match=r"no MLServer found; install one with: pip install 'paretune\[mlserver\]'"):
        MLServerTarget.availability()


def test_a_server_that_the_study_names_is_taken(make_mlserver: MakeMLServer) -> None:
    ours = installation.find_installation(None).executable
    target = make_mlserver(server=ours)
    target.start()
    said = target.environment()
    assert (said["server_found_in"], said["server_executable"]) == ("study", str(ours))
    beside = make_mlserver()
    beside.start()
    assert beside.environment()["server"] == said["server"]


def test_a_command_that_is_no_server_is_an_error(make_mlserver: MakeMLServer) -> None:
    with pytest.raises(TargetError, match="/bin/false does not run: it says nothing"):
        make_mlserver(server="/bin/false").start()


def test_a_port_that_is_taken_is_an_error(make_mlserver: MakeMLServer) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(TargetError, match=rf"target\.http_port: port {port} on 127\.0\.0\.1 is in use; free it"):
            make_mlserver(http_port=port).start()


def test_with_a_port_of_the_users_deployments_take_turns(make_mlserver: MakeMLServer, scans: Dataset) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    target = make_mlserver(http_port=port)
    assert not target.side_by_side
    target.start()
    first = target.deploy({**OWN, "parallel_workers": 0}, "first")
    second = target.deploy({**OWN, "parallel_workers": 0, "max_batch_size": 4, "max_batch_time": 0.001}, "second")
    assert first.processes() == []
    assert second.endpoint(scans).port == port
    target.verify(target.export({**OWN, "parallel_workers": 0}), scans)


def test_the_users_folder_is_left_as_it_is(served: Deployment) -> None:
    assert served.processes()
    assert {path.name for path in MODELS.rglob("*")} == {
        "settings.json", "digits", "model-settings.json", "model.joblib",
    }  # fmt: skip


def test_the_study_of_mlserver_is_ready_to_run(tmp_path: Path) -> None:
    prepared = prepare(load_study(STUDIES / "mlserver.yaml"), tmp_path / "log.txt")
    assert prepared.target.user_config() == OWN
    assert isinstance(prepared.target.export(OWN), Export)
