"""Workloads of several models that are measured at once: what the study may say, and what they share."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import workload_builders
from record_builders import answered, records
from result_builders import GOALS, point, trial

from targets.base import Knob
from tuner import validity
from tuner.confirm import contender
from tuner.course import Course
from tuner.levels import check_levels
from tuner.load.plan import RunReport
from tuner.load_plans import Climb, Ladder
from tuner.metrics import totals
from tuner.nesting import flat
from tuner.offered import Offered, leading, paced
from tuner.rank import candidates
from tuner.results import Load, Point
from tuner.runs import Beside, Run, pooled_runs
from tuner.slo import Slo
from tuner.space import Space, make_space
from tuner.stopping import Decision, Pace
from tuner.study.load import Study, load_study
from tuner.study.source import StudyError
from tuner.workload import Workload, at_once, every_load, groups, longest_round_s, rounds_of
from workloads.arrivals import Bursty, Poisson

STUDY = """
study: pair
target:
  kind: triton
  repository: models
  models: {digits: {}, language: {}}
workloads:
  shop:
    model: digits
    arrival: {process: closed, concurrency: 4}
    requests: {source: tensors}
    slo: {p99: 5 ms}
  chat:
    model: language
    arrival: {process: poisson, rate: 50/s}
    requests: {source: tensors}
space:
  models:
    digits: {instances: [1, 2]}
