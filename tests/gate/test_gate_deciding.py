"""What a gate says of deployments: rules fail, pass, or are inconclusive."""

import math
from collections.abc import Sequence

import numpy as np
import pytest

from tests.gate.gate_builders import HOST, measurement, noisy
from tuner.gate.concluding import decided, least_requests, result
from tuner.gate.deciding import NOT_RESTARTED, Look, decide, figures, overall
from tuner.gate.document import Accuracy, GateResult, Measurement
from tuner.gate.gathering import packed
from tuner.gate.intervals import looks
from tuner.gate.rules import measurable, rules_of
from tuner.gate.running import compare
from tuner.stats import P99_MIN_SAMPLES

LIMITS = {"throughput": 0.05, "p99": 0.10}


def verdicts(old: object, new: object, limits: dict[str, float], *, together: bool = True) -> dict[str, str]:
    rules = rules_of({"steady": limits}, {}, ["steady"], changes=True)
    found = decide(rules, old, new, Look.single(0.99, len(rules)), together=together)  # type: ignore[arg-type]
    return {one.rule: one.state for one in found}


def test_a_harm_beyond_the_limit_fails_and_one_within_it_passes() -> None:
    rng = np.random.default_rng(1)
    old, worse = measurement(noisy(rng, 12)), measurement(noisy(rng, 12, 0.85))
    assert verdicts(old, worse, LIMITS) == {"throughput": "fail", "p99": "pass"}


def test_a_gain_passes() -> None:
    rng = np.random.default_rng(2)
    assert verdicts(measurement(noisy(rng, 12)), measurement(noisy(rng, 12, 1.3)), {"throughput": 0.05}) == {
        "throughput": "pass"
    }


def test_a_harm_near_the_limit_is_inconclusive() -> None:
    rng = np.random.default_rng(3)
    old, new = measurement(noisy(rng, 4, sd=0.05)), measurement(noisy(rng, 4, 0.95, sd=0.05))
    assert verdicts(old, new, {"throughput": 0.05}) == {"throughput": "inconclusive"}


def test_a_tail_that_grows_fails_its_own_rule_while_throughput_passes() -> None:
    rng = np.random.default_rng(4)
    tail = [0.01 * math.exp(one) for one in rng.normal(0, 0.05, 12)]
    old = measurement(noisy(rng, 12), p99_s=tail)
    new = measurement(noisy(rng, 12), p99_s=[2 * one for one in tail])
    assert verdicts(old, new, LIMITS) == {"throughput": "pass", "p99": "fail"}


def test_a_release_that_fails_its_requests_fails_the_rules_on_what_it_lost() -> None:
    old = measurement([100.0, 101.0, 99.0])
    broken = measurement([0.0] * 3, p99_s=[math.inf] * 3, errors=10_000)
    assert verdicts(old, broken, LIMITS) == {"throughput": "fail", "p99": "fail"}
    assert verdicts(old, measurement([98.0] * 3, p99_s=[math.inf, 0.01, 0.01]), {"p99": 0.1}) == {"p99": "inconclusive"}


def test_errors_are_counted_in_percentage_points() -> None:
    old, new = measurement(), measurement(errors=100)
    assert verdicts(old, new, {"error_rate": 0.001}) == {"error_rate": "fail"}
    assert verdicts(old, new, {"error_rate": 0.02}) == {"error_rate": "pass"}


def test_accuracy_on_the_labelled_items_is_exact() -> None:
    old, new = measurement(accuracy=0.98), measurement(accuracy=0.975)
    assert verdicts(old, new, {"accuracy": 0.005}) == {"accuracy": "pass"}
    assert verdicts(old, new, {"accuracy": 0.0049}) == {"accuracy": "fail"}
    assert verdicts(old, measurement(), {"accuracy": 0.005}) == {"accuracy": "inconclusive"}


def of_items(right: int, items: int, *, bits: bool = True) -> Measurement:
    """A measurement with the answers to so many labelled items."""
    one = measurement()
    scores = np.arange(items) < right
    accuracy = Accuracy(value=right / items, items=items, right=packed(scores) if bits else None)
    steady = one.workloads["steady"].model_copy(update={"accuracy": accuracy})
    return one.model_copy(update={"workloads": {"steady": steady}})


