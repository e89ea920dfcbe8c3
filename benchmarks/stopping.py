"""Does a measurement that stops early decide right, and what does it save?

Poisson arrivals at RATE to a queue whose p99 is known are measured in virtual time as the tuner measures them: the
window is looked at, each time it has grown by half, by the tuner's own `stopping.seen` and `stopping.decide`, on the
requests that have ended by then. The limit of the SLO is put near the true p99, where every verdict is an error, and
away from it, where it should come soon.

    python benchmarks/stopping.py [--rounds N] [--json PATH] [--docs]
"""

import json
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import options
from numpy.typing import NDArray
from queues import AUTOCORRELATION, answers, rate_of, simulated
from tables import PAGE, markdown, write_section

from targets.base import Endpoint, Outcome
from tuner import stopping
from tuner.load.plan import OpenLoop, Plan
from tuner.records import AFTER, ROW, WARMUP, WINDOW, Records
from tuner.slo import Slo
from tuner.stopping import Aims, Pace
from workloads.schedule import Schedule

MOST_FALSE = 31 / 2000
LEAST_DECIDED = 0.95

RATE = 5_000.0
LONGEST_S = 10.0
PACE = Pace(0.0, 0.0, 0.3, LONGEST_S)
CONFIDENCE = 0.99
TRANSIENT = 20
CASES = (("M/M/1", 0.5), ("M/D/1", 0.5), ("batches", 0.5), ("batches", 0.7))
NEAR = (1.01, 0.99)
AWAY = (1.25, 0.8)
FEWER = 5
"""Runs near the limit for each one away from it: they go on to the cap, and rare errors need many."""

RunAll = Callable[[Iterable[tuple[Any, ...]]], list[tuple[str, float]]]


@dataclass(frozen=True)
class Cell:
    """What is measured: a queue at a load against a limit of true p99 / `ratio`."""

    queue: str
    load: float
    ratio: float


@dataclass(frozen=True)
class Row:
    """What came of the runs of a cell.

    Attributes:
        queue, load, ratio: the cell.
        runs: how many.
        met, missed, undecided: how many ended so.
        seconds: mean length of the window.
    """

    queue: str
    load: float
    ratio: float
    runs: int
    met: int
    missed: int
    undecided: int
    seconds: float

    @property
    def wrong(self) -> int:
        """Runs with the wrong verdict."""
        return self.met if self.ratio > 1 else self.missed

    def fine(self) -> bool:
        """Whether the bars are met."""
        if self.wrong > MOST_FALSE * self.runs:
            return False
        return self.ratio in NEAR or self.undecided <= (1 - LEAST_DECIDED) * self.runs


