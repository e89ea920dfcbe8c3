"""The YAML of SGLang's `--config`: read as SGLang reads it, and changed so that comments and order stay."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import yaml

from targets.base import Config, TargetError, Value
from targets.openai import serve_yaml
from targets.openai.help import Option
from targets.openai.serve_yaml import ServeConfig
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


def canonical(spelt: str) -> str:
    """Return a key by the first of the flags that mean it."""
    key = spelt.replace("_", "-")
    return _ALIASES.get(key, key)


def parse(text: str, path: Path) -> ServeConfig:
    """Parse a file for `--config`.

    Raises:
        TargetError: with file, line, key, value and what is expected.
    """
    config = serve_yaml.read(text, path, canonical, "page-size: 16")
    _check_keys(config)
    return replace(config, values=_values(config))


def _check_keys(config: ServeConfig) -> None:
    for key, spelt in config.keys.items():
        if "_" in spelt:
            raise TargetError(f"{config.place(key)}: SGLang knows options by dashes only; write `{key}`")
    serve_yaml.check_unusable(config, UNUSABLE)
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
    changes = serve_yaml.changes(config, wanted, knobs.key_of, knobs.written)
    if not changes:
        return config.text
    text = serve_yaml.change(config, changes, lambda stands, key, value: (stands or key, value))
    if serve_yaml.after(config.said, changes) != parse(text, config.path).said:
        raise TargetError(f"{config.path}: cannot be changed so that SGLang reads {changes}; write it without anchors")
    return text


def check_options(config: ServeConfig, options: Mapping[str, Option], version: str) -> None:
    """Check that a version of SGLang knows every key of a file.

    Raises:
        TargetError: naming file, line, key and version.
    """
    for key in config.said:
        if key not in options and config.keys[key] not in options:
            raise TargetError(f"{config.place(key)}: SGLang {version} has no option --{config.keys[key]}")
