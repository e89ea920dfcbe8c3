"""Do the records of 10 million requests fit a laptop?

One process captures them as the load generator does, one request after the other, and writes the file. For each round
a fresh process reads the file and summarises it. Bars: its time and its peak resident memory, mapped pages included.

The load: Poisson arrivals; latencies are exponential, as the response time of an M/M/1 queue is. So many requests are
in flight that answers overtake each other, some come before the window and a few time out: nothing is spared the
selecting and ordering.
"""

import argparse
import json
import platform
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tables import markdown, write_section

from targets.base import Outcome
from tuner.load.plan import RunReport
from tuner.metrics import generator_report, outcome_counts, summarise
from tuner.records import RecordsWriter, read_records
from tuner.slo import Slo

REQUESTS = 10_000_000
MAX_SECONDS = 10.0
MAX_RSS_BYTES = 1 << 30

RATE_RPS = 20_000
LATENCY_S = 0.010
ISSUE_DELAY_S = 20e-6
TIMEOUT_S = 1.0
TIMEOUT_SHARE = 0.001
WARMUP_SHARE = 0.05
CHUNK = 250_000
WINDOW_NS = (round(WARMUP_SHARE * REQUESTS / RATE_RPS * 1e9), round(REQUESTS / RATE_RPS * 1e9))


@dataclass(frozen=True)
class Cost:
    """What a process needed."""

    seconds: float
    peak_rss_bytes: int


def requests(seed: int) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Yield chunks of requests in the order of their ends: times [5, n] and outcomes [n]."""
    rng = np.random.default_rng(seed)
    start_ns = 0
    for _ in range(REQUESTS // CHUNK):
        intended = start_ns + np.cumsum(rng.exponential(1e9 / RATE_RPS, CHUNK)).astype(np.int64)
        start_ns = int(intended[-1])
        sent = intended + rng.exponential(ISSUE_DELAY_S * 1e9, CHUNK).astype(np.int64)
        first = sent + rng.exponential(LATENCY_S * 1e9, CHUNK).astype(np.int64)
        late = rng.random(CHUNK) < TIMEOUT_SHARE
        done = np.where(late, sent + round(TIMEOUT_S * 1e9), first)
        order = np.argsort(done)
        times = np.stack([intended, intended, sent, np.where(late, 0, first), done])
        yield times[:, order], np.where(late, Outcome.TIMEOUT, Outcome.OK)[order]


def capture(path: Path) -> None:
    """Record the load as the load generator does."""
    writer = RecordsWriter(path)
    for times, outcomes in requests(seed=0):
        for stamps, outcome in zip(zip(*times.tolist(), strict=True), outcomes.tolist(), strict=True):
            writer.append(stamps, (1024, 256), 0, 200, outcome)
    writer.close(WINDOW_NS)


def summary(path: Path) -> None:
    """Read and summarise the records as a point of a trial is."""
    records = read_records(path, WINDOW_NS)
    summarise(records, Slo({"p50": 0.01, "p99": 0.05}))
    outcome_counts(records)
    generator_report(records, RunReport(len(records.rows), 0.1, 0, 0.0, 0, 0))


def cost_of(task: Callable[[Path], None], path: Path) -> Cost:
    """Run a task in this process, which must not have done anything else."""
    started = time.perf_counter()
    task(path)
    seconds = time.perf_counter() - started
    return Cost(seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)


def in_fresh_process(task: Callable[[Path], None], path: Path) -> Cost:
    """Run a task in a process of its own."""
    with get_context("spawn").Pool(1) as pool:
        return pool.apply(cost_of, (task, path))


def measure(rounds: int) -> tuple[Cost, list[Cost]]:
    """Return what capturing the requests costs, and each of the summaries."""
    with tempfile.TemporaryDirectory(prefix="paretune-benchmark-") as folder:
        path = Path(folder) / "records.bin"
        return in_fresh_process(capture, path), [in_fresh_process(summary, path) for _ in range(rounds)]


def within_bars(cost: Cost) -> bool:
    """Whether a summary meets both bars."""
    return cost.seconds <= MAX_SECONDS and cost.peak_rss_bytes <= MAX_RSS_BYTES


def show(captured: Cost, rounds: list[Cost]) -> None:
    """Print the table."""
    print(f"{REQUESTS:,} requests; {platform.machine()}, Python {platform.python_version()}, numpy {np.__version__}")
    print(f"{'':16}{'seconds':>10}{'peak RSS, MiB':>16}")
    for name, cost in [("capture", captured), *((f"summary {index + 1}", cost) for index, cost in enumerate(rounds))]:
        print(f"{name:16}{cost.seconds:10.2f}{cost.peak_rss_bytes / 2**20:16.0f}")
    print(f"{'bar, summary':16}{MAX_SECONDS:10.2f}{MAX_RSS_BYTES / 2**20:16.0f}")


def main() -> int:
    """Return 1 when a round missed a bar."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="summaries, each in a fresh process (default: 3)")
    parser.add_argument("--json", type=Path, metavar="PATH", help="write the numbers there too")
    parser.add_argument("--docs", action="store_true", help="write the table into docs/benchmarks.md")
    options = parser.parse_args()
    captured, rounds = measure(options.rounds)
    show(captured, rounds)
    met = all(within_bars(cost) for cost in rounds)
    if options.json:
        found = {
            "requests": REQUESTS,
            "capture": asdict(captured),
            "rounds": [asdict(cost) for cost in rounds],
            "bars": {"seconds": MAX_SECONDS, "peak_rss_bytes": MAX_RSS_BYTES},
            "met": met,
        }
        options.json.write_text(json.dumps(found, indent=1) + "\n")
    if options.docs:
        costs = [("capture", captured), *((f"summary {index + 1}", cost) for index, cost in enumerate(rounds))]
        lines = [(name, f"{cost.seconds:.1f}", f"{cost.peak_rss_bytes / 2**20:.0f}") for name, cost in costs]
        bars = ("bar, summary", f"{MAX_SECONDS:g}", f"{MAX_RSS_BYTES / 2**20:.0f}")
        write_section("records", markdown(["10 million requests", "seconds", "peak RSS, MiB"], [*lines, bars]))
    print("met" if met else "missed")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
