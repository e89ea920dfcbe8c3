"""What is asked for of agents, and who they are."""

import ipaddress
import os
import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from tuner.load.distributed.trust import AgentsUsageError, read_token
from workloads.units import parse_duration

PORT = 5557
"""Where Locust's masters listen."""
WAIT_S = 300.0
"""How long agents may take to come, unless `--agents-wait` says it."""
UI_PORT = 8089
"""Where Locust's web interface is served."""
LOOPBACK = "127.0.0.1"
EVERYWHERE = "*"
"""All addresses of this host, of IPv4 and of IPv6, as far as it has them."""
LEFT = "it left"
"""Why an agent is gone that said goodbye: its load generators ended before it did."""
INSTALL = "pip install 'paretune[locust]'"
_ADDRESS = re.compile(r"(?:(?P<host>[^:\[\]]+)|\[(?P<ipv6>[^\[\]]+)\])(?::(?P<port>[0-9]{1,5}))?")


@dataclass(frozen=True)
class AgentsWanted:
    """Agents that a run is to have.

    Attributes:
        count: how many.
        host: address that the master listens on.
        port: its port; 0: a free one.
        ui: serve Locust's web interface on this host.
        wait_s: how long they may take to come, in seconds.
    """

    count: int
    host: str = LOOPBACK
    port: int = PORT
    ui: bool = False
    wait_s: float = WAIT_S


@dataclass(frozen=True)
class AgentInfo:
    """An agent that takes part.

    Attributes:
        index: of the agent in its run; it is never given to another one.
        host: its name of itself.
        address: its own, on the way to the master.
        cores: CPUs that it may use.
    """

    index: int
    host: str
    address: str
    cores: int

    @property
    def name(self) -> str:
        """What it is called in messages and results: several may run on one host."""
        return f"agent {self.index + 1} ({self.host}, {self.address})"

    @property
    def described(self) -> str:
        """Its name and its cores."""
        return f"{self.name}, {self.cores} {'core' if self.cores == 1 else 'cores'}"

    @property
    def is_local(self) -> bool:
        """Whether it reached the master over the loopback interface, and so runs on its host."""
        return is_loopback(self.address)


def is_loopback(address: str) -> bool:
    """Whether an address is one that only its own host reaches."""
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return address == "localhost"


def spelled(host: str, port: int) -> str:
    """Return an address as it is written: one of IPv6 stands in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def host_of(address: tuple[Any, ...]) -> str:
    """Return the host of a socket's address; a link-local one has its zone, without which it leads nowhere.

    Raises:
        OSError: this host has no such zone.
    """
    host = str(address[0])
    zone = int(address[3]) if len(address) > 3 else 0  # of IPv6: the number of an interface
    return f"{host}%{socket.if_indextoname(zone)}" if zone else host


def address_of(text: str, port: int = PORT) -> tuple[str, int]:
    """Return host and port from `HOST` or `HOST:PORT`; the host has no brackets.

    An IPv6 address stands in brackets where a port follows, and may do so otherwise.

    Args:
        text: what was given.
        port: where it names none.

    Raises:
        AgentsUsageError: it is no address.
    """
    if _is_ipv6(text):
        return text, port
    found = _ADDRESS.fullmatch(text)
    given = int(found["port"] or port) if found else port
    if found is None or given >= 1 << 16 or (found["ipv6"] and not _is_ipv6(found["ipv6"])):
        raise AgentsUsageError(
            f"{text!r} is no address: write HOST or HOST:PORT, like 10.0.0.5:{PORT} or [fd00::5]:{PORT}"
        )
    return found["host"] or found["ipv6"], given


def _is_ipv6(text: str) -> bool:
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return True


def agents_wanted(count: int | None, bind: str | None, wait: str | None = None, *, ui: bool) -> AgentsWanted | None:
    """Return what the options of a command ask for, None: no agents.

    Args:
        count: `--agents`.
        bind: `--agents-bind`.
        wait: `--agents-wait`, a duration with its unit.
        ui: `--locust-ui`.

    Raises:
        AgentsUsageError: they do not go together, Locust is not installed, or there is no token.
    """
    if count is None:
        given = {"--agents-bind": bind is not None, "--agents-wait": wait is not None, "--locust-ui": ui}
        if any(given.values()):
            option = next(name for name, is_given in given.items() if is_given)
            raise AgentsUsageError(f"{option} is about agents: say how many with --agents N")
        return None
    check_able(os.environ)
    host, port = address_of(bind) if bind is not None else (LOOPBACK, PORT)
    try:
        wait_s = WAIT_S if wait is None else parse_duration(wait)
    except ValueError as error:
        raise AgentsUsageError(f"--agents-wait: {error}") from None
    return AgentsWanted(count, host, port, ui, wait_s)


def check_able(environment: Mapping[str, str]) -> bytes:
    """Return the token, and check that Locust is installed.

    Raises:
        AgentsUsageError: there is none, or Locust is not installed.
    """
    if find_spec("locust") is None:
        raise AgentsUsageError(f"agents need Locust: {INSTALL}")
    return read_token(environment)
