"""A study's workload made ready: its requests read, its arrival process built, its loop at a load level."""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tuner.load.plan import ClosedLoop, OpenLoop
from tuner.results import Load
from tuner.space import Space
from tuner.study.load import Study
from tuner.study.spec import (
    BurstySpec,
    ClosedSpec,
    ConstantSpec,
    DatasetSpec,
    LogNormalSpec,
    NormalSpec,
    PoissonSpec,
    PromptsSpec,
    SyntheticSpec,
    UniformSpec,
    WorkloadSpec,
)
from workloads import lengths
from workloads.arrivals import Arrivals, Bursty, Constant, Poisson
from workloads.lengths import Lengths
from workloads.prompts import Synthetic, fresh, load_prompts
from workloads.requests import Prompts, Requests, RequestSourceError, load_dataset
from workloads.schedule import make_schedule, request_order

_ORDER_PASSES = 16
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
        fresh: they are prompts of which none is to be sent twice.
        arrivals: the open loop's process, None for a closed loop.
        think_time_s: closed loop: pause of a slot.
        timeout_s: of a request.
        connections: open loop: at most.
        keep_alive: False: a new connection for every request.
        output: the output that is compared with the labels, None: the only one.
        seed: of schedules and request order; the same for every configuration.
    """

    name: str
    dataset: Requests
    arrivals: Arrivals | None
    think_time_s: float
    timeout_s: float
    connections: int
    keep_alive: bool
    output: str | None
    seed: int
    fresh: bool = False

    def requests(self) -> Requests:
        """Return the requests of the next measurement: prompts are others each time if they are to be fresh."""
        if self.fresh and isinstance(self.dataset, Prompts):
            return fresh(self.dataset, time.monotonic_ns() // NONCE_NS)
        return self.dataset

    @property
    def level_name(self) -> str:
        """What the study calls the load level: `concurrency` or `rate`."""
        return "rate" if self.arrivals else "concurrency"

    @property
    def shortest_round_s(self) -> float:
        """The shortest load that shows the traffic's shape: four periods of a bursty one."""
        return 4 * self.arrivals.period_s if isinstance(self.arrivals, Bursty) else 0.0

    def fitted(self, load: Load, warmup_s: float, window_s: float) -> tuple[float, float]:
        """Return warm-up and window stretched to the traffic's shape.

        Bursts get whole periods, with both edges in the middle of a pause: a window that cut a burst would count
        half of it, and what is read at its edges would disturb the very requests that are due then.
        """
        if not isinstance(self.arrivals, Bursty):
            return warmup_s, window_s
        period_s = self.arrivals.at_rate(load.level).period_s
        return self.edge_s(load, warmup_s), max(1, round(window_s / period_s)) * period_s

    def edge_s(self, load: Load, after_s: float) -> float:
        """Return the first moment from a given one on at which a window may begin or end, in seconds of the load."""
        if not isinstance(self.arrivals, Bursty):
            return after_s
        shape = self.arrivals.at_rate(load.level)
        half_s = shape.pause_s / 2
        return math.ceil((after_s + half_s) / shape.period_s - _ROUNDING) * shape.period_s - half_s

    def at(self, level: float | None) -> Load:
        """Return the load at a level; None: the open loop's own rate."""
        if self.arrivals is None:
            assert level is not None, "a closed loop has a concurrency"
            return Load(mode="closed", level=level)
        return Load(mode="open", level=self.arrivals.mean_rate_rps if level is None else level)

    def loop(self, load: Load, duration_s: float) -> ClosedLoop | OpenLoop:
        """Return what the engine runs for `duration_s` seconds of this load."""
        count = len(self.dataset)
        if self.arrivals is None:
            order = request_order(count, count * _ORDER_PASSES, np.random.default_rng(self.seed))
            return ClosedLoop(int(load.level), order, round(self.think_time_s * 1e9))
        arrivals = self.arrivals.at_rate(load.level)
        return OpenLoop(make_schedule(arrivals, duration_s, count, self.seed), self.connections)


def make_workloads(study: Study) -> tuple[Workload, ...]:
    """Read the requests of every workload of a study.

    Raises:
        StudyError: a request source cannot be read; with the line of its path.
    """
    sources: dict[str, Requests] = {}
    return tuple(
        _make(study, name, spec, sources, study.spec.search.seed + index)
        for index, (name, spec) in enumerate(study.spec.workloads.items())
    )


def _make(study: Study, name: str, spec: WorkloadSpec, sources: dict[str, Requests], seed: int) -> Workload:
    key = spec.requests.model_dump_json() + ("" if isinstance(spec.requests, DatasetSpec) else str(seed))
    if key not in sources:
        sources[key] = _requests(study, name, spec.requests, seed)
    return Workload(
        name=name,
        dataset=sources[key],
        arrivals=_arrivals(spec),
        think_time_s=spec.arrival.think_time if isinstance(spec.arrival, ClosedSpec) else 0.0,
        timeout_s=spec.timeout,
        connections=spec.connections,
        keep_alive=spec.keep_alive,
        output=spec.requests.output if isinstance(spec.requests, DatasetSpec) else None,
        seed=seed,
        fresh=not isinstance(spec.requests, DatasetSpec) and spec.requests.fresh,
    )


def _requests(study: Study, name: str, spec: DatasetSpec | PromptsSpec | SyntheticSpec, seed: int) -> Requests:
    place = ("workloads", name, "requests")
    if isinstance(spec, SyntheticSpec):
        if spec.token_ids.low > spec.token_ids.high:
            raise study.source.error((*place, "token_ids"), "`low <= high` must hold")
        drawn = {}
        for which, given in (("input_tokens", spec.input_tokens), ("output_tokens", spec.output_tokens)):
            try:
                drawn[which] = _lengths(given)
            except ValueError as error:
                raise study.source.error((*place, which), str(error)) from None
        ids = spec.token_ids
        return Synthetic(**drawn, count=spec.count, ids=spec.form == "ids", first_id=ids.low, last_id=ids.high).make(
            seed
        )
    path = study.resolve(spec.path)
    try:
        if isinstance(spec, PromptsSpec):
            return load_prompts(path, spec.default_output_tokens)
        return load_dataset(path, spec.labels)
    except RequestSourceError as error:
        raise study.source.error((*place, "path"), str(error)) from None


def _lengths(spec: int | UniformSpec | NormalSpec | LogNormalSpec) -> Lengths:
    match spec:
        case UniformSpec(low=low, high=high):
            return lengths.Uniform(low, high)
        case NormalSpec(mean=mean, sd=sd, low=low, high=high):
            return lengths.Normal(mean, sd, low, high)
        case LogNormalSpec(median=median, sigma=sigma, low=low, high=high):
            return lengths.LogNormal(median, sigma, low, high)
        case int():
            return lengths.Constant(spec)


def _arrivals(spec: WorkloadSpec) -> Arrivals | None:
    match spec.arrival:
        case ConstantSpec(rate=rate):
            return Constant(rate)
        case PoissonSpec(rate=rate):
            return Poisson(rate)
        case BurstySpec(burst_size=size, pause=pause, spacing=spacing):
            return Bursty(size, pause, spacing)
        case ClosedSpec():
            return None


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
