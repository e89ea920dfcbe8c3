"""Do two agents hold a rate that one cannot?

Every agent on this host has a control group of its own, with a small part of a CPU's time, so that its CPU time is what
limits it and not the cores, which are few and which the server needs, too. A closed loop finds out what one agent
makes; an open loop of OVER times that is then offered by one agent and by two, in turn. It is held when all requests of
the window were sent in it.

    python benchmarks/agent_capacity.py [--rounds N] [--json PATH] [--docs]

It takes the right to make control groups (root), of version 1 or 2.
"""

import json
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median

import numpy as np
import options
import psutil
from agents import IN_FLIGHT, PAGE, SECRET, agent_processes
from tables import markdown, write_section

from tuner.load.distributed.fleet import Fleet
from tuner.load.distributed.generator import AgentGenerator
from tuner.load.distributed.options import AgentsWanted
from tuner.load.distributed.trust import TOKEN
from tuner.load.null_server import NullServer
from tuner.load.plan import ClosedLoop, OpenLoop, Plan
from tuner.metrics import generator_report
from tuner.slo import Slo
from tuner.validity import spoiled
from workloads.arrivals import Poisson
from workloads.order import Order
from workloads.schedule import make_schedule

ROUNDS = 3
OVER = 1.3
PERIOD_US, QUOTA_US = 5_000, 1_000
WARMUP_S, WINDOW_S = 1.0, 3.0
HELD = 0.99
"""Share of the requests of the window that have to be sent within it."""
GROUPS = Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class Found:
    """What was measured of one round.

    Attributes:
        agents: how many.
        offered_rps: of the open loop.
        sent_rps: requests sent in the window, per second.
        delay_p99_s: issue delay, p99.
        refused: whether a measurement that is made so counts as spoiled by the load generator.
    """

    agents: int
    offered_rps: float
    sent_rps: float
    delay_p99_s: float
    refused: bool

    @property
    def held(self) -> bool:
        """Whether the load was made as it was asked for."""
        return self.sent_rps >= HELD * self.offered_rps


def main() -> int:
    """Return 1 when a bar is missed, 2 where control groups cannot be made."""
    given = options.parse(__doc__, ROUNDS, "of each number of agents", "docs/scale.md")
    os.environ[TOKEN] = SECRET
    found: list[Found] = []
    with tempfile.TemporaryDirectory() as folder, NullServer() as server, ExitStack() as stack:
        try:
            groups = [stack.enter_context(group(f"paretune-agent{index}")) for index in range(2)]
        except OSError as error:
            print(f"no control group can be made here: {error}", file=sys.stderr)
            return 2
        fleets = [stack.enter_context(limited_fleet(groups[:count])) for count in (1, 2)]
        plan = Plan(
            server.endpoint,
            closed(),
            0,
            round(WARMUP_S * 1e9),
            round(WINDOW_S * 1e9),
            2_000_000_000,
            Path(folder) / "records.bin",
        )
        alone_rps = [completed_rps(fleets[0], plan) for _ in range(given.rounds)]
        rate_rps = OVER * median(alone_rps)
        schedule = make_schedule(Poisson(rate_rps), WARMUP_S + WINDOW_S, Order(1), seed=1)
        loop = replace(plan, load=OpenLoop(schedule, 32))
        for _ in range(given.rounds):
            for fleet in fleets:
                found.append(measured(fleet, loop))
                print(found[-1], flush=True)
    table = table_of(found, median(alone_rps))
    print(table)
    if given.docs:
        write_section("agent_capacity", table, PAGE)
    if given.json:
        given.json.write_text(json.dumps([asdict(one) for one in found], indent=1) + "\n")
    return 0 if all(one.held == (one.agents == 2) for one in found) else 1


@contextmanager
def group(name: str) -> Iterator[Path]:
    """Make a control group with a part of a CPU's time. Raises OSError where that is not allowed."""
    first = (GROUPS / "cpu" / "cpu.cfs_quota_us").exists()
    place = (GROUPS / "cpu" if first else GROUPS) / name
    place.mkdir()
    try:
        if first:
            (place / "cpu.cfs_period_us").write_text(str(PERIOD_US))
            (place / "cpu.cfs_quota_us").write_text(str(QUOTA_US))
        else:
            (place / "cpu.max").write_text(f"{QUOTA_US} {PERIOD_US}")
        yield place
    finally:
        for pid in (place / "cgroup.procs").read_text().split():
            (place.parent / "cgroup.procs").write_text(pid)
        place.rmdir()


@contextmanager
def limited_fleet(groups: Sequence[Path]) -> Iterator[Fleet]:
    """Start a master, and an agent for each group, which it enters once it has joined."""
    with (
        Fleet(AgentsWanted(len(groups), port=0), SECRET.encode(), lambda _: None) as fleet,
        agent_processes(fleet.port, len(groups)) as processes,
    ):
        fleet.wait()
        for place, agent in zip(groups, processes, strict=True):
            own = psutil.Process(agent.pid)
            for one in (own, *own.children(recursive=True)):
                (place / "cgroup.procs").write_text(str(one.pid))
        yield fleet


def closed() -> ClosedLoop:
    """Return a closed loop that keeps an agent busy."""
    return ClosedLoop(IN_FLIGHT, np.zeros(1, np.int32))


def completed_rps(fleet: Fleet, plan: Plan) -> float:
    """Return the answers per second of a plan."""
    run = AgentGenerator(fleet).run(plan)
    return int(np.diff(np.searchsorted(run.records.completed_ns(), run.records.windows_ns[0]))[0]) / WINDOW_S


def measured(fleet: Fleet, loop: Plan) -> Found:
    """Offer the open loop."""
    run = AgentGenerator(fleet).run(loop)
    rows, (_, end_ns) = run.records.in_window(ordered=False), run.records.windows_ns[0]
    report = generator_report(run.records, run.report)
    return Found(
        agents=len(run.report.agents),
        offered_rps=len(rows) / WINDOW_S,
        sent_rps=int(np.count_nonzero((rows["sent_ns"] > 0) & (rows["sent_ns"] < end_ns))) / WINDOW_S,
        delay_p99_s=report.issue_delay_p99_s,
        refused=bool(spoiled(run.records, run.report, Slo({}))),
    )


def table_of(found: list[Found], alone_rps: float) -> str:
    """Return the table of the documentation."""
    rows = []
    for count in (1, 2):
        mine = [one for one in found if one.agents == count]
        offered, sent, delay = (
            median(getattr(one, name) for one in mine) for name in ("offered_rps", "sent_rps", "delay_p99_s")
        )
        held = sum(one.held for one in mine)
        rows.append([count, f"{offered:,.0f}/s", f"{sent:,.0f}/s", f"{delay * 1e3:,.1f} ms", f"{held} of {len(mine)}"])
    columns = ["agents", "offered", "sent in the window", "issue delay p99", "held"]
    said = (
        f"Each agent has {QUOTA_US / PERIOD_US:.0%} of a CPU's time, with which one makes {alone_rps:,.0f} requests "
        f"per second in a closed loop. Medians of {len(found) // 2} rounds. Bar: one never holds it, two always do."
    )
    return f"{markdown(columns, rows)}\n\n{said}"


if __name__ == "__main__":
    sys.exit(main())
