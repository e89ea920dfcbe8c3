"""What reports say of a baseline that was measured at several loads of two workloads."""

from rich.console import Console

from reports import points, text, trials
from tests.tuner import result_builders as builders
from tuner.results import FrontPoint, Load, Point, Result, Validity

STEADY, *WEB = (
    builders.point(level=16),
    builders.point("web", 100, throughput=99, mode="open"),
    builders.point("web", 400, throughput=390, mode="open", violations={"p99": -0.5}),
)


def found(slowest: Point) -> Result:
    """The baseline is best where 400 requests per second are offered; of the lower rate there is another point."""
    own = builders.trial(0, STEADY, slowest, WEB[1])
    loads = {"web": Load(mode="open", level=400)}
    baseline = FrontPoint(trial=0, point=0, loads=loads, meets_slo=True, membership=1.0, on_front=True)
    one = builders.result(own)
    study = one.study.model_copy(update={"workloads": ["steady", "web"], "objectives": ["maximize web.throughput"]})
    return one.model_copy(update={"study": study, "baseline": baseline})


def test_yours_is_shown_under_the_loads_that_it_is_best_at() -> None:
    result = found(WEB[0])
    assert points.together_with(result, result.trial(0), STEADY) == (STEADY, WEB[1])
    assert [one[2] for one in points.two_sides(result, "web")] == [WEB[1]]
    rows = text.side_by_side(result)
    assert rows is not None
    assert ["web: throughput", "390/s"] in rows


def test_the_trials_have_a_row_for_each_load_that_a_point_goes_with() -> None:
    console = Console(width=120, record=True)
    console.print(trials.table(found(WEB[0])))
    rows = [" ".join(line.split()) for line in console.export_text().splitlines() if "in flight" in line]
    assert rows == [
        "0 16 in flight, web 100/s offered 99/s met",
        "16 in flight, web 400/s offered 390/s met",
    ]


def test_a_spoiled_point_of_a_complete_trial_has_no_verdict_among_the_trials() -> None:
    late = STEADY.model_copy(update={"validity": Validity(valid=False, reasons=["late"])})
    console = Console(width=120, record=True)
    console.print(trials.table(builders.result(builders.trial(0, late), builders.trial(1, STEADY))))
    rows = [" ".join(line.split()) for line in console.export_text().splitlines() if "in flight" in line]
    assert [row.partition("/s ")[2] for row in rows] == ["spoiled, not used", "met"]


def test_a_point_meets_the_slo_where_it_does_so_with_one_load_of_the_others() -> None:
    missed = [one.model_copy(update={"violations": {"p99": 0.1}}) for one in WEB]
    result = found(missed[0])
    assert points.meets(result, result.trial(0), STEADY)
    assert not points.meets(result, builders.trial(0, STEADY, *missed), STEADY)
