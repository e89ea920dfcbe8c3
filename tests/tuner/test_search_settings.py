"""What a study may ask of the search, checked before anything is started."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import STUDIES
from tuner.study.load import load_study
from tuner.study.source import StudyError
from tuner.twin.forecast import roles_of, server_of
from tuner.twin.simulation import simulation_of
from tuner.wiring import prepare

STUDY = """
study: queue
target: {kind: TARGET}
workloads:
  steady:
    arrival: {process: closed}
    requests: {source: dataset, path: requests.npz}
space: {SPACE}
slo: {p99: 1 s}
objectives: [maximize throughput, minimize p99]
search: {SEARCH}
"""
QUEUE = "simulated, model: queue, repository: models"
BATCHES = "max_batch_size: [1, 2], concurrency: [1, 2]"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "models/queue").mkdir(parents=True)
    queue = {"max_batch_size": 1, "max_queue_delay_us": 0, "instances": 1, "fixed_ms": 20.0, "each_ms": 5.0}
    (tmp_path / "models/queue/queue.json").write_text(json.dumps(queue))
    np.savez(tmp_path / "requests.npz", INPUT=np.zeros((5, 4)))
    return tmp_path


def write(folder: Path, search: str, objectives: str = "", target: str = QUEUE) -> Path:
    text = STUDY.replace("TARGET", target).replace("SPACE", BATCHES).replace("SEARCH", search)
    if objectives:
        text = text.replace("[maximize throughput, minimize p99]", objectives)
    path = folder / "study.yaml"
    path.write_text(text)
    return path


def refusal(folder: Path, search: str) -> str:
    with pytest.raises(StudyError) as raised:
        prepare(load_study(write(folder, search)), folder / "log.txt")
    return str(raised.value)


def test_a_sampler_that_is_not_installed_names_the_extra(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tuner.wiring.find_spec", lambda _: None)
    message = refusal(folder, "sampler: gp")
    assert "study.yaml:11: search.sampler: " in message
    assert "pip install 'paretune[gp]'" in message


def test_the_twin_does_not_choose_by_several_objectives(folder: Path) -> None:
    assert "take tpe to choose by several" in refusal(folder, "sampler: twin, choose: robust")


@pytest.mark.parametrize(
    ("search", "said"),
    [
        ("choose: weighted", "expected 2 (one of each objective), but got 0"),
        ("choose: weighted, weights: [1]", "expected 2 (one of each objective), but got 1"),
        ("weights: [1, 2]", "expected 0 (they are for `search.choose: weighted`), but got 2"),
        ("choose: weighted, weights: [1, -1]", "at least 0 and not all 0"),
        ("choose: weighted, weights: [0, 0]", "at least 0 and not all 0"),
    ],
)
def test_weights_are_those_of_the_objectives(folder: Path, search: str, said: str) -> None:
    assert said in refusal(folder, search)


@pytest.mark.parametrize(
    ("search", "objectives", "missing"),
    [
        ("sampler: auto", "", ""),
        ("sampler: auto", "[minimize p99]", ""),
        ("choose: robust", "", "`choose: robust` asks for several"),
        (
            "sampler: auto",
            "[minimize server_cpu, maximize goodput]",
            "the first objective, server_cpu, is not simulated",
        ),
    ],
)
def test_why_a_server_is_not_simulated_is_said(folder: Path, search: str, objectives: str, missing: str) -> None:
    prepared = prepare(load_study(write(folder, search, objectives)), folder / "log.txt")
    simulation = simulation_of(prepared)
    assert missing in simulation.missing
    assert (simulation.twin is None) == bool(missing)


def test_a_twin_that_was_asked_for_says_that_it_does_not_simulate_the_first_objective(folder: Path) -> None:
    study = load_study(write(folder, "sampler: twin", "[minimize server_cpu, maximize goodput]"))
    with pytest.raises(StudyError, match=r"study\.yaml:11: search\.sampler: .*server_cpu, is not simulated; take tpe"):
        prepare(study, folder / "log.txt")
    prepare(load_study(write(folder, "sampler: twin", "[maximize goodput, minimize server_cpu]")), folder / "log.txt")


def test_a_database_that_cannot_be_reached_is_no_bug_of_ours(folder: Path) -> None:
    from tests.support.tune import tune

    write(folder, "storage: 'sqlite:///no/such/place/x.db'")
    ended = tune("study.yaml", cwd=folder)
    assert ended.returncode == 2, ended.stderr
    assert "search.storage: sqlite:///no/such/place/x.db cannot be used" in ended.stderr
    assert "Traceback" not in ended.stderr


def write_with_priorities(folder: Path, search: str, levels: str = "") -> Path:
    """Write a study of a real model whose traffic has two classes of different priorities."""
    shutil.copytree(STUDIES / "digits", folder / "digits")
    config = folder / "digits/models/digits/config.pbtxt"
    config.write_text(config.read_text().replace("dynamic_batching { }", f"dynamic_batching {{ {levels} }}"))
    mix = ", ".join(
        f"{name}: {{requests: {{source: dataset, path: digits/test.npz}}, priority: {priority}}}"
        for name, priority in (("bulk", 0), ("urgent", 1))
    )
    path = write(folder, search, target="triton, model: digits, repository: digits/models")
    path.write_text(
        path.read_text().replace("    requests: {source: dataset, path: requests.npz}\n", f"    mix: {{{mix}}}\n")
    )
    return path


@pytest.mark.parametrize("sampler", ["auto", "twin"])
@pytest.mark.parametrize(("levels", "overtakes"), [("", False), ("priority_levels: 2 default_priority_level: 2", True)])
def test_a_queue_with_priorities_is_simulated_as_the_users_file_has_it(
    folder: Path, sampler: str, levels: str, overtakes: bool
) -> None:
    prepared = prepare(load_study(write_with_priorities(folder, f"sampler: {sampler}", levels)), folder / "log.txt")
    simulation = simulation_of(prepared)
    assert simulation.missing == ""
    assert simulation.twin is not None
    assert "priority_levels" not in prepared.space.own, "what no study sets is in no configuration"
    roles = roles_of(prepared.target.knobs(), ["max_batch_size"])
    assert roles is not None
    server = server_of(simulation.twin.space.own, roles)
    assert (server.level_of(1) < server.level_of(0)) == overtakes


def test_searched_levels_are_those_of_the_configuration(folder: Path) -> None:
    path = write_with_priorities(folder, "sampler: twin", "priority_levels: 2 default_priority_level: 2")
    path.write_text(path.read_text().replace("space: {", "space: {priority_levels: [2, 3], "))
    prepared = prepare(load_study(path), folder / "log.txt")
    twin = simulation_of(prepared).twin
    assert twin is not None
    assert twin.space.own["default_priority_level"] == 2
    roles = roles_of(prepared.target.knobs(), [one.name for one in prepared.space.without_load()])
    assert roles is not None
    assert roles.others == ()
    servers = [server_of({**twin.space.own, **config}, roles) for config in prepared.space.configs()]
    assert {server.level_of(3) for server in servers} == {2, 3}


@pytest.mark.parametrize(
    ("url", "refused"),
    [
        ("postgresql://tune:secret@db/trials", True),
        ("postgresql://tune:a/s@cret@db/trials", True),
        ("postgresql://tune@db/trials?password=secret", True),
        ("postgresql://tune:$PASSWORD@db/trials", False),
        ("postgresql://tune:${PASSWORD}@db/trials?password=$OTHER", False),
        ("postgresql://tune@db/trials", False),
        ("sqlite:////somewhere/x.db", False),
    ],
)
def test_no_password_is_in_a_study(folder: Path, url: str, refused: bool) -> None:
    path = write(folder, f"storage: '{url}'")
    if not refused:
        assert load_study(path).spec.search.storage == url
        return
    with pytest.raises(StudyError, match=r"study\.yaml:11: search\.storage: .*holds a password") as raised:
        load_study(path)
    assert "cret" not in str(raised.value)
