"""Read a study file: YAML with the line of every key, overrides applied, errors that point at their line."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import yaml
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from targets import registry, yaml_text
from targets.base import TargetError
from targets.options import TargetOptions
from tuner.study import hidden, paths
from tuner.study.own_metrics import check_bounds, check_classes, check_objectives, own_bounds
from tuner.study.several import check_several
from tuner.study.source import Keys, Source, StudyError
from tuner.study.spec import StudySpec
from tuner.study.traffic import TAGS


@dataclass(frozen=True)
class Study:
    """A valid study and where it came from.

    Attributes:
        spec: what it says.
        source: its file.
        overrides: of its values, as `--set` takes them.
        given: the file's content with the overrides, as it was written: with units.
    """

    spec: StudySpec
    source: Source
    overrides: tuple[str, ...] = ()
    given: Mapping[str, Any] = field(default_factory=dict)

    def resolve(self, path: Path) -> Path:
        """Return a path of the study file relative to where that file stands."""
        return (self.source.path.parent / path).resolve()

    @property
    def shown(self) -> dict[str, Any]:
        """Its content as it is written down: without what is secret, see `hidden`."""
        return hidden.hidden(self.given)

    @property
    def shown_text(self) -> str:
        """The text of its file as it is written down."""
        return hidden.hidden_text(self.source.text)

    @property
    def shown_overrides(self) -> list[str]:
        """Its overrides as they are written down."""
        return hidden.hidden_overrides(self.overrides)

    def fingerprint(self) -> str:
        """Identify what is studied: the study after overrides, and the files of model and requests by size and time.

        What only the report is told is no part of it.
        """
        studied = self.spec.model_dump(mode="json", exclude={"report"})
        digest = hashlib.sha256(json.dumps(studied, sort_keys=True).encode())
        digest.update(self.fingerprint_of_files().encode())
        return digest.hexdigest()[:16]

    def fingerprint_of_files(self) -> str:
        """Identify the files of model and requests alone, by size and time."""
        digest = hashlib.sha256()
        target = self.spec.target
        roots = [*target.files(), *target.files_of_these(self.resolve)]
        for workload in self.spec.workloads.values():
            roots += [*workload.files(), *workload.files_of_these(self.resolve)]
        for root in roots:
            resolved = self.resolve(root)
            for file in sorted(resolved.rglob("*")) if resolved.is_dir() else [resolved]:
                if file.is_file() and "__pycache__" not in file.parts:
                    status = file.stat()
                    digest.update(f"{file}\0{status.st_size}\0{status.st_mtime_ns}\0".encode())
        return digest.hexdigest()[:16]


def load_study(
    path: Path,
    overrides: Sequence[str] = (),
    text: str | None = None,
    options: Mapping[str, str] = MappingProxyType({}),
) -> Study:
    """Read and validate a study file.

    Args:
        path: the YAML file.
        text: its content, when that is at hand; the path then only says where relative paths start.
        overrides: `PATH=VALUE` with the path's keys joined by dots and the value in YAML, as `--set` takes them; a key
            that has dots itself stands in quotes.
        options: path of an override -> the option of the command that it was given with, which errors then name.

    Raises:
        StudyError: the file is missing, is no YAML, or does not validate.
    """
    text = _read(path) if text is None else text
    data, lines = _parse(path, text)
    changed = frozenset(_override(data, override, lines, options) for override in overrides)
    kept = {keys: line for keys, line in lines.items() if not _within(keys, changed)}
    source = Source(path, text, kept, changed, options)
    try:
        target = _target(source, data)
        spec = StudySpec.model_validate({**data, **target, **own_bounds(source, data, target.get("target"))})
    except ValidationError as error:
        raise _first_error(source, data, error.errors()[0]) from None
    check_objectives(source, spec)
    check_bounds(source, spec)
    check_classes(source, spec)
    check_several(source, spec)
    return Study(spec, source, tuple(overrides), data)


def _target(source: Source, data: Mapping[str, Any]) -> dict[str, TargetOptions]:
    """Return the `target` section in the shape of its kind; {} where it has none, which `StudySpec` complains about."""
    section = data.get("target")
    kind = section.get("kind") if isinstance(section, dict) else None
    if not isinstance(kind, str):
        if kind is not None:
            raise source.error(("target", "kind"), f"expected the name of a kind of target, but got {kind!r}")
        return {}
    if kind not in registry.names():
        raise source.error(("target", "kind"), registry.unknown(kind))
    try:
        options = registry.options_of(kind)
    except TargetError as error:
        raise source.error(("target", "kind"), str(error)) from None
    try:
        return {"target": options.model_validate(section)}
    except ValidationError as error:
        first = error.errors()[0]
        first["loc"] = ("target", *first["loc"])
        raise _first_error(source, data, first) from None


def _within(keys: Keys, places: Iterable[Keys]) -> bool:
    return any(keys[: len(place)] == place for place in places)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise StudyError(f"{path}: cannot be read ({error.strerror}); give the path of a study file") from None
    except UnicodeDecodeError as error:
        raise StudyError(f"{path}: not a text in UTF-8 (byte {error.start}); give the path of a study file") from None


def _parse(path: Path, text: str) -> tuple[dict[str, Any], dict[Keys, int]]:
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        data = yaml_text.load(text)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise StudyError(f"{path}:{line}: not YAML: {error.problem}") from None
    except yaml.YAMLError as error:
        raise StudyError(f"{path}:1: not YAML: {error}") from None
    if not isinstance(data, dict) or root is None:
        raise StudyError(f"{path}:1: expected a mapping with `study`, `target`, `workloads`, ..., but got {data!r:.60}")
    lines: dict[Keys, int] = {}
    _collect_lines(path, root, (), lines)
    return data, lines


def _collect_lines(path: Path, node: yaml.Node, keys: Keys, lines: dict[Keys, int]) -> None:
    if isinstance(node, yaml.MappingNode):
        seen = set()
        for key_node, value_node in node.value:
            key = key_node.value
            line = key_node.start_mark.line + 1
            if key in seen and key != "<<":
                raise StudyError(f"{path}:{line}: {'.'.join(map(str, (*keys, key)))}: given twice; keep one")
            seen.add(key)
            lines[(*keys, key)] = line
            _collect_lines(path, value_node, (*keys, key), lines)
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            lines[(*keys, index)] = item.start_mark.line + 1
            _collect_lines(path, item, (*keys, index), lines)


def _override(data: dict[str, Any], override: str, lines: Mapping[Keys, int], options: Mapping[str, str]) -> Keys:
    """Set one value and return its path.

    The mappings on the way to it are copied first: an alias in the file is the very mapping of its anchor, which may
    stand in other parts of the study.
    """
    try:
        keys, text = paths.split(override)
    except ValueError as error:
        raise StudyError(f"--set {override}: {error}") from None
    if text is None or not all(keys):
        raise StudyError(f"--set {override}: expected PATH=VALUE, like --set search.budget.trials=10")
    place = paths.joined(keys)
    given = options.get(place, f"--set {place}")
    target = data
    for key in keys[:-1]:
        inner = target.get(key, {})
        if not isinstance(inner, dict):
            line = lines.get(tuple(keys[: keys.index(key) + 1]), 1)
            raise StudyError(f"{given}: `{key}` (line {line} of the study) holds a value, not a mapping")
        target[key] = dict(inner)
        target = target[key]
    try:
        target[keys[-1]] = yaml_text.load(text)
    except yaml.YAMLError:
        raise StudyError(f"{given}: {text!r} is not a YAML value") from None
    return tuple(keys)


def _first_error(source: Source, data: object, error: ErrorDetails) -> StudyError:
    keys = _existing(data, error["loc"])
    context = error.get("ctx", {})
    message = error["msg"].removeprefix("Value error, ")
    if error["type"] == "unknown_key":
        keys.append(str(context["key"]))
    elif error["type"] == "missing":
        missing = error["loc"][-1]
        keys.append(str(missing))
        message = "missing; add it"
    elif error["type"] in ("union_tag_not_found", "union_tag_invalid"):
        key = str(context["discriminator"]).strip("'")
        tags = context.get("expected_tags") or ", ".join(map(repr, TAGS.get(key, ())))
        message = f"`{key}` must be one of {tags}"
    return source.error(keys, message)


def _existing(data: object, location: Sequence[str | int]) -> list[str | int]:
    """Keep the keys of an error's location that stand in the file; pydantic also names the branches of unions."""
    keys: list[str | int] = []
    for key in location:
        inner = _inside(data, key)
        if inner is not None:
            data = inner[0]
            keys.append(key)
    return keys


def _inside(data: object, key: str | int) -> tuple[object] | None:
    """Return what stands under a key, in a tuple, None when nothing does."""
    if isinstance(data, dict):
        return (data[key],) if key in data else None
    if isinstance(data, list) and isinstance(key, int):
        return (data[key],) if key < len(data) else None
    return None
