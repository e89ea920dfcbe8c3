"""The course of a real load on a real server: when it settles, when it ends, and what the records say of it."""

import math
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest
import workload_builders

from tests.support.load_runs import Server, closed, ends_behind_window, plan, scripted_server
from tuner.course import AHEAD_NS, Course, Lane
from tuner.load.generator import Generator, LoadRun
from tuner.load.plan import ClosedLoop, OpenLoop, Plan
from tuner.results import Load
from tuner.slo import Slo
from tuner.stopping import Aims, Decision, Pace
from tuner.workload import Workload
from workloads.arrivals import Arrivals, Bursty, Poisson

FEW = closed(1, think_ms=20)
"""So few requests that nothing can be certain."""
VARIED = ClosedLoop(8, np.random.default_rng(0).integers(0, 2, 1000).astype(np.int32))
"""Two requests at random: beside what they differ by, the noise of a host is small."""
QUICK, EITHER = ["/ok"], ["/slow?1", "/slow?30"]
MISSED = {"p50": 0.0005}
"""What either request certainly misses."""


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with scripted_server() as made:
        yield made


@pytest.fixture(scope="module")
def generator() -> Iterator[Generator]:
    with Generator() as made:
        yield made


def aims(bounds: Mapping[str, float]) -> Aims:
    """Ask only whether the SLO is met."""
    return Aims(Slo(bounds), None, (), (), tolerance=0.05, confidence=0.99)


def anywhere(after_s: float) -> float:
    return after_s


@pytest.fixture
def begin(server: Server, generator: Generator, tmp_path: Path) -> Callable[..., Course]:
    """Begin a load with the longest warm-up and window of a pace."""

    def begin(
        load: ClosedLoop | OpenLoop,
        paths: list[str],
        pace: Pace,
        bounds: Mapping[str, float] | None = None,
        edge_s: Callable[[float], float] = anywhere,
    ) -> Course:
        made = plan(
            server.port,
            load,
            tmp_path,
            paths,
            warmup_ns=round(pace.longest_warmup_s * 1e9),
            window_ns=round(pace.longest_window_s * 1e9),
        )
        generator.begin(made)
        return Course([Lane(generator, made, None if bounds is None else aims(bounds))], pace, edge_s)

    return begin


def run_through(course: Course) -> tuple[Plan, Decision | None, LoadRun]:
    """Let a load run to its end; return the plan that it began with, why it ended and what was recorded."""
    planned = course.plan
    start_ns = course.settle()
    assert start_ns == course.plan.window[0]
    (decision,) = course.finish()
    assert time.monotonic_ns() >= course.plan.window[1], "the readings at its end come after the window"
    run = course.lanes[0].generator.finish()
    assert_recorded_as_planned(run, course.plan)
    return planned, decision, run


def assert_recorded_as_planned(run: LoadRun, made: Plan) -> None:
    start_ns, end_ns = made.window
    assert run.records.windows_ns == [made.window]
    intended = run.records.rows["intended_ns"]
    assert np.all(intended >= made.start_ns)
    inside = (intended >= start_ns) & (intended < end_ns)
    assert np.array_equal(np.sort(run.records.in_window()["intended_ns"]), np.sort(intended[inside]))


def lengths_s(made: Plan) -> tuple[float, float]:
    return made.warmup_ns / 1e9, made.window_ns / 1e9


def test_a_window_ends_early_when_an_slo_is_certainly_missed(begin: Callable[..., Course]) -> None:
    pace = Pace(0.05, 0.05, 0.2, 30.0)
    course = begin(VARIED, EITHER, pace, MISSED)
    planned, decision, run = run_through(course)
    assert decision == Decision("missed", {"p50": "missed"})
    assert 0.2 <= course.plan.window_ns / 1e9 < 30.0
    assert course.plan.window[0] == planned.window[0]
    assert ends_behind_window(run.records, VARIED.concurrency), "the load ends with the window"


