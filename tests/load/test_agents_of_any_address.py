"""A run that listens on all addresses is found by agents of IPv4, and by those of IPv6 where the machine has it."""

import socket
from pathlib import Path

from tests.support.agent_runs import TOKEN, closed_loop, end_agent, start_agent
from tuner.load.distributed.fleet import Fleet
from tuner.load.distributed.generator import AgentGenerator
from tuner.load.distributed.options import EVERYWHERE, AgentsWanted, address_of
from tuner.load.null_server import NullServer


def hosts() -> list[str]:
    """Return the addresses of this machine that its own agents reach."""
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return ["127.0.0.1", "[::1]"]
    except OSError:
        return ["127.0.0.1"]


def test_agents_of_both_families_find_a_run_that_listens_everywhere(tmp_path: Path) -> None:
    host, _ = address_of(f"{EVERYWHERE}:5557")
    wanted, said = AgentsWanted(len(hosts()), host, port=0, wait_s=120.0), list[str]()
    with NullServer() as server, Fleet(wanted, TOKEN.encode(), said.append) as fleet:
        agents = [start_agent(one, fleet.port) for one in hosts()]
        try:
            fleet.wait()
            found = {one.address for one in fleet.agents}
            run = AgentGenerator(fleet).run(closed_loop(server, tmp_path / "records.bin", 200, 60_000))
        finally:
            for agent in agents:
                end_agent(agent)
    assert found == {one.strip("[]") for one in hosts()}
    assert len(run.report.agents) == len(hosts())
    assert said[0] == f"waiting for {len(hosts())} agent{'s' * (len(hosts()) > 1)} on *:{fleet.port}"
