"""Real agents in processes of their own: in network namespaces of their own where this user may make them."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

TOKEN = "a token of the tests, long enough"
DELAY_MS = 2


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
    """Make a network of so many namespaces, each with a veth pair to a bridge of this host; or fall back to loopback.

    Namespaces need the rights for them (root) and iproute2.
    """
    if shutil.which("ip") is None:
        yield Networks("127.0.0.1", (), delayed=False)
        return
    tag, third = f"pt{os.getpid() % 10000}", os.getpid() % 250
    host = f"10.213.{third}.1"
    with ExitStack() as stack:
        names: list[str] = []
        stack.callback(_ip, f"link del {tag}b")
        made = _ip(f"link add {tag}b type bridge", f"addr add {host}/24 dev {tag}b", f"link set {tag}b up")
        for index in range(count if made else 0):
            name, outer, inner = f"{tag}n{index}", f"{tag}o{index}", f"{tag}i{index}"
            stack.callback(_ip, f"netns del {name}")
            made = made and _ip(
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
        delayed = made and all(_delayed(name, f"{tag}i{index}") for index, name in enumerate(names))
        yield Networks(host, names, delayed) if made else Networks("127.0.0.1", (), delayed=False)


def _ip(*commands: str) -> bool:
    return all(_run(["ip", *one.split()]) for one in commands)


def _delayed(namespace: str, device: str) -> bool:
    """Delay what leaves a namespace, where this kernel can."""
    tc = ["tc", "qdisc", "add", "dev", device, "root", "netem", "delay", f"{DELAY_MS}ms"]
    return _run(["ip", "netns", "exec", namespace, *tc])


def _run(command: Sequence[str]) -> bool:
    try:
        return subprocess.run(command, check=False, capture_output=True).returncode == 0
    except OSError:
        return False


def start_agent(
    host: str, port: int, *, token: str | None = TOKEN, before: Sequence[str] = (), wait: str = "60 s"
) -> "subprocess.Popen[str]":
    """Start an agent; what it says goes to its standard error."""
    environment = {name: value for name, value in os.environ.items() if name != "PARETUNE_TOKEN"}
    if token is not None:
        environment["PARETUNE_TOKEN"] = token
    command = [sys.executable, "-m", "tuner", "agent", "--master", f"{host}:{port}", "--wait", wait]
    return subprocess.Popen([*before, *command], env=environment, stderr=subprocess.PIPE, text=True)


def end_agent(agent: "subprocess.Popen[str]") -> None:
    """End an agent that may have ended."""
    agent.kill()
    agent.wait()
    if agent.stderr is not None:
        agent.stderr.close()