def test_a_window_ends_early_when_the_slo_is_certainly_met(begin: Callable[..., Course]) -> None:
    course = begin(closed(4), QUICK, Pace(0.05, 0.05, 0.2, 30.0), {"error_rate": 0.5})
    _, decision, run = run_through(course)
    assert decision == Decision("certain", {"error_rate": "met"})
    assert 0.2 <= run.records.window_s < 30.0


def test_a_window_that_decides_nothing_has_its_longest_length(begin: Callable[..., Course]) -> None:
    course = begin(FEW, QUICK, Pace(0.05, 0.05, 0.1, 0.5), {"p99": 0.001})
    planned, decision, run = run_through(course)
    assert decision is None
    assert course.plan == planned
    assert run.records.window_s == 0.5


def test_without_aims_nobody_looks(begin: Callable[..., Course]) -> None:
    course = begin(VARIED, EITHER, Pace(0.05, 0.05, 0.1, 0.4))
    planned, decision, run = run_through(course)
    assert decision is None
    assert course.plan == planned
    assert run.records.window_s == 0.4


def test_a_look_that_would_come_after_the_window_is_left_out(
    begin: Callable[..., Course], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Edges are 0.8 s apart: the look at 0.3 s would come at 0.8 s, and the window ends at 0.5 s."""
    pace = Pace(0.1, 0.1, 0.3, 0.4)
    course = begin(closed(1), EITHER, pace, MISSED, lambda after_s: math.ceil(after_s / 0.8) * 0.8)
    looks: list[int] = []
    monkeypatch.setattr(course.lanes[0].generator, "look", lambda: looks.append(1))
    _, decision, run = run_through(course)
    assert decision is None
    assert looks == []
    assert run.records.window_s == pytest.approx(0.4)


def test_a_fixed_pace_is_not_looked_at(begin: Callable[..., Course]) -> None:
    course = begin(VARIED, EITHER, Pace.fixed(0.1, 0.5), MISSED)
    planned, decision, _ = run_through(course)
    assert decision is None
    assert course.plan == planned


def test_a_warm_up_ends_when_the_load_has_settled(begin: Callable[..., Course]) -> None:
    pace = Pace(0.1, 30.0, 0.1, 0.3)
    course = begin(VARIED, EITHER, pace)
    planned, _, run = run_through(course)
    warmup_s, window_s = lengths_s(course.plan)
    assert 0.1 <= warmup_s < 30.0
    assert window_s == pace.longest_window_s, "the window moves, it is not cut"
    assert course.plan.window[1] < planned.window[1]
    assert ends_behind_window(run.records, VARIED.concurrency)
    before = np.count_nonzero(run.records.rows["intended_ns"] < course.plan.window[0])
    assert before >= 100, "fewer do not show that it has"


def test_a_warm_up_that_shows_too_little_has_its_longest_length(begin: Callable[..., Course]) -> None:
    course = begin(FEW, QUICK, Pace(0.05, 0.4, 0.1, 0.1))
    planned, _, _ = run_through(course)
    assert course.plan == planned
    assert lengths_s(course.plan) == (0.4, 0.1)


def test_both_ends_may_come_early(begin: Callable[..., Course]) -> None:
    course = begin(VARIED, EITHER, Pace(0.05, 30.0, 0.2, 30.0), MISSED)
    planned, decision, run = run_through(course)
    assert decision is not None
    assert course.plan.window[0] < planned.window[0]
    assert 0.2 <= run.records.window_s < 30.0


@pytest.mark.parametrize("settled", [False, True])
def test_a_load_that_nobody_wants_any_more_ends_at_once(begin: Callable[..., Course], settled: bool) -> None:
    course = begin(closed(4), QUICK, Pace.fixed(0.1 if settled else 60.0, 60.0))
    planned = course.plan
    if settled:
        course.settle()
    else:
        time.sleep(0.1)
    course.cut_short()
    told_ns = time.monotonic_ns()
    run = course.lanes[0].generator.finish()
    assert_recorded_as_planned(run, course.plan)
    assert course.plan.window[1] <= told_ns + AHEAD_NS
    assert course.plan.window[0] <= course.plan.window[1]
    assert run.records.rows["done_ns"].max() < planned.window[1]


def test_a_load_may_be_cut_short_before_it_began(begin: Callable[..., Course]) -> None:
    course = begin(closed(4), QUICK, Pace.fixed(60.0, 60.0))
    course.cut_short()
    run = course.lanes[0].generator.finish()
    assert run.records.windows_ns == [course.plan.window]


# Edges


def workload(arrivals: Arrivals | None) -> Workload:
    return workload_builders.workload("some", arrivals, items=2)


def pauses(arrivals: Bursty, edge_s: float) -> tuple[float, float]:
    """Return how far an edge is from the last request before it and from the first after it."""
    since = edge_s % arrivals.period_s - (arrivals.period_s - arrivals.pause_s)
    return since, arrivals.period_s - edge_s % arrivals.period_s


@pytest.mark.parametrize("arrivals", [Bursty(8, 0.5), Bursty(9, 0.25, 0.03125), Bursty(3, 2.0, 0.5)])
@pytest.mark.parametrize("rate", [None, 64.0])
def test_the_edges_of_a_bursty_window_lie_in_the_middle_of_a_pause(arrivals: Bursty, rate: float | None) -> None:
    some = workload(arrivals)
    load = some.at(rate)
    shape = arrivals.at_rate(load.level)
    for after_s in np.linspace(0, 3 * shape.period_s, 50).tolist():
        edge_s = some.edge_s(load, after_s)
        assert edge_s > after_s - 1e-6
        assert pauses(shape, edge_s) == pytest.approx((shape.pause_s / 2, shape.pause_s / 2))


def test_the_next_edge_is_the_first_one() -> None:
    some = workload(Bursty(8, 0.5))
    load = some.at(None)
    found = [some.edge_s(load, after_s) for after_s in (0.0, 0.25, 0.26, 0.74, 0.75, 0.76)]
    assert found == [0.25, 0.25, 0.75, 0.75, 0.75, 1.25]
    spaced = workload(Bursty(9, 0.2, 0.1))
    edges = [spaced.edge_s(spaced.at(None), after_s) for after_s in (0.0, 0.6, 0.9, 0.91)]
    assert edges == pytest.approx([0.9, 0.9, 0.9, 1.9])


@pytest.mark.parametrize(
    ("arrivals", "load"), [(Poisson(100.0), Load(mode="open", level=100)), (None, Load(mode="closed", level=4))]
)
def test_other_traffic_may_be_cut_anywhere(arrivals: Arrivals | None, load: Load) -> None:
    assert workload(arrivals).edge_s(load, 0.1234) == 0.1234


def test_the_window_of_a_bursty_load_that_ends_early_has_whole_periods(begin: Callable[..., Course]) -> None:
    some, period_s = workload(Bursty(10, 0.0625)), 0.0625
    load, pace = some.at(None), Pace(0.1, 0.1, 0.2, 20.0)
    warmup_s, window_s = some.fitted(load, pace.longest_warmup_s, pace.longest_window_s)
    course = begin(
        some.loop(load, warmup_s + window_s),
        EITHER,
        Pace(0.1, warmup_s, 0.2, window_s),
        MISSED,
        lambda after_s: some.edge_s(load, after_s),
    )
    _, decision, run = run_through(course)
    assert decision is not None
    made_warmup_s, made_window_s = lengths_s(course.plan)
    assert made_warmup_s % period_s == pytest.approx(period_s / 2)
    assert made_window_s / period_s == pytest.approx(round(made_window_s / period_s))
    assert 0.2 <= made_window_s < window_s
    assert len(run.records.in_window()) == 10 * round(made_window_s / period_s), "no burst is cut"
