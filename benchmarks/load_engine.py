"""Is the load engine as fast as wrk, cheaper than the C++ peers, and on time?

Closed loops on a real Triton (the digits study's model) and on a server that does nothing, in interleaved rounds with
wrk, perf_analyzer and Locust's FastHttpUser; open loops, 1,000 event streams and 10,000 connections by ourselves. The
load generator is pinned to the first CPU, the server to the second.

    python benchmarks/load_engine.py [--peers DIR] [--rounds N] [--minutes M] [--only SECTION ...]
                                     [--json PATH] [--docs]

DIR holds the peers' commands (perf_analyzer, locust); otherwise they are looked for on PATH. A ratio is measured until
its 95% interval lies within +-3%, or M minutes are over; --rounds N ends it after N rounds of each side.
"""

import argparse
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NoReturn

import numpy as np
import records
from outcome import Results, page, store, stored
from ratios import Ratio, at_least, at_most, in_turn, ratio, tight
from rounds import WARMUP_S, Missing, Round, find, locust, measured, ours, perf_analyzer, wrk
from streams import streamed
from tables import write_section
from triton_server import digits

from studies import __file__ as studies_file
from targets.base import Endpoint, Outcome
from tuner.load.generator import Generator
from tuner.load.null_server import NullServer
from tuner.load.plan import ClosedLoop, OpenLoop, Plan, always
from workloads.arrivals import Constant
from workloads.order import Order
from workloads.schedule import make_schedule

GENERATOR, SERVER = (sorted(os.sched_getaffinity(0)) * 2)[:2]  # a process of ours may be pinned to one
STUDIES = Path(studies_file).parent
IN_FLIGHT = 16
OTHERS_IN_FLIGHT = (8, 32)

MIN_WRK_RATIO = 0.97
MIN_PA_HTTP_RATIO = 1.4
MAX_PA_HTTP_CPU_RATIO = 0.4
MAX_LOCUST_CPU_RATIO = 0.3
MIN_PA_GRPC_RATIO = 0.95
MAX_PA_GRPC_CPU_RATIO = 1.0
MIN_NULL_RPS = 80_000
OPEN_SLOW_RPS, MAX_OPEN_SLOW_DELAY_S, MAX_OPEN_SLOW_SHARE = 1_000, 250e-6, 0.10
OPEN_FAST_RPS, MAX_OPEN_FAST_DELAY_S = 20_000, 150e-6
STREAMS, STREAM_PERIOD_MS, STREAM_EVENTS, MAX_STREAM_DELAY_S = 1_000, 50.0, 100, 10e-3
CONNECTIONS, CONNECTIONS_THINK_S, CONNECTIONS_S = 10_000, 5.0, 10.0


@dataclass(frozen=True)
class Bench:
    """What every section uses."""

    generator: Generator
    scratch: Path
    peers: Path | None
    seconds: float
    rounds: int | None
    results: Results


Side = Callable[[], Round]


def main() -> NoReturn:
    """Run the sections asked for; the others keep what the file given by --json has of them."""
    arguments = _arguments()
    sections = stored(arguments.json)
    with tempfile.TemporaryDirectory() as folder, Generator(frozenset({GENERATOR})) as generator:
        os.sched_setaffinity(0, {GENERATOR})
        for name in arguments.only or SECTIONS:
            print(f"{name}:", flush=True)
            results = Results()
            SECTIONS[name](
                Bench(generator, Path(folder), arguments.peers, arguments.minutes * 60, arguments.rounds, results)
            )
            sections[name] = results
            store(arguments.json, "load_engine", sections)
    sections = {name: sections[name] for name in SECTIONS if name in sections}
    if arguments.docs:
        write_section("load_engine", page(sections))
    _end(sections)