def test_another_number_of_labelled_items_is_another_sample_and_no_longer_exact() -> None:
    limit = {"accuracy": 0.005}
    assert verdicts(of_items(588, 600), of_items(490, 500), limit) == {"accuracy": "inconclusive"}
    assert verdicts(of_items(588, 600), of_items(440, 500), limit) == {"accuracy": "fail"}
    assert verdicts(of_items(58_800, 60_000), of_items(49_000, 50_000), limit) == {"accuracy": "pass"}
    rules = rules_of({"steady": limit}, {}, ["steady"], changes=True)
    for bits in (True, False):
        new = of_items(440, 500, bits=bits)
        (found,) = decide(rules, of_items(588, 600), new, Look.single(0.99, 1), together=True)
        assert found.note == "600 labelled items then and 500 now, so not item by item"
        assert found.state == ("fail" if bits else "inconclusive")


def test_a_figure_that_was_not_measured_is_inconclusive_and_says_so() -> None:
    rules = rules_of({"steady": {"energy": 0.1}}, {}, ["steady"], changes=True)
    (found,) = decide(rules, measurement(), measurement(), Look.single(0.99, 1), together=True)
    assert (found.state, found.note) == ("inconclusive", "not measured")


def test_slos_are_rules_and_need_no_other_side() -> None:
    rules = rules_of({"steady": LIMITS}, {"steady": {"p99": 0.02, "error_rate": 0.1}}, ["steady"], changes=False)
    found = decide(rules, None, measurement(), Look.single(0.99, len(rules)), together=False)
    assert [(one.kind, one.rule, one.state) for one in found] == [
        ("slo", "p99", "pass"),
        ("slo", "error_rate", "inconclusive"),
    ]


def test_a_cold_start_is_that_of_the_workloads_that_a_deployment_is_cold_for() -> None:
    limits = {"steady": {"cold_start": 0.5}, "bursty": {"cold_start": 0.5, "p99": 0.1}}
    rules = rules_of(limits, {}, ["steady"], changes=True)
    assert [(rule.workload, rule.name) for rule in rules] == [("steady", "cold_start"), ("bursty", "p99")]
    both = rules_of(limits, {}, ["steady", "bursty"], changes=True)
    assert [rule.workload for rule in both if rule.name == "cold_start"] == ["steady", "bursty"]


def test_more_rules_make_each_of_them_fail_less_easily_but_pass_as_easily() -> None:
    few, many = (Look(0.01, (3, 5), 1, rules) for rules in (1, 5))
    assert many.failing == pytest.approx(few.failing / 5)
    assert many.passing == few.passing


@pytest.mark.parametrize("rules", [1, 4])
def test_a_gate_of_several_rules_raises_a_false_alarm_no_more_often_than_nominal(rules: int) -> None:
    """Every figure of the new side is worse by exactly what is allowed, the hardest case; 2,000 gates."""
    rng, planned, alarms = np.random.default_rng(6), looks(3, 16), 0
    limits = {f"p{number}": 0.0 for number in range(rules)}
    for _ in range(2_000):
        logs = rng.normal(0, 0.02, (rules, planned[-1]))
        alarms += _ever_fails(logs, planned, len(limits))
    assert alarms <= 31


def _ever_fails(logs: np.ndarray, planned: tuple[int, ...], rules: int) -> bool:
    from scipy import special

    for index, count in enumerate(planned):
        error = Look(0.01, planned, index, rules).failing
        means, spreads = logs[:, :count].mean(axis=1), logs[:, :count].std(axis=1, ddof=1)
        if np.any(means - special.stdtrit(count - 1, 1 - error) * spreads / math.sqrt(count) > 0):
            return True
    return False


