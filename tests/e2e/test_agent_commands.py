"""`--agents`, of every command that takes it, and `tune agent` as users run them."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from targets.ports import free_port
from tests.support.agent_runs import (
    TOKEN,
    Ended,
    end_agent,
    start_agent,
    stop_at_work,
    tune_with_agents,
    wait_for_work,
)
from tests.support.simulated_study import write_simulated_study
from tests.support.tune import tune
from tuner.results import read_result

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def benched(tmp_path_factory: pytest.TempPathFactory) -> Ended:
    folder = tmp_path_factory.mktemp("bench")
    study = write_simulated_study(folder)
    return tune_with_agents("bench", study.name, "--set", "space.concurrency=4", "--json", cwd=folder)


def test_a_configuration_is_measured_by_agents(benched: Ended) -> None:
    assert benched.code in (0, 5), benched.errors  # 5: on a busy host the load generator may send late
    (point,) = json.loads(benched.out)["points"]
    agents = point["generator"]["agents"]
    assert [one["name"].split(" (")[0] for one in agents] == ["agent 1", "agent 2"]
    assert all(one["requests"] > 0 for one in agents)
    assert sum(one["requests"] for one in agents) == sum(point["outcomes"].values())
    assert set(point["outcomes"]) == {"ok"}


def test_an_agent_ends_with_the_run(benched: Ended) -> None:
    for code, words in benched.agents:
        assert code == 0
        assert "joined" in words
        assert "the run is over" in words


def test_a_run_says_who_is_there(benched: Ended) -> None:
    assert len(re.findall(r"agent [12] \(.+, 127\.0\.0\.1\), \d+ cores?, is there", benched.errors)) == 2


@pytest.mark.parametrize(
    "arguments",
    [
        ["agent", "--master", "127.0.0.1:1"],
        *([command, "study.yaml", "--agents", "1"] for command in ("run", "bench", "compare", "gate", "worker")),
    ],
)
def test_without_a_token_nothing_is_begun(arguments: list[str], tmp_path: Path) -> None:
    write_simulated_study(tmp_path)
    ended = tune(*arguments, cwd=tmp_path, PARETUNE_TOKEN="")
    assert ended.returncode == 2
    assert "PARETUNE_TOKEN is not set" in ended.stderr


def test_an_agent_says_that_there_is_no_master(tmp_path: Path) -> None:
    ended = tune("agent", "--master", "127.0.0.1:1", "--wait", "100 ms", cwd=tmp_path, PARETUNE_TOKEN=TOKEN)
    assert ended.returncode == 3
    assert "no master answered at 127.0.0.1:1 within 0.1 s" in ended.stderr


def test_an_agent_that_waits_is_interrupted() -> None:
    agent = start_agent("127.0.0.1", 1)
    try:
        assert agent.stderr is not None
        assert "looking for a master" in agent.stderr.readline()
        agent.send_signal(signal.SIGINT)
        assert agent.wait(timeout=60) == 130
        assert "interrupted" in agent.stderr.read()
    finally:
        end_agent(agent)


def test_a_port_that_is_taken_is_an_error_that_names_the_option(tmp_path: Path) -> None:
    study = write_simulated_study(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        ended = tune("bench", study, "--agents", "1", "--agents-bind", address, cwd=tmp_path, PARETUNE_TOKEN=TOKEN)
    assert ended.returncode == 3
    assert re.search(
        f"cannot listen for agents on {address}: .*; choose another address with --agents-bind", ended.stderr
    )


LONG = ("measure.window=8 s", "measure.max_window=8 s", "workloads.steady.timeout=1 s", "space.concurrency=4")
"""A measurement that lasts for longer than Locust takes to miss a worker."""


def test_what_a_stopped_agent_was_to_measure_is_measured_by_those_that_are_left(tmp_path: Path) -> None:
    study = write_simulated_study(tmp_path)
    sets = [word for one in LONG for word in ("--set", one)]
    arguments = ("bench", study.name, *sets, "--json")
    ended = tune_with_agents(*arguments, cwd=tmp_path, meanwhile=lambda _, agents: stop_at_work(agents[0]))
    assert ended.code in (0, 5), ended.errors  # 5: on a busy host the load generator may send late
    (point,) = json.loads(ended.out)["points"]
    assert len(point["generator"]["agents"]) == 1
    lost = r"lost agent [12] \(.+, 127\.0\.0\.1\): it has not been heard of for over 3 s"
    assert any(re.fullmatch(f"made by 1 agent: {lost}", one) for one in point["validity"]["warnings"])
    assert re.search(f"{lost}; 1 agent left", ended.errors)
    (stopped, words), (left, _) = ended.agents
    assert (stopped, left) == (3, 0)
    assert "took this agent for lost" in words or "has vanished" in words


def test_a_run_whose_only_agent_is_lost_keeps_what_it_measured_and_resumes_with_another_one(tmp_path: Path) -> None:
    study, port, made = write_simulated_study(tmp_path), free_port(None), tmp_path / "made"
    agents_are = ("--agents", "1", "--agents-bind", f"127.0.0.1:{port}", "--agents-wait", "10 s")
    command = [sys.executable, "-m", "tuner", "run", study.name, "--out", made.name, *agents_are]
    agents = [start_agent("127.0.0.1", port)]
    run = subprocess.Popen(
        command, cwd=tmp_path, env={**os.environ, "PARETUNE_TOKEN": TOKEN}, stderr=subprocess.PIPE, text=True
    )
    try:
        deadline = time.monotonic() + 120
        while not (made / "result.json").exists():  # it is written when there is a baseline
            assert run.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
        agents[0].kill()
        _, said = run.communicate(timeout=120)
        assert run.returncode == 3, said
        lost = r"no agent is left to make the load: lost agent 1 \(.+\): .+; none came in its place within 10 s"
        assert re.search(lost, said)
        assert "what there is: made; the same command resumes" in said
        failed = read_result(made)
        assert (failed.state, failed.exit_code) == ("failed", 3)
        assert re.search(lost, str(failed.message))
        assert "none came in its place" in (made / "report.html").read_text()
        agents.append(start_agent("127.0.0.1", port))
        resumed = tune(*command[3:], cwd=tmp_path, PARETUNE_TOKEN=TOKEN)
        assert resumed.returncode in (0, 4, 5), resumed.stderr  # 5: on a busy host the load generator may send late
        kept = [trial.model_dump(exclude={"points"}) for trial in failed.trials]
        assert kept == [trial.model_dump(exclude={"points"}) for trial in read_result(made).trials[: len(kept)]]
        assert kept, "the baseline at least"
        assert f"the baseline and {len(kept) - 1} trials are kept" in resumed.stderr
    finally:
        for one in (run, *agents):
            end_agent(one)


UNDONE = "the run ended before it was done; for another try of it start this agent again"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGKILL, -signal.SIGKILL)])
def test_agents_of_a_run_that_is_ended_from_outside_say_that_it_was_not_done(
    number: signal.Signals, code: int, tmp_path: Path
) -> None:
    def end_at_work(run: "subprocess.Popen[str]", agents: Sequence["subprocess.Popen[str]"]) -> None:
        wait_for_work(agents[0])
        run.send_signal(number)

    study = write_simulated_study(tmp_path)
    sets = [word for one in LONG for word in ("--set", one)]
    ended = tune_with_agents("bench", study.name, *sets, cwd=tmp_path, meanwhile=end_at_work)
    assert ended.code == code, ended.errors
    for agent, words in ended.agents:
        assert agent == 3
        assert UNDONE in words


def test_agents_of_a_run_that_met_no_slo_end_as_it_is_done(tmp_path: Path) -> None:
    study = write_simulated_study(tmp_path)
    ended = tune_with_agents("run", study.name, "--set", "slo.p90=1 us", "--trials", "1", cwd=tmp_path)
    assert ended.code in (4, 5), ended.errors  # 5: on a busy host the load generator may send late
    assert [code for code, _ in ended.agents] == [0, 0]


def test_agents_that_are_started_again_when_they_fail_are_there_for_the_next_try_of_a_run(tmp_path: Path) -> None:
    study, port = write_simulated_study(tmp_path), free_port(None)
    arguments = ("bench", study, "--set", "space.concurrency=4", "--agents", 2, "--agents-bind", f"127.0.0.1:{port}")
    again = ("bash", "-c", 'until "$@"; do :; done', "as a cluster does")
    agents = [start_agent("127.0.0.1", port, before=again) for _ in range(2)]
    try:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            server = f"target.http_port={taken.getsockname()[1]}"
            failed = tune(*arguments, "--set", server, cwd=tmp_path, PARETUNE_TOKEN=TOKEN)
        assert failed.returncode == 3, failed.stderr
        assert "the simulated server did not start" in failed.stderr
        retried = tune(*arguments, cwd=tmp_path, PARETUNE_TOKEN=TOKEN)
        assert retried.returncode in (0, 5), retried.stderr  # 5: on a busy host the load generator may send late
        for agent in agents:
            _, words = agent.communicate(timeout=60)
            assert words.count(UNDONE) == 1
            assert words.rstrip().endswith("the run is over")
    finally:
        for agent in agents:
            end_agent(agent)


def test_a_host_of_a_shared_study_has_agents_of_its_own(tmp_path: Path) -> None:
    study = write_simulated_study(tmp_path)
    arguments = ("worker", study.name, "--storage", "shared.log")
    ended = tune_with_agents(*arguments, "--out", "first", cwd=tmp_path)
    assert ended.code in (0, 5), ended.errors  # 5: on a busy host the load generator may send late
    result = read_result(tmp_path / "first")
    assert result.environment["agents"].count("agent ") == 2
    assert [host.facts["agents"].partition(" ")[0] for host in result.hosts] == ["2"]
    assert [code for code, _ in ended.agents] == [0, 0]
    late = tune(*arguments, "--agents", 1, cwd=tmp_path, PARETUNE_TOKEN=TOKEN)
    assert late.returncode == ended.code, late.stderr
    assert "confirmed" in late.stdout
    assert "waiting for 1 agent" not in late.stderr, "there is nothing left to do"


def test_what_keeps_a_host_from_a_shared_study_is_said_before_agents_are_waited_for(tmp_path: Path) -> None:
    study = write_simulated_study(tmp_path)
    loads_alone = "space={concurrency: [2, 8]}"
    ended = tune(
        "worker", study, "--storage", "shared.log", "--set", loads_alone, "--agents", 1,
        cwd=tmp_path, PARETUNE_TOKEN=TOKEN,
    )  # fmt: skip
    assert ended.returncode == 2, ended.stderr
    assert "it has load levels alone" in ended.stderr
    assert "waiting for" not in ended.stderr


def test_agents_come_over_ipv6_or_the_run_says_that_this_host_has_none(tmp_path: Path) -> None:
    study = write_simulated_study(tmp_path)
    arguments = ("bench", study.name, "--set", "space.concurrency=4", "--json")
    if not has_ipv6():
        ended = tune(*arguments, "--agents", "1", "--agents-bind", "[::1]:0", cwd=tmp_path, PARETUNE_TOKEN=TOKEN)
        assert ended.returncode == 3
        assert "cannot listen for agents on [::1]:0: " in ended.stderr
        return
    made = tune_with_agents(*arguments, cwd=tmp_path, count=1, host="[::1]")
    assert made.code in (0, 5), made.errors
    (point,) = json.loads(made.out)["points"]
    (agent,) = point["generator"]["agents"]
    assert agent["name"].endswith(", ::1)")
    assert agent["requests"] == sum(point["outcomes"].values())
    ((code, words),) = made.agents
    assert code == 0
    assert "looking for a master at [::1]:" in words


def has_ipv6() -> bool:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


@pytest.mark.parametrize("address", ["192.0.2.1:0", "[2001:db8::1]:0"])
def test_an_address_of_another_host_cannot_be_listened_on(address: str, tmp_path: Path) -> None:
    study = write_simulated_study(tmp_path)
    ended = tune("bench", study, "--agents", "1", "--agents-bind", address, cwd=tmp_path, PARETUNE_TOKEN=TOKEN)
    assert ended.returncode == 3, ended.stderr
    assert f"cannot listen for agents on {address}: " in ended.stderr
    assert "choose another address with --agents-bind" in ended.stderr


def test_an_agent_says_that_there_is_no_master_at_an_ipv6_address(tmp_path: Path) -> None:
    ended = tune("agent", "--master", "[::1]:1", "--wait", "100 ms", cwd=tmp_path, PARETUNE_TOKEN=TOKEN)
    assert ended.returncode == 3
    assert "no master answered at [::1]:1 within 0.1 s" in ended.stderr
