"""What of a configuration is secret, and texts without it."""

import re
import shlex
from collections.abc import Iterator, Sequence

import yaml

HIDDEN = "***"
"""Stands in a text where a secret stood."""
SHORTEST = 4
"""Characters of a secret; what is shorter is none, and would be found everywhere."""
_NAMES = re.compile(r"(api|access)[-_]?keys?$|token$|password$|secret$", re.IGNORECASE)
_ASSIGNMENT = re.compile(r"^\s*(?:export\s+)?(\w+)=(.*)$", re.MULTILINE)
_SWITCHES = ("true", "false", "null", "none")


def secrets_in(text: str) -> Sequence[str]:
    """Return the values of settings whose name says that they are secret, like `api-key` and `LLAMA_API_KEY`.

    Args:
        text: YAML, JSON, or assignments as a shell reads them; there are none in any other.
    """
    found = []
    for value in (*_assigned(text), *_set(text)):
        found += [value, *(part.strip() for part in value.split(","))]
    return [value for value in dict.fromkeys(found) if value.lower() not in _SWITCHES]


def without(text: str, secrets: Sequence[str]) -> str:
    """Return a text with `HIDDEN` in the place of every secret that stands there by itself, not within a word."""
    long = sorted((re.escape(secret) for secret in secrets if len(secret) >= SHORTEST), key=len, reverse=True)
    return re.sub(rf"(?<!\w)(?:{'|'.join(long)})(?!\w)", HIDDEN, text) if long else text


def shown_url(url: str) -> str:
    """Return a URL as errors show it: user and password, query and fragment may hold secrets."""
    host, _, after = url.rpartition("@") if "@" in url else ("", "", url)
    scheme = host.partition("://")[0] + "://" if "://" in host else ""
    told = f"{scheme}{HIDDEN}@{after}" if host else after
    return re.sub(r"([?#]).+", rf"\1{HIDDEN}", told, flags=re.DOTALL)


def _assigned(text: str) -> Iterator[str]:
    for name, value in _ASSIGNMENT.findall(text):
        if _NAMES.search(name):
            try:
                yield "".join(shlex.split(value, comments=True)[:1])
            except ValueError:  # a quotation mark without its other one
                yield value.strip()


def _set(text: str) -> Iterator[str]:
    try:
        # The base loader takes every value as the text that it is written as.
        yield from _below(yaml.load(text, yaml.BaseLoader), secret=False)  # noqa: S506 - it makes texts only
    except (yaml.YAMLError, RecursionError):
        return


def _below(node: object, *, secret: bool) -> Iterator[str]:
    if isinstance(node, dict):
        for name, value in node.items():
            yield from _below(value, secret=secret or bool(_NAMES.search(str(name))))
    elif isinstance(node, list):
        for value in node:
            yield from _below(value, secret=secret)
    elif secret:
        yield str(node)
