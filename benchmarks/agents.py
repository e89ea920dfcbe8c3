"""Do several agents make the same load as one machine, and how many records go through the master?

1, 2 and 4 agents on this host, each with a load generator of one process, against a server that does nothing: the same
open loop by each number of agents, and a closed loop whose records are then fetched, which is timed from the last
answer on. The records of the open loop are held against those of a load generator without agents.

    python benchmarks/agents.py [--rounds N] [--json PATH] [--docs]
"""

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import options
from tables import markdown, write_section

from tuner.load.distributed.fleet import Fleet
from tuner.load.distributed.generator import AgentGenerator
from tuner.load.distributed.options import AgentsWanted
from tuner.load.distributed.trust import TOKEN
from tuner.load.generator import Generator, LoadRun
from tuner.load.null_server import NullServer
from tuner.load.plan import ClosedLoop, OpenLoop, Plan
from tuner.metrics import generator_report
from tuner.records import ROW
from workloads.arrivals import Poisson
from workloads.order import Order
from workloads.schedule import make_schedule

PAGE = Path(__file__).parent.parent / "docs" / "scale.md"
ROUNDS = 3
AGENTS = (1, 2, 4)
RATE_RPS, WINDOW_S = 2_000.0, 2.0
CLOSED_S, IN_FLIGHT = 2.0, 8
MIN_RECORDS_PER_S = 50_000
"""Records that have to go through the master per second, by each number of agents."""
SECRET = "the token of this benchmark"  # noqa: S105 - of agents on loopback that live for a minute


@dataclass(frozen=True)
class Found:
    """What was measured of one round.

    Attributes:
        agents: how many.
        offered_rps: of the open loop.
        achieved_rps: answers per second of it.
        same: whether intended times and requests are those of a load generator without agents.
        skew_bound_s: how far the starts may be apart, as reported.
        skew_s: how far they were: agents of one host share its clock.
        delay_p99_s: issue delay of the open loop, p99.
        records_per_s: fetched after the closed loop, from its last answer to the merged records.
        master_bytes: by which the master's peak memory grew for each of these records.
        tuner_bytes: the same of this process, which puts them together as the tuner does.
    """

    agents: int
    offered_rps: float
    achieved_rps: float
    same: bool
    skew_bound_s: float
    skew_s: float
    delay_p99_s: float
    records_per_s: float
    master_bytes: float
    tuner_bytes: float


def main() -> int:
    """Return 1 when a bar is missed."""
    given = options.parse(__doc__, ROUNDS, "of each number of agents", "docs/scale.md")
    os.environ[TOKEN] = SECRET
    found: list[Found] = []
    with tempfile.TemporaryDirectory() as folder, NullServer() as server:
        open_loop, closed = plans(server, Path(folder))
        with Generator() as alone:
            single = alone.run(replace(open_loop, start_ns=time.monotonic_ns() + 50_000_000))
        own = resident(os.getpid())
        for agents in AGENTS:
            with fleet_of(agents) as fleet:
                base = {fleet.pid: resident(fleet.pid), os.getpid(): own}
                found += [measured(fleet, (open_loop, closed), single, base) for _ in range(given.rounds)]
            print(line(median(found, agents)), flush=True)
    table = table_of(found)
    print(table)
    if given.docs:
        write_section("agents", table, PAGE)
    if given.json:
        given.json.write_text(json.dumps([asdict(one) for one in found], indent=1) + "\n")
    met = [one.same and median(found, one.agents).records_per_s >= MIN_RECORDS_PER_S for one in found]
    return 0 if all(met) else 1


def plans(server: NullServer, folder: Path) -> tuple[Plan, Plan]:
    """Return the open loop, and the closed one whose records are fetched."""
    schedule = make_schedule(Poisson(RATE_RPS), WINDOW_S, Order(1), seed=1)
    window_ns = round(WINDOW_S * 1e9)
    one = Plan(server.endpoint, OpenLoop(schedule, 32), 0, 0, window_ns, 2_000_000_000, folder / "records.bin")
    closed = ClosedLoop(IN_FLIGHT, np.zeros(1, np.int32))
    return one, replace(one, load=closed, window_ns=round(CLOSED_S * 1e9))


@contextmanager
def fleet_of(count: int) -> Iterator[Fleet]:
    """Start a master and agents on this host."""
    with (
        Fleet(AgentsWanted(count, port=0), SECRET.encode(), lambda _: None) as fleet,
        agent_processes(fleet.port, count),
    ):
        fleet.wait()
        yield fleet


