"""A load generator made of agents: a plan is dealt out to them, and their records are put together."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import Any

import numpy as np
import psutil
from numpy.typing import NDArray

from tuner.load.distributed.fleet import AgentsLost, AgentsUnavailable, Fleet
from tuner.load.distributed.options import AgentInfo, is_loopback
from tuner.load.distributed.wire import packed_endpoint, packed_plan, report_of, shifted_rows, unpacked_records
from tuner.load.generator import GeneratorError, LoadLost, LoadRun, shares
from tuner.load.plan import AgentReport, Plan, Rewindow, RunReport, merged_reports
from tuner.records import ROW, Records, merged

LEAD_NS = 50_000_000
"""A start is agreed on this long before it, beside what messages take."""
AHEAD_NS = 20_000_000
ROUND_TRIPS = 4
_CONNECT_NS = 30_000_000
_MARGIN_S = 60.0


@dataclass
class _Share:
    """An agent's part of the present plan.

    Attributes:
        agent: whose.
        rtt_ns: the shortest round trip to it.
        start_ns: of the load, on its own clock.
        ahead_ns: how long before that it had the plan.
        seen: the rows of it that were looked at so far, on this host's clock.
    """

    agent: AgentInfo
    rtt_ns: int
    start_ns: int = 0
    ahead_ns: int = 0
    seen: list[NDArray[np.void]] | None = None


class AgentGenerator:
    """Makes a load on the agents of a fleet, as a `Generator` does on this host.

    A plan is dealt out to the agents, and each deals its part out to its processes: the parts add up to the plan's, and
    with one agent or many it is the same load.

    Args:
        fleet: the agents.
        processes: of the load generator on each agent.
        lane: which of the loads that are made at the same time.

    Attributes:
        fleet: as given.
    """

    def __init__(self, fleet: Fleet, processes: int = 1, lane: int = 0) -> None:
        self.fleet, self._processes, self._lane = fleet, processes, lane
        self._shares: dict[int, _Share] = {}
        self._plan: Plan | None = None
        self._lost: LoadLost | None = None
        self._lost_until_ns = 0

    @property
    def starts_ns(self) -> dict[int, int]:
        """The start of the present plan on the monotonic clock of each agent, by its index."""
        return {index: share.start_ns for index, share in self._shares.items()}

    @property
    def ahead_ns(self) -> int:
        """What a message takes to the farthest agent and back, and some."""
        return AHEAD_NS + 2 * self._farthest_ns

    @property
    def _farthest_ns(self) -> int:
        return max((one.rtt_ns for one in self._shares.values()), default=0)

    def ready(self) -> None:
        """Agents start their load generators with the first plan."""

    def prepare(self, plan: Plan) -> int:
        """Give each agent its part, all but the moment of its start, and compare the clocks.

        Where an agent was lost, it is waited until its load has ended.

        Returns:
            How far ahead of `begin` the start has to be, in ns.

        Raises:
            LoadLost, GeneratorError: an agent was lost, or could not take its part.
            AgentsUnavailable: none is left and none comes, or the server is not to be reached from other machines.
        """
        agents = self.fleet.refresh()
        check_reach(plan.endpoint.host, agents)
        self._outlast_the_lost()
        parts = shares(plan, len(agents))
        dealt = dict(zip([one.index for one in agents], parts, strict=False))
        plans = {index: packed_plan(replace(part, worker=0)) for index, part in dealt.items()}
        clocks = self.fleet.call("prepare", self._lane, self._processes, packed_endpoint(plan.endpoint), plans)
        self._lost = None
        self._shares = {one.index: _Share(one, clocks[one.index][1]) for one in agents if one.index in clocks}
        return LEAD_NS + ROUND_TRIPS * self._farthest_ns

    def begin(self, plan: Plan) -> None:
        """Tell the agents when the plan that was prepared starts: at one moment of this host's clock.

        Raises:
            LoadLost, GeneratorError: an agent was lost, or could not start.
        """
        self._plan = plan
        for index, (start_ns, ahead_ns) in self._call("start", plan.start_ns, list(self._shares)).items():
            share = self._shares[index]
            share.start_ns, share.ahead_ns, share.seen = start_ns, ahead_ns, []

    def look(self) -> NDArray[np.void]:
        """Return the requests of the running plan that have ended so far, array [n] of records.ROW, in no order.

        Raises:
            LoadLost, GeneratorError: an agent was lost, or cannot say.
        """
        for index, rows in self._call("look", list(self._shares)).items():
            share = self._shares[index]
            assert share.seen is not None, "it runs"
            share.seen.append(shifted_rows(rows, self._present.start_ns - share.start_ns))
        return np.concatenate([np.zeros(0, ROW), *(part for one in self._shares.values() for part in one.seen or ())])

    def on_their_way(self) -> None:
        """Of the load engine the plan and the requests that ended tell it, see `Generator.on_their_way`."""
        return

    def rewindow(self, window: Rewindow) -> None:
        """Give the running plan another window, a little ahead of time; the load ends with it."""
        start_ns = self._present.start_ns
        self._call("rewindow", window.start_ns - start_ns, window.end_ns - start_ns, list(self._shares))
        self._plan = window.of(self._present)  # an agent that is lost in it goes on with the window that it had

    def finish(self) -> LoadRun:
        """Wait for the end of the plan and put together what the agents recorded.

        Raises:
            LoadLost: an agent was lost: the measurement is worth nothing, the others can make another one.
            GeneratorError: an agent could not run it.
        """
        plan, lost = self._present, self._lost
        if not self._shares:
            raise lost or LoadLost("no agent is left to make the load")
        longest_s = (plan.warmup_ns + plan.window_ns + 2 * plan.timeout_ns) / 1e9 + _MARGIN_S
        ended = self._call("finish", longest_s, list(self._shares))
        if lost is not None:
            raise lost
        try:
            records = merged([self._records(index, one) for index, one in ended.items()])
            report = merged_reports([self._report(index, one) for index, one in ended.items()])
        except (KeyError, ValueError, TypeError) as error:
            raise GeneratorError(f"an agent reported what cannot be read: {error!r}") from None
        return LoadRun(records, replace(report, notes=self.fleet.untold()))

    def run(self, plan: Plan) -> LoadRun:
        """Run a plan, on those that are left once more where an agent is lost; it starts when all are ready.

        Raises:
            GeneratorError: an agent could not run it, or some were lost in each of MOST_ATTEMPTS.
            AgentsUnavailable: none is left, and none comes.
        """
        for attempt in count(1):
            try:
                lead_ns = self.prepare(plan)
                self.begin(replace(plan, start_ns=time.monotonic_ns() + lead_ns + _CONNECT_NS))
                return self.finish()
            except LoadLost as lost:
                if (error := lost.after(attempt)) is not None:
                    raise error from None
        raise AssertionError("it counts on for ever")

    @property
    def _present(self) -> Plan:
        assert self._plan is not None, "a plan has begun"
        return self._plan

    def _call(self, name: str, *arguments: Any) -> dict[int, Any]:
        """Have the agents of the present plan do something; of those that are lost in it nothing more is wanted."""
        try:
            return self.fleet.call(name, self._lane, *arguments) or {}
        except AgentsLost as error:
            self._lost = error
            if error.silent:
                until_ns = self._present.window[1] + self._present.timeout_ns
                self._lost_until_ns = max(self._lost_until_ns, until_ns)
            left = {one.index for one in self.fleet.agents}
            self._shares = {index: share for index, share in self._shares.items() if index in left}
            raise

    def _outlast_the_lost(self) -> None:
        """Wait until an agent that was lost without a word has nothing left to send.

        It may be stopped or cut off, while its load generators, processes of their own, go on: what they send would
        come on top of the load that the others make.
        """
        left_s = (self._lost_until_ns - time.monotonic_ns()) / 1e9
        if left_s > 0:
            self.fleet.say(f"waiting {left_s:.1f} s: until then an agent that was lost may still send its part")
            time.sleep(left_s)

    def _records(self, index: int, ended: dict[str, Any]) -> Records:
        shift_ns = self._present.start_ns - self._shares[index].start_ns
        first = index * self._processes
        return unpacked_records(ended["rows"], ended["events"], shift_ns, first, self._present.window)

    def _report(self, index: int, ended: dict[str, Any]) -> RunReport:
        share, report = self._shares[index], report_of(ended["report"], ended["answers"])
        agent = AgentReport(
            name=share.agent.name,
            cores=share.agent.cores,
            workers=(index * self._processes, (index + 1) * self._processes),
            cpu_share=report.cpu_share,
            longest_stall_s=report.longest_stall_s,
            rtt_s=share.rtt_ns / 1e9,
            start_skew_s=share.rtt_ns / 2e9,
            late_s=max(0, -share.ahead_ns) / 1e9,
        )
        return replace(report, agents=(agent,))


def generators_on(fleet: Fleet, processes: int, lanes: int) -> list[AgentGenerator]:
    """Return generators for so many loads at the same time, each on every agent."""
    return [AgentGenerator(fleet, processes, fleet.new_lane()) for _ in range(lanes)]


def check_reach(host: str, agents: Sequence[AgentInfo]) -> None:
    """Check that every agent can reach a server. Raises AgentsUnavailable."""
    if not is_loopback(host):
        return
    own = {one.address for addresses in psutil.net_if_addrs().values() for one in addresses}
    far = [one.name for one in agents if not one.is_local and one.address not in own]
    if far:
        raise AgentsUnavailable(
            f"the server is at {host}, where {', '.join(far)} cannot reach it: with agents on other "
            "machines use a server that has an address of its own (`target.url`, or `target.launch: remote`)"
        )
