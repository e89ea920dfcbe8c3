"""Nothing of a study outlives the tuner that is killed, whenever that happens."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil

KILLS = 20
SOON_S = 5.0
LONGEST_S = 4.0
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


def killed(study: Path, run: str, folder: Path, after_s: float) -> tuple[list[psutil.Process], set[str], bool]:
    """Start a study, kill the tuner; return its processes at that moment, their regions, whether a server was there."""
    command = [sys.executable, "-m", "tuner", str(study), "--out", str(folder / run), "--quiet"]
    environment = {**os.environ, MARK: run}
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as tuner:
        moment = first_sign(tuner) + after_s
        while time.monotonic() < moment and tuner.poll() is None:
            time.sleep(0.005)
        processes = of_run(run)
        begun = regions(processes)
        tuner.send_signal(signal.SIGKILL)
    return processes, begun, bool(begun)


def first_sign(tuner: "subprocess.Popen[bytes]") -> float:
    """Wait until the tuner has started its guardian, so that the moments are of the study and not of imports."""
    while tuner.poll() is None:
        if any("guardian.py" in line for line in lines_of_children(tuner.pid)):
            break
        time.sleep(0.005)
    return time.monotonic()


def lines_of_children(pid: int) -> list[str]:
    try:
        return [" ".join(one.cmdline()) for one in psutil.Process(pid).children()]
    except psutil.Error:
        return []


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
    for number, after_s in enumerate(moments):
        run = f"killed{os.getpid()}_{number}"
        processes, begun, was_served = killed(study, run, tmp_path, after_s)
        served += was_served
        deadline = time.monotonic() + SOON_S
        while time.monotonic() < deadline and (of_run(run) or _left(begun)):
            time.sleep(0.05)
        assert of_run(run) == [], f"killed after {after_s:.3f} s, of {[one.pid for one in processes]}"
        assert _left(begun) == [], f"killed after {after_s:.3f} s"
    assert served > KILLS // 2, "most of the moments found a server to be ended"


def _left(begun: set[str]) -> list[str]:
    return [path.name for path in SHARED.iterdir() if any(path.name.startswith(one) for one in begun)]
