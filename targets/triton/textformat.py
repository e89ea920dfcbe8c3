"""Where each field and value stands in protobuf's text format, and which of them a message type does not know."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

from google.protobuf import text_encoding

_TOKEN = re.compile(
    r"""(?P<skip>(?:\s+|\#[^\n]*)+)
      | (?P<string>"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*')
      | (?P<word>(?:-\s*)?[\w.+-]+)
      | (?P<mark>[{}<>\[\]:;,])""",
    re.VERBOSE,
)
_SEPARATOR = re.compile(r"\s*[,;]")
_NEARLY = 0.75
_CLOSING = {"{": "}", "<": ">", "[": "]"}


@dataclass
class Node:
    """A value in the text: [start, end) covers it with its brackets; a message has fields, a list has items."""

    start: int
    end: int = 0
    fields: list["Field"] = field(default_factory=list)
    items: list["Node"] = field(default_factory=list)


@dataclass
class Field:
    """`name: value` in the text; [start, end) covers both."""

    name: str
    start: int
    value: Node

    @property
    def end(self) -> int:
        """End of the value."""
        return self.value.end

    def nodes(self) -> list[Node]:
        """Return the values: the items of a list, or the one value."""
        return self.value.items or [self.value]


class _Scanner:
    """Finds where fields and values stand in valid text."""

    def __init__(self, text: str) -> None:
        self._tokens = [match for match in _TOKEN.finditer(text) if match.lastgroup != "skip"]
        self._next = 0

    def fields(self, closing: str | None) -> list[Field]:
        """Read fields up to the closing bracket (None: the end of the text), which is left in place."""
        found = []
        while self._next < len(self._tokens) and self._peek() != closing:
            name = self._take()
            if self._peek() == ":":
                self._take()
            found.append(Field(name.group(), name.start(), self._value()))
            while self._next < len(self._tokens) and self._peek() in (",", ";"):
                self._take()
        return found

    def _value(self) -> Node:
        opening = self._take()
        node = Node(opening.start(), opening.end())
        if opening.group() in ("{", "<"):
            node.fields = self.fields(_CLOSING[opening.group()])
            node.end = self._take().end()
        elif opening.group() == "[":
            while self._peek() != "]":
                node.items.append(self._value())
                if self._peek() == ",":
                    self._take()
            node.end = self._take().end()
        elif opening.lastgroup == "string":
            while self._next < len(self._tokens) and self._tokens[self._next].lastgroup == "string":
                node.end = self._take().end()
        return node

    def _peek(self) -> str:
        return self._tokens[self._next].group()

    def _take(self) -> re.Match[str]:
        self._next += 1
        return self._tokens[self._next - 1]


def scanned(text: str) -> Node:
    """Return where everything stands in a text.

    Raises:
        ValueError: brackets that do not close, or a name without a value: the text is not of the format.
    """
    try:
        return Node(0, len(text), _Scanner(text).fields(None))
    except IndexError:
        raise ValueError("not in protobuf's text format") from None


def unknown_fields(text: str, node: Node, descriptor: Any) -> Iterator[Field]:
    """Yield the fields that a message type does not have, as a newer server brings them.

    A name that is nearly one of the type's is a slip of the pen, and not among them.

    Args:
        text: that was scanned.
        node: of the message.
        descriptor: of its type.
    """
    for one in node.fields:
        known = descriptor.fields_by_name.get(one.name)
        if known is None:
            if not get_close_matches(one.name, descriptor.fields_by_name, n=1, cutoff=_NEARLY):
                yield one
        elif known.message_type is not None:
            for inner in one.nodes():
                yield from unknown_fields(text, inner, known.message_type)


def without(text: str, fields: Sequence[Field]) -> str:
    """Return the text with blanks for some of its fields: everything else stands where it stood."""
    for one in fields:
        separator = _SEPARATOR.match(text, one.end)
        end = separator.end() if separator else one.end
        text = text[: one.start] + re.sub(r"[^\r\n]", " ", text[one.start : end]) + text[end:]
    return text


def with_signs_beside(text: str) -> str:
    """Return the text with `- 1` as ` -1`, which Python's parser wants; everything else stands where it stood."""
    for token in _TOKEN.finditer(text):
        if token.lastgroup == "word" and (apart := re.fullmatch(r"-(\s+)(\S+)", token.group())):
            text = f"{text[: token.start()]}{apart[1]}-{apart[2]}{text[token.end() :]}"
    return text


def unquoted(literals: str) -> bytes:
    """Return what string literals say that stand side by side."""
    found = re.findall(_TOKEN, literals)
    return b"".join(text_encoding.CUnescape(string[1:-1]) for _, string, _, _ in found if string)
