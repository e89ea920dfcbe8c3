"""Both sides of a gate have the same agents, and load generators of their own on each of them."""

from pathlib import Path

import pytest

from tests.support.agent_runs import TOKEN, end_agent, start_agent
from tests.support.simulated_study import write_simulated_study
from tuner.gate import opening
from tuner.load.distributed.fleet import Fleet
from tuner.load.distributed.options import AgentsWanted
from tuner.metrics import generator_report
from tuner.study.load import load_study
from tuner.wiring import prepare

pytestmark = pytest.mark.long


def test_the_same_agents_make_the_load_of_both_sides(tmp_path: Path) -> None:
    study = write_simulated_study(tmp_path)
    settings = ["gate={concurrency: 8, rounds: 2, round: 100 ms}", "isolation=none"]
    sides = [
        (name, prepare(load_study(study, [*settings, f"generator.processes={processes}"]), tmp_path / f"{name}.txt"))
        for name, processes in (("old", 1), ("new", 2))
    ]
    with Fleet(AgentsWanted(2, port=0, wait_s=120.0), TOKEN.encode(), print) as fleet:
        agents = [start_agent("127.0.0.1", fleet.port) for _ in range(2)]
        try:
            fleet.wait()
            with opening.opened("ab", sides, tmp_path, None, [], fleet=fleet) as gate:
                gate.rounds.redeploy()
                (old,), (new,) = (side.gathered.runs["steady"] for side in gate.rounds.sides)
        finally:
            for agent in agents:
                end_agent(agent)
    reports = [generator_report(one.records, one.report) for one in (old, new)]
    assert [one.processes for one in reports] == [2, 4]
    for one in reports:
        assert [agent.name.split(" (")[0] for agent in one.agents] == ["agent 1", "agent 2"]
        assert all(agent.requests > 0 for agent in one.agents)
