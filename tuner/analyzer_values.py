"""What Model Analyzer writes for values, and what of a configuration of its has no place in a study."""

from dataclasses import dataclass, field
from typing import Any

CERTIFICATES = ("ssl-grpc-root-certifications-file", "ssl-https-ca-certificates-file")
"""Flags of Perf Analyzer that name a file of certificates to trust, by protocol."""


class ImportRefused(Exception):
    """A configuration that no study can be made of; the message says why and the remedy."""


@dataclass
class Notes:
    """What is not carried over: its place and why."""

    lost: list[str] = field(default_factory=list)

    def add(self, place: str, why: str) -> None:
        """Note it, once."""
        if (line := f"{place}: {why}") not in self.lost:
            self.lost.append(line)


def values_of(given: Any) -> list[Any]:
    """Return a list of Model Analyzer's forms of one: a value, a list, `a,b`, or {start, stop, step}."""
    if given is None:
        return []
    if isinstance(given, dict) and "start" in given:
        return list(range(int(given["start"]), int(given["stop"]) + 1, int(given.get("step", 1))))
    if isinstance(given, str):
        return [float(one) if "." in one else int(one) for one in given.split(",") if one.strip()]
    return list(given) if isinstance(given, list) else [given]


def texts_of(given: Any) -> list[str]:
    """Return a text, `a,b`, or a list of them as a list."""
    parts = given.split(",") if isinstance(given, str) else given if isinstance(given, list) else [given]
    return [str(one).strip() for one in parts if str(one).strip()]


def several(given: Any) -> list[Any]:
    """Return a list as it is and one value as a list; none of None."""
    return [] if given is None else list(given) if isinstance(given, list) else [given]
