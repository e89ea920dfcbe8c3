"""A locustfile that cannot be used ends a command with the reason and the file's line."""

import json
from pathlib import Path

import pytest

from tests.support.locustfiles import ASKING, RAISING
from tests.support.tune import tune

pytestmark = pytest.mark.long

STUDY = """
study: shop
target: {kind: simulated, model: queue, repository: models}
workloads:
  shop: {locustfile: shop.py, users: 2}
space:
  max_batch_size: [1]
slo: {p99: 950 ms}
measure: {warmup: 0.1 s, max_warmup: 0.1 s, window: 0.1 s, max_window: 0.1 s}
"""


def write(folder: Path, locustfile: str) -> None:
    (folder / "models" / "queue").mkdir(parents=True)
    (folder / "models" / "queue" / "queue.json").write_text(json.dumps({"fixed_ms": 4.0, "each_ms": 0.5}))
    (folder / "shop.py").write_text(locustfile)
    (folder / "study.yaml").write_text(STUDY)


def test_a_locustfile_whose_tasks_raise_ends_with_the_reason(tmp_path: Path) -> None:
    write(tmp_path, RAISING)
    ended = tune("bench", "study.yaml", cwd=tmp_path)
    assert ended.returncode == 5
    assert "shop.py made no request: shop.py:11: in ask KeyError: 'id'" in ended.stderr
    assert "Traceback" not in ended.stdout + ended.stderr


def test_a_locustfile_that_cannot_be_imported_is_an_error_of_the_study(tmp_path: Path) -> None:
    write(tmp_path, "import no_such_module\n")
    ended = tune("study.yaml", cwd=tmp_path)
    assert ended.returncode == 2
    assert "study.yaml:5: workloads.shop.locustfile: shop.py:1: ModuleNotFoundError: No module named" in ended.stderr
    assert "Traceback" not in ended.stdout + ended.stderr


def test_agents_take_no_share_of_a_locustfile(tmp_path: Path) -> None:
    write(tmp_path, ASKING)
    for command in (["study.yaml"], ["bench", "study.yaml"], ["compare", "study.yaml"], ["gate", "study.yaml"]):
        ended = tune(*command, "--agents", "1", cwd=tmp_path, PARETUNE_TOKEN="one that nobody guesses")
        assert ended.returncode == 2
        assert "study.yaml:5: workloads.shop.locustfile: the users of a locustfile run on this host" in ended.stderr


def test_a_gate_says_that_a_locustfile_has_users_of_its_own(tmp_path: Path) -> None:
    write(tmp_path, ASKING)
    ended = tune("gate", "study.yaml", "--set", "gate.users=20", cwd=tmp_path)
    assert ended.returncode == 2
    said = "gate.users: no workload takes it: shop has `users` of its own; change `workloads.shop.users` in its place"
    assert said in ended.stderr
