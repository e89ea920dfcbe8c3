"""The YAML of `vllm serve --config`: read as vLLM reads it, and changed so that comments and order stay."""

import io
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import yaml
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap
from ruamel.yaml.error import YAMLError
from ruamel.yaml.util import load_yaml_guess_indent

from targets.base import Config, TargetError, Value
from targets.openai.help import Option
from targets.vllm import knobs
from targets.vllm.knobs import Speculative

NEW_NAME = "vllm.yaml"
UNUSABLE: Mapping[str, str] = {
    "ssl-keyfile": "Paretune asks the server in the clear, on this machine",
    "ssl-certfile": "Paretune asks the server in the clear, on this machine",
    "uds": "Paretune asks the server over TCP",
    "root-path": "Paretune asks for /v1",
    "grpc": "Paretune asks the server over HTTP",
    "headless": "Paretune asks the server over HTTP",
    "data-parallel-size": "vLLM does not count the requests of all its copies in one place",
    "api-server-count": "vLLM does not count the requests of all its copies in one place",
    "disable-log-stats": "vLLM's own metrics are read",
}
_ALIASES = {"device-memory-utilization": "gpu-memory-utilization"}


@dataclass(frozen=True)
class ServeConfig:
    """A file for `vllm serve --config`.

    Attributes:
        path: as the study names it, for errors.
        text: of the file.
        said: key in vLLM's own spelling, with dashes -> value.
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
        """Return a value that is a text, the first of a list of them; None where there is none."""
        value = self.said.get(key)
        if isinstance(value, list):
            value = value[0] if value else None
        return None if value is None else str(value)


def parse(text: str, path: Path, speculative: Speculative) -> ServeConfig:
    """Parse a file for `vllm serve --config`.

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
        raise TargetError(f"{path}: expected settings like `max-num-seqs: 64`, one a line, but got {text[:60]!r}")
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
    return ServeConfig(path, text, said, keys, lines, _values(config, speculative))


def canonical(spelt: str) -> str:
    """Return a key as vLLM's help writes the option; `no-X` is the option X."""
    key = spelt.replace("_", "-").removeprefix("no-")
    return _ALIASES.get(key, key)


def _check_keys(config: ServeConfig) -> None:
    for key, why in UNUSABLE.items():
        if config.said.get(key) not in (None, False):
            raise TargetError(f"{config.place(key)}: {why}; take it out for the tuning")


def _ignored(config: ServeConfig, key: str) -> TargetError:
    return TargetError(f"{config.place(key)}: `vllm serve --config` ignores `false`; write `no-{key}: true`")


def _values(config: ServeConfig, speculative: Speculative) -> dict[str, Value]:
    values: dict[str, Value] = {}
    for name in knobs.BY_NAME:
        key = knobs.key_of(name)
        if key not in config.said:
            continue
        if config.said[key] is False and knobs.BY_NAME[name].default is True and not _negated(config, key):
            raise _ignored(config, key)
        try:
            value = knobs.read(name, _said_positively(config, key), speculative)
        except ValueError as error:
            raise TargetError(f"{config.place(key)}: {error}") from None
        if value is not None:
            values[name] = value
    nothing = next((name for name, one in speculative.items() if not one), None)
    if nothing is not None and knobs.key_of(knobs.SPECULATIVE) not in config.said:
        values[knobs.SPECULATIVE] = nothing
    return values


def _negated(config: ServeConfig, key: str) -> bool:
    return config.keys[key].replace("_", "-").startswith("no-")


def _said_positively(config: ServeConfig, key: str) -> object:
    """Return the value of an option; `no-X: true` says that X is false, `no-X: false` says nothing to vLLM."""
    value = config.said[key]
    if not _negated(config, key):
        return value
    if value is not True:
        raise ValueError(f"says nothing to vLLM with {value!r}; write `{key}: true` or `no-{key}: true`")
    return False


def new(model: str, served_model_name: str | None, args: Sequence[str], speculative: Speculative) -> ServeConfig:
    """Return what there is for a user without a file: the model alone."""
    said = {"model": model} | ({"served-model-name": served_model_name} if served_model_name else {})
    command = shlex.join(["vllm", "serve", "--config", NEW_NAME, *args])
    text = f"# {command}\n{yaml.safe_dump(said, sort_keys=False)}"
    return parse(text, Path(NEW_NAME), speculative)


def rewrite(config: ServeConfig, wanted: Config, speculative: Speculative) -> str:
    """Return the text with the knobs that `wanted` has otherwise changed; comments and order stay.

    Raises:
        ConfigRefused: a name that the study does not give.
        TargetError: the text cannot be changed so that vLLM reads what is wanted.
    """
    changes = {
        knobs.key_of(name): knobs.written(name, value, speculative)
        for name, value in wanted.items()
        if config.values.get(name) != value
    }
    changes = {key: value for key, value in changes.items() if value is not None or key in config.said}
    if not changes:
        return config.text
    text = _changed(config, changes)
    again = parse(text, config.path, speculative)
    kept = {key: value for key, value in config.said.items() if key not in changes}
    if {**kept, **{key: value for key, value in changes.items() if value is not None}} != _positive(again, changes):
        raise TargetError(f"{config.path}: cannot be changed so that vLLM reads {changes}; write it without anchors")
    return text


def _positive(config: ServeConfig, changed: Mapping[str, object]) -> dict[str, object]:
    return {key: _said_positively(config, key) if key in changed else value for key, value in config.said.items()}


def _changed(config: ServeConfig, changes: Mapping[str, object]) -> str:
    writer = YAML()
    writer.preserve_quotes = True
    writer.width = 4096
    try:
        data, indent, offset = load_yaml_guess_indent(config.text, yaml=writer)
    except YAMLError as error:
        raise TargetError(f"{config.path}: cannot be changed: {error}") from None
    for key, value in changes.items():
        _set(data, config.keys.get(key), key, value)
    writer.indent(mapping=indent or 2, sequence=indent or 2, offset=offset or 0)
    stream = io.StringIO()
    writer.dump(data, stream)
    return stream.getvalue()


def _set(data: CommentedMap, spelt: str | None, key: str, value: object) -> None:
    """Set a key where it stands; None takes it out, and false is said as `no-X: true`, which vLLM does not ignore."""
    negated = spelt is not None and spelt.replace("_", "-").startswith("no-")
    named = f"no-{key}" if value is False else key if negated or spelt is None else spelt
    if spelt is not None and value is None:
        del data[spelt]
    elif spelt is None or named == spelt:
        data[named] = value is False or value
    else:
        place, comment = list(data).index(spelt), data.ca.items.pop(spelt, None)
        del data[spelt]
        data.insert(place, named, True)
        if comment is not None:
            data.ca.items[named] = comment


def check_options(config: ServeConfig, options: Mapping[str, Option], version: str) -> None:
    """Check that a version of vLLM knows every key of a file, and does not ignore what it says.

    Raises:
        TargetError: naming file, line, key and version.
    """
    for key, value in config.said.items():
        option = options.get(key.partition(".")[0])
        if option is None and f"no-{key}" not in options:
            raise TargetError(f"{config.place(key)}: vLLM {version} has no option --{key}")
        if value is False and option is not None and f"--no-{key}" in option.flags and option.default != "False":
            raise _ignored(config, key)
