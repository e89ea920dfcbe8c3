"""The simulated target on its real server."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import psutil
import pytest

from targets import registry
from targets.base import (
    ConfigRefused,
    Context,
    Deployment,
    Outcome,
    ServerDied,
    ServerHung,
    TargetError,
    difference,
)
from targets.evidence import halt
from targets.simulated import client
from targets.simulated.options import SimulatedOptions
from targets.simulated.target import SimulatedTarget
from tests.support.load_runs import closed, outcomes, plan, run
from tests.support.simulated_servers import ask
from tests.support.targets import simulated_target
from workloads.requests import Dataset

ROOT = Path(__file__).parents[2]
QUEUE = """{
  "max_batch_size": 4,
  "max_queue_delay_us": 500,  "instances": 2,
  "fixed_ms": 0.5, "each_ms": 0.125
}
"""
USER = {"max_batch_size": 4, "max_queue_delay": 0.0005, "instances": 2}
OTHER = {"max_batch_size": 16, "max_queue_delay": 0.002, "instances": 1}
MakeTarget = Callable[..., SimulatedTarget]


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    (tmp_path / "models" / "queue").mkdir(parents=True)
    (tmp_path / "models" / "queue" / "queue.json").write_text(QUEUE)
    return tmp_path / "models"


@pytest.fixture
def make(repository: Path, tmp_path: Path) -> Iterator[MakeTarget]:
    """Make targets; they are stopped at the end."""
    made = []

    def make(**settings: object) -> SimulatedTarget:
        values = {"model": "queue", "repository": repository, "log_path": tmp_path / "log.txt"} | settings
        made.append(simulated_target(**values))
        return made[-1]

    yield make
    for target in made:
        target.stop()


@pytest.fixture
def started(make: MakeTarget) -> SimulatedTarget:
    target = make(variants={"slow": {}, "fast": {"fixed_ms": 0.25}})
    target.start()
    return target


@pytest.fixture
def dataset() -> Dataset:
    rng = np.random.default_rng(3)
    return Dataset({"A": rng.random((50, 7), np.float32), "B": np.array([["text"]] * 50)}, rng.integers(0, 10, 50))


def read_back(deployment: Deployment, dataset: Dataset) -> Mapping[str, object]:
    """Return what the server itself says of a deployment."""
    endpoint = deployment.endpoint(dataset)
    path = endpoint.requests[0].split()[1].decode().removesuffix("/infer")
    return ask(endpoint.port, "GET", path)[1]


# -- the user's files --


def test_the_target_is_found_by_its_kind(repository: Path, tmp_path: Path) -> None:
    target = registry.create(
        SimulatedOptions(model="queue", repository=repository), Context(tmp_path, tmp_path / "log.txt")
    )
    assert isinstance(target, SimulatedTarget)
    assert "part of Paretune" in registry.availability("simulated")
    assert {knob.name for knob in registry.knobs("simulated")} < {knob.name for knob in registry.knobs("triton")}


def test_the_users_configuration_is_that_of_its_file(make: MakeTarget) -> None:
    assert make().user_config() == USER
    assert make(variants={"fast": {"fixed_ms": 0.1}}).user_config() == USER
    assert make(variants={"fast": {"fixed_ms": 0.1}, "own": {}}).user_config() == {**USER, "precision": "own"}


def test_what_the_file_does_not_say_has_the_knobs_default(make: MakeTarget, repository: Path) -> None:
    (repository / "queue" / "queue.json").write_text('{"fixed_ms": 1, "each_ms": 0}')
    target = make()
    assert target.user_config() == {knob.name: knob.default for knob in target.knobs() if knob.type != "choice"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", r"queue\.json:1: not JSON: "),
        ("[]", r"queue\.json: expected an object with max_batch_size, .* but got \[\]"),
        ('{"fixed_ms": 1, "fixed_ms": 2, "each_ms": 0}', r"queue\.json: `fixed_ms` is given twice; keep one"),
        ('{"fixed_ms": 1}', r"queue\.json: `each_ms` is missing; give it a number of milliseconds"),
        (
            '{"fixed_ms": 1, "each_ms": 0, "instance": 2}',
            r"queue\.json: no such key `instance`; did you mean `instances`\?",
        ),
        ('{"fixed_ms": -1, "each_ms": 0}', r"queue\.json: `fixed_ms` has to be .* 0 or more, but is -1"),
        ('{"fixed_ms": "1", "each_ms": 0}', r"queue\.json: `fixed_ms` has to be a number .* but is '1'"),
        ('{"fixed_ms": NaN, "each_ms": 0}', r"queue\.json: `fixed_ms` has to be a number .* but is nan"),
        (
            '{"fixed_ms": 1, "each_ms": 0, "max_batch_size": 0}',
            r"`max_batch_size` has to be a whole number from 1 to 65536, but is 0",
        ),
        (
            '{"fixed_ms": 1, "each_ms": 0, "max_queue_delay_us": 0.5}',
            r"`max_queue_delay_us` has to be a whole number of microseconds .* but is 0\.5",
        ),
    ],
)
def test_a_queue_that_cannot_be_used_is_named_with_its_file(
    text: str, message: str, make: MakeTarget, repository: Path
) -> None:
    (repository / "queue" / "queue.json").write_text(text)
    with pytest.raises(TargetError, match=message):
        make()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"model": "queues"}, r"target\.model: no model 'queues' in .*; did you mean 'queue'\?"),
        ({"variants": {"x": {"fixed": 1}}}, r"target\.variants\.x: no such key `fixed`; did you mean `fixed_ms`\?"),
        ({"variants": {"x": {"each_ms": -1}}}, r"target\.variants\.x: `each_ms` has to be .*, but is -1"),
    ],
)
def test_a_study_that_asks_for_what_there_is_not_is_refused(
    settings: dict[str, object], message: str, make: MakeTarget
) -> None:
    with pytest.raises(TargetError, match=message):
        make(**settings)


# -- configurations --


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"max_batch_size": 16}, {"max_size": 16}),
        ({"max_queue_delay": 0.0025}, {"max_delay_s": 0.0025}),
        ({"instances": 7}, {"servers": 7}),
        ({"precision": "fast"}, {"fixed_s": 0.00025}),
    ],
)
def test_a_knob_is_applied_read_back_and_exported(
    change: dict[str, object], expected: dict[str, object], started: SimulatedTarget, dataset: Dataset, tmp_path: Path
) -> None:
    deployment = started.deploy({**started.user_config(), **change}, "x")
    before = {"servers": 2, "max_size": 4, "max_delay_s": 0.0005, "fixed_s": 0.0005, "each_s": 0.000125}
    said = read_back(deployment, dataset)
    assert {"servers": said["servers"], **said["batching"]} == before | expected

    export = started.export({**started.user_config(), **change})
    ((path, text),) = export.files.items()
    (tmp_path / "exported" / "queue").mkdir(parents=True)
    (tmp_path / "exported" / path).write_text(text)
    again = simulated_target(tmp_path / "other.txt", model="queue", repository=tmp_path / "exported")
    again.start()
    try:
        assert read_back(again.deploy(again.user_config(), "x"), dataset) == said
    finally:
        again.stop()


def test_every_knob_has_a_test_that_it_is_applied() -> None:
    (mark,) = test_a_knob_is_applied_read_back_and_exported.pytestmark
    assert [next(iter(change)) for change, _ in mark.args[1]] == [knob.name for knob in SimulatedTarget.all_knobs()]


def test_an_export_changes_what_was_tuned_and_nothing_else(started: SimulatedTarget, dataset: Dataset) -> None:
    export = started.export({"max_batch_size": 32, "instances": 2, "max_queue_delay": 0.001, "precision": "fast"})
    assert export.originals == {Path("queue/queue.json"): QUEUE}
    expected = QUEUE.replace('"max_batch_size": 4', '"max_batch_size": 32').replace("500", "1000")
    assert export.files == {Path("queue/queue.json"): expected.replace('"fixed_ms": 0.5', '"fixed_ms": 0.25')}
    started.verify(export, dataset)
    assert started.export(started.user_config()).files == export.originals


def test_an_export_adds_what_the_file_did_not_say(make: MakeTarget, repository: Path) -> None:
    (repository / "queue" / "queue.json").write_text('{"fixed_ms": 1, "each_ms": 0}')
    (text,) = make().export({**OTHER, "instances": 3}).files.values()
    assert json.loads(text) == {
        "fixed_ms": 1,
        "each_ms": 0,
        "max_batch_size": 16,
        "max_queue_delay_us": 2000,
        "instances": 3,
    }


def test_an_export_that_is_no_queue_is_not_verified(started: SimulatedTarget, dataset: Dataset) -> None:
    export = started.export(started.user_config())
    broken = {path: text.replace("fixed_ms", "fixed") for path, text in export.files.items()}
    with pytest.raises(TargetError, match="no such key `fixed`"):
        started.verify(type(export)(broken, export.originals), dataset)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"instances": 0}, "`instances` has to be a whole number from 1 to 65536, but is 0"),
        ({"max_batch_size": 1 << 20}, "`max_batch_size` has to be a whole number from 1 to 65536, but is 1048576"),
        ({"max_queue_delay": 1.6e-6}, "`max_queue_delay` is 1.6e-06 in the configuration, but can only be 2e-06"),
        ({"threads": 3}, "no such key `threads`"),
    ],
)
def test_a_configuration_that_cannot_be_applied_is_refused_and_the_old_one_stays(
    config: dict[str, object], message: str, started: SimulatedTarget, dataset: Dataset
) -> None:
    kept = started.deploy(USER, "same")
    before = read_back(kept, dataset)
    with pytest.raises(ConfigRefused, match=re.escape(message)):
        started.deploy({**USER, **config}, "same")
    assert read_back(kept, dataset) == before


def test_a_server_that_deploys_something_else_is_found_out(
    started: SimulatedTarget, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = client.SimulatedServer.ask

    def changed(server: client.SimulatedServer, method: str, path: str, body: str | None = None) -> bytes:
        return asked(server, method, path, body and body.replace('"servers":2', '"servers":3'))

    monkeypatch.setattr(client.SimulatedServer, "ask", changed)
    with pytest.raises(ConfigRefused, match=r"queue__x: the server has another configuration: .*servers=3"):
        started.deploy(USER, "x")


def test_two_deployments_live_side_by_side_and_end_one_by_one(started: SimulatedTarget, dataset: Dataset) -> None:
    one, two = (started.deploy(config, alias) for config, alias in ((USER, "one"), (OTHER, "two")))
    assert (one.config, two.config) == (USER, OTHER)
    assert read_back(one, dataset)["servers"] == 2
    assert read_back(two, dataset)["servers"] == 1
    one.ask_once(dataset)
    assert (one.statistics()().requests, two.statistics()().requests) == (1, 0)
    one.retire()
    two.ask_once(dataset)
    with pytest.raises(TargetError, match=r"HTTP 404: .*no deployment .*queue__one.*; there are: queue__two"):
        one.ask_once(dataset)


def test_nothing_is_deployed_before_the_start(make: MakeTarget) -> None:
    target = make()
    assert not target.alive()
    with pytest.raises(TargetError, match="the server was not started"):
        target.deploy(USER, "x")


# -- requests --


def drive(deployment: Deployment, dataset: Dataset, folder: Path, **changes: object) -> tuple:
    """Send every item once, eight in flight."""
    endpoint = deployment.endpoint(dataset)
    load = closed(8, len(dataset), total=len(dataset))
    return run(plan(endpoint.port, load, folder, list(endpoint.requests), judge=endpoint.judge, **changes))


def test_every_answer_names_the_class_of_its_item(started: SimulatedTarget, dataset: Dataset, tmp_path: Path) -> None:
    deployment = started.deploy(USER, "x")
    report, records = drive(deployment, dataset, tmp_path, keep_answers=True)
    assert outcomes(records) == {Outcome.OK}
    named = {index: deployment.outputs(answer)["CLASS"] for index, answer in report.answers}
    assert dataset.labels is not None
    assert {index: found.tolist() for index, found in named.items()} == {
        index: [label] for index, label in enumerate(dataset.labels.tolist())
    }


def test_inputs_are_sent_as_bytes_of_their_size(started: SimulatedTarget, dataset: Dataset) -> None:
    unlabelled = Dataset(dataset.inputs)
    started.check_requests(unlabelled)
    deployment = started.deploy(USER, "x")
    for request, row in zip(deployment.endpoint(unlabelled).requests, dataset.inputs["A"], strict=True):
        assert request.partition(b"\r\n\r\n")[2] == row.tobytes() + np.array(["text"]).tobytes()
    deployment.ask_once(unlabelled)


def test_statistics_are_of_exactly_the_requests_between_two_readings(
    started: SimulatedTarget, dataset: Dataset, tmp_path: Path
) -> None:
    deployment = started.deploy(USER, "x")
    drive(deployment, dataset, tmp_path)
    before = deployment.statistics()()
    drive(deployment, dataset, tmp_path)
    stats = difference(before, deployment.statistics()())
    assert (stats.requests, stats.failures) == (50, 0)
    assert sum(batch.size * batch.count for batch in stats.batch_sizes) == 50
    assert stats.executions == sum(batch.count for batch in stats.batch_sizes)
    assert max(batch.size for batch in stats.batch_sizes) <= 4
    served = {batch.size: batch.compute_mean_s for batch in stats.batch_sizes}
    assert served == pytest.approx({size: 0.0005 + 0.000125 * size for size in served})
    mean = sum(batch.size * batch.count * batch.compute_mean_s for batch in stats.batch_sizes) / 50
    assert stats.mean_s["compute_infer"] == pytest.approx(mean)
    assert stats.mean_s["queue"] > 0


# -- the server's life --


def test_the_server_is_one_process_on_the_cpus_it_was_given(make: MakeTarget, dataset: Dataset) -> None:
    cpu = max(os.sched_getaffinity(0))
    target = make(cpus=frozenset({cpu}))
    target.start()
    (pid,) = target.deploy(USER, "x").processes()
    assert os.sched_getaffinity(pid) == {cpu}
    assert target.environment()["server"] == "simulated queue"
    target.start()
    assert not psutil.pid_exists(pid)
    target.deploy(USER, "x").ask_once(dataset)


def test_a_killed_server_is_noticed_and_started_again(started: SimulatedTarget, dataset: Dataset) -> None:
    deployment = started.deploy(USER, "x")
    assert started.alive()
    os.kill(deployment.processes()[0], signal.SIGKILL)
    with pytest.raises(ServerDied, match="the simulated server ended with exit code -9"):
        deployment.statistics()
    assert not started.alive()
    started.start()
    started.deploy(USER, "x").ask_once(dataset)


def test_a_server_that_hangs_is_told_from_one_that_died(
    started: SimulatedTarget, monkeypatch: pytest.MonkeyPatch
) -> None:
    deployment = started.deploy(USER, "x")
    monkeypatch.setattr(client, "CONTROL_TIMEOUT_S", 0.5)
    server = psutil.Process(deployment.processes()[0])
    halt([server])
    with pytest.raises(ServerHung, match="does not answer"):
        deployment.statistics()
    started.stop()
    assert not server.is_running()


def test_it_serves_on_the_port_that_the_study_names_and_says_so_when_it_is_taken(
    make: MakeTarget, dataset: Dataset
) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        probe.listen()
        taken = make(http_port=port)
        with pytest.raises(TargetError, match=rf"did not start: port {port} on 127\.0\.0\.1 .*in use.*; free it"):
            taken.start()
    taken.start()
    assert taken.deploy(USER, "x").endpoint(dataset).port == port


def test_nothing_is_left_of_a_tuner_that_is_killed(repository: Path, tmp_path: Path) -> None:
    program = (
        "import sys\nfrom pathlib import Path\nfrom tests.support.targets import simulated_target\n"
        f"target = simulated_target(Path('log.txt').resolve(), model='queue', repository={str(repository)!r})\n"
        f"target.start()\nprint(*target.deploy({USER!r}, 'x').processes(), flush=True)\nsys.stdin.read()\n"
    )
    tuner = subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert tuner.stdout is not None
    server = psutil.Process(int(tuner.stdout.readline()))
    assert server.is_running()
    tuner.kill()
    tuner.communicate()
    deadline = time.monotonic() + 60
    while server.is_running() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not server.is_running()


def test_the_log_tells_what_was_deployed(started: SimulatedTarget, tmp_path: Path) -> None:
    started.deploy(OTHER, "x").retire()
    log = (tmp_path / "log.txt").read_text()
    assert "deployed queue__x: " in log
    assert "removed queue__x: " in log
