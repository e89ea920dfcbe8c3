"""A loopback HTTP server whose answers follow the request's path: what a load generator must survive.

python -m tests.support.scripted_server [CERTIFICATE]

It prints two ports and serves until its standard input closes: on the first one it answers, over TLS if it is given a
certificate (a file with the chain and the key); on the second it accepts connections and closes them at once.

/ok            200 with a body of the path's query (default `ok`)
/nothing       no answer, ever
/slow?MS       200 after that many milliseconds
/stall?MS      the first such request makes every answer of the server wait until MS milliseconds later
/idle?MS       200, and the connection is closed when no other request came on it for MS milliseconds
/tenth         200, but every 10th connection is closed without an answer
/too-large     413 and the end of the connection, before the request's body was read
/huge?MIB      a body of so many MiB (default 100)
/huge-chunked?MIB    the same in chunks of 1 MiB
/events?...    a stream of events: scripted_streams.py
/error-stream  503 with a JSON body where a stream was asked for
/log           what it saw so far: see Log
others         as they stand in scripted_answers.py
"""

import asyncio
import hashlib
import json
import ssl
import sys
from dataclasses import asdict, dataclass, field

from tests.support.scripted_answers import ANSWERS, MIB, PAUSE_S, ok
from tests.support.scripted_streams import send_stream

TOO_LARGE = b"HTTP/1.1 413 Content Too Large\r\nConnection: close\r\nContent-Length: 9\r\n\r\ntoo large"
_REFUSED = b'{"error": "overloaded"}'


@dataclass
class Log:
    """What the server saw.

    Attributes:
        paths: of all requests, in order.
        bodies: digest of each request's body, in order.
        most_busy: the most requests that were in progress at once.
        connections: so many were opened.
        open: so many are open.
        most_open: the most that were open at once.
    """

    paths: list[str] = field(default_factory=list)
    bodies: list[str] = field(default_factory=list)
    most_busy: int = 0
    connections: int = 0
    open: int = 0
    most_open: int = 0


class Script:
    """The server."""

    def __init__(self) -> None:
        self.log = Log()
        self.busy = 0
        self.stalled_until = 0.0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve a connection."""
        log = self.log
        log.connections += 1
        log.open += 1
        log.most_open = max(log.most_open, log.open)
        try:
            number, patience_s = log.connections, None
            while (head := await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), patience_s)) and await self.answer(
                head.decode(), number, reader, writer
            ):
                await writer.drain()
                patience_s = _patience_s(head.decode())
        except (OSError, EOFError, TimeoutError):
            pass
        finally:
            log.open -= 1
            writer.close()

    async def answer(
        self, head: str, connection: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        """Answer one request; False ends the connection."""
        path, _, query = head.split()[1].partition("?")
        if path == "/log":
            writer.write(ok(json.dumps(asdict(self.log))))
            return True
        self.log.paths.append(head.split()[1])
        self.busy += 1
        self.log.most_busy = max(self.log.most_busy, self.busy)
        try:
            if path == "/too-large":
                writer.write(TOO_LARGE)
                return False
            self.log.bodies.append(hashlib.sha256(await reader.readexactly(_body_length(head))).hexdigest())
            if path == "/tenth" and connection % 10 == 0:
                return False
            return await self.play(path, query, writer)
        finally:
            self.busy -= 1

    async def play(self, path: str, query: str, writer: asyncio.StreamWriter) -> bool:
        """Send the answer of a path."""
        await self.wait(path, query)
        if path == "/events":
            return await send_stream(query, writer)
        if path == "/error-stream":
            head = b"HTTP/1.1 503 Busy\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
            writer.write(head % len(_REFUSED) + _REFUSED)
        elif path in ("/huge", "/huge-chunked"):
            await _send_huge(int(query or 100), writer, chunked=path == "/huge-chunked")
        elif answer := ANSWERS.get(path):
            for number, piece in enumerate(answer.pieces):
                await asyncio.sleep(PAUSE_S * (0 < number < 10))
                writer.write(piece)
                await writer.drain()
            return not answer.closes
        else:
            writer.write(ok(query if path == "/ok" else ""))
        return True

    async def wait(self, path: str, query: str) -> None:
        """Wait as long as the path says, and as long as the server stalls."""
        loop = asyncio.get_running_loop()
        if path == "/stall" and not self.stalled_until:
            self.stalled_until = loop.time() + float(query) / 1e3
        await asyncio.sleep(max(0.0, self.stalled_until - loop.time()))
        if path == "/slow":
            await asyncio.sleep(float(query) / 1e3)
        if path == "/nothing":
            await asyncio.sleep(3600)


def _patience_s(head: str) -> float | None:
    path, _, query = head.split()[1].partition("?")
    return float(query) / 1e3 if path == "/idle" else None


def _body_length(head: str) -> int:
    _, _, after = head.lower().partition("content-length:")
    return int(after.split()[0]) if after else 0


async def _send_huge(mib: int, writer: asyncio.StreamWriter, *, chunked: bool) -> None:
    length = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: %d" % (mib * MIB)
    writer.write(b"HTTP/1.1 200 OK\r\n%s\r\n\r\n" % length)
    piece = b"x" * MIB
    for _ in range(mib):
        writer.writelines([b"100000\r\n", piece, b"\r\n"] if chunked else [piece])
        await writer.drain()
    if chunked:
        writer.write(b"0\r\n\r\n")


async def slam(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Close a connection that was just accepted."""
    writer.close()


async def main() -> None:
    """Serve until standard input closes."""
    context = None
    if len(sys.argv) > 1:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(sys.argv[1])
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda *_: None)  # clients that fail in the middle are what it is for
    server = await asyncio.start_server(Script().serve, "127.0.0.1", 0, backlog=2048, ssl=context)
    slamming = await asyncio.start_server(slam, "127.0.0.1", 0)
    print(*(one.sockets[0].getsockname()[1] for one in (server, slamming)), flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main())
