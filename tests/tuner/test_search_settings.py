"""What a study may ask of the search, checked before anything is started."""

import json
from pathlib import Path

import numpy as np
import pytest

from tuner.study.load import load_study
from tuner.study.source import StudyError
from tuner.wiring import prepare, simulation_of

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
    ],
)
def test_why_a_server_is_not_simulated_is_said(folder: Path, search: str, objectives: str, missing: str) -> None:
    prepared = prepare(load_study(write(folder, search, objectives)), folder / "log.txt")
    simulation = simulation_of(prepared)
    assert missing in simulation.missing
    assert (simulation.twin is None) == bool(missing)


def test_a_database_that_cannot_be_reached_is_no_bug_of_ours(folder: Path) -> None:
    from tests.support.tune import tune

    write(folder, "storage: 'sqlite:///no/such/place/x.db'")
    ended = tune("study.yaml", cwd=folder)
    assert ended.returncode == 2, ended.stderr
    assert "search.storage: sqlite:///no/such/place/x.db cannot be used" in ended.stderr
    assert "Traceback" not in ended.stderr
