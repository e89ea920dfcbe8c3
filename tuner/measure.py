"""Measure: drive a deployment with a workload and read, around exactly the window, what server and host say."""

import gc
import itertools
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from targets.base import Deployment, Endpoint, ServerCounters, TargetError, difference, metric_values
from targets.options import ServerMetric
from tuner import results, steady
from tuner.accuracy.asking import outputs_of
from tuner.accuracy.variants import Ask
from tuner.autocorrelation import effective_size, finite
from tuner.catalog import METRICS
from tuner.course import Course
from tuner.load.generator import Generator
from tuner.load.plan import ClassPlan, Plan
from tuner.metrics import failures, generator_report, outcome_counts, summarise, violations
from tuner.records import Records, latencies_s
from tuner.request_class import Part
from tuner.results import Estimate, Load, Point, Validity
from tuner.runs import Run, stored_server
from tuner.slo import Slo
from tuner.stats import P99_MIN_SAMPLES, near
from tuner.stopping import Aims, Decision, Pace
from tuner.telemetry.sampler import Sampler
from tuner.telemetry.series import series_path
from tuner.telemetry.summary import summarised
from tuner.timings import misplaced
from tuner.usage import Telemetry
from tuner.usage_metrics import throttled, untold, usage_metrics
from tuner.verdicts import in_state, slo_verdicts
from tuner.workload import Workload

LEAD_NS = 30_000_000
CONNECTION_NS = 100_000
MAX_ISSUE_DELAY_S = 1e-3
MAX_ISSUE_DELAY_SHARE = 0.05
MAX_GENERATOR_CPU = 0.9
BUSY_GENERATOR_CPU = 0.6


