"""HTTP/2 as a client of gRPC needs it: frames, settings, flow control, header blocks (RFC 9113, RFC 7541)."""

import struct
from collections.abc import Iterator, Sequence

from hpack import Decoder, Encoder
from hpack.exceptions import HPACKError
from hpack.table import HeaderTable, table_entry_size

from tuner.load.wire.connection import MalformedAnswer

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM, ACK, END_HEADERS, PADDED, PRIORITISED = 0x1, 0x1, 0x4, 0x8, 0x20
HEADER_TABLE_SIZE, ENABLE_PUSH, MAX_CONCURRENT_STREAMS, INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE = 1, 2, 3, 4, 5
REFUSED_STREAM, CANCEL = 7, 8
DEFAULT_WINDOW = 65_535
DEFAULT_FRAME = 16_384
DEFAULT_TABLE = 4096
RECEIVE_WINDOW = 1 << 30
MAX_STREAM_ID = (1 << 31) - 1
MAX_BLOCK_BYTES = 1 << 20
"""No header block, and no headers in one, may be longer."""

_HEAD = struct.Struct(">IBI")
_HEAD_BYTES = _HEAD.size
_LARGEST_FRAME = (1 << 24) - 1
_SETTING = struct.Struct(">HI")
_WORD = struct.Struct(">I")
_PRIORITY_BYTES = 5
_MAX_REMEMBERED = 256
_MAX_REMEMBERED_BYTES = 1 << 10
Headers = Sequence[tuple[str, str]]
Frame = tuple[int, int, int, bytes]
"""Type, flags, stream, payload."""


def frame(kind: int, flags: int, stream: int, payload: bytes | memoryview = b"") -> bytes:
    """Return a frame as it goes over the wire."""
    return _HEAD.pack(len(payload) << 8 | kind, flags, stream) + payload


def headers(stream: int, block: bytes) -> bytes:
    """Return the frames of a header block, of as many as it takes."""
    if len(block) <= DEFAULT_FRAME:
        return frame(HEADERS, END_HEADERS, stream, block)
    parts = [block[at : at + DEFAULT_FRAME] for at in range(0, len(block), DEFAULT_FRAME)]
    middle = b"".join(frame(CONTINUATION, 0, stream, part) for part in parts[1:-1])
    return frame(HEADERS, 0, stream, parts[0]) + middle + frame(CONTINUATION, END_HEADERS, stream, parts[-1])


def opening() -> bytes:
    """Return what a client says first: the preface, its settings, and that it takes in RECEIVE_WINDOW bytes."""
    settings = _SETTING.pack(ENABLE_PUSH, 0) + _SETTING.pack(INITIAL_WINDOW_SIZE, RECEIVE_WINDOW)
    return PREFACE + frame(SETTINGS, 0, 0, settings) + window_update(0, RECEIVE_WINDOW - DEFAULT_WINDOW)


def window_update(stream: int, increment: int) -> bytes:
    """Return a frame that allows the server that many bytes more."""
    return frame(WINDOW_UPDATE, 0, stream, _WORD.pack(increment))


def reset(stream: int, code: int) -> bytes:
    """Return a frame that ends a stream."""
    return frame(RST_STREAM, 0, stream, _WORD.pack(code))


def word(payload: bytes, at: int = 0) -> int:
    """Return the 31 bits at an offset of a payload: a window's increment, a stream, or an error code.

    Raises:
        MalformedAnswer: the payload is too short.
    """
    if len(payload) < at + 4:
        raise MalformedAnswer("an HTTP/2 frame is too short")
    value: int = _WORD.unpack_from(payload, at)[0]
    return value & MAX_STREAM_ID


def settings_of(payload: bytes) -> Iterator[tuple[int, int]]:
    """Return the (identifier, value) pairs of a SETTINGS frame.

    Raises:
        MalformedAnswer: it is no whole number of them, or a value is one that RFC 9113, 6.5.2 forbids.
    """
    if len(payload) % _SETTING.size:
        raise MalformedAnswer(f"a SETTINGS frame of {len(payload)} bytes")
    for name, value in _SETTING.iter_unpack(payload):
        if name == INITIAL_WINDOW_SIZE and value > MAX_STREAM_ID:
            raise MalformedAnswer(f"an initial window of {value} bytes")
        if name == MAX_FRAME_SIZE and not DEFAULT_FRAME <= value <= _LARGEST_FRAME:
            raise MalformedAnswer(f"a largest frame of {value} bytes")
        yield name, value


def content(flags: int, payload: bytes) -> bytes:
    """Return a DATA or HEADERS payload without its padding.

    Raises:
        MalformedAnswer: there is more padding than payload.
    """
    if not flags & PADDED:
        return payload
    padding = payload[0] if payload else 0
    if padding >= len(payload):
        raise MalformedAnswer("more padding than payload")
    return payload[1 : len(payload) - padding]


def block_of(flags: int, payload: bytes) -> bytes:
    """Return the part of a header block that is in a HEADERS payload.

    Raises:
        MalformedAnswer: the payload is too short for the padding and priority that it has by its flags.
    """
    if not flags & (PADDED | PRIORITISED):
        return payload
    block = content(flags, payload)
    if not flags & PRIORITISED:
        return block
    if len(block) < _PRIORITY_BYTES:
        raise MalformedAnswer("a HEADERS frame too short for its priority")
    return block[_PRIORITY_BYTES:]


