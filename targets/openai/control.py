"""What a server with OpenAI's API is asked beside prompts: which models it has."""

import json
import os
import ssl
from collections.abc import Mapping
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path
from typing import Any, NamedTuple

from targets.base import ServerHung, TargetError, Tls
from targets.openai import wire
from targets.openai.options import OpenAIOptions

CONTROL_TIMEOUT_S = 10.0
REFUSED = (401, 403)


class Answer(NamedTuple):
    """An answer: its status, its body, and how the server names itself."""

    status: int
    body: bytes
    server: str


class Control:
    """Questions to a server, each on a connection of its own.

    Args:
        options: where the server is, and the variable of its key.
        ca: file with the certificates to trust; None: those of the system.

    Raises:
        TargetError: the URL is none.
    """

    def __init__(self, options: OpenAIOptions, ca: Path | None = None) -> None:
        self._url, self._key_env = options.url, options.api_key_env
        self.address = wire.address_of(options.url)
        self.tls = Tls(ca) if self.address.secure else None

    def headers(self) -> dict[str, str]:
        """Return the authorisation. Raises TargetError where the variable of the key does not hold one."""
        name = self._key_env
        if name is None:
            return {}
        key = os.environ.get(name, "").strip()
        if not key:
            raise TargetError(f"target.api_key_env: the environment variable {name} is not set; export your key in it")
        if not key.isascii() or not key.isprintable():
            raise TargetError(f"target.api_key_env: {name} holds what cannot be an API key")
        return {"Authorization": f"Bearer {key}"}

    def models(self) -> Answer:
        """Ask `/v1/models`. Raises ServerHung when the server does not answer."""
        connection = self._connection()
        try:
            connection.request("GET", f"{self.address.path}/models", headers=self.headers())
            answer = connection.getresponse()
            return Answer(answer.status, answer.read(), answer.headers.get("server") or "unnamed")
        except (OSError, HTTPException) as error:
            raise ServerHung(f"{self._url} does not answer ({error or type(error).__name__})") from None
        finally:
            connection.close()

    def _connection(self) -> HTTPConnection:
        where = self.address
        if self.tls is None:
            return HTTPConnection(where.host, where.port, timeout=CONTROL_TIMEOUT_S)
        context = ssl.create_default_context(cafile=str(self.tls.ca) if self.tls.ca else None)
        return HTTPSConnection(where.host, where.port, timeout=CONTROL_TIMEOUT_S, context=context)


def listed(body: bytes) -> dict[str, Mapping[str, Any]] | None:
    """Return name -> what is said of it, of each model in the answer to `/v1/models`; None: it is no list of models."""
    try:
        return {str(one["id"]): one for one in json.loads(body)["data"]}
    except (ValueError, KeyError, TypeError):
        return None
