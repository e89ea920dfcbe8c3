"""Change fields of a config.pbtxt in its own text: comments, order and layout of everything else stay as they are.

Protobuf's text format parser drops comments, so the text is scanned for where each field stands, and only the spans
of changed fields are written anew. The result is parsed again and must equal what was asked for.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from google.protobuf import text_encoding, text_format
from google.protobuf.message import Message

_TOKEN = re.compile(
    r"""(?P<skip>(?:\s+|\#[^\n]*)+)
      | (?P<string>"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*')
      | (?P<word>[\w.+-]+)
      | (?P<mark>[{}<>\[\]:;,])""",
    re.VERBOSE,
)
_SEPARATOR = re.compile(r"[ \t]*[,;]?[ \t]*")
_END_OF_LINE = re.compile(r"[ \t]*[,;]?[ \t]*(?=\n|\Z)")
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


@dataclass(frozen=True)
class _Edit:
    start: int
    end: int
    text: str


def rewrite(text: str, before: Message, after: Message) -> str:
    """Return `text`, which says `before`, changed in as few places as make it say `after`.

    Args:
        text: a message in protobuf's text format.
        before: what the text says.
        after: what it shall say; a message of the same type.

    Raises:
        ValueError: the text cannot be changed that way.
    """
    for descriptor in after.DESCRIPTOR.fields:
        if not _same(descriptor, before, after):
            wanted = _with_field(before, after, descriptor.name)
            text = _rewrite_field(text, before, wanted, descriptor.name)
            before = wanted
    return text


def _rewrite_field(text: str, before: Message, wanted: Message, name: str) -> str:
    """Change one top-level field: in its smallest parts if that comes out right, else as a whole."""
    root = Node(0, len(text), _Scanner(text).fields(None))
    for edits in (_message_edits(text, root, before, wanted, top=True), _whole_field_edits(text, root, wanted, name)):
        changed = _applied(text, edits)
        if _says(changed, wanted):
            return changed
    raise ValueError(f"the changed text does not say what was asked for: `{name}`")


def _applied(text: str, edits: Iterable[_Edit]) -> str:
    pieces, position = [], 0
    for edit in sorted(edits, key=lambda one: one.start):
        pieces += [text[position : edit.start], edit.text]
        position = edit.end
    return "".join([*pieces, text[position:]])


def _says(text: str, wanted: Message) -> bool:
    try:
        return bool(text_format.Parse(text, type(wanted)()) == wanted)
    except text_format.ParseError:
        return False


def _with_field(base: Message, source: Message, name: str) -> Message:
    """Return `base` with one field taken from `source`."""
    result, alone = type(base)(), type(base)()
    result.CopyFrom(base)
    result.ClearField(name)
    alone.CopyFrom(source)
    for descriptor in alone.DESCRIPTOR.fields:
        if descriptor.name != name:
            alone.ClearField(descriptor.name)
    result.MergeFrom(alone)
    return result


def _whole_field_edits(text: str, root: Node, wanted: Message, name: str) -> Iterator[_Edit]:
    """Yield the edits that print a top-level field anew."""
    present = [one for one in root.fields if one.name == name]
    if _vanishes(wanted.DESCRIPTOR.fields_by_name[name], wanted):
        yield from (_removal(text, one) for one in present)
    elif present:
        yield from _replacement(text, present, _printed(wanted, name))
    else:
        yield _insertion(text, root, _printed(wanted, name), top=True)


def _replacement(text: str, present: Sequence[Field], printed: str) -> Iterator[_Edit]:
    """Put printed fields where the first occurrence stands and take the others away, with their separators."""
    first, *others = present
    yield _Edit(first.start, first.end, printed.replace("\n", "\n" + _indentation(text, first.start)))
    for one in others:
        separator = re.compile(r"\s*[,;]").match(text, one.end)
        yield _Edit(one.start, separator.end() if separator else one.end, "")


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


def _message_edits(text: str, node: Node, before: Message, after: Message, *, top: bool = False) -> Iterator[_Edit]:
    """Yield the edits that turn the message at `node` from `before` into `after`."""
    missing = []
    for descriptor in after.DESCRIPTOR.fields:
        name = descriptor.name
        if _same(descriptor, before, after):
            continue
        present = [one for one in node.fields if one.name == name]
        if _vanishes(descriptor, after):
            yield from (_removal(text, one) for one in present)
        elif not present:
            missing.append(_printed(after, name))
        elif _is_map(descriptor):
            yield from _map_edits(text, present, before, after, name, missing)
        elif descriptor.is_repeated:
            yield from _repeated_edits(text, present, before, after, name)
        elif descriptor.message_type is not None:
            yield from _message_edits(text, present[-1].value, getattr(before, name), getattr(after, name))
        else:
            value = present[-1].value
            yield _Edit(value.start, value.end, _scalar(after, name))
    if missing:
        yield _insertion(text, node, "\n".join(missing), top=top)


def _vanishes(descriptor: Any, after: Message) -> bool:
    """Whether a field is there no longer, so that nothing is left to be said of it."""
    if descriptor.is_repeated:
        return not getattr(after, descriptor.name)
    return bool(descriptor.has_presence) and not after.HasField(descriptor.name)


def _removal(text: str, one: Field) -> _Edit:
    """Take a field away: with its line where it has one of its own, else with its separator."""
    begin, end = text.rfind("\n", 0, one.start), _END_OF_LINE.match(text, one.end)
    if end and not text[begin + 1 : one.start].strip():
        return _Edit(max(begin, 0), end.end() if begin >= 0 else end.end() + 1, "")
    separator = _SEPARATOR.match(text, one.end)
    return _Edit(one.start, separator.end() if separator else one.end, "")


def _map_edits(
    text: str, present: Sequence[Field], before: Message, after: Message, name: str, missing: list[str]
) -> Iterator[_Edit]:
    """Edit changed entries where they stand; entries that are new are printed into `missing`."""
    entries = [node for one in present for node in one.nodes()]
    for key, value in getattr(after, name).items():
        old = getattr(before, name)
        if key in old and old[key] == value:
            continue
        place = next((entry for entry in reversed(entries) if key in old and _map_key(text, entry) == key), None)
        if place is None:
            alone = type(after)()
            if isinstance(value, Message):
                getattr(alone, name)[key].CopyFrom(value)
            else:
                getattr(alone, name)[key] = value
            missing.append(_printed(alone, name))
            continue
        inner = next((one for one in reversed(place.fields) if one.name == "value"), None)
        if inner is not None and isinstance(value, Message):
            yield from _message_edits(text, inner.value, old[key], value)
        elif inner is not None:
            yield _Edit(inner.value.start, inner.value.end, _quoted(value))


def _map_key(text: str, entry: Node) -> str:
    key = next((one.value for one in entry.fields if one.name == "key"), None)
    if key is None:
        return ""
    literals = re.findall(_TOKEN, text[key.start : key.end])
    return "".join(text_encoding.CUnescape(string[1:-1]).decode() for _, string, _, _ in literals if string)


def _repeated_edits(text: str, present: Sequence[Field], before: Message, after: Message, name: str) -> Iterator[_Edit]:
    old, new = getattr(before, name), getattr(after, name)
    nodes = [node for one in present for node in one.nodes()]
    if len(old) == len(new) == len(nodes) and isinstance(new[0], Message):
        for node, one, other in zip(nodes, old, new, strict=True):
            if one != other:
                yield from _message_edits(text, node, one, other)
        return
    yield from _replacement(text, present, _printed(after, name))


def _insertion(text: str, node: Node, fields: str, *, top: bool) -> _Edit:
    """Put printed fields behind the last field of a message, laid out like its neighbours."""
    if top:
        return _Edit(len(text), len(text), ("" if text.endswith("\n") or not text else "\n") + fields + "\n")
    at = node.fields[-1].end if node.fields else node.start + 1
    if "\n" in text[node.start : node.end]:
        at = _end_of_line(text, at)
        outer = _indentation(text, node.start)
        indent = _indentation(text, node.fields[0].start) if node.fields else outer + "  "
        return _Edit(at, at, "\n" + indent + fields.replace("\n", "\n" + indent))
    inline = " " + " ".join(line.strip() for line in fields.split("\n"))
    return _Edit(at, at, inline if node.fields or text[at] == " " else inline + " ")


def _end_of_line(text: str, position: int) -> int:
    """Step over a separator and a comment that belong to the field before."""
    rest = re.compile(r"[ \t]*[,;]?[ \t]*(?:#[^\n]*)?(?=\n)").match(text, position)
    return rest.end() if rest else position


def _indentation(text: str, position: int) -> str:
    line = text[text.rfind("\n", 0, position) + 1 : position]
    return line[: len(line) - len(line.lstrip())]


def _same(descriptor: Any, before: Message, after: Message) -> bool:
    name = descriptor.name
    if descriptor.has_presence and before.HasField(name) != after.HasField(name):
        return False
    same: bool = getattr(before, name) == getattr(after, name)
    return same


def _is_map(descriptor: Any) -> bool:
    return descriptor.message_type is not None and bool(descriptor.message_type.GetOptions().map_entry)


def _printed(message: Message, name: str) -> str:
    """Print one field of a message, over several lines where it is itself a message."""
    descriptor = message.DESCRIPTOR.fields_by_name[name]
    if descriptor.is_repeated and descriptor.message_type is None and getattr(message, name):
        return f"{name}: [ {', '.join(_literals(message, name))} ]"
    alone = type(message)()
    alone.CopyFrom(message)
    for descriptor, _ in message.ListFields():
        if descriptor.name != name:
            alone.ClearField(descriptor.name)
    printed = text_format.MessageToString(alone).rstrip("\n")
    return printed or f"{name}: {_default(message, name)}"


def _quoted(value: str) -> str:
    return f'"{text_encoding.CEscape(value.encode(), as_utf8=True)}"'


def _literals(message: Message, name: str) -> list[str]:
    alone = type(message)()
    getattr(alone, name).MergeFrom(getattr(message, name))
    return [line.partition(": ")[2] for line in text_format.MessageToString(alone).splitlines()]


def _scalar(message: Message, name: str) -> str:
    return _printed(message, name).partition(": ")[2]


def _default(message: Message, name: str) -> str:
    descriptor = message.DESCRIPTOR.fields_by_name[name]
    value = getattr(message, name)
    if descriptor.enum_type is not None:
        return str(descriptor.enum_type.values_by_number[value].name)
    if isinstance(value, bool):
        return "true" if value else "false"
    return '""' if value == "" else str(value)