def triton_http(bench: Bench) -> None:
    """Compare with wrk, perf_analyzer and Locust over HTTP."""
    for concurrency in (IN_FLIGHT, *OTHERS_IN_FLIGHT):
        with digits("http", concurrency, bench.scratch, SERVER) as (endpoint, model, counted):
            mine = partial(ours, bench.generator, endpoint, concurrency, bench.scratch)
            rivals: dict[str, tuple[Side, Callable[[list[Round], list[Round]], bool]]] = {
                "wrk": (
                    partial(wrk, endpoint, concurrency, GENERATOR, bench.scratch),
                    lambda a, b: tight(_rps(a, b)),
                ),
                "perf_analyzer": (
                    _perf_analyzer(bench, endpoint, model, "http", concurrency, counted),
                    lambda a, b: tight(_rps(a, b)) and tight(_cpu(a, b)),
                ),
                "locust": (_locust(bench, endpoint, concurrency, counted), lambda a, b: tight(_cpu(a, b))),
            }
            for rival, (side, enough) in rivals.items():
                pair = _pair(bench, "Triton", "HTTP", concurrency, rival, mine, side, enough)
                if pair is not None and concurrency == IN_FLIGHT:
                    _http_bars(bench.results, rival, *pair)


def triton_grpc(bench: Bench) -> None:
    """Compare with perf_analyzer over gRPC."""
    for concurrency in (IN_FLIGHT, *OTHERS_IN_FLIGHT):
        with digits("grpc", concurrency, bench.scratch, SERVER) as (endpoint, model, counted):
            mine = partial(ours, bench.generator, endpoint, concurrency, bench.scratch)
            side = _perf_analyzer(bench, endpoint, model, "grpc", concurrency, counted)
            pair = _pair(
                bench,
                "Triton",
                "gRPC",
                concurrency,
                "perf_analyzer",
                mine,
                side,
                lambda a, b: tight(_rps(a, b)) and tight(_cpu(a, b)),
            )
            if pair is not None and concurrency == IN_FLIGHT:
                rps, cpu = _rps(*pair), _cpu(*pair)
                bar = bench.results.bar
                bar(
                    "gRPC: req/s, ours / perf_analyzer",
                    rps,
                    f">= {MIN_PA_GRPC_RATIO}",
                    at_least(rps, MIN_PA_GRPC_RATIO),
                )
                bar(
                    "gRPC: CPU per request, ours / perf_analyzer",
                    cpu,
                    f"<= {MAX_PA_GRPC_CPU_RATIO}",
                    at_most(cpu, MAX_PA_GRPC_CPU_RATIO),
                )


def null_server(bench: Bench) -> None:
    """How many requests one core of ours can make, against a server that does nothing."""
    with NullServer(frozenset({SERVER})) as server:
        mine = partial(ours, bench.generator, server.endpoint, IN_FLIGHT, bench.scratch)
        side = partial(wrk, server.endpoint, IN_FLIGHT, GENERATOR, bench.scratch)
        pair = _pair(bench, "null", "HTTP", IN_FLIGHT, "wrk", mine, side, lambda a, _: len(a) >= 20)
        rounds = pair[0] if pair else [mine() for _ in range(bench.rounds or 20)]
        best = float(np.quantile([one.rps for one in rounds], 0.9))
        middle = float(np.median([one.rps for one in rounds]))
        shown = f"{middle:,.0f}/s (median of {len(rounds)} rounds; one in ten over {best:,.0f}/s)"
        bench.results.bar("null server, one core", shown, f">= {MIN_NULL_RPS:,}/s", middle >= MIN_NULL_RPS)


def open_loop(bench: Bench) -> None:
    """How late an open loop sends, against a server that does nothing."""
    with NullServer(frozenset({SERVER})) as server:
        for rate, max_delay, max_share in (
            (OPEN_SLOW_RPS, MAX_OPEN_SLOW_DELAY_S, MAX_OPEN_SLOW_SHARE),
            (OPEN_FAST_RPS, MAX_OPEN_FAST_DELAY_S, None),
        ):
            rounds = [
                measured(bench.generator, _open_plan(bench, server.endpoint, rate)) for _ in range(bench.rounds or 11)
            ]
            bench.results.row("null", "ours, open loop", f"{rate:,}/s", rounds)
            delay = float(np.median([one.issue_delay_p99_s for one in rounds]))
            worst = max(one.issue_delay_p99_s for one in rounds)
            shown = f"{delay * 1e6:.0f} us (median of {len(rounds)} rounds, the worst {worst * 1e6:.0f} us)"
            bench.results.bar(
                f"open loop at {rate:,}/s: issue delay p99", shown, f"<= {max_delay * 1e6:.0f} us", delay <= max_delay
            )
            share = float(np.median([one.cpu_share for one in rounds]))
            if max_share is not None:
                bench.results.bar(
                    f"open loop at {rate:,}/s: CPU", f"{share:.1%} of a core", f"<= {max_share:.0%}", share <= max_share
                )


