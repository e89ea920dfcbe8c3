"""`launch: docker`: the engine's command line, what the container sees, and the whole path with a stand-in engine."""

import csv
import json
import multiprocessing
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path

import psutil
import pytest
from pydantic import ValidationError

from targets.base import Context, ServerDied, TargetError
from targets.triton import docker
from targets.triton.docker import Mount, paths_seen, run_command
from targets.triton.launch import Place, own_flags
from targets.triton.launching import launcher_for
from targets.triton.options import DockerOptions, TritonOptions
from targets.triton.target import TritonTarget
from tests.conftest import DIGITS, MakeTriton
from tests.support.docker import Docker
from tests.support.targets import triton_target
from tuner.writing import copy_all, write_all
from workloads.requests import Dataset

pytestmark = pytest.mark.long

USER = {"max_batch_size": 8, "instances": 1, "max_queue_delay": 0.0, "precision": "fp32"}
IMAGE = "triton:test"


def wait_until(condition: Callable[[], bool], seconds: float = 20.0) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and not condition():
        time.sleep(0.02)
    return condition()


def command(mounts: list[Mount] | None = None, ports: dict[str, int] | None = None, **options: object) -> list[str]:
    work = Path("/tmp/paretune-x")
    place = Place("paretune_1", work, work / "models", ports or {"http": 4001}, options.pop("cpus", None))
    given = DockerOptions.model_validate({"image": IMAGE, **options})
    return run_command("docker", given, place, mounts or [], ["--model-control-mode=explicit"])


# -- the command line --


def test_the_command_line_of_the_smallest_section() -> None:
    assert command() == [
        "docker",
        "run",
        "--rm",
        "--name=paretune_1",
        "--label=paretune",
        "--publish=127.0.0.1:4001:4001",
        "--shm-size=1g",
        "triton:test",
        "tritonserver",
        "--model-control-mode=explicit",
    ]


def test_every_port_is_published_on_loopback_alone() -> None:
    ports = {"http": 4001, "grpc": 4002, "metrics": 4003}
    assert [one for one in command(ports=ports) if "publish" in one] == [
        "--publish=127.0.0.1:4001:4001",
        "--publish=127.0.0.1:4002:4002",
        "--publish=127.0.0.1:4003:4003",
    ]


def test_metrics_are_served_where_they_are_asked_for_and_nowhere_else() -> None:
    without = Place("paretune_1", Path("/w"), Path("/w/models"), {"http": 4001})
    place = replace(without, ports={"http": 4001, "metrics": 4003}, metrics_period_s=0.5)
    asked = [one for one in own_flags(place, "127.0.0.1") if "metrics" in one]
    assert asked == ["--metrics-port=4003", "--metrics-interval-ms=500"]
    assert [one for one in own_flags(without, "127.0.0.1") if "metrics" in one] == ["--allow-metrics=false"]


def test_on_the_hosts_network_nothing_is_published_and_the_server_listens_on_loopback() -> None:
    made = command(network="host")
    assert "--network=host" in made
    assert not [one for one in made if "publish" in one]
    addresses = {
        network: docker.DockerLauncher(DockerOptions(image=IMAGE, network=network), []).address
        for network in ("bridge", "host")
    }
    assert addresses == {"bridge": "0.0.0.0", "host": "127.0.0.1"}


@pytest.mark.parametrize(
    ("options", "arguments"),
    [
        ({"gpus": "all"}, ["--gpus=all"]),
        ({"gpus": 2}, ["--gpus=2"]),
        ({"gpus": "device=1"}, ["--gpus=device=1"]),
        ({"gpus": "device=0,1"}, ['--gpus="device=0,1"']),
        ({"user": "1000:1000"}, ["--user=1000:1000"]),
        ({"user": 1000}, ["--user=1000"]),
        ({"shm_size": "512m"}, ["--shm-size=512m"]),
        ({"cpus": frozenset({3, 1})}, ["--cpuset-cpus=1,3"]),
        ({"env": {"A": "x y", "N": 1}}, ["--env=A=x y", "--env=N=1"]),
        ({"args": ["--init", "--ulimit", "memlock=-1"]}, ["--init", "--ulimit", "memlock=-1"]),
    ],
)
def test_each_key_becomes_its_arguments_before_the_image(options: dict[str, object], arguments: list[str]) -> None:
    made = command(**options)
    before = made[: made.index(IMAGE)]
    start = before.index(arguments[0])
    assert before[start : start + len(arguments)] == arguments