slo: {p99: 100 ms, error_rate: 1%}
objectives: [maximize total_goodput, minimize chat.p99]
"""


def study(folder: Path, *replaced: tuple[str, str]) -> Study:
    text = STUDY
    for old, new in replaced:
        assert old in text
        text = text.replace(old, new)
    return load_study(folder / "pair.yaml", text=text)


# what a study says


def test_a_bound_of_a_workload_holds_in_place_of_the_studys(tmp_path: Path) -> None:
    found = study(tmp_path).spec
    assert found.bounds() == {"shop": {"p99": 0.005, "error_rate": 0.01}, "chat": {"p99": 0.1, "error_rate": 0.01}}
    assert found.target.several == ("digits", "language")


ONE = ("models: {digits: {}, language: {}}", "model: digits")


@pytest.mark.parametrize(
    ("replaced", "expected"),
    [
        (
            [("    model: language\n", "")],
            "pair.yaml:13: workloads.chat: `target.models` has several: say which `model` is asked (digits, language)",
        ),
        (
            [("model: language", "model: other")],
            "pair.yaml:14: workloads.chat.model: 'other' is none of `target.models` (digits, language)",
        ),
        (
            [("model: language", "model: digits")],
            "pair.yaml:6: target.models.language: no workload asks it; give one `model: language`, or take it out",
        ),
        ([ONE], "pair.yaml:21: objectives.0: expected `maximize "),
        (
            [ONE, ("maximize total_goodput", "maximize goodput")],
            "pair.yaml:9: workloads.shop.model: the server has one model; take it out, or name several in "
            "`target.models`",
        ),
        (
            [ONE, ("total_goodput", "goodput"), ("    model: digits\n", ""), ("    model: language\n", "")],
            "pair.yaml:9: workloads.shop.arrival.concurrency: is for workloads that are measured at once "
            "(`target.models`); give `space.concurrency`",
        ),
        (
            [("models: {digits", "model: digits\n  models: {digits")],
            "pair.yaml:6: target.model: `models` names digits, language already; keep one of the two",
        ),
        (
            [("repository: models", "launch: remote\n  url: http://localhost:8000")],
            "pair.yaml:3: target: `models` is for a server that Paretune starts; with `launch: remote` tune",
        ),
        (
            [("repository: models", "repository: models\n  variants: {a: {}}")],
            "pair.yaml:3: target: `variants` are of one model: give them under `models`, with the model",
        ),
        (
            [("p99: 5 ms", "ttft_p99: 5 ms")],
            "pair.yaml:12: workloads.shop.slo.ttft_p99: triton does not stream tokens, so its answers have none",
        ),
    ],
)
def test_what_does_not_go_together_is_refused_at_its_line(
    tmp_path: Path, replaced: list[tuple[str, str]], expected: str
) -> None:
    with pytest.raises(StudyError) as refused:
        study(tmp_path, *replaced)
    assert str(refused.value).removeprefix(f"{tmp_path}/").startswith(expected)


OF_DIGITS = Knob("digits.instances", "int", 1, None, 1, "", "reload", "", place=("models", "digits", "instances"))
KNOBS = [OF_DIGITS, Knob("threads", "int", 1, None, 1, "", "reload", "")]


def made_space(folder: Path, *replaced: tuple[str, str]) -> Space:
    one = study(folder, *replaced)
    return make_space(flat(one.spec.space, KNOBS, one.source), KNOBS, one.source)


def test_the_knobs_of_each_model_stand_under_it_and_have_its_name(tmp_path: Path) -> None:
    whole = made_space(tmp_path, ("[1, 2]}\n", "[1, 2]}\n  threads: 4\nconstraints: [digits.instances <= threads]\n"))
    assert [(one.name, one.values) for one in whole] == [("digits.instances", (1, 2)), ("threads", (4,))]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (
            "digits: {instance: 1}",
            "pair.yaml:19: space.models.digits.instance: no such name under `models.digits`; did you mean `instances`?",
        ),
        ("digits: {instances: 0}", "pair.yaml:19: space.models.digits.instances: 0 is out of the legal range"),
        ("digits: 3", "pair.yaml:19: space.models.digits: expected a mapping of instances, but got 3"),
        (
            "digits: {instances: 1}\n  digits.instances: 2",
            "pair.yaml:20: space.digits.instances: stands deeper; write `models: {digits: {instances: ...}}`",
        ),
    ],
)
def test_a_wrong_entry_of_a_model_points_at_its_line(tmp_path: Path, given: str, expected: str) -> None:
    with pytest.raises(StudyError) as refused:
        made_space(tmp_path, ("digits: {instances: [1, 2]}", given))
    assert str(refused.value).removeprefix(f"{tmp_path}/").startswith(expected)


# what shares a window

FIXED = replace(workload_builders.workload("fixed"), model="digits", concurrency=4)
CLOSED = replace(workload_builders.workload("closed"), model="digits")
OPEN = replace(workload_builders.workload("open", Poisson(50.0)), model="language")
BURSTS = replace(workload_builders.workload("bursts", Bursty(10, 0.5)), model="language")


def space(**levels: tuple[float | str, ...]) -> Space:
    raw: dict[str, Any] = {name: list(values) for name, values in levels.items()}
    return make_space(raw, [], study(Path()).source)


def test_workloads_of_several_models_share_a_window_others_do_not() -> None:
    alone = [workload_builders.workload("a"), workload_builders.workload("b")]
    assert not at_once(alone)
    assert groups(alone) == [(alone[0],), (alone[1],)]
    assert groups([FIXED, OPEN]) == [(FIXED, OPEN)]


def levels(windows: list[tuple[tuple[Workload, Load], ...]]) -> list[list[tuple[str, float]]]:
    return [[(one.name, load.level) for one, load in window] for window in windows]


def test_each_combination_of_the_levels_is_a_window_of_all() -> None:
    found = every_load([FIXED, CLOSED, OPEN], space(concurrency=(1, 2)))
    assert levels(found) == [
        [("fixed", 4), ("closed", 1), ("open", 50)],
        [("fixed", 4), ("closed", 2), ("open", 50)],
    ]
    assert levels(every_load([FIXED, OPEN], space())) == [[("fixed", 4), ("open", 50)]]


def test_the_longest_period_says_where_the_window_may_begin_and_end() -> None:
    short = replace(BURSTS, name="short", arrivals=Bursty(10, 0.1))
    offered = [Offered(one, one.at(None)) for one in (FIXED, short, BURSTS, OPEN)]
    assert leading(offered).workload is BURSTS
    assert leading(offered).edge_s(0.1) == pytest.approx(0.25), "the middle of its pause"
    assert paced(offered, Pace.fixed(0.1, 0.2)).window_s == pytest.approx(0.5), "a period of the longest"


def test_rounds_are_as_long_and_as_many_as_the_one_with_the_most_needs() -> None:
    assert longest_round_s((FIXED, BURSTS), 0.3) == pytest.approx(2.0)
    assert rounds_of((FIXED, BURSTS), {"fixed": 3, "bursts": 7}) == 7


def in_window(number: int, name: str, level: float, *, met: bool = True, throughput: float = 1.0) -> Point:
    one = point(name, level, throughput, violations={"p99": -0.5 if met else 0.5})
    return one.model_copy(update={"window": number, "verdicts": {"p99": "met" if met else "missed"}})


def test_what_goes_with_a_point_is_what_shared_its_window() -> None:
    """The load of the other one never changes, but what it suffers beside this one does."""
    points = [in_window(number, name, 4) for number in (0, 1) for name in ("steady", "other")]
    slow = points[3].model_copy(update={"violations": {"p99": 1.0}})
    whole = trial(1, *points[:3], slow)
    found = candidates([whole], ["steady", "other"], GOALS)
    assert [(one.point, one.feasible) for one in found] == [(0, True), (2, False)]


def test_a_contender_has_the_loads_of_its_window() -> None:
    whole = trial(
        1,
        in_window(0, "fixed", 4),
        in_window(0, "closed", 1),
        in_window(1, "fixed", 4),
        in_window(1, "closed", 8),
    )
    assert {name: load.level for name, load in contender(whole, 2, [FIXED, CLOSED]).loads.items()} == {
        "fixed": 4,
        "closed": 8,
    }


def test_a_climb_measures_all_at_each_level_and_goes_up_while_all_meet_their_slo() -> None:
    climb = Climb([CLOSED, FIXED], Ladder({"concurrency": (1, 2, 4, 8)}, 0.05), {"closed": 1})
    points: list[Point] = []
    asked: list[list[tuple[str, float]]] = []
    while (window := climb.next(points)) is not None:
        asked += levels([window])
        level = window[0][1].level
        number = len(asked) - 1
        points += [in_window(number, "closed", level), in_window(number, "fixed", 4, met=level < 3)]
    assert [window[0][1] for window in asked] == [1, 2, 4, 3]
    assert all(window[1] == ("fixed", 4) for window in asked)


def test_workloads_that_are_measured_at_once_climb_one_kind_of_load(tmp_path: Path) -> None:
    text = (
        ("{process: closed, concurrency: 4}", "{process: closed}"),
        ("space:\n", "load: {search: max_under_slo}\nspace:\n  concurrency: [1, 2]\n  rate: [10/s, 50/s]\n"),
    )
    one, pair = study(tmp_path, *text), (replace(CLOSED, name="shop"), replace(OPEN, name="chat"))
    with pytest.raises(StudyError, match=r"space\.rate: `load\.search: max_under_slo` searches one level for all"):
        check_levels(one, space(concurrency=(1, 2), rate=("10/s", "50/s")), pair)
    check_levels(one, space(concurrency=(1, 2)), pair)


# what is told of the window

QUIET = RunReport(requests=100, cpu_share=0.2, stalls=0, longest_stall_s=0.0, queue_max=1, waiting_max=0)
SLOS = {"shop": Slo({"p99": 0.008}), "chat": Slo({"p99": 0.1})}


def run(every_ms: float, latency_ms: float, from_ms: float = 0) -> Run:
    """Return a second of evenly spaced requests."""
    times = from_ms + np.arange(0, 1000, every_ms)
    made = records([answered(at, latency_ms) for at in times], (from_ms, from_ms + 1000))
    return Run(made, None, 0.1, QUIET)


def besides(one: Run) -> dict[str, Beside]:
    return {"chat": Beside(one.records, one.report)}


def test_totals_add_up_what_was_answered_and_count_each_by_its_own_bound() -> None:
    slow = run(20, 12)
    together = replace(run(10, 4), beside=besides(slow))
    found = totals(together, "shop", SLOS)
    assert found["total_throughput_rps"].value == pytest.approx(150, abs=1)
    assert found["total_goodput_rps"].value == pytest.approx(150, abs=1)
    swapped = {"shop": SLOS["chat"], "chat": SLOS["shop"]}
    assert totals(together, "shop", swapped)["total_goodput_rps"].value == pytest.approx(100, abs=1)
    assert totals(run(10, 4), "shop", SLOS) == {}
    later = replace(run(10, 4, from_ms=2000), beside=besides(run(20, 12, from_ms=2000)))
    pooled = totals(pooled_runs([together, later]), "shop", SLOS)
    assert pooled["total_throughput_rps"].value == pytest.approx(150, abs=1)


def test_a_load_that_was_sent_late_spoils_what_ran_beside_it() -> None:
    late = run(10, 30)
    late.records.columns["sent_ns"][:] += 20_000_000
    found = validity.reasons(replace(run(10, 4), beside=besides(late)), "shop", SLOS, None)
    assert len(found) == 1
    assert found[0].startswith("chat, at the same time: the load generator sent late")


@pytest.mark.parametrize(("cpus", "valid"), [(None, True), (2, True), (1, False)])
def test_generators_that_share_cpus_are_judged_by_what_they_use_together(cpus: int | None, valid: bool) -> None:
    busy = replace(QUIET, cpu_share=0.5)
    both = replace(run(10, 4), report=busy, beside={"chat": Beside(run(10, 4).records, busy)})
    found = validity.reasons(both, "shop", SLOS, cpus)
    assert (found == []) is valid
    assert valid or "together they used 100% of the CPU that they share" in found[0]


class Told:
    """A load that is decided at its n-th look; nothing runs."""

    def __init__(self, at: int, ending: str) -> None:
        self.looks, self.at, self.ending = 0, at, ending
        self.aims = object()

    def decided(self, looks: int) -> Decision | None:  # noqa: ARG002 - as a lane has it
        self.looks += 1
        return Decision(self.ending, {"p99": "met"}) if self.looks >= self.at else None  # type: ignore[arg-type]

    def given_up(self, looks: int, ending: str) -> Decision:  # noqa: ARG002 - as a lane has it
        return Decision(ending, {"p99": "undecided"})  # type: ignore[arg-type]


def endings(*lanes: Told, looks: int) -> list[list[str | None]]:
    course = Course(lanes, Pace.fixed(0, 1), float)  # type: ignore[arg-type]
    decisions: list[Decision | None] = [None] * len(lanes)
    found = []
    for _ in range(looks):
        decisions = course._look(decisions, 5)
        found.append([one and one.ending for one in decisions])
    return found


def test_a_window_goes_on_until_there_is_a_decision_on_each() -> None:
    first = Told(1, "certain")
    found = endings(first, Told(3, "certain"), looks=3)
    assert found == [["certain", None], ["certain", None], ["certain", "certain"]]
    assert first.looks == 1, "what was decided stays so"


@pytest.mark.parametrize("lost", ["missed", "dominated"])
def test_when_one_has_lost_the_window_of_all_ends(lost: str) -> None:
    assert endings(Told(9, "certain"), Told(2, lost), looks=2) == [[None, None], [lost, lost]]
