"""A gate that comes to no end writes every file all the same, and they say what ended it."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from xml.etree import ElementTree

import psutil
import pytest

from tests.support.junit import violations
from tests.support.simulated_study import write_gated_study
from tests.support.tune import tune
from tuner.gate.baseline import MEASURED, BaselineError, accept, read_gate
from tuner.gate.document import GateResult

pytestmark = pytest.mark.long

FILES = {"gate.json", "gate.html", "gate.md", "junit.xml"}
LONG = ("--set", "gate.restarts=500", "--set", "gate.time=1 h")
PATIENCE_S = 120.0


def begun(folder: Path) -> "subprocess.Popen[str]":
    """A gate of one side that would take long, once its server runs."""
    study = write_gated_study(folder)
    gate = subprocess.Popen(
        [sys.executable, "-m", "tuner", "gate", study, *LONG, "--out", "run", "--junit", "asked.xml"],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 - no threads run here
    )
    until = time.monotonic() + PATIENCE_S
    while not servers(gate):
        assert time.monotonic() < until
        assert gate.poll() is None, gate.communicate()
        time.sleep(0.05)
    return gate


def servers(gate: "subprocess.Popen[str]") -> list[psutil.Process]:
    """The servers of a gate that run now."""
    try:
        family = psutil.Process(gate.pid).children(recursive=True)
        return [one for one in family if "targets.simulated.server" in one.cmdline()]
    except psutil.NoSuchProcess:
        return []


def told(folder: Path) -> GateResult:
    """What the run's files say, each of which is there and has it."""
    run = folder / "run"
    assert {one.name for one in run.iterdir()} >= FILES
    assert not (run / MEASURED).exists()
    result = read_gate(run)
    assert result.state == "unfinished"
    (suite,) = ElementTree.fromstring((run / "junit.xml").read_text())
    (error,) = suite.iter("error")
    assert (error.get("type"), error.get("message")) == ("unfinished", result.message)
    assert violations((run / "junit.xml").read_text()) == []
    for name in ("gate.html", "gate.md"):
        assert "NOT FINISHED: " in (run / name).read_text()
    with pytest.raises(BaselineError, match=r"this gate was not finished: .*; measure again"):
        accept(run, folder / "baseline.json", by=None, why="")
    return result


def test_a_server_that_dies_is_told_in_every_file(tmp_path: Path) -> None:
    gate = begun(tmp_path)
    until = time.monotonic() + PATIENCE_S
    while gate.poll() is None:
        assert time.monotonic() < until
        for server in servers(gate):
            server.kill()
        time.sleep(0.05)
    stdout, stderr = gate.communicate()
    assert gate.returncode == 3, stderr
    result = told(tmp_path)
    assert result.exit_code == 3
    assert "exit code -9" in result.message
    assert f"tune: {result.message}" in stderr
    assert "NOT FINISHED: " in stdout
    assert (tmp_path / "asked.xml").read_text() == (tmp_path / "run" / "junit.xml").read_text()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_gate_that_is_interrupted_is_told_in_every_file(number: signal.Signals, tmp_path: Path) -> None:
    gate = begun(tmp_path)
    gate.send_signal(number)
    _, stderr = gate.communicate(timeout=PATIENCE_S)
    assert gate.returncode == 130, stderr
    result = told(tmp_path)
    assert (result.exit_code, result.message) == (130, "interrupted")
    assert "tune: interrupted" in stderr
    assert "Traceback" not in stderr


def test_a_release_that_cannot_be_started_is_told_in_every_file(tmp_path: Path) -> None:
    study = write_gated_study(tmp_path)
    (tmp_path / "models" / "queue" / "queue.json").write_text("{")
    ended = tune("gate", "--ab", study, study, "--out", "run", "--json", cwd=tmp_path)
    assert ended.returncode == 3, ended.stderr
    result = told(tmp_path)
    assert "queue.json" in result.message
    assert f"tune: {result.message}" in " ".join(ended.stderr.split())
    assert json.loads(ended.stdout)["state"] == "unfinished"
    assert result.old is not None
    assert (result.old.workloads, result.new.workloads) == ({}, {})