@contextmanager
def agent_processes(port: int, count: int) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Start agents of a master on this host; kill them at the end."""
    command = [sys.executable, "-m", "tuner", "agent", "--master", f"127.0.0.1:{port}"]
    processes = [subprocess.Popen(command, stderr=subprocess.DEVNULL) for _ in range(count)]
    try:
        yield processes
    finally:
        for one in processes:
            one.kill()
            one.wait()


def measured(fleet: Fleet, plans: tuple[Plan, Plan], single: LoadRun, base: Mapping[int, int]) -> Found:
    """Run a round.

    Args:
        fleet: has the agents.
        plans: the open loop, and the closed one.
        single: the open loop without agents.
        base: process id of the master, and of this process -> resident memory before any round, bytes.
    """
    generator, (open_loop, closed) = AgentGenerator(fleet), plans
    run = generator.run(open_loop)
    start_ns = run.records.windows_ns[0][0]
    skews = [abs(theirs - start_ns) / 1e9 for theirs in generator.starts_ns.values()]
    for pid in base:
        forget_peak(pid)
    fetched = generator.run(closed)
    took_s = (time.monotonic_ns() - int(fetched.records.rows["done_ns"].max())) / 1e9
    grown = {pid: (resident(pid, "VmHWM") - bytes_) / len(fetched.records.rows) for pid, bytes_ in base.items()}
    return Found(
        agents=len(run.report.agents),
        offered_rps=len(run.records.rows) / WINDOW_S,
        achieved_rps=int(np.diff(np.searchsorted(run.records.completed_ns(), run.records.windows_ns[0]))[0]) / WINDOW_S,
        same=np.array_equal(sent(run), sent(single)),
        skew_bound_s=max(agent.start_skew_s for agent in run.report.agents),
        skew_s=max(skews),
        delay_p99_s=generator_report(run.records, run.report).issue_delay_p99_s,
        records_per_s=len(fetched.records.rows) / took_s,
        master_bytes=grown[fleet.pid],
        tuner_bytes=grown[os.getpid()],
    )


def sent(run: LoadRun) -> np.ndarray:
    """Return when requests were due, from the start, and which they were, shape [2, n]."""
    rows = run.records.rows.in_order_of("intended_ns")
    return np.stack([rows["intended_ns"] - run.records.windows_ns[0][0], rows["request"]])


def forget_peak(pid: int) -> None:
    """Have the kernel count the peak memory of a process anew."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def resident(pid: int, field: str = "VmRSS") -> int:
    """Return the resident memory of a process in bytes."""
    found = re.search(rf"{field}:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found is not None, "every process has it"
    return int(found[1]) * 1024


def median(found: list[Found], agents: int) -> Found:
    """Return the medians of the rounds of a number of agents; the schedule has to be the same in each."""
    mine = [one for one in found if one.agents == agents]
    middle = {name: float(np.median([getattr(one, name) for one in mine])) for name in asdict(mine[0])}
    return Found(**{**middle, "agents": agents, "same": all(one.same for one in mine)})


def line(one: Found) -> str:
    """Return a round for the terminal."""
    return f"  {one.agents} agents: same schedule {one.same}, {one.records_per_s:,.0f} records/s through the master"


def table_of(found: list[Found]) -> str:
    """Return the table of the documentation."""
    columns = [
        "agents",
        "offered",
        "achieved",
        "the schedule of one machine",
        "issue delay p99",
        "starts apart, at most",
        "starts apart, in fact",
        "records through the master",
        "peak memory of the master per record",
        "of the tuner",
    ]
    rows = [
        (
            one.agents,
            f"{one.offered_rps:,.0f}/s",
            f"{one.achieved_rps:,.0f}/s",
            "yes" if one.same else "**no**",
            f"{one.delay_p99_s * 1e3:.2f} ms",
            f"{one.skew_bound_s * 1e3:.2f} ms",
            f"{one.skew_s * 1e3:.2f} ms",
            f"{one.records_per_s:,.0f}/s",
            f"{one.master_bytes:.0f} bytes",
            f"{one.tuner_bytes:.0f} bytes",
        )
        for one in (median(found, agents) for agents in AGENTS)
    ]
    rounds = len(found) // len(AGENTS)
    said = f"Medians of {rounds} rounds. A record is {ROW.itemsize} bytes."
    bars = f"Bars: the schedule is the same in every round, and {MIN_RECORDS_PER_S:,} records/s go through the master."
    return f"{markdown(columns, rows)}\n\n{said} {bars}"


if __name__ == "__main__":
    sys.exit(main())
