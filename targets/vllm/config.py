"""The YAML of `vllm serve --config`: read as vLLM reads it, and changed so that comments and order stay."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import yaml

from targets.base import Config, TargetError, Value
from targets.openai import serve_yaml
from targets.openai.help import Option
from targets.openai.serve_yaml import ServeConfig
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


def parse(text: str, path: Path, speculative: Speculative) -> ServeConfig:
    """Parse a file for `vllm serve --config`.

    Raises:
        TargetError: with file, line, key, value and what is expected.
    """
    config = serve_yaml.read(text, path, canonical, "max-num-seqs: 64")
    serve_yaml.check_unusable(config, UNUSABLE)
    return replace(config, values=_values(config, speculative))


def canonical(spelt: str) -> str:
    """Return a key as vLLM's help writes the option; `no-X` is the option X."""
    key = spelt.replace("_", "-").removeprefix("no-")
    return _ALIASES.get(key, key)


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
    changes = serve_yaml.changes(config, wanted, knobs.key_of, partial(knobs.written, speculative=speculative))
    if not changes:
        return config.text
    text = serve_yaml.change(config, changes, _spelt)
    again = parse(text, config.path, speculative)
    if serve_yaml.after(config.said, changes) != _positive(again, changes):
        raise TargetError(f"{config.path}: cannot be changed so that vLLM reads {changes}; write it without anchors")
    return text


def _positive(config: ServeConfig, changed: Mapping[str, object]) -> dict[str, object]:
    return {key: _said_positively(config, key) if key in changed else value for key, value in config.said.items()}


def _spelt(stands: str | None, key: str, value: object) -> tuple[str, object]:
    """Return key and value as vLLM reads them: it ignores `X: false`, so that is `no-X: true`."""
    if value is False:
        return f"no-{key}", True
    negated = stands is not None and stands.replace("_", "-").startswith("no-")
    return key if negated or stands is None else stands, value


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
