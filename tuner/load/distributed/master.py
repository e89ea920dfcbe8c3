"""The Locust master of a run: `python -P -m tuner.load.distributed.master PIPE`. The tuner tells it over the pipe.

Locust connects, counts and misses the workers; what Paretune tells them goes over Locust's custom messages. Until an
agent has proved the token it is asked nothing, told nothing, and its statistics are not counted.
"""

import logging
import os
import signal
import sys
from multiprocessing.connection import Connection
from typing import Any, NoReturn

import gevent
import zmq
from gevent.socket import wait_read
from locust.env import Environment
from locust.exception import RPCError
from locust.rpc import Message
from locust.runners import STATE_MISSING, MasterRunner

from tuner import __version__
from tuner.load.distributed.commands import Commands
from tuner.load.distributed.link import TYPE, UNDONE
from tuner.load.distributed.options import LEFT, AgentInfo, AgentsWanted, spelled
from tuner.load.distributed.roster import Member, Roster
from tuner.load.distributed.trust import Challenge, ForgedError, nonce
from tuner.load.distributed.web import show

STRANGERS_SAY = ("client_ready", "heartbeat", TYPE)
MEMBERS_SAY = (*STRANGERS_SAY, "stats", "quit")
_LOOK_S = 0.2


class Master(MasterRunner):
    """Locust's master, which listens to nobody that has not proved the token.

    Args:
        environment: Locust's.
        wanted: what it listens on, and how many agents it takes.
        token: that they have to prove.
    """

    def __init__(self, environment: Environment, wanted: AgentsWanted, token: bytes) -> None:
        self.roster = Roster()
        self.notes: list[str] = []
        self._wanted, self._token = wanted, token
        self._challenges: dict[str, Challenge] = {}
        super().__init__(environment, wanted.host, wanted.port)
        self.register_message(TYPE, self._on_message)
        self.greenlet.spawn(self._watch)

    def start(self, *_: Any, **__: Any) -> None:
        """Begin no users: agents have none. Locust asks for it again when it strikes off one that was lost."""

    def stop(self, send_stop_to_client: bool = True) -> None:
        """Stop no users. Locust asks for it when the last agent is lost, but others may come in its place."""

    def check_stopped(self) -> None:
        """Do not take the run for stopped, whatever becomes of the agents."""

    def client_listener(self) -> NoReturn:
        """Go on listening whatever a message looks like: it may come from anybody who reaches the port."""
        while True:
            try:
                super().client_listener()
            except Exception as error:
                logging.getLogger(__name__).warning("a message that could not be read was dropped: %r", error)

    def handle_message(self, client_id: str, msg: Message) -> None:
        """Pass on what its sender may say, in its own name; drop the rest."""
        member = self.roster.of_client(client_id)
        if msg.node_id != client_id or msg.type not in (MEMBERS_SAY if member else STRANGERS_SAY):
            return
        if member and msg.type == "client_ready":
            member.lose("it connected anew")
        if member and msg.type == "quit":
            member.lose(LEFT)
        super().handle_message(client_id, msg)

    def _on_message(self, environment: Environment, msg: Message, **_: Any) -> None:  # noqa: ARG002 - Locust's names
        data = msg.data if isinstance(msg.data, dict) else {}
        if member := self.roster.of_client(msg.node_id):
            try:
                member.answered(data)
            except ForgedError as error:
                self.notes.append(f"{member.info.name}: {error} was dropped")
        elif data.get("kind") == "hello":
            self._challenge(msg.node_id, data)
        elif data.get("kind") == "proof" and (challenge := self._challenges.pop(msg.node_id, None)):
            self._admit(msg.node_id, challenge, data.get("proof"))

    def _challenge(self, client_id: str, data: dict[str, Any]) -> None:
        hello, theirs = data.get("hello"), data.get("nonce")
        if not isinstance(hello, dict) or not isinstance(theirs, bytes):
            return
        challenge = Challenge(hello, theirs, nonce())
        self._challenges[client_id] = challenge
        proof = challenge.proof(self._token, "master")
        self.send_message(TYPE, {"kind": "challenge", "nonce": challenge.master_nonce, "proof": proof}, client_id)

    def _admit(self, client_id: str, challenge: Challenge, proof: object) -> None:
        hello = challenge.hello
        info = AgentInfo(
            len(self.roster.members), _short(hello.get("host")), _short(hello.get("address")), _count(hello)
        )
        refusal = ""
        if not challenge.proves(self._token, "agent", proof):
            refusal = "its PARETUNE_TOKEN is not the one of this run"
        elif hello.get("version") != __version__:
            refusal = f"it has Paretune {_short(hello.get('version'))}, and this run {__version__}; install the same"
        elif len(self.roster.alive) >= self._wanted.count:
            refusal = f"the run has the {self._wanted.count} agents that it asked for"
        if refusal:
            self.notes.append(f"an agent at {info.host} ({info.address}) was refused: {refusal}")
            self.send_message(TYPE, {"kind": "refused", "reason": refusal}, client_id)
            return
        ours, theirs = challenge.seal(self._token, "master"), challenge.seal(self._token, "agent")
        self.roster.members[info.index] = Member(client_id, info, self, ours, theirs)
        self.send_message(TYPE, {"kind": "welcome"}, client_id)
        self.notes.append(f"{info.described}, is there")

    def dismiss(self, *, done: bool) -> None:
        """End the agents, and say whether the run that they came for is done: if not, the next try needs them again."""
        for member in [] if done else self.roster.alive:
            self.send_message("quit", {UNDONE: True}, member.client_id)
        self.quit()

    def _watch(self) -> NoReturn:
        """Take note of the agents that Locust misses."""
        while True:
            gevent.sleep(_LOOK_S)
            for member in self.roster.alive:
                node = self.clients.get(member.client_id)
                if node is None or node.state == STATE_MISSING:
                    member.lose("it has not been heard of for over 3 s")


