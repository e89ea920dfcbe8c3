"""The agents of a run as the master's process sees them: asked things, handed data, timed, and missed when lost."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeVar

import gevent
from gevent.event import AsyncResult
from gevent.lock import BoundedSemaphore

from tuner.load.distributed.link import TYPE, Sender, packed, unpacked
from tuner.load.distributed.options import AgentInfo
from tuner.load.distributed.trust import Seal
from tuner.load.distributed.wire import CHUNK_BYTES

ANSWER_S = 30.0
"""An agent that does not answer a question within this has been lost."""
PINGS = 8
KEPT = 32
"""Pieces of data that an agent keeps: a gate of two sides asks for those of all models in turn, again and again. With
one place too few each piece would be forgotten right before it is used."""
PINGED_AT_ONCE = 4
"""Agents whose clocks are read at once: more would wait for each other in this process, and seem far away."""

Found = TypeVar("Found")


class AgentGone(Exception):  # an agent may leave; it is no error of this program
    """An agent was lost.

    Attributes:
        reason: how that was noticed.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class AgentFailed(Exception):
    """An agent is there, but could not do what it was asked; the message says why."""


class Member:
    """An agent that proved the token.

    Args:
        client_id: what Locust calls it.
        info: who it is.
        sender: of messages to it.
        ours: seals what is sent to it.
        theirs: checks what comes from it.

    Attributes:
        offset_ns: its monotonic clock - this host's.
        rtt_ns: the shortest round trip to it; the offset is off by half of it at most.
        delivered: names of the data that it has, the one used last at the end.
        gone: why it is lost, "" while it is not.
    """

    def __init__(self, client_id: str, info: AgentInfo, sender: Sender, ours: Seal, theirs: Seal) -> None:
        self.client_id, self.info = client_id, info
        self.offset_ns = self.rtt_ns = 0
        self.delivered: list[str] = []
        self.gone = ""
        self._sender, self._ours, self._theirs = sender, ours, theirs
        self._asked = 0
        self._open: dict[int, AsyncResult] = {}

    def ask(self, kind: str, timeout_s: float = ANSWER_S, **content: Any) -> dict[str, Any]:
        """Ask it something and return its answer.

        Raises:
            AgentGone: it was lost meanwhile, or does not answer.
            AgentFailed: it could not do it.
        """
        if self.gone:
            raise AgentGone(self.gone)
        self._asked += 1
        number, answer = self._asked, AsyncResult()
        self._open[number] = answer
        try:
            self._sender.send_message(TYPE, packed(self._ours, number, {"kind": kind, **content}), self.client_id)
            found: dict[str, Any] = answer.get(timeout=timeout_s)
        except gevent.Timeout:
            self.lose(f"it did not answer within {timeout_s:g} s")
            raise AgentGone(self.gone) from None
        finally:
            del self._open[number]
        if "error" in found:
            raise AgentFailed(f"{self.info.name}: {found['error']}")
        return found

    def answered(self, data: dict[str, Any]) -> None:
        """Take an answer. Raises ForgedError when it is not of this agent."""
        number, content = unpacked(self._theirs, data)
        if (answer := self._open.get(number)) is not None:
            answer.set(content)

    def lose(self, reason: str) -> None:
        """Take note that it is lost: whoever waits for an answer of it waits no longer."""
        if not self.gone:
            self.gone = reason
            # It may be there all the same, and its load would go on beside that of the others.
            gevent.spawn(self._sender.send_message, "quit", {"reason": reason}, self.client_id)
        for answer in self._open.values():
            answer.set_exception(AgentGone(self.gone))

    def deliver(self, name: str, data: bytes) -> None:
        """Give it data under a name, in parts that are not too large for one message; nothing where it has them."""
        if name in self.delivered:
            self.delivered.append(self.delivered.pop(self.delivered.index(name)))  # what is used is kept
            return
        while len(self.delivered) >= KEPT:
            self.ask("forget", name=self.delivered.pop(0))
        for at in range(0, max(1, len(data)), CHUNK_BYTES):
            self.ask("data", name=name, at=at, part=data[at : at + CHUNK_BYTES], size=len(data))
        self.delivered.append(name)

    def replace(self, name: str, data: bytes) -> None:
        """Give it data in the place of those that had the name."""
        if name in self.delivered:
            self.delivered.remove(name)
        self.deliver(name, data)

    def fetch(self, lane: int, what: str, size: int) -> bytes:
        """Return so many bytes of what a measurement left on it."""
        found = bytearray()
        while len(found) < size:
            part = self.ask("fetch", lane=lane, what=what, at=len(found))["part"]
            if not part:
                raise AgentFailed(f"{self.info.name}: only {len(found)} of {size} bytes of {what} came")
            found += part
        return bytes(found)

    def read_clock(self) -> None:
        """Compare its clock with this host's: of several questions the fastest answer says most."""
        best: tuple[int, int] | None = None
        for _ in range(PINGS):
            sent = time.monotonic_ns()
            theirs = int(self.ask("clock")["now_ns"])
            came = time.monotonic_ns()
            if best is None or came - sent < best[0]:
                best = came - sent, theirs - (sent + came) // 2
        assert best is not None, "it was asked"
        self.rtt_ns, self.offset_ns = best


class Roster:
    """The agents of a run, by index; those that are lost stay listed as lost."""

    def __init__(self) -> None:
        self.members: dict[int, Member] = {}
        self._clocks = BoundedSemaphore(PINGED_AT_ONCE)

    def __iter__(self) -> Iterator[Member]:
        return iter(self.members.values())

    @property
    def alive(self) -> list[Member]:
        """Those that are not lost."""
        return [one for one in self if not one.gone]

    def of_client(self, client_id: str) -> Member | None:
        """Return who Locust calls this, None: nobody that is with us."""
        return next((one for one in self.alive if one.client_id == client_id), None)

    def read_clock(self, member: Member) -> None:
        """Compare an agent's clock with this host's while few others are."""
        with self._clocks:
            member.read_clock()

    def each(self, indices: Iterable[int], do: Callable[[Member], Found]) -> Mapping[int, Found]:
        """Do something with several agents at once and return what came of it.

        Raises:
            SomeGone: agents were lost in it; the others were waited for.
            AgentFailed: one could not do it; the others were waited for.
        """
        at_work = {index: gevent.spawn(_caught, do, self.members[index]) for index in indices}
        gevent.joinall(list(at_work.values()))
        found: dict[int, Found] = {}
        gone: dict[int, str] = {}
        failed: list[AgentFailed] = []
        for index, greenlet in at_work.items():
            value, error = greenlet.get()
            if isinstance(error, AgentGone):
                gone[index] = error.reason
            elif error is not None:
                failed.append(error)
            else:
                found[index] = value
        if gone:
            raise SomeGone(gone)
        if failed:
            raise failed[0]
        return found


class SomeGone(Exception):
    """Agents were lost.

    Attributes:
        reasons: index of an agent -> how that was noticed.
    """

    def __init__(self, reasons: Mapping[int, str]) -> None:
        super().__init__(str(reasons))
        self.reasons = dict(reasons)


def _caught(do: Callable[[Member], Found], member: Member) -> tuple[Found | None, AgentGone | AgentFailed | None]:
    """Return what came of it or the error: a greenlet that fails would be printed."""
    try:
        return do(member), None
    except (AgentGone, AgentFailed) as error:
        return None, error
