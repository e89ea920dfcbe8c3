"""When a measurement may end: as soon as nothing that it could still show would change a decision. Pure.

A measurement is looked at while it runs, at moments fixed beforehand. Looking often and stopping at the first look that
seems certain makes errors more frequent than one look would; so the error that is allowed is divided among all looks
and all bounds (the union bound, Bonferroni's inequality). That holds however the looks depend on one another.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from targets.base import Outcome
from tuner import stats
from tuner.catalog import BOUNDED, ITL, LATENCY, THROUGHPUT_BOUND, key_of
from tuner.load.plan import OpenLoop, Plan, UsersLoop
from tuner.records import FIELDS, ROW, WARMUP, WINDOW, Records
from tuner.results import Ending, Estimate, SloVerdict, overall
from tuner.slo import Slo
from tuner.timings import good, judged_by, values_s
from tuner.verdicts import verdict_on

GROWTH = 1.5
"""Each look comes at this many times the window that the one before it saw."""
FROM_NOTHING = 16
"""A shortest length of 0 begins at this part of the longest."""
OPEN = -1
"""`worker` and `class` of a request that had not ended when it was looked at, though it was due long ago."""
LAG_NS = 2_000_000
"""Requests may have ended this long before a look without being seen by it yet."""
JUDGED = (*BOUNDED, "error_rate", THROUGHPUT_BOUND)
"""The SLOs that the records of a window can tell of."""


@dataclass(frozen=True)
class Pace:
    """How long a measurement takes, in seconds.

    Attributes:
        warmup_s: shortest load before the window.
        max_warmup_s: longest, for a load that does not settle.
        window_s: shortest window.
        max_window_s: longest.
    """

    warmup_s: float
    max_warmup_s: float
    window_s: float
    max_window_s: float

    @classmethod
    def fixed(cls, warmup_s: float, window_s: float) -> "Pace":
        """Return a pace that leaves nothing to decide."""
        return cls(warmup_s, warmup_s, window_s, window_s)

    @property
    def longest_warmup_s(self) -> float:
        """The longest warm-up; never below the shortest."""
        return max(self.warmup_s, self.max_warmup_s)

    @property
    def longest_window_s(self) -> float:
        """The longest window; never below the shortest."""
        return max(self.window_s, self.max_window_s)

    def shortest(self) -> "Pace":
        """Return the same with the shortest window."""
        return replace(self, max_window_s=self.window_s)

    def looks_s(self) -> tuple[float, ...]:
        """Return the windows that may be judged, from the shortest to the longest."""
        return _steps(self.window_s, self.longest_window_s)

    def warmups_s(self) -> tuple[float, ...]:
        """Return the warm-ups after which a load may be found settled; the last one is for a load that is not."""
        return _steps(self.warmup_s, self.longest_warmup_s)


def _steps(shortest: float, longest: float) -> tuple[float, ...]:
    """Return lengths that grow by GROWTH from the shortest, and the longest at the end."""
    if longest <= shortest:
        return (longest,)
    shortest = shortest or longest / FROM_NOTHING
    steps = math.ceil(math.log(longest / shortest) / math.log(GROWTH) - 1e-9)
    return (*(shortest * GROWTH**step for step in range(steps)), longest)


@dataclass(frozen=True)
class Aims:
    """What a measurement is to find out.

    Attributes:
        slo: the bounds; those that records cannot tell of are left alone.
        objective: metric whose interval is to be tight, None where only the SLO matters.
        of_class: index of the class whose metric that is, None: of all requests.
        goals: (metric, whether more is better) of every objective; () where they are not all of this workload.
        rivals: the front so far: metric key -> estimate of each member.
        tolerance: half of the interval's width over the value that counts as tight.
        confidence: of a verdict, over all looks together.
        longest_s: of the window.
    """

    slo: Slo
    objective: str | None
    goals: Sequence[tuple[str, bool]]
    rivals: Sequence[Mapping[str, Estimate]]
    tolerance: float
    confidence: float
    longest_s: float = math.inf
    of_class: int | None = None

    @property
    def slow_s(self) -> float | None:
        """After how many seconds a request is slow whatever becomes of it; None where no percentile says so.

        A mean needs to know how slow: it has to wait for the answer; and so do the times of tokens.
        """
        bounds = [item for one in (self.slo, *self.slo.classes) for item in one.bounds.items() if item[0] in BOUNDED]
        if not all(BOUNDED.keys() & {*self.slo.bounds, *one.bounds} for one in self.slo.classes):
            return None  # of a class without a bound no request is slow
        names = (*(name for name, _ in bounds), self.objective or "")
        asked = [BOUNDED[name] for name in names if name in BOUNDED]
        if any(one.allowed is None or one.timing is not LATENCY for one in asked):
            return None
        return max((bound for _, bound in bounds), default=None)

    def error(self, looks: int) -> float:
        """Return the error that one of so many looks may make in what it says of all requests, or of one class."""
        return (1 - self.confidence) / looks / (1 + len(self.slo.classes))


@dataclass(frozen=True)
class Decision:
    """Why a measurement ended, and what was certain then.

    Attributes:
        ending: why.
        verdicts: SLO -> verdict, of the SLOs that records can tell of.
        classes: the same of each class of the requests, by its index.
    """

    ending: Ending
    verdicts: Mapping[str, SloVerdict]
    classes: tuple[Mapping[str, SloVerdict], ...] = ()

    def of(self, index: int | None) -> Mapping[str, SloVerdict]:
        """Return the verdicts on a class, None: on all requests together."""
        return self.verdicts if index is None else self.classes[index]


def decide(records: Records, aims: Aims, looks: int) -> Decision | None:
    """Say why a measurement may end now, None where it should go on.

    - `missed`: an SLO is certainly missed.
    - `dominated`: a member of the front is certainly better by more than the tolerance on every objective.
    - `certain`: every SLO is certainly met and the objective's interval is within the tolerance (at 95%). An error rate
      that the longest window could not show, without an error seen so far, is not waited for.

    Args:
        records: those seen so far, see `seen`.
        aims: what is to be found out.
        looks: how often this question is asked at most; the error is divided among them.
    """
    error = aims.error(looks)
    verdicts, classes = _told(records, aims.slo.bounds, error), _of_classes(records, aims.slo, error)
    parts = [(records, aims.slo, verdicts)]
    parts += [(records.of_class(i), one, classes[i]) for i, one in enumerate(aims.slo.classes)]
    judged = overall(
        told[name]
        for part, slo, told in parts
        for name in told
        if name not in _out_of_reach(part, slo.bounds, error, aims.longest_s)
    )
    if judged == "missed":
        return Decision("missed", verdicts, classes)
    if aims.goals and aims.rivals and _dominated(records, aims, looks):
        return Decision("dominated", verdicts, classes)
    if judged == "met" and _known_well(records, aims):
        return Decision("certain", verdicts, classes)
    return None


def cut(records: Records, aims: Aims, looks: int, ending: Ending) -> Decision:
    """Return what a look is certain of in a measurement that ends there for the sake of another one.

    Args:
        records: those seen so far.
        aims: what is to be found out.
        looks: how often is looked at most.
        ending: why the other one ends.
    """
    error = aims.error(looks)
    return Decision(ending, _told(records, aims.slo.bounds, error), _of_classes(records, aims.slo, error))


def _known_well(records: Records, aims: Aims) -> bool:
    """Whether the objective's interval is as tight as asked."""
    if aims.objective is None:
        return True
    if aims.of_class is not None:
        records, aims = records.of_class(aims.of_class), replace(aims, slo=aims.slo.classes[aims.of_class])
    return _tight(_metric(aims.objective or "", records, aims), aims.tolerance)


