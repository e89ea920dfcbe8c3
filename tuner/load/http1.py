"""Read HTTP/1.1 answers: just what a load generator needs, as fast as Python can.

Servers repeat the heads of their answers to the byte, so parsed heads are remembered.
"""

import re
from dataclasses import dataclass

_HEAD_END = b"\r\n\r\n"
_STATUS = re.compile(rb"HTTP/1\.([01]) (\d{3})(?:[ \r]|$)")
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d+)[ \t]*(?=\r\n|$)", re.IGNORECASE)
_CLOSE = re.compile(rb"\r\nconnection:[^\r\n]*\bclose\b", re.IGNORECASE)
_KEEP_ALIVE = re.compile(rb"\r\nconnection:[^\r\n]*\bkeep-alive\b", re.IGNORECASE)
MAX_HEAD_BYTES = 1 << 16
_MAX_REMEMBERED = 1024


class MalformedAnswer(Exception):
    """The bytes are no HTTP/1.1 answer with a known length."""


@dataclass(frozen=True)
class Head:
    """A parsed head: status, length of the whole answer, where the body begins, whether the connection stays open."""

    status: int
    body_start: int
    total: int
    keep_alive: bool


_remembered: dict[bytes, Head] = {}


def read_head(data: bytes | bytearray) -> Head | None:
    """Parse the head at the start of `data`; None when it is not complete yet.

    Raises:
        MalformedAnswer: it is no HTTP/1.x head, has no Content-Length, or is too long.
    """
    end = data.find(_HEAD_END)
    if end < 0:
        if len(data) > MAX_HEAD_BYTES or not b"HTTP/1."[: len(data)] == bytes(data[:7]):
            raise MalformedAnswer(f"not the head of an HTTP/1.1 answer: {bytes(data[:40])!r}")
        return None
    key = bytes(data[:end])
    head = _remembered.get(key)
    if head is None:
        head = _parse(key)
        if len(_remembered) < _MAX_REMEMBERED:
            _remembered[key] = head
    return head


def _parse(head: bytes) -> Head:
    status = _STATUS.match(head)
    length = _LENGTH.search(head)
    if status is None or length is None:
        raise MalformedAnswer(f"no HTTP/1.1 status or no Content-Length: {head[:200]!r}")
    body_start = len(head) + len(_HEAD_END)
    old = status[1] == b"0"
    return Head(
        status=int(status[2]),
        body_start=body_start,
        total=body_start + int(length[1]),
        keep_alive=bool(_KEEP_ALIVE.search(head)) if old else not _CLOSE.search(head),
    )
