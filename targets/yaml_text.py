"""YAML texts as people write them, read safely: a value that cannot be made is an error with its line."""

from typing import Any

import yaml


class _Loader(yaml.SafeLoader):
    """A safe loader that tells where a value stands that cannot be made, like a date that is in no calendar."""

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except (ValueError, KeyError, AttributeError):  # PyYAML's, of dates, of numbers, and of tags like `!!bool`
            kind = node.tag.removeprefix("tag:yaml.org,2002:")
            problem = (
                f"{str(node.value)[:40]!r} is written like a value of type `{kind}` and is none; put a text in quotes"
            )
            raise yaml.constructor.ConstructorError(None, None, problem, node.start_mark) from None


def load(text: str) -> Any:
    """Return what a text says: mappings, lists and plain values.

    Raises:
        yaml.YAMLError: it is no YAML, or has a value that cannot be made, like the date 2024-02-30.
    """
    return yaml.load(text, Loader=_Loader)  # noqa: S506 - it is a safe one
