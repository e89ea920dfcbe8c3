"""The path of a value in a study as one text: keys joined by dots, those that have dots themselves in quotes. Pure."""

import re
from collections.abc import Iterable

_KEY = re.compile(r""" "([^"]*)" | '([^']*)' | ((?!["'])[^.=]*) """, re.VERBOSE)
_PLAIN = re.compile(r"""(?!["'])[^.=]+""")


def split(given: str) -> tuple[list[str], str | None]:
    """Return the keys of `PATH=VALUE` and the value's text, None where there is no `=`.

    A key in quotes, as in TOML's `composing."my.model".instances`, may have dots and `=` in it.

    Raises:
        ValueError: a quote has no end, or there is more behind it than a dot or `=`.
    """
    keys: list[str] = []
    start = 0
    while found := _KEY.match(given, start):
        keys.append(next(group for group in found.groups() if group is not None))
        end = found.end()
        if end == len(given):
            return keys, None
        if given[end] == "=":
            return keys, given[end + 1 :]
        if given[end] != ".":
            break
        start = end + 1
    raise ValueError(
        f'the quotes at {given[start:]!r} are not around a whole key, as in composing."my.model".instances'
    )


def joined(keys: Iterable[str | int]) -> str:
    """Return keys as one path, those that would not be read back as they are in quotes."""
    return ".".join(map(_quoted, map(str, keys)))


def _quoted(key: str) -> str:
    if _PLAIN.fullmatch(key):
        return key
    return f"'{key}'" if '"' in key else f'"{key}"'
