"""A study's traffic at a load level: what the load engine is told, and which windows do it justice."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, product

import numpy as np
from numpy.typing import NDArray

from tuner.load.plan import NAMES, ClassPlan, ClosedLoop, OpenLoop, UsersLoop
from tuner.load.sequences import SequenceOrder
from tuner.request_class import Part, RequestClass
from tuner.results import Load
from tuner.space import Space
from tuner.stopping import Pace
from tuner.users import Users
from workloads import think
from workloads.arrivals import Arrivals
from workloads.order import Indices, Mixed
from workloads.schedule import make_schedule
from workloads.sequences import Sequences
from workloads.think import Pauses

_ORDER_PASSES = 16
_SHORTEST_ORDER = 1 << 15
_THINKS = 4093
"""Pauses that are drawn; a prime, so that no rhythm of the answers meets one of them more often than another."""
SEEDS = 1_000_003
"""Seeds of the draws of one workload are so far apart: further than those of a study's workloads and classes."""
_ROUNDING = 1e-6
"""Share of a period by which a moment may miss an edge that it is meant to be."""
_OWN_RATE: list[float | None] = [None]
At = tuple["Workload", Load]
"""A workload and the load that it is offered at."""


@dataclass(frozen=True)
class Workload:
    """Traffic that can be offered at a load level.

    Attributes:
        name: as the study has it.
        classes: of the requests: one, or those of a mix.
        arrivals: the open loop's process, None for a closed loop.
        connections: open loop: at most.
        keep_alive: False: a new connection for every request.
        seed: of schedules and request order; the same for every configuration.
        think: closed loop: pauses of a slot.
        ramp_up_s: closed loop: the slots begin one after the other over so long.
        model: of several models of the server the one that is asked; "" where there is one.
        concurrency: closed loop: requests in flight, where they are this workload's own; None: the space has them. Of
            a locustfile it is the users.
        sequences: that the requests belong to, None: to none.
        at_once: open loop: sequences that are live at once.
        users: what a locustfile describes, None where the study describes the traffic.
    """

    name: str
    classes: tuple[RequestClass, ...]
    arrivals: Arrivals | None
    connections: int
    keep_alive: bool
    seed: int
    think: Pauses = think.NONE
    ramp_up_s: float = 0.0
    model: str = ""
    concurrency: int | None = None
    sequences: Sequences | None = None
    at_once: int | None = None
    users: Users | None = None

    @property
    def mixed(self) -> bool:
        """Whether its requests are a mix of classes."""
        return bool(self.classes[0].name)

    @property
    def parts(self) -> tuple[Part, ...]:
        """What results are told of: all requests first, then each class of a mix."""
        of_classes = (Part(f"{self.name}.{one.name}", index) for index, one in enumerate(self.classes))
        return (Part(self.name, None), *(of_classes if self.mixed else ()))

    @property
    def timeout_s(self) -> float:
        """The longest time that a request is waited for."""
        return max(one.timeout_s for one in self.classes)

    @property
    def order(self) -> Indices:
        """The order of the requests, numbered one class after the other."""
        return self._mix if self.mixed else self.classes[0].order

    @property
    def _mix(self) -> Mixed:
        return Mixed([one.order for one in self.classes], [one.weight for one in self.classes])

    @property
    def shares(self) -> NDArray[np.float64]:
        """Share of the requests that are of each class, shape [classes]; their sum is 1."""
        weights = np.array([one.weight for one in self.classes])
        return np.asarray(weights / weights.sum())

    def classes_in_turn(self, length: int) -> NDArray[np.int64]:
        """Return the class of each of so many requests of a closed loop, in the order in which they are sent."""
        return self._mix.classes(length, self._streams()[0])

    def classes_of(self, requests: NDArray[np.int32]) -> NDArray[np.int64]:
        """Return the class of requests, numbered one class after the other."""
        return np.searchsorted(self._mix.firsts[1:], requests, side="right")

    def drawn_anew(self, number: int) -> "Workload":
        """Return the same traffic as another draw of it: a piece that is repeated shows one piece of the process."""
        return replace(self, seed=self.seed + number * SEEDS)

    @property
    def fixed_level(self) -> bool:
        """Whether the space has no say in its load."""
        return self.concurrency is not None

    @property
    def level_name(self) -> str:
        """What the study calls the load level: `concurrency`, `rate` or `users`."""
        if self.users is not None:
            return "users"
        return "rate" if self.arrivals else "concurrency"

    @property
    def shortest_round_s(self) -> float:
        """The shortest load that shows the traffic's shape."""
        if self.users is not None:
            return self.users.round_s
        return self.arrivals.shape_s if self.arrivals else 0.0

    def paced(self, load: Load, pace: Pace) -> Pace:
        """Return a pace that leaves the traffic time to show its shape: to ramp up, and to change its rate."""
        shape_s = self.arrivals.at_rate(load.level).least_window_s if self.arrivals else 0.0
        ramp_up_s = self.ramp_up_s
        if self.users is not None:
            shape_s, ramp_up_s = self.users.window_s, self.users.warmup_s(load.level)
        return replace(pace, warmup_s=max(pace.warmup_s, ramp_up_s), window_s=max(pace.window_s, shape_s))

    def fitted(self, load: Load, warmup_s: float, window_s: float, least_s: float = 0.0) -> tuple[float, float]:
        """Return warm-up and window as whole periods of traffic that has one: the window as many as fit into it.

        Both edges are where they cut nothing: a window that cut a burst would count half of it, and what is read at its
        edges would disturb the very requests that are due then.
        """
        shape = self.arrivals.at_rate(load.level) if self.arrivals else None
        if shape is None or not shape.period_s:
            return warmup_s, window_s
        periods = max(1, math.floor(window_s / shape.period_s + _ROUNDING))
        if periods * shape.period_s < least_s:
            periods = math.ceil(least_s / shape.period_s - _ROUNDING)
        return self.edge_s(load, warmup_s), periods * shape.period_s

    def edge_s(self, load: Load, after_s: float) -> float:
        """Return the first moment from a given one on at which a window may begin or end, in seconds of the load."""
        shape = self.arrivals.at_rate(load.level) if self.arrivals else None
        if shape is None or not shape.period_s:
            return after_s
        return math.ceil((after_s - shape.edge_s) / shape.period_s - _ROUNDING) * shape.period_s + shape.edge_s

    def at(self, level: float | None) -> Load:
        """Return the load at a level; None: the open loop's own rate; what a closed loop has of its own holds."""
        if self.arrivals is None:
            level = level if self.concurrency is None else self.concurrency
            assert level is not None, "a closed loop has a concurrency"
            return Load(mode="closed" if self.users is None else "users", level=level)
        return Load(mode="open", level=self.arrivals.mean_rate_rps if level is None else level)

    def class_plans(self) -> tuple[ClassPlan, ...]:
        """Return what the load generator is told of the classes of a mix; () where it is none."""
        if not self.mixed:
            return ()
        counts = [NAMES if self.users is not None else len(one.dataset) for one in self.classes]
        firsts = accumulate(counts[:-1], initial=0)
        timeouts = (round(one.timeout_s * 1e9) for one in self.classes)
        return tuple(ClassPlan(first, timeout) for first, timeout in zip(firsts, timeouts, strict=True))

    def loop(self, load: Load, duration_s: float) -> ClosedLoop | OpenLoop | UsersLoop:
        """Return what the load generator runs for `duration_s` seconds of this load."""
        if self.users is not None:
            return self.users.loop(int(load.level))
        if self.arrivals is None:
            return self._closed(int(load.level))
        arrivals = self.arrivals.at_rate(load.level)
        places = self.connections if self.at_once is None else min(self.connections, self.at_once)
        return OpenLoop(make_schedule(arrivals, duration_s, self.order, self.seed), places)

    def sequence_order(self) -> SequenceOrder | None:
        """Return the sequences in the order in which they begin, None where requests belong to none."""
        if self.sequences is None:
            return None
        order = np.random.default_rng([self.seed, len(self.sequences)]).permutation(len(self.sequences))
        return SequenceOrder(self.sequences.firsts[order], self.sequences.lengths[order])

    def _streams(self) -> list[np.random.Generator]:
        """Return what draws the order of the requests, and the pauses, of a closed loop."""
        return [np.random.default_rng(one) for one in np.random.SeedSequence(self.seed).spawn(2)]

    def _closed(self, concurrency: int) -> ClosedLoop:
        order_rng, think_rng = self._streams()
        count = sum(len(one.dataset) for one in self.classes)
        starts_s = np.arange(concurrency) * (self.ramp_up_s / concurrency)
        return ClosedLoop(
            concurrency,
            self.order.indices(max(count * _ORDER_PASSES, _SHORTEST_ORDER), order_rng),
            np.rint(self.think.draw(_THINKS, think_rng) * 1e9).astype(np.int64),
            starts_ns=np.rint(starts_s * 1e9).astype(np.int64) if self.ramp_up_s else None,
        )


