"""Does a 95% interval hold the true value as often as it says, and is it no wider than it must be?

Latencies of three simulated queues whose answers are known (Poisson arrivals, one server, first come, first served) are
estimated run by run: mean, p50 and p99. Each run starts empty, and the requests of its first TRANSIENT autocorrelation
times are dropped. A run whose interval has an infinite bound holds the value on that side, so such runs are counted.
The width is the median of the finite intervals over that of an oracle, which knows how the estimate scatters: the
distance between its 2.5% and 97.5% quantiles over the runs.

The answers are those of `queues.answers`.

    python benchmarks/coverage.py [--rounds N] [--json PATH] [--docs]
"""

import json
import math
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from multiprocessing import get_context

import numpy as np
import options
from queues import AUTOCORRELATION, QUEUES, Series, answers, rate_of, simulated
from tables import PAGE, markdown, write_section

from tuner import stats
from tuner.stats import Interval, Ordered

MIN_COVERAGE = 0.93
MAX_WIDTH = 1.5
MAX_INFINITE = 0.05

LONG = {0.5: 3000, 0.7: 3000, 0.9: 1500}
"""Length of a run that is long enough for all three numbers, by load, in autocorrelation times."""
SHORT, MORE_SHORT = 30, 10
"""Length of a short run, and how many of them are made for a long one: they are cheap, and close to the bar."""
TRANSIENT = 20
NUMBERS = ("mean", "p50", "p99")


@dataclass(frozen=True)
class Cell:
    """What is simulated.

    Attributes:
        queue: name of a queue.
        load: arrivals per second over the most that the queue can serve.
        length: of a run, in autocorrelation times.
    """

    queue: str
    load: float
    length: int

    @property
    def tau(self) -> int:
        """Autocorrelation time, in requests."""
        return AUTOCORRELATION[self.queue][self.load]

    @property
    def requests(self) -> int:
        """Length of a run."""
        return self.length * self.tau

    @property
    def rate(self) -> float:
        """Arrivals per second."""
        return rate_of(self.queue, self.load)


@dataclass(frozen=True)
class Row:
    """What the intervals of a number were like in the runs of a cell.

    Attributes:
        queue, load, requests, number: what was estimated from how much.
        runs: how often.
        known_s: the true value, seconds.
        coverage: share of the runs whose interval holds it.
        infinite: share of the runs whose interval has an infinite bound.
        unexplained: share of the runs whose interval has an infinite bound and no reason.
        finite_coverage: share of the finite intervals that hold the true value; None without one.
        width: median width of the finite intervals over that of the oracle; None without one.
    """

    queue: str
    load: float
    requests: int
    number: str
    runs: int
    known_s: float
    coverage: float
    infinite: float
    unexplained: float
    finite_coverage: float | None
    width: float | None

    def long_enough(self) -> bool:
        """Whether it meets the bars of a long run."""
        if self.finite_coverage is None or self.width is None or self.infinite > MAX_INFINITE:
            return False
        return self.honest() and self.finite_coverage >= MIN_COVERAGE and self.width <= MAX_WIDTH

    def honest(self) -> bool:
        """Whether it meets the bars of any run: an interval that holds the value, or a reason for having none."""
        return self.coverage >= MIN_COVERAGE and self.unexplained == 0.0


def main() -> int:
    """Return 1 when a bar is missed."""
    given = options.parse(__doc__, 1000, "long runs of each queue and load", "docs/measurement.md")
    cells = [(queue, load) for queue, loads in AUTOCORRELATION.items() for load in loads]
    with get_context("spawn").Pool(len(os.sched_getaffinity(0))) as pool:
        run_all = partial(pool.starmap, estimates, chunksize=10)
        runs, more = given.rounds, given.rounds * MORE_SHORT
        long = [row for queue, load in cells for row in measure(Cell(queue, load, LONG[load]), runs, run_all)]
        short = [row for queue, load in cells for row in measure(Cell(queue, load, SHORT), more, run_all)]
    met = all(row.long_enough() for row in long) and all(row.honest() for row in short)
    if given.json:
        found = {
            "long": [asdict(row) for row in long],
            "short": [asdict(row) for row in short],
            "bars": {"coverage": MIN_COVERAGE, "width": MAX_WIDTH, "infinite": MAX_INFINITE},
            "met": met,
        }
        given.json.write_text(json.dumps(found, indent=1) + "\n")
    if given.docs:
        write_section("coverage", tables_of(long, short), PAGE.with_name("measurement.md"))
    print("met" if met else "missed")
    return 0 if met else 1


