"""Measure the whole landscape of a model's configurations on a real Triton, once, so that searches can be replayed.

Every configuration of the grid, in a random order, is measured at every load level twice: on the way up and on the way
down. A reference configuration that stays loaded is measured right before and right after each measurement, since a
shared machine changes its speed within seconds: the replay takes what was measured relative to it.

    python benchmarks/landscape.py [--only N] PATH.csv
"""

import argparse
import csv
import itertools
import math
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import mlp
import numpy as np

from targets.base import Deployment
from tuner import records
from tuner.instruments import started
from tuner.runs import Run
from tuner.stopping import Pace
from tuner.study.load import load_study
from tuner.trials import Trier
from tuner.wiring import prepare

INSTANCES = (1, 2, 4)
BATCHES = (1, 8, 16, 32, 64)
DELAYS_S = (0.0, 0.0005, 0.002, 0.005)
LEVELS = (1, 4, 8, 16, 32, 64)
REFERENCE = {"instances": 1, "max_batch_size": 16, "max_queue_delay": 0.002}
REFERENCE_LEVEL = 16
PACE = Pace.fixed(warmup_s=0.1, window_s=0.3)
REFERENCE_PACE = Pace.fixed(warmup_s=0.05, window_s=0.15)
COLUMNS = (
    "instances",
    "max_batch_size",
    "max_queue_delay_us",
    "concurrency",
    "pass",
    "apply_s",
    "reference_rps",
    "throughput_rps",
    "latency_mean_us",
    "latency_p50_us",
    "latency_p99_us",
    "queue_mean_us",
    "executed_batches",
)


def main() -> int:
    """Measure and write the rows as they come."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", type=Path)
    parser.add_argument("--only", type=int, help="measure this many configurations of the grid")
    asked = parser.parse_args()
    grid = configs()[: asked.only]
    with tempfile.TemporaryDirectory() as folder, asked.path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for number, row in enumerate(measured(grid, Path(folder))):
            writer.writerow(row)
            file.flush()
            if number % (2 * len(LEVELS)) == 0:
                print(f"{number // (2 * len(LEVELS)) + 1}/{len(grid)}", *row[:4], row[6], file=sys.stderr, flush=True)
    return 0


def configs() -> list[dict[str, float]]:
    """Return the grid's configurations of the server in a random order; batches of one have no delay to vary."""
    every = [
        {"instances": instances, "max_batch_size": batch, "max_queue_delay": delay}
        for instances, batch, delay in itertools.product(INSTANCES, BATCHES, DELAYS_S)
        if batch > 1 or delay == 0
    ]
    return [every[index] for index in np.random.default_rng(0).permutation(len(every))]


def measured(grid: list[dict[str, float]], folder: Path) -> Iterator[list[object]]:
    """Yield a row per configuration, level and pass."""
    prepared = prepare(load_study(mlp.write(folder), ()), folder / "log.txt")
    with started(prepared, folder) as bench:
        target = prepared.target
        reference = target.deploy({**target.user_config(), **REFERENCE}, "reference")
        for config in grid:
            began = time.monotonic()
            deployment = target.deploy({**target.user_config(), **config}, "candidate")
            apply_s = time.monotonic() - began
            before = _run(bench.trier, reference, REFERENCE_LEVEL, REFERENCE_PACE)
            for number, level in [*((0, level) for level in LEVELS), *((1, level) for level in LEVELS[::-1])]:
                run = _run(bench.trier, deployment, level, PACE)
                after = _run(bench.trier, reference, REFERENCE_LEVEL, REFERENCE_PACE)
                rate, before = math.sqrt(_throughput(before) * _throughput(after)), after
                yield [
                    config["instances"],
                    config["max_batch_size"],
                    round(config["max_queue_delay"] * 1e6),
                    level,
                    number,
                    f"{apply_s:.3f}",
                    f"{rate:.1f}",
                    *_figures(run),
                ]


def _run(trier: Trier, deployment: Deployment, level: int, pace: Pace) -> Run:
    (workload,) = trier.workloads
    return trier.measure(deployment, workload, workload.at(level), pace)


def _throughput(run: Run) -> float:
    return float(len(run.records.in_window()) / run.records.window_s)


def _figures(run: Run) -> list[object]:
    latencies = records.latencies_s(run.records.in_window())
    p50, p99 = np.quantile(latencies, (0.5, 0.99))
    assert run.server is not None, "Triton gives statistics"
    batches = ";".join(f"{one.size}:{one.count}x{one.compute_mean_s * 1e6:.0f}us" for one in run.server.batch_sizes)
    return [
        f"{_throughput(run):.1f}",
        *(f"{value * 1e6:.0f}" for value in (latencies.mean(), p50, p99, run.server.mean_s["queue"])),
        batches,
    ]


if __name__ == "__main__":
    sys.exit(main())
