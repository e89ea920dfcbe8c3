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
STUDY = {
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
    "slo": {"error_rate": "50%"},
    "measure": {**EXAMPLE["measure"], "window": "0.2 s", "max_window": "0.2 s"},
    "gate": EXAMPLE["gate"],
}
SLEEPS = {"always": "time.sleep(0.06)", "first": "time.sleep(0.8 if self.executions <= 2 else 0.0)"}
"""What is added to every execution: it waits, so that no CPU has to be free for it."""


def write_side(folder: Path, slow: str | None) -> Path:
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
    study.write_text(yaml.safe_dump(STUDY, sort_keys=False))
    return study


def gate(folder: Path, slow: str) -> tuple[int, GateResult]:
    for name, how in (("old", None), ("new", slow)):
        (folder / name).mkdir()
        write_side(folder / name, how)
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
    code, result = gate(tmp_path, slow)
    assert code == 1
    assert result.message.startswith(message)
    found = states(result)
    assert found | expected == found
    assert found["accuracy"] == "pass"
