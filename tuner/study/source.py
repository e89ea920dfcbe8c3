"""Where the keys of a study file stand, so that an error can point there."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tuner.study.paths import joined

Keys = tuple[str | int, ...]


class StudyError(Exception):
    """A study file that cannot be used; the message is `file:line: place: what and remedy`."""


@dataclass(frozen=True)
class Source:
    """Where each key of the study stands.

    Attributes:
        path: the file.
        text: its content.
        lines: path of keys -> line, from 1.
        overridden: paths that came from `--set`.
    """

    path: Path
    text: str
    lines: Mapping[Keys, int]
    overridden: frozenset[Keys]

    def error(self, keys: Sequence[str | int], message: str) -> StudyError:
        """Make the error for a place in the study; the nearest known ancestor gives the line."""
        place = ".".join(map(str, keys))
        known = tuple(keys)
        if known not in self.lines and any(path[: len(known)] == known for path in self.overridden):
            return StudyError(f"--set {joined(keys)}: {message}")
        while known and known not in self.lines:
            if known in self.overridden:
                return StudyError(f"--set {joined(keys)}: {message}")
            known = known[:-1]
        line = self.lines.get(known, 1)
        return StudyError(f"{self.path}:{line}: {place + ': ' if place else ''}{message}")
