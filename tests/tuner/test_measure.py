"""When a measurement may be used: an instrument in the way spoils it, a slow server never does."""

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import workload_builders
from record_builders import MS, answered, records

from targets.base import Endpoint, Outcome, ServerCounters, ServerStats, TargetError
from tests.support.load_runs import get, judge, scripted_server
from tuner.load.generator import Generator, GeneratorError
from tuner.load.plan import Plan, RunReport
from tuner.measure import Meter
from tuner.metrics import summarise
from tuner.offered import Offered
from tuner.records import Records
from tuner.results import Validity
from tuner.runs import Run
from tuner.slo import Slo
from tuner.stopping import Decision, Pace
from tuner.telemetry.nvml import Gpus
from tuner.telemetry.sampler import Sampler
from workloads.arrivals import Constant
from workloads.requests import Dataset

QUIET = RunReport(requests=1000, cpu_share=0.2, stalls=0, longest_stall_s=0.0, queue_max=1, waiting_max=0)
STATS = ServerStats(1.0, 1000, 0, 1000, {"queue": 0.0}, [])


def meter(bounds: dict[str, float], generator: Generator | None = None) -> Meter:
    return Meter(generator, Sampler(Gpus()), {"steady": Slo(bounds)}, Path())  # type: ignore[arg-type]


def judged(some: Records, report: RunReport = QUIET, slo_p99_s: float | None = 0.01) -> Validity:
    bounds = {"p99": slo_p99_s} if slo_p99_s else {}
    run = Run(some, STATS, 0.1, report)
    one = workload_builders.workload()
    return meter(bounds).validity(run, one, one.parts[0], summarise(some, Slo(bounds)))


def with_delays(delay_ms: float, count: int = 1000) -> Records:
    """Records of requests that were all sent this long after they were ready."""
    return records([(index, index + delay_ms, index + delay_ms + 5, Outcome.OK) for index in range(count)])


def test_a_generator_that_kept_out_of_the_way_makes_a_valid_measurement() -> None:
    assert judged(with_delays(0.2)) == Validity(valid=True)


def test_sending_late_is_a_reason_that_says_how_late_and_what_to_do() -> None:
    found = judged(with_delays(1.5))
    assert not found.valid
    assert "issue delay p99 1.50 ms is over 1.00 ms" in found.reasons[0]
    assert "another machine" in found.reasons[0]


@pytest.mark.parametrize(
    ("longest_s", "said"),
    [
        (
            0.0002,
            "was never at work for longer than 0.20 ms at a time, so what made it late is how long the system took",
        ),
        (0.004, "needed up to 4.00 ms for work that takes it microseconds: its core was taken away; give it a core"),
    ],
)
def test_what_made_it_late_fits_the_figures_beside_it(longest_s: float, said: str) -> None:
    """A stall is what it took for its own work: of being woken late it knows nothing."""
    (reason,) = judged(with_delays(1.5), replace(QUIET, longest_stall_s=longest_s)).reasons
    assert f"it used 20% of its core{' and' if longest_s < 0.001 else ', but'} {said}" in reason


def test_one_late_request_in_a_hundred_and_one_is_no_reason() -> None:
    some = with_delays(0.1, 1010)
    some.columns["sent_ns"][::101] += 50 * MS
    some.columns["done_ns"][::101] += 50 * MS
    assert judged(some).valid


@pytest.mark.parametrize(("delay_ms", "valid"), [(4.9, True), (5.1, False)])
def test_a_loose_slo_allows_a_twentieth_of_it(delay_ms: float, valid: bool) -> None:
    assert judged(with_delays(delay_ms), slo_p99_s=0.1).valid is valid


def test_waiting_for_a_connection_is_the_servers_doing() -> None:
    some = with_delays(500.0)
    some.columns["ready_ns"][:] = some.columns["sent_ns"]
    assert judged(some).valid


@pytest.mark.parametrize(("share", "valid"), [(0.9, True), (0.91, False)])
def test_a_generator_that_used_up_its_core_was_the_limit(share: float, valid: bool) -> None:
    found = judged(with_delays(0.1), RunReport(1000, share, 0, 0.0, 1, 0))
    assert found.valid is valid
    if not valid:
        assert "used 91% of its core" in found.reasons[0]
        assert "generator.processes" in found.reasons[0]


@pytest.mark.parametrize(
    ("kept", "held_back", "valid", "warned"),
    [(0.05, 0.3, True, False), (0.3, 0.0, True, True), (0.3, 0.2, False, False)],
)
def test_a_generator_that_its_containers_limit_kept_from_the_cpu_was_the_limit(
    kept: float, held_back: float, valid: bool, warned: bool
) -> None:
    """In a closed loop nothing else shows it: it sends late because it sees late that an answer has come."""
    report = RunReport(1000, 0.3, 0, 0.0, 1, 0, kept_share=kept, held_back_share=held_back)
    found = judged(with_delays(0.1), report)
    assert found.valid is valid
    assert any("held back for 30% of the window (bound 10%)" in one for one in found.reasons) is not valid
    assert any("no CPU for 30% of the window" in one for one in found.warnings) is warned


def test_a_p99_from_few_requests_is_a_warning() -> None:
    assert "p99 from 600 requests" in judged(with_delays(0.1, 600)).warnings[0]
    assert judged(records([answered(index, 5) for index in range(662)])).warnings == []


