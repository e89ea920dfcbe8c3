"""The front as the report's chart and front.csv show it."""

import csv
import math
from typing import Any

import pytest

from reports import html, tables
from reports.charts.drawing import Drawing
from reports.charts.front import FAINTEST, front_chart
from reports.charts.predictions import prediction_chart
from reports.charts.trial_data import trial_data
from tests.tuner import result_builders as builders
from tuner.results import Estimate, FrontPoint, KnobInfo, Load, Point, Result, Validity, Value
from tuner.run_info import SearchInfo


def measured(throughput: Estimate, p99: Estimate) -> Point:
    others = {"latency_p50_s": p99, "error_rate": estimate(0.0, 0.0, 0.01)}
    one = builders.point(level=4, violations={"p99": -0.5})
    metrics = {**one.metrics, **others, "throughput_rps": throughput, "latency_p99_s": p99}
    return one.model_copy(update={"metrics": metrics})


def result(*pairs: tuple[Estimate, Estimate], front: list[FrontPoint]) -> Result:
    """Return a result whose trials have one point each, of the given throughput and p99."""
    trials = [builders.trial(number, measured(*pair)) for number, pair in enumerate(pairs, 1)]
    return builders.result(*trials).model_copy(update={"front": front})


def estimate(value: float, low: float, high: float) -> Estimate:
    return Estimate(value=value, low=low, high=high, n=100)


def member(trial: int, membership: float, on_front: bool) -> FrontPoint:
    return FrontPoint(trial=trial, point=0, meets_slo=True, membership=membership, on_front=on_front)


def traces(drawing: Drawing, key: str | None = None) -> dict[str, Any]:
    """Return what a chart draws, by its name in the legend."""
    picture = drawing.first if key is None else drawing.pictures[key]
    return {str(trace["name"]): trace for trace in picture.traces}


@pytest.fixture
def found() -> Result:
    """Trial 1 leads, 2 may be on the front, 3 is listed with bounds missing, 4 is not listed."""
    return result(
        (estimate(200, 190, 220), estimate(0.005, 0.004, 0.007)),
        (estimate(195, 180, 210), estimate(0.006, 0.005, 0.008)),
        (estimate(300, 0.0, math.inf), estimate(0.009, -math.inf, math.inf)),
        (estimate(100, 90, 110), estimate(0.020, 0.018, 0.022)),
        front=[member(2, 0.2, False), member(1, 0.83, True), member(3, 1.0, True)],
    )


def test_the_line_joins_the_points_that_are_on_the_front_by_their_values(found: Result) -> None:
    line = traces(front_chart(found))["Pareto front"]
    assert list(zip(line["x"], line["y"], strict=True)) == [(200, 5), (300, 9)]


def test_a_point_is_the_fainter_the_less_probably_it_is_on_the_front(found: Result) -> None:
    opacity = traces(front_chart(found))["meets every SLO"]["marker"]["opacity"]
    assert opacity[2] == 1.0
    assert opacity[2] > opacity[0] > opacity[1] > opacity[3] == FAINTEST > 0.1


def test_listed_points_have_their_intervals_as_bars_where_there_are_bounds(found: Result) -> None:
    points = traces(front_chart(found))["meets every SLO"]
    assert points["error_x"]["array"] == [20, 15, 0, 0]
    assert points["error_x"]["arrayminus"] == [10, 15, 0, 0]
    assert points["error_y"]["array"] == pytest.approx([2, 2, 0, 0])
    assert points["error_y"]["arrayminus"] == pytest.approx([1, 1, 0, 0])


def test_a_listed_point_says_how_probable_its_place_is(found: Result) -> None:
    assert traces(front_chart(found))["meets every SLO"]["customdata"] == [0, 1, 2, 3]
    points = trial_data(found)["points"]
    assert isinstance(points, dict)
    assert points["member"] == [0.83, 0.2, 1.0, None]


def test_the_report_explains_why_points_are_faint(found: Result) -> None:
    assert "The fainter a point, the less probably it is on the front" in html.render(found)


