"""docs/targets.md: the target that it builds keeps the contract, and is found without a change to Paretune."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.long

ROOT = Path(__file__).parents[2]


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """The files of the page, and its entry point as an installed package has it."""
    page = (ROOT / "docs" / "targets.md").read_text()
    for name, text in zip(
        ("slots_server.py", "slots_target.py", "test_slots.py"),
        re.findall(r"```python\n(.*?)```", page, re.DOTALL),
        strict=True,
    ):
        (tmp_path / name).write_text(text)
    (toml,) = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    line = toml.splitlines()[1].replace('"', "")
    info = tmp_path / "slots-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: slots\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[paretune.targets]\n{line}\n")
    return tmp_path


def run(package: Path, *command: str) -> str:
    environment = {**os.environ, "PYTHONPATH": f"{package}{os.pathsep}{ROOT}", "NO_COLOR": "1", "COLUMNS": "200"}
    ended = subprocess.run(
        [sys.executable, *command], cwd=package, env=environment, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def test_the_target_of_the_page_keeps_the_contract(package: Path) -> None:
    said = run(package, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_slots.py")
    assert re.search(r"\d\d passed", said)
    assert "skipped" not in said


def test_the_target_of_the_page_is_found_by_its_entry_point(package: Path) -> None:
    assert "requests that are served at the same time" in run(package, "-m", "tuner", "knobs", "slots")


def test_a_study_of_the_target_of_the_page_finds_a_better_configuration(package: Path) -> None:
    (package / "slots.toml").write_text("slots = 1\n")
    program = "import numpy as np; np.savez('requests.npz', X=np.zeros((8, 1)))"
    run(package, "-c", program)
    (package / "study.yaml").write_text(
        """
study: slots
target: {kind: slots, config: slots.toml}
workloads: {steady: {arrival: {process: closed}, requests: {source: dataset, path: requests.npz}}}
space: {slots: [1, 4], concurrency: [4]}
slo: {p90: 5 s, error_rate: 5%}
search: {budget: {trials: 1}}
measure: {window: 0.2 s, max_window: 0.4 s, max_warmup: 0.3 s}
confirm: {redeployments: 2, max_redeployments: 8, rounds: 2, round: 0.4 s, candidates: 1}
"""
    )
    said = run(package, "-m", "tuner", "study.yaml", "--quiet")
    assert "Best: trial 1, SLO met" in said, said
    assert "slots 4" in said
    assert "slots = 4" in (package / "runs" / "slots" / "latest" / "best" / "slots.toml").read_text()
