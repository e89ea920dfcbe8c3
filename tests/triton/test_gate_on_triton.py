"""The gate on a real Triton: a slower model is caught, one that only starts slowly is called that."""

import shutil
from pathlib import Path

import pytest
import yaml

from tests.support.pages import DOCS, blocks
from tests.support.tune import tune
from tuner.gate.baseline import read_gate
from tuner.gate.document import GateResult

pytestmark = pytest.mark.long

STUDIES = Path(__file__).parent.parent.parent / "studies"
EXAMPLE = next(yaml.safe_load(one.text) for one in blocks(DOCS / "gate.md") if one.text.startswith("measure: "))
"""What the example of docs/gate.md has in both studies."""
STUDY: dict[str, object] = {
    "study": "digits",
    "target": {"kind": "triton", "model": "digits", "repository": "models"},
    "workloads": {
        "steady": {
            "arrival": {"process": "closed"},
            "requests": {"source": "dataset", "path": "test.npz"},
            "timeout": "20 s",
        }
    },
    "space": {"concurrency": 16},
    "slo": {"p50": "5 s", "error_rate": "50%"},  # the loose bound lets a busy machine send some milliseconds late
    "measure": {**EXAMPLE["measure"], "window": "0.2 s", "max_window": "0.2 s"},
    "gate": EXAMPLE["gate"],
}
SLEEPS = {
    "always": "time.sleep(0.06)",
    "first": "time.sleep(0.8 if self.executions <= 2 else 0.0)",
    "seldom": "time.sleep(0.2 if self.executions % 50 == 0 else 0.0)",
}
"""What is added to every execution: it waits, so that no CPU has to be free for it."""


STEADY = STUDY["workloads"]["steady"]  # type: ignore[index]
OPEN = STUDY | {
    "workloads": {"steady": {**STEADY, "arrival": {"process": "poisson", "rate": "40/s"}}},
    "space": {},
    "slo": {"error_rate": "50%", "p99": "5 s"},
    "gate": {
        "throughput": "-40%",
        "p50": "+100%",
        "p99": "+100%",
        "redeployments": 4,
        "rounds": 4,
        "round": "500 ms",
        "time": "60 s",
    },
}
"""An open loop far below the capacity: only the slow requests move, and those that wait behind them.

The loose bound lets a busy machine send some milliseconds late.
"""


def write_side(folder: Path, slow: str | None, asked: dict[str, object]) -> Path:
    shutil.copytree(STUDIES / "digits" / "models", folder / "models")
    shutil.copy(STUDIES / "digits" / "test.npz", folder / "test.npz")
    if slow is not None:
        model = folder / "models" / "digits" / "1" / "model.py"
        text = model.read_text()
        head = "        images = ["
        assert head in text
        counted = f"        self.executions = getattr(self, 'executions', 0) + 1\n        {SLEEPS[slow]}\n{head}"
        model.write_text("import time\n" + text.replace(head, counted))
    study = folder / "study.yaml"
    study.write_text(yaml.safe_dump(asked, sort_keys=False))
    return study


def gate(folder: Path, slow: str, asked: dict[str, object]) -> tuple[int, GateResult]:
    for name, how in (("old", None), ("new", slow)):
        (folder / name).mkdir()
        write_side(folder / name, how, asked)
    ended = tune("gate", "--ab", "old/study.yaml", "new/study.yaml", "--out", "run", cwd=folder)
    assert (folder / "run" / "gate.json").exists(), ended.stderr
    return ended.returncode, read_gate(folder / "run")


def states(result: GateResult) -> dict[str, str]:
    return {one.rule: one.state for one in result.rules if one.kind != "slo"}


@pytest.mark.parametrize(
    ("slow", "expected", "message"),
    [
        ("always", {"throughput": "fail"}, "a regression: "),
        ("first", {"cold_start": "fail"}, "a slower cold start, the steady state has not failed: steady cold_start"),
    ],
)
def test_the_new_model_fails_for_what_became_slower_and_for_nothing_else(
    slow: str, expected: dict[str, str], message: str, tmp_path: Path
) -> None:
    code, result = gate(tmp_path, slow, STUDY)
    assert code == 1
    assert result.message.startswith(message)
    found = states(result)
    assert found | expected == found
    assert found["accuracy"] == "pass"


def test_one_slow_request_in_fifty_is_found_by_the_p99_where_throughput_and_p50_do_not_move(tmp_path: Path) -> None:
    code, result = gate(tmp_path, "seldom", OPEN)
    assert (code, result.message) == (1, "a regression: steady p99")
    found = states(result)
    assert found["p99"] == "fail"
    assert {found["throughput"], found["p50"]} <= {"pass", "inconclusive"}
