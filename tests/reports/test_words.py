"""Numbers as people read them, in every place of a report."""

import math

import pytest

from reports import answer, html, text, trials_table, words
from reports.charts.trial_data import trial_data
from reports.gate import rows
from tests.tuner import result_builders as builders
from tuner.results import Closest, Estimate, Load, Ratio, Result
from tuner.run_info import MetricInfo


@pytest.mark.parametrize(
    ("mode", "level", "said"),
    [
        ("open", 20_000.0, "20,000/s offered"),
        ("open", 12_345.0, "12,345/s offered"),
        ("open", 2.5, "2.5/s offered"),
        ("closed", 16.0, "16 in flight"),
        ("users", 50.0, "50 users"),
    ],
)
def test_a_load_is_whole(mode: str, level: float, said: str) -> None:
    assert words.load(Load.model_validate({"mode": mode, "level": level})) == said


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(24.34, "24.3 s"), (204.0, "3 min 24 s"), (3599.6, "1 h 0 min"), (3599.4, "59 min 59 s"), (18_190.0, "5 h 3 min")],
)
def test_a_duration_has_two_parts_at_most(seconds: float, said: str) -> None:
    assert words.duration(seconds) == said


@pytest.mark.parametrize(
    ("name", "low", "said"),
    [
        ("p99", -math.inf, "[0.00 ms, ∞]"),
        ("throughput", -math.inf, "[0/s, ∞]"),
        ("accuracy_drop", -math.inf, "[-∞, ∞]"),
        ("p99", 0.0042, "[4.20 ms, ∞]"),
        ("queue_time", 0.0042, "[4.20 ms, ∞]"),
    ],
)
def test_a_time_is_never_below_0(name: str, low: float, said: str) -> None:
    own = [MetricInfo(name="queue_time", unit="s", doc="of its own")]
    assert words.metric_interval(name, Estimate(value=0.5, low=low, high=math.inf, n=9), own) == said


def failing(name: str = "p99") -> Result:
    """A run in which nothing met the SLO, for requests failed."""
    missed = builders.trial(1, builders.point(p99=math.inf, violations={name: math.inf}))
    closest = Closest(trial=1, point=0, missed={f"steady.{name}": math.inf})
    return builders.result(missed).model_copy(update={"closest": closest})


def test_a_violation_without_end_is_said_to_be_one_and_why() -> None:
    found, why = failing(), "∞ (too many requests failed)"
    assert text.headline(found).endswith(f"Closest: trial 1 missed steady.p99 by {why}")
    (row,) = trials_table.table(found).rows
    assert f"over its bound: p99 +{why}" in str(row.cells[-1])
    points = trial_data(found)["points"]
    assert isinstance(points, dict)
    assert points["slo"] == [f"misses p99 +{why}"]
    assert f"steady.p99 is {why} over its bound" in html.render(found)


def test_what_misses_a_bound_from_below_is_said_to_be_below_it() -> None:
    missed = builders.trial(1, builders.point(violations={"p99": 0.5, "throughput_at_least": 0.2}))
    violations = {"steady.p99": 0.5, "steady.throughput_at_least": 0.2}
    found = builders.result(missed).model_copy(update={"closest": Closest(trial=1, point=0, missed=violations)})
    (row,) = trials_table.table(found).rows
    assert "over its bound: p99 +50%\nbelow its bound: throughput_at_least -20%" in str(row.cells[-1])
    points = trial_data(found)["points"]
    assert isinstance(points, dict)
    assert points["slo"] == ["misses p99 +50%, throughput_at_least -20%"]
    page = html.render(found)
    assert "steady.p99 is 50.0% over its bound" in page
    assert "steady.throughput_at_least is 20.0% below its bound" in page


def test_the_throughput_stands_once_beside_the_figures_with_a_bound() -> None:
    found = builders.result(builders.trial(0), builders.trial(3))
    bounds = {"p99": 0.01, "throughput_at_least": 50.0}
    study = found.study.model_copy(update={"workloads": ["steady"], "slo": bounds, "bounds": {"steady": bounds}})
    rows = text.side_by_side(found.model_copy(update={"study": study, "best": builders.best(3, (1, 1, 1))}))
    assert rows is not None
    assert [row[0] for row in rows if row[0].startswith("steady: ")][-2:] == ["steady: throughput", "steady: p99"]


def test_of_other_metrics_no_reason_is_made_up() -> None:
    assert words.beyond("energy_per_inference", math.inf) == "∞"
    assert words.beyond("bursty.p99", 0.5) == "50%"
    assert "steady.energy_per_inference by ∞" in text.headline(failing("energy_per_inference"))


def test_a_bound_from_below_is_shown_as_one_on_its_metric() -> None:
    bounds = {"p99": 0.01, "throughput_at_least": 500.0, "gpu_utilization": 0.9, "gpu_utilization_at_least": 0.5}
    study = builders.result(builders.trial(0)).study.model_copy(update={"slo": bounds, "bounds": {"steady": bounds}})
    shown = "p99 <= 10.00 ms, throughput >= 500/s, gpu_utilization <= 90.00%, gpu_utilization >= 50.00%"
    assert words.slo(study.model_copy(update={"workloads": ["steady"]})) == shown
    assert rows.value("gpu_utilization_at_least", 0.5) == "50.00%"
    assert rows.value("throughput_at_least", 500.0) == "500/s"


def improved(objective: str, key: str, ratio: Ratio) -> Result:
    found = builders.result(builders.trial(0), builders.trial(3))
    best = builders.best(3, (1, 1, 1)).model_copy(update={"objective": key, "gain_vs_baseline": ratio})
    study = found.study.model_copy(update={"objectives": [objective]})
    return found.model_copy(update={"best": best, "study": study})


def test_a_gain_on_a_latency_says_how_many_times_lower_it_is() -> None:
    ratio = Ratio(value=0.5, low=0.4, high=0.8, n=4, verdict="better")
    found = improved("minimize p99", "latency_p99_s", ratio)
    assert "Gain in latency p99: 2.00x lower, 95% interval [1.25, 2.50]" in text.headline(found)
    assert answer.headline(found).text == "Deploy trial 3: 2.00x lower latency p99, 95% interval [1.25, 2.50]"


def test_where_a_bound_of_the_ratio_is_not_known_the_others_end_is_infinite() -> None:
    ratio = Ratio(value=0.5, low=-math.inf, high=math.inf, n=1, verdict="inconclusive")
    assert words.times(ratio, lower=True) == ("2.00x lower", "95% interval [0.00, ∞]")
    assert words.times(ratio.model_copy(update={"low": 0.4}), lower=False) == ("0.50x", "95% interval [0.40, ∞]")
