"""Run a server so that it never outlives the tuner: `guardian.py CLEANUP_DIR SHM_PREFIX [FAREWELL...] -- COMMAND...`.

The guardian starts the command in a process group of its own and prints its process id. It ends the whole group
(SIGTERM, after a grace SIGKILL) when its standard input closes, which the kernel does for any death of the tuner,
kill -9 included. What left the group for a session of its own becomes the guardian's child when its parent ends, and
is ended likewise. Where there is FAREWELL, the command that ends what is not of the group (a container), that is run
instead: what then stays is the container engine's own. At last the guardian removes CLEANUP_DIR, the shared memory
whose name starts with SHM_PREFIX, and what Python shared among the group's processes: a process that is killed leaves
that behind. Of processes that are all killed at once nobody can tell any more what they shared, so the guardian looks
now and then while they live, seldom enough to disturb no measurement. Should the guardian itself be killed, the kernel
kills the server.

Standard library only, and nothing imported that is not needed: it lives as long as the server and should be small.
"""

import ctypes
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

GRACE_S = 3.0
FAREWELL_S = 20.0
"""How long the farewell may take."""
AT_ONCE = b"at once"
"""Written to standard input before it closes: the group gets no time to end by itself."""
LOOK = b"look"
"""Written to standard input: note what the group shares, now that its server is up, and print a line then."""
SHARED = Path("/dev/shm")  # noqa: S108 - where Linux keeps it
PYTHONS = ("psm_", "sem.mp-")
"""How Python begins the names of its shared memory and of its semaphores."""
LOOKS_S = (1.0, 5.0)
"""The first look at what is shared comes after so long, each other one after twice as long, up to this."""
_PARENT, _GROUP = 1, 2
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36


def main(arguments: list[str]) -> int:
    """Guard one command until it ends or standard input closes; return its exit code."""
    cleanup, shm_prefix, *rest = arguments
    farewell, command = rest[: rest.index("--")], rest[rest.index("--") + 1 :]
    libc = ctypes.CDLL(None)
    libc.prctl(_PR_SET_CHILD_SUBREAPER, 1)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    read_end, write_end = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    signal.set_wakeup_fd(write_end)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    child = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=sys.stderr,
        process_group=0,
        preexec_fn=lambda: _as_child(libc),  # noqa: PLW1509 - the guardian has one thread
    )
    print(child.pid, flush=True)  # noqa: T201 - the tuner reads it
    signals: tuple[int, ...] = (signal.SIGTERM, signal.SIGKILL)
    mapped: set[int] = set()
    try:
        if _wait(child, read_end, mapped) == AT_ONCE:
            signals = (signal.SIGKILL,)
    finally:
        mapped |= _mapped_by(child.pid)
        shared = [path for name in PYTHONS for path in SHARED.glob(f"{name}*") if _inode(path) in mapped]
        _end_group(child, signals)
        if farewell:
            _say_farewell(farewell)
        else:
            _end_strays(signals)
        shutil.rmtree(cleanup, ignore_errors=True)
        for segment in (*SHARED.glob(f"{shm_prefix}*"), *shared):
            segment.unlink(missing_ok=True)
    return child.returncode


def _as_child(libc: ctypes.CDLL) -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _wait(child: "subprocess.Popen[bytes]", wakeup: int, mapped: set[int]) -> bytes:
    """Return when the child ended or standard input reached its end; return what was read from that last.

    Meanwhile note now and then what the child's group has mapped.
    """
    last, (pause_s, longest_s) = b"", LOOKS_S
    look_s = time.monotonic() + pause_s
    while child.poll() is None:
        readable, _, _ = select.select([sys.stdin, wakeup], [], [], max(0.0, look_s - time.monotonic()))
        if time.monotonic() >= look_s:
            mapped |= _mapped_by(child.pid)
            pause_s = min(2 * pause_s, longest_s)
            look_s = time.monotonic() + pause_s
        if wakeup in readable:
            os.read(wakeup, 64)
        if sys.stdin in readable:
            read = os.read(sys.stdin.fileno(), 64)
            if not read:
                return last
            if LOOK in read:
                mapped |= _mapped_by(child.pid)
                with suppress(OSError):  # nobody waits for it any more
                    print("noted", flush=True)  # noqa: T201 - the tuner reads it
            last = read.replace(LOOK, b"") or last
    return last


def _end_group(child: "subprocess.Popen[bytes]", signals: tuple[int, ...]) -> None:
    for number in signals:
        if not _signal(child.pid, number):
            break
        deadline = time.monotonic() + GRACE_S
        while time.monotonic() < deadline and _signal(child.pid, 0):
            child.poll()
            _reap_orphans(child.pid)
            time.sleep(0.02)
    child.wait()


def _end_strays(signals: tuple[int, ...]) -> None:
    """End what left the group; whoever is a child of one that ends becomes ours in turn."""
    for number in signals:
        told: set[int] = set()
        deadline = time.monotonic() + GRACE_S
        while (left := _processes(_PARENT, os.getpid())) and time.monotonic() < deadline:
            for pid in left:
                with suppress(OSError):  # it ended by itself, or is another user's
                    if pid not in told:
                        told.add(pid)
                        os.kill(pid, number)
                    os.waitpid(pid, os.WNOHANG)
            time.sleep(0.02)


def _say_farewell(command: list[str]) -> None:
    """Run the command that ends what is not of the group; what it says is of no use to anybody."""
    with suppress(OSError, subprocess.SubprocessError):
        subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=FAREWELL_S,
            check=False,
        )


def _mapped_by(group: int) -> set[int]:
    """Return the inodes of shared memory that the processes of a group have mapped.

    A name would not tell: a semaphore is mapped under a temporary one that is gone.
    """
    mapped: set[int] = set()
    for pid in _processes(_GROUP, group):
        with suppress(OSError, ValueError, IndexError):
            lines = Path(f"/proc/{pid}/maps").read_text().splitlines()
            mapped |= {int(line.split()[4]) for line in lines if f" {SHARED}/" in line}
    return mapped


def _processes(field: int, value: int) -> list[int]:
    """Return the ids of the processes whose parent or group is of that id."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError, ValueError, IndexError):
            # After the name in parentheses, which may hold anything: state, parent, group.
            if int((process / "stat").read_text().rpartition(")")[2].split()[field]) == value:
                found.append(int(process.name))
    return found


def _inode(path: Path) -> int | None:
    try:
        return path.stat().st_ino
    except OSError:
        return None


def _signal(group: int, number: int) -> bool:
    """Send a signal to the process group; False when nobody is left in it."""
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return False
    return True


def _reap_orphans(child: int) -> None:
    """Collect descendants that became ours when their parent ended, but leave the child itself to Popen."""
    while True:
        try:
            ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return
        if ended is None or ended.si_pid == child:
            return
        os.waitpid(ended.si_pid, 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
