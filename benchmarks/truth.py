"""Does the instrument measure what arithmetic says?

The load engine drives the simulated server, a real server on this machine whose queue is known, with Poisson arrivals
and service times that each request carries. The simulation gets the same intended times and the same service times.
Request by request, what is measured may exceed what is simulated only by the way there and back.

    python benchmarks/truth.py [--rounds N] [--json PATH] [--docs]
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from http.client import HTTPConnection
from itertools import product
from pathlib import Path
from typing import NoReturn

import numpy as np
import options
from tables import markdown, write_section

from targets.base import Endpoint
from targets.simulated.model import Service, serve
from targets.simulated.wire import judge
from tuner.load.generator import Generator
from tuner.load.plan import OpenLoop, Plan
from tuner.records import latencies_s
from workloads.schedule import Schedule

MAX_MEDIAN_EXCESS_S = 0.3e-3
MAX_P99_DIFFERENCE = 0.02
SERVICE_S = 0.005
REQUESTS = 2_000
LOADS = (0.5, 0.7, 0.9)
KINDS = ("deterministic", "exponential")


@dataclass(frozen=True)
class Comparison:
    """What was measured against what was simulated.

    Attributes:
        kind: of the service times.
        load: share of the time that the server is busy.
        median_excess_s: median over the requests of measured - simulated latency, seconds.
        measured_p99_s, simulated_p99_s: seconds.
        difference: measured p99 / simulated p99 - 1.
    """

    kind: str
    load: float
    median_excess_s: float
    measured_p99_s: float
    simulated_p99_s: float
    difference: float


def main() -> NoReturn:
    """Compare, round by round; the bars are about the median round."""
    arguments = options.parse(__doc__, 3, "of each load")
    generator_cpu, server_cpu = (sorted(os.sched_getaffinity(0)) * 2)[:2]
    rounds: dict[tuple[str, float], list[Comparison]] = {}
    with (
        tempfile.TemporaryDirectory() as folder,
        Generator(frozenset({generator_cpu})) as generator,
        _server(server_cpu) as port,
    ):
        for seed, kind, load in product(range(arguments.rounds), KINDS, LOADS):
            found = compare(generator, port, kind, load, seed, Path(folder))
            rounds.setdefault((kind, load), []).append(found)
            print(
                f"{kind:13} {load:.0%}: median excess {found.median_excess_s * 1e3:.3f} ms, "
                f"p99 {found.measured_p99_s * 1e3:.2f} ms against {found.simulated_p99_s * 1e3:.2f} ms "
                f"({found.difference:+.2%})",
                flush=True,
            )
    _finish(rounds, arguments)


def compare(generator: Generator, port: int, kind: str, load: float, seed: int, scratch: Path) -> Comparison:
    """Drive the server once and simulate the same."""
    rng = np.random.default_rng([seed, round(load * 100), len(kind)])
    services_ns = np.rint(Service(kind, SERVICE_S).draw(REQUESTS, rng) * 1e9).astype(np.int64)
    offsets_ns = np.cumsum(rng.exponential(SERVICE_S / load * 1e9, REQUESTS)).astype(np.int64)
    _deploy(port)
    plan = Plan(
        endpoint=Endpoint("127.0.0.1", port, tuple(_request(service) for service in services_ns.tolist()), judge),
        load=OpenLoop(Schedule(offsets_ns, np.arange(REQUESTS, dtype=np.int32)), connections=1_000),
        start_ns=time.monotonic_ns() + 100_000_000,
        warmup_ns=0,
        window_ns=int(offsets_ns[-1]) + 1,
        timeout_ns=60_000_000_000,
        records_path=scratch / "records.bin",
    )
    run = generator.run(plan)
    if run.report.failures:
        raise RuntimeError(f"requests failed: {run.report.failures}")
    measured = latencies_s(run.records.rows.in_order_of("intended_ns"))
    simulated = serve(offsets_ns / 1e9, services_ns / 1e9).done_s - offsets_ns / 1e9
    p99 = [float(np.quantile(values, 0.99, method="inverted_cdf")) for values in (measured, simulated)]
    return Comparison(kind, load, float(np.median(measured - simulated)), *p99, p99[0] / p99[1] - 1)


def _request(service_ns: int) -> bytes:
    head = f"POST /deployments/queue/infer HTTP/1.1\r\nHost: localhost\r\nService-Time-Ns: {service_ns}\r\n"
    return f"{head}Content-Length: 1\r\n\r\nx".encode()


def _deploy(port: int) -> None:
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    queue = {"servers": 1, "service": {"kind": "deterministic", "mean_s": SERVICE_S}}
    connection.request("PUT", "/deployments/queue", json.dumps(queue))
    answer = connection.getresponse()
    if answer.status != 200:
        raise RuntimeError(f"the queue was refused: {answer.read()!r}")
    connection.close()


@contextmanager
def _server(cpu: int) -> Iterator[int]:
    command = ["taskset", "-c", str(cpu), sys.executable, "-P", "-m", "targets.simulated.server"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        yield int(process.stdout.readline())
        process.communicate()


def _finish(rounds: dict[tuple[str, float], list[Comparison]], arguments: argparse.Namespace) -> NoReturn:
    lines, met = [], True
    for (kind, load), found in rounds.items():
        excess = float(np.median([one.median_excess_s for one in found]))
        difference = float(np.median([one.difference for one in found]))
        fine = excess <= MAX_MEDIAN_EXCESS_S and abs(difference) <= MAX_P99_DIFFERENCE
        met = met and fine
        worst = max(abs(one.difference) for one in found)
        lines.append(
            (
                kind,
                f"{load:.0%}",
                f"{excess * 1e3:.3f} ms",
                f"{difference:+.2%}",
                f"{worst:.2%}",
                "yes" if fine else "**no**",
            )
        )
    columns = ["service times", "load", "median excess", "p99 difference", "largest of a round", "met"]
    lines.append(("bar", "", f"{MAX_MEDIAN_EXCESS_S * 1e3:g} ms", f"{MAX_P99_DIFFERENCE:.0%}", "", ""))
    if arguments.docs:
        write_section("truth", markdown(columns, lines))
    if arguments.json:
        arguments.json.write_text(
            json.dumps([asdict(one) for found in rounds.values() for one in found], indent=1) + "\n"
        )
    print("met" if met else "missed")
    sys.exit(0 if met else 1)


if __name__ == "__main__":
    main()
