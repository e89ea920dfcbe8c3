"""Two configurations, and two releases, under the load of agents."""

import shutil
from pathlib import Path

import pytest

from tests.support.agent_runs import stop_at_work, tune_with_agents
from tests.support.simulated_study import slow_down, write_gated_study, write_simulated_study
from tests.support.tune import tune
from tuner.gate.baseline import read_gate, read_measurement
from tuner.results import Comparison

pytestmark = pytest.mark.long


def test_two_configurations_are_compared_under_the_load_of_agents(tmp_path: Path) -> None:
    study = write_simulated_study(tmp_path)
    sides = ["--ours", "instances=2", "--theirs", "instances=1"]
    ended = tune_with_agents("compare", study.name, *sides, "--set", "space.concurrency=4", "--json", cwd=tmp_path)
    assert ended.code in (0, 5), ended.errors  # 5: on a busy host the load generator may send late
    made = Comparison.model_validate_json(ended.out)
    assert (made.ours.config["instances"], made.theirs.config["instances"]) == (2, 1)
    for side in (made.ours, made.theirs):
        agents = side.generator["steady"].agents
        assert [one.name.split(" (")[0] for one in agents] == ["agent 1", "agent 2"]
        assert all(one.requests > 0 for one in agents)
    assert made.ratios["steady"]["throughput_rps"].value > 1
    assert made.notes == []
    assert [code for code, _ in ended.agents] == [0, 0]


def test_stored_runs_are_compared_without_agents(tmp_path: Path) -> None:
    ended = tune("compare", "one", "other", "--agents", "2", cwd=tmp_path, PARETUNE_TOKEN="long enough for a test")
    assert ended.returncode == 2
    said = " ".join(ended.stderr.split())
    assert "--agents is about a load, and stored runs are compared without one" in said


def test_two_releases_are_held_against_one_another_under_the_load_of_agents(tmp_path: Path) -> None:
    write_gated_study(tmp_path / "old")
    shutil.copytree(tmp_path / "old", tmp_path / "new")
    slow_down(tmp_path / "new")
    ended = tune_with_agents("gate", "--ab", "old/study.yaml", "new/study.yaml", "--out", "run", cwd=tmp_path)
    assert ended.code in (1, 5), ended.errors  # 5: on a busy host the load generator may send late
    result = read_gate(tmp_path / "run")
    states = {one.rule: one.state for one in result.rules if one.kind == "ratio"}
    assert states.keys() == {"throughput", "p50"}
    if ended.code == 1:
        assert set(states.values()) == {"fail"}
    assert result.old is not None
    for side in (result.old, result.new):
        assert side.host["agents"].startswith("2 (CPUs: ")
        assert side.environment["agents"].count("agent ") == 2
    assert [code for code, _ in ended.agents] == [0, 0]


def test_a_gate_goes_on_without_an_agent_that_was_stopped_and_what_it_measured_says_so(tmp_path: Path) -> None:
    study = write_gated_study(tmp_path)
    ended = tune_with_agents(
        "gate", study.name, "--out", "run", cwd=tmp_path, meanwhile=lambda _, agents: stop_at_work(agents[0])
    )
    assert ended.code in (0, 5), ended.errors  # 5: on a busy host the load generator may send late
    (note,) = (one for one in read_gate(tmp_path / "run").notes if one.startswith("made by 1 agent: lost agent "))
    assert note.endswith("it has not been heard of for over 3 s")
    assert sorted(code for code, _ in ended.agents) == [0, 3]
    of_agents = read_measurement(tmp_path / "run").host["agents"]
    assert of_agents.startswith("2, then 1 (CPUs: ")
    alone = tune("gate", study, "--against", "run", cwd=tmp_path)
    assert alone.returncode == 2, alone.stderr
    if spoiled := read_measurement(tmp_path / "run").invalid:
        assert f"its gate was not valid: {'; '.join(spoiled)}; measure again" in alone.stderr
    else:
        assert f"not comparable: agents: {of_agents} then, none now; " in alone.stderr
        assert "--despite agents" in alone.stderr
