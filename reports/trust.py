"""What a run's numbers rest on: how it was measured, what was spoiled, refused or left out, and where it ran."""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median

from reports import words
from tuner.results import Point, Result, Trial
from tuner.run_info import HostInfo

MAX_FAILED = 50
"""Trials without a measurement that are listed; the table of all trials has the others."""
SHOWN_INTERVALS = (("throughput", "throughput_rps"), ("p99", "latency_p99_s"))


@dataclass(frozen=True)
class Fact:
    """Something to trust or doubt a run by."""

    name: str
    said: str
    bad: bool = False


@dataclass(frozen=True)
class Failed:
    """A trial without a whole measurement, and why."""

    trial: int
    config: str
    state: str
    reason: str


@dataclass(frozen=True)
class Host:
    """One of several hosts that worked on a study.

    Attributes:
        name: as the trials have it.
        trials: of the result, that it measured, beside your configuration.
        group: its number, or why it has none; "" where the result does not say.
        admitted: whether it may have measured.
    """

    name: str
    trials: int
    group: str
    admitted: bool = True


def facts(result: Result) -> list[Fact]:
    """Return how the run was measured, in the order in which one asks."""
    points = [whole for trial in result.trials for whole, *_ in _measurements(trial)]
    found = [Fact("trials", _states(result))]
    if points:
        found += [*_validity(points), *_windows(points), *_noise(points), *_generator(points)]
    made = result.confirmation
    if made is not None:
        sides = f"trial {made.candidate.trial} and trial {made.baseline.trial}"
        rounds = (
            f"{made.redeployments} redeployments of {sides}, {made.rounds} rounds of each or more "
            "on every workload, in turn"
        )
        found.append(Fact("confirmation", f"{rounds}; SLO {made.verdict}", made.verdict != "met"))
    found += [Fact("confirmation", reason, bad=True) for reason in result.validity.reasons]
    found += [Fact("warning", warning) for warning in result.validity.warnings]
    return [*found, *_times(result)]


def failed(result: Result) -> list[Failed]:
    """Return the trials that are not complete."""
    return [
        Failed(trial.number, words.config(trial.config, result.knobs), trial.state, trial.reason or "")
        for trial in result.trials
        if trial.state != "complete"
    ]


def hosts(result: Result) -> list[Host]:
    """Return the hosts of a run whose trials have hosts, in the order in which they came; [] of any other run."""
    if all(trial.host is None for trial in result.trials):
        return []
    found = [Host(one.name, one.trials, _group(one), one.group is not None) for one in result.hosts]
    told = {one.name for one in found}
    others = dict.fromkeys(trial.host for trial in result.trials if trial.host is not None and trial.host not in told)
    counted = Counter(trial.host for trial in result.trials if trial.number)
    return [*found, *(Host(name, counted[name], "") for name in others)]


def _group(host: HostInfo) -> str:
    if host.group is not None:
        return str(host.group)
    return f"not admitted: {host.refused}" if host.refused else "not admitted"


def remarks(result: Result) -> list[tuple[str, int]]:
    """Return each reason and warning of the measurements, and how many have it, the most frequent first.

    A measurement has it once where it is said of several of its classes.
    """
    measurements = (points for trial in result.trials for points in _measurements(trial))
    said = Counter(text for points in measurements for text in dict.fromkeys(_texts(points)))
    return said.most_common(MAX_FAILED)


def _texts(points: Sequence[Point]) -> Iterator[str]:
    for point in points:
        yield from (*point.validity.reasons, *point.validity.warnings)


def _measurements(trial: Trial) -> list[list[Point]]:
    """Return the points of each measurement of a trial: that of the whole workload, then those of its classes."""
    found: list[list[Point]] = []
    for point in trial.points:
        if "." in point.workload and found:
            found[-1].append(point)
        else:
            found.append([point])
    return found


def _states(result: Result) -> str:
    counted = Counter(trial.state for trial in result.trials)
    return f"{len(result.trials):,} tried: " + (", ".join(f"{n:,} {state}" for state, n in counted.items()) or "none")


def _validity(points: Sequence[Point]) -> Iterator[Fact]:
    valid = sum(point.validity.valid for point in points)
    spoiled = len(points) - valid
    rest = f"; {spoiled:,} spoiled by the load generator and not used" if spoiled else ""
    yield Fact("validity", f"{valid:,} of {len(points):,} measurements are valid{rest}", bad=bool(spoiled))
    states = Counter(point.steadiness.state for point in points)
    unsteady = states["unstable"] + states["overloaded"]
    yield Fact("steady state", ", ".join(f"{n:,} {state}" for state, n in states.items()), bad=bool(unsteady))


def _windows(points: Sequence[Point]) -> Iterator[Fact]:
    warm = sorted(point.warmup_s for point in points)
    yield Fact("warm-up", f"{_range(warm)} under the same load before each window, cut off")
    ended = Counter(point.ended for point in points)
    why = "; ".join(f"{n:,} {words.ENDINGS[ending]}" for ending, n in ended.items())
    yield Fact("windows", f"{_range(sorted(point.window_s for point in points))} long: {why}")
    requests = sorted(sum(point.outcomes.values()) for point in points)
    each = f"{requests[0]:,}" if requests[0] == requests[-1] else f"{requests[0]:,} to {requests[-1]:,}"
    yield Fact("samples", f"{each} requests a measurement, {sum(requests):,} in all")


def _range(values: Sequence[float]) -> str:
    low, high = f"{values[0]:.2f} s", f"{values[-1]:.2f} s"
    return low if low == high else f"{low} to {high}"


def _noise(points: Sequence[Point]) -> Iterator[Fact]:
    said = []
    for name, key in SHOWN_INTERVALS:
        found = [point.metrics[key] for point in points if key in point.metrics]
        halves = [
            (one.high - one.low) / 2 / one.value
            for one in found
            if one.value > 0 and all(map(math.isfinite, (one.low, one.value, one.high)))
        ]
        if found:
            without = len(found) - len(halves)
            rest = f" ({without:,} without a bound)" if without else ""
            said.append(f"{name} {words.percent(median(halves), 1)}{rest}" if halves else f"{name} without a bound")
    if said:
        yield Fact("noise", f"half of the 95% interval, in the median of the measurements: {', '.join(said)}")


def _generator(points: Sequence[Point]) -> Iterator[Fact]:
    used = [point for point in points if point.validity.valid]
    if not used:
        return
    late = max(point.generator.issue_delay_p99_s for point in used)
    busy = max(point.generator.cpu_share for point in used)
    yield Fact(
        "load generator",
        f"sent at most {words.milliseconds(late)} late (p99 of a valid measurement), on at most "
        f"{words.percent(busy, 0)} of a core",
    )
    if said := words.load_from([point.generator.agents for point in used]):
        yield Fact("load from", said)


def _times(result: Result) -> Iterator[Fact]:
    timing = result.timing
    yield Fact(
        "time",
        f"{words.duration(timing.measured_s)} under load, {words.duration(timing.applied_s)} loading configurations, "
        f"{words.duration(timing.overhead_s)} for everything else",
    )
    yield Fact("seed", str(result.study.seed))
    yield Fact("latency", "from the intended send time to the last byte of the answer; a failed request is infinite")