@dataclass
class Deployed:
    """A deployment of the scripted server: its endpoint is real, its counters are empty."""

    port: int
    path: str
    config: dict[str, int]
    pids: Sequence[int] = ()

    def endpoint(self, dataset: Dataset) -> Endpoint:
        return Endpoint("127.0.0.1", self.port, tuple(get(self.path) for _ in range(len(dataset))), judge)

    def processes(self) -> Sequence[int]:
        return self.pids

    def statistics(self) -> Callable[[], ServerCounters]:
        now = time.monotonic_ns()
        return lambda: ServerCounters(now, 0, 0, 0, {}, {})


def test_an_overloaded_server_is_a_missed_slo_and_a_valid_measurement(tmp_path: Path) -> None:
    """Two connections of 20 ms each carry 100 requests per second; 300 are offered."""
    workload = workload_builders.workload("flood", Constant(300.0), timeout_s=20.0, connections=2)
    with scripted_server() as server, Generator() as generator:
        made = Meter(generator, Sampler(Gpus()), {"flood": Slo({"p99": 0.5})}, tmp_path)
        load = workload.at(None)
        run = made.run(Deployed(server.port, "/slow?20", {}), workload, load, Pace.fixed(0.2, 2.0))  # type: ignore[arg-type]
        point = made.point(run, workload, workload.parts[0], load, {}, Decision("cap", {"p99": "undecided"}), None)
    assert point.violations["p99"] > 0
    assert point.verdicts == {"p99": "missed"}
    assert point.steadiness.state == "overloaded"
    assert "the queue grows" in (point.steadiness.reason or "")
    assert point.outcomes == {"ok": 600}
    assert point.generator.waiting_max > 100
    assert point.metrics["service_time_p50_s"].value < point.metrics["latency_p50_s"].value / 2
    late = point.generator.issue_delay_p99_s > 0.025
    assert point.validity.valid is not late, "only this host's own stalls may spoil it"


@pytest.mark.parametrize(
    ("slo", "bound_s"),
    [
        (Slo({}), 0.0),
        (Slo({"p50": 0.1, "p99": 0.2}), 0.2),
        (Slo({"ttft_p90": 0.4, "tpot_p90": 0.05}), 0.4),
        (Slo({"ttft_p90": 0.4, "p99": 2.0}), 0.4),
        (Slo({"error_rate": 0.1}, (Slo({"p99": 2.0}), Slo({"p95": 0.3}))), 0.3),
    ],
)
def test_sending_late_is_held_against_what_counts_from_when_a_request_is_due(slo: Slo, bound_s: float) -> None:
    assert slo.since_due_bound_s == bound_s


def test_what_the_server_uses_cannot_be_asked_of_one_that_runs_elsewhere(tmp_path: Path) -> None:
    workload = workload_builders.workload("steady", Constant(50.0))
    with scripted_server() as server, Generator() as generator:
        made = Meter(generator, Sampler(Gpus()), {"steady": Slo({})}, tmp_path, asked=frozenset({"server_cpu"}))
        deployed = Deployed(server.port, "/", {})
        with pytest.raises(
            TargetError, match="server_cpu: cannot be measured, for the server's processes are not known"
        ):
            made.run(deployed, workload, workload.at(None), Pace.fixed(0.1, 0.2))  # type: ignore[arg-type]


def test_a_load_ends_when_the_one_beside_it_cannot_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = (workload_builders.workload(name, Constant(50.0)) for name in ("first", "second"))
    with scripted_server() as server, Generator() as one, Generator() as other:
        made = Meter(one, Sampler(Gpus()), {"first": Slo({}), "second": Slo({})}, tmp_path, others=(other,))
        deployed: Any = Deployed(server.port, "/", {})
        offered = [Offered(workload, workload.at(None)) for workload in (first, second)]
        monkeypatch.setattr(other, "begin", _cannot_begin)
        with pytest.raises(GeneratorError, match="no core is left"):
            made.run_at_once(deployed, offered, Pace.fixed(0.1, 600.0))
        run = made.run(deployed, first, first.at(None), Pace.fixed(0.1, 0.4))
    assert len(run.records.in_window()) == 20


def _cannot_begin(_plan: Plan) -> None:
    raise GeneratorError("no core is left")


def test_a_point_has_the_metrics_of_use_and_where_its_samples_are(tmp_path: Path) -> None:
    workload = workload_builders.workload("steady", Constant(50.0))
    with scripted_server() as server, Generator() as generator:
        made = Meter(generator, Sampler(Gpus(), 0.05), {"steady": Slo({"server_cpu": 1000.0})}, tmp_path)
        deployed = Deployed(server.port, "/", {}, [os.getpid()])
        load = workload.at(None)
        run = made.run(deployed, workload, load, Pace.fixed(0.1, 0.4))  # type: ignore[arg-type]
        point = made.point(run, workload, workload.parts[0], load, {}, Decision("cap", {}), "records/a.npz")
    assert point.telemetry.series == "records/a.telemetry.npz"
    assert point.metrics["server_cpu_cores"].value == point.telemetry.cpu_cores
    assert point.metrics["server_rss_bytes"].value == point.telemetry.rss_bytes
    assert point.verdicts["server_cpu"] == "met"
    assert run.series is not None
    ((start_ns, end_ns),) = run.records.windows_ns
    assert start_ns <= run.series.time_ns[0] < end_ns <= run.series.time_ns[-1]
