"""The models of a server with OpenAI's API, and how one of them takes prompts: it is asked a short question."""

from collections.abc import Mapping, Sequence
from http.client import HTTPException
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from pydantic import ValidationError

from targets.base import Endpoint, Piece, ServerHung, TargetError
from targets.found import FoundModel, NothingFound, Prompted
from targets.openai import wire
from targets.openai.control import CONTROL_TIMEOUT_S, REFUSED, Control, listed
from targets.openai.judge import read_event
from targets.openai.options import OpenAIOptions
from targets.probe import HttpAnswer, events_of, http_answer, http_failure
from workloads.requests import Prompts

ANSWER_TIMEOUT_S = 6 * CONTROL_TIMEOUT_S
HAVE_IGNORE_EOS = ("vllm", "sglang", "llamacpp")
"""What servers call themselves, as the owner of their models, that know `ignore_eos`."""
_QUESTION = Prompts(["Count from one to ten."], np.array([8]))
_SHOWN = 200
_LEAST_FIRST = get_args(wire.Usage)[::-1]
_KindOfEndpoint = Literal["chat", "completions"]


class _Way(NamedTuple):
    """A way to ask: the endpoint, and how the tokens are to be told."""

    endpoint: _KindOfEndpoint
    usage: wire.Usage


def models_of(url: str, model: str | None, key_env: str | None) -> Sequence[FoundModel]:
    """Return the models that a server lists, or the one that is wanted; one alone with how it takes prompts.

    Args:
        url: of the server.
        model: the one that is wanted, None: every one.
        key_env: the environment variable with the key that the server wants, None for none.

    Raises:
        NothingFound: the server does not list models as OpenAI's API does.
        TargetError: no such URL, the server does not answer or refuses us, has no such model, or does not answer it.
    """
    options = _options(url, model or "any", key_env)
    control = Control(options)
    known = _listed(control, options)
    if model is not None and model not in known:
        raise TargetError(f"{url} has no model {model!r}; it has: {', '.join(known)}")
    names = sorted(known) if model is None else [model]
    found = [FoundModel(name, server=str(known[name].get("owned_by") or "")) for name in names]
    if len(names) > 1:
        return found
    name = names[0]
    return [FoundModel(name, server=found[0].server, prompted=_prompted(control, options, name, known[name]))]


def _options(url: str, model: str, key_env: str | None) -> OpenAIOptions:
    try:
        return OpenAIOptions(url=url, model=model, api_key_env=key_env)
    except ValidationError as error:
        raise TargetError(f"{url}: {error.errors()[0]['msg'].removeprefix('Value error, ')}") from None


def _listed(control: Control, options: OpenAIOptions) -> Mapping[str, Mapping[str, Any]]:
    """Return what the server says of each of its models."""
    status, body, _ = control.models()
    if status in REFUSED:
        named = options.api_key_env
        hint = f"check the key in {named}" if named else "name the environment variable of its key with --api-key-env"
        raise TargetError(f"{options.url} refuses us (GET /v1/models: HTTP {status}); {hint}")
    if status != 200:
        raise NothingFound(f"GET /v1/models: HTTP {status}")
    known = listed(body)
    if known is None:
        raise NothingFound(f"GET /v1/models: no list of models, but {body[:_SHOWN]!r}")
    if not known:
        raise TargetError(f"{options.url} lists no models under /v1/models; load one")
    return known


def _prompted(control: Control, options: OpenAIOptions, name: str, said: Mapping[str, Any]) -> Prompted:
    """Return the first way of asking that a model answers, those that tell most first.

    Raises:
        TargetError: it answers none, with what it said of the first of each endpoint.
    """
    failures: dict[str, str] = {}
    ways = [_Way(kind, usage) for kind in get_args(_KindOfEndpoint) for usage in get_args(wire.Usage)]
    for way in ways:
        endpoint = _question(control, options, name, way)
        answer = _asked(endpoint, options.url, name)
        if failure := http_failure(endpoint, answer):
            failures.setdefault(wire.PATHS[way.endpoint], failure)
            continue
        usage = min(way.usage, told(events_of(answer)), key=_LEAST_FIRST.index)  # no more than was asked for
        return Prompted(way.endpoint, usage, said.get("owned_by") in HAVE_IGNORE_EOS, _context(said))
    tried = "; ".join(f"POST /v1{path}: {failure}" for path, failure in failures.items())
    raise TargetError(f"{options.url} answers no prompt to model {name!r} ({tried}); name another one with --model, or "
                      "look into the server's log")  # fmt: skip


def _question(control: Control, options: OpenAIOptions, name: str, way: _Way) -> Endpoint:
    return wire.endpoint(
        _QUESTION,
        model=name,
        address=control.address,
        options=options.model_copy(update={"endpoint": way.endpoint}),
        usage=way.usage,
        headers=control.headers(),
        tls=control.tls,
    )


def _asked(endpoint: Endpoint, url: str, name: str) -> HttpAnswer:
    try:
        return http_answer(endpoint, ANSWER_TIMEOUT_S)
    except (OSError, HTTPException) as error:
        raise ServerHung(
            f"{url} did not answer a short prompt to model {name!r} ({error!r}); look into its log"
        ) from None


def told(events: Sequence[bytes]) -> wire.Usage:
    """Return how a stream tells the number of its tokens: with every event of an answer, in one of them, or not at all.

    Args:
        events: their data.
    """
    pieces = [one for one in map(read_event, events) if isinstance(one, Piece)]
    totals = [one.total for one in pieces if one.total is not None]
    parts = [one for one in pieces if one.tokens]
    if len(parts) > 1 and all(one.total is not None for one in parts) and len(set(totals)) > 1:
        return "continuous"
    return "final" if totals else "none"


def _context(said: Mapping[str, Any]) -> int:
    """Return how many tokens a model takes, 0 where the server does not say: vLLM and SGLang do."""
    found = said.get("max_model_len")
    return found if isinstance(found, int) else 0
