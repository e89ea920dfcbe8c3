"""Knobs of tritonserver's command line on the real server."""

import subprocess
from pathlib import Path

import psutil
import pytest

from targets.base import ConfigRefused, Deployment, TargetError
from targets.ports import choose_ports
from targets.triton import flags as flags_of
from targets.triton.installation import find_installation
from targets.triton.target import TritonTarget
from tests.conftest import MakeTriton
from workloads.requests import Dataset

pytestmark = pytest.mark.long

USER = {"max_batch_size": 8, "instances": 1, "max_queue_delay": 0.0, "precision": "fp32"}


def command_line(deployment: Deployment) -> list[str]:
    return psutil.Process(deployment.processes()[0]).cmdline()


def test_every_flag_that_is_tuned_is_one_of_the_server(tmp_path: Path) -> None:
    found = find_installation(None, tmp_path)
    said = subprocess.run(
        [found.executable, "--help"], env=dict(found.env), capture_output=True, text=True, check=False
    )
    known = {line.split()[0] for line in (said.stdout + said.stderr).splitlines() if line.startswith("  --")}
    tuned = {flag.partition("=")[0] for flag in flags_of.server_flags({knob.name: 1 for knob in flags_of.KNOBS})}
    assert len(tuned) == len(flags_of.KNOBS)
    assert tuned <= known
    assert {f"--{name}" for name in flags_of.OURS} <= known


def test_every_knob_is_taken_by_the_server(make_triton: MakeTriton, digits: Dataset) -> None:
    target = make_triton()
    target.start()
    changed = {
        "http_thread_count": 2,
        "grpc_infer_allocation_pool_size": 16,
        "model_load_thread_count": 1,
        "buffer_manager_thread_count": 1,
        "pinned_memory_pool_size": 2**20,
        "cuda_memory_pool_size": 2**20,  # read back from the table in the log, without a GPU too
        "cache_size": 2**20,
        "rate_limit": "execution_count",
    }
    deployment = target.deploy({**USER, **changed}, "x")
    assert deployment.config == {**USER, **changed}
    assert set(flags_of.server_flags(changed)) <= set(command_line(deployment))
    deployment.ask_once(digits)


def test_other_flags_are_another_server_in_place_of_the_one_before(make_triton: MakeTriton, digits: Dataset) -> None:
    target = make_triton()
    target.start()
    first = target.deploy(USER, "candidate")
    same = target.deploy({**USER, "instances": 2}, "candidate")
    assert same.processes()[0] == first.processes()[0], "a model is loaded into the server that runs"
    before = psutil.Process(same.processes()[0])
    second = target.deploy({**USER, "http_thread_count": 3}, "candidate")
    assert not before.is_running(), "nobody needs it any more"
    second.ask_once(digits)


def test_deployments_with_different_flags_stand_side_by_side(make_triton: MakeTriton, digits: Dataset) -> None:
    port = choose_ports({"http": None})["http"]
    target = make_triton(http_port=port)
    target.start()
    one = target.deploy(USER, "one")
    other = target.deploy({**USER, "http_thread_count": 3}, "other")
    for deployment in (one, other):
        deployment.ask_once(digits)
    assert one.endpoint(digits).port == port
    assert other.endpoint(digits).port != port, "a server beside another one takes a free port"
    servers = [psutil.Process(deployment.processes()[0]) for deployment in (one, other)]
    other.retire()
    one.ask_once(digits)
    assert target.alive()
    target.stop()
    assert not any(server.is_running() for server in servers)


def test_flags_that_the_server_does_not_take_are_refused_and_the_target_goes_on(
    make_triton: MakeTriton, digits: Dataset
) -> None:
    target = make_triton()
    target.start()
    target.deploy(USER, "candidate")
    with pytest.raises(ConfigRefused, match="Failed to initialize LocalCache"):
        target.deploy({**USER, "cache_size": 2**60}, "candidate")
    assert target.alive()
    target.deploy(USER, "candidate").ask_once(digits)


def test_the_users_own_flags_are_the_baseline(make_triton: MakeTriton) -> None:
    target = make_triton(flags={"http-thread-count": 3, "id": "mine"})
    assert target.user_config() == {**USER, "http_thread_count": 3}
    target.start()
    line = command_line(target.deploy(target.user_config(), "x"))
    assert line[-2:] == ["--http-thread-count=3", "--id=mine"]
    assert target.environment()["server_flags"] == "--http-thread-count=3 --id=mine"


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"no-such-flag": 1}, "did not start: .*unrecognized option '--no-such-flag=1'"),
        ({"model-load-retry-count": "many"}, "did not start: Bad option.*; Invalid option value. Got many"),
    ],
)
def test_flags_of_a_study_that_the_server_does_not_take_end_the_start_with_its_reason(
    flags: dict[str, object], message: str, make_triton: MakeTriton
) -> None:
    with pytest.raises(TargetError, match=message):
        make_triton(flags=flags).start()


def exported_flags(target: TritonTarget, config: dict[str, object]) -> str:
    return target.export(config).files[flags_of.FILE]


def test_flags_are_exported_as_a_command_line_and_the_export_is_served_with_them(
    make_triton: MakeTriton, digits: Dataset
) -> None:
    target = make_triton(flags={"id": "mine"})
    config = {**USER, "http_thread_count": 3, "cache_size": 2**20}
    assert exported_flags(target, config) == "--id=mine\n--http-thread-count=3\n--cache-config=local,size=1048576\n"
    target.start()
    target.verify(target.export(config), digits)
    assert "--http-thread-count=3" in psutil.Process(target._running()._process.pid).cmdline()


def test_an_export_without_flags_has_no_file_of_them(make_triton: MakeTriton) -> None:
    assert flags_of.FILE not in make_triton().export({**USER, "max_batch_size": 16}).files


def test_an_export_with_flags_that_the_server_does_not_take_is_not_verified(
    make_triton: MakeTriton, digits: Dataset
) -> None:
    target = make_triton()
    target.start()
    export = target.export({**USER, "cache_size": 2**60})
    with pytest.raises(TargetError, match="LocalCache"):
        target.verify(export, digits)
