"""What a server with OpenAI's API tells of its models before there is a study, and how one of them is asked."""

import json
from collections.abc import Callable

import pytest

from targets import registry
from targets.base import TargetError
from targets.found import FoundModel, NothingFound, Prompted
from targets.openai.found import told

Serve = Callable[..., str]


def found(url: str, model: str | None = None) -> list[FoundModel]:
    return list(registry.models_served("openai", url, model, None))


@pytest.mark.parametrize(
    ("arguments", "model"),
    [
        ((), FoundModel("clock", prompted=Prompted("chat", "continuous"))),
        (("--strict",), FoundModel("clock", prompted=Prompted("chat", "final"))),
        (("--endpoints", "completions"), FoundModel("clock", prompted=Prompted("completions", "continuous"))),
        (
            ("--owner", "vllm", "--context", "512"),
            FoundModel("clock", server="vllm", prompted=Prompted("chat", "continuous", ignore_eos=True, context=512)),
        ),
    ],
)
def test_a_model_that_is_alone_is_asked_how_it_takes_prompts(
    arguments: tuple[str, ...], model: FoundModel, serve: Serve
) -> None:
    assert found(serve(*arguments)) == [model]


def test_several_models_are_listed_and_the_one_that_is_named_is_asked(serve: Serve) -> None:
    url = serve("--models", "one", "other")
    assert found(url) == [FoundModel("one"), FoundModel("other")]
    assert found(f"{url}/v1", "other") == [FoundModel("other", prompted=Prompted("chat", "continuous"))]


def test_a_model_that_answers_no_prompt_is_named_with_what_was_asked(serve: Serve) -> None:
    with pytest.raises(TargetError, match=r"answers no prompt to model 'clock' .*POST /v1/chat/completions: HTTP 404: "
                                          r".*; POST /v1/completions: HTTP 404: .*--model"):  # fmt: skip
        found(serve("--endpoints"))


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        (("--key", "secret"), TargetError, r"refuses us \(GET /v1/models: HTTP 401\); .*--api-key-env"),
        (("--models",), TargetError, r"lists no models under /v1/models"),
        (("--models", "one"), TargetError, r"has no model 'clock'; it has: one"),
    ],
)
def test_a_server_without_the_model_says_what_it_has(
    arguments: tuple[str, ...], kind: type[Exception], message: str, serve: Serve
) -> None:
    with pytest.raises(kind, match=message):
        found(serve(*arguments), "clock")


def test_a_server_of_another_protocol_is_left_to_another_kind(url: str) -> None:
    with pytest.raises(NothingFound, match="GET /v1/models: HTTP 404"):
        found(f"{url}/elsewhere")


def event(tokens: int | None = None, *, choices: int = 1) -> bytes:
    usage = {} if tokens is None else {"usage": {"completion_tokens": tokens}}
    return json.dumps({"choices": [{"delta": {"content": "so"}}] * choices, **usage}).encode()


@pytest.mark.parametrize(
    ("events", "usage"),
    [
        ([event(1), event(2), event(2, choices=0)], "continuous"),
        ([event(), event(), event(2, choices=0)], "final"),
        ([event(), event(2)], "final"),
        ([event(2), event(2)], "final"),
        ([event(1)], "final"),
        ([event(), event(), b"[DONE]"], "none"),
        ([], "none"),
    ],
)
def test_how_tokens_are_told_is_seen_in_a_stream(events: list[bytes], usage: str) -> None:
    assert told(events) == usage
