"""Real agents in processes of their own: in network namespaces of their own where this user may make them."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import psutil

from tuner.load.null_server import REQUEST, NullServer
from tuner.load.plan import ClosedLoop, Plan

TOKEN = "a token of the tests, long enough"
DELAY_MS = 2
MS = 1_000_000
RIGHTS = {"CAP_NET_ADMIN": 12, "CAP_SYS_ADMIN": 21}
"""What making a network namespace takes: name of a capability -> its bit."""


@dataclass(frozen=True)
class Networks:
    """Where agents may run.

    Attributes:
        host: address of the master and of the server.
        namespaces: names of network namespaces, one for each agent; empty: there are none, and all share loopback.
        delayed: whether what agents send takes DELAY_MS longer.
    """

    host: str
    namespaces: Sequence[str]
    delayed: bool

    def command(self, index: int) -> list[str]:
        """Return what stands in front of a command of the `index`-th agent."""
        return ["ip", "netns", "exec", self.namespaces[index]] if self.namespaces else []


@contextmanager
def networks(count: int) -> Iterator[Networks]:
    """Make a network of so many namespaces, each with a veth pair to a bridge of this host.

    Where this user may not, agents share loopback, and pytest's summary has a warning that says so. Where this user
    may, it is an error when they cannot be made.
    """
    if lacking := _lacking():
        warnings.warn(f"agents of these tests share loopback: {lacking}", stacklevel=2)
        yield Networks("127.0.0.1", (), delayed=False)
        return
    tag, third = f"pt{os.getpid() % 10000}", os.getpid() % 250
    host = f"10.213.{third}.1"
    with ExitStack() as stack:
        names: list[str] = []
        stack.callback(_ip, f"link del {tag}b")
        said = _ip(f"link add {tag}b type bridge", f"addr add {host}/24 dev {tag}b", f"link set {tag}b up")
        for index in range(count):
            name, outer, inner = f"{tag}n{index}", f"{tag}o{index}", f"{tag}i{index}"
            stack.callback(_ip, f"netns del {name}")
            said = said or _ip(
                f"netns add {name}",
                f"link add {outer} type veth peer name {inner}",
                f"link set {inner} netns {name}",
                f"link set {outer} master {tag}b",
                f"link set {outer} up",
                f"-n {name} link set lo up",
                f"-n {name} addr add 10.213.{third}.{index + 2}/24 dev {inner}",
                f"-n {name} link set {inner} up",
            )
            names.append(name)
        assert not said, f"network namespaces could not be made: {said}"
        delayed = not any(_delayed(name, f"{tag}i{index}") for index, name in enumerate(names))
        yield Networks(host, names, delayed)


def _lacking() -> str:
    """Return what this user needs to make network namespaces and has not, "" where nothing is missing."""
    if shutil.which("ip") is None:
        return "there is no `ip` (iproute2)"
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    held = int(status["CapEff"], 16)
    missing = [name for name, bit in RIGHTS.items() if not held >> bit & 1]
    return f"this user has no {' and no '.join(missing)}" if missing else ""


def _ip(*commands: str) -> str:
    """Run commands of iproute2 up to the first that fails; return what that said, "" where none did."""
    return next(filter(None, (_run(["ip", *one.split()]) for one in commands)), "")


def _delayed(namespace: str, device: str) -> str:
    """Delay what leaves a namespace; return why that is not done, "" where it is: not every kernel can."""
    tc = ["tc", "qdisc", "add", "dev", device, "root", "netem", "delay", f"{DELAY_MS}ms"]
    return _run(["ip", "netns", "exec", namespace, *tc])


def _run(command: Sequence[str]) -> str:
    try:
        ended = subprocess.run(command, check=False, capture_output=True, text=True)
    except OSError as error:
        return str(error)
    return f"{' '.join(command)}: exit code {ended.returncode}: {ended.stderr.strip()}" if ended.returncode else ""


def start_agent(
    host: str, port: int, *, token: str | None = TOKEN, before: Sequence[str] = (), wait: str = "60 s"
) -> "subprocess.Popen[str]":
    """Start an agent; what it says goes to its standard error."""
    environment = {name: value for name, value in os.environ.items() if name != "PARETUNE_TOKEN"}
    if token is not None:
        environment["PARETUNE_TOKEN"] = token
    command = [sys.executable, "-m", "tuner", "agent", "--master", f"{host}:{port}", "--wait", wait]
    return subprocess.Popen([*before, *command], env=environment, stderr=subprocess.PIPE, text=True)


def closed_loop(server: NullServer, records: Path, window_ms: int, timeout_ms: int) -> Plan:
    """Return a plan of two requests in flight, without a warm-up, that may start at once."""
    return Plan(
        endpoint=replace(server.endpoint, requests=(REQUEST,)),
        load=ClosedLoop(2, np.zeros(1, np.int32)),
        start_ns=0,
        warmup_ns=0,
        window_ns=window_ms * MS,
        timeout_ns=timeout_ms * MS,
        records_path=records,
    )


def end_agent(agent: "subprocess.Popen[str]") -> None:
    """End an agent that may have ended."""
    agent.kill()
    agent.wait()
    if agent.stderr is not None:
        agent.stderr.close()


@dataclass(frozen=True)
class Ended:
    """A command whose load agents made, when all have ended.

    Attributes:
        code: the command's exit code.
        out: what it printed.
        errors: what it said beside that.
        agents: exit code and words of each agent.
    """

    code: int
    out: str
    errors: str
    agents: list[tuple[int, str]]


Meanwhile = Callable[["subprocess.Popen[str]", Sequence["subprocess.Popen[str]"]], object]


def tune_with_agents(
    *arguments: object, cwd: Path, count: int = 2, host: str = "127.0.0.1", meanwhile: Meanwhile | None = None
) -> Ended:
    """Run `tune` with so many agents on this host; while it runs, `meanwhile` is given it and them."""
    given = [str(one) for one in (*arguments, "--agents", count, "--agents-bind", f"{host}:0")]
    command = subprocess.Popen(
        [sys.executable, "-m", "tuner", *given],
        cwd=cwd,
        env={**os.environ, "PARETUNE_TOKEN": TOKEN},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # it listens to SIGINT, even where the tests themselves were started in the background
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 - no threads run here
    )
    agents: list[subprocess.Popen[str]] = []
    try:
        port, said = _port_of(command, host)
        agents += [start_agent(host, port) for _ in range(count)]
        if meanwhile is not None:
            meanwhile(command, agents)
        out, errors = command.communicate(timeout=240)
        for agent in agents:
            agent.send_signal(signal.SIGCONT)  # one that was stopped can say its last words
        ends = [(agent.wait(timeout=60), agent.communicate()[1]) for agent in agents]
    finally:
        for one in (command, *agents):
            end_agent(one)
    return Ended(command.returncode, out, said + errors, ends)


def _port_of(command: "subprocess.Popen[str]", host: str) -> tuple[int, str]:
    """Return the port that a command waits for agents on, and what it said up to there."""
    assert command.stderr is not None
    said = ""
    while (found := re.search(rf"waiting for \d+ agents? on {re.escape(host)}:(\d+)", said)) is None:
        line = command.stderr.readline()
        assert line, said
        said += line
    return int(found[1]), said


def stop_at_work(agent: "subprocess.Popen[str]") -> None:
    """Stop an agent, but not its load generator, as soon as that is connected with the server."""
    wait_for_work(agent)
    agent.send_signal(signal.SIGSTOP)


def wait_for_work(agent: "subprocess.Popen[str]") -> None:
    """Wait until the load generator of an agent is connected with the server."""
    deadline = time.monotonic() + 120
    process = psutil.Process(agent.pid)
    while not any(_connected(one) for one in process.children()):
        assert time.monotonic() < deadline, "it makes no load"
        time.sleep(0.02)


def _connected(process: psutil.Process) -> bool:
    try:
        return any(one.status == psutil.CONN_ESTABLISHED for one in process.net_connections("tcp"))
    except psutil.Error:  # it has just ended
        return False
