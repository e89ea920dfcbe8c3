"""A server with OpenAI's API whose answers come as the prompt asks for them: `python -m tests.support.token_server`.

It prints its port and serves until its standard input closes. A prompt is words NAME=VALUE (others are passed over):

count      tokens (as many as max_tokens asks for)
first      milliseconds before the first token (0)
every      milliseconds between events (0)
per_event  tokens in one event (1)
usage      continuous, final or none; unless given, as the request's stream_options ask for it
lie        what the usage block says is more by so many (0)
pieces     each event goes out in so many packets (1)
cut_after  the connection ends after so many events
error_after  an event with an error, and then [DONE], after so many events
junk_after  an event that is no JSON, and then [DONE], after so many events
done       0: [DONE] is missing
status     of the answer; what is not 200 has a JSON error

The text of each token is the monotonic time in ns at which its event was sent. With `--key KEY` requests without it
are refused, with `--strict` those that ask for tokens to be told with every event. `--models` names models, `--owner`
and `--context` are said of each; `--endpoints` are those that there are.
"""

import argparse
import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, fields

MODEL = "clock"
PATHS = {"chat": "/v1/chat/completions", "completions": "/v1/completions"}


@dataclass(frozen=True)
class Script:
    """How an answer is to come; the attributes are those of the prompt."""

    count: int
    usage: str
    first: int = 0
    every: int = 0
    per_event: int = 1
    lie: int = 0
    pieces: int = 1
    cut_after: int = -1
    error_after: int = -1
    junk_after: int = -1
    done: int = 1
    status: int = 200

    @classmethod
    def asked(cls, body: dict[str, object]) -> "Script":
        """Read a request."""
        messages = body.get("messages")
        text = messages[0]["content"] if isinstance(messages, list) else body["prompt"]
        words = dict(word.split("=") for word in str(text).split() if "=" in word)
        options = body.get("stream_options") or {}
        usage = "continuous" if options.get("continuous_usage_stats") else "final" if options else "none"
        given = {"count": body["max_tokens"], "usage": usage} | words
        known = {field.name for field in fields(cls)}
        return cls(**{name: value if name == "usage" else int(value) for name, value in given.items() if name in known})


async def events(script: Script, chat: bool) -> AsyncIterator[str]:
    """Yield the events of an answer when they are due; "" ends the connection."""

    def event(text: str | None, tokens: int) -> str:
        choice = {"index": 0, "delta": {"role": "assistant", "content": text}} if chat else {"index": 0, "text": text}
        data = {"model": MODEL, "choices": [] if text is None else [choice]}
        if script.usage == "continuous" or (script.usage == "final" and text is None):
            data["usage"] = {"prompt_tokens": 3, "completion_tokens": tokens + script.lie * (text is None)}
        return json.dumps(data)

    if chat:
        yield event("", 0)
    await asyncio.sleep(script.first / 1e3)
    sent, error = 0, json.dumps({"error": {"message": "out of memory", "code": 500}})
    broken = {script.error_after: error, script.junk_after: "{so"}
    for number in range(-(-script.count // script.per_event)):
        if number and script.every:
            await asyncio.sleep(script.every / 1e3)
        if number == script.cut_after:
            yield ""
            return
        if number in broken:
            yield broken[number]
            break
        sent = min(script.count, sent + script.per_event)
        yield event(f"{time.monotonic_ns()} ", sent)
    else:
        if script.usage == "final":
            yield event(None, sent)
    if script.done:
        yield "[DONE]"


async def answer(body: dict[str, object], chat: bool, writer: asyncio.StreamWriter) -> bool:
    """Answer a request; False: the connection ends with it."""
    script = Script.asked(body)
    if script.status != 200:
        writer.write(whole(script.status, {"error": {"message": "as asked"}}))
        return True
    writer.write(
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    async for data in events(script, chat):
        if not data:
            return False
        line = f"data: {data}\n\n".encode()
        size = -(-len(line) // script.pieces)
        for start in range(0, len(line), size):
            piece = line[start : start + size]
            writer.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            await writer.drain()
            if script.pieces > 1:
                await asyncio.sleep(0.002)
    writer.write(b"0\r\n\r\n")
    return True


def whole(status: int, body: object) -> bytes:
    """Write an answer that is not streamed."""
    data = json.dumps(body).encode()
    head = f"HTTP/1.1 {status} So\r\nServer: token-clock\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(data)}\r\n\r\n".encode() + data


def listed(served: argparse.Namespace) -> dict[str, object]:
    """Return what `/v1/models` answers."""
    said = {"owned_by": served.owner, "max_model_len": served.context}
    own = {name: value for name, value in said.items() if value is not None}
    return {"object": "list", "data": [{"id": name, "object": "model", **own} for name in served.models]}


def refusal(body: dict[str, object], served: argparse.Namespace) -> bytes | None:
    """Return the answer to a request that has what the server does not know, None for one that it takes."""
    options = body.get("stream_options")
    if served.strict and isinstance(options, dict) and "continuous_usage_stats" in options:
        return whole(400, {"error": {"message": "unknown field continuous_usage_stats"}})
    return None


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, served: argparse.Namespace) -> None:
    """Serve a connection."""
    key = served.key
    try:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            _, path, _ = head.split("\r\n")[0].split(" ")
            headers = dict(line.lower().split(": ", 1) for line in head.split("\r\n")[1:-2])
            body = await reader.readexactly(int(headers.get("content-length", 0)))
            if key is not None and headers.get("authorization") != f"bearer {key}".lower():
                writer.write(whole(401, {"error": {"message": "no key"}}))
            elif path == "/v1/models":
                writer.write(whole(200, listed(served)))
            elif path in [PATHS[name] for name in served.endpoints]:
                asked = json.loads(body)
                if refused := refusal(asked, served):
                    writer.write(refused)
                elif not await answer(asked, "chat" in path, writer):
                    break
            else:
                writer.write(whole(404, {"error": {"message": f"no {path}"}}))
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


async def main() -> None:
    """Serve until standard input closes."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--key")
    parser.add_argument("--strict", action="store_true")
    parser.add_argument("--models", nargs="*", default=[MODEL])
    parser.add_argument("--owner")
    parser.add_argument("--context", type=int)
    parser.add_argument("--endpoints", nargs="*", choices=PATHS, default=list(PATHS))
    served = parser.parse_args()
    server = await asyncio.start_server(lambda *streams: serve(*streams, served), "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main())