def _short(said: object) -> str:
    """Return a word that a stranger said of itself, as it may be printed."""
    return "".join(one for one in str(said)[:100] if one.isprintable())


def _count(hello: Any) -> int:
    cores = hello.get("cores")
    return cores if isinstance(cores, int) else 0


def started(wanted: AgentsWanted, token: bytes) -> tuple[Master, int, int]:
    """Return a master that listens, its port, and that of the web interface, 0: there is none.

    Raises:
        OSError: it cannot listen there.
    """
    environment = Environment()
    try:
        master = Master(environment, wanted, token)
    except (RPCError, zmq.ZMQError, SystemExit) as error:  # of a port in use Locust makes a line in its log, and ends
        said = "the port is in use" if isinstance(error, SystemExit) else error
        raise OSError(f"cannot listen for agents on {spelled(wanted.host, wanted.port)}: {said}") from None
    environment.runner = master
    if not wanted.ui:
        return master, master.server.port, 0
    return master, master.server.port, show(master)


def serve(pipe: Connection, master: Master) -> bool:
    """Do what the tuner says, until it says no more; return whether its run is done."""
    commands = Commands(master, pipe)
    while True:
        wait_read(pipe.fileno())
        try:
            name, arguments = pipe.recv()
        except (EOFError, OSError):  # the tuner has ended, or was killed
            return False
        if name == "close":
            return bool(arguments[0])
        gevent.spawn(commands.run, name, arguments)


def main() -> None:
    """Serve the tuner at the other end of a pipe; the agents are told when it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the tuner decides when to end
    logging.basicConfig(level=logging.CRITICAL)  # what matters is told to the tuner
    pipe: Connection = Connection(int(sys.argv[1]))
    wanted, token = pipe.recv()
    try:
        master, port, ui_port = started(wanted, token)
    except OSError as error:
        pipe.send(("error", str(error)))
        return
    pipe.send(("ok", (port, ui_port)))
    master.dismiss(done=serve(pipe, master))
    sys.stderr.flush()
    os._exit(0)  # Locust's sockets would be waited for


if __name__ == "__main__":
    main()
