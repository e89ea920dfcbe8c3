"""Measure: drive a deployment with a workload and read, around exactly the window, what server and host say."""

import gc
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from targets.base import (
    Deployment,
    Endpoint,
    HasHttpAddress,
    ServerCounters,
    TargetError,
    Tls,
    difference,
    metric_values,
)
from targets.options import ServerMetric
from tuner import results, steady, validity
from tuner.accuracy.answers import Outputs
from tuner.accuracy.asking import outputs_of
from tuner.accuracy.variants import Ask
from tuner.autocorrelation import effective_size, finite
from tuner.cache_latencies import server_of
from tuner.cached_answers import Answers
from tuner.catalog import EITHER, METRICS
from tuner.course import Course, Lane
from tuner.lead import Lead
from tuner.load.generator import LoadGenerator, LoadRun
from tuner.load.plan import Plan, UsersLoop
from tuner.load.users.messages import unjudged
from tuner.metrics import failures, generator_report, outcome_counts, summarise, totals, violations
from tuner.named_requests import by_name
from tuner.offered import Offered, finished, leading, of_model, paced
from tuner.records import Records, latencies_s
from tuner.request_class import Part, RequestClass
from tuner.results import Estimate, Load, Point, Validity
from tuner.runs import Beside, Run
from tuner.slo import Slo
from tuner.stats import near
from tuner.stopping import Aims, Decision, Pace
from tuner.telemetry.sampler import Sampler
from tuner.telemetry.series import series_path
from tuner.telemetry.summary import told
from tuner.usage_metrics import untold, usage_metrics
from tuner.use_checks import processes_of
from tuner.verdicts import in_state, slo_verdicts
from tuner.workload import Workload