def test_flags_of_the_server_follow_its_command() -> None:
    made = command(args=["--init"])
    assert made[made.index(IMAGE) :] == [IMAGE, "tritonserver", "--model-control-mode=explicit"]


@pytest.mark.parametrize("path", ["/models", "/with space/x", "/with,comma", '/with"quote', "/with:colon"])
def test_a_mount_is_one_line_of_values_whatever_the_path_is(path: str) -> None:
    (text,) = [one for one in command(mounts=[Mount(Path(path), Path("/m"))]) if one.startswith("--mount=")]
    (fields,) = csv.reader([text.removeprefix("--mount=")])
    assert fields == ["type=bind", f"source={path}", "target=/m", "readonly"]


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({}, "image"),
        ({"image": ""}, "image"),
        ({"image": IMAGE, "shm_size": "much"}, "shm_size"),
        ({"image": IMAGE, "network": "lan"}, "network"),
        ({"image": IMAGE, "gpu": "all"}, "did you mean `gpus`"),
    ],
)
def test_a_section_that_cannot_be_used_names_the_key(section: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        DockerOptions.model_validate(section)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"launch": "docker"}, "needs `docker`"),
        ({"launch": "local", "docker": {"image": IMAGE}}, "`docker` does not go with `launch: local`"),
        ({"launch": "docker", "docker": {"image": IMAGE}, "server": "x"}, "`server` does not go with"),
        ({"launch": "docker", "docker": {"image": IMAGE}, "url": "http://x"}, "`url` does not go with"),
    ],
)
def test_keys_that_do_not_go_with_the_launch_are_named(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        TritonOptions.model_validate({"model": "digits", "repository": "models", **options})


@pytest.mark.parametrize(
    ("tensors", "args", "missing"),
    [
        ("shared_memory", [], "--ipc=host"),
        ("cuda_shared_memory", [], "--ipc=host and --pid=host"),
        ("cuda_shared_memory", ["--ipc=host"], "--pid=host"),
        ("cuda_shared_memory", ["--ipc", "host"], "--pid=host"),
        ("shared_memory", ["--ipc", "host"], ""),
        ("cuda_shared_memory", ["--ipc=host", "--pid", "host"], ""),
        ("binary", [], ""),
    ],
)
def test_memory_of_the_host_needs_a_container_that_sees_it(tensors: str, args: list[str], missing: str) -> None:
    given = {"model": "m", "repository": "r", "launch": "docker", "tensors": tensors,
             "docker": {"image": IMAGE, "args": args}}  # fmt: skip
    if not missing:
        assert TritonOptions.model_validate(given).memories <= {tensors}
        return
    with pytest.raises(ValidationError, match=rf"does not see this host's {tensors} without {missing}; give `docker:"):
        TritonOptions.model_validate(given)


# -- what the container sees --


def resolves_within(path: Path, seen: list[Path]) -> bool:
    """Whether a path can be read where nothing but `seen` is there, link by link as the kernel goes."""
    parts, here, hops = list(path.parts[1:]), Path("/"), 0
    while parts:
        here = here / parts.pop(0)
        if here in seen and here.is_symlink():  # the engine mounts what it leads to
            here = here.resolve()
            continue
        if here.is_symlink():
            hops += 1
            assert hops < 40
            if not any(here.is_relative_to(one) for one in seen):
                continue  # a part of the way to a mount, which the engine makes as a plain folder
            target = here.readlink()
            parts = [*target.parts[1:], *parts] if target.is_absolute() else [*target.parts, *parts]
            here = Path("/") if target.is_absolute() else here.parent
        elif here.name == "..":
            here = here.parent.parent
    return any(here.is_relative_to(one.resolve()) for one in seen)


@pytest.fixture
def linked(tmp_path: Path) -> Path:
    """A model whose files are elsewhere: absolute and relative links, a linked version, a chain of links."""
    blobs, model = tmp_path / "blobs", tmp_path / "models" / "digits"
    for folder in (blobs / "v3", model / "1", tmp_path / "shared"):
        folder.mkdir(parents=True)
    (blobs / "weights").write_text("w")
    (blobs / "v3" / "model.py").write_text("m")
    (tmp_path / "shared" / "labels").write_text("l")
    (blobs / "again").symlink_to(blobs / "weights")
    (model / "1" / "model.onnx").symlink_to(blobs / "again")
    (model / "1" / "labels").symlink_to("../../../shared/labels")
    (model / "3").symlink_to(blobs / "v3")
    (model / "nowhere").symlink_to(tmp_path / "missing")
    (model / "config.pbtxt").write_text("")
    return model


def test_every_link_of_a_model_leads_to_what_the_container_sees(linked: Path, tmp_path: Path) -> None:
    seen = paths_seen([linked])
    for name, text in {"1/model.onnx": "w", "1/labels": "l", "3/model.py": "m"}.items():
        assert (linked / name).read_text() == text
        assert resolves_within(linked / name, seen), name
        assert resolves_within((linked / name).resolve(), seen), f"{name}: links of the server's repository go here"
    assert not any(tmp_path.is_relative_to(path) for path in seen), "no more than that"


def test_a_model_without_links_is_all_that_the_container_sees() -> None:
    assert paths_seen([DIGITS / "models" / "digits"]) == [(DIGITS / "models" / "digits").resolve()]


# -- the whole path, with a stand-in for the engine --


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Docker]:
    made = Docker(tmp_path / "engine")
    yield made
    assert wait_until(lambda: not made.containers()), "a container is left"