@dataclass(frozen=True)
class Meter:
    """The instruments of a run and the bounds that measurements are held against.

    Attributes:
        generator: the load generator's process.
        sampler: of server, host and GPUs.
        slos: workload, or `WORKLOAD.CLASS` -> what is asked of its requests.
        scratch: folder for records that are not kept.
        own: metrics that only this server has.
        asked: the metrics of use that the study asks for; without them a measurement is worth nothing.
    """

    generator: Generator
    sampler: Sampler
    slos: Mapping[str, Slo]
    scratch: Path
    own: Sequence[ServerMetric] = ()
    asked: frozenset[str] = frozenset()

    def run(
        self,
        deployment: Deployment,
        workload: Workload,
        load: Load,
        pace: Pace,
        aims: Aims | None = None,
    ) -> Run:
        """Offer the load for warm-up and window, without a pause between them, and drain.

        The warm-up ends when the load has settled, the window when the aims are met, as pace and traffic's shape allow.

        Args:
            deployment: where to.
            workload: the traffic.
            load: its level.
            pace: how long warm-up and window may be.
            aims: what is to be found out; None: the window has its longest length.

        Raises:
            ServerDied: the server stopped answering its control plane.
            GeneratorError: the load generator could not run.
            TargetError: the study asks for what the server uses, and where it runs is not known.
        """
        pace = workload.paced(load, pace)
        plan = self._plan(deployment, workload, load, pace)
        readings: list[Callable[[], ServerCounters]] = []
        course = Course(
            self.generator,
            plan,
            pace,
            aims,
            lambda after_s: workload.edge_s(load, after_s),
            (lambda: readings.append(deployment.statistics())) if self._samples else None,
        )
        with _quiet():
            self.generator.begin(plan)
            try:
                processes = self._processes(deployment)  # takes a while on a host of many; the load warms up anyway
                start_ns = course.settle()
                before = deployment.statistics()
                self.sampler.start(processes)
                decision = course.finish()
                after = deployment.statistics()
            except BaseException:
                course.cut_short()
                raise
            finally:
                series = self.sampler.stop()
                loaded = self.generator.finish()
        return Run(
            records=loaded.records,
            server=difference(before(), after(), [reading() for reading in readings]),
            warmup_s=(start_ns - plan.start_ns) / 1e9,
            report=loaded.report,
            used=summarised(series) if series else Telemetry(),
            decision=decision,
            series=series,
        )

    def _processes(self, deployment: Deployment) -> Sequence[int]:
        """Return the server's processes. Raises TargetError when they are needed and none is known."""
        processes = deployment.processes()
        if self.asked and not processes:
            raise TargetError(
                f"{', '.join(sorted(self.asked))}: cannot be measured, for the server's processes are not known here; "
                "take it out of `objectives` and `slo`, or let Paretune start the server on this host"
            )
        return processes

    def _plan(self, deployment: Deployment, workload: Workload, load: Load, pace: Pace) -> Plan:
        """Return the load with the longest warm-up and window, to start in a moment."""
        warmup_s, window_s = workload.fitted(load, pace.longest_warmup_s, pace.longest_window_s, pace.window_s)
        return Plan(
            endpoint=joined([deployment.endpoint(one.requests()) for one in workload.classes]),
            load=workload.loop(load, warmup_s + window_s),
            start_ns=time.monotonic_ns() + _lead_ns(load),
            warmup_ns=round(warmup_s * 1e9),
            window_ns=round(window_s * 1e9),
            timeout_ns=round(workload.timeout_s * 1e9),
            records_path=self.scratch / "round.bin",
            keep_alive=workload.keep_alive,
            classes=_class_plans(workload) if workload.mixed else (),
        )

    def point(
        self,
        run: Run,
        workload: Workload,
        part: Part,
        load: Load,
        extra: Mapping[str, Estimate],
        decision: Decision,
        records: str | None,
    ) -> Point:
        """Summarise a part of a run as a point of a trial.

        Args:
            run: what was measured of the workload.
            workload: the traffic.
            part: of it.
            load: its level.
            extra: metrics that do not come from the records (accuracy).
            decision: why the window ended, and the verdicts then.
            records: where the records are kept, relative to the run directory.
        """
        own = run.of_part(part)
        metrics, bounds = {**self.summary(own, part.name), **extra}, self.slos[part.name].bounds
        settled = steadiness(own.records, load)
        # A class that had no request in the window has missed nothing yet.
        counted = {key: one for key, one in metrics.items() if one.n or part.index is None}
        return Point(
            workload=part.name,
            load=load,
            warmup_s=own.warmup_s,
            window_s=own.records.window_s,
            metrics=metrics,
            outcomes=outcome_counts(own.records),
            failures=failures(own.records, own.report),
            violations=violations(counted, bounds, overloaded=settled.state == "overloaded"),
            verdicts=in_state(settled.state, {**slo_verdicts(metrics, bounds), **decision.of(part.index)}),
            steadiness=settled,
            ended=decision.ending,
            independent=self._independent(own.records, part.name),
            server=stored_server(own.server) if own.server else None,
            telemetry=run.used.model_copy(update={"series": series_path(records) if records and run.series else None}),
            generator=generator_report(own.records, own.report),
            validity=self.validity(run, workload, part, metrics),
            records=records,
        )

    def summary(self, run: Run, name: str) -> dict[str, Estimate]:
        """Return metric key -> estimate of a run, those included that the server gives of itself.

        A number of the server's is what it is in that window: its interval is the value alone. It is not told of a
        class, and neither is what the server used.

        Args:
            run: of a workload, or of a class of it.
            name: of that.
        """
        found = summarise(run.records, self.slos[name])
        for own, value in metric_values(run.server, self.own).items() if run.server else ():
            found[own] = Estimate(value=value, low=value, high=value, n=1)
        if run.of_all:
            found |= usage_metrics(run.used, found[METRICS["throughput"].key])
            found |= untold(self.asked, run.used, found)
        return found

    @property
    def directions(self) -> dict[str, bool]:
        """Own metric -> whether more of it is better, of those of which it can be said."""
        return {metric.name: metric.better == "more" for metric in self.own if metric.better}

    @property
    def _samples(self) -> bool:
        """Whether the server has gauges, which have to be read while the window lasts."""
        return any(metric.kind == "gauge" for metric in self.own)

    def _independent(self, records: Records, name: str) -> float:
        """Return how many independent requests a window is worth, as far as the latency bound is concerned."""
        latencies, bound = latencies_s(records.in_window()), self.slos[name].latency_bound_s
        return near(latencies, bound) if bound else effective_size(finite(latencies))

    def validity(self, run: Run, workload: Workload, part: Part, metrics: Mapping[str, Estimate]) -> Validity:
        """Judge whether the generator kept out of the measurement's way.

        Args:
            run: of the workload: a class is spoiled when the whole is.
            workload: the traffic.
            part: of it.
            metrics: of the part.
        """
        report, slo = generator_report(run.records, run.report), self.slos[workload.name]
        allowed = max(MAX_ISSUE_DELAY_S, MAX_ISSUE_DELAY_SHARE * slo.since_due_bound_s)
        reasons = []
        if report.issue_delay_p99_s > allowed:
            reasons.append(
                f"the load generator sent late: issue delay p99 {report.issue_delay_p99_s * 1e3:.2f} ms is over "
                f"{allowed * 1e3:.2f} ms; {_advice(report)}"
            )
        if report.cpu_share > MAX_GENERATOR_CPU:
            reasons.append(
                f"the load generator was the limit: it used {report.cpu_share:.0%} of its core (bound "
                f"{MAX_GENERATOR_CPU:.0%}); {_advice(report)}"
            )
        samples = metrics[METRICS["p99"].key].n
        warnings = []
        if "p99" in self.slos[part.name].bounds and samples < P99_MIN_SAMPLES:
            warnings.append(f"p99 from {samples} requests; fewer than {P99_MIN_SAMPLES} claim little about it")
        wrong, answers = misplaced(run.records)
        if wrong:
            warnings.append(
                f"of {wrong} of {answers} answers the events do not add up to the tokens in the usage block; "
                "TPOT counts all of them, ITL those that were seen"
            )
        warnings += throttled(run.used)
        return Validity(valid=not reasons, reasons=reasons, warnings=warnings)

    def asking(self, deployment: Deployment) -> Ask:
        """Return what sends items of a class to a deployment, outside of any window, see `asking.outputs_of`."""
        return lambda workload, one, items: outputs_of(
            self.generator, self.scratch, deployment, one, items, workload.name
        )


