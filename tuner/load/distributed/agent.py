"""An agent: `python -P -m tuner.load.distributed.agent HOST PORT WAIT_S` joins a master as a Locust worker.

It proves the token, has the master prove it, and then does what the master asks, until the master ends or is lost. The
load itself is made by load generators in processes of their own, the same as on one machine.
"""

import logging
import os
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gevent
import locust
import zmq
from gevent.event import AsyncResult
from locust.env import Environment
from locust.rpc import Message
from locust.runners import CONNECT_TIMEOUT, WorkerRunner
from locust.stats import RequestStats

from tuner import __version__
from tuner.load.distributed.duties import Duties
from tuner.load.distributed.link import TYPE, UNDONE, packed, unpacked
from tuner.load.distributed.options import host_of, spelled
from tuner.load.distributed.trust import TOKEN, Challenge, ForgedError, Seal, nonce, read_token

DONE, USAGE, MASTER_UNUSABLE, INTERRUPTED = 0, 2, 3, 130
SILENCE_S = 10.0
"""A master that was not heard of for so long has vanished; it answers Locust's heartbeats every second."""
RETRY_S = 1.0
"""From one try to find a host to the next."""
PROBE_S = 2.0
"""An address that does not answer for so long has nobody who listens."""
_MASTER_SAYS = ("ack", "heartbeat", "quit", "reconnect", TYPE)
_LAST_WORDS_S = 1.0


class Worker(WorkerRunner):
    """Locust's worker, which does nothing but what this module knows of.

    Args:
        environment: Locust's.
        host: of the master.
        port: of the master.
        token: that both sides have to prove.
        scratch: folder for records.
        ended: is told the exit code and why, when the agent is to end.
    """

    def __init__(
        self, environment: Environment, host: str, port: int, token: bytes, scratch: Path, ended: AsyncResult
    ) -> None:
        self._ended = ended
        self.heard_s = time.monotonic()
        self.duties = Duties(scratch, lambda: environment.stats)
        self._token = token
        self._nonce = nonce()
        reached, own = _way_to(host, port)
        self._hello: dict[str, str | int] = {
            "version": __version__,
            "host": socket.gethostname(),
            "address": own,
            "cores": len(os.sched_getaffinity(0)),
        }
        self._seals: tuple[Seal, Seal] | None = None
        self._answered = 0
        self.welcome = False
        super().__init__(environment, reached, port)
        self.register_message(TYPE, self._on_message)
        self.send_message(TYPE, {"kind": "hello", "hello": self._hello, "nonce": self._nonce})
        self.greenlet.spawn(self._watch)

    def connect_to_master(self) -> None:
        """Say that this agent is there until a master answers; Locust's own gives up after 5 minutes.

        Whoever makes a worker decides how long that may take.
        """
        while not self.connected:
            # While there is no master the words wait in a queue of ZeroMQ's; when that is full they are enough.
            if int(self.client.socket.get(zmq.EVENTS)) & zmq.POLLOUT:
                ready = Message("client_ready", locust.__version__, self.client_id)  # type: ignore[no-untyped-call]
                self.client.send(ready)
            self.connected = bool(self.connection_event.wait(timeout=CONNECT_TIMEOUT))

    def handle_message(self, msg: Message) -> None:
        """Take what concerns an agent; of users and locustfiles it has none."""
        self.heard_s = time.monotonic()
        if msg.type == "quit":
            self._end(*self._told_to_go(msg.data if isinstance(msg.data, dict) else {}))
        elif msg.type in _MASTER_SAYS:
            super().handle_message(msg)

    def _told_to_go(self, said: Mapping[str, object]) -> tuple[int, str]:
        """Return the exit code and the words for a goodbye of the master's."""
        if not self.welcome:
            return MASTER_UNUSABLE, "the master ended before it had proved the token"
        if UNDONE in said:
            return MASTER_UNUSABLE, "the run ended before it was done; for another try of it start this agent again"
        if said:
            return MASTER_UNUSABLE, f"the master took this agent for lost: {said.get('reason')}"
        return DONE, "the run is over"

    def _on_message(self, environment: Environment, msg: Message, **_: Any) -> None:  # noqa: ARG002 - Locust's names
        data = msg.data if isinstance(msg.data, dict) else {}
        match data.get("kind"):
            case "challenge" if self._seals is None:
                self._prove(data)
            case "refused" if not self.welcome:
                self._end(USAGE, f"the master refused this agent: {data.get('reason')}")
            case "welcome" if self._seals is not None:
                self.welcome = True
                _say("joined: waiting for plans")
            case None if self._seals is not None:
                self._take(data, *self._seals)

    def _prove(self, data: dict[str, Any]) -> None:
        """Check the master's proof, and give ours: what a master without the token says is never listened to."""
        theirs = data.get("nonce")
        challenge = Challenge(self._hello, self._nonce, theirs if isinstance(theirs, bytes) else b"")
        if challenge.proves(self._token, "master", data.get("proof")):
            self._seals = challenge.seal(self._token, "agent"), challenge.seal(self._token, "master")
        else:
            where = spelled(self.master_host, self.master_port)
            self._end(USAGE, f"the master at {where} has another {TOKEN}: it has to be the same on both sides")
        # Also to a master of another token: so it can say whom it refused.
        self.send_message(TYPE, {"kind": "proof", "proof": challenge.proof(self._token, "agent")})

    def _end(self, code: int, words: str) -> None:
        """End the agent; the first reason is the one that counts."""
        if not self._ended.ready():
            self._ended.set((code, words))

    def _take(self, data: dict[str, Any], ours: Seal, theirs: Seal) -> None:
        """Answer a question of the master's, while others may come."""
        try:
            number, content = unpacked(theirs, data)
        except ForgedError as error:
            _say(f"{error} was dropped")
            return
        if number > self._answered:  # what was said before is not done again
            self._answered = number
            gevent.spawn(self._answer, number, content, ours)

    def _answer(self, number: int, content: dict[str, Any], ours: Seal) -> None:
        self.send_message(TYPE, packed(ours, number, self.duties.answer(content)))

    def _watch(self) -> None:
        """End when the master is not heard of any more."""
        while time.monotonic() - self.heard_s < SILENCE_S:
            gevent.sleep(1.0)
        where = spelled(self.master_host, self.master_port)
        self._end(MASTER_UNUSABLE, f"the master at {where} has vanished: nothing of it for {SILENCE_S:g} s")


