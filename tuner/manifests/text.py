"""Manifests as YAML: plain data in, the same text for the same data out."""

from collections.abc import Mapping, Sequence
from typing import Any

import yaml

Document = Mapping[str, Any]


class _Dumper(yaml.SafeDumper):
    """YAML as manifests are written: lists indented, texts of several lines as blocks, nothing by reference."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - no value is
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: ARG002 - never without
        super().increase_indent(flow, False)


def _string(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _string)


def yaml_of(documents: Sequence[Document]) -> str:
    """Return documents as YAML, one after the other, with their keys in the order that they have."""
    made: str = yaml.dump_all(
        documents,
        Dumper=_Dumper,
        sort_keys=False,
        explicit_start=len(documents) > 1,
        allow_unicode=True,
        width=1_000_000,
    )
    return made
