"""Change members of a JSON object in its own text: order, layout and everything else stay as they are."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from targets.base import TargetError, Value

_BLANK = re.compile(r"[ \t\r\n]*")
_DECODER = json.JSONDecoder()


@dataclass(frozen=True)
class Member:
    """A member of the outermost object.

    Attributes:
        value: what it says.
        key_start: where its name begins, at the quote.
        start: where its value begins.
        end: where its value ends.
    """

    value: object
    key_start: int
    start: int
    end: int


def parse(text: str, path: Path) -> dict[str, Member]:
    """Return the members of the object that a text is.

    Raises:
        TargetError: it is no JSON, no object, or has a member twice; with file, line and what is wrong.
    """
    try:
        whole = json.loads(text)
    except json.JSONDecodeError as error:
        raise TargetError(f"{path}:{error.lineno}: not JSON: {error.msg}") from None
    if not isinstance(whole, dict):
        raise TargetError(f"{path}: expected an object, {{...}}, but got {whole!r}")
    members: dict[str, Member] = {}
    at = _skip(text, text.index("{") + 1)
    while text[at] != "}":
        key_start = at
        name, at = _DECODER.raw_decode(text, at)
        start = _skip(text, text.index(":", at) + 1)
        value, end = _DECODER.raw_decode(text, start)
        if name in members:
            raise TargetError(f"{path}:{line(text, key_start)}: `{name}` is given twice; keep one")
        members[name] = Member(value, key_start, start, end)
        at = _skip(text, end)
        at = _skip(text, at + 1) if text[at] == "," else at
    return members


def line(text: str, position: int) -> int:
    """Return the number of the line that a position is in, from 1."""
    return text.count("\n", 0, position) + 1


def rewrite(text: str, path: Path, changes: Mapping[str, Value]) -> str:
    """Return the text of an object with other values for some members; one that is not there yet is added at the end.

    Raises:
        TargetError: as `parse`.
    """
    for name, value in changes.items():
        members = parse(text, path)
        if name in members:
            member = members[name]
            text = f"{text[: member.start]}{json.dumps(value)}{text[member.end :]}"
        else:
            text = _added(text, list(members.values()), f"{json.dumps(name)}: {json.dumps(value)}")
    return text


def _added(text: str, members: list[Member], member: str) -> str:
    if not members:
        opening, closing = text.index("{"), text.rindex("}")
        return f"{text[: opening + 1]}\n  {member}\n{text[closing:]}"
    last = members[-1]
    before = text[: last.key_start]
    blank = before[len(before.rstrip(" \t\r\n")) :]
    return f"{text[: last.end]},{blank or ' '}{member}{text[last.end :]}"


def _skip(text: str, at: int) -> int:
    found = _BLANK.match(text, at)
    return found.end() if found else at