def streams(bench: Bench) -> None:
    """How late the events of many streams are read."""
    delays, shares = [], []
    for _ in range(bench.rounds or 3):
        delay, share = _streams_round(bench)
        delays.append(delay)
        shares.append(share)
    middle = float(np.median(delays))
    shown = (
        f"{middle * 1e3:.2f} ms (median of {len(delays)} rounds, the worst {max(delays) * 1e3:.2f} ms), "
        f"{float(np.median(shares)):.0%} of a core"
    )
    what = f"{STREAMS:,} streams of {1e3 / STREAM_PERIOD_MS:g} events/s: delay p99"
    bench.results.bar(what, shown, f"<= {MAX_STREAM_DELAY_S * 1e3:g} ms", middle <= MAX_STREAM_DELAY_S)


def connections(bench: Bench) -> None:
    """Whether the load keeps its time with very many connections open."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < CONNECTIONS + 100:
        bench.results.bar(f"{CONNECTIONS:,} connections", f"only {hard} files may be open here", "all open", False)
        return
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # for the server, which inherits it
    with NullServer(frozenset({SERVER})) as server:
        plan = Plan(
            endpoint=server.endpoint,
            load=ClosedLoop(CONNECTIONS, np.zeros(1, np.int32), think_ns=always(round(CONNECTIONS_THINK_S * 1e9))),
            start_ns=time.monotonic_ns() + 5_000_000_000,
            warmup_ns=round(CONNECTIONS_THINK_S * 1e9),
            window_ns=round(CONNECTIONS_S * 1e9),
            timeout_ns=2_000_000_000,
            records_path=bench.scratch / "round.bin",
        )
        begun = time.monotonic_ns()
        bench.generator.begin(plan)
        time.sleep((plan.window[0] - begun) / 1e9 + 1)
        opened = _connections_of(bench.generator.pids[0])
        run = bench.generator.finish()
        failed = int(np.sum(run.records.rows["outcome"] != Outcome.OK))
        report = run.report
        shown = f"{opened:,} open, {failed} of {report.requests:,} requests failed, {report.cpu_share:.0%} of a core"
        bench.results.bar(
            f"{CONNECTIONS:,} connections", shown, "all open, no failure", opened >= CONNECTIONS and not failed
        )


def ten_million(bench: Bench) -> None:
    """Whether 10 million records fit; `benchmarks/records.py` measures it."""
    _, costs = records.measure(bench.rounds or 3)
    worst = max(cost.seconds for cost in costs), max(cost.peak_rss_bytes for cost in costs)
    bench.results.bar(
        "summary of 10 million records",
        f"{worst[0]:.1f} s, {worst[1] / 2**20:.0f} MiB",
        f"<= {records.MAX_SECONDS:g} s, {records.MAX_RSS_BYTES / 2**20:.0f} MiB",
        all(records.within_bars(cost) for cost in costs),
    )


SECTIONS: dict[str, Callable[[Bench], None]] = {
    "triton-http": triton_http,
    "triton-grpc": triton_grpc,
    "null": null_server,
    "open-loop": open_loop,
    "streams": streams,
    "connections": connections,
    "records": ten_million,
}


def _perf_analyzer(
    bench: Bench, endpoint: Endpoint, model: str, protocol: str, concurrency: int, counted: Callable[[], int]
) -> Side:
    def side() -> Round:
        executable = find("perf_analyzer", bench.peers)
        url = f"{endpoint.host}:{endpoint.port}"
        return perf_analyzer(url, model, protocol, concurrency, GENERATOR, counted, executable)

    return side


def _locust(bench: Bench, endpoint: Endpoint, concurrency: int, counted: Callable[[], int]) -> Side:
    def side() -> Round:
        return locust(endpoint, concurrency, GENERATOR, counted, find("locust", bench.peers), bench.scratch)

    return side


def _pair(
    bench: Bench,
    server: str,
    protocol: str,
    concurrency: int,
    rival: str,
    mine: Side,
    theirs: Side,
    enough: Callable[[list[Round], list[Round]], bool],
) -> tuple[list[Round], list[Round]] | None:
    """Measure ours against a rival's in turn; None when the rival is missing."""
    found: tuple[list[Round], list[Round]] = ([], [])
    main = concurrency == IN_FLIGHT
    try:
        in_turn(
            [lambda: found[0].append(mine()), lambda: found[1].append(theirs())],
            lambda: enough(*found),
            bench.seconds if main else 0.0,
            bench.rounds,
        )
    except Missing as missing:
        bench.results.miss(str(missing))
        return None
    load = f"{protocol}, {concurrency} in flight"
    bench.results.row(server, f"ours (with {rival})", load, found[0])
    bench.results.row(server, rival, load, found[1])
    print(f"          ours / {rival}: req/s {_rps(*found)}, CPU per request {_cpu(*found)}", flush=True)
    return found


