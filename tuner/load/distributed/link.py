"""Questions and answers over Locust's custom messages, sealed; for the master's process and the agents' alike.

A question has a number, larger than the one before; the answer has the same. Both are one Locust message of type
TYPE: msgpack, sealed with the key of the session and of its sender, so nobody else can ask or answer, or repeat what
was said.
"""

from typing import Any, Protocol

import msgpack

from tuner.load.distributed.trust import ForgedError, Seal

TYPE = "paretune"
UNDONE = "undone"
"""What a goodbye of the master's has where the run ended before it was done."""


class Sender(Protocol):
    """A Locust runner, as far as it sends messages."""

    def send_message(self, msg_type: str, data: dict[str, Any] | None = None, client_id: str | None = None) -> None:
        """Send a message to the master, or to a client."""
        ...


def packed(seal: Seal, number: int, content: dict[str, Any]) -> dict[str, Any]:
    """Return the data of a sealed Locust message."""
    return {"sealed": seal.sealed(msgpack.packb([number, content]))}


def unpacked(seal: Seal, data: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    """Return number and content of a sealed message.

    Raises:
        ForgedError: it is not sealed by the other side.
    """
    number, content = msgpack.unpackb(seal.opened(data.get("sealed")), strict_map_key=False)
    if not isinstance(number, int) or not isinstance(content, dict):
        raise ForgedError("a sealed message of another form")
    return number, content
