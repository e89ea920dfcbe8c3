"""What becomes of workloads that climbed each by itself: which of their loads go together, and what ranks best."""

from collections.abc import Mapping, Sequence
from types import SimpleNamespace

import pytest
from result_builders import GOALS, point, trial
from rich.console import Console
from workload_builders import workload

from reports import points, text, trials
from tests.tuner import result_builders as builders
from tuner.companions import best_first, companions
from tuner.confirm import contender_of
from tuner.findings import Findings
from tuner.objective import Goal
from tuner.rank import Candidate, best_of_each, by_value, candidates, pareto, worth
from tuner.results import FrontPoint, Load, Point, SloVerdict, Trial
from tuner.space import Space
from tuner.trial_words import TrialWords

BOTH = ["steady", "web"]


def climbed(number: int, *measured: Point) -> Trial:
    return trial(number, *measured).model_copy(update={"own_loads": True})


def seen(
    name: str, level: float, verdict: SloVerdict = "met", over: float | None = None, mode: str = "closed"
) -> Point:
    """Return a point that answers 100 a second for each request in flight."""
    share = over if over is not None else 0.5 if verdict == "missed" else -0.5
    one = point(name, level, throughput=100 * level, mode=mode, violations={"p99": share})
    return one.model_copy(update={"verdicts": {"p99": verdict}})


def steady(*levels: float, missed: float) -> list[Point]:
    return [*(seen("steady", level) for level in levels), seen("steady", missed, "missed")]


def web(*levels: float, missed: float, mode: str = "closed") -> list[Point]:
    return [*(seen("web", level, mode=mode) for level in levels), seen("web", missed, "missed", mode=mode)]


def levels_of(found: Sequence[Candidate]) -> list[tuple[float, ...]]:
    return [tuple(load.level for load in one.loads.values()) for one in found]


def best(found: Sequence[Candidate], goal: Goal = GOALS[0]) -> Candidate:
    return best_of_each(found, goal)[0]


@pytest.mark.parametrize("mode", ["closed", "open"])
def test_the_best_has_every_workload_at_its_own_highest_level(mode: str) -> None:
    one = climbed(1, *steady(4, 8, missed=16), *web(2, 3, missed=4, mode=mode))
    (top,) = levels_of([best(candidates([one], BOTH, GOALS))])
    assert top == (8, 3)
    assert {name: load.level for name, load in contender_of(best(candidates([one], BOTH, GOALS))).loads.items()} == {
        "steady": 8,
        "web": 3,
    }


def test_where_the_first_objective_is_of_another_workload_the_primary_one_is_at_its_highest_level_too() -> None:
    goal = Goal(True, "web", "throughput")
    one = climbed(1, *steady(4, 8, missed=16), *web(2, 3, missed=4))
    assert levels_of([best(candidates([one], BOTH, [goal]), goal)]) == [(8, 3)]
    assert worth(one, BOTH, [goal]).values == (300,)


def test_a_level_without_a_verdict_comes_after_those_that_are_certainly_sustained() -> None:
    one = climbed(1, *steady(4, missed=8), *web(2, missed=8), seen("web", 4, "undecided"))
    assert [found.load.level for found in best_first(one, "web")] == [2, 4, 8]
    assert levels_of([best(candidates([one], BOTH, GOALS))]) == [(4, 2)]


def test_a_workload_that_meets_its_slo_at_no_level_makes_the_trial_infeasible_by_what_came_closest() -> None:
    none = [seen("web", level, "missed", over) for level, over in ((4, 0.9), (2, 0.2), (1, 0.4))]
    one = climbed(1, seen("steady", 4), *none)
    assert not worth(one, BOTH, GOALS).feasible
    assert worth(one, BOTH, GOALS).violations["web.p99"] == 0.2


def test_a_trial_of_a_common_level_keeps_it() -> None:
    """So it is where levels are sampled, and in runs that were made before each workload climbed by itself."""
    one = trial(1, *steady(4, 8, missed=16), *web(2, 4, missed=8))
    assert levels_of(by_value(candidates([one], BOTH, GOALS), GOALS[0])) == [(4, 4)]


def test_the_classes_of_a_mix_stay_under_the_load_of_their_workload() -> None:
    mixed = [seen(name, level) for level in (2, 3) for name in ("web", "web.read", "web.write")]
    one = climbed(1, *steady(4, 8, missed=16), *mixed)
    found = candidates([one], ["steady", "web", "web.read", "web.write"], GOALS)
    assert {loads[1:] for loads in levels_of(found)} == {(2, 2, 2), (3, 3, 3)}