def at_the_cap(records: Records, aims: Aims, pace: Pace) -> Decision:
    """Return what the whole window says: the last of the looks."""
    error = aims.error(len(pace.looks_s()))
    return Decision("cap", slo_verdicts(records, aims.slo.bounds, error), of_classes(records, aims.slo, error))


def of_classes(records: Records, slo: Slo, error: float) -> tuple[dict[str, SloVerdict], ...]:
    """Return the verdicts on each class of a load that has ended, see `slo_verdicts`."""
    return tuple(slo_verdicts(records.of_class(index), one.bounds, error) for index, one in enumerate(slo.classes))


def _told(records: Records, bounds: Mapping[str, float], error: float) -> dict[str, SloVerdict]:
    """Return what a look says of the SLOs; the gaps between tokens of answers that still come are not known."""
    verdicts = slo_verdicts(records, bounds, error)
    return verdicts | {name: "undecided" for name in verdicts if name in BOUNDED and BOUNDED[name].timing is ITL}


def _of_classes(records: Records, slo: Slo, error: float) -> tuple[dict[str, SloVerdict], ...]:
    """Return what a look says of each class.

    Of which class a request is that has not ended is not known: `met` holds though it were of this one, `missed`
    though it were of another.
    """
    found = []
    for index, one in enumerate(slo.classes):
        without = _told(records.of_class(index), one.bounds, error)
        with_open = _told(records.of_class(index, OPEN), one.bounds, error)
        found.append({name: _both(with_open[name], without[name]) for name in without})
    return tuple(found)


