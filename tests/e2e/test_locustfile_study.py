"""`tune` with a locustfile in place of requests: the users are searched, and there is an answer."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.locustfiles import ASKING, RAISING
from tests.support.tune import tune

STUDY = """
study: shop
target: {kind: simulated, model: queue, repository: models}
workloads:
  shop:
    locustfile: shop.py
    classes:
      ask: {slo: {p99: 900 ms}}
space:
  max_batch_size: [1, 8]
  users: [2, 4]
slo: {p99: 950 ms, error_rate: 10%}
objectives: [maximize throughput]
search: {sampler: grid, budget: {trials: 4, time: 5 min, certain: 100%}}
measure: {warmup: 0.1 s, max_warmup: 0.2 s, window: 0.2 s, max_window: 0.3 s, confidence: 90%}
confirm: {candidates: 1, redeployments: 2, max_redeployments: 2, rounds: 2, round: 0.2 s}
"""


def write(folder: Path, locustfile: str = ASKING) -> None:
    (folder / "models" / "queue").mkdir(parents=True)
    queue = {"max_batch_size": 1, "max_queue_delay_us": 0, "instances": 1, "fixed_ms": 4.0, "each_ms": 0.5}
    (folder / "models" / "queue" / "queue.json").write_text(json.dumps(queue))
    (folder / "shop.py").write_text(locustfile)
    (folder / "study.yaml").write_text(STUDY)


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("study")
    write(folder)
    ended = tune("study.yaml", "--out", "run", cwd=folder)
    assert ended.returncode in (0, 5), ended.stderr  # so short a confirmation may leave the SLO undecided
    assert "Traceback" not in ended.stdout + ended.stderr
    result: dict[str, Any] = json.loads((folder / "run" / "result.json").read_text())
    assert (folder / "run" / "locust.log").is_file()
    assert (folder / "run" / "report.html").is_file()
    return result


def test_users_are_searched_and_there_is_an_answer(told: dict[str, Any]) -> None:
    tried = {(trial["config"]["max_batch_size"], trial["config"]["users"]) for trial in told["trials"][1:]}
    assert tried == {(1, 2), (1, 4), (8, 2), (8, 4)}
    assert told["best"]["load"]["mode"] == "users"
    assert told["best"]["config"]["users"] == told["best"]["load"]["level"]


def test_every_point_has_the_classes_and_the_servers_statistics(told: dict[str, Any]) -> None:
    for trial in told["trials"]:
        assert trial["state"] == "complete", trial["reason"]
        by_name = {point["workload"]: point for point in trial["points"]}
        assert list(by_name) == ["shop", "shop.ask", "shop.other"]
        assert by_name["shop"]["server"]["requests"] > 0
        asked, rest = by_name["shop.ask"], by_name["shop.other"]
        assert sum(asked["outcomes"].values()) + sum(rest["outcomes"].values()) == sum(
            by_name["shop"]["outcomes"].values()
        )
        assert asked["metrics"]["latency_p99_s"]["value"] > 0


def test_a_locustfile_whose_tasks_raise_ends_with_the_reason(tmp_path: Path) -> None:
    write(tmp_path, RAISING)
    ended = tune("bench", "study.yaml", "--set", "space.users=2", "--set", "space.max_batch_size=1", cwd=tmp_path)
    assert ended.returncode == 5
    assert "shop.py made no request: shop.py:11: in ask KeyError: 'id'" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_locustfile_that_cannot_be_imported_is_an_error_of_the_study(tmp_path: Path) -> None:
    write(tmp_path, "import no_such_module\n")
    ended = tune("study.yaml", cwd=tmp_path)
    assert ended.returncode == 2
    assert "study.yaml:6: workloads.shop.locustfile: shop.py:1: ModuleNotFoundError" in ended.stderr
    assert "Traceback" not in ended.stderr
