"""The gate of two models on one real Triton: both workloads at once in every round, each with its own verdicts."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.pages import DOCS, blocks
from tests.support.triton_models import sleeper, write_model
from tests.support.tune import tune
from tuner.gate import opening
from tuner.gate.baseline import read_gate, read_measurement
from tuner.gate.document import GateResult, Measurement
from tuner.gate.hosts import HostsDiffer
from tuner.study.load import load_study
from tuner.wiring import prepare

pytestmark = pytest.mark.long

EXAMPLE = next(yaml.safe_load(one.text) for one in blocks(DOCS / "gate.md") if "chat: {throughput" in one.text)
"""What the example of several models in docs/gate.md has."""


def workload(model: str) -> dict[str, Any]:
    return {
        "model": model,
        "arrival": {"process": "closed", "concurrency": 2},
        "requests": {"source": "tensors", "count": 5},
        "timeout": "20 s",
    }


STUDY: dict[str, Any] = {
    "study": "pair",
    "target": {"kind": "triton", "repository": "models", "models": {"light": {}, "heavy": {}}},
    "workloads": {"shop": workload("light"), "chat": workload("heavy")},
    "space": {"models": {"light": {"instances": 1}}},
    "slo": {"p50": "5 s", "error_rate": "50%"},  # the loose bound lets a busy machine send some milliseconds late
    "objectives": ["maximize total_throughput"],
    "measure": {"warmup": "0.1 s", "max_warmup": "0.3 s", "window": "0.2 s", "max_window": "0.2 s"},
    "gate": EXAMPLE["gate"],
    "isolation": "none",
}
LIGHT_S, HEAVY_S = 0.005, 0.01
EXECUTES = f"time.sleep({HEAVY_S})"
COUNTED = "self.executions = getattr(self, 'executions', 0) + 1; "
EXECUTED = {
    "same": EXECUTES,
    "always": "time.sleep(0.1)",
    "first": f"{COUNTED}time.sleep(0.8 if self.executions <= 2 else {HEAVY_S})",
}
"""What the heavy model does for an execution: it waits, so that no CPU has to be free for it."""


def write_side(folder: Path, heavy: str, study: dict[str, Any] = STUDY) -> Path:
    write_model(folder / "models", "light", sleeper(LIGHT_S))
    config, code = sleeper(HEAVY_S)
    assert EXECUTES in code
    write_model(folder / "models", "heavy", (config, code.replace(EXECUTES, EXECUTED[heavy])))
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump(study, sort_keys=False))
    return path


def gate(folder: Path, *arguments: object, run: str = "run") -> tuple[int, GateResult]:
    ended = tune("gate", *arguments, "--out", run, cwd=folder)
    assert (folder / run / "gate.json").exists(), ended.stderr
    return ended.returncode, read_gate(folder / run)


def failed(result: GateResult) -> set[tuple[str, str]]:
    return {(one.workload, one.rule) for one in result.rules if one.state == "fail"}


def check_at_once(one: Measurement, deployments: int) -> None:
    """Check that each workload has its entry, and that what is told of all of them together is the same in both."""
    assert list(one.workloads) == ["shop", "chat"]
    shop, chat = (one.workloads[name].restarts for name in ("shop", "chat"))
    assert len(shop) == len(chat) >= deployments
    for ours, theirs in zip(shop, chat, strict=True):
        both = [ours.metrics, theirs.metrics]
        assert all(each["cold_start_s"] > 0 for each in both)
        total = sum(each["throughput_rps"] for each in both)
        for each in both:
            assert each["total_throughput_rps"] == pytest.approx(total, rel=1e-3)
            assert each["cpu_per_request_s"] * total == pytest.approx(each["server_cpu_cores"], rel=1e-3)
        assert both[0]["memory_bytes"] == both[1]["memory_bytes"] > 0


@pytest.mark.parametrize(
    ("heavy", "sides", "expected"),
    [
        ("always", "auto", {("chat", "throughput")}),
        ("first", "in_turn", {("chat", "cold_start")}),
    ],
)
def test_what_became_slower_of_one_model_fails_its_own_workload_and_no_other(
    heavy: str, sides: str, expected: set[tuple[str, str]], tmp_path: Path
) -> None:
    for name, how in (("old", "same"), ("new", heavy)):
        write_side(tmp_path / name, how)
    code, result = gate(tmp_path, "--ab", "old/study.yaml", "new/study.yaml", "--set", f"gate.sides={sides}")
    found = failed(result)
    assert expected <= found
    assert {name for name, _ in found} <= {name for name, _ in expected}
    assert code == 1
    assert {(one.workload, one.rule) for one in result.rules if one.kind != "slo"} == {
        (name, rule) for name in ("shop", "chat") for rule in ("throughput", "cold_start")
    }
    assert result.old is not None
    for one in (result.old, result.new):
        check_at_once(one, 3)


def test_a_baseline_has_an_entry_of_each_workload_and_a_slower_model_fails_against_it(tmp_path: Path) -> None:
    for name, how in (("old", "same"), ("new", "always")):
        write_side(tmp_path / name, how)
    short = ("--set", "gate.rounds=2")
    code, first = gate(tmp_path, "old/study.yaml", *short, run="first")
    assert code in (0, 5)  # 5: on a busy host a bound may be left undecided
    assert failed(first) == set()
    accepted = tune("gate", "accept", "first", "--to", "pair.json", "--why", "two models", cwd=tmp_path)
    assert accepted.returncode == 0, accepted.stderr
    check_at_once(read_measurement(tmp_path / "pair.json"), 5)
    code, second = gate(tmp_path, "new/study.yaml", "--against", "pair.json", *short, run="second")
    assert code == 1
    assert ("chat", "throughput") in failed(second)
    compared = tune("gate", "compare", "pair.json", "second", "--json", cwd=tmp_path)
    assert compared.returncode == 1, compared.stderr
    assert ("chat", "throughput") in failed(GateResult.model_validate_json(compared.stdout))


def test_a_server_of_several_models_is_not_compared_with_one_of_a_single_model(tmp_path: Path) -> None:
    changed = {"model": None, "arrival": {"process": "closed"}}
    single = {
        "target": {"kind": "triton", "repository": "models", "model": "heavy"},
        "workloads": {name: {**one, **changed} for name, one in STUDY["workloads"].items()},
        "space": {"instances": 1, "concurrency": 2},
        "objectives": ["maximize throughput"],
    }
    paths = [write_side(tmp_path / name, "same", {**STUDY, **said}) for name, said in (("old", single), ("new", {}))]
    sides = [(str(path), prepare(load_study(path), path.with_name("log.txt"))) for path in paths]
    with (
        pytest.raises(HostsDiffer, match="one side measures its workloads at once, the other one after the other"),
        opening.opened("ab", sides, tmp_path, None, ["workload"]),
    ):
        raise AssertionError("it began")