def test_a_class_that_misses_keeps_its_workload_off_a_level() -> None:
    mixed = [seen("web", 2), seen("web.read", 2), seen("web", 3), seen("web.read", 3, "missed")]
    one = climbed(1, *steady(4, missed=8), *mixed)
    assert levels_of([best(candidates([one], ["steady", "web", "web.read"], GOALS))]) == [(4, 2, 2)]


def test_many_levels_of_many_workloads_make_few_candidates() -> None:
    names = ["steady", "web", "third", "fourth"]
    one = climbed(1, *(seen(name, level) for name in names for level in range(1, 21)))
    assert len(candidates([one], names, GOALS)) == 20 * 2**3


def test_the_front_of_two_workloads_has_the_loads_that_no_other_beats() -> None:
    goals = [Goal(True, "steady", "throughput"), Goal(False, "web", "p99")]
    others = [
        seen("web", level).model_copy(update={"metrics": point(p99=p99).metrics})
        for level, p99 in ((1, 0.003), (2, 0.004), (4, 0.005), (8, 0.006))
    ]
    one = climbed(1, *steady(4, 8, missed=16), *others)
    found = [front for front in pareto(candidates([one], BOTH, goals), goals) if front.on_front]
    assert [(one.points[front.point].load.level, front.loads["web"].level) for front in found] == [(8, 1)]
    assert levels_of([best(candidates([one], BOTH, goals))]) == [(8, 8)], "the first objective has no say in it"


def test_yours_is_compared_at_the_next_lower_level_of_a_workload_where_it_missed_its_slo_again() -> None:
    study = SimpleNamespace(spec=SimpleNamespace(bounds=dict))
    found = Findings(study, None, [workload("steady"), workload("web")], GOALS)  # type: ignore[arg-type]
    found.trials = [climbed(0, *steady(4, 8, missed=16), *web(2, 3, missed=4))]
    first, second = found.baseline_contenders(2)
    assert [loads_of(one.loads) for one in (first, second)] == [{"steady": 8, "web": 3}, {"steady": 4, "web": 3}]
    found.own_missed.append(({"web": first.loads["web"]}, None))  # type: ignore[arg-type]
    own = found.baseline()
    assert own is not None
    assert loads_of(own.loads) == {"steady": 8, "web": 2}


def loads_of(loads: Mapping[str, Load]) -> dict[str, float]:
    return {name: load.level for name, load in loads.items()}


# What is told of it.


def test_a_trial_in_a_line_names_the_level_of_each_workload() -> None:
    one = climbed(1, *steady(4, 8, missed=16), *web(2, 3, missed=4))
    words = TrialWords(Space(()), GOALS)
    assert words.outcome(one) == "800/s p99 10 ms at 8 in flight, web 3 in flight"
    assert words.levels(one) == {"steady": 8, "web": 3}


OWN = climbed(0, *steady(4, 8, missed=16), *web(200, 300, missed=400, mode="open"))


def test_what_goes_with_a_point_is_the_best_of_the_other_workload() -> None:
    assert [one.load.level for one in companions(OWN, OWN.points[0])] == [300]
    result = builders.result(OWN)
    study = result.study.model_copy(update={"workloads": BOTH})
    result = result.model_copy(update={"study": study})
    assert [points.meets(result, OWN, one) for one in OWN.points[:3]] == [True, True, False]


def test_the_trials_have_rows_of_each_workload_by_itself() -> None:
    console = Console(width=120, record=True)
    console.print(trials.table(builders.result(OWN)))
    rows = [
        " ".join(line.split()) for line in console.export_text().splitlines() if " steady " in line or " web " in line
    ]
    assert rows == [
        "0 steady 4 in flight 400/s met",
        "steady 8 in flight 800/s met",
        "steady 16 in flight 1,600/s missed: p99",
        "web 200/s offered met",
        "web 300/s offered met",
        "web 400/s offered missed: p99",
    ]


def test_the_summary_has_the_load_of_each_other_workload() -> None:
    result = builders.result(OWN)
    study = result.study.model_copy(update={"workloads": BOTH})
    loads = {"web": Load(mode="open", level=300)}
    baseline = FrontPoint(trial=0, point=1, loads=loads, meets_slo=True, membership=1.0, on_front=True)
    best = builders.best(1).model_copy(update={"loads": {"web": Load(mode="open", level=500)}})
    rows = text.side_by_side(result.model_copy(update={"study": study, "baseline": baseline, "best": best}))
    assert rows is not None
    assert ["web: load", "300/s offered", "500/s offered"] in rows


def test_where_only_loads_are_searched_the_answer_names_them_all() -> None:
    best = builders.best(0).model_copy(update={"loads": {"web": Load(mode="open", level=500)}})
    said = text.headline(builders.result(OWN).model_copy(update={"best": best}))
    assert said.endswith("at 4 in flight, web 500/s offered")
