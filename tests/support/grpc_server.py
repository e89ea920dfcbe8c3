"""A real grpcio server in a process of its own: bytes in and out, no protobuf. What a call does is in its name.

python grpc_server.py [--cert FILE --key FILE] [NAME=VALUE ...]    prints its port, serves until stdin closes

NAME=VALUE are grpcio's channel options. Numbers in a request are decimal, with a space between them.

/test/echo             the request
/test/abort            CODE MESSAGE: that status
/test/sleep            MS: the request, after that many milliseconds
/test/nothing          no answer, ever
/test/size             N: `pattern(N)`
/test/digest           the request's SHA-256
/test/metadata         JSON of the call's metadata, names and values
/test/trailers         N BYTES: the request, N entries of random trailing metadata of that many bytes each
/test/stream           N MS: N messages every MS milliseconds, each `stamp()`: the monotonic ns when it was sent
/test/broken-stream    N: N such messages at once, then status INTERNAL
/test/log              JSON of `Log`
"""

import argparse
import asyncio
import hashlib
import json
import secrets
import struct
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

import grpc
import grpc.aio

STAMP = struct.Struct("<q")


@dataclass
class Log:
    """What the server saw, calls of /test/log left out.

    Attributes:
        taken: the requests of /test/sleep and /test/echo, in order.
        busy: calls in progress now.
        most_busy: the most that were in progress at once.
        cancelled: calls whose end the client, or its deadline, brought about.
        deadlines_s: the time each call was given, as it came in.
        peers: addresses of the clients' connections.
    """

    taken: list[str] = field(default_factory=list)
    busy: int = 0
    most_busy: int = 0
    cancelled: int = 0
    deadlines_s: list[float | None] = field(default_factory=list)
    peers: list[str] = field(default_factory=list)


def pattern(size: int) -> bytes:
    """Return bytes of which no two neighbouring frames are alike."""
    whole = bytes(range(251)) * (size // 251 + 1)
    return whole[:size]


def stamp() -> bytes:
    """Return the time now as the answer of a stream."""
    return STAMP.pack(time.monotonic_ns())


class Service(grpc.GenericRpcHandler):
    def __init__(self) -> None:
        self.log = Log()
        self.unary = {
            "echo": self.echo,
            "abort": self.abort,
            "sleep": self.sleep,
            "nothing": self.nothing,
            "size": self.size,
            "digest": self.digest,
            "metadata": self.metadata,
            "trailers": self.trailers,
        }
        self.streams = {"stream": self.stream, "broken-stream": self.broken_stream}

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        name = details.method.removeprefix("/test/")
        if name == "log":
            return grpc.unary_unary_rpc_method_handler(self.answer_log)
        if name in self.streams:
            return grpc.unary_stream_rpc_method_handler(self.logged_stream(self.streams[name]))
        if name in self.unary:
            return grpc.unary_unary_rpc_method_handler(self.logged(self.unary[name]))
        return None

    @contextmanager
    def in_progress(self, context: grpc.aio.ServicerContext) -> Iterator[None]:
        log = self.log
        log.deadlines_s.append(context.time_remaining())
        if context.peer() not in log.peers:
            log.peers.append(context.peer())
        log.busy += 1
        log.most_busy = max(log.most_busy, log.busy)
        try:
            yield
        except (asyncio.CancelledError, GeneratorExit):
            log.cancelled += 1
            raise
        finally:
            log.busy -= 1

    def logged(self, method):
        async def run(request: bytes, context: grpc.aio.ServicerContext) -> bytes:
            with self.in_progress(context):
                return await method(request, context)

        return run

    def logged_stream(self, method):
        async def run(request: bytes, context: grpc.aio.ServicerContext) -> AsyncIterator[bytes]:
            with self.in_progress(context):
                async for message in method(request, context):
                    yield message

        return run

    async def answer_log(self, _request: bytes, _context: grpc.aio.ServicerContext) -> bytes:
        return json.dumps(asdict(self.log)).encode()

    async def echo(self, request: bytes, _context: grpc.aio.ServicerContext) -> bytes:
        self.log.taken.append(request[:40].decode("latin-1"))
        return request

    async def abort(self, request: bytes, context: grpc.aio.ServicerContext) -> bytes:
        code, _, message = request.decode().partition(" ")
        status = next(status for status in grpc.StatusCode if status.value[0] == int(code))
        if status is grpc.StatusCode.OK:
            return b""
        await context.abort(status, message)
        return b""

    async def sleep(self, request: bytes, _context: grpc.aio.ServicerContext) -> bytes:
        self.log.taken.append(request.decode())
        await asyncio.sleep(int(request.split()[0]) / 1e3)
        return request

    async def nothing(self, _request: bytes, _context: grpc.aio.ServicerContext) -> bytes:
        await asyncio.sleep(3600)
        return b""

    async def size(self, request: bytes, _context: grpc.aio.ServicerContext) -> bytes:
        return pattern(int(request))

    async def digest(self, request: bytes, _context: grpc.aio.ServicerContext) -> bytes:
        return hashlib.sha256(request).digest()

    async def metadata(self, _request: bytes, context: grpc.aio.ServicerContext) -> bytes:
        return json.dumps([(name, value) for name, value in context.invocation_metadata()], default=repr).encode()

    async def trailers(self, request: bytes, context: grpc.aio.ServicerContext) -> bytes:
        count, size = map(int, request.split())
        context.set_trailing_metadata([(f"trailer-{index}", secrets.token_hex(size // 2)) for index in range(count)])
        return request

    async def stream(self, request: bytes, _context: grpc.aio.ServicerContext) -> AsyncIterator[bytes]:
        count, pause_ms = map(int, request.split())
        for _ in range(count):
            await asyncio.sleep(pause_ms / 1e3)
            yield stamp()

    async def broken_stream(self, request: bytes, context: grpc.aio.ServicerContext) -> AsyncIterator[bytes]:
        for _ in range(int(request)):
            yield stamp()
        await context.abort(grpc.StatusCode.INTERNAL, "broken off")


async def serve(arguments: argparse.Namespace) -> None:
    unlimited = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
    given = [(name, int(value)) for name, _, value in (option.partition("=") for option in arguments.options)]
    server = grpc.aio.server(options=unlimited + given)
    server.add_generic_rpc_handlers((Service(),))
    if arguments.cert:
        pair = (arguments.key.read_bytes(), arguments.cert.read_bytes())
        port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([pair]))
    else:
        port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(port, flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await server.stop(None)


@contextmanager
def serving(*options: str, tls: tuple[Path, Path] | None = None) -> Iterator[tuple[int, subprocess.Popen[str]]]:
    """Run a server; yield its port and its process. `tls`: certificate and key."""
    secured = ["--cert", str(tls[0]), "--key", str(tls[1])] if tls else []
    command = [sys.executable, __file__, *secured, *options]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield int(process.stdout.readline()), process
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        process.communicate()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--cert", type=Path)
    parser.add_argument("--key", type=Path)
    parser.add_argument("options", nargs="*")
    with suppress(KeyboardInterrupt):
        asyncio.run(serve(parser.parse_args()))


if __name__ == "__main__":
    main()
