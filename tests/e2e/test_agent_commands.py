"""`tune bench --agents` and `tune agent` as users run them."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.agent_runs import TOKEN, end_agent, start_agent
from tests.support.simulated_study import write_simulated_study
from tests.support.tune import tune


@dataclass(frozen=True)
class Benched:
    """A `tune bench --agents 2` that has ended."""

    code: int
    trial: dict[str, Any]
    errors: str
    agents: list[tuple[int, str]]


@pytest.fixture(scope="module")
def benched(tmp_path_factory: pytest.TempPathFactory) -> Benched:
    folder = tmp_path_factory.mktemp("bench")
    study = write_simulated_study(folder)
    command = [sys.executable, "-m", "tuner", "bench", study.name, "--set", "space.concurrency=4", "--json"]
    bench = subprocess.Popen(
        [*command, "--agents", "2", "--agents-bind", "127.0.0.1:0"],
        cwd=folder,
        env={**os.environ, "PARETUNE_TOKEN": TOKEN},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert bench.stderr is not None
    said = ""
    while (found := re.search(r"waiting for 2 agents on 127.0.0.1:(\d+)", said)) is None:
        line = bench.stderr.readline()
        assert line, said
        said += line
    agents = [start_agent("127.0.0.1", int(found[1])) for _ in range(2)]
    try:
        out, errors = bench.communicate(timeout=120)
        ends = [(agent.wait(timeout=60), agent.communicate()[1]) for agent in agents]
    finally:
        for agent in agents:
            end_agent(agent)
    return Benched(bench.returncode, json.loads(out), said + errors, ends)


def test_a_configuration_is_measured_by_agents(benched: Benched) -> None:
    assert benched.code in (0, 5), benched.errors  # 5: on a busy host the load generator may send late
    (point,) = benched.trial["points"]
    agents = point["generator"]["agents"]
    assert [one["name"].split(" (")[0] for one in agents] == ["agent 1", "agent 2"]
    assert all(one["requests"] > 0 for one in agents)
    assert sum(one["requests"] for one in agents) == sum(point["outcomes"].values())
    assert set(point["outcomes"]) == {"ok"}


def test_an_agent_ends_with_the_run(benched: Benched) -> None:
    for code, words in benched.agents:
        assert code == 0
        assert "joined" in words
        assert "the run is over" in words


def test_a_run_says_who_is_there(benched: Benched) -> None:
    assert len(re.findall(r"agent [12] \(.+, 127\.0\.0\.1\), \d+ cores?, is there", benched.errors)) == 2


@pytest.mark.parametrize("arguments", [["agent", "--master", "127.0.0.1:1"], ["bench", "study.yaml", "--agents", "1"]])
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