def _http_bars(results: Results, rival: str, mine: list[Round], theirs: list[Round]) -> None:
    rps, cpu = _rps(mine, theirs), _cpu(mine, theirs)
    if rival == "wrk":
        results.bar("HTTP: req/s, ours / wrk", rps, f">= {MIN_WRK_RATIO}", at_least(rps, MIN_WRK_RATIO))
    elif rival == "perf_analyzer":
        results.bar(
            "HTTP: req/s, ours / perf_analyzer", rps, f">= {MIN_PA_HTTP_RATIO}", at_least(rps, MIN_PA_HTTP_RATIO)
        )
        what = "HTTP: CPU per request, ours / perf_analyzer"
        results.bar(what, cpu, f"<= {MAX_PA_HTTP_CPU_RATIO}", at_most(cpu, MAX_PA_HTTP_CPU_RATIO))
    else:
        what = "HTTP: CPU per request, ours / Locust"
        results.bar(what, cpu, f"<= {MAX_LOCUST_CPU_RATIO}", at_most(cpu, MAX_LOCUST_CPU_RATIO))


def _rps(mine: list[Round], theirs: list[Round]) -> Ratio:
    return ratio([one.rps for one in mine], [one.rps for one in theirs])


def _cpu(mine: list[Round], theirs: list[Round]) -> Ratio:
    return ratio([one.cpu_s for one in mine], [one.cpu_s for one in theirs])


def _open_plan(bench: Bench, endpoint: Endpoint, rate: float) -> Plan:
    window_s = 2.0
    return Plan(
        endpoint=endpoint,
        load=OpenLoop(make_schedule(Constant(rate), WARMUP_S + window_s, Order(1), seed=0), 64),
        start_ns=time.monotonic_ns() + 100_000_000,
        warmup_ns=round(WARMUP_S * 1e9),
        window_ns=round(window_s * 1e9),
        timeout_ns=2_000_000_000,
        records_path=bench.scratch / "round.bin",
    )


def _streams_round(bench: Bench) -> tuple[float, float]:
    """Return the p99 of the time from an event's sending to its reading, in seconds, and the generator's CPU share."""
    run = streamed(bench.generator, STREAMS, STREAM_EVENTS, STREAM_PERIOD_MS, SERVER, bench.scratch)
    delays_s = (run.read_ns - run.sent_ns) / 1e9
    return float(np.quantile(delays_s, 0.99, method="inverted_cdf")), run.cpu_share


def _connections_of(pid: int) -> int:
    return sum(1 for fd in Path(f"/proc/{pid}/fd").iterdir() if str(fd.readlink()).startswith("socket:"))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", type=Path, help="folder of the peers' commands")
    parser.add_argument("--rounds", type=int, help="rounds of each side at most")
    parser.add_argument("--minutes", type=float, default=10.0, help="time of a ratio at most")
    parser.add_argument("--only", nargs="+", choices=list(SECTIONS), help="sections to run")
    parser.add_argument("--json", type=Path, help="file of what was measured: sections that are run are replaced")
    parser.add_argument("--docs", action="store_true", help="write the tables into docs/benchmarks.md")
    return parser.parse_args()


def _end(sections: Mapping[str, Results]) -> NoReturn:
    bars = [bar for section in sections.values() for bar in section.bars]
    missed = [bar for bar in bars if not bar["met"]]
    print(f"{len(bars) - len(missed)} of {len(bars)} bars met")
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