def section(engine: Docker, **options: object) -> dict[str, object]:
    return {"launch": "docker", "docker": {"image": IMAGE, "engine": str(engine.executable), **options}}


def test_a_server_in_a_container_serves_is_read_back_and_leaves_nothing(
    engine: Docker, make_triton: MakeTriton, digits: Dataset
) -> None:
    """Its inputs and outputs go through the shared memory of the host, which it is given; its metrics are read."""
    place = section(engine, network="host", args=["--ipc=host"])
    asked = {"tensors": "shared_memory", "outputs": "shared_memory", "metrics_period_s": 1.0}
    target = make_triton(protocol="grpc", **asked, **place)
    target.start()
    deployment = target.deploy({**USER, "instances": 2}, "x")
    deployment.ask_once(digits)
    exposed = deployment.exposed()
    told = {one.name for one in exposed.told(exposed.get(10.0))}
    assert 'nv_inference_request_success{model="digits",version="1"}' in told
    regions = json.loads(target._running().get("/v2/systemsharedmemory/status"))
    assert all(Path("/dev/shm", region["key"].lstrip("/")).exists() for region in regions)
    assert regions
    (server,) = engine.containers()
    assert server in deployment.processes(), "the server's processes are those in the container"
    assert len(deployment.processes()) >= 3
    assert target.environment()["server_found_in"] == "image triton:test"
    run = next(call for call in engine.calls() if call[0] == "run")
    assert "--ipc=host" in run
    assert not [one for one in run if one.startswith("--shm-size")], "which is of a memory of its own"
    seen = [one for one in run if one.startswith("--mount=")]
    assert any(f"source={(DIGITS / 'models' / 'digits').resolve()}" in one for one in seen)
    target.stop()
    assert not psutil.pid_exists(server)
    assert not any(Path("/dev/shm", region["key"].lstrip("/")).exists() for region in regions)


def test_a_copied_repository_is_all_that_its_container_sees(
    engine: Docker, make_triton: MakeTriton, digits: Dataset, tmp_path: Path
) -> None:
    target, copied = make_triton(**section(engine, network="host")), tmp_path / "copied"
    export = target.export({**USER, "instances": 2})
    copy_all(export, copied, link=False)
    write_all({copied / path: text for path, text in export.files.items()})
    target.verify_copy(copied, export, {"": digits})
    (run,) = [call for call in engine.calls() if call[0] == "run"]
    (seen,) = [one for one in run if one.startswith("--mount=")]
    assert f"source={copied},target={copied},readonly" in seen
    assert f"--model-repository={copied}" in run
    assert "--load-model=digits" in run


