"""How long schedules and encoded requests take to make, and how much memory: 10 million arrivals, 100,000 requests.

    python benchmarks/schedules.py [--docs]

Each line is a process of its own; its memory is the highest resident set of it, above that of an empty schedule.
"""

import argparse
import resource
import subprocess
import sys
import time

import numpy as np
from tables import markdown, write_section

from targets.kserve import wire_grpc, wire_http
from targets.kserve.wire import ModelSpec, Site
from workloads.arrivals import Arrivals, Bursty, Constant, Gamma, Jittered, Poisson
from workloads.lengths import Uniform
from workloads.modulated import MarkovModulated, sinusoid, spike, steps
from workloads.order import Order
from workloads.replay import Replay, Superposition
from workloads.requests import TensorSpec
from workloads.schedule import make_schedule
from workloads.tensors import Drawn

ARRIVALS, REQUESTS = 10_000_000, 100_000
SCHEDULE_S, SCHEDULE_MIB, ENCODE_S = 2.0, 300.0, 10.0
RATE_RPS = 10_000.0
ITEMS = 1_000
PROCESSES: dict[str, Arrivals] = {
    "constant": Constant(RATE_RPS),
    "jittered": Jittered(RATE_RPS, 0.5),
    "poisson": Poisson(RATE_RPS),
    "gamma": Gamma(RATE_RPS, 2.0),
    "bursty": Bursty(10, 0.001),
    "mmpp": MarkovModulated((5_000.0, 25_000.0), (3.0, 1.0)),
    "steps": steps([5_000.0, 15_000.0], 1.0),
    "sinusoid": sinusoid(RATE_RPS, 0.8, 60.0),
    "spike": spike(9_000.0, 19_000.0, 1.0, 10.0),
    "trace": Replay.of(np.cumsum(np.random.default_rng(0).exponential(1 / RATE_RPS, 100_000))),
    "sum": Superposition((Poisson(5_000.0), Bursty(5, 0.001))),
}
REPEATS = "poisson, 30% repeats"  # of a million requests
WIRES = {"HTTP": wire_http, "gRPC": wire_grpc}


def main() -> int:
    """Print a line for each process and each format; return 1 where a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arrivals", type=int, default=ARRIVALS)
    parser.add_argument("--requests", type=int, default=REQUESTS)
    parser.add_argument("--docs", action="store_true", help="put the table into docs/benchmarks.md")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one:
        one(asked.one, asked.arrivals, asked.requests)
        return 0
    empty_mib = _line("poisson", 1, 1)[2]
    rows, met = [], True
    for name in (*PROCESSES, REPEATS, *WIRES):
        made, seconds, mib = _line(name, asked.arrivals, asked.requests)
        rows.append((name, f"{made:,.0f}", f"{seconds:.2f}", f"{mib - empty_mib:,.0f}"))
        met &= seconds <= (ENCODE_S if name in WIRES else SCHEDULE_S)
        met &= name in WIRES or mib - empty_mib <= SCHEDULE_MIB
    rows += [("bar, schedules", "", f"{SCHEDULE_S:g}", f"{SCHEDULE_MIB:g}"), ("bar, encoded", "", f"{ENCODE_S:g}", "")]
    body = markdown(("", "made", "seconds", "MiB"), rows)
    sys.stdout.write(f"{body}\n")
    if asked.docs:
        write_section("schedules", body)
    return 0 if met else 1


def _line(name: str, arrivals: int, requests: int) -> list[float]:
    command = [sys.executable, __file__, "--one", name, "--arrivals", str(arrivals), "--requests", str(requests)]
    ended = subprocess.run(command, capture_output=True, text=True, check=True)
    return [float(word) for word in ended.stdout.split()]


def one(name: str, arrivals: int, requests: int) -> None:
    """Make one thing; print how much, the seconds and the MiB."""
    started = time.perf_counter()
    made = encoded(name, requests) if name in WIRES else scheduled(name, arrivals)
    seconds = time.perf_counter() - started
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    sys.stdout.write(f"{made} {seconds} {peak_mib}\n")


def scheduled(name: str, arrivals: int) -> int:
    """Make a schedule of about so many arrivals."""
    process = PROCESSES["poisson" if name == REPEATS else name]
    order = Order(1_000_000, repeats=0.3) if name == REPEATS else Order(ITEMS)
    return len(make_schedule(process, arrivals / process.mean_rate_rps, order, seed=1))


def encoded(name: str, requests: int) -> int:
    """Encode so many distinct requests of 1 to 64 numbers each."""
    inputs = (TensorSpec("TOKENS", "INT64", (-1,)),)
    source = Drawn(requests, 1, {"words": Uniform(1, 64)}, {"TOKENS": ["words"]}, {"TOKENS": (0, 30_000)})
    model = ModelSpec("model", inputs, ("SCORES",), batched=True)
    found = WIRES[name].endpoint(source.shaped(inputs), model, Site("127.0.0.1", 8000)).requests
    return len(set(found))


if __name__ == "__main__":
    sys.exit(main())