def of_goodput(bounds: dict[str, dict[str, float]], workload: str = "steady") -> Measurement:
    """A measurement with a goodput of its own and one of all workloads, under bounds."""
    measured = measurement().workloads["steady"]
    good = {"goodput_rps": 90.0, "total_goodput_rps": 190.0}
    counted = [one.model_copy(update={"metrics": {**one.metrics, **good}}) for one in measured.restarts]
    return measurement(bounds=bounds, workloads={workload: measured.model_copy(update={"restarts": counted})})


@pytest.mark.parametrize(
    ("workload", "then", "now", "apart"),
    [
        ("steady", {"steady": {"p99": 0.02}}, {"steady": {"p99": 0.02, "p50": 0.01, "error_rate": 0.1}}, set()),
        ("steady", {"steady": {"p99": 0.02}}, {"steady": {"p99": 0.04}}, {"goodput", "total_goodput"}),
        ("steady", {"steady": {}}, {"steady": {"ttft_p95": 0.04}}, {"goodput", "total_goodput"}),
        (
            "steady",
            {"steady": {}, "steady.rare": {"p99": 0.02}},
            {"steady": {}, "steady.rare": {"p99": 0.03}},
            {"goodput", "total_goodput"},
        ),
        (
            "steady.often",
            {"steady.often": {}, "steady.rare": {"p99": 0.02}},
            {"steady.often": {}, "steady.rare": {"p99": 0.03}},
            {"total_goodput"},
        ),
        (
            "steady",
            {"steady": {}, "other": {"p99": 0.02}},
            {"steady": {}, "other": {"p99": 0.03}},
            {"total_goodput"},
        ),
    ],
)
def test_goodput_within_other_bounds_is_not_compared(
    workload: str, then: dict[str, dict[str, float]], now: dict[str, dict[str, float]], apart: set[str]
) -> None:
    old, new = of_goodput(then, workload), of_goodput(now, workload)
    limits = {"throughput": 0.05, "goodput": 0.05, "total_goodput": 0.05}
    rules = rules_of({workload: limits}, {}, [], changes=True)
    found = {one.rule: one for one in decide(rules, old, new, Look.single(0.99, 3), together=False)}
    assert {name for name, one in found.items() if one.state == "inconclusive"} == apart
    for name in apart:
        assert (found[name].change, found[name].note) == (None, "its SLO's bounds are others now")
        assert found[name].old == found[name].new, "the values themselves are told"
    others = {one.rule for one in figures(old, new, [], 0.95, together=False)}
    assert {"goodput", "total_goodput"} - apart == {name.removesuffix("_rps") for name in others if "goodput" in name}


def test_what_has_no_rule_is_told_beside_the_rules() -> None:
    rules = rules_of({"steady": {"throughput": 0.05}}, {}, ["steady"], changes=True)
    found = figures(measurement(), measurement(), rules, 0.95, together=True)
    assert [one.rule for one in found] == ["latency_p99_s", "latency_p50_s", "cold_start_s", "error_rate"]
    assert {one.state for one in found} == {"info"}


def test_errors_and_labelled_items_without_a_rule_are_told_in_points() -> None:
    old, new = measurement(accuracy=0.98), measurement(accuracy=0.97, errors=90)
    found = {one.rule: one for one in figures(old, new, [], 0.95, together=False) if one.kind == "points"}
    assert set(found) == {"error_rate", "accuracy"}
    errors = found["error_rate"]
    assert (errors.old, errors.new, errors.change) == (0.0, 0.009, pytest.approx(0.009))
    assert found["accuracy"].change == pytest.approx(-0.01)
    ruled = rules_of({"steady": {"error_rate": 0.1, "accuracy": 0.1}}, {}, [], changes=True)
    assert not [one for one in figures(old, new, ruled, 0.95, together=False) if one.kind == "points"]


def test_stored_measurements_are_compared_by_the_rules_of_the_new_one() -> None:
    rng = np.random.default_rng(7)
    old = measurement(noisy(rng, 8), rules={})
    worse = measurement(noisy(rng, 8, 0.8))
    found = compare(old, worse, [])
    assert (found.state, found.exit_code) == ("fail", 1)
    assert found.message == "a regression: steady throughput"


