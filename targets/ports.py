"""Ports of this machine: one that can be taken, or the one that the study wants."""

import socket

from targets.base import TargetError

HOST = "127.0.0.1"


def free_port(wanted: int | None) -> int:
    """Return a port that can be taken now: the one wanted, or any for None.

    Raises:
        TargetError: the port that is wanted is in use.
    """
    with socket.socket() as probe:
        if wanted is not None:  # what a server just ended leaves behind on its port is in nobody's way
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, wanted or 0))
        except OSError:
            raise TargetError(
                f"target.port: port {wanted} on {HOST} is in use; free it, or leave `port` out and a free one is taken"
            ) from None
        return int(probe.getsockname()[1])


def is_free(port: int) -> bool:
    """Whether a port can be taken."""
    try:
        free_port(port)
    except TargetError:
        return False
    return True
