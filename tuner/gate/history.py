"""The history of what was accepted: every figure over the baselines, with the steps in it."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from tuner.gate import revisions
from tuner.gate.baseline import BaselineError, parse_measurement, read_measurement
from tuner.gate.deciding import typical
from tuner.gate.document import Measurement
from tuner.gate.steps import steps

SEED = 20140


@dataclass(frozen=True)
class Entry:
    """A baseline in the history.

    Attributes:
        name: the file's, or the commit's.
        measurement: what it holds.
    """

    name: str
    measurement: Measurement


@dataclass(frozen=True)
class Course:
    """A figure over the baselines that have it.

    Attributes:
        study: whose.
        workload: or a class of one.
        key: of the figure.
        names: of the baselines, the oldest first.
        whens: when each was accepted, or measured.
        values: the figure of each, shape [n].
        steps: index of the first value after each step.
    """

    study: str
    workload: str
    key: str
    names: tuple[str, ...]
    whens: tuple[str, ...]
    values: tuple[float, ...]
    steps: tuple[int, ...]

    def levels(self) -> list[tuple[int, int, float]]:
        """Return the stretches between steps: first index, one past the last, and the geometric mean of the figure."""
        edges = [0, *self.steps, len(self.values)]
        return [
            (start, end, math.exp(float(np.mean(np.log(self.values[start:end]))))) for start, end in pairwise(edges)
        ]

    def changes(self) -> list[float]:
        """Return by which share the figure changed at each step."""
        levels = [level for _, _, level in self.levels()]
        return [after / before - 1 for before, after in pairwise(levels)]


def of_folder(folder: Path) -> list[Entry]:
    """Read every baseline in a folder, the oldest first.

    Raises:
        BaselineError: there is none, or one cannot be read.
    """
    files = sorted(folder.rglob("*.json")) if folder.is_dir() else [folder]
    found = [Entry(str(file.relative_to(folder)) if folder.is_dir() else file.name, read_measurement(file))
             for file in files if not folder.is_dir() or _is_baseline(file.read_text())]  # fmt: skip
    return _in_order(folder, found)


def of_git(place: Path) -> list[Entry]:
    """Read every version that git has of a baseline, or of all in a folder, the oldest first.

    Raises:
        RevisionError: it is in no repository.
        BaselineError: there is none, or one cannot be read.
    """
    folder = place if place.is_dir() else place.parent
    paths = revisions.files(folder) if place.is_dir() else [place.name]
    found = []
    for path in paths:
        for commit, text in revisions.blobs(folder, path):
            if _is_baseline(text):
                found.append(Entry(commit, parse_measurement(f"{commit}:{path}", text)))
    return _in_order(place, found)


def courses(entries: Sequence[Entry]) -> list[Course]:
    """Return the course of every figure that two baselines have at least, study by study.

    Args:
        entries: the oldest first.
    """
    made: dict[tuple[str, str, str], list[tuple[str, str, float]]] = {}
    for entry in entries:
        one = entry.measurement
        for workload, measured in one.workloads.items():
            for key in measured.restarts[0].metrics if measured.restarts else ():
                value = typical(measured, key)
                if 0 < value < math.inf:
                    made.setdefault((one.study, workload, key), []).append((entry.name, _when(one), value))
    return [_course(*place, points) for place, points in made.items() if len(points) > 1]


def _course(study: str, workload: str, key: str, points: Sequence[tuple[str, str, float]]) -> Course:
    names, whens, values = zip(*points, strict=True)
    found = steps(np.log(np.asarray(values)).tolist(), np.random.default_rng(SEED))
    return Course(study, workload, key, names, whens, values, found)


def _in_order(place: Path, found: list[Entry]) -> list[Entry]:
    if not found:
        raise BaselineError(f"{place}: no baseline there; make one with `tune gate accept RUN --to FILE`")
    return sorted(found, key=lambda entry: _when(entry.measurement))


def _when(one: Measurement) -> str:
    return one.accepted.when if one.accepted else one.started


def _is_baseline(text: str) -> bool:
    try:
        data = json.loads(text)
    except ValueError:
        return True  # a truncated one is named when it is read
    return isinstance(data, dict) and str(data.get("schema", "")).startswith("paretune.baseline/")
