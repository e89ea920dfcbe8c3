"""The `target` section of a study of a server with OpenAI's API, and what all such servers have in common."""

from typing import Any, Literal

from pydantic import Field, field_validator

from targets.options import TargetOptions

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
        return body


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

    @field_validator("url")
    @classmethod
    def _a_web_address(cls, url: str) -> str:
        if not url.startswith(SCHEMES):
            raise ValueError(f"expected http://HOST:PORT or https://HOST, but got {url!r}")
        return url
