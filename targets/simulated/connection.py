"""HTTP/1.1 as far as the simulated server needs it: requests read from a connection, answers written to it."""

import json
import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from http import HTTPStatus

_READ_BYTES = 1 << 16
_MAX_HEAD_BYTES = 1 << 16
_MAX_REQUEST_BYTES = 1 << 28
_HEAD_END = b"\r\n\r\n"
_REQUEST_LINE = re.compile(r"([A-Z]+) (/\S*) HTTP/1\.1")


class MalformedRequest(Exception):
    """The bytes received are no request that is understood; the connection cannot go on."""


@dataclass(frozen=True, slots=True)
class Head:
    """A request without its body; header names are in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    length: int

    @property
    def closes(self) -> bool:
        """Whether the connection ends with the answer."""
        return self.headers.get("connection", "").lower() == "close"


@lru_cache(maxsize=4096)
def read_head(head: bytes) -> Head:
    """Parse a request's head; a load generator sends few different ones.

    Raises:
        MalformedRequest: it is no HTTP/1.1, or the body's length cannot be told.
    """
    first, *lines = head.decode("latin-1").split("\r\n")
    asked = _REQUEST_LINE.fullmatch(first)
    if asked is None:
        raise MalformedRequest(f"not the first line of an HTTP/1.1 request: {first[:80]!r}")
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    length = headers.get("content-length", "0")
    if "transfer-encoding" in headers or not (length.isascii() and length.isdigit()):
        raise MalformedRequest("a body needs a Content-Length; chunks are not understood")
    return Head(asked[1], asked[2], headers, int(length))


def answer(status: int, body: object) -> bytes:
    """Return an answer with a JSON body."""
    text = json.dumps(body).encode()
    head = f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(text)}\r\n\r\n".encode() + text


class Connection:
    """A client's connection; its requests are taken one after another.

    Attributes:
        busy: a request was taken and is not answered yet.
        closing: the connection ends with the answer.
        closed: it has ended.
    """

    __slots__ = ("_in", "_out", "busy", "closed", "closing", "socket")

    def __init__(self, client: socket.socket) -> None:
        self.socket = client
        self.busy = self.closing = self.closed = False
        self._in = bytearray()
        self._out = b""

    def receive(self) -> None:
        """Read what there is.

        Raises:
            OSError: the client left, or sends more than a request can be.
        """
        try:
            data = self.socket.recv(_READ_BYTES)
        except BlockingIOError:
            return
        if not data:
            raise ConnectionResetError("the client left")
        self._in += data
        if len(self._in) > _MAX_REQUEST_BYTES:
            raise ConnectionError(f"more than {_MAX_REQUEST_BYTES} bytes without the end of a request")

    def take(self) -> tuple[Head, bytes] | None:
        """Take the next request if it is all there.

        The body of a POST is passed over: an inference's input means nothing here.

        Raises:
            MalformedRequest: what came is none.
        """
        end = self._in.find(_HEAD_END)
        if end < 0:
            if len(self._in) > _MAX_HEAD_BYTES:
                raise MalformedRequest(f"more than {_MAX_HEAD_BYTES} bytes without the end of a head")
            return None
        head = read_head(bytes(self._in[:end]))
        start = end + len(_HEAD_END)
        if len(self._in) < start + head.length:
            return None
        body = b"" if head.method == "POST" else bytes(self._in[start : start + head.length])
        del self._in[: start + head.length]
        self.busy, self.closing = True, head.closes
        return head, body

    def send(self, data: bytes = b"") -> bool:
        """Send data, and what is left of earlier data, as far as possible; return whether all is sent.

        Raises:
            OSError: the client left.
        """
        self._out += data
        try:
            self._out = self._out[self.socket.send(self._out) :]
        except BlockingIOError:
            return False
        return not self._out

    def close(self) -> None:
        """End it."""
        self.closed = True
        self.socket.close()