@dataclass(frozen=True)
class Meter:
    """The instruments of a run and the bounds that measurements are held against.

    Attributes:
        generator: the load generator.
        sampler: of server, host and GPUs.
        slos: workload, or `WORKLOAD.CLASS` -> what is asked of its requests.
        scratch: folder for records that are not kept.
        own: metrics that only this server has.
        asked: the metrics of use that the study asks for; without them a measurement is worth nothing.
        more: those of `asked` of which the study asks for more.
        others: load generators of the second workload and the ones after it, where all are measured at once.
        shared_cpus: how many CPUs the processes of all load generators share; None: each has its own, or any.
        of_users: workload -> the load generator of its locustfile.
        lead: how long before its start a plan is handed over.
        answers: what deployments that keep answers were asked.
    """

    generator: LoadGenerator
    sampler: Sampler
    slos: Mapping[str, Slo]
    scratch: Path
    own: Sequence[ServerMetric] = ()
    asked: frozenset[str] = frozenset()
    more: frozenset[str] = frozenset()
    others: Sequence[LoadGenerator] = ()
    shared_cpus: int | None = None
    of_users: Mapping[str, LoadGenerator] = field(default_factory=dict)
    lead: Lead = field(default_factory=Lead)
    answers: Answers = field(default_factory=Answers)

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
        (run,) = self.run_at_once(deployment, [Offered(workload, load, aims)], pace)
        return run

    def run_at_once(self, deployment: Deployment, offered: Sequence[Offered], pace: Pace) -> list[Run]:
        """Offer the loads of several workloads at the same time; they share start, warm-up and window.

        Each has a load generator of its own. The warm-up ends when all have settled, the window when the aims of all
        are met or one has lost (`Course`), and each load goes on to the end of the window.

        Args:
            deployment: where to; of several models where the workloads ask these.
            offered: the workloads, in the study's order.
            pace: how long warm-up and window may be.

        Raises:
            ServerDied, GeneratorError, TargetError: as `run`.
        """
        pace = paced(offered, pace)
        deployments = [of_model(deployment, one.workload) for one in offered]
        kept = self.answers.begin(deployments)
        lanes = self._lanes(deployments, offered, pace)
        readings: list[list[Callable[[], ServerCounters]]] = []
        course = Course(
            lanes,
            pace,
            lambda after_s: leading(offered).edge_s(after_s),
            (lambda: readings.append(_read(deployments))) if self._samples else None,
        )
        with _quiet():
            _begin(course)
            try:
                # That takes a while on a host of many; the load warms up anyway.
                processes = processes_of(deployment, self.asked)
                start_ns = course.settle()
                before = _read(deployments)
                self.sampler.start(processes, deployment)
                decisions = course.finish()
                after = _read(deployments)
            except BaseException:
                _abandon(course)
                raise
            finally:
                series = self.sampler.stop()
            loaded = finished([lane.generator for lane in lanes])
        series, used = told(series)
        self._learn_lead(offered, loaded)
        sent = [lane.plan.endpoint.requests for lane in lanes]
        lookups = self.answers.ended(kept, sent, [run.records for run in loaded])
        reports = {one.workload.name: Beside(run.records, run.report) for one, run in zip(offered, loaded, strict=True)}
        return [
            Run(
                records=loaded[index].records,
                server=difference(before[index](), after[index](), [reading[index]() for reading in readings]),
                warmup_s=(start_ns - course.plan.start_ns) / 1e9,
                report=loaded[index].report,
                used=used,
                decision=decisions[index],
                series=series,
                beside={name: beside for name, beside in reports.items() if name != one.workload.name},
                lookups=lookups[index],
            )
            for index, one in enumerate(offered)
        ]

    def _learn_lead(self, offered: Sequence[Offered], loaded: Sequence[LoadRun]) -> None:
        """Take in how far the lead sufficed; Locust's processes do not say it."""
        spare_s = [run.report.spare_s for run in loaded if not run.report.locust]
        if spare_s:
            self.lead.learn([one.load for one in offered], min(spare_s))

    def _lanes(self, deployments: Sequence[Deployment], offered: Sequence[Offered], pace: Pace) -> list[Lane]:
        """Return the loads with their longest warm-up and window, all to start at the same moment."""
        lengths_s = leading(offered).fitted(pace.longest_warmup_s, pace.longest_window_s, pace.window_s)
        plans = [
            self._plan(deployment, one, lengths_s, f"round{index or ''}.bin")
            for index, (deployment, one) in enumerate(zip(deployments, offered, strict=True))
        ]
        own = [self.generator, *self.others]
        generators = [self.of_users.get(one.workload.name, own[index]) for index, one in enumerate(offered)]
        lead_ns = max(generator.prepare(plan) for generator, plan in zip(generators, plans, strict=True))
        # Encoding takes its time; the moment is chosen when nothing is left to do but hand the plans over.
        start_ns = time.monotonic_ns() + lead_ns + self.lead.ns([one.load for one in offered])
        return [
            Lane(generator, replace(plan, start_ns=start_ns), one.aims)
            for generator, plan, one in zip(generators, plans, offered, strict=True)
        ]

    def _plan(self, deployment: Deployment, one: Offered, lengths_s: tuple[float, float], file: str) -> Plan:
        """Return the load of a workload with its longest warm-up and window; when it starts is still open."""
        warmup_s, window_s = lengths_s
        workload = one.workload
        load = workload.loop(one.load, warmup_s + window_s)
        if isinstance(load, UsersLoop):
            endpoint, load = asked_by_users(deployment, load)
        else:
            endpoint = joined([deployment.endpoint(each.requests()) for each in workload.classes])
        return Plan(
            endpoint=endpoint,
            load=load,
            start_ns=0,
            warmup_ns=round(warmup_s * 1e9),
            window_ns=round(window_s * 1e9),
            timeout_ns=round(workload.timeout_s * 1e9),
            records_path=self.scratch / file,
            keep_alive=workload.keep_alive,
            classes=workload.class_plans(),
            sequences=workload.sequence_order(),
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
        # A class that had no request in the window has missed nothing yet; no answers are a throughput all the same.
        known = part.index is None
        counted = {key: one for key, one in metrics.items() if known or one.n or key == METRICS["throughput"].key}
        return Point(
            workload=part.name,
            request_class=part.index,
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
            server=server_of(own),
            telemetry=run.used.model_copy(update={"series": series_path(records) if records and run.series else None}),
            generator=generator_report(own.records, own.report),
            named=by_name(run.records, run.report.named) if part.index is None else [],
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
            found |= (all_together := totals(run, name, self.slos))
            throughput = all_together.get(METRICS["total_throughput"].key, found[METRICS["throughput"].key])
            found |= usage_metrics(run.used, throughput)  # what serves several workloads is used for all of them
            found |= untold(self.asked, run.used, found, self.more)
        return found

    @property
    def directions(self) -> dict[str, bool]:
        """Metric -> whether more of it is better: of own ones that have it, and of those that only the study says."""
        own = {metric.name: metric.better == "more" for metric in self.own if metric.better}
        return own | {name: name in self.more for name in self.asked.intersection(EITHER)}

    @property
    def _samples(self) -> bool:
        """Whether the server has gauges, which have to be read while the window lasts."""
        return any(metric.kind == "gauge" for metric in self.own)

    def _independent(self, records: Records, name: str) -> float:
        """Return how many independent requests a window is worth, as far as the latency bound is concerned."""
        latencies, bound = latencies_s(records.in_window()), self.slos[name].latency_bound_s
        return near(latencies, bound) if bound else effective_size(finite(latencies))

    def validity(self, run: Run, workload: Workload, part: Part, metrics: Mapping[str, Estimate]) -> Validity:
        """Judge whether the generators kept out of the measurement's way.

        Args:
            run: of the workload: a class is spoiled when the whole is.
            workload: the traffic.
            part: of it.
            metrics: of the part.
        """
        reasons = validity.reasons(run, workload.name, self.slos, self.shared_cpus)
        warnings = validity.warnings(run, metrics, self.slos[part.name])
        if workload.users is not None and part.index is not None:
            warnings += validity.unnamed(run.report.named, workload.users.names, part)
        return Validity(valid=not reasons, reasons=reasons, warnings=warnings)

    def asking(self, deployment: Deployment) -> Ask:
        """Return what sends items of a class to a deployment, outside of any window, see `asking.outputs_of`."""

        def ask(workload: Workload, one: RequestClass, items: int) -> list[Outputs | None]:
            asked = of_model(deployment, workload)
            found = outputs_of(self.generator, self.scratch, asked, one, items, workload.name)
            self.answers.note(asked, one.dataset, found)
            return found

        return ask


def _read(deployments: Sequence[Deployment]) -> list[Callable[[], ServerCounters]]:
    """Read the counters of each deployment, one right after the other."""
    return [one.statistics() for one in deployments]


def _begin(course: Course) -> None:
    """Start every load; where one cannot start, those before it end."""
    begun: list[Lane] = []
    try:
        for lane in course.lanes:
            lane.generator.begin(lane.plan)
            begun.append(lane)
    except BaseException:
        _abandon(replace(course, lanes=begun))
        raise


def _abandon(course: Course) -> None:
    with suppress(Exception):  # what ended the measurement counts, not what comes of that
        course.cut_short()
    with suppress(Exception):  # the generators have to be free for the next plan
        finished([lane.generator for lane in course.lanes])


def asked_by_users(deployment: Deployment, load: UsersLoop) -> tuple[Endpoint, UsersLoop]:
    """Return where users of a locustfile find a deployment, and their load with the path of its model there.

    Raises:
        TargetError: it cannot be asked over HTTP.
    """
    if not isinstance(deployment, HasHttpAddress):
        raise TargetError("a locustfile asks over HTTP, and this kind of target does not say where it is")
    at = deployment.http_address()
    endpoint = Endpoint(at.host, at.port, (), unjudged, tls=Tls() if at.secure else None)
    return endpoint, replace(load, own_path=at.own_path, path=at.path)


def joined(endpoints: Sequence[Endpoint]) -> Endpoint:
    """Return the requests of several classes as those of one endpoint, one class after the other."""
    first = endpoints[0]
    if len(endpoints) == 1:
        return first
    return replace(first, requests=tuple(request for one in endpoints for request in one.requests))


def steadiness(records: Records, load: Load) -> results.Steadiness:
    """Say whether a window shows a steady state; see `steady.judge`."""
    rows = records.in_window()
    return steady.judge(rows["intended_ns"], rows["done_ns"], latencies_s(rows), open_loop=load.mode == "open")


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