def test_a_container_that_was_killed_is_noticed_and_started_again(
    engine: Docker, make_triton: MakeTriton, digits: Dataset
) -> None:
    target = make_triton(**section(engine, network="host"))
    target.start()
    deployment = target.deploy(USER, "x")
    psutil.Process(engine.containers()[0]).kill()
    with pytest.raises(ServerDied, match="ended with exit code"):
        deployment.statistics()
    target.start()
    target.deploy(USER, "x").ask_once(digits)


def test_a_server_in_a_container_that_does_not_start_gives_its_own_reason(
    engine: Docker, make_triton: MakeTriton
) -> None:
    target = make_triton(flags={"no-such-flag": 1}, **section(engine))
    with pytest.raises(TargetError, match=r"did not start: .*unrecognized option '--no-such-flag=1'"):
        target.start()


def test_an_image_that_is_not_there_is_named_with_how_to_fetch_it(engine: Docker, make_triton: MakeTriton) -> None:
    options = {"launch": "docker", "docker": {"image": "other:1", "engine": str(engine.executable)}}
    with pytest.raises(TargetError, match=r"no image 'other:1' here: .*; fetch it first: .*docker pull other:1"):
        make_triton(**options).start()


def test_an_engine_that_does_not_answer_is_named(engine: Docker, make_triton: MakeTriton) -> None:
    engine.lose_engine()
    with pytest.raises(TargetError, match=r"no engine to talk to: Cannot connect to the Docker daemon .*; start it"):
        make_triton(**section(engine)).start()


def test_a_missing_engine_is_named_with_what_to_do(make_triton: MakeTriton) -> None:
    options = {"launch": "docker", "docker": {"image": IMAGE, "engine": "no-such-engine"}}
    with pytest.raises(TargetError, match="no command 'no-such-engine' on this machine; install Docker Engine"):
        make_triton(**options).start()


def _hold(engine: str, log: Path, pipe: Connection) -> None:
    target: TritonTarget = triton_target(
        log,
        model="digits",
        repository=DIGITS / "models",
        launch="docker",
        docker={"image": IMAGE, "engine": engine, "network": "host"},
    )
    target.start()
    pipe.send(list(target.deploy({**target.user_config()}, "x").processes()))
    time.sleep(3600)


@pytest.mark.parametrize("victim", ["tuner", "command"])
def test_nothing_is_left_of_a_container_when_what_started_it_is_killed(
    victim: str, engine: Docker, tmp_path: Path
) -> None:
    spawning = multiprocessing.get_context("spawn")
    ours, theirs = spawning.Pipe()
    tuner = spawning.Process(target=_hold, args=(str(engine.executable), tmp_path / "log.txt", theirs))
    tuner.start()
    try:
        processes = [psutil.Process(pid) for pid in ours.recv()]
        assert processes
        if victim == "command":  # the engine goes on with the container
            (run,) = [one for one in psutil.Process(tuner.pid).children(recursive=True) if "run" in one.cmdline()[2:3]]
            run.kill()
        else:
            tuner.kill()
        assert wait_until(lambda: not any(one.is_running() for one in processes))
        assert wait_until(lambda: not engine.containers())
    finally:
        tuner.kill()
        tuner.join()


def test_a_study_in_a_container_names_its_folder_relative_to_the_study(tmp_path: Path) -> None:
    options = TritonOptions.model_validate(
        {
            "model": "digits",
            "repository": DIGITS / "models",
            "launch": "docker",
            "docker": {"image": IMAGE, "mounts": {"weights": "/weights"}},
        }
    )
    launcher = launcher_for(options, Context(tmp_path, tmp_path / "log.txt"), list)
    assert isinstance(launcher, docker.DockerLauncher)
    assert launcher.mounts == [Mount(tmp_path / "weights", Path("/weights"))]
