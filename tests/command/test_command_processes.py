"""Running deployments of the command target: their processes, what is read back of them, and their own numbers."""

import socket
import sys
from pathlib import Path

import psutil
import pytest

from targets import registry
from targets.base import ConfigRefused, Context, ServerDied, TargetError, difference, metric_values
from targets.command import launcher
from targets.command.target import CommandTarget
from targets.ports import free_port
from tests.support.command_targets import COMMAND, ECHO, ROWS, MakeCommand, knob, log, said, started

# -- processes --


def test_a_deployment_is_a_process_of_its_own_and_ends_with_what_it_started(make: MakeCommand, tmp_path: Path) -> None:
    target = started(make(command=[*COMMAND, "--child"]))
    one, two = target.deploy({}, "one"), target.deploy({}, "two")
    processes = [psutil.Process(pid) for pid in one.processes()]
    assert len(processes) == 2
    assert not set(one.processes()) & set(two.processes())
    one.retire()
    assert not any(process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in processes)
    assert said(two)["method"] == "GET"
    assert target.alive()
    target.stop()
    assert log(tmp_path).count("listening on") == 2


def test_a_fixed_port_is_served_on_by_one_deployment_at_a_time(make: MakeCommand) -> None:
    port = free_port(None)
    target = started(make(port=port))
    assert not target.side_by_side
    first = target.deploy({}, "one")
    assert first.endpoint(ROWS).port == port
    assert target.deploy({}, "two").endpoint(ROWS).port == port
    assert list(first.processes()) == []


def test_a_port_that_is_taken_is_an_error_of_the_start(make: MakeCommand) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(
            TargetError, match=rf"target\.port: port {port} on 127\.0\.0\.1 is in use; free it, or leave"
        ):
            make(port=port).start()


def test_another_port_is_taken_when_one_is_lost_before_the_server_has_it(
    make: MakeCommand, monkeypatch: pytest.MonkeyPatch
) -> None:
    target, free = started(make()), launcher.free_port
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ports = [taken.getsockname()[1]]
        monkeypatch.setattr(launcher, "free_port", lambda wanted: ports.pop() if ports else free(wanted))
        deployment = target.deploy({}, "one")
        assert deployment.endpoint(ROWS).port != taken.getsockname()[1]
    assert said(deployment)["method"] == "GET"


def test_a_second_port_is_there_for_a_template_that_asks_for_it(make: MakeCommand) -> None:
    command = [*COMMAND, "--metrics-port", "{{ metrics_port }}"]
    target = started(make(command=command, metrics_url="http://127.0.0.1:{{ port }}/metrics"))
    deployment = target.deploy({}, "one")
    arguments = said(deployment)["arguments"]
    assert int(arguments[3]) != int(arguments[1]) == deployment.endpoint(ROWS).port


def test_a_server_that_has_ended_is_noticed_without_metrics(make: MakeCommand) -> None:
    target = started(make())
    deployment = target.deploy({}, "one")
    assert deployment.statistics()().requests == 0
    process = psutil.Process(deployment.processes()[0])
    process.kill()
    process.wait(10)
    with pytest.raises(ServerDied, match=r"the server ended with exit code -9: starting; listening on"):
        deployment.statistics()
    assert not target.alive()


def test_the_log_of_a_run_that_was_killed_is_kept(make: MakeCommand, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "log.txt.one").write_text("left\n")
    target = started(make())
    target.deploy({}, "one")
    assert log(tmp_path) == "left\n"
    target.stop()
    assert log(tmp_path).startswith("left\n--- one: ")
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["log.txt"]


