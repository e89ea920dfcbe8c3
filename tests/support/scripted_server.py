"""A loopback HTTP server whose answers follow the request's path: what a load generator must survive.

python scripted_server.py    prints its port, serves until its standard input closes

/ok            200 with a body of the path's query (default `ok`)
/error         503
/close         200 and the connection is closed after it
/half          a head that promises 100 bytes, 10 of them, then the end
/garbage       bytes that are no HTTP
/long          more bytes than Content-Length says
/drop          the connection is closed without an answer
/nothing       no answer, ever
/drip          the answer byte by byte
/big           a body of 4 MiB
/slow?MS       200 after that many milliseconds
/stall?MS      the first such request makes every answer of the server wait until MS milliseconds later
/log           the paths of all requests so far, in order, and the most that were in progress at once
"""

import asyncio
import json
import sys


class Script:
    def __init__(self) -> None:
        self.log: list[str] = []
        self.busy = self.most_busy = 0
        self.stalled_until = 0.0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await self.answer(reader, writer):
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Answer one request; False ends the connection."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        path, _, query = head.split()[1].partition("?")
        self.log.append(head.split()[1])
        self.busy += 1
        self.most_busy = max(self.most_busy, self.busy)
        try:
            return await self.play(path, query, writer)
        finally:
            self.busy -= 1

    async def play(self, path: str, query: str, writer: asyncio.StreamWriter) -> bool:
        loop = asyncio.get_running_loop()
        if path == "/stall" and not self.stalled_until:
            self.stalled_until = loop.time() + float(query) / 1e3
        if (wait := self.stalled_until - loop.time()) > 0:
            await asyncio.sleep(wait)
        if path == "/slow":
            await asyncio.sleep(float(query) / 1e3)
        if path == "/nothing":
            await asyncio.sleep(3600)
        if path == "/log":
            query = json.dumps({"paths": self.log[:-1], "most_busy": self.most_busy})
        writer.write(
            {
                "/error": b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\n\r\nbusy",
                "/close": b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
                "/half": b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n" + b"x" * 10,
                "/garbage": b"\x00\x01\x02 this is not HTTP at all\r\n\r\n",
                "/long": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok and more",
                "/drop": b"",
                "/drip": b"",
                "/big": b"HTTP/1.1 200 OK\r\nContent-Length: 4194304\r\n\r\n" + b"x" * 4194304,
            }.get(path, _ok(query))
        )
        if path == "/drip":
            for byte in _ok(query):
                writer.write(bytes([byte]))
                await writer.drain()
                await asyncio.sleep(0)
        return path not in ("/close", "/half", "/drop")


def _ok(text: str) -> bytes:
    body = (text or "ok").encode()
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)


async def main() -> None:
    server = await asyncio.start_server(Script().serve, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    server.close()


if __name__ == "__main__":
    asyncio.run(main())