def test_a_slow_start_alone_is_called_that_and_no_regression_of_the_steady_state() -> None:
    slow = measurement(rules={"throughput": 0.05, "cold_start": 0.5})
    cold = [
        one.model_copy(update={"metrics": {**one.metrics, "cold_start_s": 0.2}})
        for one in slow.workloads["steady"].restarts
    ]
    steady = slow.workloads["steady"].model_copy(update={"restarts": cold})
    found = compare(measurement(), slow.model_copy(update={"workloads": {"steady": steady}}), [])
    assert found.message == "a slower cold start, the steady state has not failed: steady cold_start"
    assert {one.rule: one.state for one in found.rules if one.kind == "ratio"} == {
        "throughput": "pass",
        "cold_start": "fail",
    }


def test_a_baseline_of_few_restarts_leaves_everything_inconclusive() -> None:
    found = compare(measurement([100.0] * 4), measurement([50.0] * 5), [])
    assert (found.state, found.exit_code) == ("inconclusive", 5)
    assert "the baseline has 4 restarts" in found.rules[0].note
    warned = compare(measurement([100.0] * 4), measurement([50.0] * 5, inconclusive="warn"), [])
    assert (warned.state, warned.exit_code) == ("inconclusive", 0)


@pytest.mark.parametrize("errors", [0, 20])
def test_a_baseline_of_few_restarts_leaves_errors_and_lost_figures_inconclusive(errors: int) -> None:
    few, asked = measurement([100.0] * 2), {"error_rate": 0.001, "throughput": 0.05}
    new = measurement([0.0] * 5, errors=errors)
    assert set(verdicts(few, new, asked, together=False).values()) == {"inconclusive"}
    assert verdicts(measurement(), new, asked, together=False)["throughput"] == "fail"
    of_items = verdicts(
        measurement([100.0] * 2, accuracy=0.9), measurement(accuracy=0.9), {"accuracy": 0.1}, together=False
    )
    assert of_items == {"accuracy": "pass"}, "all items were asked on both sides"


ELSEWHERE = {**HOST, "place": "http://models:8000"}


EARLIER = {
    "host": {name: value for name, value in HOST.items() if name != "place"},
    "environment": {"server_url": "http://models:8000"},
}
"""What a baseline of an earlier version says of such a server."""


@pytest.mark.parametrize("new", [measurement([50.0] * 5, host=ELSEWHERE), measurement([0.0] * 5, host=ELSEWHERE)])
@pytest.mark.parametrize("old", [measurement(host=ELSEWHERE), measurement(**EARLIER)])
def test_a_server_elsewhere_has_no_restarts_to_hold_a_change_against(old: Measurement, new: Measurement) -> None:
    asked = {"throughput": 0.05, "error_rate": 0.001}
    assert set(verdicts(old, new, asked, together=False).values()) == {"inconclusive"}
    assert verdicts(old, new, asked)["throughput"] == "fail", "the process of a side is the same for both"
    counted = new.model_copy(update={"elsewhere": "as_restarts"})
    assert verdicts(old, counted, asked, together=False)["throughput"] == "fail"
    found = compare(old, new, ["place"])
    assert (found.state, found.exit_code) == ("inconclusive", 5)
    assert found.rules[0].note == NOT_RESTARTED
    assert found.rules[0].change is not None, "how the figure stands is told"
    assert [one.low for one in found.figures] == [-math.inf] * len(found.figures)


def test_where_there_is_no_spread_only_slos_are_measured_on() -> None:
    few = [measurement([100.0] * 4), with_slo("met", rules={"throughput": 0.05})]
    assert decided(compare(*few, []).rules, spread=False)
    assert not decided(compare(*few, []).rules), "with a spread more restarts may decide it"
    undecided = with_slo("undecided", rules={"throughput": 0.05})
    assert not decided(compare(few[0], undecided, []).rules, spread=False)
    missed = compare(undecided, with_slo("missed", rules={}), []).rules
    assert decided(missed, spread=False)
    assert not decided(missed), "it is not known whether the old side missed it too"