def test_what_leads_to_storage_and_agents_reaches_no_server_unless_the_study_gives_it(
    make: MakeCommand, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("PGPASSWORD", "PARETUNE_TOKEN", "HARMLESS"):
        monkeypatch.setenv(name, f"the value of {name}")
    found = said(started(make()).deploy({}, "one"))["env"]
    assert found["HARMLESS"] == "the value of HARMLESS"
    assert not {"PGPASSWORD", "PARETUNE_TOKEN"} & set(found)
    given = said(started(make(env={"PGPASSWORD": "{{ env.PGPASSWORD }}"})).deploy({}, "one"))["env"]
    assert given["PGPASSWORD"] == "the value of PGPASSWORD"


# -- reading back --


def script(path: Path, text: str) -> str:
    path.write_text(text)
    path.chmod(0o755)
    return f"./{path.name}"


def test_arguments_that_do_not_reach_the_server_are_found_out(make: MakeCommand, tmp_path: Path) -> None:
    wrapper = script(tmp_path / "wrapper.sh", f'#!/bin/sh\nexec {sys.executable} {ECHO} --port "$2" --number 1\n')
    options = {"command": [wrapper, "--port", "{{ port }}", "--number", "{{ n }}"], "knobs": {"n": knob("int", 1)}}
    target = started(make(**options))
    with pytest.raises(ConfigRefused, match=r"no process of the server has the arguments .*--number 2; there is: .*"):
        target.deploy({"n": 2}, "one")
    unread = started(make(**options, read_back=False))
    assert said(unread.deploy({"n": 2}, "one"))["arguments"][-1] == "1"


@pytest.mark.parametrize("wrapped", ["as a child", "in its place", "by nice"])
def test_a_server_that_is_started_by_something_else_is_found(wrapped: str, make: MakeCommand, tmp_path: Path) -> None:
    text = {"as a child": '"$@" & wait', "in its place": 'exec "$@"'}
    first = ["nice"] if wrapped == "by nice" else [script(tmp_path / "run.sh", f"#!/bin/sh\n{text[wrapped]}\n")]
    target = started(make(command=[*first, *COMMAND, "--text", "a b"], env={"MINE": "'quoted' $HOME"}))
    answer = said(target.deploy({}, "one"))
    assert answer["arguments"][-1] == "a b"
    assert answer["env"]["MINE"] == "'quoted' $HOME"


def test_a_variable_that_does_not_reach_the_server_is_found_out(make: MakeCommand, tmp_path: Path) -> None:
    wrapper = script(tmp_path / "clean.sh", f'#!/bin/sh\nexec env -u MINE {sys.executable} {ECHO} "$@"\n')
    target = started(make(command=[wrapper, "--port", "{{ port }}"], env={"MINE": "1"}))
    with pytest.raises(ConfigRefused, match=r"has the environment that was asked for \(MINE\)"):
        target.deploy({}, "one")


# -- the server's own numbers --


def test_metrics_are_mapped_to_counters_and_gauges(make: MakeCommand) -> None:
    target = started(
        make(
            metrics_url="/metrics",
            statistics={
                "requests": 'echo_seen{kind="any"}',
                "failures": "never_named",
                "queue": "idle_ms",
                "unit": "ms",
            },
            server_metrics={
                "idle": {"type": "gauge", "reading": "idle_ms", "scale": 0.001, "unit": "s"},
                "seen": {"type": "rate", "reading": "echo_seen"},
                "share": {"type": "ratio", "reading": "echo_seen", "per": "echo_seen", "scale": 2},
            },
        )
    )
    deployment = target.deploy({}, "one")
    before = deployment.statistics()()
    for _ in range(3):
        said(deployment)
    after = deployment.statistics()()
    assert (after.total_ns["queue"], after.failures) == (250_000_000, 0)
    stats = difference(before, after)
    assert stats.requests == 3
    values = metric_values(stats, target.metrics())
    assert (values["idle"], values["share"]) == (0.25, 2.0)
    assert values["seen"] == pytest.approx(3 / stats.window_s)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"statistics": {"requests": "echo_sen"}},
            r"target\.statistics\.requests: .* no `echo_sen`; did you mean `echo_s",
        ),
        (
            {"statistics": {"queue": "zzz"}},
            r"target\.statistics\.queue: .* no `zzz`; there are: echo_seen_total, idle_ms",
        ),
        (
            {"server_metrics": {"a": {"type": "gauge", "reading": "zzz"}}},
            r"target\.server_metrics\.a\.reading: the server's metrics have no `zzz`",
        ),
    ],
)
def test_a_metric_that_is_not_there_is_named_with_what_there_is(
    options: dict[str, object], message: str, make: MakeCommand
) -> None:
    deployment = started(make(metrics_url="/metrics", **options)).deploy({}, "one")
    with pytest.raises(TargetError, match=message):
        deployment.statistics()()


def test_a_metrics_url_that_has_none_is_an_error(make: MakeCommand) -> None:
    target = started(make(metrics_url="/missing/metrics"))
    with pytest.raises(TargetError, match=r"target\.metrics_url: http://127.*/missing/metrics answers with HTTP 404"):
        target.deploy({}, "one")
    deployment = started(make(metrics_url="/page")).deploy({}, "one")
    with pytest.raises(TargetError, match=r"target\.metrics_url: .*/page: not in Prometheus' text format"):
        deployment.statistics()()


def test_the_target_is_found_by_its_kind(tmp_path: Path) -> None:
    options = registry.options_of("command").model_validate({"command": COMMAND})
    assert isinstance(registry.create(options, Context(tmp_path, tmp_path / "log.txt")), CommandTarget)
    assert list(registry.knobs("command")) == []
    assert "target.command" in registry.availability("command")