def joined(endpoints: Sequence[Endpoint]) -> Endpoint:
    """Return the requests of several classes as those of one endpoint, one class after the other."""
    first = endpoints[0]
    if len(endpoints) == 1:
        return first
    return replace(first, requests=tuple(request for one in endpoints for request in one.requests))


def _class_plans(workload: Workload) -> tuple[ClassPlan, ...]:
    counts = [len(one.dataset) for one in workload.classes]
    firsts = itertools.accumulate(counts[:-1], initial=0)
    timeouts = (round(one.timeout_s * 1e9) for one in workload.classes)
    return tuple(ClassPlan(first, timeout) for first, timeout in zip(firsts, timeouts, strict=True))


def steadiness(records: Records, load: Load) -> results.Steadiness:
    """Say whether a window shows a steady state; see `steady.judge`."""
    rows = records.in_window()
    return steady.judge(rows["intended_ns"], rows["done_ns"], latencies_s(rows), open_loop=load.mode == "open")


def _lead_ns(load: Load) -> int:
    """Return the time between a plan and its start: connections are opened in it."""
    return LEAD_NS + (round(load.level) * CONNECTION_NS if load.mode == "closed" else 0)


def _advice(report: results.Generator) -> str:
    """Say what to do about a generator that was in the way: it had too much to do, or something else had its core."""
    if report.cpu_share > BUSY_GENERATOR_CPU:
        more = f"more processes (`generator.processes`, now {report.processes}), each on a core of its own"
        return f"give it {more}, or another machine; or lower the load"
    kept = f"it used {report.cpu_share:.0%} of its core, but was kept from it for {report.longest_stall_s * 1e3:.1f} ms"
    return f"{kept} at worst: give it a core that nothing else uses, or measure on another machine"


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep out of the generator's way: on a small host it shares this process's core.

    No garbage collection, and a scheduling class that does not push a running process aside when it wakes up.
    """
    policy, parameter = os.sched_getscheduler(0), os.sched_getparam(0)
    if policy == os.SCHED_OTHER:
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        os.sched_setscheduler(0, policy, parameter)
