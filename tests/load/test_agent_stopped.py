"""An agent that is stopped while its load generators go on: a machine that hangs, or a network that is cut."""

import signal
import time
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.agent_runs import MS, TOKEN, closed_loop, end_agent, start_agent
from tuner.load.distributed.fleet import Fleet
from tuner.load.distributed.generator import AgentGenerator
from tuner.load.distributed.options import AgentsWanted
from tuner.load.generator import LoadLost
from tuner.load.null_server import NullServer

pytestmark = pytest.mark.long

WINDOW_MS = 8_000
"""Longer than Locust takes to miss a worker."""


def test_a_load_is_made_again_when_a_stopped_agent_has_nothing_left_to_send(tmp_path: Path) -> None:
    said: list[str] = []
    with NullServer() as server, Fleet(AgentsWanted(2, port=0, wait_s=120.0), TOKEN.encode(), said.append) as fleet:
        agents = [start_agent("127.0.0.1", fleet.port) for _ in range(2)]
        try:
            fleet.wait()
            generator = AgentGenerator(fleet)
            plan = closed_loop(server, tmp_path / "records.bin", WINDOW_MS, 1_000)
            lead_ns = generator.prepare(plan)
            begun = replace(plan, start_ns=time.monotonic_ns() + lead_ns + 30 * MS)
            generator.begin(begun)
            agents[0].send_signal(signal.SIGSTOP)
            with pytest.raises(LoadLost, match=r"lost agent \d \(.+\): it has not been heard of for over 3 s"):
                generator.finish()
            again = generator.run(replace(plan, window_ns=200 * MS))
            agents[0].send_signal(signal.SIGCONT)
            assert agents[0].wait(60) == 3
        finally:
            for agent in agents:
                end_agent(agent)
    assert again.records.windows_ns[0][0] >= begun.window[1] + begun.timeout_ns
    assert len(again.report.agents) == 1
    assert [note.partition(" (")[0][:-1] for note in again.report.notes] == ["made by 1 agent: lost agent "]
    assert any("; 1 agent left" in line for line in said)
