"""What a person or a program sees of a run: the view on a terminal, lines and events in a pipe, and Ctrl-C."""

import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.support.simulated_study import write_simulated_study
from tests.support.terminal import Screen, Session, screens
from tests.support.tune import tune
from tuner.results import read_result

pytestmark = pytest.mark.long

DECIDED = (0, 5)
"""So short a confirmation may leave an SLO undecided."""


def queue_servers(folder: Path) -> list[psutil.Process]:
    """Return the processes that runs in a folder have left."""
    found = []
    for process in psutil.process_iter(["cmdline", "cwd"]):
        line = " ".join(process.info["cmdline"] or [])
        if process.info["cwd"] == str(folder) and ("targets." in line or "tuner.load" in line):
            found.append(process)
    return found


def nothing_left(folder: Path) -> bool:
    return not psutil.wait_procs(queue_servers(folder), timeout=15)[1]


@pytest.mark.parametrize("columns", [80, 40])
def test_a_terminal_shows_what_is_done_and_what_is_left(columns: int, tmp_path: Path) -> None:
    session = Session([write_simulated_study(tmp_path), "--json"], tmp_path, columns, tmp_path / "out.json")
    written = session.rest()
    assert session.process.returncode in DECIDED, written
    seen = screens(written, columns)
    views = [screen[-4:] for screen in seen if len(screen) > 3 and screen[-4].startswith("search ")]
    assert views, written
    for phase, now, best, bar in views:
        assert now.startswith("now ")
        assert best.startswith("best ")
        assert set(bar) <= set("━╸╺")
        assert max(map(len, (phase, now, best, bar))) <= columns
    assert any(re.search(r"1 of 2 trials, \d:\d\d left", view[0]) for view in views)
    assert any(re.search(r"trial 2 .*max_batch", view[1]) for view in views)
    assert any(re.search(r"(yours|trial \d): ", view[2]) for view in views)
    assert not [line for line in seen[-1] if line.startswith(("now ", "best ", "━"))], "the view is gone at the end"
    screen = Screen(columns)
    screen.feed(written)
    assert screen.cursor_shown
    stored = json.loads((tmp_path / "runs/queue/latest/result.json").read_text())
    assert json.loads((tmp_path / "out.json").read_text()) == stored


def test_a_pipe_gets_plain_lines_and_an_unmixed_stream_of_events(tmp_path: Path) -> None:
    ended = tune(write_simulated_study(tmp_path), "--events", cwd=tmp_path)
    assert ended.returncode in DECIDED, ended.stderr
    assert "\x1b" not in ended.stderr
    assert "\r" not in ended.stderr
    assert re.search(r"^  trial 2  max_batch_size=\d+ instances=\d concurrency=\d  ", ended.stderr, re.MULTILINE)
    told = [json.loads(line) for line in ended.stdout.splitlines()]
    assert told[0]["event"] == "started"
    assert (told[0]["trials"], told[0]["budget_s"]) == (2, 300.0)
    assert [one["trial"] for one in told if one["event"] == "trial"] == [0, 1, 2]
    assert [one["trial"] for one in told if one["event"] == "attempt"] == [1, 2]
    assert [one["name"] for one in told if one["event"] == "phase"][:2] == ["baseline", "search"]
    assert {one["event"] for one in told} >= {"progress", "note"}
    last, result = told[-1], read_result(tmp_path / "runs/queue/latest")
    assert (last["event"], last["state"], last["exit_code"]) == ("finished", "done", ended.returncode)
    assert read_result(Path(last["result"]).parent) == result
    assert result.best is not None
    assert last["best"]["trial"] == result.best.trial
    again = [json.loads(line) for line in tune("study.yaml", "--events", cwd=tmp_path).stdout.splitlines()]
    assert [one["event"] for one in again] == ["started", "finished"]
    assert again[-1]["best"] == last["best"]


