"""`tune ui` with Optuna's own dashboard, as a user opens it."""

import json
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from urllib.error import URLError

import pytest

from targets.ports import choose_ports
from tests.support.simulated_study import write_simulated_study
from tests.support.tune import tune

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a finished run."""
    folder = tmp_path_factory.mktemp("dashboard")
    ended = tune(write_simulated_study(folder), "--out", "run", cwd=folder)
    assert ended.returncode in (0, 5), ended.stderr
    return folder / "run"


def asked(url: str) -> dict[str, object]:
    """Return what is answered; it says that it listens a little before it does."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            return _asked_once(url)
        except URLError:
            time.sleep(0.05)
    raise AssertionError(f"{url} does not answer")


def _asked_once(url: str) -> dict[str, object]:
    with urllib.request.urlopen(url) as answer:
        found: dict[str, object] = json.load(answer)
    return found


def test_the_dashboard_serves_the_trials_of_the_run(run: Path) -> None:
    """The command is that of docs/commands/ui.md."""
    port = choose_ports({"http": None})["http"]
    command = [sys.executable, "-m", "tuner", "ui", str(run), "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stderr is not None
            assert process.stdout.readline() == f"http://localhost:{port}  (Ctrl-C ends it)\n"
            assert any("Listening on" in line for line in process.stderr), "it ended"
            studies = asked(f"http://localhost:{port}/api/studies")["study_summaries"]
            assert isinstance(studies, list)
            study = asked(f"http://localhost:{port}/api/studies/{studies[0]['study_id']}")
        finally:
            process.terminate()
    trials = study["trials"]
    assert isinstance(trials, list)
    stored = json.loads((run / "result.json").read_text())["trials"]
    assert len(trials) == len(stored) - 1, "the baseline is no trial of Optuna's"


def test_a_port_that_is_taken_is_named_with_what_to_do(run: Path) -> None:
    with socket.create_server(("localhost", 0)) as taken:
        port = taken.getsockname()[1]
        ended = tune("ui", run, "--port", port, cwd=run)
    assert ended.returncode == 2, ended.stderr
    assert f"port {port} cannot be used: Address already in use; give another one with --port" in ended.stderr
