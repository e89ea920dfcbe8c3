"""Does the inner search find the highest load under the SLO, and does it call a load that violates it sustainable?

Queues whose p99 is known at every load are climbed in virtual time, as a study with `load: {search: max_under_slo}`
climbs: `climb.next_level` says which load comes next, and each is measured until its verdict is certain, as
stopping.py measures. With short windows the question is how often a load is called sustainable whose true p99 is over
the limit; with long ones, how near the highest load that was found comes to the true one.

    python benchmarks/climb.py [--rounds N] [--json PATH] [--docs]
"""

import json
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from multiprocessing import get_context
from typing import Any

import numpy as np
import options
from queues import answers, rate_of
from stopping import RATE, Cell, run
from tables import PAGE, markdown, write_section

from tuner.climb import next_level
from tuner.stopping import Pace

MOST_FALSE = 18 / 1000
NEAR = 0.03
FOUND = 20
"""Each so many climbs with short windows there is one with long ones."""
SCAN = (0.1, 0.2, 0.4, 0.8, 0.95)
START = 0.2
RESOLUTION = 0.01
CAPACITY = 0.6
"""The load whose true p99 is the limit."""
QUEUES = ("M/M/1", "M/D/1", "batches")
SHORT = Pace(0.0, 0.0, 0.3, 3.0)
LONG = Pace(0.0, 0.0, 1.0, 200.0)

RunAll = Callable[[Iterable[tuple[Any, ...]]], list[float]]


@dataclass(frozen=True)
class Row:
    """What came of the climbs of a queue.

    Attributes:
        queue: the queue.
        requests: of the longest window.
        climbs: how many.
        false: that ended at a load whose true p99 is over the limit.
        found: highest sustainable load that was found over the true one, median.
        worst: the same, the smallest.
    """

    queue: str
    requests: int
    climbs: int
    false: int
    found: float
    worst: float

    def fine(self) -> bool:
        """Whether the bars are met; how near is asked of the long windows."""
        near = 1 - self.found <= NEAR or self.requests < RATE * LONG.longest_window_s
        return near and self.false <= MOST_FALSE * self.climbs


def main() -> int:
    """Return 1 when a bar is missed."""
    given = options.parse(__doc__, 1000, "climbs of each queue", "docs/search.md")
    rows = []
    with get_context("spawn").Pool(len(os.sched_getaffinity(0))) as pool:
        for pace, climbs in ((SHORT, given.rounds), (LONG, max(1, given.rounds // FOUND))):
            for queue in QUEUES:
                rows.append(row_of(queue, pace, climbs, partial(pool.starmap, climbed, chunksize=1)))
                print(rows[-1], "" if rows[-1].fine() else "  missed", flush=True)
    met = all(row.fine() for row in rows)
    if given.json:
        given.json.write_text(json.dumps({"rows": [asdict(row) for row in rows], "met": met}, indent=1) + "\n")
    if given.docs:
        write_section("climb", table_of(rows), PAGE.with_name("search.md"))
    print("met" if met else "missed")
    return 0 if met else 1


def row_of(queue: str, pace: Pace, climbs: int, run_all: RunAll) -> Row:
    """Climb so many times."""
    found = np.array(run_all([(queue, pace, number) for number in range(climbs)])) / CAPACITY
    requests = round(RATE * pace.longest_window_s)
    return Row(queue, requests, climbs, int((found > 1).sum()), float(np.median(found)), float(found.min()))


def climbed(queue: str, pace: Pace, number: int) -> float:
    """Return the highest load that a climb calls sustainable, 0 where it calls none so."""
    limit_s = answers(queue, CAPACITY)[2]
    results: dict[float, bool] = {}
    while (load := next_level(results, SCAN, START, RESOLUTION, whole=False)) is not None:
        slower = rate_of(queue, load) / RATE  # stopping.py lets so many requests come in a second at every load
        verdict, _ = run(Cell(queue, load, 1.0), limit_s * slower, 100 * number + len(results), pace)
        results[load] = verdict == "met"
    return max((load for load, met in results.items() if met), default=0.0)


def table_of(rows: Sequence[Row]) -> str:
    """Return the documentation's table."""
    columns = ("queue", "longest window", "climbs", "over the limit", "found / true", "the least found / true", "fine")
    lines = [
        [
            row.queue,
            f"{row.requests:,} requests",
            f"{row.climbs:,}",
            f"{row.false:,}",
            f"{row.found:.1%}",
            f"{row.worst:.1%}",
            "yes" if row.fine() else "**no**",
        ]
        for row in rows
    ]
    return markdown(columns, lines)


if __name__ == "__main__":
    sys.exit(main())
