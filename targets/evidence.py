"""What the contract of targets looks at: answers, counters that have settled, processes and ports."""

import socket
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import psutil

from targets.base import Deployment, Endpoint, ServerCounters
from targets.probe import failure_of
from workloads.requests import Requests

ANSWER_S = 30.0
SETTLE_S = 10.0
GONE_S = 30.0
SHARED = Path("/dev/shm")  # noqa: S108 - where Linux keeps it


def failures(deployment: Deployment, requests: Requests, count: int) -> list[str]:
    """Send so many requests, one after the other, and return how those failed that did."""
    endpoint = deployment.endpoint(requests)
    asked = [failure_of(endpoint, ANSWER_S, index % len(endpoint.requests)) for index in range(count)]
    return [failure for failure in asked if failure]


def settled(deployment: Deployment) -> ServerCounters:
    """Return a reading that two in a row agree with: some servers count a request a moment after its answer."""
    deadline = time.monotonic() + SETTLE_S
    last = deployment.statistics()()
    while time.monotonic() < deadline:
        time.sleep(0.1)
        reading = deployment.statistics()()
        if reading.requests == last.requests:
            return reading
        last = reading
    return last


def children() -> set[int]:
    """Return the ids of the processes that this one started, and their descendants."""
    return {child.pid for child in psutil.Process().children(recursive=True) if runs(child)}


def runs(process: psutil.Process) -> bool:
    """Whether a process is there and is no zombie."""
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def halt(processes: Iterable[psutil.Process]) -> None:
    """Suspend processes and wait until they are: a signal is sent at once, but each thread stops when it sees it.

    Raises:
        AssertionError: a thread still ran after GONE_S seconds.
    """
    halted = list(processes)
    for process in halted:
        process.suspend()
    assert soon(lambda: all(map(_is_halted, halted))), "a process that was suspended still runs"


def _is_halted(process: psutil.Process) -> bool:
    try:
        return all(psutil.Process(thread.id).status() == psutil.STATUS_STOPPED for thread in process.threads())
    except psutil.NoSuchProcess:  # a thread that ended while it was looked at
        return False


def shared_memory(processes: Iterable[psutil.Process]) -> set[Path]:
    """Return the files of shared memory that processes have open, of those that Paretune names."""
    mapped = {Path(one.path) for process in processes if runs(process) for one in process.memory_maps()}
    return {path for path in mapped if path.parent == SHARED and path.name.startswith("paretune")}


def listens(endpoint: Endpoint) -> bool:
    """Whether connections to an endpoint are accepted."""
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex((endpoint.host, endpoint.port)) == 0


def soon(holds: Callable[[], bool]) -> bool:
    """Whether something holds within GONE_S seconds."""
    deadline = time.monotonic() + GONE_S
    while time.monotonic() < deadline:
        if holds():
            return True
        time.sleep(0.05)
    return holds()
