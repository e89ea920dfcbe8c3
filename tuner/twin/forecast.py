"""What the calibrated simulation says of configurations: throughput and latencies of each under a workload. Pure."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from targets.base import Config, Knob, Value
from targets.simulated.many import Classes, Queues, Simulated, closed_loops, open_loop
from tuner.catalog import PERCENTILES
from tuner.load.plan import OpenLoop
from tuner.twin.calibration import Calibration, Variant
from tuner.workload import Workload

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
HUGE = 256
"""Batches of more may be simulated as smaller ones."""
MANY = 128
"""Requests in flight that keep any server busy, where they are twice as many as its batches hold."""
ARRIVALS, MOST_ARRIVALS = 400, 1600
"""Requests of an open loop that are simulated; where classes have priorities so many of each, within a limit."""
IN_TURN = 4096
"""Requests of a closed loop whose classes are drawn."""
MOST_DOUBLED = 8
"""Times that the piece of an open loop is doubled in which there are too few arrivals."""
THINKS = 1000
"""Pauses of a closed loop that are drawn for their mean."""
RATES = ("throughput", "goodput")
FORECAST = (*RATES, "mean", *PERCENTILES)
"""Metrics that the simulation has a word on. Goodput is taken for throughput: it is where the SLO is met."""


def measured_as(metric: str) -> str:
    """Return the metric that tells by its measurements how far off a forecast is.

    It is throughput for goodput: goodput of 0 says that the SLO is missed, which the forecast of a latency is for, and
    not that the server is slow.
    """
    return "throughput" if metric == "goodput" else metric


@dataclass(frozen=True)
class Roles:
    """Which knobs set the parts of batch service, "" where none does; all others may change how long a batch takes.

    Attributes:
        max_batch: the largest batch.
        max_delay: how long the oldest request may wait for its batch to fill, in seconds.
        instances: batches served at once.
        others: knobs that are searched and are none of these.
        priority_levels: levels of the queue, 1 is served first; with fewer than 2 it serves in the order of arrival.
        default_level: level of requests that name none, or one that the queue does not have.
    """

    max_batch: str
    max_delay: str
    instances: str
    others: tuple[str, ...]
    priority_levels: str = ""
    default_level: str = ""

    @property
    def of_queue(self) -> tuple[str, ...]:
        """The knobs of the queue's levels."""
        return tuple(name for name in (self.priority_levels, self.default_level) if name)


@dataclass(frozen=True)
class Server:
    """A configuration as the simulation sees it."""

    variant: Variant
    max_batch: int
    max_delay_s: float
    instances: int
    priority_levels: int = 0
    default_level: int = 0

    def level_of(self, priority: int) -> int:
        """Return the level of the queue on which requests of a priority wait.

        Those without one (0), and those beyond the last level, are on the default one: so does Triton
        (`InferenceRequest::SetPriority` in infer_request.cc of triton-inference-server/core).
        """
        return priority if 0 < priority <= self.priority_levels else self.default_level


def roles_of(knobs: Sequence[Knob], searched: Sequence[str]) -> Roles | None:
    """Return the roles of a target's knobs, None where none of them sets the largest batch.

    Args:
        knobs: of the target.
        searched: names of the server's knobs that are searched.
    """
    by_role = {knob.role: knob.name for knob in knobs if knob.role}
    if "max_batch" not in by_role:
        return None
    others = tuple(name for name in searched if name not in by_role.values())
    return Roles(
        by_role["max_batch"],
        by_role.get("max_delay", ""),
        by_role.get("instances", ""),
        others,
        by_role.get("priority_levels", ""),
        by_role.get("default_level", ""),
    )


def server_of(config: Config, roles: Roles) -> Server:
    """Return what the simulation needs of a configuration.

    A largest batch of 0 is no batching, and so is a delay that the configuration does not have though the server has
    such a knob. Without batching there are no levels of a queue.
    """
    batches = not roles.max_delay or roles.max_delay in config
    return Server(
        tuple(config.get(name, "") for name in roles.others),
        max(1, int(_number(config.get(roles.max_batch, 1)))) if batches else 1,
        _number(config.get(roles.max_delay, 0.0)),
        max(1, int(_number(config.get(roles.instances, 1)))),
        int(_number(config.get(roles.priority_levels, 0))) if batches else 0,
        int(_number(config.get(roles.default_level, 0))) if batches else 0,
    )


class Forecaster:
    """Simulates configurations on a calibrated server; what it simulated once it knows.

    Args:
        calibration: of the server.
    """

    def __init__(self, calibration: Calibration) -> None:
        self._calibration = calibration
        self._known: dict[tuple[str, Server, float | None], list[dict[str, float]]] = {}

    def forecast(
        self,
        servers: Sequence[Server],
        levels: Sequence[float | None],
        workload: Workload,
        of_class: int | None = None,
    ) -> dict[str, Floats]:
        """Return metric -> what the simulation says of each configuration at its load level, shape [configurations].

        Args:
            servers: the configurations.
            levels: concurrency of a closed loop, or rate of an open one; None: its own rate.
            workload: the traffic.
            of_class: index of the class of a mix that it is about, None: all requests.
        """
        keys = [(workload.name, server, level) for server, level in zip(servers, levels, strict=True)]
        new = [key for key in dict.fromkeys(keys) if key not in self._known]
        if new:
            pairs = [(server, level) for _, server, level in new]
            simulate = _closed if workload.arrivals is None else _open
            found = simulate(pairs, workload, self._calibration)
            for index, key in enumerate(new):
                self._known[key] = [{name: float(values[index]) for name, values in one.items()} for one in found]
        place = 0 if of_class is None else 1 + of_class
        return {name: np.array([self._known[key][place][name] for key in keys]) for name in FORECAST}


