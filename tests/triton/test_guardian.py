"""The guardian: a server never outlives the process that started it."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from targets import guardian
from targets.process import GuardedProcess

pytestmark = pytest.mark.long

PARENT = """
import sys, time
from pathlib import Path
from targets.process import GuardedProcess
work = Path(sys.argv[1])
process = GuardedProcess(
    ["sh", "-c", sys.argv[2]], env={"PATH": "/usr/bin:/bin"}, log_path=work / "log.txt",
    cleanup=work / "temporary", shm_prefix=sys.argv[3],
)
while len(process.tree()) < 2:
    time.sleep(0.01)
print(*process.tree(), flush=True)
time.sleep(600)
"""
STUBBORN = "trap '' TERM; sleep 600 & wait; sleep 600"
OBEDIENT = "sleep 600 & wait"


def wait_until(condition: Callable[[], bool], seconds: float = 20.0) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.02)
    return condition()


@pytest.mark.parametrize("script", [OBEDIENT, STUBBORN])
@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
def test_a_server_ends_with_everything_it_started_when_its_owner_is_killed(
    script: str, end: signal.Signals, tmp_path: Path
) -> None:
    (tmp_path / "temporary").mkdir()
    segment = Path("/dev/shm") / f"paretune_test_{os.getpid()}_x"
    segment.write_text("leftover")
    command = [sys.executable, "-c", PARENT, str(tmp_path), script, segment.name]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        tree = [psutil.Process(int(pid)) for pid in owner.stdout.readline().split()]
        assert len(tree) >= 2
        owner.send_signal(end)
    assert wait_until(lambda: not any(process.is_running() for process in tree))
    assert wait_until(lambda: not (tmp_path / "temporary").exists())
    assert wait_until(lambda: not segment.exists())


def test_an_exit_code_and_a_signal_are_told_apart(tmp_path: Path) -> None:
    codes = []
    for number, script in enumerate(("exit 3", "kill -9 $$")):
        folder = tmp_path / str(number)
        folder.mkdir()
        process = GuardedProcess(
            ["sh", "-c", script], env={}, log_path=tmp_path / "log.txt", cleanup=folder, shm_prefix="paretune_none_"
        )
        assert process.wait_for_exit(20)
        codes.append(process.exit_code())
        process.stop()
    assert codes == [3, -9]


def test_output_goes_to_the_end_of_the_log(tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    log.write_text("before\n")
    process = GuardedProcess(
        ["sh", "-c", "echo out; echo err >&2"],
        env={},
        log_path=log,
        cleanup=tmp_path / "x",
        shm_prefix="paretune_none_",
    )
    assert process.wait_for_exit(20)
    process.stop()
    assert log.read_text().splitlines() == ["before", "out", "err"]


def test_stopping_twice_is_harmless(tmp_path: Path) -> None:
    process = GuardedProcess(
        ["sleep", "600"], env={}, log_path=tmp_path / "log.txt", cleanup=tmp_path / "x", shm_prefix="paretune_none_"
    )
    process.stop()
    process.stop()
    assert not process.running()


def test_a_command_that_cannot_start_ends_at_once(tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    process = GuardedProcess(
        [str(tmp_path / "missing")], env={}, log_path=log, cleanup=tmp_path / "x", shm_prefix="paretune_none_"
    )
    assert process.wait_for_exit(20)
    process.stop()
    assert process.tree() == []


@pytest.mark.parametrize("at_once", [False, True])
def test_what_python_shared_goes_with_processes_that_are_killed(at_once: bool, tmp_path: Path) -> None:
    program = (
        "import multiprocessing as m, signal, sys, time\n"
        "from multiprocessing.shared_memory import SharedMemory\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "memory = SharedMemory(create=True, size=64)\n"
        "lock = m.get_context('spawn').Lock()\n"
        "print(memory.name, lock._semlock.name.removeprefix('/'), flush=True)\n"
        "time.sleep(600)\n"
    )
    log = tmp_path / "log.txt"
    process = GuardedProcess(
        [sys.executable, "-c", program],
        env=os.environ,
        log_path=log,
        cleanup=tmp_path / "x",
        shm_prefix="paretune_none_",
    )
    assert wait_until(lambda: len(log.read_text().split()) == 2)
    names = log.read_text().split()
    segments = [Path("/dev/shm") / name for name in (names[0], f"sem.{names[1]}")]
    assert all(segment.exists() for segment in segments)
    process.stop(at_once=at_once)
    assert not any(segment.exists() for segment in segments)


def test_a_command_that_is_ended_at_once_has_no_time_to_do_anything(tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    process = GuardedProcess(
        ["sh", "-c", "trap 'echo asked' TERM; echo ready; while true; do sleep 0.01; done"],
        env={"PATH": "/usr/bin:/bin"},
        log_path=log,
        cleanup=tmp_path / "x",
        shm_prefix="paretune_none_",
    )
    assert wait_until(lambda: log.read_text() == "ready\n")
    process.stop(at_once=True)
    assert not process.running()
    assert log.read_text() == "ready\n"


def guarded(script: str, folder: Path) -> tuple[GuardedProcess, psutil.Process]:
    """Start a script that says the id of a process in its log; return both."""
    log = folder / "log.txt"
    process = GuardedProcess(
        ["sh", "-c", script],
        env={"PATH": "/usr/bin:/bin"},
        log_path=log,
        cleanup=folder / "temporary",
        shm_prefix="paretune_none_",
    )
    assert wait_until(lambda: log.read_text().endswith("\n"))
    return process, psutil.Process(int(log.read_text()))


@pytest.mark.parametrize(
    "script",
    [
        "setsid sh -c 'echo $$; exec sleep 600' & wait",
        "setsid sh -c 'trap \"\" TERM; echo $$; while true; do sleep 600; done' & wait",
        "setsid sh -c 'setsid sh -c \"echo \\$\\$; exec sleep 600\" & wait' & wait",
    ],
    ids=["asked to end", "stubborn", "two deep"],
)
@pytest.mark.parametrize("at_once", [False, True])
def test_a_child_with_a_session_of_its_own_is_ended_with_the_command(
    script: str, at_once: bool, tmp_path: Path
) -> None:
    process, stray = guarded(script, tmp_path)
    assert os.getsid(stray.pid) != os.getsid(process.pid)
    process.stop(at_once=at_once)
    assert not stray.is_running()


def test_a_child_with_a_session_of_its_own_has_time_to_end_by_itself(tmp_path: Path) -> None:
    script = "setsid sh -c 'trap \"echo asked; exit\" TERM; echo $$; while true; do sleep 0.01; done' & wait"
    process, stray = guarded(script, tmp_path)
    process.stop()
    assert not stray.is_running()
    assert (tmp_path / "log.txt").read_text() == f"{stray.pid}\nasked\n"


def test_a_command_that_goes_on_in_the_background_is_ended_when_it_has_returned(tmp_path: Path) -> None:
    process, stray = guarded("setsid sh -c 'echo $$; exec sleep 600' & while true; do sleep 0.01; done", tmp_path)
    os.kill(process.pid, signal.SIGKILL)
    assert wait_until(lambda: not stray.is_running())
    assert process.exit_code() == -signal.SIGKILL
    process.stop()


def test_what_a_container_engine_keeps_running_is_left_alone(tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    process = GuardedProcess(
        ["sh", "-c", "setsid sh -c 'echo $$; exec sleep 600' & wait"],
        env={"PATH": "/usr/bin:/bin"},
        log_path=log,
        cleanup=tmp_path / "temporary",
        shm_prefix="paretune_none_",
        farewell=["sh", "-c", f"echo gone > {tmp_path}/farewell"],
    )
    assert wait_until(lambda: log.read_text().endswith("\n"))
    engines = psutil.Process(int(log.read_text()))
    try:
        process.stop()
        assert (tmp_path / "farewell").read_text() == "gone\n"
        assert engines.is_running()
    finally:
        engines.kill()


SHARER = """
import time
from multiprocessing import shared_memory
shared = shared_memory.SharedMemory(create=True, size=4096)
print(shared.name, flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize("told", [True, False])
def test_what_python_shared_is_gone_even_when_the_whole_group_is_killed_at_once(tmp_path: Path, told: bool) -> None:
    """No process of it is left to tell what it had mapped, its resource tracker included."""
    log = tmp_path / "log.txt"
    process = GuardedProcess(
        [sys.executable, "-c", SHARER],
        env=dict(os.environ),
        log_path=log,
        cleanup=tmp_path / "temporary",
        shm_prefix=f"paretune_test_{os.getpid()}_",
    )
    assert wait_until(lambda: log.exists() and log.read_text().strip().startswith("psm_"))
    segment = Path("/dev/shm") / log.read_text().split()[0]
    assert segment.exists()
    if told:
        process.note_shared()
    else:
        time.sleep(2 * guardian.LOOKS_S[0] + 0.5)
    for pid in process.tree():
        os.kill(pid, signal.SIGKILL)
    assert wait_until(lambda: not segment.exists())
    process.stop()