def measure(cell: Cell, runs: int, run_all: Callable[[Iterable[tuple[Cell, int]]], list[list[Interval]]]) -> list[Row]:
    """Simulate the runs of a cell; return a row for each number."""
    known = answers(cell.queue, cell.load)
    found = zip(*run_all([(cell, run) for run in range(runs)]), strict=True)
    rows = [
        row_of(cell, number, truth, of_number) for number, truth, of_number in zip(NUMBERS, known, found, strict=True)
    ]
    for row in rows:
        line = f"{row.queue:8}{row.load:5.0%}{row.requests:9,} {row.number:5}{row.known_s * 1e3:8.3f} ms: "
        finite = "" if row.width is None else f", of the finite {row.finite_coverage:.1%}, width {row.width:.2f}"
        print(f"{line}coverage {row.coverage:.1%}, infinite {row.infinite:.1%}{finite}", flush=True)
    return rows


def row_of(cell: Cell, number: str, known_s: float, found: Sequence[Interval]) -> Row:
    """Compare the intervals of a number with its true value and with the oracle."""
    holds = np.array([one.low <= known_s <= one.high for one in found])
    widths = np.array([one.high - one.low for one in found])
    finite = np.isfinite(widths)
    low, high = np.quantile([one.value for one in found], [0.025, 0.975])
    unexplained = [math.isinf(one.high - one.low) and not one.why for one in found]
    return Row(
        cell.queue,
        cell.load,
        cell.requests,
        number,
        len(found),
        known_s,
        coverage=float(np.mean(holds)),
        infinite=float(np.mean(~finite)),
        unexplained=float(np.mean(unexplained)),
        finite_coverage=float(np.mean(holds[finite])) if finite.any() else None,
        width=float(np.median(widths[finite]) / (high - low)) if finite.any() else None,
    )


def estimates(cell: Cell, run: int) -> list[Interval]:
    """Simulate one run and estimate its numbers, in the order of NUMBERS."""
    place = list(QUEUES).index(cell.queue)
    values = latencies(cell, np.random.default_rng([place, round(cell.load * 100), cell.length, run]))
    series = Ordered.of(values)
    return [stats.mean(values), stats.percentile(series, 0.5), stats.percentile(series, 0.99)]


def latencies(cell: Cell, rng: np.random.Generator) -> Series:
    """Return the latencies of one run in seconds, in whole nanoseconds as they are measured, shape [requests]."""
    dropped = TRANSIENT * cell.tau
    arrivals = np.cumsum(rng.exponential(1 / cell.rate, dropped + cell.requests))
    done = simulated(cell.queue, arrivals, rng)
    return np.asarray(np.rint((done - arrivals)[dropped:] * 1e9) / 1e9)


def tables_of(long: Sequence[Row], short: Sequence[Row]) -> str:
    """Return the documentation's tables: runs that are long enough, and short ones."""
    head = ["queue", "load", "requests", "number", "coverage", "infinite"]
    bars = ["bar", "", "", "", f">= {MIN_COVERAGE:.0%}"]
    enough = [[*_start(row), "-" if row.width is None else f"{row.width:.2f}", _yes(row.long_enough())] for row in long]
    few = [
        [*_start(row), "-" if row.finite_coverage is None else f"{row.finite_coverage:.1%}", _yes(row.honest())]
        for row in short
    ]
    return "\n\n".join(
        (
            f"Long enough, {long[0].runs:,} runs of each queue and load:",
            markdown([*head, "width", "met"], [*enough, [*bars, f"<= {MAX_INFINITE:.0%}", f"<= {MAX_WIDTH:g}", ""]]),
            f"Too short, {short[0].runs:,} runs of each queue and load:",
            markdown([*head, "coverage of the finite", "met"], [*few, [*bars, "with a reason", "", ""]]),
        )
    )


def _start(row: Row) -> list[str]:
    shares = [f"{row.coverage:.1%}", f"{row.infinite:.1%}"]
    return [row.queue, f"{row.load:.0%}", f"{row.requests:,}", row.number, *shares]


def _yes(met: bool) -> str:
    return "yes" if met else "**no**"


if __name__ == "__main__":
    sys.exit(main())