def load_level(workload: Workload, config: Mapping[str, object]) -> float | None:
    """Return the level that a proposal gives a workload, None where it gives none."""
    level = config.get(workload.level_name)
    return float(level) if isinstance(level, int | float) else None


def at_once(workloads: Sequence[Workload]) -> bool:
    """Whether they run at the same time: they ask several models of one server."""
    return any(one.model for one in workloads)


def groups(workloads: Sequence[Workload]) -> list[tuple[Workload, ...]]:
    """Return the workloads that share a window: each has its own, or all are measured at once."""
    return [tuple(workloads)] if at_once(workloads) else [(one,) for one in workloads]


def longest_round_s(group: Sequence[Workload], round_s: float) -> float:
    """Return the length of a round of workloads that share it: each has time to show its shape."""
    return max(round_s, *(one.shortest_round_s for one in group))


def rounds_of(group: Sequence[Workload], rounds: Mapping[str, int]) -> int:
    """Return the rounds of workloads that share them: as many as the one with the most needs."""
    return max(rounds[one.name] for one in group)


def at_most(rounds: Mapping[str, int], most: int | None) -> dict[str, int]:
    """Return workload -> rounds, `most` of each; None: all."""
    return {name: count if most is None else min(count, most) for name, count in rounds.items()}


def every_load(workloads: Sequence[Workload], space: Space) -> list[tuple[At, ...]]:
    """Return what is measured in each window: workloads at each load level that the space gives them.

    A workload is at its own rate where the space gives it none. Where all are measured at once there is a window for
    each combination of the levels.
    """
    found = []
    for group in groups(workloads):
        names = list(dict.fromkeys(one.level_name for one in group if not one.fixed_level))
        levels = [list(map(float, space.levels(name))) or _OWN_RATE for name in names]
        for combination in product(*levels):
            at = dict(zip(names, combination, strict=True))
            found.append(tuple((one, one.at(at.get(one.level_name))) for one in group))
    return found


def parts_of(workloads: Sequence[Workload]) -> list[tuple[Workload, Part]]:
    """Return everything that results are told of, workload by workload, the primary one first."""
    return [(workload, part) for workload in workloads for part in workload.parts]


def part_named(workloads: Sequence[Workload], name: str) -> tuple[Workload, Part]:
    """Return the workload, and the part of it, with this name."""
    return next(found for found in parts_of(workloads) if found[1].name == name)
