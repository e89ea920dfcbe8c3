"""What of a configuration is secret, and texts without it."""

import re
import shlex
from collections.abc import Iterator, Sequence

import yaml

HIDDEN = "***"
"""Stands in a text where a secret stood."""
SHORTEST = 4
"""Characters of a secret; what is shorter is none, and would be found everywhere."""
_NAMES = re.compile(
    r"(api|access|private|secret)[-_]?keys?$|token$|passw(or)?d$|passphrase$|secret$|credentials?$|authorization$"
    r"|cookie$",
    re.IGNORECASE,
)
_ARGUMENT = re.compile(r"(--?[\w.-]+(?=[=\s])|\w+(?==))[=\s]\s*(.+)", re.DOTALL)
_BEARER = re.compile(r"(?:.*:\s*)?(Bearer\s+\S+)\s*", re.IGNORECASE | re.DOTALL)
_ASSIGNMENT = re.compile(r"^\s*(?:export\s+)?(\w+)=(.*)$", re.MULTILINE)
_SWITCHES = ("true", "false", "null", "none")
_REFERENCE = r"(?:\w+[ =])?(?:\$\w+|\$?\{+[^{}]*\}+)"
_NO_SECRET = re.compile(rf".{{0,{SHORTEST - 1}}}|(?:[:;,.\s]*{_REFERENCE})+|<.*>|\[.*\]", re.DOTALL)
"""What a setting of such a name has without being secret: next to nothing, references, a token of a language model."""


def secrets_in(text: str) -> Sequence[str]:
    """Return the values of settings whose name says that they are secret, like `api-key` and `LLAMA_API_KEY`.

    Arguments in a list count as settings: `--token abc` and `--token=abc`. `Bearer abc` is secret under any name.

    Args:
        text: YAML, JSON, or assignments as a shell reads them; there are none in any other.
    """
    found = []
    for value in (*_assigned(text), *_set(text)):
        found += [value, *(part.strip() for part in value.split(","))]
    return [value for value in dict.fromkeys(found) if value.lower() not in _SWITCHES]


def secrets_below(node: object) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Yield the place and the value of each secret setting, as `secrets_in` tells them, in mappings and lists.

    Args:
        node: what YAML or JSON makes.
    """
    for keys, value in _below(node, (), secret=False):
        if value.lower() not in _SWITCHES:
            yield keys, value


def is_secret(value: str) -> bool:
    """Whether the value of a setting with a secret's name is one itself: not too short, and no variable's name."""
    return not _NO_SECRET.fullmatch(value)


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
        for _, value in _below(yaml.load(text, yaml.BaseLoader), (), secret=False):  # noqa: S506 - it makes texts only
            yield value
    except (yaml.YAMLError, RecursionError):
        return


def _below(node: object, keys: tuple[str | int, ...], *, secret: bool) -> Iterator[tuple[tuple[str | int, ...], str]]:
    if isinstance(node, dict):
        for name, value in node.items():
            yield from _below(value, (*keys, str(name)), secret=secret or bool(_NAMES.search(str(name))))
    elif isinstance(node, list):
        option = ""
        for index, value in enumerate(node):
            is_option = isinstance(value, str) and value.startswith("-")
            named = not is_option and bool(_NAMES.search(option))
            yield from _below(value, (*keys, index), secret=secret or named)
            option = value if is_option else ""
    elif secret:
        yield keys, str(node)
    elif keys:  # assignments of a shell, which have none, are one long text to YAML
        yield from ((keys, value) for value in _within(str(node)))


def _within(text: str) -> Iterator[str]:
    """Yield the secret of a text that is no setting itself: an argument with its value, or a header."""
    argument, header = _ARGUMENT.fullmatch(text), _BEARER.fullmatch(text)
    if argument and _NAMES.search(argument[1]):
        yield argument[2]
    elif header:
        yield header[1]
