"""Ports of this machine: one that can be taken, or the one that the study wants."""

import secrets
import socket
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

from targets.base import TargetError

HOST = "127.0.0.1"
EPHEMERAL = Path("/proc/sys/net/ipv4/ip_local_port_range")
LOWEST = 10_000
ATTEMPTS = 100


def free_port(wanted: int | None) -> int:
    """Return a port that can be taken now: the one wanted, or any for None.

    Raises:
        TargetError: the port that is wanted is in use.
    """
    return choose_ports({"": wanted})[""]


def choose_ports(wanted: Mapping[str, int | None]) -> dict[str, int]:
    """Return a free port for each name, all different: the one wanted, or any for None.

    The study's key of a port is `port`, or `NAME_port` where there are several.

    Raises:
        TargetError: a port that is wanted is in use.
    """
    with ExitStack() as stack:
        ports = {}
        for name in sorted(wanted, key=lambda name: wanted[name] is None):
            probe = stack.enter_context(socket.socket())
            port = wanted[name]
            ports[name] = _bind_any(probe) if port is None else _bind(probe, port, f"{name}_port" if name else "port")
        return ports


def is_free(port: int) -> bool:
    """Whether a port can be taken."""
    try:
        free_port(port)
    except TargetError:
        return False
    return True


def _bind(probe: socket.socket, port: int, key: str) -> int:
    # What a server just ended leaves behind on its port is in nobody's way.
    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        probe.bind((HOST, port))
    except OSError:
        raise TargetError(
            f"target.{key}: port {port} on {HOST} is in use; free it, or leave `{key}` out and a free port is taken"
        ) from None
    return port


def _bind_any(probe: socket.socket) -> int:
    """Bind to a port that the system gives to no outgoing connection, so that none takes it before the server does."""
    ports = range(LOWEST, _lowest_ephemeral())
    for _ in range(ATTEMPTS if ports else 0):
        try:
            probe.bind((HOST, secrets.choice(ports)))
        except OSError:
            continue
        return int(probe.getsockname()[1])
    probe.bind((HOST, 0))
    return int(probe.getsockname()[1])


def _lowest_ephemeral() -> int:
    try:
        return int(EPHEMERAL.read_text().split()[0])
    except (OSError, ValueError):
        return 0
