"""Nothing of a study outlives the tuner that is killed, whenever that happens."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from subprocess import DEVNULL, PIPE

import psutil
import pytest

pytestmark = pytest.mark.long

KILLS = 20
SOON_S = 20.0
LONGEST_S = 2.5
"""Within it fall the start of the server, its readiness, the first loads, and some trials."""
SHARED = Path("/dev/shm")
MARK = "PARETUNE_TEST_RUN"


def of_run(run: str) -> list[psutil.Process]:
    """Return the processes that were started, through whomever, by a tuner with a mark in its environment."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) == run and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:
            continue
    return found


def regions(processes: list[psutil.Process]) -> set[str]:
    """Return how the names of shared memory begin that servers among the processes were told to use."""
    found = set()
    for process in processes:
        try:
            found |= {one.rpartition("=")[2] for one in process.cmdline() if "shm-region-prefix-name=" in one}
        except psutil.Error:
            continue
    return found


TUNERS = """
import os, signal, sys
from tuner.cli import main
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
for line in sys.stdin:
    run, *arguments = line.split()
    pid = os.fork()
    if pid == 0:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.environ["PARETUNE_TEST_RUN"] = run
        sys.argv = ["tune", *arguments]
        main()
        os._exit(0)
    print(pid, flush=True)
"""
"""Imports once, and is a tuner of its own for each line that it reads."""


def lines_of_children(pid: int) -> list[str]:
    try:
        return [" ".join(one.cmdline()) for one in psutil.Process(pid).children()]
    except psutil.Error:
        return []


def wait_for_the_first_sign(pid: int) -> None:
    """Wait until a tuner has started its guardian, so that the moments are of the server."""
    while psutil.pid_exists(pid) and not any("guardian.py" in line for line in lines_of_children(pid)):
        time.sleep(0.005)


def kill(pid: int, run: str, after_s: float) -> set[str]:
    """Kill a tuner so long after the first sign of its server; return what the server's regions are called."""
    wait_for_the_first_sign(pid)
    time.sleep(after_s)
    begun = regions(of_run(run))
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    return begun


def test_nothing_is_left_of_a_study_that_is_killed_at_any_moment(
    small_study: Callable[..., Path], tmp_path: Path
) -> None:
    study = small_study(
        space={"max_batch_size": [8, 32], "http_thread_count": [4, 8], "concurrency": [4]}, isolation="none"
    )
    draw = random.Random(7)
    # From before readiness (a server takes some 0.1 s) to the trials, where each reloads or restarts.
    moments = [draw.uniform(0, 0.2) for _ in range(KILLS // 2)] + [
        draw.uniform(0.2, LONGEST_S) for _ in range(KILLS // 2)
    ]
    served = 0
    with subprocess.Popen([sys.executable, "-c", TUNERS], stdin=PIPE, stdout=PIPE, stderr=DEVNULL, text=True) as tuners:
        assert tuners.stdin is not None
        assert tuners.stdout is not None
        for number, after_s in enumerate(moments):
            run = f"killed{os.getpid()}_{number}"
            print(run, study, "--out", tmp_path / run, "--quiet", file=tuners.stdin, flush=True)
            begun = kill(int(tuners.stdout.readline()), run, after_s)
            served += bool(begun)
            deadline = time.monotonic() + SOON_S
            while time.monotonic() < deadline and (of_run(run) or _left(begun)):
                time.sleep(0.02)
            assert of_run(run) == [], f"killed after {after_s:.3f} s"
            assert _left(begun) == [], f"killed after {after_s:.3f} s"
        tuners.stdin.close()
    assert served > KILLS // 2, "most of the moments found a server to be ended"


def _left(begun: set[str]) -> list[str]:
    return [path.name for path in SHARED.iterdir() if any(path.name.startswith(one) for one in begun)]
