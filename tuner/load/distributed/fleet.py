"""The tuner's end of the agents: the master's process, and who is there."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from multiprocessing.connection import Pipe
from types import TracebackType
from typing import Any

from targets.base import TargetError
from tuner.load.distributed.options import LEFT, AgentInfo, AgentsWanted, is_loopback, spelled
from tuner.load.distributed.trust import TOKEN, read_token
from tuner.load.generator import GeneratorError, LoadLost

_START_TIMEOUT_S = 60.0
_END_TIMEOUT_S = 10.0
_TOGETHER_S = 10.0
"""Where all were lost at once, a network was cut: when the first is there again, the others come soon."""


class AgentsUnavailable(TargetError):
    """The agents that are to make the load cannot be used (any more): the run ends as if the target could not be."""


class AgentsLost(LoadLost):
    """Agents were lost in a measurement.

    Attributes:
        silent: one of them was not heard of any more: it may hang or be cut off, and go on sending.
    """

    def __init__(self, said: str, *, silent: bool) -> None:
        super().__init__(said)
        self.silent = silent


class Fleet:
    """The agents of a run, and the process of Locust's master that speaks with them.

    Args:
        wanted: how many, and where they come to.
        token: that they have to prove.
        say: is told what a person should know.

    Attributes:
        say: as given; whoever watches the run may take its place.
        pausing: what is waited for agents that are to come again is waited in its block: a budget may be held.
        port: that the master listens on.
        ui_port: of Locust's web interface, 0: there is none.
        losses: what is known of the agents that were lost so far, a line for each time.

    Raises:
        AgentsUnavailable: the master cannot listen there.
    """

    def __init__(self, wanted: AgentsWanted, token: bytes, say: Callable[[str], None]) -> None:
        self._wanted, self.say = wanted, say
        self.pausing: Callable[[], AbstractContextManager[None]] = nullcontext
        self._last = ""
        self._agents: dict[int, AgentInfo] = {}
        self.losses: list[str] = []
        self._told = self._lanes = 0
        self._pipe, theirs = Pipe()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "tuner.load.distributed.master", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
            )
        try:
            self._pipe.send((wanted, token))
            self.port, self.ui_port = self._started()
        except BaseException:
            self.close()
            raise

    def _started(self) -> tuple[int, int]:
        if not self._pipe.poll(_START_TIMEOUT_S):
            raise AgentsUnavailable(f"Locust's master did not start within {_START_TIMEOUT_S:g} s")
        how, value = self._receive()
        if how != "ok":
            raise AgentsUnavailable(f"{value}; choose another address with --agents-bind")
        port, ui_port = value
        return int(port), int(ui_port)

    @property
    def pid(self) -> int:
        """Process id of Locust's master."""
        return self._process.pid

    @property
    def agents(self) -> Sequence[AgentInfo]:
        """Those that are there, as far as is known."""
        return tuple(self._agents.values())

    @property
    def described(self) -> str:
        """Who is there, in a line."""
        return "; ".join(one.described for one in self.agents)

    def wait(self) -> None:
        """Wait for the agents, and say who is there.

        Raises:
            AgentsUnavailable: they do not come in time.
        """
        count, wait_s = self._wanted.count, self._wanted.wait_s
        if self.ui_port:
            self.say(f"Locust's web interface: http://127.0.0.1:{self.ui_port}")
        self.say(f"waiting for {_agents(count)} on {spelled(self._wanted.host, self.port)}")
        if self._wait_for(count, wait_s) < count:
            raise AgentsUnavailable(
                f"{len(self._agents)} of {_agents(count)} came within {wait_s:g} s; start them with `tune agent "
                f"--master HOST:{self.port}`, with the same PARETUNE_TOKEN"
                + (", and let them reach this host with --agents-bind ADDRESS" if self._only_this_host else "")
                + "; --agents-wait gives them longer"
            )

    def _wait_for(self, count: int, wait_s: float) -> int:
        """Wait for so many agents, and return how many are there when they are, or when the time is up."""
        there: list[AgentInfo] = self.call("wait", count, wait_s)
        self._agents = {one.index: one for one in there}
        return len(there)

    def _wait_again(self) -> None:
        """Wait for agents in the place of those that were all lost, as long as for the first ones.

        Raises:
            AgentsUnavailable: none comes in time.
        """
        count, wait_s = self._wanted.count, self._wanted.wait_s
        where = spelled(self._wanted.host, self.port)
        self.say(f"no agent is left: waiting for others on {where}, {wait_s:g} s at most")
        with self.pausing():
            if self._wait_for(1, wait_s):
                self._wait_for(count, min(wait_s, _TOGETHER_S))
        if not self._agents:
            raise AgentsUnavailable(
                f"no agent is left to make the load: {self._last}; none came in its place within {wait_s:g} s: start "
                "the agents and the command again (`tune run` resumes, any other begins afresh), or give them longer "
                "with --agents-wait"
            )
        self._note(self._last)

    @property
    def _only_this_host(self) -> bool:
        return is_loopback(self._wanted.host)

    def call(self, name: str, *arguments: Any) -> Any:
        """Have the master's process run a command and return what came of it.

        Raises:
            AgentsLost: agents were lost in it.
            AgentsUnavailable: the master's process has ended.
            GeneratorError: an agent could not do it.
        """
        try:
            self._pipe.send((name, arguments))
        except OSError:
            raise self._ended() from None
        while True:
            how, value = self._receive()
            if how == "say":
                self.say(value)
            elif how == "ok":
                return value
            elif how == "lost":
                raise self._lost(value)
            else:
                raise GeneratorError(f"the agents could not make the load: {value}")

    def refresh(self) -> Sequence[AgentInfo]:
        """Return the agents that are there, those included that came in the place of others.

        Of one that was lost since the last time a note is kept. Where none is left, others are waited for.

        Raises:
            AgentsUnavailable: none is left, and none comes.
        """
        known: dict[int, tuple[AgentInfo, str]] = self.call("alive")
        gone = {index: reason for index, (_, reason) in known.items() if reason and index in self._agents}
        self._agents |= {index: info for index, (info, reason) in known.items() if not reason}
        if gone:
            self._lost(gone)
        if not self._agents:
            self._wait_again()
        return self.agents

    def untold(self) -> tuple[str, ...]:
        """Return the notes on agents that were lost, each once."""
        notes, self._told = tuple(self.losses[self._told :]), len(self.losses)
        return notes

    def new_lane(self) -> int:
        """Return the number of a load that no other one has: each has load generators of its own on every agent."""
        self._lanes += 1
        return self._lanes - 1

    def close(self, *, done: bool = False) -> None:
        """End the master, which ends the agents; safe to call twice.

        Args:
            done: the run has done what it was to do; otherwise its agents end as those of one that may be tried again.
        """
        with suppress(OSError):
            self._pipe.send(("close", (done,)))
        self._pipe.close()
        try:
            self._process.wait(_END_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _lost(self, reasons: dict[int, str]) -> AgentsLost:
        """Strike agents off and return the error that it is."""
        told = [f"{self._agents[index].name}: {reason}" for index, reason in reasons.items() if index in self._agents]
        silent = any(reason != LEFT for reason in reasons.values())
        if not told:
            return AgentsLost("an agent was lost", silent=silent)
        for index in reasons:
            self._agents.pop(index, None)
        self._last = f"lost {'; '.join(told)}"
        if self._agents:
            self.say(f"{self._last}; {_agents(len(self._agents))} left")
            self._note(self._last)
        else:
            self.say(self._last)  # who makes the load in their place is known when they are there
        return AgentsLost(self._last, silent=silent)

    def _note(self, lost: str) -> None:
        self.losses.append(f"made by {_agents(len(self._agents))}: {lost}")

    def _receive(self) -> tuple[str, Any]:
        try:
            self._pipe.poll(None)  # an interrupt comes while it waits, not in the middle of an answer
            how, value = self._pipe.recv()
        except (EOFError, OSError):
            raise self._ended() from None
        return str(how), value

    def _ended(self) -> AgentsUnavailable:
        try:
            code = self._process.wait(_END_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        return AgentsUnavailable(
            f"the process of Locust's master ended with exit code {code}; start the agents and the command again: "
            "`tune run` resumes, any other begins afresh"
        )

    def __enter__(self) -> "Fleet":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close(done=error is None)


@contextmanager
def gathered(wanted: AgentsWanted | None, say: Callable[[str], None]) -> Iterator[Fleet | None]:
    """Wait for the agents that are wanted and yield them, None where none are; on the way out they are ended.

    The run is done when the block ends without an error, whatever it found: an SLO that nothing meets, or a regression.

    Raises:
        AgentsUsageError: there is no token.
        AgentsUnavailable: the master cannot listen, or the agents do not come.
    """
    if wanted is None:
        yield None
        return
    token = read_token(os.environ)
    del os.environ[TOKEN]  # the server is started later, and has no business with it
    with Fleet(wanted, token, say) as fleet:
        fleet.wait()
        yield fleet


def _agents(count: int) -> str:
    return "1 agent" if count == 1 else f"{count} agents"
