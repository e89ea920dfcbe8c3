"""A study as it is written down: `***` stands in the place of what is secret in it. Pure."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import yaml

from targets import yaml_text
from targets.hiding import HIDDEN, is_secret, secrets_below
from tuner.study import paths
from tuner.study.source import Keys, Source

SEARCHED = ("space", "constraints")
"""Sections that name knobs: their values are no secrets, whatever the knobs are called."""


def secrets_of(given: Mapping[str, Any]) -> dict[Keys, str]:
    """Return place -> value of the settings that are secret by their names; what names a variable is not."""
    found = secrets_below({key: value for key, value in given.items() if key not in SEARCHED})
    return {keys: value for keys, value in found if is_secret(value)}


def hidden(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the content of a study without what is secret."""
    secrets = secrets_of(given)

    def masked(node: object, keys: Keys) -> object:
        if isinstance(node, Mapping):
            return {name: masked(value, (*keys, str(name))) for name, value in node.items()}
        if isinstance(node, list):
            return [masked(value, (*keys, index)) for index, value in enumerate(node)]
        return str(node).replace(secrets[keys], HIDDEN) if keys in secrets else node

    return {name: masked(value, (name,)) for name, value in given.items()} if secrets else dict(given)


def hidden_text(text: str) -> str:
    """Return the text of a study file without what is secret; the rest stays as it is. No YAML is left alone."""
    try:
        data, root = yaml_text.load(text), yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError:
        return text
    secrets = secrets_of(data) if isinstance(data, dict) else {}
    if not secrets or root is None:
        return text
    places = {
        (node.start_mark.index, node.end_mark.index): secrets[keys]
        for keys, node in _scalars(root, ())
        if keys in secrets
    }
    for (start, end), secret in sorted(places.items(), reverse=True):
        text = text[:start] + _masked_in_yaml(text[start:end], secret) + text[end:]
    return text


def hidden_overrides(overrides: Sequence[str]) -> list[str]:
    """Return `PATH=VALUE` of each override without what is secret."""
    return [_hidden_override(one) for one in overrides]


def tell_of_secrets(source: Source, given: Mapping[str, Any], say: Callable[[str], None]) -> None:
    """Say which settings of a study are secret, and where they should be instead.

    Args:
        source: where they stand.
        given: the study's content.
        say: is told.
    """
    for keys in secrets_of(given):
        remedy = (
            f"is secret, and the study itself has it; what is written of this run has {HIDDEN} in its place. Keep it "
            "in an environment variable and give its name where this setting takes one: `${NAME}` in the headers of a "
            "server that runs already, `{{ env.NAME }}` of kind command"
        )
        say(str(source.error(keys, remedy)))


def _scalars(node: yaml.Node, keys: Keys) -> Iterator[tuple[Keys, yaml.ScalarNode]]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield from _scalars(value, (*keys, str(key.value)))
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            yield from _scalars(value, (*keys, index))
    elif isinstance(node, yaml.ScalarNode):
        yield keys, node


def _masked_in_yaml(written: str, secret: str) -> str:
    """Return a value as YAML has it with the secret masked; a text that begins with `*` would be an alias."""
    if secret not in written:  # it is written with escapes, or over several lines
        return json.dumps(HIDDEN) + ("\n" if written.endswith("\n") else "")
    masked = written.replace(secret, HIDDEN)
    return json.dumps(masked) if masked.startswith("*") else masked


def _hidden_override(override: str) -> str:
    keys, text = paths.split(override)
    node = yaml_text.load(text or "")
    for key in reversed(keys):
        node = {key: node}
    if not secrets_of(node):
        return override
    node = hidden(node)
    for key in keys:
        node = node[key]
    return f"{paths.joined(keys)}={json.dumps(node)}"
