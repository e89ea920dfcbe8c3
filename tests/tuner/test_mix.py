"""Classes of requests in one workload: what each is held to, what is told of it, and when a window may end."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from numpy.typing import NDArray
from record_builders import answered, records, with_events
from workload_builders import workload

from targets.base import Outcome
from tests.support.load_runs import closed, plan
from tuner.instruments import slos_of
from tuner.load.plan import ClassPlan, ClosedLoop, RunReport
from tuner.measure import Meter
from tuner.metrics import summarise
from tuner.previewing import previews
from tuner.records import Records
from tuner.results import Load, SloVerdict
from tuner.runs import Run
from tuner.slo import Slo
from tuner.stopping import OPEN, Aims, Decision, at_the_cap, decide
from tuner.stopping import Pace as LookPace
from tuner.study.load import Study, load_study
from tuner.study.source import StudyError
from tuner.telemetry.nvml import Gpus
from tuner.telemetry.sampler import Sampler
from tuner.traffic import make_workloads
from tuner.workload import part_named, parts_of
from workloads.requests import Prompts

PROMPTS = {"source": "synthetic", "input_tokens": 5, "output_tokens": 8, "count": 20, "fresh": False}
SHOP: dict[str, object] = {
    "browse": {"weight": 3, "requests": PROMPTS},
    "pay": {"weight": 1, "requests": {**PROMPTS, "count": 7}, "timeout": "200 ms", "slo": {"p99": "5 ms"}},
}


def study(folder: Path, mix: object = None, target: object = None, **keys: object) -> Study:
    """Return a study with a workload that mixes these classes."""
    content = {
        "study": "shop",
        "target": target or {"kind": "openai", "url": "http://127.0.0.1:8000", "model": "some"},
        "workloads": {"shop": {"arrival": {"process": "poisson", "rate": "100/s"}, "mix": mix or SHOP, **keys}},
        "space": {"rate": ["100/s"]},
        "slo": {"p99": "50 ms", "error_rate": "1%"},
    }
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return load_study(path)


def refusal(folder: Path, mix: object = None, target: object = None, **keys: object) -> str:
    with pytest.raises(StudyError) as caught:
        make_workloads(study(folder, mix, target, **keys))
    return str(caught.value)


# The study.


def test_a_metric_with_a_bound_of_a_class_is_judged_class_by_class(tmp_path: Path) -> None:
    assert study(tmp_path).spec.bounds() == {
        "shop": {"error_rate": 0.01},
        "shop.browse": {"p99": 0.05},
        "shop.pay": {"p99": 0.005},
    }


def test_a_throughput_of_all_requests_is_none_of_each_class(tmp_path: Path) -> None:
    classes = {name: {"requests": PROMPTS} for name in ("a", "b")}
    classes["b"]["slo"] = {"throughput_at_least": "20/s", "p99": "5 ms"}
    assert study(tmp_path, classes, slo={"throughput_at_least": "60/s"}).spec.bounds() == {
        "shop": {"throughput_at_least": 60.0, "error_rate": 0.01},
        "shop.a": {"p99": 0.05},
        "shop.b": {"throughput_at_least": 20.0, "p99": 0.005},
    }


def test_without_bounds_of_classes_all_requests_are_judged_together(tmp_path: Path) -> None:
    plain = {name: {"requests": PROMPTS} for name in ("a", "b")}
    assert study(tmp_path, plain).spec.bounds() == {
        "shop": {"p99": 0.05, "error_rate": 0.01},
        "shop.a": {},
        "shop.b": {},
    }


def test_the_classes_of_a_mix_have_their_own_requests_and_timeouts(tmp_path: Path) -> None:
    (shop,) = make_workloads(study(tmp_path, timeout="3 s"))
    assert [(one.name, len(one.dataset), one.timeout_s, one.weight) for one in shop.classes] == [
        ("browse", 20, 3.0, 3),
        ("pay", 7, 0.2, 1),
    ]
    assert shop.timeout_s == 3.0
    assert [part.name for _, part in parts_of([shop])] == ["shop", "shop.browse", "shop.pay"]
    assert part_named([shop], "shop.pay") == (shop, shop.parts[2])
    texts = [set(map(str, one.dataset.texts)) for one in shop.classes if isinstance(one.dataset, Prompts)]
    assert not texts[0] & texts[1], "classes of the same source have seeds of their own"


def test_a_priority_is_that_of_every_request_of_the_class(tmp_path: Path) -> None:
    mix = {"low": {"requests": PROMPTS}, "high": {"requests": PROMPTS, "priority": 1}}
    (shop,) = make_workloads(study(tmp_path, mix))
    assert [getattr(one.dataset, "priority", None) for one in shop.classes] == [0, 1]
    assert [one.priority for one in shop.classes] == [0, 1]


def test_the_classes_in_turn_are_those_of_the_requests_that_a_closed_loop_sends() -> None:
    mixed = workload(mix={"one": 1, "two": 2, "three": 3}, items=5)
    loop = mixed.loop(Load(mode="closed", level=4), 1.0)
    assert isinstance(loop, ClosedLoop)
    assert (mixed.classes_in_turn(1000) == mixed.classes_of(loop.order[:1000])).all()
    assert mixed.classes_of(np.array([0, 4, 5, 9, 10, 14], np.int32)).tolist() == [0, 0, 1, 1, 2, 2]
    assert mixed.shares == pytest.approx([1 / 6, 2 / 6, 3 / 6])


@pytest.mark.parametrize(
    ("mix", "keys", "says"),
    [
        (SHOP, {"requests": PROMPTS}, "workloads.shop: give `requests`, or a `mix` of classes that have them"),
        (SHOP, {"repeats": {"share": "10%"}}, "give it in the classes of the mix"),
        ({"pay": {"weight": 0, "requests": PROMPTS}}, {}, "workloads.shop.mix.pay.weight"),
        ({"pay": {"weight": 1}}, {}, "workloads.shop.mix.pay.requests: missing; add it"),
        ({"pay": {"requests": PROMPTS, "slo": {"p98": "1 s"}}}, {}, "did you mean"),
        ({"p.y": {"requests": PROMPTS}}, {}, "workloads.shop.mix"),
    ],
)
def test_what_is_wrong_with_a_mix_points_at_its_line(
    tmp_path: Path, mix: object, keys: dict[str, object], says: str
) -> None:
    assert says in refusal(tmp_path, mix, **keys)


def test_a_workload_without_requests_or_a_mix_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    text = yaml.safe_load(study(tmp_path).source.text)
    del text["workloads"]["shop"]["mix"]
    path.write_text(yaml.safe_dump(text))
    with pytest.raises(StudyError, match=r"workloads\.shop: give `requests`"):
        load_study(path)


TENSORS = {"source": "tensors"}


@pytest.mark.parametrize(
    ("one", "says"),
    [
        ({"priority": 1}, "workloads.shop.mix.pay.priority: mlserver takes no priorities of requests; take it out"),
        ({"slo": {"ttft_p99": "1 s"}}, "workloads.shop.mix.pay.slo.ttft_p99: mlserver does not stream tokens"),
    ],
)
def test_what_the_target_does_not_have_is_refused_in_a_class(tmp_path: Path, one: dict[str, object], says: str) -> None:
    mlserver = {"kind": "mlserver", "model": "some", "repository": "."}
    assert says in refusal(tmp_path, {"pay": {"requests": TENSORS, **one}}, mlserver)


def test_the_preview_of_a_mix_has_one_of_each_class(tmp_path: Path) -> None:
    one = study(tmp_path)
    whole, browse, pay = previews(make_workloads(one)[0], one, 100.0)
    assert [each.workload for each in (whole, browse, pay)] == ["shop", "shop.browse", "shop.pay"]
    assert len(browse.offsets_s) + len(pay.offsets_s) == len(whole.offsets_s)
    assert len(pay.offsets_s) == pytest.approx(len(whole.offsets_s) / 4, rel=0.1)
    assert pay.requests.max() == 6
    assert pay.arrival == "25.0% of shop"
    assert pay.sizes["output tokens"].tolist() == [8] * 7


# What is told of a class.


def of_classes(latencies_ms: list[float], classes: list[int]) -> Records:
    """Return requests due every 0.5 ms, with these latencies and of these classes."""
    made = records([answered(0.5 * index, latency) for index, latency in enumerate(latencies_ms)])
    return replace(made, columns={**made.columns, "class": np.array(classes, np.int16)})


def test_a_request_is_good_when_it_keeps_the_bound_of_its_class() -> None:
    some = of_classes([4, 8, 4, 8], [0, 0, 1, 1])
    slo = Slo({}, (Slo({"p99": 0.005}), Slo({"p99": 0.01})))
    assert summarise(some, slo)["goodput_rps"].value * some.window_s == 3
    assert summarise(some.of_class(0), slo.classes[0])["goodput_rps"].value * some.window_s == 1


def test_the_events_of_a_class_belong_to_its_answers() -> None:
    some = with_events(of_classes([4, 8, 4], [0, 1, 1]), (0, 5, 1), (2, 7, 2), (1, 9, 3), (2, 8, 4))
    own = some.of_class(1)
    assert own.events.tolist() == [(1, 7, 2), (0, 9, 3), (1, 8, 4)]
    assert own.rows["done_ns"].tolist() == some.rows["done_ns"][1:].tolist()
    assert some.events["row"].tolist() == [0, 2, 1, 2], "the whole is as it was"


def test_a_point_says_which_requests_of_the_records_are_its_own() -> None:
    shop = workload("shop", mix={"browse": 3, "pay": 1})
    slos = {part.name: Slo({}) for part in shop.parts}
    meter = Meter(None, Sampler(Gpus()), slos, Path())  # type: ignore[arg-type]
    run = Run(of_classes([4, 8, 4], [0, 1, 1]), None, 0.1, RunReport(3, 0.5, 0, 0.0, 0, 0))
    load = Load(mode="closed", level=1)
    points = [meter.point(run, shop, part, load, {}, Decision("cap", {}, ({}, {})), None) for part in shop.parts]
    assert [(one.workload, one.request_class, one.outcomes["ok"]) for one in points] == [
        ("shop", None, 3),
        ("shop.browse", 0, 1),
        ("shop.pay", 1, 2),
    ]


def test_a_class_that_was_not_answered_misses_its_throughput_and_no_other_bound() -> None:
    shop = workload("shop", mix={"browse": 3, "pay": 1})
    slos = {part.name: Slo({"p99": 1.0, "throughput_at_least": 2.0} if part.index == 1 else {}) for part in shop.parts}
    meter = Meter(None, Sampler(Gpus()), slos, Path())  # type: ignore[arg-type]
    run = Run(of_classes([4, 8, 4], [0, 0, 0]), None, 0.1, RunReport(3, 0.5, 0, 0.0, 0, 0))
    load = Load(mode="closed", level=1)
    decision = Decision("cap", {}, ({}, {}))
    assert meter.point(run, shop, shop.parts[2], load, {}, decision, None).violations == {"throughput_at_least": 1.0}


def test_the_class_of_a_request_follows_from_its_number(tmp_path: Path) -> None:
    mixed = plan(1, closed(1), tmp_path, ["/"], classes=(ClassPlan(0, 5), ClassPlan(3, 9)))
    assert mixed.class_of(np.array([0, 2, 3, 5])).tolist() == [0, 0, 1, 1]
    assert [mixed.timeout_of(request) for request in (0, 2, 3, 5)] == [5, 5, 9, 9]
    plain = plan(1, closed(1), tmp_path, ["/"])
    assert plain.class_of(np.array([0, 7])).tolist() == [0, 0]
    assert plain.timeout_of(7) == plain.timeout_ns


def test_what_is_asked_of_the_classes_is_part_of_what_is_asked_of_the_workload() -> None:
    shop = workload(mix={"browse": 3, "pay": 1})
    assert slos_of({"steady": {}, "steady.browse": {}, "steady.pay": {"p99": 1.0}}, [shop])["steady"] == Slo(
        {}, (Slo({}), Slo({"p99": 1.0}))
    )


# When a window may end.


def asked(*bounds_s: float) -> Aims:
    slo = Slo({}, tuple(Slo({"p99": bound_s}) for bound_s in bounds_s))
    return Aims(slo, None, (), (), tolerance=0.05, confidence=0.99)


def told(some: Records, aims: Aims) -> tuple[str | None, list[SloVerdict]]:
    found = decide(some, aims, 3)
    return (found.ending, [one["p99"] for one in found.classes]) if found else (None, [])


FAST = np.full(2000, 4.0)
ALTERNATING = np.arange(2000) % 2


def latencies(slow_of: int, slow_ms: float = 30.0) -> NDArray[np.float64]:
    return np.where(slow_of == ALTERNATING, slow_ms, FAST)


def test_a_window_ends_when_every_class_certainly_meets_its_bound() -> None:
    some = of_classes(FAST.tolist(), ALTERNATING.tolist())
    assert told(some, asked(0.01, 0.02)) == ("certain", ["met", "met"])


def test_a_window_ends_when_one_class_certainly_misses_its_bound() -> None:
    some = of_classes(latencies(slow_of=1).tolist(), ALTERNATING.tolist())
    assert told(some, asked(0.01, 0.02)) == ("missed", ["met", "missed"])
    assert told(some, asked(0.01, 0.04)) == ("certain", ["met", "met"])


def test_a_rare_class_keeps_the_window_going() -> None:
    classes = (np.arange(2000) % 100 == 0).astype(int)
    assert told(of_classes(FAST.tolist(), classes.tolist()), asked(0.01, 0.02)) == (None, [])


def test_a_request_that_has_not_ended_may_be_of_any_class() -> None:
    """It is no failure of a class, but no class is certain to meet its bound with enough of them."""
    some = of_classes(FAST.tolist(), ALTERNATING.tolist())
    late = np.arange(2000) % 20 == 0
    columns = dict(some.columns)
    columns["class"] = np.where(late, OPEN, columns["class"])
    columns["worker"] = np.where(late, OPEN, columns["worker"])
    columns["outcome"] = np.where(late, int(Outcome.TIMEOUT), columns["outcome"])
    assert told(replace(some, columns=columns), asked(0.01, 0.02)) == (None, [])


def test_at_the_cap_every_class_has_its_verdict() -> None:
    some = of_classes(latencies(slow_of=0).tolist(), ALTERNATING.tolist())
    found = at_the_cap(some, asked(0.01, 0.02), LookPace.fixed(0.0, 1.0))
    assert [dict(one) for one in found.classes] == [{"p99": "missed"}, {"p99": "met"}]
    assert found.of(1) == {"p99": "met"}
    assert found.of(None) == {}


def test_classes_share_the_error() -> None:
    assert asked(0.01, 0.02).error(2) == pytest.approx(0.01 / 2 / 3)
    assert asked().error(2) == pytest.approx(0.01 / 2)


def test_a_request_is_slow_for_sure_beyond_the_bound_of_every_class() -> None:
    assert asked(0.01, 0.02).slow_s == 0.02


def test_a_class_without_a_request_has_missed_nothing_and_keeps_the_window_going() -> None:
    some = of_classes(FAST.tolist(), [0] * len(FAST))
    assert told(some, asked(0.01, 0.02)) == (None, [])
    errors = Aims(Slo({}, (Slo({}), Slo({"error_rate": 0.01}))), None, (), (), tolerance=0.05, confidence=0.99)
    assert decide(some, errors, 3) is None


def test_no_request_is_slow_for_sure_where_a_class_has_no_bound() -> None:
    slo = Slo({}, (Slo({}), Slo({"p99": 0.005})))
    assert Aims(slo, "p99", (), (), tolerance=0.05, confidence=0.99).slow_s is None
    both = Slo({"p99": 0.05}, (Slo({}), Slo({"error_rate": 0.1})))
    assert Aims(both, "p99", (), (), tolerance=0.05, confidence=0.99).slow_s == 0.05


def test_the_objective_of_a_class_is_known_well_by_its_own_requests() -> None:
    """A twentieth of the requests is of the class, whose latencies differ widely."""
    rare = np.arange(2000) % 20 == 0
    spread_ms = np.where(rare, np.random.default_rng(0).exponential(4.0, 2000) + 1.0, FAST)
    some = of_classes(spread_ms.tolist(), rare.astype(int).tolist())
    slo = Slo({"p50": 1.0}, (Slo({}), Slo({})))
    whole = Aims(slo, "p50", (), (), tolerance=0.05, confidence=0.99)
    ending = decide(some, whole, 3)
    assert ending is not None
    assert ending.ending == "certain"
    assert decide(some, replace(whole, of_class=1), 3) is None