class FrameReader:
    """Cuts the bytes of a connection into frames; a header block that is spread over several comes as one of them.

    Args:
        largest: no frame's payload may be longer.
    """

    __slots__ = ("_begun", "_largest", "_rest")

    def __init__(self, largest: int = DEFAULT_FRAME) -> None:
        self._largest = largest
        self._rest = b""
        self._begun: Frame | None = None

    def feed(self, data: bytes) -> Iterator[Frame]:
        """Yield the frames that these bytes complete; they must all be taken before more is fed.

        Raises:
            MalformedAnswer: a frame is longer than allowed, as a rule because the bytes are no HTTP/2, or a header
                block is broken off. The frames before it are yielded.
        """
        if self._rest:
            data = self._rest + data
        at, end, largest, unpack = 0, len(data), self._largest, _HEAD.unpack_from
        while end - at >= _HEAD_BYTES:
            length_and_kind, flags, stream = unpack(data, at)
            length = length_and_kind >> 8
            if length > largest:
                raise MalformedAnswer(f"not HTTP/2: {data[at : at + 40]!r}")
            start = at + _HEAD_BYTES
            if end - start < length:
                break
            at = start + length
            frame = length_and_kind & 0xFF, flags, stream & MAX_STREAM_ID, data[start:at]
            if self._begun is not None or frame[0] == CONTINUATION or (frame[0] == HEADERS and not flags & END_HEADERS):
                self._begun, joined = self._joined(frame)
                if joined is None:
                    continue
                frame = joined
            yield frame
        self._rest = data[at:]

    def _joined(self, frame: Frame) -> tuple[Frame | None, Frame | None]:
        """Add a frame to the header block that has begun; return (what has begun, what is whole)."""
        kind, flags, stream, part = frame
        if self._begun is None:
            if kind == CONTINUATION:
                raise MalformedAnswer("a header block goes on that never began")
            return (kind, flags & ~(PADDED | PRIORITISED), stream, block_of(flags, part)), None
        _, first_flags, first_stream, block = self._begun
        if kind != CONTINUATION or stream != first_stream:
            raise MalformedAnswer("a header block is broken off")
        block += part
        if len(block) > MAX_BLOCK_BYTES:
            raise MalformedAnswer(f"a header block of more than {MAX_BLOCK_BYTES} bytes")
        whole = (HEADERS, first_flags | flags & END_HEADERS, stream, block)
        return (None, whole) if flags & END_HEADERS else (whole, None)


class HeaderReader:
    """Decodes header blocks. Servers repeat them to the byte, so blocks that leave the table alone are remembered."""

    def __init__(self) -> None:
        self._decoder = Decoder(MAX_BLOCK_BYTES)
        self._remembered: dict[bytes, dict[str, str]] = {}

    def read(self, block: bytes) -> dict[str, str]:
        """Return the headers of a block, in order of the block; of several of one name the last.

        Raises:
            MalformedAnswer: it cannot be decoded.
        """
        known = self._remembered.get(block)
        if known is not None:
            return known
        table = self._decoder.header_table
        before = _mark(table)
        try:
            fields = self._decoder.decode(block, raw=True)
        except HPACKError as error:
            raise MalformedAnswer(f"headers cannot be decoded: {error}") from None
        found = {_text(name): _text(value) for name, value in fields}
        self._remember(block, found, unchanged=_is_as_marked(table, before))
        return found

    def _remember(self, block: bytes, found: dict[str, str], *, unchanged: bool) -> None:
        """Indices mean something else once the table has changed."""
        if not unchanged or len(self._remembered) >= _MAX_REMEMBERED:
            self._remembered.clear()
        if unchanged and len(block) <= _MAX_REMEMBERED_BYTES:
            self._remembered[block] = found


class HeaderWriter:
    """Encodes the same headers again and again: once they are in the table, the block is constant.

    What does not fit the table together with the headers before it stays out of it: it would push them out again with
    every block.
    """

    def __init__(self, fields: Headers) -> None:
        self._fields = fields
        self._encoder = Encoder()
        self._sizes: list[int] = []
        self._constant: bytes | None = None

    def resize(self, size: int) -> None:
        """Take the server's word for how large the table may be."""
        self._sizes.append(min(size, DEFAULT_TABLE))
        self._constant = None

    def block(self) -> bytes:
        """Return the next block."""
        if self._constant is not None:
            return self._constant
        self._apply_sizes()
        table = self._encoder.header_table
        before, announced = _mark(table), table.resized
        block = self._encoder.encode(_fitted(self._fields, table.maxsize))
        if _is_as_marked(table, before) and not announced:
            self._constant = block
        return block

    def _apply_sizes(self) -> None:
        """RFC 7541, 4.2: of the sizes since the last block the smallest and the last are announced, and no others."""
        for size in (min(self._sizes), self._sizes[-1]) if self._sizes else ():
            if size != self._encoder.header_table_size:  # hpack forgets to announce a size that is set twice
                self._encoder.header_table_size = size
        self._sizes.clear()


_Mark = tuple[int, int, object]


def _mark(table: HeaderTable) -> _Mark:
    """Return the size of a table, the number of its entries and the newest of them."""
    entries = table.dynamic_entries
    return table.maxsize, len(entries), entries[0] if entries else None


def _is_as_marked(table: HeaderTable, mark: _Mark) -> bool:
    """Return whether a table is what it was: entries come in front, each an object of its own, and leave at the end."""
    size, count, newest = mark
    entries = table.dynamic_entries
    return table.maxsize == size and len(entries) == count and (not entries or entries[0] is newest)


def _fitted(fields: Headers, size: int) -> Iterator[tuple[str, str, bool]]:
    """Yield (name, value, whether it is kept out of a table of this size)."""
    for name, value in fields:
        needed = table_entry_size(name.encode(), value.encode())
        kept_out = needed > size
        size -= 0 if kept_out else needed
        yield name, value, kept_out


def _text(raw: bytes | str) -> str:
    return raw if isinstance(raw, str) else raw.decode("utf-8", "replace")
