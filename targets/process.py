"""A server process under a guardian: started, watched and ended with everything it started."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from targets import guardian

STOP_TIMEOUT_S = 3 * guardian.GRACE_S


class GuardedProcess:
    """A command run by the guardian; its output goes to the end of a log file.

    Args:
        command: to run.
        env: its environment variables.
        log_path: where its output goes.
        cleanup: folder that is removed at the end.
        shm_prefix: shared memory whose name starts with it is removed at the end.
        cpus: CPUs that it is pinned to, or None.
        farewell: command that the guardian runs at the end, for what is no descendant of the first one; () for none.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        env: Mapping[str, str],
        log_path: Path,
        cleanup: Path,
        shm_prefix: str,
        cpus: frozenset[int] | None = None,
        farewell: Sequence[str] = (),
    ) -> None:
        self._stop_s = STOP_TIMEOUT_S + (guardian.FAREWELL_S if farewell else 0.0)
        with log_path.open("ab") as log, pinned(cpus):
            self._guardian = subprocess.Popen(
                [sys.executable, "-I", "-S", guardian.__file__, str(cleanup), shm_prefix, *farewell, "--", *command],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=dict(env),
                start_new_session=True,
            )
        assert self._guardian.stdout is not None
        self.pid = int(self._guardian.stdout.readline() or 0)

    def note_shared(self) -> None:
        """Have the guardian note what the processes share, so that it is removed even if all are killed at once."""
        assert self._guardian.stdin is not None, "it has a pipe"
        assert self._guardian.stdout is not None, "likewise"
        with suppress(BrokenPipeError):
            os.write(self._guardian.stdin.fileno(), guardian.LOOK)
            self._guardian.stdout.readline()  # it has; or it has ended

    def running(self) -> bool:
        """Whether the command still runs; the guardian may outlive it while it ends what the command started."""
        return self._guardian.poll() is None and psutil.pid_exists(self.pid) and not _is_zombie(self.pid)

    def exit_code(self) -> int | None:
        """Return the command's exit code (negative: ended by that signal), or None while it runs."""
        if self.running():
            return None
        try:
            code = self._guardian.wait(self._stop_s)
        except subprocess.TimeoutExpired:
            return None
        return code - 256 if code > 128 else code

    def tree(self) -> list[int]:
        """Process ids of the command and all its descendants; empty when it has ended."""
        return tree_of(self.pid)

    def stop(self, *, at_once: bool = False) -> None:
        """End the command and its descendants and wait until they are gone; safe to call twice.

        Args:
            at_once: give them no time to end by themselves.
        """
        if at_once and self._guardian.stdin is not None and not self._guardian.stdin.closed:
            with suppress(BrokenPipeError):
                os.write(self._guardian.stdin.fileno(), guardian.AT_ONCE)
        for pipe in (self._guardian.stdin, self._guardian.stdout):
            if pipe is not None:
                pipe.close()
        try:
            self._guardian.wait(self._stop_s)
        except subprocess.TimeoutExpired:
            self._guardian.kill()
            self._guardian.wait()

    def wait_for_exit(self, timeout_s: float) -> bool:
        """Wait until the command has ended; False when it still runs after the timeout."""
        deadline = time.monotonic() + timeout_s
        while self.running() and time.monotonic() < deadline:
            time.sleep(0.02)
        return not self.running()


def tree_of(pid: int | None) -> list[int]:
    """Process ids of a process and all its descendants; empty when it has ended or there is none."""
    if pid is None:
        return []
    try:
        root = psutil.Process(pid)
        return [root.pid, *(child.pid for child in root.children(recursive=True))]
    except psutil.NoSuchProcess:
        return []


def pid_said(command: Sequence[str]) -> int | None:
    """Return the process id that a command prints, None where it prints none of this machine's."""
    try:
        ended = subprocess.run(command, capture_output=True, text=True, timeout=guardian.FAREWELL_S, check=False)
        pid = int(ended.stdout)
    except (OSError, subprocess.SubprocessError, ValueError):
        return None
    return pid if pid > 0 and psutil.pid_exists(pid) else None


def _is_zombie(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@contextmanager
def pinned(cpus: frozenset[int] | None) -> Iterator[None]:
    """Run on the given CPUs, and let processes started inside inherit them; None changes nothing."""
    before = os.sched_getaffinity(0)
    if cpus:
        os.sched_setaffinity(0, cpus)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