def main() -> int:
    """Return 1 when a bar is missed."""
    given = options.parse(__doc__, 2000, "runs of each queue near the limit", "docs/measurement.md")
    with get_context("spawn").Pool(len(os.sched_getaffinity(0))) as pool:
        run_all = partial(pool.starmap, run, chunksize=10)
        rows = [
            row_of(Cell(queue, load, ratio), given.rounds if ratio in NEAR else given.rounds // FEWER, run_all)
            for queue, load in CASES
            for ratio in (*NEAR, *AWAY)
        ]
    met = all(row.fine() for row in rows)
    if given.json:
        given.json.write_text(json.dumps({"rows": [asdict(row) for row in rows], "met": met}, indent=1) + "\n")
    if given.docs:
        write_section("stopping", table_of(rows), PAGE.with_name("measurement.md"))
    print("met" if met else "missed")
    return 0 if met else 1


def row_of(cell: Cell, runs: int, run_all: RunAll) -> Row:
    """Simulate the runs of a cell."""
    limit_s = answers(cell.queue, cell.load)[2] * rate_of(cell.queue, cell.load) / RATE / cell.ratio
    found = run_all([(cell, limit_s, number) for number in range(runs)])
    verdicts = [verdict for verdict, _ in found]
    counts = [verdicts.count(verdict) for verdict in ("met", "missed", "undecided")]
    row = Row(cell.queue, cell.load, cell.ratio, runs, *counts, float(np.mean([seconds for _, seconds in found])))
    print(row, "" if row.fine() else "  missed", flush=True)
    return row


def run(cell: Cell, limit_s: float, number: int, pace: Pace = PACE) -> tuple[str, float]:
    """Measure once; return the verdict on the p99 and the length of the window in seconds."""
    rng = np.random.default_rng([number, round(1e6 * cell.load), len(cell.queue)])
    rows, plan = load_of(cell, rng, pace.longest_window_s)
    aims = Aims(Slo({"p99": limit_s}), None, (), (), 0.05, CONFIDENCE)
    looks_s, settle_ns, (start_ns, end_ns) = pace.looks_s(), round(limit_s * 1e9), plan.window
    for length_s in looks_s[:-1]:
        now_ns = start_ns + round(length_s * 1e9)
        ended = rows[rows["done_ns"] <= now_ns]
        decision = stopping.decide(stopping.seen(ended, plan, start_ns, now_ns, settle_ns), aims, len(looks_s))
        if decision is not None:
            return decision.verdicts["p99"], length_s
    whole = Records({name: np.ascontiguousarray(rows[name]) for name in ROW.names or ()}, [(start_ns, end_ns)])
    return stopping.at_the_cap(whole, aims, pace).verdicts["p99"], looks_s[-1]


def load_of(cell: Cell, rng: np.random.Generator, longest_s: float) -> tuple[NDArray[np.void], Plan]:
    """Return all requests of a load, in the order of their arrival, and the plan that they follow.

    Time goes slower by a factor, so that RATE arrivals come in a second; a transient comes before the window.
    """
    slower = rate_of(cell.queue, cell.load) / RATE
    known = AUTOCORRELATION[cell.queue]
    before = TRANSIENT * known[min((load for load in known if load >= cell.load), default=max(known))]
    arrivals_s = np.cumsum(rng.exponential(1 / rate_of(cell.queue, cell.load), before + round(1.1 * RATE * longest_s)))
    done_s = simulated(cell.queue, arrivals_s, rng)
    offsets_ns, done_ns = (np.rint(times * slower * 1e9).astype(np.int64) for times in (arrivals_s, done_s))
    plan = Plan(
        endpoint=Endpoint("", 0, (), lambda *_: Outcome.OK),
        load=OpenLoop(Schedule(offsets_ns, np.zeros(len(offsets_ns), np.int32)), len(offsets_ns)),
        start_ns=0,
        warmup_ns=int(offsets_ns[before]),
        window_ns=round(longest_s * 1e9),
        timeout_ns=0,
        records_path=Path(),
    )
    rows = np.zeros(len(offsets_ns), ROW)
    rows["intended_ns"], rows["done_ns"] = offsets_ns, done_ns
    rows["phase"] = np.where(offsets_ns < plan.window[0], WARMUP, np.where(offsets_ns < plan.window[1], WINDOW, AFTER))
    return rows, plan


def table_of(rows: Sequence[Row]) -> str:
    """Return the documentation's table."""
    columns = [
        "queue",
        "load",
        "true p99 / limit",
        "runs",
        "met",
        "missed",
        "undecided",
        "mean window",
        "saved",
        "fine",
    ]
    lines = [
        [
            row.queue,
            f"{row.load:.0%}",
            f"{row.ratio:g}",
            f"{row.runs:,}",
            *(f"{count:,}" for count in (row.met, row.missed, row.undecided)),
            f"{row.seconds:.2f} s",
            f"{1 - row.seconds / LONGEST_S:.0%}",
            "yes" if row.fine() else "**no**",
        ]
        for row in rows
    ]
    return markdown(columns, lines)


if __name__ == "__main__":
    sys.exit(main())
