"""The `target` section of a study of a server with OpenAI's API, and what all such servers have in common."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from targets.hiding import shown_url
from targets.options import Duration, TargetOptions

SCHEMES = ("http://", "https://")


class RequestOptions(TargetOptions):
    """How a server with OpenAI's API is asked."""

    endpoint: Literal["completions", "chat"] = Field(
        "chat",
        description="`chat`: /v1/chat/completions, the prompt is the user's message; `completions`: /v1/completions",
    )
    ignore_eos: bool = Field(
        False, description="go on after the end-of-text token, so that answers have the length asked for"
    )
    temperature: float = Field(0.0, ge=0, description="of the sampling; 0 takes the likeliest token")
    body: dict[str, Any] = Field(default={}, description="further fields of every request")

    @property
    def streams(self) -> bool:
        """Answers come token by token."""
        return True

    @field_validator("body")
    @classmethod
    def _nothing_of_ours(cls, body: dict[str, Any]) -> dict[str, Any]:
        ours = sorted(set(body) & {"model", "prompt", "messages", "stream", "stream_options", "max_tokens"})
        if ours:
            raise ValueError(f"`{ours[0]}` is given by Paretune; take it out")
        for name, value in body.items():
            _check_json(name, value)
        return body


def _check_json(name: str, value: object) -> None:
    """Raise ValueError where a field cannot be sent as JSON: YAML has dates, bytes and infinity as well."""
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"`{name}` cannot be sent as JSON ({error}); put a text, like a date, in quotes, and give finite numbers"
        ) from None


class LocalOptions(RequestOptions):
    """A language model on a server that Paretune starts; a kind adds its own keys."""

    model: str | None = Field(
        None, description="folder of the model, relative to the study file, or its name in a hub; `config` may name it"
    )
    config: Path | None = Field(
        None, description="your configuration file for the server: the baseline, and what the export changes"
    )
    args: list[str] = Field(default=[], description="further arguments of the server; nothing that is tuned")
    env: dict[str, str] = Field(default={}, description="environment variables of the server, besides ours")
    server: Path | None = Field(None, description="the server's command; looked for when absent")
    port: int | None = Field(None, ge=1, le=65535, description="port to serve on; a free one when absent")
    side_by_side: bool = Field(
        False, description="several deployments may run at once: the device has memory and time for all of them"
    )
    apply_timeout: Duration = Field(600.0, gt=0, description="how long a start may take; large models take minutes")

    @field_validator("env", mode="before")
    @classmethod
    def _numbers_are_texts(cls, given: object) -> object:
        if not isinstance(given, dict):
            return given
        return {name: str(value) if type(value) in (int, float) else value for name, value in given.items()}

    @field_validator("args", mode="before")
    @classmethod
    def _a_list(cls, given: object) -> object:
        if isinstance(given, str):
            raise ValueError(f"expected a list of arguments, like [{', '.join(given.split())}], but got a text")
        if not isinstance(given, list):
            return given
        return [str(one) if type(one) in (int, float) else one for one in given]

    @model_validator(mode="after")
    def _fits_together(self) -> "LocalOptions":
        if self.model is None and self.config is None:
            raise ValueError("give `model`, or a `config` that names it")
        if self.side_by_side and self.port is not None:
            raise ValueError("`side_by_side` needs a port for each deployment; leave `port` out")
        return self

    @property
    def hub_model(self) -> str | None:
        """The model as the study names it: vLLM and SGLang know hubs."""
        return self.model

    def files(self) -> Sequence[Path]:
        """Return the configuration and the model, where it is a file or a folder here."""
        return [*([self.config] if self.config else []), *([Path(self.model)] if self.model else [])]


class OpenAIOptions(RequestOptions):
    """A server that runs already."""

    kind: Literal["openai"] = "openai"
    url: str = Field(description="of the server, like `http://127.0.0.1:8000`; `/v1` at its end may be left out")
    model: str = Field(description="name of the model, as the server lists it")
    usage: Literal["continuous", "final", "none"] = Field(
        "final",
        description="how the server tells the number of tokens in a stream: with every event (vLLM, SGLang), at the "
        "end, or not at all",
    )
    api_key_env: str | None = Field(
        None, description="environment variable that holds the API key; the key itself is never stored"
    )
    ca: str | None = Field(None, description="file with the certificates to trust, for https; the system's when absent")

    def secrets(self) -> Sequence[str]:
        """Return the variable of the API key."""
        return [self.api_key_env] if self.api_key_env else []

    @property
    def asked_by(self) -> tuple[str, ...]:
        """The model, the key, and what the requests say."""
        return ("model", "endpoint", "ignore_eos", "temperature", "body", "usage", "api_key_env")

    @property
    def takes_priority(self) -> bool:
        """VLLM among the servers takes the field `priority`; others may refuse it."""
        return True

    @field_validator("url")
    @classmethod
    def _a_web_address(cls, url: str) -> str:
        if not url.startswith(SCHEMES):
            raise ValueError(f"expected http://HOST:PORT or https://HOST, but got {shown_url(url)!r}")
        parts = urlsplit(url)
        if "@" in parts.netloc or parts.query or parts.fragment:
            raise ValueError(
                f"expected a host, a port and perhaps a path, but got {shown_url(url)!r}; "
                "the variable that holds the key is named with `api_key_env`"
            )
        return url
