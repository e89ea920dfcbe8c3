"""A study's traffic at a load level: what the load engine is told, and which windows do it justice."""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from tuner.load.plan import ClosedLoop, OpenLoop
from tuner.results import Load
from tuner.space import Space
from tuner.stopping import Pace
from workloads import think
from workloads.arrivals import Arrivals
from workloads.order import Order
from workloads.prompts import fresh
from workloads.requests import Prompts, Requests
from workloads.schedule import make_schedule
from workloads.tensors import Drawn
from workloads.think import Pauses

_ORDER_PASSES = 16
_SHORTEST_ORDER = 1 << 15
_THINKS = 4093
"""Pauses that are drawn; a prime, so that no rhythm of the answers meets one of them more often than another."""
NONCE_NS = 10_000_000
"""Two measurements never begin within so short a time."""
_ROUNDING = 1e-6
"""Share of a period by which a moment may miss an edge that it is meant to be."""
_OWN_RATE: list[float | None] = [None]


@dataclass(frozen=True)
class Workload:
    """Traffic that can be offered at a load level.

    Attributes:
        name: as the study has it.
        dataset: the requests.
        fresh: they are others in each measurement.
        arrivals: the open loop's process, None for a closed loop.
        think: closed loop: pauses of a slot.
        ramp_up_s: closed loop: the slots begin one after the other over so long.
        timeout_s: of a request.
        connections: open loop: at most.
        keep_alive: False: a new connection for every request.
        output: the output that is compared with the labels, None: the only one.
        seed: of schedules and request order; the same for every configuration.
        shuffled: False: requests are sent in the order of their source.
        repeats: share of the requests that were sent before.
        skew: of the repeats' popularity.
    """

    name: str
    dataset: Requests
    arrivals: Arrivals | None
    timeout_s: float
    connections: int
    keep_alive: bool
    output: str | None
    seed: int
    fresh: bool = False
    think: Pauses = think.NONE
    ramp_up_s: float = 0.0
    shuffled: bool = True
    repeats: float = 0.0
    skew: float = 1.0

    def requests(self) -> Requests:
        """Return the requests of the next measurement: others each time if they are to be fresh."""
        if not self.fresh:
            return self.dataset
        nonce = time.monotonic_ns() // NONCE_NS
        if isinstance(self.dataset, Prompts):
            return fresh(self.dataset, nonce)
        return replace(self.dataset, values_seed=nonce) if isinstance(self.dataset, Drawn) else self.dataset

    @property
    def level_name(self) -> str:
        """What the study calls the load level: `concurrency` or `rate`."""
        return "rate" if self.arrivals else "concurrency"

    @property
    def shortest_round_s(self) -> float:
        """The shortest load that shows the traffic's shape."""
        return self.arrivals.shape_s if self.arrivals else 0.0

    def paced(self, load: Load, pace: Pace) -> Pace:
        """Return a pace that leaves the traffic time to show its shape: to ramp up, and to change its rate."""
        shape_s = self.arrivals.at_rate(load.level).least_window_s if self.arrivals else 0.0
        return replace(pace, warmup_s=max(pace.warmup_s, self.ramp_up_s), window_s=max(pace.window_s, shape_s))

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
        """Return the load at a level; None: the open loop's own rate."""
        if self.arrivals is None:
            assert level is not None, "a closed loop has a concurrency"
            return Load(mode="closed", level=level)
        return Load(mode="open", level=self.arrivals.mean_rate_rps if level is None else level)

    def loop(self, load: Load, duration_s: float) -> ClosedLoop | OpenLoop:
        """Return what the engine runs for `duration_s` seconds of this load."""
        order = Order(len(self.dataset), self.shuffled, self.repeats, self.skew)
        if self.arrivals is None:
            return self._closed(int(load.level), order)
        arrivals = self.arrivals.at_rate(load.level)
        return OpenLoop(make_schedule(arrivals, duration_s, order, self.seed), self.connections)

    def _closed(self, concurrency: int, order: Order) -> ClosedLoop:
        order_rng, think_rng = (np.random.default_rng(one) for one in np.random.SeedSequence(self.seed).spawn(2))
        starts_s = np.arange(concurrency) * (self.ramp_up_s / concurrency)
        return ClosedLoop(
            concurrency,
            order.indices(max(len(self.dataset) * _ORDER_PASSES, _SHORTEST_ORDER), order_rng),
            np.rint(self.think.draw(_THINKS, think_rng) * 1e9).astype(np.int64),
            starts_ns=np.rint(starts_s * 1e9).astype(np.int64) if self.ramp_up_s else None,
        )


def load_level(workload: Workload, config: Mapping[str, object]) -> float | None:
    """Return the level that a proposal gives a workload, None where it gives none."""
    level = config.get(workload.level_name)
    return float(level) if isinstance(level, int | float) else None


def every_load(workloads: Sequence[Workload], space: Space) -> list[tuple[Workload, Load]]:
    """Return each workload at each load level that the space gives it; at its own rate where it gives none."""
    return [
        (workload, workload.at(level))
        for workload in workloads
        for level in (list(map(float, space.levels(workload.level_name))) or _OWN_RATE)
    ]
