"""Whether the load generators kept out of a measurement's way, and what else to know of it. Pure."""

from collections.abc import Mapping, Sequence

import numpy as np

from targets.base import Outcome, ServerHung
from tuner import results
from tuner.catalog import BOUNDED, METRICS
from tuner.load.plan import NAMES, Named, RunReport
from tuner.metrics import generator_report
from tuner.records import Records
from tuner.request_class import Part
from tuner.results import Estimate, Point
from tuner.run_info import Agent
from tuner.runs import Run
from tuner.slo import Slo
from tuner.stats import P99_MIN_SAMPLES, certain_from
from tuner.timings import misplaced
from tuner.usage_metrics import throttled
from tuner.workload import Workload

MAX_ISSUE_DELAY_S = 1e-3
MAX_ISSUE_DELAY_SHARE = 0.05
MAX_GENERATOR_CPU = 0.9
BUSY_GENERATOR_CPU = 0.6
MAX_KEPT_SHARE = 0.1
"""Share of a window for which a load generator may be kept from its CPU without a word."""
MAX_HELD_BACK_SHARE = 0.01
MOST_NAMES = 10
MAX_KEPT_S = 5e-3
"""For so long Locust's process may be kept from its users without a word."""
MAX_RAISED_SHARE = 0.01
"""Exceptions that tasks of a locustfile may raise by themselves, as a share of the requests."""
LOCUST_ADVICE = (
    "a locustfile runs in one process: take fewer users or longer waits, FastHttpUser in place of HttpUser, or "
    "describe the traffic by `arrival` and `requests`, which take less"
)


def reasons(run: Run, name: str, slos: Mapping[str, Slo], shared_cpus: int | None) -> list[str]:
    """Return why a measurement of a workload is worth nothing, [] where it is.

    Where several workloads were measured at once, a load that was not as it should be has spoiled all of them: the
    others were not in its way as they would be in production.

    Args:
        run: of the workload.
        name: its name.
        slos: workload -> what is asked of it.
        shared_cpus: how many CPUs the processes of all load generators share; None: each has its own, or any.
    """
    found = spoiled(run.records, run.report, slos[name])
    for other, beside in run.beside.items():
        found += [f"{other}, at the same time: {one}" for one in spoiled(beside.records, beside.report, slos[other])]
    if found or shared_cpus is None or not run.beside:
        return found
    cores = [_cores(run.records, run.report), *(_cores(one.records, one.report) for one in run.beside.values())]
    used = sum(cores) / shared_cpus
    if used > MAX_GENERATOR_CPU:
        several = "the CPU" if shared_cpus == 1 else f"each of the {shared_cpus} CPUs"
        found.append(
            f"the load generators were the limit: together they used {used:.0%} of {several} that they share (bound "
            f"{MAX_GENERATOR_CPU:.0%}); give them more CPUs (`isolation.cores.generator`), or lower the loads"
        )
    return found


def spoiled(records: Records, own: RunReport, slo: Slo) -> list[str]:
    """Return why the load of one workload was not as it should be, [] where it was.

    Args:
        records: of it.
        own: what the load generator says of itself.
        slo: what is asked of the workload.
    """
    report = generator_report(records, own)
    allowed = _allowed_delay_s(slo)
    found = []
    makers: Mapping[str, results.Generator | Agent] = {one.name: one for one in report.agents}
    for name, one in (makers or {"the load generator": report}).items():
        advice = _advice(one, report.processes, distributed=bool(report.agents))
        if one.issue_delay_p99_s > allowed:
            found.append(
                f"{name} sent late: issue delay p99 {one.issue_delay_p99_s * 1e3:.2f} ms is over "
                f"{allowed * 1e3:.2f} ms; {advice}"
            )
        if one.cpu_share > MAX_GENERATOR_CPU:
            found.append(
                f"{name} was the limit: it used {one.cpu_share:.0%} of its core (bound {MAX_GENERATOR_CPU:.0%}); "
                f"{LOCUST_ADVICE if own.locust else advice}"
            )
    if own.held_back_share > MAX_HELD_BACK_SHARE and own.kept_share > MAX_KEPT_SHARE:
        found.append(
            f"the load generator was held back for {own.kept_share:.0%} of the window (bound {MAX_KEPT_SHARE:.0%}): "
            "its container, or control group, is limited to less CPU time than it takes; give that more (`docker run "
            "--cpus`, `resources.limits.cpu`), or have another machine make the load"
        )
    raised = sum(one.unprovoked for one in own.raised)
    if raised > MAX_RAISED_SHARE * own.requests:
        first = max(own.raised, key=lambda one: one.unprovoked)
        found.append(
            f"tasks of the locustfile raised {raised} exceptions beside {own.requests} requests, without a request "
            f"that failed before: {first.text}; mend it, or the load is not what it describes"
        )
    return found


