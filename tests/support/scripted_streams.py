"""Streams of server-sent events, as the query asks for them.

/events?NAME=VALUE&...

count      events with a token each (5), before the last, whose data is [DONE]
every      milliseconds between them (0)
first      milliseconds before the first; the head is sent at once (0)
per_send   events handed to the network at once (1)
cuts       each event goes out in so many pieces (1)
eol        lf, crlf or cr
noise      1: comments, `event:` and `id:` lines and events without data stand among them
lines      1: the data goes over several lines
pad        extra bytes in the data of each event (0)
cut_after  the connection ends after so many events
done       0: [DONE] is missing
framing    chunked or close: how the end of the answer is told

The data of an event is JSON: {"tokens": 1, "at": monotonic ns when it was sent}.
"""

import asyncio
import json
import time
from dataclasses import dataclass
from urllib.parse import parse_qsl

DONE = "[DONE]"
_EOL = {"lf": "\n", "crlf": "\r\n", "cr": "\r"}
_HEAD = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n{}\r\n\r\n"


@dataclass(frozen=True)
class Stream:
    """A stream as asked for; the attributes are those of the query."""

    count: int = 5
    every: int = 0
    first: int = 0
    per_send: int = 1
    cuts: int = 1
    eol: str = "lf"
    noise: int = 0
    lines: int = 0
    pad: int = 0
    cut_after: int = -1
    done: int = 1
    framing: str = "chunked"

    @classmethod
    def asked(cls, query: str) -> "Stream":
        """Read a query."""
        return cls(**{name: value if name in ("eol", "framing") else int(value) for name, value in parse_qsl(query)})

    def event(self, data: str) -> str:
        """Write an event."""
        lines = data.split(" ") if self.lines else [data]
        fields = [f"data: {line}" for line in lines]
        if self.noise:
            fields = [": a comment", "", "event: ping", "", "event: token", *fields, "id: 7", "retry"]
        return "".join(field + _EOL[self.eol] for field in [*fields, ""])

    def token(self) -> str:
        """Write an event with a token and the time."""
        return self.event(json.dumps({"tokens": 1, "at": time.monotonic_ns(), "pad": "x" * self.pad}))


async def send_stream(query: str, writer: asyncio.StreamWriter) -> bool:
    """Send a stream; False: the connection ends with it."""
    stream = Stream.asked(query)
    chunked = stream.framing == "chunked"
    writer.write(_HEAD.format("Transfer-Encoding: chunked" if chunked else "Connection: close").encode())
    await writer.drain()
    await asyncio.sleep(stream.first / 1e3)
    for sent in range(0, stream.count, stream.per_send):
        if sent and stream.every:
            await asyncio.sleep(stream.every / 1e3)
        if 0 <= stream.cut_after <= sent:
            return False
        await _send("".join(stream.token() for _ in range(min(stream.per_send, stream.count - sent))), stream, writer)
    if stream.done:
        await _send(stream.event(DONE), stream, writer)
    if chunked:
        writer.write(b"0\r\n\r\n")
    return chunked


async def _send(text: str, stream: Stream, writer: asyncio.StreamWriter) -> None:
    data = text.encode()
    size = -(-len(data) // stream.cuts)
    for start in range(0, len(data), size):
        piece = data[start : start + size]
        writer.write(b"%x\r\n%s\r\n" % (len(piece), piece) if stream.framing == "chunked" else piece)
        await writer.drain()
        if stream.cuts > 1:
            await asyncio.sleep(0.002)
