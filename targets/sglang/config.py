"""The YAML of SGLang's `--config`: read as SGLang reads it, and changed so that comments and order stay."""

import io
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import yaml
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.util import load_yaml_guess_indent

from targets.base import Config, TargetError, Value
from targets.openai.help import Option
from targets.sglang import knobs

NEW_NAME = "sglang.yaml"
UNUSABLE: Mapping[str, str] = {
    "ssl-keyfile": "Paretune asks the server in the clear, on this machine",
    "ssl-certfile": "Paretune asks the server in the clear, on this machine",
    "fastapi-root-path": "Paretune asks for /v1",
    "grpc-mode": "Paretune asks the server over HTTP",
    "smg-grpc-mode": "Paretune asks the server over HTTP",
    "is-embedding": "Paretune asks for completions",
    "encoder-only": "Paretune asks for completions",
}
_ALIASES = {
    "model": "model-path",
    "tensor-parallel-size": "tp-size",
    "pipeline-parallel-size": "pp-size",
    "data-parallel-size": "dp-size",
}
_STARTS_ELSEWHERE = {"nnodes": (1,), "disaggregation-mode": ("null", None)}


@dataclass(frozen=True)
class ServeConfig:
    """A file for `--config`.

    Attributes:
        path: as the study names it, for errors.
        text: of the file.
        said: key in the spelling of the help's first flag -> value.
        keys: the same keys -> how the file spells them.
        lines: the same keys -> their line, from 1.
        values: what it gives the knobs.
    """

    path: Path
    text: str
    said: Mapping[str, object]
    keys: Mapping[str, str]
    lines: Mapping[str, int]
    values: Mapping[str, Value] = field(default_factory=dict)

    def place(self, key: str) -> str:
        """Return where a key stands, as errors name it."""
        return f"{self.path}:{self.lines[key]}: {self.keys[key]}"

    def text_of(self, key: str) -> str | None:
        """Return a value that is a text; None where there is none."""
        value = self.said.get(key)
        return None if value is None else str(value)


def canonical(spelt: str) -> str:
    """Return a key by the first of the flags that mean it."""
    key = spelt.replace("_", "-")
    return _ALIASES.get(key, key)


def parse(text: str, path: Path) -> ServeConfig:
    """Parse a file for `--config`.

    Raises:
        TargetError: with file, line, key, value and what is expected.
    """
    try:
        node, data = yaml.compose(text, yaml.SafeLoader), yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        raise TargetError(f"{path}{line}: not YAML: {getattr(error, 'problem', None) or error}") from None
    if not isinstance(node, yaml.MappingNode) or not data:
        raise TargetError(f"{path}: expected settings like `page-size: 16`, one a line, but got {text[:60]!r}")
    said: dict[str, object] = {}
    keys: dict[str, str] = {}
    lines: dict[str, int] = {}
    for key_node, _ in node.value:
        spelt, line = str(key_node.value), key_node.start_mark.line + 1
        key = canonical(spelt)
        if key in keys:
            raise TargetError(f"{path}:{line}: {spelt}: is given in line {lines[key]} already; keep one of them")
        if spelt not in data:
            raise TargetError(f"{path}:{line}: {spelt}: expected the name of an option")
        said[key], keys[key], lines[key] = data[spelt], spelt, line
    config = ServeConfig(path, text, said, keys, lines)
    _check_keys(config)
    return ServeConfig(path, text, said, keys, lines, _values(config))


def _check_keys(config: ServeConfig) -> None:
    for key, spelt in config.keys.items():
        if "_" in spelt:
            raise TargetError(f"{config.place(key)}: SGLang knows options by dashes only; write `{key}`")
    for key, why in UNUSABLE.items():
        if config.said.get(key) not in (None, False):
            raise TargetError(f"{config.place(key)}: {why}; take it out for the tuning")
    for key, usable in _STARTS_ELSEWHERE.items():
        if key in config.said and config.said[key] not in usable:
            raise TargetError(f"{config.place(key)}: needs further servers, and Paretune starts one; take it out")


def _values(config: ServeConfig) -> dict[str, Value]:
    values: dict[str, Value] = {}
    for name in knobs.BY_NAME:
        key = knobs.key_of(name)
        if key in config.said:
            try:
                values[name] = knobs.read(name, config.said[key])
            except ValueError as error:
                raise TargetError(f"{config.place(key)}: {error}") from None
    return values


def new(model: str, served_model_name: str | None, args: Sequence[str]) -> ServeConfig:
    """Return what there is for a user without a file: the model alone."""
    said = {"model-path": model} | ({"served-model-name": served_model_name} if served_model_name else {})
    command = shlex.join(["python", "-m", "sglang.launch_server", "--config", NEW_NAME, *args])
    return parse(f"# {command}\n{yaml.safe_dump(said, sort_keys=False)}", Path(NEW_NAME))


def rewrite(config: ServeConfig, wanted: Config) -> str:
    """Return the text with the knobs that `wanted` has otherwise changed; comments and order stay.

    Raises:
        TargetError: the text cannot be changed so that SGLang reads what is wanted.
    """
    changes = {
        knobs.key_of(name): knobs.written(name, value)
        for name, value in wanted.items()
        if config.values.get(name) != value
    }
    changes = {key: value for key, value in changes.items() if value is not None or key in config.said}
    if not changes:
        return config.text
    text = _changed(config, changes)
    kept = {key: value for key, value in config.said.items() if key not in changes}
    if {**kept, **{key: value for key, value in changes.items() if value is not None}} != parse(text, config.path).said:
        raise TargetError(f"{config.path}: cannot be changed so that SGLang reads {changes}; write it without anchors")
    return text


def _changed(config: ServeConfig, changes: Mapping[str, Value | None]) -> str:
    writer = YAML()
    writer.preserve_quotes = True
    writer.width = 4096
    try:
        data, indent, offset = load_yaml_guess_indent(config.text, yaml=writer)
    except YAMLError as error:
        raise TargetError(f"{config.path}: cannot be changed: {error}") from None
    for key, value in changes.items():
        if value is None:
            del data[config.keys[key]]
        else:
            data[config.keys.get(key, key)] = value
    writer.indent(mapping=indent or 2, sequence=indent or 2, offset=offset or 0)
    stream = io.StringIO()
    writer.dump(data, stream)
    return stream.getvalue()


def check_options(config: ServeConfig, options: Mapping[str, Option], version: str) -> None:
    """Check that a version of SGLang knows every key of a file.

    Raises:
        TargetError: naming file, line, key and version.
    """
    for key in config.said:
        if key not in options and config.keys[key] not in options:
            raise TargetError(f"{config.place(key)}: SGLang {version} has no option --{config.keys[key]}")
