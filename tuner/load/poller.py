"""Wait for sockets and for the next due time at once, without spinning."""

import select
import selectors
import time
from typing import Protocol

from tuner.load.timer import Timer


class Poller(Protocol):
    """Waits for file descriptors and for a time.

    Attributes:
        pacing: how it keeps time, for reports.
        due_fd: stands among the file descriptors for "the armed time has come".
    """

    pacing: str
    due_fd: int

    def watch(self, fd: int, mask: int, *, new: bool) -> None:
        """Report these events (POLLIN, POLLOUT) of a file descriptor from now on."""
        ...

    def forget(self, fd: int) -> None:
        """Report nothing of it any more."""
        ...

    def arm(self, at_ns: int) -> None:
        """Report `due_fd` at this monotonic time, at once when it is past."""
        ...

    def disarm(self) -> None:
        """Take note that the armed time has come."""
        ...

    def wait(self, timeout_s: float) -> list[tuple[int, int]]:
        """Return (fd, events) pairs, after this long at the latest."""
        ...

    def close(self) -> None:
        """Release what it holds."""
        ...


def make_poller() -> Poller:
    """Return the best poller of this platform."""
    try:
        return EpollPoller()
    except (OSError, AttributeError):
        return SelectorPoller()


class EpollPoller:
    """Linux: epoll, with a timerfd among the file descriptors.

    Raises:
        OSError, AttributeError: the platform lacks one of them.
    """

    pacing = "timerfd"

    def __init__(self) -> None:
        self._timer = Timer()
        self._epoll = select.epoll()
        self._epoll.register(self._timer.fd, select.EPOLLIN)
        self.due_fd = self._timer.fd
        self.arm, self.disarm, self.wait = self._timer.arm, self._timer.clear, self._epoll.poll

    def watch(self, fd: int, mask: int, *, new: bool) -> None:
        """Report these events of a file descriptor from now on."""
        (self._epoll.register if new else self._epoll.modify)(fd, mask)

    def forget(self, fd: int) -> None:
        """Report nothing of it any more."""
        self._epoll.unregister(fd)

    def close(self) -> None:
        """Release what it holds."""
        self._epoll.close()
        self._timer.close()


class SelectorPoller:
    """Any platform: the standard library's selector, woken by its timeout. It keeps time to a millisecond or so."""

    pacing = "selector timeouts"
    due_fd = -1

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._due_ns: int | None = None

    def watch(self, fd: int, mask: int, *, new: bool) -> None:
        """Report these events of a file descriptor from now on."""
        events = (selectors.EVENT_READ if mask & select.POLLIN else 0) | (
            selectors.EVENT_WRITE if mask & select.POLLOUT else 0
        )
        if new:
            self._selector.register(fd, events)
        else:
            self._selector.modify(fd, events)

    def forget(self, fd: int) -> None:
        """Report nothing of it any more."""
        self._selector.unregister(fd)

    def arm(self, at_ns: int) -> None:
        """Report `due_fd` at this monotonic time."""
        self._due_ns = at_ns

    def disarm(self) -> None:
        """Take note that the armed time has come."""
        self._due_ns = None

    def wait(self, timeout_s: float) -> list[tuple[int, int]]:
        """Return (fd, events) pairs."""
        if self._due_ns is not None:
            timeout_s = max(0.0, min(timeout_s, (self._due_ns - time.monotonic_ns()) / 1e9))
        found = [(key.fd, _mask(events)) for key, events in self._selector.select(timeout_s)]
        if self._due_ns is not None and time.monotonic_ns() >= self._due_ns:
            found.append((self.due_fd, 0))
        return found

    def close(self) -> None:
        """Release what it holds."""
        self._selector.close()


def _mask(events: int) -> int:
    return (select.POLLIN if events & selectors.EVENT_READ else 0) | (
        select.POLLOUT if events & selectors.EVENT_WRITE else 0
    )
