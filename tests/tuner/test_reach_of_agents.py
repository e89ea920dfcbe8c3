"""Whether agents reach the server of a study is known when they are there, before anything is started."""

from pathlib import Path

import pytest

from tests.support.simulated_study import write_simulated_study
from tuner.cli.agents import _server_hosts
from tuner.load.distributed.fleet import AgentsUnavailable
from tuner.load.distributed.generator import check_reach
from tuner.load.distributed.options import AgentInfo
from tuner.study.load import load_study

HERE, FAR = AgentInfo(0, "here", "127.0.0.1", 2), AgentInfo(1, "far", "192.0.2.7", 2)


def hosts(folder: Path, *overrides: str) -> list[str]:
    return list(_server_hosts(load_study(folder / "study.yaml", overrides).spec.target))


def test_a_server_is_where_its_address_says_or_on_this_host_alone(tmp_path: Path) -> None:
    write_simulated_study(tmp_path)
    assert hosts(tmp_path) == ["127.0.0.1"]
    remote = "target={kind: kserve, url: 'http://192.0.2.9:8000', model: queue}"
    assert hosts(tmp_path, remote, "space={concurrency: [1, 2]}") == ["192.0.2.9"]


def test_an_agent_on_another_machine_is_named_where_the_server_is_on_this_host_alone() -> None:
    check_reach("192.0.2.9", [HERE, FAR])
    check_reach("127.0.0.1", [HERE])
    with pytest.raises(
        AgentsUnavailable, match=r"at 127\.0\.0\.1, where agent 2 \(far, 192\.0\.2\.7\) cannot reach it"
    ):
        check_reach("127.0.0.1", [HERE, FAR])
