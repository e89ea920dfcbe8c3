"""The charts as data: what each draws of a run, and that it is left out, with the reason, where there is nothing."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reports import html, latencies, trials_table
from reports.axes import verticals
from reports.charts import figures, page
from reports.charts.batches import batch_chart
from reports.charts.distribution import distribution_chart
from reports.charts.drawing import Drawing, Picture, as_json, one
from reports.charts.drawing import html as as_html
from reports.charts.effects import effect_chart, importance_chart, modelled
from reports.charts.front import MOST_AS_SVG, front_chart
from reports.charts.heat_map import MOST_KNOBS, MOST_VALUES, NOTE, heat_chart
from reports.charts.load_curves import load_chart
from reports.charts.stages import stage_chart
from reports.charts.trial_data import trial_data
from reports.knob_table import tables
from reports.points import own_point
from tests.tuner import result_builders as builders
from tests.tuner.result_builders import estimate
from tuner import records
from tuner.results import (
    BatchSize,
    Confirmation,
    FrontPoint,
    Generator,
    KnobInfo,
    Load,
    Point,
    Result,
    Server,
    Side,
    Trial,
    Validity,
    Value,
)

MS = 1_000_000
BAD = "<img src=x onerror=alert(1)>"


def knob(name: str, unit: str = "", *, variant: bool = False) -> KnobInfo:
    return KnobInfo(name=name, unit=unit, applied="reload", doc="", values=[], changes_answers=variant)


def point(level: float, throughput: float, p99: float, *, workload: str = "steady", **more: object) -> Point:
    made = builders.point(workload, level, throughput, p99, {"p99": p99 / 0.01 - 1})
    metrics = {
        **made.metrics,
        "throughput_rps": estimate(throughput, throughput * 0.95, throughput * 1.05),
        "goodput_rps": estimate(throughput if p99 <= 0.01 else 0.0),
        "latency_mean_s": estimate(p99 / 2, p99 / 2.2, p99 / 1.8),
        "latency_p50_s": estimate(p99 / 2.5),
        "latency_p99_s": estimate(p99, p99 * 0.9, p99 * 1.1),
        "error_rate": estimate(0.0),
    }
    return made.model_copy(update={"metrics": metrics, **more})


def run_of(*trials: Trial, knobs: tuple[KnobInfo, ...] = (), best: int | None = None) -> Result:
    made = builders.result(*trials)
    chosen = None if best is None else builders.best(best, confirmed=False)
    return made.model_copy(update={"knobs": list(knobs), "best": chosen})


def named(picture: Picture) -> dict[str, Any]:
    return {str(trace.get("name")): trace for trace in picture.traces}


def checked(drawing: Drawing | None) -> Drawing:
    """Return a chart of which plotly accepts every picture."""
    assert drawing is not None
    for key in drawing.pictures:
        figures.figure(drawing, key)
    return drawing


# The front.


def two_workloads() -> Result:
    trials = [
        builders.trial(number, point(4, 100.0 * number, 0.004 * number), point(2, 50.0, 0.003, workload="bursty"))
        for number in (1, 2, 3)
    ]
    made = run_of(*trials)
    study = made.study.model_copy(update={"workloads": ["steady", "bursty"]})
    return made.model_copy(update={"study": study})


def test_the_front_has_a_picture_for_each_workload_with_its_own_front() -> None:
    chart = checked(front_chart(two_workloads()))
    assert chart.choices[0].options == ["steady", "bursty"]
    steady, bursty = chart.pictures["0-0"], chart.pictures["1-0"]
    assert named(steady)["misses an SLO"]["customdata"] == [4]
    assert named(bursty)["Pareto front"]["x"] == [50.0] * 3, "equal points are all on the front"
    assert "2 of 3 points meet the SLO" in steady.finding


def test_the_region_of_the_slo_is_drawn_up_to_its_bound() -> None:
    figure = figures.figure(front_chart(two_workloads()))
    (region,) = figure.layout.shapes
    assert region.y1 == pytest.approx(10.0)
    assert 0 < region.y0 < 4.0
    assert 10 ** figure.layout.yaxis.range[1] > 12.0
    assert named(front_chart(two_workloads()).first)["SLO: p99 10.00 ms"]["y"] == pytest.approx([10.0, 10.0])


@pytest.mark.parametrize(
    ("objectives", "bounds", "wanted"),
    [
        (["maximize throughput"], {}, ["p99"]),
        (["maximize goodput", "minimize p99"], {"p99": 0.02}, ["p99"]),
        (["maximize goodput", "minimize p99"], {"p95": 0.02, "error_rate": 0.01}, ["p95", "p99"]),
        (["minimize server_cpu", "minimize p99"], {"p99": 0.02}, ["p99", "server_cpu"]),
        (["minimize server_cpu"], {"p90": 0.02, "server_cpu": 2.0}, ["server_cpu", "p90"]),
        (
            ["maximize goodput", "minimize bursty.p50"],
            {"mean": 0.02, "p50": 0.01, "p95": 0.03},
            ["p95", "p99", "p50", "mean"],
        ),
        (
            ["minimize ttft_p95"],
            {"ttft_p95": 1.0, "p50": 1.0, "p90": 1.0, "p95": 1.0},
            ["ttft_p95", "p95", "p90", "p50"],
        ),
    ],
)
def test_the_front_is_drawn_over_what_has_a_bound_first_and_over_each_objective(
    objectives: list[str], bounds: dict[str, float], wanted: list[str]
) -> None:
    made = builders.result()
    study = made.study.model_copy(update={"objectives": objectives, "slo": bounds})
    assert [axis.name for axis in verticals(made.model_copy(update={"study": study}))] == wanted


def test_a_bound_of_another_workload_can_be_seen_too() -> None:
    made = two_workloads()
    bounds = {"steady": {"p99": 0.01}, "bursty": {"p50": 0.001}}
    made = made.model_copy(update={"study": made.study.model_copy(update={"bounds": bounds})})
    chart = checked(front_chart(made))
    assert chart.choices[1].options == ["p99", "p50"]
    drawn = {key for key, picture in chart.pictures.items() if "shapes" in picture.layout}
    assert drawn == {"0-0", "1-1"}
    assert drawn == {key for key, picture in chart.pictures.items() if "green area" in picture.finding}
    assert named(chart.pictures["1-1"])["SLO: p50 1.00 ms"]["y"] == [1.0, 1.0]
    assert "green" not in chart.note


def test_many_points_are_drawn_by_webgl_and_keep_their_intervals_for_the_axes_only() -> None:
    many = builders.trial(1, *(point(level, 100.0 + level, 0.005) for level in range(1, MOST_AS_SVG + 2)))
    result = run_of(many)
    chart = front_chart(result)
    assert named(chart.first)["meets every SLO"]["type"] == "scattergl"
    assert {trace.type for trace in figures.figure(chart).data} == {"scatter"}, "a file is drawn without WebGL"
    metrics = trial_data(result)["metrics"]
    assert isinstance(metrics, list)
    assert [metric["label"] for metric in metrics if "low" in metric] == ["throughput", "p99"]


def test_a_metric_at_zero_has_a_linear_axis() -> None:
    result = run_of(builders.trial(1, point(1, 100.0, 0.0)))
    assert figures.figure(front_chart(result)).layout.yaxis.type == "linear"


# What the page's script knows.


def test_configurations_are_told_as_the_study_spells_them_in_ascending_order() -> None:
    configs: list[dict[str, Value]] = [
        {"delay": 0.01, "precision": "int8", "n": 16},
        {"delay": 0.0005, "precision": "fp32", "n": 4},
        {"delay": 0.01, "n": 4},
    ]
    trials = [builders.trial(index, point(1, 1.0, 0.001), config=config) for index, config in enumerate(configs)]
    data: Any = trial_data(run_of(*trials, knobs=(knob("delay", "s"), knob("precision", variant=True))))
    assert [(one["name"], one["values"], one["ordered"]) for one in data["knobs"]] == [
        ("delay", ["500 us", "10 ms"], True),
        ("precision", ["fp32", "int8"], False),
        ("n", ["4", "16"], True),
    ]
    assert data["trials"]["config"] == [[1, 1, 1], [0, 0, 0], [1, 1, 0]], "the last keeps int8"
    assert data["trials"]["variant"] == [0, 1, 2], "int8, fp32, yours"


def test_json_in_the_page_ends_no_script_and_has_no_number_that_json_has_not() -> None:
    text = as_json({"a": "</script><b>", "b": [math.inf, math.nan, 1.23456789, np.float64(2.0)]})
    assert text == '{"a":"\\u003c/script>\\u003cb>","b":[null,null,1.2346,2]}'


def test_a_chart_has_a_text_alternative_and_labelled_controls() -> None:
    text = as_html(front_chart(two_workloads()))
    assert 'role="img" aria-label="steady, throughput against p99: 2 of 3' in text
    assert '<label for="front-workload">workload <select id="front-workload"' in text
    assert as_html(None) == ""
    assert as_html(one("x", Picture([], {}, BAD))).count("&lt;img src=x") == 2


def spoiled(one: Point) -> Point:
    return one.model_copy(update={"validity": Validity(valid=False, reasons=["the load generator sent late"])})


def with_spoiled() -> Result:
    """Return a climb that is complete, a baseline that is invalid, and a crash; the first two have a spoiled load."""
    own = builders.trial(0, point(1, 90, 0.001), point(2, 180, 0.002), spoiled(point(4, 360, 0.003)), state="invalid")
    fast = builders.trial(1, point(1, 100, 0.002), point(2, 200, 0.004), spoiled(point(4, 400, 0.005)), config={"n": 2})
    lost = builders.trial(2, point(1, 500, 0.001), config={"n": 3}, state="crashed")
    return run_of(own, fast, lost, knobs=(knob("concurrency"),), best=1)


def test_a_point_that_does_not_count_is_drawn_apart_and_says_why() -> None:
    result = with_spoiled()
    chart = checked(front_chart(result))
    drawn = {name: trace["customdata"] for name, trace in named(chart.first).items() if "customdata" in trace}
    assert drawn == {"not used": [2, 5, 6], "your configuration": [0, 1], "meets every SLO": [3, 4]}
    assert "4 of 4 points meet the SLO" in chart.first.finding
    assert "3 more are not used" in chart.first.finding
    assert "The most throughput within the SLO is 200/s, of trial 1." in chart.first.finding
    data: Any = trial_data(result)
    assert data["points"]["slo"] == [
        *["meets every SLO"] * 2,
        "not used: the load generator sent late",
        *["meets every SLO"] * 2,
        "not used: the load generator sent late",
        "not used: the trial crashed",
    ]


def test_a_point_that_does_not_count_is_no_front_of_another_workload() -> None:
    result = with_spoiled()
    study = result.study.model_copy(update={"workloads": ["other", "steady"]})
    chart = checked(front_chart(result.model_copy(update={"study": study})))
    assert named(chart.pictures["1-0"])["Pareto front"]["x"] == [90, 180, 200]


def test_a_spoiled_load_is_left_out_of_the_curve_and_is_no_capacity() -> None:
    chart = checked(load_chart(with_spoiled()))
    drawn = named(chart.first)
    assert drawn["your configuration"]["x"] == [1, 2]
    assert drawn["trial 1, the best"]["x"] == [1, 2]
    assert "trial 1, the best: SLO capacity 200/s at 2 in flight, the highest load measured" in chart.first.finding


def test_the_knobs_are_told_from_every_point_that_counts() -> None:
    assert [table.trials for table in tables(with_spoiled())] == [[0, 0, 1, 1]] * 2


def test_a_spoiled_point_of_a_complete_trial_is_not_coloured_as_good() -> None:
    rows = trials_table.table(with_spoiled()).rows
    assert [row.tone for row in rows if row.trial == 1] == ["good", "good", "bad"]


def test_your_point_is_the_closest_one_that_counts() -> None:
    own = builders.trial(0, point(1, 90, 0.03), spoiled(point(2, 180, 0.02)), state="invalid")
    assert own_point(run_of(own)) == (own, own.points[0])
    nothing = builders.trial(0, spoiled(point(2, 180, 0.02)), state="invalid")
    assert own_point(run_of(nothing)) is None


# Load curves.


def loaded(number: int, *levels: tuple[float, float, float], config: Mapping[str, Value] | None = None) -> Trial:
    return builders.trial(number, *(point(*level) for level in levels), config=config)


def test_load_curves_join_the_trials_of_one_server_and_mark_knee_and_capacity() -> None:
    own = loaded(0, (1, 100, 0.002), (2, 190, 0.003), (4, 320, 0.0045), (8, 350, 0.009), (16, 352, 0.02))
    first = loaded(1, (4, 500, 0.004), config={"n": 2, "concurrency": 4})
    again = loaded(2, (8, 800, 0.008), config={"n": 2, "concurrency": 8})
    alone = loaded(3, (8, 900, 0.008), config={"n": 3, "concurrency": 8})
    front = [FrontPoint(trial=3, point=0, meets_slo=True, membership=1, on_front=True)]
    result = run_of(own, first, again, alone, best=2).model_copy(update={"front": front})
    chart = checked(load_chart(result))
    assert [choice.options for choice in chart.choices] == [["steady"], ["p99", "p50"]]
    drawn = named(chart.first)
    assert drawn["your configuration"]["x"] == [1, 2, 4, 8, 16]
    assert drawn["trial 2, the best"]["x"] == [4, 8]
    assert not any("trial 3" in name for name in drawn), "it was measured at one load"
    knee = drawn["your configuration: knee at 4 in flight, 2 to 4 under the noise"]
    assert (knee["x"], knee["y"]) == ([4], [4.5])
    star = drawn["your configuration: SLO capacity 350/s at 8 in flight"]
    assert (star["x"], star["y"], star["yaxis"]) == ([8], [350], "y2")
    assert drawn["SLO: p99 10.00 ms"]["y"] == [10.0, 10.0]
    assert "trial 2, the best: SLO capacity 800/s at 8 in flight, the highest load measured." in chart.first.finding


def test_a_latency_that_is_infinite_is_not_drawn_and_no_capacity_is_said_so() -> None:
    broken = point(8, 10.0, 0.02)
    broken = broken.model_copy(update={"metrics": {**broken.metrics, "latency_p99_s": estimate(math.inf)}})
    chart = checked(load_chart(run_of(builders.trial(0, point(4, 100.0, 0.02), broken))))
    drawn = named(chart.first)
    assert drawn["your configuration"]["x"] == [4]
    assert drawn["your configuration, goodput"]["x"] == [4, 8]
    assert "meets the SLO at no load" in chart.first.finding


# Knobs.


def searched(trials: int = 60, *, values: int = 4) -> Result:
    """Return a run in which `n` doubles the throughput with each step and the other knobs do nothing."""
    rng = np.random.default_rng(7)
    made = []
    for number in range(1, trials + 1):
        n, colour, level = int(rng.integers(0, values)), str(rng.choice(["red", "blue"])), int(2 ** rng.integers(0, 3))
        throughput = 100.0 * 1.5**n * float(np.exp(rng.normal(0, 0.05)))
        config: dict[str, Value] = {"n": n, "colour": colour, "concurrency": level}
        made.append(builders.trial(number, point(level, throughput, 0.005), config=config))
    return run_of(*made, knobs=(knob("n"), knob("colour"), knob("concurrency")))


def test_the_knob_that_matters_stands_out_and_the_others_are_called_noise() -> None:
    chart = checked(importance_chart(modelled(tables(searched()))))
    (bars,) = chart.first.traces
    shares = dict(zip(bars["y"], bars["x"], strict=True))  # type: ignore[call-overload]
    assert shares["n"] > 80
    assert max(shares["colour"], shares["concurrency"]) < 2
    assert "Not distinguishable from noise: " in chart.first.finding
    assert "60 points of 60 trials: n " in chart.first.finding


def test_a_knobs_effect_is_drawn_over_its_values_with_the_points_beside_it() -> None:
    chart = checked(effect_chart(modelled(tables(searched()))))
    assert chart.choices[0].options[0] == "n"
    drawn = named(chart.first)
    fitted = drawn["model, with its 95% interval"]
    assert fitted["y"][-1] / fitted["y"][0] == pytest.approx(1.5**3, rel=0.1)
    assert len(drawn["points, other knobs' effects taken out"]["y"]) == 60
    assert "highest at 3" in chart.first.finding


def test_the_heat_map_has_the_median_of_each_field_for_every_pair() -> None:
    measured = tables(searched())
    chart = checked(heat_chart(measured, modelled(measured)))
    pairs = chart.choices[0].options
    assert len(pairs) == 3
    assert pairs[0].startswith("n and ")
    key = f"{next(index for index, pair in enumerate(pairs) if set(pair.split(' and ')) == {'n', 'colour'})}-0"
    (trace,) = chart.pictures[key].traces
    z, counts = np.array(trace["z"]), np.array(trace["customdata"])
    table = measured[0]
    n, colour = (next(c.factor.levels for c in table.columns if c.name == name) for name in ("n", "colour"))
    assert z[1, 2] == pytest.approx(np.median(table.values[(n == 2) & (colour == 1)]))
    assert counts.sum() == 60
    assert "%{z:,.5~r}/s, median of %{customdata} points" in trace["hovertemplate"]
    other = chart.pictures[key.removesuffix("0") + "1"].traces[0]["hovertemplate"]
    assert isinstance(other, str)
    assert "%{z:,.5~r} ms, median of" in other


def test_a_knob_of_many_values_shares_fields() -> None:
    measured = tables(searched(200, values=50))
    (trace,) = checked(heat_chart(measured, [])).first.traces
    assert len(trace["x"]) == MOST_VALUES  # type: ignore[arg-type]
    assert str(trace["x"][0]).startswith("0 to ")  # type: ignore[index]


def test_the_note_says_which_knobs_share_fields_and_which_are_left_out() -> None:
    few, many = searched(), searched(200, values=50)
    assert checked(heat_chart(tables(few), [])).note == NOTE
    assert "share a field where a knob has many: n." in checked(heat_chart(tables(many), [])).note
    others = [knob(f"k{index}") for index in range(7)]
    trials = [
        one.model_copy(update={"config": {**one.config, **{other.name: number % 2 for other in others}}})
        for number, one in enumerate(few.trials)
    ]
    measured = tables(few.model_copy(update={"trials": trials, "knobs": [*few.knobs, *others]}))
    chart = checked(heat_chart(measured, []))
    assert len(chart.choices[0].options) == MOST_KNOBS * (MOST_KNOBS - 1) / 2
    assert "Of the 10 knobs that changed it has the first 8, to keep the page small, and not k5, k6." in chart.note
    assert "it has the 8 that explain the most" in checked(heat_chart(measured, modelled(measured))).note


def test_points_without_a_finite_value_are_left_out_and_counted() -> None:
    made = searched()
    broken = made.trials[0].points[0]
    broken = broken.model_copy(update={"metrics": {**broken.metrics, "latency_p99_s": estimate(math.inf)}})
    first = made.trials[0].model_copy(update={"points": [broken]})
    throughput, p99 = tables(made.model_copy(update={"trials": [first, *made.trials[1:]]}))
    assert (throughput.left_out, p99.left_out, len(p99.values)) == (0, 1, 59)


# The server's own numbers, and the records.


def serving(scale: float) -> Server:
    sizes = [BatchSize(size=1, count=50, compute_mean_s=0.001), BatchSize(size=4, count=50, compute_mean_s=0.002)]
    return Server(
        window_s=1,
        requests=250,
        failures=0,
        executions=100,
        mean_s={"queue": 0.0005 * scale, "compute_infer": 0.001 * scale},
        batch_sizes=sizes,
    )


def with_servers() -> Result:
    own = builders.trial(0, point(4, 100.0, 0.004, server=serving(1.0)))
    best = builders.trial(1, point(8, 200.0, 0.008, server=serving(2.0)))
    return run_of(own, best, best=1)


def test_stages_network_and_generator_add_up_to_the_mean_latency() -> None:
    chart = checked(stage_chart(with_servers()))
    drawn = {name: trace["x"] for name, trace in named(chart.first).items()}
    assert list(drawn) == ["queue", "compute infer", "network and waiting", "load generator (median)"]
    assert np.sum(list(drawn.values()), axis=0) == pytest.approx([2.0, 4.0])
    assert drawn["load generator (median)"] == pytest.approx([0.01, 0.01])
    assert "your configuration, 4 in flight, steady: most in compute infer, 50% of 2.00 ms" in chart.first.finding


def test_of_a_confirmation_the_generators_part_is_its_own_too() -> None:
    """It is that of the confirmation, whichever trial was confirmed, and none where it was not kept."""

    def side(number: int, late_s: float | None) -> Side:
        told = None if late_s is None else Generator(issue_delay_p50_s=late_s, issue_delay_p99_s=1, cpu_share=0)
        return Side(
            trial=number,
            config={},
            load=Load(mode="closed", level=4),
            metrics={"steady": {"latency_mean_s": estimate(0.005)}},
            verdicts={},
            server={"steady": serving(1.0)},
            generator={} if told is None else {"steady": told},
            valid=True,
        )

    own, best = with_servers().trials
    for late_s, drawn_ms in ((0.0003, [0.2, 0.3]), (None, [0.2, 0.0])):
        made = Confirmation(
            candidate=side(2, late_s), baseline=side(0, 0.0002), redeployments=3, rounds=3, gains={}, verdict="missed"
        )
        result = run_of(own, best, best=1).model_copy(update={"confirmation": made})
        traces = named(checked(stage_chart(result)).first)
        assert traces["load generator (median)"]["x"] == pytest.approx(drawn_ms)
        assert np.sum([trace["x"] for trace in traces.values()], axis=0) == pytest.approx([5.0, 5.0])


def test_batches_are_shares_of_requests() -> None:
    chart = checked(batch_chart(with_servers()))
    bars = named(chart.first)["your configuration, 4 in flight"]
    assert (bars["x"], bars["y"]) == (["1", "4"], [20.0, 80.0])
    assert "%{y:.1f}% of the requests" in bars["hovertemplate"]
    assert "%{y:,.2f} ms" in named(chart.first)["your configuration, 4 in flight, time"]["hovertemplate"]
    assert "trial 1, the best, 8 in flight 2.5" in chart.first.finding


def test_quantiles_are_those_of_the_requests_down_to_the_slowest_one() -> None:
    values = np.random.default_rng(5).permutation(np.arange(1, 1001) / 1e3)
    slower, found = latencies.quantiles(values)
    assert (slower[0], slower[-1], found[-1]) == (1.0, pytest.approx(0.001), pytest.approx(0.999))
    for share in (0.5, 0.1, 0.01):
        at = int(np.argmin(abs(slower - share)))
        assert found[at] == pytest.approx(np.quantile(values, 1 - slower[at], method="inverted_cdf"))
    assert set(latencies.quantiles(np.array([3.0]))[1].tolist()) == {3.0}


@pytest.fixture
def kept_run(tmp_path: Path) -> tuple[Result, Path]:
    """A run with the records of 100 requests of 1 to 100 ms, the last of which failed, and one before the window."""
    columns = {name: np.zeros(101, kind) for name, kind, _ in records.FIELDS}
    columns["intended_ns"][:] = 10 * MS
    columns["done_ns"][:] = 10 * MS + np.arange(101) * MS
    columns["phase"][1:] = records.WINDOW
    columns["outcome"][100] = 1
    (tmp_path / "records").mkdir()
    records.save_records(records.Records(columns, [(0, 1000 * MS)]), tmp_path / "records" / "one.npz")
    own = builders.trial(0, point(4, 100.0, 0.099, records="records/one.npz"))
    return run_of(own), tmp_path


def test_the_distribution_is_over_the_windows_requests_and_ends_where_they_failed(
    kept_run: tuple[Result, Path],
) -> None:
    result, run = kept_run
    chart = checked(distribution_chart(result, latencies.distributions(result, run)))
    line = named(chart.first)["your configuration, 4 in flight: 100 requests"]
    assert min(line["y"]) == 1.0, "that of 0 ms was before the window"
    assert max(line["y"]) == pytest.approx(99.0)
    assert named(chart.first)["SLO"]["y"] == pytest.approx([10.0])
    assert "99% within 99.00 ms" in chart.first.finding


def test_the_sentence_has_the_percentiles_of_the_tables(kept_run: tuple[Result, Path]) -> None:
    result, run = kept_run
    (own,), (trial,) = result.trials[0].points, result.trials
    measured = own.model_copy(
        update={"metrics": {**own.metrics, "latency_p50_s": estimate(0.02), "latency_p99_s": estimate(0.098)}}
    )
    told = result.model_copy(update={"trials": [trial.model_copy(update={"points": [measured]})]})
    chart = checked(distribution_chart(told, latencies.distributions(told, run)))
    assert "99% within 98.00 ms, 4.9 times the median" in chart.first.finding


def with_class(result: Result, **of_class: object) -> Result:
    """Return a run whose trials have a point of the class `steady.pay` beside each of their points."""
    part = {"workload": "steady.pay", **of_class}
    trials = [
        trial.model_copy(update={"points": [*trial.points, *(one.model_copy(update=part) for one in trial.points)]})
        for trial in result.trials
    ]
    study = result.study.model_copy(update={"workloads": ["steady", "steady.pay"]})
    return result.model_copy(update={"trials": trials, "study": study})


def test_the_distribution_of_a_class_is_over_its_own_requests(kept_run: tuple[Result, Path]) -> None:
    result, run = kept_run
    path = run / "records" / "one.npz"
    with np.load(path) as stored:
        columns = {name: stored[name] for name, _, _ in records.FIELDS}
    columns["class"][1:21] = 1
    records.save_records(records.Records(columns, [(0, 1000 * MS)]), path)
    result = with_class(result, request_class=1, metrics=point(4, 20.0, 0.019).metrics)
    chart = checked(distribution_chart(result, latencies.distributions(result, run)))
    assert chart.choices[0].options == ["steady", "steady.pay"]
    assert "your configuration, 4 in flight: 100 requests" in named(chart.pictures["0"])
    line = named(chart.pictures["1"])["your configuration, 4 in flight: 20 requests"]
    assert (min(line["y"]), max(line["y"])) == (1.0, 19.0)
    assert "99% within 19.00 ms" in chart.pictures["1"].finding


def test_a_class_whose_requests_cannot_be_told_from_others_has_no_distribution(kept_run: tuple[Result, Path]) -> None:
    result, run = kept_run
    result = with_class(result, request_class=None)
    assert [one.workload for one in latencies.distributions(result, run)] == ["steady"]


def test_records_that_are_gone_or_broken_leave_it_out(kept_run: tuple[Result, Path]) -> None:
    result, run = kept_run
    (run / "records" / "one.npz").write_bytes(b"PK no archive")
    assert latencies.distributions(result, run) == []
    (run / "records" / "one.npz").unlink()
    assert distribution_chart(result, latencies.distributions(result, run)) is None


# The page.


def test_what_is_not_drawn_says_why() -> None:
    result = run_of(builders.trial(1, point(4, 100.0, 0.004)))
    found = page.drawings(result, page.Kept())
    assert list(found) == ["front"]
    assert len(page.missing(found)) == 7
    text = html.render(result)
    for name in ("load", "importance", "effect", "heat", "stages", "batches", "distribution"):
        assert f'id="{name}"' not in text
    assert "Executed batch sizes: the server does not tell them." in text


def test_a_run_without_points_has_a_front_that_says_so() -> None:
    result = run_of(builders.trial(0, state="refused"))
    (picture,) = front_chart(result).pictures.values()
    assert picture.finding == "steady: no point has both throughput against p99."
    assert "shapes" not in picture.layout, "it speaks of no area"
    assert 'id="front"' in html.render(result)


def test_names_from_outside_are_text_everywhere() -> None:
    made = searched(20)
    trials = [one.model_copy(update={"config": {**one.config, BAD: BAD}}) for one in made.trials]
    study = made.study.model_copy(update={"name": BAD})
    result = made.model_copy(update={"trials": trials, "knobs": [*made.knobs, knob(BAD)], "study": study})
    assert "<img" not in html.render(result).partition("</script>")[2]


def test_a_number_in_the_page_has_five_digits_and_a_large_one_all_before_the_point() -> None:
    assert str(as_json([0.123456, 12.34567, 99_999.4, 123_456.7, 4.0])) == "[0.12346,12.346,99999,123457,4]"


def test_a_number_that_two_roundings_would_change_keeps_its_digits() -> None:
    """13.75496 in five digits is 13.755, which in two after the point is 13.76 and not 13.75."""
    assert str(as_json([13.75496, 0.01375496, 2.00042, 5e-7])) == "[13.75496,0.01375496,2.0004,5e-07]"
