"""What the scripted server sends for the paths whose answer is always the same."""

from dataclasses import dataclass

PAUSE_S = 0.005
MIB = 1 << 20
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
HELLO = b"5\r\nhello\r\n1\r\n,\r\n6\r\n world\r\n0\r\n\r\n"


@dataclass(frozen=True)
class Answer:
    """Bytes to send.

    Attributes:
        pieces: handed to the network one by one, the first ones PAUSE_S apart.
        closes: the connection ends after them.
    """

    pieces: tuple[bytes, ...]
    closes: bool = False


def ok(text: str) -> bytes:
    """Return a plain answer."""
    body = (text or "ok").encode()
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)


def byte_by_byte(answer: bytes) -> tuple[bytes, ...]:
    """Cut an answer into pieces of one byte."""
    return tuple(bytes([byte]) for byte in answer)


def _once(answer: bytes, *, closes: bool = False) -> Answer:
    return Answer((answer,), closes)


INTERIM = b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\n\r\n"

ANSWERS = {
    "/error": _once(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\n\r\nbusy"),
    "/error-empty": _once(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n"),
    "/no-content": _once(b"HTTP/1.1 204 No Content\r\n\r\n"),
    "/close": _once(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok", closes=True),
    "/until-close": Answer((b"HTTP/1.1 200 OK\r\n\r\nto the", b" end"), closes=True),
    "/half": _once(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n" + b"x" * 10, closes=True),
    "/garbage": _once(b"\x00\x01\x02 this is not HTTP at all\r\n\r\n"),
    "/long": _once(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok and more"),
    "/bad-length": _once(b"HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\nok"),
    "/drop": Answer((), closes=True),
    "/drip": Answer(byte_by_byte(ok("ok"))),
    "/interim": _once(b"".join(INTERIM) + ok("ok")),
    "/interim-apart": Answer((*INTERIM, ok("ok"))),
    "/interim-only": _once(INTERIM[0], closes=True),
    "/endless-head": _once(b"HTTP/1.1 200 OK\r\nX: " + b"x" * MIB),
    "/big": _once(b"HTTP/1.1 200 OK\r\nContent-Length: 4194304\r\n\r\n" + b"x" * (4 * MIB)),
    "/chunked": _once(CHUNKED + HELLO),
    "/chunked-drip": Answer(byte_by_byte(CHUNKED + HELLO)),
    "/chunked-apart": Answer((CHUNKED, HELLO[:12], HELLO[12:])),
    "/chunk-extensions": _once(CHUNKED + b'5;a=1\r\nhello\r\n7 ; b="x"\r\n, world\r\n0;last\r\n\r\n'),
    "/chunk-trailers": _once(CHUNKED + b"C\r\nhello, world\r\n0\r\nX-Sum: 1\r\nX-Other: 2\r\n\r\n"),
    "/chunk-empty": _once(CHUNKED + b"0\r\n\r\n"),
    "/chunk-too-long": _once(CHUNKED + b"3\r\nhello\r\n0\r\n\r\n"),
    "/chunk-bad-size": _once(CHUNKED + b"0x5\r\nhello\r\n0\r\n\r\n"),
    "/chunk-cut": Answer((CHUNKED, HELLO[:12]), closes=True),
    "/chunk-after": _once(CHUNKED + HELLO + b"more"),
}