def test_labelled_items_and_slos_of_a_server_elsewhere_are_judged() -> None:
    sides = [measurement(host=ELSEWHERE, accuracy=0.9, rules={"accuracy": 0.1}) for _ in range(2)]
    found = compare(*sides, [])
    assert [(one.rule, one.state) for one in found.rules] == [("accuracy", "pass"), ("p99", "pass")]


@pytest.mark.parametrize("together", [True, False])
def test_a_release_that_repairs_a_broken_one_passes(together: bool) -> None:
    broken = measurement([0.0] * 5, p99_s=[math.inf] * 5, errors=200)
    assert verdicts(broken, measurement(), LIMITS, together=together) == {"throughput": "pass", "p99": "pass"}
    assert verdicts(broken, broken, LIMITS, together=together) == {"throughput": "inconclusive", "p99": "inconclusive"}


def without(one: Measurement, key: str, deployments: Sequence[int]) -> Measurement:
    """A measurement in which some deployments lack a figure."""
    steady = one.workloads["steady"]
    restarts = [
        restart.model_copy(update={"metrics": {name: value for name, value in restart.metrics.items() if name != key}})
        if index in deployments
        else restart
        for index, restart in enumerate(steady.restarts)
    ]
    return one.model_copy(update={"workloads": {"steady": steady.model_copy(update={"restarts": restarts})}})


def test_what_a_server_uses_was_not_0_and_its_growth_from_there_is_not_known() -> None:
    one = measurement()
    steady = one.workloads["steady"]
    sides = []
    for used in (0.0, 1e-5):
        restarts = [
            restart.model_copy(update={"metrics": {**restart.metrics, "cpu_per_request_s": used}})
            for restart in steady.restarts
        ]
        sides.append(measurement(workloads={"steady": steady.model_copy(update={"restarts": restarts})}))
    assert verdicts(*sides, {"cpu": 0.1}) == {"cpu": "inconclusive"}


def test_a_figure_that_no_request_of_a_side_tells_of_is_not_taken_for_a_failure() -> None:
    rules = rules_of({"steady": {"p50": 0.1}}, {}, ["steady"], changes=True)
    for together in (True, False):
        new = without(measurement(), "latency_p50_s", range(5))
        (found,) = decide(rules, measurement(), new, Look.single(0.99, 1), together=together)
        assert (found.state, found.note) == ("inconclusive", "not measured on the new side: no request tells of it")


def test_pairs_are_of_the_same_redeployment_where_some_lack_a_figure() -> None:
    tail = [0.010, 0.020, 0.040, 0.080, 0.160]
    old = without(measurement(p99_s=tail), "latency_p99_s", [0])
    new = without(measurement(p99_s=[1.01 * one for one in tail]), "latency_p99_s", [4])
    rules = rules_of({"steady": {"p99": 0.1}}, {}, ["steady"], changes=True)
    (found,) = decide(rules, old, new, Look.single(0.99, 1), together=True)
    assert (found.state, found.change) == ("pass", pytest.approx(0.01))
    assert found.note == "in 3 of 5 redeployments, no request of the others tells of it"


def with_slo(verdict: str, bound: float = 0.02, **fields: object) -> Measurement:
    """A measurement whose p99 stands so to its bound."""
    one = measurement(bounds={"steady": {"p99": bound}}, **fields)  # type: ignore[arg-type]
    steady = one.workloads["steady"].model_copy(update={"slo": {"p99": verdict}})
    return one.model_copy(update={"workloads": {"steady": steady}})


@pytest.mark.parametrize(
    ("old", "code", "message"),
    [
        (with_slo("met"), 1, "a regression: steady SLO p99"),
        (with_slo("missed"), 4, "an SLO is missed, as on the old side: steady SLO p99"),
        (with_slo("undecided"), 4, "an SLO is missed, and whether the old side met it is not decided: steady SLO p99"),
        (with_slo("met", 0.05), 4, "an SLO is missed: steady SLO p99"),
    ],
)
def test_an_slo_that_is_missed_is_a_regression_only_where_the_old_side_met_it(
    old: Measurement, code: int, message: str
) -> None:
    found = compare(old, with_slo("missed"), [])
    assert (found.state, found.exit_code, found.message) == ("fail", code, message)
    slower = compare(old, with_slo("missed", throughput=[50.0, 51.0, 49.0, 50.0, 50.5]), [])
    assert slower.exit_code == 1
    assert slower.message.startswith("a regression: steady throughput")


