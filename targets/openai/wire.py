"""OpenAI's API over HTTP: prompts encoded once, as complete streaming requests."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

from targets.base import Endpoint, TargetError, Tls
from targets.openai.judge import judge, read_event
from targets.openai.options import RequestOptions
from workloads.requests import Prompts

PATHS = {"completions": "/completions", "chat": "/chat/completions"}
Usage = Literal["continuous", "final", "none"]


@dataclass(frozen=True)
class Address:
    """Where a server is.

    Attributes:
        host: name or address.
        port: TCP port.
        secure: over TLS.
        path: in front of `/completions`, ending with `/v1`.
    """

    host: str
    port: int
    secure: bool
    path: str

    @property
    def authority(self) -> str:
        """Host and port as the header `Host` has them."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def address_of(url: str) -> Address:
    """Return where a URL leads.

    Raises:
        TargetError: it is none.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise TargetError(f"target.url: {url!r} is no URL: {error}") from None
    if parts.hostname is None:
        raise TargetError(f"target.url: {url!r} names no host; expected http://HOST:PORT or https://HOST")
    secure = parts.scheme == "https"
    path = parts.path.rstrip("/")
    if not path.endswith("/v1"):
        path += "/v1"
    return Address(parts.hostname, port or (443 if secure else 80), secure, path)


def endpoint(
    prompts: Prompts,
    *,
    model: str,
    address: Address,
    options: RequestOptions,
    usage: Usage,
    headers: Mapping[str, str],
    tls: Tls | None = None,
) -> Endpoint:
    """Encode each prompt as a complete HTTP request whose answer is streamed.

    Args:
        prompts: what is asked.
        model: name of the model there.
        address: of the server.
        options: the endpoint and what every request has.
        usage: how the server is asked for the number of tokens.
        headers: further headers, the authorisation among them.
        tls: how the connection is secured, for an address that is secure.

    Raises:
        TargetError: prompts of token ids are for `completions` only.
    """
    check_prompts(prompts, options)
    fixed = {"model": model, "stream": True, "temperature": options.temperature, **_usage(usage)}
    if options.ignore_eos:
        fixed["ignore_eos"] = True
    if prompts.priority:
        fixed["priority"] = prompts.priority
    fixed |= options.body
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    head = (
        f"POST {address.path}{PATHS[options.endpoint]} HTTP/1.1\r\nHost: {address.authority}\r\n"
        f"Content-Type: application/json\r\nAccept: text/event-stream\r\n{lines}"
    )
    requests = tuple(
        _request(head, {**fixed, **_prompt(text, options.endpoint), "max_tokens": int(tokens)})
        for text, tokens in zip(prompts.texts, prompts.output_tokens, strict=True)
    )
    secured = tls or (Tls() if address.secure else None)
    return Endpoint(address.host, address.port, requests, judge, tls=secured, tokens=read_event)


def check_prompts(prompts: Prompts, options: RequestOptions) -> None:
    """Check that prompts can be sent to the endpoint. Raises TargetError when they cannot."""
    if options.endpoint == "chat" and not all(isinstance(text, str) for text in prompts.texts):
        raise TargetError("a chat takes texts, not token ids; give `endpoint: completions`, or prompts of text")


def _usage(usage: Usage) -> dict[str, object]:
    if usage == "none":
        return {}
    options = {"include_usage": True}
    return {"stream_options": options | ({"continuous_usage_stats": True} if usage == "continuous" else {})}


def _prompt(text: str | Sequence[int], kind: str) -> dict[str, object]:
    if kind == "chat":
        return {"messages": [{"role": "user", "content": text}]}
    return {"prompt": text}


def _request(head: str, fields: Mapping[str, object]) -> bytes:
    body = json.dumps(fields, separators=(",", ":")).encode()
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
