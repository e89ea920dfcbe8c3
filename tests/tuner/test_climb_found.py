"""What a climb finds on servers whose SLO throughput is known, in virtual time.

A load is measured as the tuner measures one: at looks that were fixed beforehand, until `stopping.decide` is certain.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from heapq import heappop, heappush
from math import log

import numpy as np
import pytest
from numpy.typing import NDArray
from result_builders import point
from workload_builders import workload

from targets.simulated.model import Batching, serve_batches
from tuner.load_plans import Climb, Ladder
from tuner.records import ROW, WINDOW, Records
from tuner.results import Point
from tuner.slo import Slo
from tuner.stopping import Aims, Pace, at_the_cap, decide
from tuner.sustained import sustained
from workloads.arrivals import Poisson

pytestmark = pytest.mark.long

Series = NDArray[np.float64]
Serve = Callable[[float, int, int], tuple[Series, Series]]
"""Level of the load, number of requests, seed -> when they were due and when they were answered, in seconds."""

FALSE = 18 / 1000
"""A load over the bound is called sustainable by so many climbs at most, where each verdict may be wrong by 1%."""
NEAR = 0.03
TRANSIENT = 3_000
"""Requests before the window."""
NOISE = 0.03
"""Standard deviation of ln(time of a batch)."""
CLOSED, OPEN = workload("steady"), workload("steady", Poisson(100.0))
DOUBLINGS = (1, 2, 4, 8, 16, 32, 64)


def closed_loop(server: Batching, instances: int = 1) -> Serve:
    """Return a server that batches, with so many requests in flight: each is due when the one before is answered."""

    def serve(in_flight: float, count: int, seed: int) -> tuple[Series, Series]:
        rng = np.random.default_rng([seed, round(in_flight)])
        waiting, idle, now = deque([0.0] * round(in_flight)), instances, 0.0
        running: list[tuple[float, list[float]]] = []
        due: list[float] = []
        done: list[float] = []
        factors = iter(np.exp(rng.normal(0.0, NOISE, count + round(in_flight))).tolist())
        while len(done) < count:
            if idle and waiting and (len(waiting) >= server.max_size or now >= waiting[0] + server.max_delay_s):
                batch = [waiting.popleft() for _ in range(min(len(waiting), server.max_size))]
                heappush(running, (now + server.service_s(len(batch)) * next(factors), batch))
                idle -= 1
                continue
            ripe = waiting[0] + server.max_delay_s if idle and waiting else np.inf
            if running and running[0][0] <= ripe:
                now, batch = heappop(running)
                due += batch
                done += [now] * len(batch)
                waiting.extend([now] * len(batch))
                idle += 1
            else:
                now = ripe
        order = np.argsort(due[:count], kind="stable")
        return np.array(due[:count])[order], np.array(done[:count])[order]

    return serve


def open_loop(server: Batching) -> Serve:
    """Return a server that batches, under Poisson arrivals at a rate."""

    def serve(rate: float, count: int, seed: int) -> tuple[Series, Series]:
        arrivals_s = np.cumsum(np.random.default_rng([seed, round(rate)]).exponential(1 / rate, count))
        return arrivals_s, serve_batches(arrivals_s, server).done_s

    return serve


def one_by_one(mean_s: float) -> Serve:
    """Return M/M/1: the latency is exponential with rate 1 / mean - arrivals per second."""

    def serve(rate: float, count: int, seed: int) -> tuple[Series, Series]:
        arrivals_s = np.cumsum(np.random.default_rng([seed, round(rate), 1]).exponential(1 / rate, count))
        services_s = np.random.default_rng([seed, round(rate), 2]).exponential(mean_s, count)
        work = np.cumsum(services_s)
        return arrivals_s, work + np.maximum.accumulate(arrivals_s - (work - services_s))

    return serve


@dataclass(frozen=True)
class Known:
    """A server with a bound on its p99.

    Attributes:
        serve: the server.
        bound_s: on the p99.
        pace: the shortest and the longest window, in requests.
    """

    serve: Serve
    bound_s: float
    pace: Pace

    def measured(self, level: float, seed: int, mode: str) -> Point:
        """Return a load as the tuner measures it."""
        looks = self.pace.looks_s()
        aims = Aims(Slo({"p99": self.bound_s}), None, (), (), 0.05, 0.99)
        for number, look in enumerate(looks, 1):
            due_s, done_s = (times[TRANSIENT:] for times in self.serve(level, TRANSIENT + round(look), seed))
            rows = np.zeros(len(due_s), ROW)
            rows["intended_ns"], rows["done_ns"], rows["phase"] = np.rint(due_s * 1e9), np.rint(done_s * 1e9), WINDOW
            window = (int(rows["intended_ns"][0]), int(rows["intended_ns"][-1]) + 1)
            seen = Records({name: np.ascontiguousarray(rows[name]) for name in ROW.names or ()}, [window])
            last = number == len(looks)
            decision = at_the_cap(seen, aims, self.pace) if last else decide(seen, aims, len(looks))
            if decision is not None:
                break
        p99_s = float(np.quantile(done_s - due_s, 0.99))
        throughput = len(due_s) / (done_s.max() - due_s[0])
        found = point("steady", level, throughput, p99_s, {"p99": p99_s / self.bound_s - 1}, mode)
        return found.model_copy(update={"verdicts": decision.verdicts if decision else {}})

    def climbed(self, scan: tuple[float, ...], start: float, resolution: float, seed: int, name: str) -> list[Point]:
        """Return what a climb measures."""
        one = OPEN if name == "rate" else CLOSED
        climb, points = Climb([one], Ladder({name: scan}, resolution), {one.name: start}), list[Point]()
        while (at := climb.next(points)) is not None:
            ((_, load),) = at
            points.append(self.measured(load.level, 100 * seed + len(points), load.mode))
        return points


def sustained_level(points: list[Point]) -> float:
    return max((one.load.level for one in points if sustained(one)), default=0.0)


# Closed loops: the true p99 and throughput of every level come from a long run of it.

SERVERS = {
    "monotone": (closed_loop(Batching(64, 0.0, 0.004, 0.00005)), 0.0065),
    "missed for want of load": (closed_loop(Batching(16, 0.0025, 0.001, 0.0)), 0.0025),
    "missed between two levels that are met": (closed_loop(Batching(32, 0.002, 0.001, 0.0001)), 0.0047),
    "two instances": (closed_loop(Batching(8, 0.001, 0.002, 0.00025), 2), 0.0108),
}


@pytest.mark.parametrize("name", SERVERS)
def test_the_slo_throughput_of_a_batching_server_is_found_wherever_the_climb_begins(name: str) -> None:
    serve, bound_s = SERVERS[name]
    truth: dict[float, tuple[float, float]] = {}
    for level in range(1, 65):
        due_s, done_s = (times[TRANSIENT:] for times in serve(level, TRANSIENT + 20_000, 9))
        truth[level] = float(np.quantile(done_s - due_s, 0.99)), len(due_s) / (done_s.max() - due_s[0])
    known = max(throughput for p99_s, throughput in truth.values() if p99_s <= bound_s)
    for seed, start in enumerate(DOUBLINGS):
        level = sustained_level(
            Known(serve, bound_s, Pace(0, 0, 1_000, 250_000)).climbed(DOUBLINGS, start, 0.0, seed, "concurrency")
        )
        assert level, f"from {start}: infeasible"
        assert truth[level][0] <= bound_s, f"from {start}: {level} is over the bound"
        assert abs(truth[level][1] / known - 1) <= NEAR, f"from {start}: {level}"


# Open loops: of M/M/1 the true p99 is known; of batches that fill or wait the shares come from a long run.

SERVICE_S = 0.001
RATES = (125.0, 250.0, 500.0, 1000.0, 2000.0)


def alone(capacity: float, most: float) -> Known:
    """Return M/M/1 with the bound that its p99 reaches at a rate, and the longest window in requests."""
    return Known(one_by_one(SERVICE_S), log(100) / (1 / SERVICE_S - capacity), Pace(0, 0, 1_500, most))


def test_the_highest_rate_within_the_bound_is_found_to_three_percent() -> None:
    level = sustained_level(alone(800.0, 1_200_000).climbed(RATES, 250.0, 0.01, 1, "rate"))
    assert 1 - NEAR <= level / 800.0 <= 1


FILLING, FILLING_BOUND_S = open_loop(Batching(8, 0.025, 0.002, 0.0005)), 0.022
"""At low rates a batch does not fill before its delay is over, which alone takes longer than the bound."""
FILLED = 1_172.0


def test_a_rate_is_found_above_those_that_are_missed_for_want_of_load() -> None:
    shares = []
    for rate in (500.0, FILLED * (1 - NEAR / 2), FILLED * (1 + NEAR / 2)):
        due_s, done_s = FILLING(rate, 400_000, 5)
        shares.append(float(np.mean(done_s - due_s > FILLING_BOUND_S)))
    assert shares[0] > 0.05
    assert shares[1] < 0.01 < shares[2]
    server = Known(FILLING, FILLING_BOUND_S, Pace(0, 0, 1_500, 600_000))
    points = server.climbed(RATES, 250.0, 0.01, 1, "rate")
    assert [one.load.level for one in points][:4] == [250, 125, 500, 1000]
    assert abs(sustained_level(points) / FILLED - 1) <= NEAR


@pytest.mark.parametrize(
    ("server", "scan", "most"),
    [
        (alone(600.0, 6_000), (100.0, 200.0, 400.0, 800.0), 600.0),
        (Known(FILLING, FILLING_BOUND_S, Pace(0, 0, 1_500, 6_000)), RATES, FILLED),
    ],
    ids=["M/M/1", "batches that fill or wait"],
)
def test_a_load_over_the_bound_is_hardly_ever_called_sustainable(
    server: Known, scan: tuple[float, ...], most: float
) -> None:
    """In windows that are too short for what is near the bound, where every `met` above it is an error."""
    found = [sustained_level(server.climbed(scan, scan[1], 0.03, seed, "rate")) for seed in range(100)]
    assert sum(level > most for level in found) <= FALSE * len(found)
    assert np.median(found) > 0.75 * most
