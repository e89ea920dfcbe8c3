"""Server-sent events, read as they come: https://html.spec.whatwg.org/multipage/server-sent-events.html, 9.2.6."""

from tuner.load.wire.connection import MalformedAnswer

MAX_EVENT_BYTES = 1 << 24
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class EventParser:
    """Turns pieces of an event stream into the data of its events; holds no more than one event."""

    __slots__ = ("_after_cr", "_rest")

    def __init__(self) -> None:
        self._rest = bytearray()
        self._after_cr = False

    def feed(self, piece: bytes) -> list[bytes]:
        """Return the data of the events that this piece completes.

        Raises:
            MalformedAnswer: an event is longer than MAX_EVENT_BYTES.
        """
        if self._after_cr or b"\r" in piece:
            piece = self._with_line_feeds(piece)
        rest = self._rest
        if rest:
            seam = len(rest) - 1
            rest += piece
            if rest.find(b"\n\n", seam) < 0:
                return self._waiting()
            piece = bytes(rest)
            rest.clear()
        *blocks, tail = piece.split(b"\n\n")
        if tail:
            rest += tail
            self._waiting()
        return [data for block in blocks if (data := _data(block)) is not None]

    def _waiting(self) -> list[bytes]:
        if len(self._rest) > MAX_EVENT_BYTES:
            raise MalformedAnswer(f"an event is longer than {MAX_EVENT_BYTES} bytes")
        return []

    def _with_line_feeds(self, piece: bytes) -> bytes:
        """Make every line end an LF. A CR is one at once: whether an LF follows may be known too late."""
        if self._after_cr:
            piece = piece.removeprefix(b"\n")
        self._after_cr = piece.endswith(b"\r")
        return piece.replace(b"\r\n", b"\n").replace(b"\r", b"\n")


def _data(block: bytes) -> bytes | None:
    """Return the data of an event's lines, None if it has none."""
    if block.startswith(b"data: ") and b"\n" not in block:
        return block[6:]
    lines = block.removeprefix(_BYTE_ORDER_MARK).split(b"\n")
    lines = [line[5:].removeprefix(b" ") for line in lines if line == b"data" or line[:5] == b"data:"]
    return b"\n".join(lines) if lines else None
