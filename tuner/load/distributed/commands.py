"""What the tuner has the master's process do: one command after the other, each with an answer."""

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any, Protocol

import gevent

from tuner.load.distributed.options import AgentInfo
from tuner.load.distributed.roster import ANSWER_S, AgentFailed, Member, Roster, SomeGone

_TICK_S = 0.05


class Host(Protocol):
    """The master, as far as commands need it.

    Attributes:
        roster: its agents.
        notes: what a person should know, in order.
    """

    roster: Roster
    notes: list[str]


class Commands:
    """The commands, by name.

    Args:
        master: that has the agents.
        pipe: to the tuner.
    """

    def __init__(self, master: Host, pipe: Connection) -> None:
        self._master, self._roster, self._pipe = master, master.roster, pipe
        self._named: Mapping[str, Callable[..., object]] = {
            "wait": self.wait,
            "prepare": self.prepare,
            "start": self.start,
            "look": self.look,
            "rewindow": self.rewindow,
            "finish": self.finish,
            "alive": self.alive,
        }

    def run(self, name: str, arguments: tuple[Any, ...]) -> None:
        """Run a command and send what came of it: (`ok`, value), (`lost`, {index: reason}) or (`error`, text)."""
        try:
            said: tuple[str, object] = "ok", self._named[name](*arguments)
        except SomeGone as gone:
            said = "lost", gone.reasons
        except AgentFailed as failed:
            said = "error", str(failed)
        except Exception as error:  # the tuner waits for an answer
            said = "error", f"the Locust master failed in {name!r}: {error!r}"
        with suppress(OSError):  # the tuner has ended
            self._say_notes()
            self._pipe.send(said)

    def wait(self, count: int, timeout_s: float) -> list[AgentInfo]:
        """Wait for so many agents, and say who is there; return fewer when the time is up."""
        deadline = time.monotonic() + timeout_s
        while len(self._roster.alive) < count and time.monotonic() < deadline:
            self._say_notes()
            gevent.sleep(_TICK_S)
        return [one.info for one in self._roster.alive]

    def alive(self) -> dict[int, tuple[AgentInfo, str]]:
        """Return every agent so far, and why it is gone, "" of those that are there."""
        return {one.info.index: (one.info, one.gone) for one in self._roster}

    def prepare(
        self, lane: int, processes: int, endpoint: tuple[str, bytes], plans: dict[int, bytes]
    ) -> dict[int, tuple[int, int]]:
        """Give each agent its part of a plan, all but the moment of its start, and compare the clocks.

        Args:
            lane: of several loads at once, which.
            processes: of each agent's load generator.
            endpoint: the name of its bytes, and these.
            plans: index of an agent -> its part.

        Returns:
            Index -> (its clock - this host's, shortest round trip), ns.
        """

        def one(member: Member) -> tuple[int, int]:
            name, data = endpoint
            plan = f"plan {lane}"
            member.deliver(name, data)
            member.replace(plan, plans[member.info.index])
            member.ask("plan", timeout_s=2 * ANSWER_S, lane=lane, processes=processes, plan=plan, endpoint=name)
            self._roster.read_clock(member)
            return member.offset_ns, member.rtt_ns

        return dict(self._roster.each(plans, one))

    def start(self, lane: int, start_ns: int, indices: list[int]) -> dict[int, tuple[int, int]]:
        """Have agents start at one moment of this host's clock; return index -> (that on its clock, how far ahead)."""

        def one(member: Member) -> tuple[int, int]:
            theirs = start_ns + member.offset_ns
            return theirs, int(member.ask("start", lane=lane, start_ns=theirs)["ahead_ns"])

        return dict(self._roster.each(indices, one))

    def look(self, lane: int, indices: list[int]) -> dict[int, bytes]:
        """Return the rows of each agent that ended since the last look."""

        def one(member: Member) -> bytes:
            found, more = bytearray(), True
            while more:
                answer = member.ask("look", lane=lane)
                found += answer["rows"]
                more = answer["more"]
            return bytes(found)

        return dict(self._roster.each(indices, one))

    def rewindow(self, lane: int, from_ns: int, to_ns: int, indices: list[int]) -> None:
        """Give agents another window, in ns from the start of the load."""
        self._roster.each(indices, lambda member: member.ask("rewindow", lane=lane, from_ns=from_ns, to_ns=to_ns))

    def finish(self, lane: int, timeout_s: float, indices: list[int]) -> dict[int, dict[str, Any]]:
        """Wait for the end of a plan; return of each agent its `report`, `rows`, `events` and `answers`."""

        def one(member: Member) -> dict[str, Any]:
            ended = member.ask("finish", timeout_s=timeout_s, lane=lane)
            sizes = ended["sizes"]
            return {"report": ended["report"], **{what: member.fetch(lane, what, sizes[what]) for what in sizes}}

        return dict(self._roster.each(indices, one))

    def _say_notes(self) -> None:
        while self._master.notes:
            self._pipe.send(("say", self._master.notes.pop(0)))