def test_an_slo_that_was_missed_before_leaves_open_whether_the_release_is_slower() -> None:
    noisy_one = [50.0, 150.0, 80.0, 140.0, 90.0]
    found = compare(with_slo("missed"), with_slo("missed", throughput=noisy_one), [])
    assert not decided(found.rules)
    assert found.message == "an SLO is missed, as on the old side: steady SLO p99; not decided: steady throughput"
    regression = compare(with_slo("met"), with_slo("missed", throughput=noisy_one), [])
    assert decided(regression.rules)
    assert decided(compare(with_slo("missed"), with_slo("missed"), []).rules)
    assert not decided(compare(with_slo("met"), with_slo("met", throughput=noisy_one), []).rules)


def alone(new: Measurement) -> GateResult:
    rules = rules_of({}, new.bounds, ["steady"], changes=False)
    found = decide(rules, None, new, Look.single(0.99, len(rules)), together=False)
    return result(
        form="alone",
        study="digits",
        found=(found, []),
        sides=(None, new),
        planned=(5,),
        redeployments=5,
        times_s=(1.0, 2.0),
        notes=[],
    )


def test_a_side_alone_is_held_against_its_slos_and_there_is_no_regression() -> None:
    missed, met = alone(with_slo("missed")), alone(with_slo("met"))
    assert (missed.exit_code, missed.message) == (4, "an SLO is missed: steady SLO p99")
    assert (met.exit_code, met.message) == (0, "1 SLO is met; nothing was compared")


@pytest.mark.parametrize(
    ("old", "new", "state", "code"),
    [
        ("met", "met", "pass", 0),
        ("missed", "met", "pass", 0),
        ("met", "undecided", "inconclusive", 5),
        ("missed", "undecided", "inconclusive", 5),
        ("met", "missed", "fail", 1),
        ("missed", "missed", "fail", 4),
        ("undecided", "missed", "fail", 4),
    ],
)
def test_slos_are_rules_enough_to_judge_two_sides_by(old: str, new: str, state: str, code: int) -> None:
    found = compare(with_slo(old), with_slo(new, rules={}), [])
    assert (found.state, found.exit_code) == (state, code)
    assert [(one.rule, one.kind, one.before, one.worse) for one in found.rules] == [("p99", "slo", old, code == 1)]
    assert (found.rules[0].old, found.rules[0].new) == (pytest.approx(0.01), pytest.approx(0.01))


@pytest.mark.parametrize(("p99_ms", "worse"), [((21, 22, 21, 22, 21), False), ((30, 31, 30, 31, 30), True)])
@pytest.mark.parametrize("together", [True, False])
def test_an_slo_that_the_old_side_was_undecided_on_is_a_regression_where_its_figure_is_worse_for_certain(
    p99_ms: Sequence[int], worse: bool, together: bool
) -> None:
    old = with_slo("undecided", p99_s=[0.021, 0.022, 0.0215, 0.021, 0.022])
    new = with_slo("missed", rules={}, p99_s=[one / 1000 for one in p99_ms])
    (found,) = decide(rules_of({}, new.bounds, [], changes=True), old, new, Look.single(0.99, 1), together=together)
    assert (found.state, found.worse) == ("fail", worse)
    assert found.note == f"undecided on the old side{', and worse now for certain' if worse else ''}"
    assert decided([found]) is worse, "measuring on may decide whether it is a regression"


