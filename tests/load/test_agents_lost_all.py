"""Where the last agent is lost, others are waited for: the measurement is made again by them, or the run ends."""

import json
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.agent_runs import MS, TOKEN, closed_loop, end_agent, start_agent
from tests.support.locust_page import answered
from tuner.load.distributed.fleet import AgentsUnavailable, Fleet
from tuner.load.distributed.generator import AgentGenerator
from tuner.load.distributed.options import AgentsWanted
from tuner.load.generator import LoadLost
from tuner.load.null_server import NullServer

pytestmark = pytest.mark.long


def test_another_agent_takes_the_place_of_the_last_one_until_none_comes(tmp_path: Path) -> None:
    said: list[str] = []
    paused: list[str] = []

    @contextmanager
    def pausing() -> Iterator[None]:
        paused.append("begins")
        yield
        paused.append("ends")

    wanted = AgentsWanted(1, port=0, wait_s=120.0, ui=True)
    with NullServer() as server, Fleet(wanted, TOKEN.encode(), said.append) as fleet:
        fleet.pausing = pausing
        agents = [start_agent("127.0.0.1", fleet.port)]
        try:
            fleet.wait()
            assert paused == [], "the first ones are waited for before there is anything to pause"
            generator = AgentGenerator(fleet)
            plan = closed_loop(server, tmp_path / "records.bin", 60_000, 600_000)
            short = replace(plan, window_ns=200 * MS)
            lead_ns = generator.prepare(plan)
            generator.begin(replace(short, start_ns=time.monotonic_ns() + lead_ns + 30 * MS))
            agents[0].send_signal(signal.SIGINT)
            agents[0].wait(60)
            with pytest.raises(LoadLost, match=r"lost agent 1 \(.+\): it left"):
                generator.look()
            with pytest.raises(LoadLost, match=r"lost agent 1 \(.+\): it left"):
                generator.finish()
            agents.append(start_agent("127.0.0.1", fleet.port))
            again = generator.run(short)
            agents[1].send_signal(signal.SIGINT)
            agents[1].wait(60)
            fleet._wanted = replace(fleet._wanted, wait_s=0.1)
            with pytest.raises(AgentsUnavailable) as ended:
                generator.run(short)
            locust = json.loads(answered(fleet.ui_port, "/stats/requests"))
        finally:
            for agent in agents:
                end_agent(agent)
    assert (locust["state"], locust["worker_count"]) == ("running", 0), "its page goes on showing the statistics"
    assert [one.name.partition(" (")[0] for one in again.report.agents] == ["agent 2"]
    assert [note.partition(" (")[0] for note in again.report.notes] == ["made by 1 agent: lost agent 1"]
    assert len(again.records.rows) > 0
    assert not any("may still send" in line for line in said), "who says goodbye has ended its load"
    assert paused == ["begins", "ends"] * 2
    assert "no agent is left: waiting for others on 127.0.0.1:" in " ".join(said)
    assert str(ended.value).startswith("no agent is left to make the load: lost agent 2 (")
    assert "none came in its place within 0.1 s: start the agents and the command again" in str(ended.value)
