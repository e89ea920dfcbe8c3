"""Where the keys of a study file stand, so that an error can point there."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
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
        overridden: paths that came from `--set`, or from an option that stands for it.
        options: path as `--set` has it -> the option that stands for it, like `--time`.
    """

    path: Path
    text: str
    lines: Mapping[Keys, int]
    overridden: frozenset[Keys]
    options: Mapping[str, str] = field(default_factory=dict)

    def error(self, keys: Sequence[str | int], message: str) -> StudyError:
        """Make the error for a place in the study; the nearest known ancestor gives the line."""
        place = ".".join(map(str, keys))
        known = tuple(keys)
        if known not in self.lines and any(path[: len(known)] == known for path in self.overridden):
            return StudyError(f"{self._option(joined(keys))}: {message}")
        while known and known not in self.lines:
            if known in self.overridden:
                return StudyError(f"{self._option(joined(keys))}: {message}")
            known = known[:-1]
        line = self.lines.get(known, 1)
        return StudyError(f"{self.path}:{line}: {place + ': ' if place else ''}{message}")

    def _option(self, place: str) -> str:
        """Return what the user wrote to override a place."""
        return self.options.get(place, f"--set {place}")