@pytest.mark.parametrize(("drop", "code"), [("met", 0), ("missed", 1)])
def test_a_drop_of_accuracy_is_about_the_old_side_and_a_regression_by_itself(drop: str, code: int) -> None:
    bounds = {"steady": {"accuracy_drop": 0.01}}
    steady = measurement().workloads["steady"].model_copy(update={"slo": {"accuracy_drop": drop}})
    new = measurement(rules={}, bounds=bounds).model_copy(update={"workloads": {"steady": steady}})
    found = compare(measurement(bounds=bounds), new, [])
    assert (found.exit_code, found.rules[0].worse, found.rules[0].note) == (code, code == 1, "")


def test_slos_that_are_met_do_not_say_that_there_is_no_regression() -> None:
    found = compare(measurement(), measurement(rules={}), [])
    assert found.message.startswith("1 SLO is met; no rule says by how much it may get slower, like `gate: {")
    nothing = compare(measurement(), measurement(rules={}, bounds={}), [])
    assert (nothing.state, nothing.exit_code) == ("inconclusive", 5)
    assert nothing.message.startswith("nothing was compared: the study has neither an SLO nor a rule")
    assert compare(measurement(), measurement(rules={}, bounds={}, inconclusive="warn"), []).exit_code == 0


@pytest.mark.parametrize("which", [0, 1])
def test_what_the_load_generator_spoiled_is_not_compared_as_if_it_were_valid(which: int) -> None:
    sides = [measurement(label="old"), measurement(label="new")]
    sides[which] = sides[which].model_copy(update={"invalid": ["steady: sent late"]})
    found = compare(sides[0], sides[1], [])
    assert (found.state, found.exit_code) == ("invalid", 5)
    assert found.message == f"{('old', 'new')[which]}: steady: sent late"


def test_a_percentile_of_few_requests_is_told_of() -> None:
    few = measurement(rules={"throughput": 0.05, "p99": 0.1, "p50": 0.1, "mean": 0.1})
    steady = few.workloads["steady"]
    restarts = [one.model_copy(update={"requests": 32}) for one in steady.restarts]
    few = few.model_copy(update={"workloads": {"steady": steady.model_copy(update={"restarts": restarts})}})
    (note,) = compare(measurement(), few, []).notes
    assert note.startswith("steady p99: a deployment has 32 requests, and of fewer than 662 it is near the slowest")
    assert compare(measurement(), measurement(rules={"p99": 0.1}), []).notes == []
    assert least_requests(0.01) == P99_MIN_SAMPLES


@pytest.mark.parametrize(
    ("slower", "rules", "told"), [(1.5, {}, True), (1.0, {}, False), (1.5, {"cold_start": 1.0}, False)]
)
def test_a_slower_cold_start_that_no_rule_asks_for_is_told_of(
    slower: float, rules: dict[str, float], told: bool
) -> None:
    now = measurement(rules={"throughput": 0.05, **rules})
    steady = now.workloads["steady"]
    cold = [0.0199, 0.0201, 0.02, 0.0202, 0.0198]
    restarts = [
        one.model_copy(update={"metrics": {**one.metrics, "cold_start_s": seconds * slower}})
        for one, seconds in zip(steady.restarts, cold, strict=True)
    ]
    now = now.model_copy(update={"workloads": {"steady": steady.model_copy(update={"restarts": restarts})}})
    found = compare(measurement(), now, [])
    assert found.exit_code == 0
    assert any("the cold start is slower for certain, by 4" in note for note in found.notes) is told


def test_one_that_fails_outweighs_all_others() -> None:
    found = compare(measurement(), measurement([50.0, 51.0, 49.0, 50.0, 50.5], rules={"throughput": 0.05}), [])
    assert overall(found.rules) == "fail"


def test_labelled_items_tell_of_the_rules_on_their_kind_of_score() -> None:
    asked = dict.fromkeys(["throughput", "accuracy", "prediction_error", "accuracy_drop"], 0.1)
    errors = {"right": False, "far": True}
    found = measurable({"right": asked, "far": asked, "plain": asked, "plain.class": {}}, errors)
    assert {name: list(own) for name, own in found.items()} == {
        "right": ["throughput", "accuracy", "accuracy_drop"],
        "far": ["throughput", "prediction_error", "accuracy_drop"],
        "plain": ["throughput"],
        "plain.class": [],
    }