def _both(with_open: SloVerdict, without: SloVerdict) -> SloVerdict:
    if with_open == "met":
        return "met"
    return "missed" if without == "missed" else "undecided"


def slo_verdicts(records: Records, bounds: Mapping[str, float], error: float) -> dict[str, SloVerdict]:
    """Return SLO -> verdict, of those that records can tell of.

    A configuration meets its SLO when it meets every bound, so `met` may be wrong with the whole error for each of
    them. One bound is enough to miss it, so the error of `missed` is divided among the bounds.

    A request that is still open at a look may end well or badly, so it is an error for `met` and none for `missed`.

    Args:
        records: of one load.
        bounds: SLO -> bound.
        error: probability that a verdict may be wrong with; one-sided.
    """
    judged = {name: bound for name, bound in bounds.items() if name in JUDGED}
    rows = records.in_window()
    values = {timing: values_s(timing, records) for timing in judged_by(judged)}
    series = {timing: stats.Ordered.of(of_timing) for timing, of_timing in values.items()}
    failed = rows["outcome"] != Outcome.OK
    still_open = rows["worker"] == OPEN

    def interval(name: str, one_sided: float, failures: NDArray[np.bool_]) -> stats.Interval:
        confidence = 1 - 2 * one_sided
        if name == THROUGHPUT_BOUND:
            return stats.rate(records.completed_ns(), records.windows_ns, confidence)
        if name not in BOUNDED:
            return stats.event_rate(failures, confidence)
        timing = BOUNDED[name].timing
        if BOUNDED[name].allowed is None:
            return stats.mean(values[timing], confidence, series[timing].effective)
        return stats.share(series[timing], judged[name], confidence)

    found: dict[str, SloVerdict] = {}
    for name, bound in judged.items():
        share = BOUNDED[name].allowed if name in BOUNDED else None
        allowed = bound if share is None else share
        failing, passing = interval(name, error / len(judged), failed & ~still_open), interval(name, error, failed)
        found[name] = verdict_on(name, (failing.low, failing.high), (passing.low, passing.high), allowed)
    return found


def seen(
    rows: NDArray[np.void],
    plan: Plan,
    start_ns: int,
    now_ns: int,
    settle_ns: int,
    on_their_way: NDArray[np.int64] | None = None,
) -> Records:
    """Return what a look at a running load tells: all requests up to the oldest one that has not ended.

    Of the requests that were due after that one only the fast ones have ended; they would make the server look better
    than it is. A request that was due longer than `settle_ns` ago is not waited for: it is there as timed out, with
    the `worker` OPEN, and of no class.

    Args:
        rows: those that ended, array [n] of records.ROW, in any order.
        plan: what is running.
        start_ns: of the window.
        now_ns: when the rows were looked at.
        settle_ns: how long a request is waited for: the latency bound, or what nearly all requests take.
        on_their_way: when the requests were sent that had not ended right before the rows were looked at, int64 [n];
            None: the plan tells it.
    """
    horizon_ns = min(now_ns - LAG_NS, plan.window[1])
    if on_their_way is None:
        open_ns = _unanswered(rows, plan, horizon_ns)
    else:
        open_ns = np.setdiff1d(on_their_way[on_their_way < horizon_ns], rows["intended_ns"])
    until_ns = max(int(open_ns.min(initial=horizon_ns)), horizon_ns - settle_ns, start_ns + 1)
    ended, late_ns = rows[rows["intended_ns"] < until_ns], open_ns[open_ns < horizon_ns - settle_ns]
    late = np.zeros(len(late_ns), ROW)
    late["intended_ns"], late["done_ns"], late["outcome"] = late_ns, now_ns, Outcome.TIMEOUT
    late["worker"] = OPEN
    known = np.concatenate([ended, late])
    known["class"] = np.where(known["worker"] == OPEN, OPEN, plan.class_of(known["request"]))
    known = known[np.argsort(known["intended_ns"], kind="stable")]
    known["phase"] = np.where(known["intended_ns"] >= start_ns, WINDOW, WARMUP)
    return Records({name: np.ascontiguousarray(known[name]) for name, _, _ in FIELDS}, [(start_ns, until_ns)])