def test_a_run_goes_on_when_whoever_read_its_events_has_ended(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tuner", str(write_simulated_study(tmp_path)), "--events"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert json.loads(process.stdout.readline())["event"] == "started"
        process.stdout.close()
        said = process.stderr.read()
    assert process.returncode in DECIDED, said
    assert said.count("nobody reads the events any more; the run goes on without them") == 1
    assert read_result(tmp_path / "runs/queue/latest").state == "done"
    assert (tmp_path / "runs/queue/latest/report.html").is_file()


def test_the_result_and_the_events_are_not_printed_together(tmp_path: Path) -> None:
    ended = tune(write_simulated_study(tmp_path), "--events", "--json", cwd=tmp_path)
    assert ended.returncode == 2
    assert "give one of them" in ended.stderr
    assert not (tmp_path / "runs").exists()


def test_ctrl_c_ends_with_a_report_of_what_there_is_and_the_same_command_resumes(tmp_path: Path) -> None:
    study = write_simulated_study(tmp_path, trials=12)
    session = Session([study], tmp_path, 80)
    session.read_until("trial 1  max_batch_size")
    session.read_until("trial 2 ")
    session.interrupt()
    written = session.rest()
    assert session.process.returncode == 130, written
    assert "interrupted: finishing with what there is; again to stop at once" in written
    assert "the same command resumes" in written
    assert "Traceback" not in written
    assert nothing_left(tmp_path)
    result = read_result(tmp_path / "runs/queue/latest")
    assert result.state == "interrupted"
    assert len(result.trials) >= 2
    assert "interrupted" in (tmp_path / "runs/queue/latest/report.html").read_text()
    resumed = Session([study, "--trials", len(result.trials)], tmp_path, 80)
    resumed.read_until("trials are kept")
    resumed.read_until("x yours, ")  # what the interrupted run knew of the baseline and of the best
    rest = resumed.rest()
    assert resumed.process.returncode in DECIDED, rest


def test_a_second_ctrl_c_stops_at_once(tmp_path: Path) -> None:
    session = Session([write_simulated_study(tmp_path, trials=12)], tmp_path, 80)
    session.read_until("trial 1  max_batch_size")
    session.interrupt()
    session.read_until("again to stop at once")
    session.interrupt()
    written = session.rest()
    assert session.process.returncode == 130, written
    assert "Traceback" not in written
    screen = Screen(80)
    screen.feed(written)
    assert screen.cursor_shown
    assert nothing_left(tmp_path)


SLOW_TO_FINISH = """
import time
from tuner.terminal import interruptible
with interruptible():
    try:
        print("running", flush=True)
        time.sleep(600)
    except KeyboardInterrupt:
        print("finishing", flush=True)
        time.sleep(600)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_what_is_slow_to_finish_is_stopped_by_the_second_signal(number: signal.Signals) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", SLOW_TO_FINISH],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 - no threads run here
    ) as process:
        assert process.stdout is not None
        for said in ("running\n", "finishing\n"):
            assert process.stdout.readline() == said
            process.send_signal(number)
        assert process.wait(timeout=60) == 130


def test_a_run_can_be_shown_reported_and_handed_on_in_other_formats(tmp_path: Path) -> None:
    assert tune(write_simulated_study(tmp_path), "--quiet", cwd=tmp_path).returncode in DECIDED
    run = "runs/queue/latest"
    result = read_result(tmp_path / run)
    shown = tune("show", run, cwd=tmp_path, COLUMNS="80").stdout
    assert max(map(len, shown.splitlines())) <= 80
    for trial in result.trials:
        assert re.search(rf"^ +{trial.number}( \*)? +max_batch_size", shown, re.MULTILINE)
    whole = tune("show", run, "--trial", 1, cwd=tmp_path).stdout
    assert whole.startswith("trial 1")
    assert "service time p99" in whole
    assert [one["number"] for one in json.loads(tune("show", run, "--json", cwd=tmp_path).stdout)] == [0, 1, 2]
    assert json.loads(tune("show", run, "--trial", 2, "--json", cwd=tmp_path).stdout)["number"] == 2
    made = tune("report", run, "--markdown", "pr/s.md", "--perf-analyzer", "pa.csv", cwd=tmp_path)
    assert made.returncode == 0, made.stderr
    assert made.stdout.splitlines()[:2] == ["pr/s.md", "pa.csv"]
    assert (tmp_path / "pr/s.md").read_text().startswith("## queue: ")
    assert (tmp_path / "pa.csv").read_text().startswith("Concurrency,Inferences/Second,Client Send,")
    opened = tune("open", run, cwd=tmp_path, BROWSER="true")
    assert (opened.returncode, opened.stderr) == (0, "")
    assert opened.stdout.endswith("report.html\n")
