"""`tune` on a server of the user's own, as the page of the command target says it."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import jsonschema
import psutil
import pytest

from targets.ports import free_port
from tests.support.command_page import write_study
from tests.support.tune import tune
from tuner.results import Result, read_result, result_schema

pytestmark = pytest.mark.long

SHORT = """
measure: {warmup: 0.1 s, max_warmup: 0.2 s, window: 0.3 s, max_window: 0.6 s}
confirm: {candidates: 2, redeployments: 2, max_redeployments: 4, rounds: 2, round: 0.2 s}
"""
LONGER = {
    "{p99: 50 ms, error_rate: 1%, queue_depth: 20}": "{p90: 900 ms, error_rate: 5%, queue_depth: 500}",
    "{trials: 20, time: 3 min}": "{trials: 5, time: 3 min}, start: [{workers: 4, window: 2 ms}]",
    "concurrency: {low: 1, high: 32, scale: log2}": "concurrency: [8, 32]",
}
"""The page's own bounds are for a quiet machine and its budget is for an answer; the tests want neither.

The first trial has other values of both knobs, whatever the search proposes then.
"""


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, "subprocess.CompletedProcess[str]"]:
    """One run of the page's study, short, for all tests that look at what came of it."""
    folder = tmp_path_factory.mktemp("finished")
    study = write_study(folder)
    text = study.read_text()
    for before, after in LONGER.items():
        assert before in text
        text = text.replace(before, after)
    study.write_text(text + SHORT)
    return folder, tune("study.yaml", cwd=folder)


def result_of(folder: Path) -> Result:
    return read_result(folder / "runs" / "window" / "latest")


def test_the_pages_study_runs_to_its_end(finished: tuple[Path, "subprocess.CompletedProcess[str]"]) -> None:
    folder, ended = finished
    assert ended.returncode in (0, 5), ended.stderr
    document = json.loads((folder / "runs/window/latest/result.json").read_text())
    jsonschema.validate(document, result_schema())
    assert document["state"] == "done"
    assert document["environment"]["server"].startswith("python server.py --port")


def test_trials_of_different_knobs_are_measured_and_complete(
    finished: tuple[Path, "subprocess.CompletedProcess[str]"],
) -> None:
    complete = [trial for trial in result_of(finished[0]).trials if trial.state == "complete"]
    assert len({trial.config["workers"] for trial in complete}) > 1
    assert len({trial.config["window"] for trial in complete}) > 1
    for point in (point for trial in complete for point in trial.points):
        assert point.outcomes["ok"] > 0
        assert point.server is not None
        # the server's own window ends a moment later, on a busy machine a long one
        answered = point.metrics["throughput_rps"].value * point.server.window_s
        assert point.server.requests == pytest.approx(answered, rel=0.3, abs=70)
        assert 0 < point.server.executions <= point.server.requests
        assert point.server.mean_s["queue"] < point.metrics["latency_p99_s"].value


def test_the_servers_own_metric_has_a_verdict_on_every_point(
    finished: tuple[Path, "subprocess.CompletedProcess[str]"],
) -> None:
    for trial in result_of(finished[0]).trials:
        for point in trial.points:
            assert point.metrics["queue_depth"].value >= 0
            assert point.verdicts["queue_depth"] == "met"


def test_accuracy_is_measured_where_the_answer_says_it(
    finished: tuple[Path, "subprocess.CompletedProcess[str]"],
) -> None:
    points = [point for trial in result_of(finished[0]).trials for point in trial.points]
    assert {point.metrics["accuracy"].value for point in points} == {1.0}


def test_the_exported_script_starts_the_server_with_the_best_values(
    finished: tuple[Path, "subprocess.CompletedProcess[str]"],
) -> None:
    """As docs/command.md starts it."""
    folder, ended = finished
    best = result_of(folder).best
    assert best is not None, ended.stderr
    assert best.export_verified
    port = free_port(None)
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "PORT": str(port)}
    server = subprocess.Popen(
        ["sh", "runs/window/latest/best/start.sh"], cwd=folder, env=environment, start_new_session=True
    )
    try:
        assert answers(port) == b"well"
        arguments = Path(f"/proc/{server.pid}/cmdline").read_text().split("\0")
        assert arguments[5] == str(best.config["workers"])
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def answers(port: int) -> bytes:
    deadline = time.monotonic() + 30
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5) as answer:
                return bytes(answer.read())
        except OSError:
            assert time.monotonic() < deadline, "the script starts the server"
            time.sleep(0.05)


def test_the_export_becomes_the_next_baseline(finished: tuple[Path, "subprocess.CompletedProcess[str]"]) -> None:
    folder, _ = finished
    best = result_of(folder).best
    assert best is not None
    exported = tune("export", "runs/window/latest", "--to", ".", cwd=folder)
    assert exported.returncode == 0, exported.stderr
    assert (folder / "start.sh").is_file()
    ended = tune("bench", "study.yaml", "--json", "--set", "target.values=knobs.yaml", cwd=folder)
    assert ended.returncode in (0, 5), ended.stderr
    config = json.loads(ended.stdout)["config"]
    assert {name: config[name] for name in ("workers", "window")} == {
        name: best.config[name] for name in ("workers", "window")
    }


def test_nothing_runs_on_when_the_run_has_ended(finished: tuple[Path, "subprocess.CompletedProcess[str]"]) -> None:
    folder, _ = finished
    left = [one for one in psutil.process_iter(["cwd", "cmdline"]) if one.info["cwd"] == str(folder)]
    assert left == []
    assert not list((folder / "runs" / "window" / "latest").glob("log.txt.*"))
