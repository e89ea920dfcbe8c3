"""Change fields of a config.pbtxt in its own text: comments, order and layout of everything else stay as they are.

Protobuf's text format parser drops comments, so the text is scanned for where each field stands, and only the spans
of changed fields are written anew. The result is parsed again and must equal what was asked for. Fields that this
version of the format does not know, as a newer server brings them, stay where they are.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

from google.protobuf import text_encoding, text_format
from google.protobuf.message import Message

from targets.triton.textformat import Field, Node, scanned, unknown_fields, unquoted, with_signs_beside, without

_Message = TypeVar("_Message", bound=Message)


@dataclass(frozen=True)
class _Edit:
    start: int
    end: int
    text: str


def read(text: str, empty: _Message) -> tuple[_Message, tuple[str, ...]]:
    """Return what a text says, and the names of the fields in it that the message type does not know.

    Args:
        text: a message in protobuf's text format.
        empty: a message of its type.

    Raises:
        text_format.ParseError: with the line and what the parser expected.
    """
    blank = type(empty)
    try:
        return text_format.Parse(text, blank()), ()
    except text_format.ParseError as error:
        try:
            unknown = list(unknown_fields(text, scanned(text), empty.DESCRIPTOR))
        except ValueError:
            raise error from None
    known = with_signs_beside(without(text, unknown))
    return text_format.Parse(known, blank()), tuple(one.name for one in unknown)


def rewrite(text: str, before: Message, after: Message) -> str:
    """Return `text`, which says `before`, changed in as few places as make it say `after`.

    Args:
        text: a message in protobuf's text format.
        before: what the text says, as far as its type knows it.
        after: what it shall say; a message of the same type.

    Raises:
        ValueError: the text cannot be changed that way.
    """
    descriptors = after.DESCRIPTOR.fields
    gone = [one.name for one in descriptors if _present(one, before) and not _present(one, after)]
    for name in gone:  # first, as a field may stand in the place of one that goes
        wanted = _without_field(before, name)
        fields = [one for one in scanned(text).fields if one.name == name]
        text, before = _checked(text, wanted, name, [_removals(text, fields)]), wanted
    for descriptor in descriptors:
        if not _same(descriptor, before, after):
            wanted = _with_field(before, after, descriptor.name)
            text, before = _rewritten_field(text, before, wanted, descriptor.name), wanted
    return text


def _rewritten_field(text: str, before: Message, wanted: Message, name: str) -> str:
    """Change one top-level field: in its smallest parts if that comes out right, else as a whole."""
    root = scanned(text)
    in_parts = _message_edits(text, root, before, wanted, top=True)
    return _checked(text, wanted, name, [in_parts, _whole_field_edits(text, root, wanted, name)])


def _checked(text: str, wanted: Message, name: str, attempts: Iterable[Iterable[_Edit]]) -> str:
    for edits in attempts:
        changed = _applied(text, edits)
        if _says(changed, wanted):
            return changed
    raise ValueError(f"the changed text does not say what was asked for: `{name}`")


def _applied(text: str, edits: Iterable[_Edit]) -> str:
    newline = "\r\n" if 2 * text.count("\r\n") > text.count("\n") else "\n"
    pieces, position = [], 0
    for edit in sorted(edits, key=lambda one: one.start):
        pieces += [text[position : edit.start], edit.text.replace("\n", newline)]
        position = edit.end
    return "".join([*pieces, text[position:]])


def _says(text: str, wanted: Message) -> bool:
    try:
        return bool(read(text, wanted)[0] == wanted)
    except text_format.ParseError:
        return False


def _without_field(base: Message, name: str) -> Message:
    result = type(base)()
    result.CopyFrom(base)
    result.ClearField(name)
    return result


def _with_field(base: Message, source: Message, name: str) -> Message:
    """Return `base` with one field taken from `source`."""
    result, alone = _without_field(base, name), type(base)()
    alone.CopyFrom(source)
    for descriptor in alone.DESCRIPTOR.fields:
        if descriptor.name != name:
            alone.ClearField(descriptor.name)
    result.MergeFrom(alone)
    return result


def _whole_field_edits(text: str, root: Node, wanted: Message, name: str) -> Iterator[_Edit]:
    """Yield the edits that print a top-level field anew."""
    present = [one for one in root.fields if one.name == name]
    if present and not _present(wanted.DESCRIPTOR.fields_by_name[name], wanted):
        yield from _removals(text, present)
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


def _removals(text: str, fields: Sequence[Field]) -> Iterator[_Edit]:
    """Take fields away with their separators, and the lines that are empty without them; comments beside stay."""
    for one in fields:
        start, end = one.start, one.end
        if separator := re.compile(r"\s*[,;]").match(text, end):
            end = separator.end()
        rest = re.compile(r"[ \t]*(?:\r?\n|\Z)").match(text, end)
        line = text.rfind("\n", 0, start) + 1
        if rest and not text[line:start].strip():
            start, end = line, rest.end()
        else:
            end += len(text[end:]) - len(text[end:].lstrip(" \t"))
        yield _Edit(start, end, "")


def _message_edits(text: str, node: Node, before: Message, after: Message, *, top: bool = False) -> Iterator[_Edit]:
    """Yield the edits that turn the message at `node` from `before` into `after`."""
    missing: list[str] = []
    gone: list[Field] = []
    for descriptor in after.DESCRIPTOR.fields:
        name = descriptor.name
        if _same(descriptor, before, after):
            continue
        present = [one for one in node.fields if one.name == name]
        if present and not _present(descriptor, after):
            gone += present
        elif not present:
            missing.append(_printed(after, name))
        elif _is_map(descriptor):
            yield from _map_edits(text, present, before, after, descriptor, missing)
        elif descriptor.is_repeated:
            yield from _repeated_edits(text, present, before, after, name)
        elif descriptor.message_type is not None:
            yield from _message_edits(text, present[-1].value, getattr(before, name), getattr(after, name))
        else:
            value = present[-1].value
            yield _Edit(value.start, value.end, _scalar(after, name))
    yield from _removals(text, gone)
    if missing:
        staying = replace(node, fields=[one for one in node.fields if one not in gone])
        yield _insertion(text, staying, "\n".join(missing), top=top)


def _map_edits(
    text: str, present: Sequence[Field], before: Message, after: Message, descriptor: Any, missing: list[str]
) -> Iterator[_Edit]:
    """Edit changed entries where they stand; entries that are new are printed into `missing`."""
    name = descriptor.name
    entries = [node for one in present for node in one.nodes()]
    keys = descriptor.message_type.fields_by_name["key"]
    key_of = partial(_map_key, text, number=keys.cpp_type != keys.CPPTYPE_STRING)
    gone = [one for one in present if not one.value.items and key_of(one.value) not in getattr(after, name)]
    yield from _removals(text, gone)
    for key, value in getattr(after, name).items():
        old = getattr(before, name)
        if key in old and old[key] == value:
            continue
        place = next((entry for entry in reversed(entries) if key in old and key_of(entry) == key), None)
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


def _map_key(text: str, entry: Node, *, number: bool) -> str | int:
    """Return the key of an entry, as a map has it whose keys are numbers or texts."""
    key = next((one.value for one in reversed(entry.fields) if one.name == "key"), None)
    if key is None:
        return 0 if number else ""
    said = text[key.start : key.end]
    return text_format.ParseInteger(said, is_long=True) if number else unquoted(said).decode()


def _repeated_edits(text: str, present: Sequence[Field], before: Message, after: Message, name: str) -> Iterator[_Edit]:
    old, new = getattr(before, name), getattr(after, name)
    nodes = [node for one in present for node in one.nodes()]
    if len(old) == len(new) == len(nodes) and isinstance(new[0], Message):
        for node, one, other in zip(nodes, old, new, strict=True):
            if one != other:
                yield from _message_edits(text, node, one, other)
        return
    if len(old) == len(nodes) and not isinstance(new[0], Message) and (len(old) == len(new) or len(present) == 1):
        yield from _list_edits(nodes, old, _literals(after, name), new)
        return
    yield from _replacement(text, present, _printed(after, name))


def _list_edits(
    nodes: Sequence[Node], old: Sequence[object], literals: Sequence[str], new: Sequence[object]
) -> Iterator[_Edit]:
    """Edit values of a list where they stand; what it gets longer or shorter by is at its end."""
    for node, one, other, literal in zip(nodes, old, new, literals, strict=False):
        if one != other:
            yield _Edit(node.start, node.end, literal)
    kept = min(len(old), len(new))
    last = nodes[kept - 1]
    if len(new) > len(old):
        yield _Edit(last.end, last.end, "".join(f", {literal}" for literal in literals[kept:]))
    elif len(new) < len(old):
        yield _Edit(last.end, nodes[-1].end, "")


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
    rest = re.compile(r"[ \t]*[,;]?[ \t]*(?:#[^\r\n]*)?(?=\r?\n)").match(text, position)
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


def _present(descriptor: Any, message: Message) -> bool:
    """Whether a message has a field, as far as one can tell: a number has its default when it is absent."""
    if descriptor.is_repeated:
        return bool(getattr(message, descriptor.name))
    return not descriptor.has_presence or message.HasField(descriptor.name)


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
