"""The history of what was accepted: every figure over the baselines, with the steps in it.

Figures of two machines, of two loads, or of traffic that was changed are not comparable, so each of these has a course
of its own. The server's version may change within one: that is what a history is looked at for.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, pairwise
from pathlib import Path

import numpy as np

from tuner.catalog import METRICS
from tuner.gate import hosts, revisions
from tuner.gate.baseline import BaselineError, parse_measurement, read_measurement
from tuner.gate.bounds import bounds_behind
from tuner.gate.deciding import typical
from tuner.gate.document import BASELINE, Measured, Measurement
from tuner.gate.rules import POINTS
from tuner.gate.steps import steps
from tuner.results import Load

SEED = 20140
NOT_ACCEPTED = "{}: nobody accepted it; `tune gate accept` makes a baseline of it"
MACHINE = ("cpu", "cores", "gpu", "driver")
"""What makes a machine, of `hosts.FACTS`; the agents that make the load are added where there are some."""
_TOTAL = METRICS["total_throughput"].key
"""A figure of workloads that are measured at once, and of no others."""
_SCHEMA = BASELINE.partition("/")[0]


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
class Found:
    """What was read of a folder or of git.

    Attributes:
        entries: the baselines, the oldest first.
        skipped: JSON files that are none.
        unusable: why baselines were left out: they cannot be read, or a load generator spoiled them.
    """

    entries: list[Entry]
    skipped: list[str]
    unusable: list[str]


@dataclass(frozen=True)
class Place:
    """Where and under which traffic a figure was measured: only what has the same place is comparable.

    Attributes:
        study: whose.
        workload: or a class of one.
        load: level and kind of loop.
        machine: what makes it, in words.
        traffic: hash of what is sent.
        beside: what the other models of the server were asked meanwhile, in words; "" where it was measured alone.
        within: the bounds that a goodput is within, in words; "" of every other figure.
    """

    study: str
    workload: str
    load: str
    machine: str
    traffic: str
    beside: str = ""
    within: str = ""


@dataclass(frozen=True)
class Course:
    """A figure over the baselines that have it.

    Attributes:
        place: where it was measured.
        key: of the figure.
        apart: what tells the place from the others of the same workload, "" where it is the only one.
        names: of the baselines, the oldest first.
        whens: when each was accepted, or measured.
        values: the figure of each, shape [n]; above 0, but for a share, which may be 0.
        steps: index of the first value after each step.
    """

    place: Place
    key: str
    apart: str
    names: tuple[str, ...]
    whens: tuple[str, ...]
    values: tuple[float, ...]
    steps: tuple[int, ...]

    @property
    def in_points(self) -> bool:
        """Whether the figure is a share, of which changes are differences; those of any other one are ratios."""
        return self.key in POINTS

    def levels(self) -> list[tuple[int, int, float]]:
        """Return the stretches between steps: first index, one past the last, and the mean of the figure.

        It is the geometric mean, of a share the arithmetic one.
        """
        edges = list(pairwise([0, *self.steps, len(self.values)]))
        if self.in_points:
            return [(start, end, float(np.mean(self.values[start:end]))) for start, end in edges]
        return [(start, end, math.exp(float(np.mean(np.log(self.values[start:end]))))) for start, end in edges]

    def changes(self) -> list[float]:
        """Return by which share the figure changed at each step; of a share the difference."""
        levels = [level for _, _, level in self.levels()]
        return [after - before if self.in_points else after / before - 1 for before, after in pairwise(levels)]


def of_folder(folder: Path) -> Found:
    """Read every baseline in a folder; one that is given by its name has to be one.

    Raises:
        BaselineError: there is none, or one cannot be read.
    """
    if not folder.is_dir():
        return _found(folder, [Entry(folder.name, read_measurement(folder))], [], [])
    entries, skipped, unusable = [], [], []
    for file in sorted(one for one in folder.rglob("*.json") if one.is_file()):
        name = str(file.relative_to(folder))
        if not _is_baseline(file.read_bytes()):
            skipped.append(name)
        elif (read := read_measurement(file)).accepted is None:
            unusable.append(NOT_ACCEPTED.format(name))
        else:
            entries.append(Entry(name, read))
    return _found(folder, entries, skipped, unusable)


def of_git(place: Path) -> Found:
    """Read every version that git has of a baseline, or of all in a folder.

    One that cannot be read is left out: what is in the history stays there, whatever becomes of the file.

    Raises:
        RevisionError: it is in no repository.
        BaselineError: there is none that can be read.
    """
    folder = place if place.is_dir() else place.parent
    paths = revisions.files(folder) if place.is_dir() else [place.name]
    entries, skipped, unusable = [], [], []
    for path in paths:
        for commit, text in revisions.blobs(folder, path):
            if not _is_baseline(text.encode()):
                skipped += [path] if path not in skipped else []
                continue
            try:
                read = parse_measurement(f"{commit}:{path}", text)
            except BaselineError as error:
                unusable.append(str(error))
                continue
            if read.accepted is None:
                unusable.append(NOT_ACCEPTED.format(f"{commit}:{path}"))
            else:
                entries.append(Entry(commit, read))
    return _found(place, entries, skipped, unusable)


def courses(entries: Sequence[Entry]) -> list[Course]:
    """Return the course of every figure that two baselines of a place have at least, study by study.

    Args:
        entries: the oldest first.
    """
    made: dict[tuple[Place, str], list[tuple[str, str, float]]] = {}
    traffic = hosts.same_traffic([entry.measurement for entry in entries])
    for entry, sent in zip(entries, traffic, strict=True):
        one = entry.measurement.model_copy(update={"traffic": sent})
        for workload, measured in one.workloads.items():
            place = _place(one, workload)
            for key, value in _figures(measured).items():
                made.setdefault((replace(place, within=_within(one, workload, key)), key), []).append(
                    (entry.name, _when(one), value)
                )
    apart = _told_apart({place: None for place, _ in made})
    return [_course(place, key, apart[place], points) for (place, key), points in made.items() if len(points) > 1]


def _figures(measured: Measured) -> dict[str, float]:
    """Return what can be drawn of a workload: a share may be 0, what is compared by its ratio may not."""
    keys = dict.fromkeys(chain.from_iterable(one.metrics for one in measured.restarts))
    found = {key: typical(measured, key) for key in [*keys, "error_rate"]}
    if measured.accuracy is not None:
        found[measured.accuracy.of] = measured.accuracy.value
    return {key: value for key, value in found.items() if 0 < value < math.inf or (key in POINTS and value == 0)}


def _place(one: Measurement, workload: str) -> Place:
    cpu, cores, gpu, driver = (one.host.get(name, "unknown") for name in MACHINE)
    of_agents = [f"load from agents: {one.host['agents']}"] if "agents" in one.host else []
    of_gpu = [] if gpu == driver == "none" else [f"GPU {gpu}, driver {driver}"]
    place = hosts.place_of(one)
    of_place = [] if place == hosts.HERE else [f"server at {place}"]
    return Place(
        study=one.study,
        workload=workload,
        load=_at(one.workloads[workload].load),
        machine=", ".join([cpu, cores, *of_gpu, *of_place, *of_agents]),
        traffic=one.traffic.get(workload.partition(".")[0], ""),
        beside=_beside(one, workload.partition(".")[0]),
    )


def _within(one: Measurement, workload: str, key: str) -> str:
    """Say which bounds a goodput is within, "" of another figure."""
    behind = bounds_behind(key, one, workload)
    told = [f"{name}: {timing} {bound:g} s" for name, own in behind.items() for timing, bound in own.items()]
    return f"within {', '.join(told) or 'no bounds'}" if behind else ""


def _at(load: Load) -> str:
    said = {"closed": " in flight", "open": "/s offered", "users": " users"}
    return f"{load.level:g}{said[load.mode]}"


def _beside(one: Measurement, workload: str) -> str:
    """Say what was measured at the same time as a workload: it has a share in the figures. "" where nothing was."""
    if not any(_TOTAL in restart.metrics for restart in one.workloads[workload].restarts):
        return ""
    others = [name for name in one.traffic if name != workload]
    return ", ".join(f"{name} at {_at(one.workloads[name].load)} (requests {one.traffic[name]})" for name in others)


def _told_apart(places: Mapping[Place, None]) -> dict[Place, str]:
    """Return of each place what tells it from the others of the same workload."""
    found = {}
    for place in places:
        same = [one for one in places if _figure(one) == _figure(place)]
        said = {
            "load": place.load,
            "machine": place.machine,
            "traffic": f"requests {place.traffic}",
            "beside": f"beside {place.beside}" if place.beside else "alone",
            "within": place.within,
        }
        differs = (text for name, text in said.items() if len({getattr(one, name) for one in same}) > 1)
        found[place] = "; ".join(differs)
    return found


def _figure(place: Place) -> tuple[str, str, bool]:
    """Return what has to be the same for two places to be held apart: a goodput has bounds, another figure has none."""
    return place.study, place.workload, bool(place.within)


def _course(place: Place, key: str, apart: str, points: Sequence[tuple[str, str, float]]) -> Course:
    names, whens, values = zip(*points, strict=True)
    series = np.asarray(values) if key in POINTS else np.log(np.asarray(values))
    found = steps(series.tolist(), np.random.default_rng(SEED))
    return Course(place, key, apart, names, whens, values, found)


def _found(place: Path, entries: list[Entry], skipped: list[str], unusable: list[str]) -> Found:
    """Put together what was read, without what a load generator spoiled. Raises BaselineError where nothing is left."""
    spoiled = [
        f"{one.name}: its gate was not valid: {'; '.join(one.measurement.invalid)}; measure again"
        for one in entries
        if one.measurement.invalid
    ]
    left_out = [*unusable, *spoiled]
    usable = [one for one in entries if not one.measurement.invalid]
    if not usable:
        why = left_out[0] if left_out else f"{place}: no baseline there; make one with `tune gate accept RUN --to FILE`"
        raise BaselineError(why)
    return Found(sorted(usable, key=lambda entry: _when(entry.measurement)), skipped, left_out)


def _when(one: Measurement) -> str:
    return one.accepted.when if one.accepted else one.started


def _is_baseline(text: bytes) -> bool:
    """Whether a file is a baseline: it says so, whole or not; a truncated one is named when it is read."""
    try:
        data = json.loads(text)
    except ValueError:
        return _SCHEMA.encode() in text
    return isinstance(data, dict) and str(data.get("schema", "")).startswith(f"{_SCHEMA}/")
