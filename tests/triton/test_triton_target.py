"""The Triton target on the real server."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import suppress
from pathlib import Path

import numpy as np
import psutil
import pytest

from targets.base import (
    ConfigRefused,
    Deployment,
    Outcome,
    ServerCounters,
    ServerDied,
    ServerHung,
    Settling,
    TargetError,
    Unfit,
    difference,
)
from targets.evidence import halt
from targets.triton import server as triton_server
from targets.triton.installation import find_installation
from targets.triton.target import TritonTarget
from tests.conftest import MakeTriton
from tuner.load import engine
from tuner.load.plan import ClosedLoop, Plan
from tuner.records import read_records
from workloads.requests import Dataset

USER = {"max_batch_size": 8, "instances": 1, "max_queue_delay": 0.0, "precision": "fp32"}


def drive(deployment: object, digits: Dataset, folder: Path, **changes: object) -> tuple:
    """Send every digit once; return (report, records)."""
    values = {
        "endpoint": deployment.endpoint(digits),
        "load": ClosedLoop(8, np.arange(len(digits), dtype=np.int32), total=len(digits)),
        "start_ns": time.monotonic_ns(),
        "warmup_ns": 0,
        "window_ns": 30_000_000_000,
        "timeout_ns": 5_000_000_000,
        "records_path": folder / "records.bin",
    } | changes
    plan = Plan(**values)
    return engine.run(plan), read_records(plan.records_path, plan.window)


def test_reads_the_users_configuration_from_its_own_file(triton: TritonTarget) -> None:
    assert triton.user_config() == USER


def test_deploys_configurations_side_by_side_and_reads_each_back(triton: TritonTarget, digits: Dataset) -> None:
    other = {"max_batch_size": 32, "instances": 2, "max_queue_delay": 0.0005, "precision": "int8"}
    deployments = [triton.deploy(USER, "one"), triton.deploy(other, "two")]
    assert [deployment.config for deployment in deployments] == [USER, other]
    for deployment in deployments:
        deployment.ask_once(digits)
        deployment.retire()


def test_a_client_of_the_users_own_is_told_where_the_model_under_test_is(triton: TritonTarget) -> None:
    deployment = triton.deploy(USER, "one")
    at = deployment.http_address()
    assert at.own_path == "/v2/models/digits"
    with urllib.request.urlopen(f"http://{at.host}:{at.port}{at.path}/config") as answer:
        assert json.loads(answer.read())["max_batch_size"] == USER["max_batch_size"]
    deployment.retire()


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_each_precision_answers_the_held_out_digits_as_it_was_trained_to(
    precision: str, triton: TritonTarget, digits: Dataset, tmp_path: Path
) -> None:
    deployment = triton.deploy({**USER, "precision": precision}, "accuracy")
    report, records = drive(deployment, digits, tmp_path, keep_answers=True)
    assert digits.labels is not None
    right = sum(
        int(np.argmax(deployment.outputs(answer)["LOGITS"])) == digits.labels[index] for index, answer in report.answers
    )
    assert len(records.rows) == 600
    assert 0.97 <= right / 600 <= 1.0


def settled(deployment: Deployment, requests: int) -> ServerCounters:
    """Read the counters once they are there: Triton counts a request a moment after it has answered it."""
    deadline = time.monotonic() + 10
    while (counters := deployment.statistics()()).requests < requests and time.monotonic() < deadline:
        time.sleep(0.01)
    return counters


def test_statistics_are_of_exactly_the_requests_between_two_readings(
    triton: TritonTarget, digits: Dataset, tmp_path: Path
) -> None:
    deployment = triton.deploy(USER, "counted")
    drive(deployment, digits, tmp_path)
    before = settled(deployment, 600)
    drive(deployment, digits, tmp_path)
    stats = difference(before, settled(deployment, 1200))
    assert stats.requests == 600
    assert stats.failures == 0
    assert sum(batch.size * batch.count for batch in stats.batch_sizes) == 600
    assert max(batch.size for batch in stats.batch_sizes) <= 8
    assert stats.executions == sum(batch.count for batch in stats.batch_sizes)
    assert all(mean > 0 for mean in stats.mean_s.values())


def test_a_refused_configuration_gives_tritons_reason_and_brings_the_old_one_back(
    make_triton: MakeTriton, digits: Dataset
) -> None:
    target = make_triton(variants={"fp32": {}, "lost": {"parameters": {"model_file": "missing.onnx"}}})
    target.start()
    kept = target.deploy(USER, "same")
    with pytest.raises(ConfigRefused, match=r"missing\.onnx"):
        target.deploy({**USER, "precision": "lost"}, "same")
    kept.ask_once(digits)
    assert target.alive()


def instances_of(target: TritonTarget, model: str) -> list[psutil.Process]:
    """Return the processes of the Python backend that serve a model, those that are about to end among them."""
    found = []
    for pid in target._fleet.any().processes():
        with suppress(psutil.Error):  # it has just ended
            process = psutil.Process(pid)
            if any(f"/{model}/" in argument for argument in process.cmdline()):
                found.append(process)
    return found


def test_what_is_deployed_is_alone_with_its_instances(make_triton: MakeTriton) -> None:
    target = make_triton()
    target.start()
    alone = target.deploy(USER, "same")
    (old,) = instances_of(target, "digits__same")
    for change, count in ({"max_batch_size": 16}, 1), ({"instances": 3}, 3), ({"instances": 2}, 2), ({}, 1):
        alone = target.deploy({**USER, **change}, "same")
        assert len(instances_of(target, "digits__same")) == count, "what had the alias before still ends"
    assert not old.is_running()
    beside = target.deploy(USER, "beside")
    alone.retire()
    target.deploy(USER, "third")
    assert not instances_of(target, "digits__same")
    assert len(instances_of(target, "digits__beside")) == 1, "what stays loaded is not touched"
    beside.retire()


def test_an_instance_that_is_kept_is_waited_for_once_and_within_reason(
    make_triton: MakeTriton, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = make_triton()
    target.start()
    target.deploy(USER, "same")
    assert isinstance(target, Settling)
    target.settle()
    server = target._fleet.any()
    server.keeps("digits__same", 0)  # as if it were to have ended
    (kept,) = server._still_to_end()
    monkeypatch.setattr(triton_server, "LEAVE_S", 0.05)
    target.settle()
    assert psutil.pid_exists(kept)
    assert not server._still_to_end()


def test_a_deployment_that_stays_as_it_is_is_not_loaded_anew(triton: TritonTarget, digits: Dataset) -> None:
    triton.deploy(USER, "same").ask_once(digits)
    (before,) = instances_of(triton, "digits__same")
    again = triton.deploy(USER, "same")
    assert instances_of(triton, "digits__same") == [before]
    again.retire()


def test_an_answer_with_an_error_is_no_ok(triton: TritonTarget, digits: Dataset, tmp_path: Path) -> None:
    deployment = triton.deploy(USER, "gone")
    endpoint = deployment.endpoint(digits)
    deployment.retire()
    _, records = drive(deployment, digits, tmp_path, endpoint=endpoint)
    assert set(records.rows["outcome"]) == {Outcome.HTTP_ERROR}
    assert set(records.rows["code"]) <= {400, 404, 500}


def test_an_export_loads_as_it_is_and_answers(triton: TritonTarget, digits: Dataset) -> None:
    export = triton.export({"max_batch_size": 32, "instances": 2, "max_queue_delay": 0.001, "precision": "int8"})
    triton.verify(export, digits)
    (text,) = export.files.values()
    (original,) = export.originals.values()
    changed = [line for line in text.splitlines() if line not in original.splitlines()]
    assert changed == [
        "max_batch_size: 32",
        "    count: 2",
        "dynamic_batching { max_queue_delay_microseconds: 1000 }",
        '  value { string_value: "model.int8.onnx" }  # or model.int8.onnx',
    ]


def test_an_export_that_the_server_refuses_is_not_verified(triton: TritonTarget, digits: Dataset) -> None:
    export = triton.export(USER)
    broken = {path: text.replace("model.onnx", "missing.onnx") for path, text in export.files.items()}
    with pytest.raises(TargetError, match=r"missing\.onnx"):
        triton.verify(type(export)(broken, export.originals), digits)


def test_a_variant_may_be_another_model_of_the_repository(
    make_triton: MakeTriton, repository: Path, digits: Dataset
) -> None:
    shutil.copytree(repository / "digits", repository / "small")
    config = repository / "small" / "config.pbtxt"
    config.write_text(
        config.read_text().replace('name: "digits"', 'name: "small"').replace("model.onnx", "model.int8.onnx")
    )
    target = make_triton(repository=repository, variants={"big": {}, "little": {"model": "small"}})
    target.start()
    target.deploy({**USER, "precision": "little"}, "x").ask_once(digits)
    assert target.user_config()["precision"] == "big"
    assert [str(path) for path in target.export({**USER, "precision": "little"}).files] == ["small/config.pbtxt"]


def test_a_killed_server_is_noticed_and_started_again(make_triton: MakeTriton, digits: Dataset) -> None:
    target = make_triton()
    target.start()
    deployment = target.deploy(USER, "x")
    os.kill(deployment.processes()[0], signal.SIGKILL)
    with pytest.raises(ServerDied, match="ended with exit code -9"):
        deployment.statistics()
    assert not target.alive()
    target.start()
    target.deploy(USER, "x").ask_once(digits)


def test_a_server_that_hangs_is_told_from_one_that_died(
    make_triton: MakeTriton, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(triton_server, "CONTROL_TIMEOUT_S", 0.5)
    target = make_triton()
    target.start()
    deployment = target.deploy(USER, "x")
    server = psutil.Process(deployment.processes()[0])
    halt([server])
    with pytest.raises(ServerHung, match="does not answer"):
        deployment.statistics()
    target.stop()
    assert not server.is_running()


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_a_taken_port_is_named_with_the_remedy(protocol: str, make_triton: MakeTriton) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(TargetError, match=rf"target\.{protocol}_port: port {port} .*in use; free it"):
            make_triton(protocol=protocol, **{f"{protocol}_port": port}).start()


def test_ports_that_are_chosen_are_free_and_differ() -> None:
    wanted = triton_server.choose_ports({"http": None, "grpc": None})
    assert wanted["http"] != wanted["grpc"]
    assert triton_server.choose_ports(wanted) == wanted


def test_serves_on_the_port_that_the_study_names(make_triton: MakeTriton, digits: Dataset) -> None:
    port = triton_server.choose_ports({"http": None})["http"]
    target = make_triton(http_port=port)
    target.start()
    assert target.deploy(USER, "x").endpoint(digits).port == port


def test_a_server_that_does_not_start_gives_its_own_reason(make_triton: MakeTriton, tmp_path: Path) -> None:
    script = tmp_path / "tritonserver"
    script.write_text(
        "#!/bin/sh\necho 'E1122 15:24:48.123673 4691 main.cc:17] \"no licence for this moon\"' >&2\nexit 3\n"
    )
    script.chmod(0o755)
    with pytest.raises(TargetError, match="did not start: no licence for this moon"):
        make_triton(server=script).start()


def test_a_missing_tritonserver_says_which_extra_to_install() -> None:
    program = (
        "import sys; sys.modules['pytriton'] = None\n"
        "from pathlib import Path\nfrom targets.triton.installation import find_installation\n"
        "find_installation(None, Path('.'))"
    )
    environment = {key: value for key, value in os.environ.items() if key not in ("TRITONSERVER", "PATH")}
    ended = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False
    )
    assert "no tritonserver found; install one with: pip install 'paretune[triton]'" in ended.stderr


def test_the_wheels_server_finds_the_users_own_libraries_behind_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As CUDA's, which a Python model needs for its onnxruntime."""
    monkeypatch.delenv("TRITONSERVER", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("LD_LIBRARY_PATH", "/opt/cuda/lib64:/opt/mine")
    found = find_installation(None, tmp_path)
    assert found.source == "wheel"
    first, *others = found.env["LD_LIBRARY_PATH"].split(":")
    assert Path(first).name == "nvidia_pytriton.libs"
    assert others[1:] == ["/opt/cuda/lib64", "/opt/mine"]
    monkeypatch.delenv("LD_LIBRARY_PATH")
    assert find_installation(None, tmp_path).env["LD_LIBRARY_PATH"] == ":".join([first, others[0]])


def test_an_executable_that_is_none_is_named(make_triton: MakeTriton, tmp_path: Path) -> None:
    with pytest.raises(TargetError, match=r"`target\.server` of the study names .*no executable file"):
        make_triton(server=tmp_path / "missing").start()


def test_nothing_is_left_when_the_server_was_stopped(make_triton: MakeTriton) -> None:
    target = make_triton()
    target.start()
    processes = [psutil.Process(pid) for pid in target.deploy({**USER, "instances": 2}, "x").processes()]
    assert len(processes) >= 3
    server = target._running()
    assert list(Path("/dev/shm").glob(f"*{server.shm_prefix}*"))
    target.stop()
    assert not any(process.is_running() for process in processes)
    assert not server.workdir.exists()
    assert not list(Path("/dev/shm").glob(f"*{server.shm_prefix}*"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (shutil.rmtree, "no model 'digits'"),
        (
            lambda folder: (folder / "config.pbtxt").write_text("max_batch_size: 8\nbanana"),
            r"config\.pbtxt:\d+: not a Triton",
        ),
        (lambda folder: folder.rename(folder.with_name("digit")), "no model 'digits' .*did you mean 'digit'"),
        (lambda folder: (folder / "config.pbtxt").write_text('name: "other"'), "`name` is 'other', but the folder is"),
    ],
)
def test_a_repository_that_cannot_be_used_is_named_before_anything_starts(
    change: object, message: str, make_triton: MakeTriton, repository: Path
) -> None:
    change(repository / "digits")
    with pytest.raises(TargetError, match=message):
        make_triton(repository=repository)


@pytest.mark.parametrize("name", ["two words", "größer", "50%", "a+b"])
def test_a_name_that_tritons_http_does_not_find_is_refused_before_anything_starts(
    name: str, make_triton: MakeTriton, repository: Path
) -> None:
    shutil.move(repository / "digits", repository / name)
    config = repository / name / "config.pbtxt"
    config.write_text(config.read_text().replace('name: "digits"', f'name: "{name}"'))
    with pytest.raises(TargetError, match=r"Triton does not decode names in its URLs.*name the folder"):
        make_triton(repository=repository, model=name)


def test_a_missing_repository_is_named(make_triton: MakeTriton, tmp_path: Path) -> None:
    with pytest.raises(TargetError, match=r"target\.repository: .*nowhere is no directory"):
        make_triton(repository=tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"PICTURE": np.zeros((2, 1, 8, 8), np.float32)}, "lacks the model's input 'IMAGE'"),
        ({"IMAGE": np.zeros((2, 1, 8, 8), np.float64)}, "'IMAGE' is FP32 in the model, but float64"),
        ({"IMAGE": np.zeros((2, 8, 8), np.float32)}, r"has shape \[1, 8, 8\] in the model, but \[8, 8\]"),
        ({"IMAGE": np.zeros((2, 1, 8, 8), np.float32), "X": np.zeros(2)}, "array 'X', which is no input"),
    ],
)
def test_a_dataset_that_does_not_fit_the_model_is_refused(
    inputs: dict[str, np.ndarray], message: str, triton: TritonTarget
) -> None:
    with pytest.raises(TargetError, match=message):
        triton.check_requests(Dataset(inputs))
    if "float64" not in message:  # floats are rounded to what a variant takes
        with pytest.raises(Unfit, match=message):
            triton.deploy(USER, "fit").endpoint(Dataset(inputs))