_Metrics = list[dict[str, Floats]]
"""Metrics of all requests, and then of each class of a mix."""


def _closed(pairs: Sequence[tuple[Server, float | None]], workload: Workload, calibration: Calibration) -> _Metrics:
    think_s = float(workload.think.draw(THINKS, np.random.default_rng(0)).mean())
    servers = [server for server, _ in pairs]
    asked = np.array([int(level or 1) for _, level in pairs])
    enough = np.array([max(MANY, 2 * server.max_batch * server.instances) for server in servers])
    queues = _queues(servers, np.minimum(asked, enough) + 1, calibration, think_s)
    classes = _classes(servers, workload, workload.classes_in_turn(IN_TURN)) if workload.mixed else None
    return _metrics(closed_loops(queues, asked, classes, enough), think_s)


def _open(pairs: Sequence[tuple[Server, float | None]], workload: Workload, calibration: Calibration) -> _Metrics:
    found = [{name: np.zeros(len(pairs)) for name in FORECAST} for _ in workload.parts]
    for level in dict.fromkeys(level for _, level in pairs):
        chosen = np.array([index for index, (_, own) in enumerate(pairs) if own == level])
        servers = [pairs[index][0] for index in chosen]
        arrivals_s, requests = _arrivals(workload, level)
        queues = _queues(servers, np.full(len(servers), len(arrivals_s) + 1), calibration, 0.0)
        classes = _classes(servers, workload, workload.classes_of(requests)) if workload.mixed else None
        for part, metrics in zip(found, _metrics(open_loop(queues, arrivals_s, classes)), strict=True):
            for name, values in metrics.items():
                part[name][chosen] = values
    return found


def _arrivals(workload: Workload, level: float | None) -> tuple[Floats, NDArray[np.int32]]:
    """Return the first arrivals of an open loop, in seconds, and their requests; long pauses are waited for."""
    load, wanted = workload.at(level), _wanted(workload)
    arrivals_s, requests = np.zeros(1), np.zeros(1, np.int32)
    for doubled in range(MOST_DOUBLED):
        loop = workload.loop(load, 2**doubled * wanted / load.level)
        assert isinstance(loop, OpenLoop), "an open loop has a schedule"
        if len(loop.schedule):
            arrivals_s, requests = loop.schedule.offsets_ns[:wanted] / 1e9, loop.schedule.requests[:wanted]
        if len(arrivals_s) >= wanted / 2:
            break
    return arrivals_s, requests


def _wanted(workload: Workload) -> int:
    """Return how many arrivals are simulated."""
    if len({one.priority for one in workload.classes}) == 1:
        return ARRIVALS
    return min(math.ceil(ARRIVALS / float(workload.shares.min())), MOST_ARRIVALS)


def _classes(servers: Sequence[Server], workload: Workload, order: Ints) -> Classes:
    """Return the classes of a mix, and on which level of each server they wait."""
    levels = [[server.level_of(one.priority) for one in workload.classes] for server in servers]
    return Classes(order, workload.shares, np.array(levels))


def _metrics(simulated: Simulated, think_s: float = 0.0) -> _Metrics:
    found = []
    for one in (simulated, *simulated.classes):
        latencies = {name: one.percentile(share) - think_s for name, share in PERCENTILES.items()}
        found.append({"mean": one.mean_s - think_s, **latencies, **dict.fromkeys(RATES, one.throughput_rps)})
    return found


def _queues(servers: Sequence[Server], most: Ints, calibration: Calibration, think_s: float) -> Queues:
    """Return the queues of configurations; a huge batch that is never full is taken for one that just is not."""
    sizes = np.array([one.max_batch for one in servers])
    sizes = np.where(sizes > HUGE, np.minimum(sizes, np.maximum(most, HUGE)), sizes)
    kinds = [(one.variant, one.instances) for one in servers]
    laws = {kind: calibration.service(*kind) for kind in set(kinds)}
    tables = {kind: law.table(int(sizes.max())) for kind, law in laws.items()}
    count = len(servers)
    return Queues(
        max_size=sizes,
        max_delay_s=np.array([one.max_delay_s for one in servers]),
        servers=np.array([one.instances for one in servers]),
        service_s=np.stack([tables[kind] for kind in kinds]),
        handling_s=np.full(count, calibration.handling_s),
        turnaround_s=np.full(count, calibration.turnaround_s + think_s),
        held_s=np.array([laws[kind].held_s for kind in kinds]),
    )


def _number(value: Value) -> float:
    return float(value) if isinstance(value, int | float) else 0.0