def warnings(run: Run, metrics: Mapping[str, Estimate], slo: Slo) -> list[str]:
    """Return what a reader should know of a measurement.

    Args:
        run: of the workload.
        metrics: of it, or of a class of it.
        slo: what is asked of that.
    """
    samples = metrics[METRICS["p99"].key].n
    found = []
    if "p99" in slo.bounds and samples < P99_MIN_SAMPLES:
        found.append(f"p99 from {samples} requests; fewer than {P99_MIN_SAMPLES} claim little about it")
    wrong, answers = misplaced(run.records)
    if wrong:
        found.append(
            f"of {wrong} of {answers} answers the events do not add up to the tokens in the usage block; "
            "TPOT counts all of them, ITL those that were seen"
        )
    found += [
        f"{agent.name} had its part of the load {agent.late_s * 1e3:.1f} ms after the agreed start: what was due "
        "before went out at once, in the warm-up"
        for agent in run.report.agents
        if agent.late_s
    ]
    found += [
        f"{agent.name} may have begun up to {agent.start_skew_s * 1e3:.1f} ms before or after the agreed start, half "
        "of what a message takes to it and back: arrivals that fall together, as in a burst, may be so far apart"
        for agent in run.report.agents
        if agent.start_skew_s > _allowed_delay_s(slo)
    ]
    if run.report.locust and run.report.longest_stall_s > max(
        MAX_KEPT_S, MAX_ISSUE_DELAY_SHARE * slo.since_due_bound_s
    ):
        found.append(
            f"Locust's process was kept from its users for up to {run.report.longest_stall_s * 1e3:.0f} ms, which "
            "their latencies include: give it a core that nothing else uses"
        )
    if run.report.kept_share > MAX_KEPT_SHARE and run.report.held_back_share <= MAX_HELD_BACK_SHARE:
        found.append(
            f"the load generator had something to do and no CPU for {run.report.kept_share:.0%} of the window, which "
            "latencies include; give it a core that nothing else uses"
        )
    if raised := run.report.raised:
        count = sum(one.count for one in raised)
        found.append(f"tasks of the locustfile raised {count} exceptions, the most frequent: {raised[0].text}")
    return [*found, *run.report.notes, *throttled(run.used)]


def short_of_requests(point: Point, error: float) -> list[str]:
    """Return that a window was too short for a verdict on a percentile, [] where it was not.

    Args:
        point: what was measured.
        error: that the verdict may make.
    """
    names = [
        name
        for name, verdict in point.verdicts.items()
        if verdict == "undecided"
        and name in BOUNDED
        and point.independent < certain_from(BOUNDED[name].allowed or 0.0, error)
    ]
    return [f"{', '.join(names)} undecided for want of requests; raise `measure.max_window`"] if names else []


def unnamed(named: Sequence[Named], classes: Sequence[Sequence[str]], part: Part) -> list[str]:
    """Return that a class of a locustfile's requests had none, [] where it had some or is that of all others.

    Args:
        named: the requests that there were.
        classes: names of the requests of each class but the last.
        part: the class.
    """
    if part.index is None or part.index >= len(classes) or any(one.request // NAMES == part.index for one in named):
        return []
    there = ", ".join(f"{one.method} {one.name}" for one in named[:MOST_NAMES])
    return [f"no request has the name {' or '.join(classes[part.index])} of {part.name}; there were {there}"]


def _allowed_delay_s(slo: Slo) -> float:
    """Return by how much requests may go out at another moment than they should."""
    return max(MAX_ISSUE_DELAY_S, MAX_ISSUE_DELAY_SHARE * slo.since_due_bound_s)


def _cores(records: Records, own: RunReport) -> float:
    """Return the CPU time of a load generator over the window, in cores: the busiest process stands for all."""
    return own.cpu_share * generator_report(records, own).processes


def _advice(report: results.Generator | Agent, processes: int, *, distributed: bool) -> str:
    """Say what to do about a generator that was in the way: it had too much to do, or something else had its core."""
    if report.cpu_share > BUSY_GENERATOR_CPU:
        more = f"more processes (`generator.processes`, now {processes}), each on a core of its own"
        if distributed:
            return "have more agents make the load (`--agents`), each on a core of its own; or lower the load"
        return f"give it {more}, or another machine; or lower the load"
    used = f"it used {report.cpu_share:.0%} of its core"
    longest_ms, late_ms = report.longest_stall_s * 1e3, report.issue_delay_p99_s * 1e3
    if longest_ms >= late_ms:
        what = (
            f"{used}, but needed up to {longest_ms:.2f} ms for work that takes it microseconds: its core was taken away"
        )
    else:
        what = (
            f"{used} and was never at work for longer than {longest_ms:.2f} ms at a time, so what made it late is how "
            "long the system took to wake it when a request was due"
        )
    return f"{what}; give it a core that nothing else uses, or measure on another machine"


def answered(run: Run) -> bool:
    """Whether a request of a run, its warm-up included, was answered in any way, if there was one."""
    rows = run.records.rows
    return not len(rows) or not np.isin(rows["outcome"], (Outcome.TIMEOUT, Outcome.DROPPED)).all()


def require_answers(run: Run, workload: Workload) -> None:
    """Raise ServerHung when not a single request of a run was answered in any way, see `answered`."""
    if not answered(run):
        count = len(run.records.rows)
        raise ServerHung(f"{workload.name}: none of {count} requests was answered within {workload.timeout_s:g} s")
