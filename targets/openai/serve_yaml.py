"""A YAML of options, as servers of language models take with `--config`: read with its lines, changed in place."""

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import yaml
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap
from ruamel.yaml.error import YAMLError
from ruamel.yaml.util import load_yaml_guess_indent

from targets import yaml_text
from targets.base import Config, TargetError, Value

Changes = Mapping[str, object]
Spelling = Callable[[str | None, str, object], tuple[str, object]]


@dataclass(frozen=True)
class ServeConfig:
    """A file for `--config`.

    Attributes:
        path: as the study names it, for errors.
        text: of the file.
        said: option, in the server's own spelling without the dashes in front -> value.
        keys: the same options -> how the file spells them.
        lines: the same options -> their line, from 1.
        values: what it gives the knobs.
    """

    path: Path
    text: str
    said: Mapping[str, object]
    keys: Mapping[str, str]
    lines: Mapping[str, int]
    values: Mapping[str, Value] = field(default_factory=dict)

    def place(self, key: str) -> str:
        """Return where an option stands, as errors name it."""
        return f"{self.path}:{self.lines[key]}: {self.keys[key]}"

    def text_of(self, key: str) -> str | None:
        """Return a value that is a text, the first of a list of them; None where there is none."""
        value = self.said.get(key)
        if isinstance(value, list):
            value = value[0] if value else None
        return None if value is None else str(value)


def read(text: str, path: Path, canonical: Callable[[str], str], example: str) -> ServeConfig:
    """Read a file; what it gives the knobs is left to the server's kind.

    Args:
        text: of the file.
        path: of it, for errors.
        canonical: (the spelling of a key) -> the option that it means.
        example: a setting, for errors.

    Raises:
        TargetError: with file, line, key, value and what is expected.
    """
    try:
        node, data = yaml.compose(text, yaml.SafeLoader), yaml_text.load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        raise TargetError(f"{path}{line}: not YAML: {getattr(error, 'problem', None) or error}") from None
    if not isinstance(node, yaml.MappingNode) or not data:
        raise TargetError(f"{path}: expected settings like `{example}`, one a line, but got {text[:60]!r}")
    said: dict[str, object] = {}
    keys: dict[str, str] = {}
    lines: dict[str, int] = {}
    for key_node, _ in node.value:
        spelt, number = str(key_node.value), key_node.start_mark.line + 1
        key = canonical(spelt)
        if key in keys:
            raise TargetError(f"{path}:{number}: {spelt}: is given in line {lines[key]} already; keep one of them")
        if spelt not in data:
            raise TargetError(f"{path}:{number}: {spelt}: expected the name of an option")
        said[key], keys[key], lines[key] = data[spelt], spelt, number
    return ServeConfig(path, text, said, keys, lines)


def check_unusable(config: ServeConfig, unusable: Mapping[str, str]) -> None:
    """Raise TargetError where a file has an option that cannot be tuned with: name -> why."""
    for key, why in unusable.items():
        if config.said.get(key) not in (None, False):
            raise TargetError(f"{config.place(key)}: {why}; take it out for the tuning")


def changes(
    config: ServeConfig, wanted: Config, key_of: Callable[[str], str], written: Callable[[str, Value], object]
) -> dict[str, object]:
    """Return the options that a configuration has otherwise than a file: option -> value, None to take it out.

    Args:
        config: the file.
        wanted: the configuration.
        key_of: (a knob) -> its option.
        written: (a knob, its value) -> what the file says for it, None: nothing.
    """
    changed = {key_of(name): written(name, value) for name, value in wanted.items() if config.values.get(name) != value}
    return {key: value for key, value in changed.items() if value is not None or key in config.said}


def after(said: Mapping[str, object], changed: Changes) -> dict[str, object]:
    """Return what a file says once it is changed."""
    kept = {key: value for key, value in said.items() if key not in changed}
    return kept | {key: value for key, value in changed.items() if value is not None}


def change(config: ServeConfig, changed: Changes, spell: Spelling) -> str:
    """Return the text with options changed; comments and order stay.

    Args:
        config: the file.
        changed: option -> value, None to take it out.
        spell: (how the file spells an option, None where it has none; the option; its value) -> key and value.

    Raises:
        TargetError: the text cannot be changed.
    """
    writer = YAML()
    writer.preserve_quotes = True
    writer.width = 4096
    try:
        data, indent, offset = load_yaml_guess_indent(config.text.replace("\r\n", "\n"), yaml=writer)
    except YAMLError as error:
        raise TargetError(f"{config.path}: cannot be changed: {error}") from None
    for key, value in changed.items():
        spelt = config.keys.get(key)
        if value is None:
            del data[spelt]
        else:
            _put(data, spelt, *spell(spelt, key, value))
    writer.indent(mapping=indent or 2, sequence=indent or 2, offset=offset or 0)
    stream = io.StringIO()
    writer.dump(data, stream)
    text = stream.getvalue()
    return text.replace("\n", "\r\n") if "\r\n" in config.text else text


def _put(data: CommentedMap, stands: str | None, key: str, value: object) -> None:
    """Set a key where another stands, which it replaces, or at the end."""
    if stands is None or stands == key:
        data[key] = value
        return
    place, comment = list(data).index(stands), data.ca.items.pop(stands, None)
    del data[stands]
    data.insert(place, key, value)
    if comment is not None:
        data.ca.items[key] = comment
