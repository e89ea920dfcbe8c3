"""Where the servers of two sides are: two, and not one; beside one another, or not; started anew, or not."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from targets.ports import free_port
from targets.process import tree_of
from tests.conftest import DIGITS
from tests.support.command_targets import COMMAND
from tests.support.simulated_study import write_simulated_study
from tuner.gate import opening, places
from tuner.gate.running import Gate
from tuner.study.load import Study, load_study
from tuner.study.source import StudyError
from tuner.wiring import prepare

pytestmark = pytest.mark.long

GATE = {"concurrency": 2, "rounds": 2, "round": "60 ms"}
KSERVE = {"kind": "kserve", "url": "http://127.0.0.1:9000", "model": "m"}
OPENAI = {"kind": "openai", "url": "http://127.0.0.1:9000", "model": "m"}
FOUND = {"kind": "command", "url": "http://127.0.0.1:9000", "request": {"path": "/predict"}}
TRITON = {"kind": "triton", "launch": "remote", "url": "http://127.0.0.1:9000", "model": "digits"}
PROMPTS = {"source": "prompts", "path": "prompts.txt"}


def study_of(folder: Path, target: dict[str, Any], **sections: object) -> Study:
    """A study of a target, with one workload."""
    folder.mkdir(exist_ok=True)
    np.savez(folder / "requests.npz", INPUT=np.zeros((20, 4)))
    (folder / "prompts.txt").write_text("a prompt\n")
    requests = PROMPTS if target["kind"] == "openai" else {"source": "dataset", "path": "requests.npz"}
    made = {
        "study": "two",
        "target": target,
        "workloads": {"steady": {"arrival": {"process": "closed"}, "requests": requests}},
        "space": {"concurrency": [2]},
        "slo": {"p99": "900 ms"},
        "gate": GATE,
        **sections,
    }
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump(made, sort_keys=False))
    return load_study(path)


def both(folder: Path, old: dict[str, Any], new: dict[str, Any]) -> tuple[Study, Study]:
    return study_of(folder / "old", old), study_of(folder / "new", new)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (KSERVE, KSERVE),
        (KSERVE, {**KSERVE, "url": "http://LOCALHOST:9000/v2/", "apply_timeout": "7 s"}),
        (OPENAI, {**OPENAI, "url": "http://localhost:9000/v1"}),
        (FOUND, {**FOUND, "side_by_side": False, "answer": {"ok": [200, 201]}}),
        ({**FOUND, "url": "http://127.0.0.1"}, {**FOUND, "url": "http://127.0.0.1:80"}),
    ],
)
def test_one_running_server_that_is_asked_in_one_way_is_not_compared_with_itself(
    old: dict[str, Any], new: dict[str, Any], tmp_path: Path
) -> None:
    with pytest.raises(StudyError) as refused:
        places.told_apart(*both(tmp_path, old, new))
    said = str(refused.value)
    assert said.startswith(str(tmp_path / "new" / "study.yaml:"))
    assert ": target.url: 127.0.0.1:" in said
    assert "is the server of the old side, too; both sides ask it in the same way" in said
    assert said.endswith("start a server for each side, with a URL of its own")


@pytest.mark.parametrize(
    "other",
    [
        {},
        {"model": "other"},
        {"headers": {"x-side": "new"}},
        {"url": "http://127.0.0.1:9002", "grpc_url": "grpc://localhost:9001", "protocol": "grpc"},
    ],
)
def test_two_sides_do_not_load_their_configurations_in_one_running_triton(
    other: dict[str, Any], tmp_path: Path
) -> None:
    old = {**TRITON, "grpc_url": "grpc://127.0.0.1:9001"}
    with pytest.raises(StudyError, match="each side loads its configuration in it, in place of the other's"):
        places.told_apart(*both(tmp_path, old, {**TRITON, **other}))


def test_a_server_that_triton_loads_models_in_is_no_other_sides_either(tmp_path: Path) -> None:
    for one, two in ((TRITON, KSERVE), (KSERVE, TRITON)):
        with pytest.raises(StudyError, match="is the server of the old side, too"):
            places.told_apart(*both(tmp_path, one, {**two, "model": "digits"}))


@pytest.mark.parametrize(
    ("old", "new", "note"),
    [
        (KSERVE, {**KSERVE, "url": "http://127.0.0.1:9001"}, None),
        (KSERVE, {**KSERVE, "url": "http://127.0.0.1:9000/there"}, None),
        (TRITON, {**TRITON, "url": "http://127.0.0.1:9001"}, None),
        (KSERVE, {**KSERVE, "model": "n", "headers": {"x-side": "new"}}, "`target.model`, `target.headers`"),
        (OPENAI, {**OPENAI, "temperature": 0.5}, "`target.temperature`"),
        (FOUND, {**FOUND, "request": {"path": "/v7"}}, "`target.request`"),
        ({"kind": "simulated", "model": "queue", "repository": "models"}, KSERVE, None),
    ],
)
def test_servers_of_their_own_and_what_is_asked_for_otherwise_are_compared(
    old: dict[str, Any], new: dict[str, Any], note: str | None, tmp_path: Path
) -> None:
    told = places.told_apart(*both(tmp_path, old, new))
    expected = f"both sides ask the same server, 127.0.0.1:9000: they differ in {note} alone"
    assert told == ([] if note is None else [expected])


def test_a_gate_on_one_running_server_is_refused_before_it_is_asked(tmp_path: Path) -> None:
    sides = [prepare(one, tmp_path / "log.txt") for one in both(tmp_path, KSERVE, KSERVE)]
    with pytest.raises(StudyError, match="it would be compared with itself"):
        opening.measured_at("ab", sides, None)
    assert opening.measured_at("alone", sides[1:], None)


def gate_of(folder: Path, *studies: Study) -> Any:
    sides = [(name, prepare(one, folder / f"{name}.txt")) for name, one in zip(("old", "new"), studies, strict=False)]
    return opening.opened("ab" if len(sides) > 1 else "alone", sides, folder, None, [])


def seen(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, frozenset[int]]]:
    """Note, at each deployment, which processes of servers every side has."""
    found: list[dict[str, frozenset[int]]] = []
    for side in gate.rounds.sides:
        deploy = side.trier.deploy

        def deploying(config: Any, alias: str, deploy: Any = deploy, label: str = side.label) -> Any:
            made = deploy(config, alias)
            running = frozenset(pid for earlier in found for pid in earlier[next(iter(earlier))] if tree_of(pid))
            found.append({label: frozenset(made.processes()), "before": running})
            return made

        monkeypatch.setattr(side.trier, "deploy", deploying)
    return found


def test_every_redeployment_is_on_a_server_that_was_started_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = load_study(write_simulated_study(tmp_path), ["gate={concurrency: 2, rounds: 2, round: 60 ms}"])
    with gate_of(tmp_path, study, study) as gate:
        found = seen(gate, monkeypatch)
        for _ in range(3):
            gate.rounds.redeploy()
        assert gate.rounds.notes == []
    assert [one["before"] for one in found[::2]] == [frozenset()] * 3
    assert all(one["before"] for one in found[1::2])
    for label in ("old", "new"):
        processes = [one[label] for one in found if label in one]
        assert [len(one) for one in processes] == [1, 1, 1]
        assert len(frozenset.union(*processes)) == 3


def ports(sides: Sequence[Study]) -> list[int | None]:
    return [one.spec.target.http_port for one in sides]  # type: ignore[attr-defined]


def test_the_new_sides_server_has_a_free_port_where_the_study_names_one_for_both(tmp_path: Path) -> None:
    path, port = write_simulated_study(tmp_path), free_port(None)
    settings = ["gate={concurrency: 2, rounds: 2, round: 60 ms}", f"target.http_port={port}"]
    study = load_study(path, settings)
    own, notes = places.beside(study, study)
    assert (ports([study, own]), len(notes)) == ([port, None], 1)
    assert notes[0].startswith(f"`target.http_port: {port}`: the old side's server has it in this run; ")
    other = load_study(path, [settings[0], f"target.http_port={port + 1}"])
    assert places.beside(study, other) == (other, [])
    with gate_of(tmp_path, study, own) as gate:
        gate.rounds.redeploy()
        gate.rounds.redeploy()
        (old, new) = (side.trier.target.environment() for side in gate.rounds.sides)
        assert old == new
        assert not gate.rounds.in_turn


@pytest.mark.parametrize("given", [{"side_by_side": False}, {"port": 0}])
def test_servers_that_may_not_run_at_once_do_not(
    given: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fixed = {"port": free_port(None)} if "port" in given else given
    command = {"kind": "command", "command": COMMAND, "request": {"path": "/x", "method": "GET"}, **fixed}
    with gate_of(tmp_path, *both(tmp_path, command, command)) as gate:
        assert gate.rounds.in_turn
        (note,) = gate.rounds.notes
        assert note.startswith(
            "only one side was loaded at a time: a server of old may not run beside another (`target."
        )
        found = seen(gate, monkeypatch)
        gate.rounds.redeploy()
        gate.rounds.redeploy()
    assert [next(iter(one)) for one in found] == ["old", "new", "new", "old"]
    assert [one["before"] for one in found] == [frozenset()] * 4


def test_a_triton_is_started_anew_for_every_redeployment_on_the_port_that_it_was_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    triton = {"kind": "triton", "model": "digits", "repository": str(DIGITS / "models"), "http_port": free_port(None)}
    requests = {"source": "dataset", "path": str(DIGITS / "test.npz")}
    workloads = {"steady": {"arrival": {"process": "closed"}, "requests": requests, "timeout": "20 s"}}
    quick = {"warmup": "0.1 s", "max_warmup": "0.2 s", "window": "0.2 s", "max_window": "0.2 s"}
    study = study_of(tmp_path / "old", triton, workloads=workloads, measure=quick)
    own, _ = places.beside(study, study)
    assert ports([own]) == [None]
    with gate_of(tmp_path, study, own) as gate:
        found = seen(gate, monkeypatch)
        gate.rounds.redeploy()
        gate.rounds.redeploy()
        assert not gate.rounds.in_turn
    for label in ("old", "new"):
        first, second = (one[label] for one in found if label in one)
        assert first
        assert not first & second


def test_what_runs_elsewhere_is_told_as_never_restarted(tmp_path: Path) -> None:
    sides = [
        (name, prepare(one, tmp_path / "log.txt"))
        for name, one in zip("ab", both(tmp_path, FOUND, KSERVE), strict=True)
    ]
    assert places.never_restarted(sides) == [
        "a and b: the server runs elsewhere and is not restarted: what differs by a restart is in no interval"
    ]
    study = load_study(write_simulated_study(tmp_path))
    assert places.never_restarted([("c", prepare(study, tmp_path / "log.txt"))]) == []