def _unanswered(ended: NDArray[np.void], plan: Plan, horizon_ns: int) -> NDArray[np.int64]:
    """Return the intended times of the requests due before the horizon that are not among those that ended, shape [k].

    An open loop's requests are those of its schedule. A closed loop's are the first of each slot, and one more for
    each that ended, when its think time is over.
    """
    load = plan.load
    assert not isinstance(load, UsersLoop), "of users nobody can say when they are to send"
    if isinstance(load, OpenLoop):
        due = load.schedule.offsets_ns + plan.start_ns
    else:
        due = np.concatenate([plan.start_ns + load.first_due_ns(), load.next_due_ns(ended["done_ns"])])
    times, counts = np.unique(due[due < horizon_ns], return_counts=True)
    answered = np.sort(ended["intended_ns"])
    found = np.searchsorted(answered, times, "right") - np.searchsorted(answered, times, "left")
    missing: NDArray[np.int64] = np.repeat(times, np.maximum(0, counts - found))
    return missing


def _out_of_reach(records: Records, bounds: Mapping[str, float], error: float, longest_s: float) -> set[str]:
    """Return the bound on errors if even the longest window without an error has too few requests to show it."""
    bound, rows = bounds.get("error_rate", 0.0), records.in_window(ordered=False)
    if not 0 < bound < 1 or not len(rows) or np.any(rows["outcome"] != Outcome.OK):
        return set()
    most = len(rows) / records.window_s * longest_s
    return {"error_rate"} if most < math.log(error) / math.log1p(-bound) else set()


def _metric(name: str, records: Records, aims: Aims, confidence: float = stats.CONFIDENCE) -> stats.Interval:
    """Estimate one of the metrics that may be an objective; unknown is one that is not of the requests' rows."""
    if name == "throughput":
        return stats.rate(records.completed_ns(), records.windows_ns, confidence)
    if name == "goodput":
        among = good(records, aims.slo)
        return stats.rate(records.completed_ns(among), records.windows_ns, confidence)
    if name not in BOUNDED or BOUNDED[name].timing is ITL:
        return stats.Interval(math.nan, -math.inf, math.inf, 0)
    values = values_s(BOUNDED[name].timing, records)
    if (allowed := BOUNDED[name].allowed) is None:
        return stats.mean(values, confidence)
    return stats.percentile(stats.Ordered.of(values), 1 - allowed, confidence)


def _tight(interval: stats.Interval, tolerance: float) -> bool:
    return max(interval.high - interval.value, interval.value - interval.low) <= tolerance * interval.value < math.inf


def _dominated(records: Records, aims: Aims, looks: int) -> bool:
    confidence = 1 - 2 * aims.error(looks)
    own = {name: _metric(name, records, aims, confidence) for name, _ in aims.goals}
    return any(
        all(_worse(own[name], rival[key_of(name)], more, aims.tolerance) for name, more in aims.goals)
        for rival in aims.rivals
    )


def _worse(own: stats.Interval, rival: Estimate, more_is_better: bool, margin: float) -> bool:
    """Whether even the better end of our interval is worse than the worse end of the rival's, by a margin."""
    if more_is_better:
        return own.high * (1 + margin) < rival.low
    return own.low > rival.high * (1 + margin)
