"""What a version of llama-server can be told through its environment: its own `--help`, read."""

import re
from collections.abc import Mapping

_VARIABLE = re.compile(r"\(env: (LLAMA_\w+)\)")
_RULE = "-----"


def parse(text: str) -> dict[str, tuple[str, ...]]:
    """Return the variables that a help text names, each with the flags of its option."""
    found: dict[str, tuple[str, ...]] = {}
    for entry in _entries(text):
        words = " ".join(entry.split())
        if match := _VARIABLE.search(words):
            found[match[1]] = tuple(flag.rstrip(",") for flag in _flags(words))
    return found


def _entries(text: str) -> list[str]:
    """Return the lines of each option as one text: an option begins at the start of a line."""
    entries: list[list[str]] = []
    for line in text.splitlines():
        if line.startswith("-") and not line.startswith(_RULE):
            entries.append([line])
        elif entries and line.startswith(" "):
            entries[-1].append(line)
    return ["\n".join(entry) for entry in entries]


def _flags(words: str) -> list[str]:
    """Return the flags that an entry begins with: each but the last has a comma after it."""
    flags: list[str] = []
    for word in words.split():
        if not word.startswith("-"):
            break
        flags.append(word)
        if not word.endswith(","):
            break
    return flags


def can_be_false(variable: str, variables: Mapping[str, tuple[str, ...]]) -> bool:
    """Whether a version lets a variable say no: its option has a flag that takes it back."""
    return any(flag.startswith("--no-") for flag in variables.get(variable, ()))