def test_the_csv_file_has_every_listed_point_with_its_probability(found: Result) -> None:
    rows = list(csv.DictReader(tables.front_csv(found).splitlines()))
    assert [(row["trial"], row["membership"], row["on_front"]) for row in rows] == [
        ("2", "0.2", "False"),
        ("1", "0.83", "True"),
        ("3", "1", "True"),
    ]


def test_the_csv_file_says_at_which_loads_of_the_other_workloads_a_point_is_judged(found: Result) -> None:
    second, first, alone = found.front
    levels = {"bursty": Load(mode="open", level=50.5), "shop.pay": Load(mode="closed", level=3)}
    front = [
        second.model_copy(update={"loads": levels}),
        first.model_copy(update={"loads": {**levels, "bursty": Load(mode="open", level=200)}}),
        alone,
    ]
    rows = list(csv.DictReader(tables.front_csv(found.model_copy(update={"front": front})).splitlines()))
    told = [(row["trial"], row["load_level"], row["load_level_bursty"], row["load_level_shop.pay"]) for row in rows]
    assert told == [("2", "4", "50.5", "3"), ("1", "4", "200", "3"), ("3", "4", "", "")]


def test_a_duration_and_a_size_carry_their_unit_in_their_name() -> None:
    knobs = [
        KnobInfo(name=name, unit=unit, applied="reload", doc="", values=[])
        for name, unit in (("max_queue_delay", "s"), ("instances", ""), ("cache_size", "bytes"))
    ]
    config: dict[str, Value] = {"max_queue_delay": 0.001, "instances": 2, "cache_size": 2**20, "fixed": "x"}
    assert tables.flat_config(config, knobs) == {
        "max_queue_delay_s": 0.001,
        "instances": 2,
        "cache_size_bytes": 2**20,
        "fixed": "x",
    }


# How it was searched.


def searched(**predicted: float) -> Result:
    one = builders.trial(1, measured(estimate(100, 90, 110), estimate(0.005, 0.004, 0.006)), config={"instances": 2})
    expected = {name: Estimate(value=value, low=value / 2, high=2 * value, n=0) for name, value in predicted.items()}
    one = one.model_copy(update={"predicted": {"steady": expected} if expected else {}})
    info = SearchInfo(
        sampler="twin", reason="few trials", ended="certain", chance_left=0.03, prediction_error=0.12, predictions=1
    )
    knob = KnobInfo(name="instances", unit="", applied="reload", doc="", values=[1, 2], apply_s=0.15)
    return builders.result(one).model_copy(update={"search": info, "knobs": [knob]})


def test_the_report_draws_what_was_predicted_against_what_was_measured() -> None:
    chart = prediction_chart(searched(throughput_rps=80.0))
    assert chart is not None
    points = chart.first.traces[1]
    assert (points["x"], points["y"]) == ([80.0], [100.0])
    bars = points["error_x"]
    assert isinstance(bars, dict)
    assert (bars["arrayminus"], bars["array"]) == ([40.0], [80.0])
    assert "1 of 1 trials were measured within the 95% interval" in chart.first.finding


def test_the_report_says_how_it_was_searched_why_it_ended_and_what_a_change_took() -> None:
    page = html.render(searched(throughput_rps=80.0))
    assert "Sampler twin: few trials." in page
    assert "no untried configuration is likely to be better" in page
    assert "with probability 3.0%" in page
    assert "off by 12% in the median of 1" in page
    assert "150.00 ms" in page


def test_a_point_that_does_not_count_is_nothing_that_was_predicted() -> None:
    result = searched(throughput_rps=80.0)
    late = result.trials[0].points[0].model_copy(update={"validity": Validity(valid=False, reasons=["late"])})
    best = late.model_copy(update={"metrics": {**late.metrics, "throughput_rps": estimate(300, 300, 300)}})
    both = result.trials[0].model_copy(update={"points": [*result.trials[0].points, best], "state": "invalid"})
    chart = prediction_chart(result.model_copy(update={"trials": [both]}))
    assert chart is not None
    assert chart.first.traces[1]["y"] == [100.0]
    alone = both.model_copy(update={"points": [best]})
    assert prediction_chart(result.model_copy(update={"trials": [alone]})) is None


def test_without_a_prediction_there_is_no_such_chart() -> None:
    assert prediction_chart(searched()) is None
    assert 'id="predictions"' not in html.render(searched())