def _way_to(host: str, port: int) -> tuple[str, str]:
    """Return what to connect to in order to reach the master, and this host's own address on the way there.

    ZeroMQ takes a name for one address, of IPv6 where it has any, and the master may listen on another one. So a name
    with addresses of both kinds, as `localhost` often has, stands for the first that somebody listens on. Of anything
    else only the way is looked up, and nothing is sent.

    Raises:
        OSError: the name is not known, there is no way to its addresses, or nobody listens on any of both kinds.
    """
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    both = len({family for family, *_ in found}) > 1
    why = OSError(f"{host} has no address")
    for family, *_, address in found:
        try:
            with socket.socket(family, socket.SOCK_STREAM if both else socket.SOCK_DGRAM) as probe:
                probe.settimeout(PROBE_S)
                probe.connect(address)
                return host_of(address) if both else host, host_of(probe.getsockname())
        except OSError as error:
            why = error
    raise why


def _join(host: str, port: int, wait_s: float, token: bytes, scratch: Path, ended: AsyncResult) -> Worker | None:
    """Return a worker that has met a master; None, and the agent ends: there is none in time."""
    environment = Environment()
    environment.stats = RequestStats(use_response_times_cache=False)
    where = spelled(host, port)
    worker, why = None, ""
    try:
        with gevent.Timeout(wait_s):
            while worker is None:
                try:
                    worker = Worker(environment, host, port, token, scratch, ended)
                except OSError as error:  # its name, or the way to it, may not be known yet
                    why = f": {error}"
                    gevent.sleep(RETRY_S)
    except gevent.Timeout:
        ended.set((MASTER_UNUSABLE, f"no master answered at {where} within {wait_s:g} s{why}"))
    environment.runner = worker
    return worker


def _say(words: str) -> None:
    sys.stderr.write(f"tune agent: {words}\n")
    sys.stderr.flush()


def main() -> None:
    """Serve a master until it ends.

    Exit codes: 0 its run is done, 2 it or we are refused, 3 it is not there, or its run ended before it was done.
    """
    logging.basicConfig(level=logging.CRITICAL)  # what matters is said here
    host, port, wait_s = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
    token = read_token(os.environ)
    del os.environ[TOKEN]  # the processes started here need none
    ended = AsyncResult()
    for number in (signal.SIGINT, signal.SIGTERM):
        gevent.signal_handler(number, ended.set, (INTERRUPTED, "interrupted"))
    with tempfile.TemporaryDirectory(prefix="paretune-agent-") as folder:
        _say(f"looking for a master at {spelled(host, port)}")
        joining = gevent.spawn(_join, host, port, wait_s, token, Path(folder), ended)
        code, words = ended.get()
        if joining.ready() and (worker := joining.get()) is not None:
            worker.duties.close()
            worker.environment.events.quitting.fire(environment=worker.environment, reverse=True)  # says `quit`
            gevent.sleep(_LAST_WORDS_S)
    _say(words)
    os._exit(code)  # Locust's sockets would be waited for


if __name__ == "__main__":
    main()
