"""What the calibrated simulation says of configurations: throughput and latencies of each under a workload. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from targets.base import Config, Knob, Value
from targets.simulated.many import Queues, Simulated, closed_loops, open_loop
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
ARRIVALS = 400
"""Requests of an open loop that are simulated."""
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
    """

    max_batch: str
    max_delay: str
    instances: str
    others: tuple[str, ...]


@dataclass(frozen=True)
class Server:
    """A configuration as the simulation sees it."""

    variant: Variant
    max_batch: int
    max_delay_s: float
    instances: int


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
    return Roles(by_role["max_batch"], by_role.get("max_delay", ""), by_role.get("instances", ""), others)


def server_of(config: Config, roles: Roles) -> Server:
    """Return what the simulation needs of a configuration.

    A largest batch of 0 is no batching, and so is a delay that the configuration does not have though the server has
    such a knob.
    """
    batches = not roles.max_delay or roles.max_delay in config
    return Server(
        tuple(config.get(name, "") for name in roles.others),
        max(1, int(_number(config.get(roles.max_batch, 1)))) if batches else 1,
        _number(config.get(roles.max_delay, 0.0)),
        max(1, int(_number(config.get(roles.instances, 1)))),
    )


class Forecaster:
    """Simulates configurations on a calibrated server; what it simulated once it knows.

    Args:
        calibration: of the server.
    """

    def __init__(self, calibration: Calibration) -> None:
        self._calibration = calibration
        self._known: dict[tuple[str, Server, float | None], dict[str, float]] = {}

    def forecast(
        self, servers: Sequence[Server], levels: Sequence[float | None], workload: Workload
    ) -> dict[str, Floats]:
        """Return metric -> what the simulation says of each configuration at its load level, shape [configurations].

        Args:
            servers: the configurations.
            levels: concurrency of a closed loop, or rate of an open one; None: its own rate.
            workload: the traffic.
        """
        keys = [(workload.name, server, level) for server, level in zip(servers, levels, strict=True)]
        new = [key for key in dict.fromkeys(keys) if key not in self._known]
        if new:
            pairs = [(server, level) for _, server, level in new]
            simulate = _closed if workload.arrivals is None else _open
            found = simulate(pairs, workload, self._calibration)
            for index, key in enumerate(new):
                self._known[key] = {name: float(values[index]) for name, values in found.items()}
        return {name: np.array([self._known[key][name] for key in keys]) for name in FORECAST}


def _closed(
    pairs: Sequence[tuple[Server, float | None]], workload: Workload, calibration: Calibration
) -> dict[str, Floats]:
    think_s = float(workload.think.draw(THINKS, np.random.default_rng(0)).mean())
    asked = np.array([int(level or 1) for _, level in pairs])
    enough = np.array([max(MANY, 2 * server.max_batch * server.instances) for server, _ in pairs])
    in_flight = np.minimum(asked, enough)
    queues = _queues([server for server, _ in pairs], in_flight + 1, calibration, think_s)
    simulated = closed_loops(queues, in_flight)
    longer = (asked / in_flight)[:, None]  # what is more waits in the queue, at the same throughput (Little, 1961)
    return _metrics(Simulated(simulated.throughput_rps, simulated.latencies_s * longer - think_s))


def _open(
    pairs: Sequence[tuple[Server, float | None]], workload: Workload, calibration: Calibration
) -> dict[str, Floats]:
    found = {name: np.zeros(len(pairs)) for name in FORECAST}
    for level in dict.fromkeys(level for _, level in pairs):
        chosen = np.array([index for index, (_, own) in enumerate(pairs) if own == level])
        servers = [pairs[index][0] for index in chosen]
        queues = _queues(servers, np.full(len(servers), ARRIVALS + 1), calibration, 0.0)
        for name, values in _metrics(open_loop(queues, _arrivals_s(workload, level))).items():
            found[name][chosen] = values
    return found


def _arrivals_s(workload: Workload, level: float | None) -> Floats:
    """Return the first arrivals of an open loop, in seconds; traffic that pauses for long is waited for."""
    load = workload.at(level)
    arrivals_s = np.zeros(1)
    for doubled in range(MOST_DOUBLED):
        loop = workload.loop(load, 2**doubled * ARRIVALS / load.level)
        assert isinstance(loop, OpenLoop), "an open loop has a schedule"
        if len(loop.schedule):
            arrivals_s = loop.schedule.offsets_ns[:ARRIVALS] / 1e9
        if len(arrivals_s) >= ARRIVALS / 2:
            break
    return np.asarray(arrivals_s)


def _metrics(simulated: Simulated) -> dict[str, Floats]:
    latencies = {name: simulated.percentile(share) for name, share in PERCENTILES.items()}
    return {"mean": simulated.mean_s, **latencies, **dict.fromkeys(RATES, simulated.throughput_rps)}


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
