"""The heartbeat of a host: while it lives, it says so."""

from collections.abc import Callable
from threading import Event, Thread
from types import TracebackType

from tuner.hosts.ledger import Evicted, Ledger
from tuner.storage import StorageError

JOIN_S = 3.0

BEATS = 6
"""In the time that a host may be silent."""


class Heart:
    """Says every now and then that this host is alive and what it does.

    A beat is one short word to the storage; it is said while something is measured, too. A storage that does not answer
    is left to whoever needs its answer.

    Args:
        ledger: of the study; this host has joined.
        lease_s: how long it may be silent, in seconds.

    Attributes:
        doing: what this host does, in words.
        spent_s: returns how much of the time budget is spent, in seconds.
    """

    def __init__(self, ledger: Ledger, lease_s: float) -> None:
        self._ledger, self._period_s = ledger, lease_s / BEATS
        self.doing = "starts its server"
        self.spent_s: Callable[[], float] = ledger.book.spent_s
        self._end = Event()
        self._thread = Thread(target=self._run, name="heart", daemon=True)

    def says(self, doing: str) -> None:
        """Say at once that something else is done now."""
        self.doing = doing
        self._beat()

    def __enter__(self) -> "Heart":
        self._beat()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end.set()
        self._thread.join(JOIN_S)  # a daemon: a storage that hangs does not keep this process

    def _run(self) -> None:
        while not self._end.wait(self._period_s):
            self._beat()

    def _beat(self) -> None:
        try:
            self._ledger.beat(self.doing, self.spent_s())
        except (Evicted, StorageError):
            return  # the next word to the storage says so, where it is needed
