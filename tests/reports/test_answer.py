"""What the report answers first: from results whose answer is known."""

import shutil
from pathlib import Path

import pytest
from rich.console import Console

from reports import answer, bench, html, text, trust, words
from tests.support.tune import tune
from tests.tuner import result_builders as builders
from tuner.results import (
    Confirmation,
    Estimate,
    FrontPoint,
    KnobInfo,
    Load,
    Point,
    Ratio,
    Result,
    Side,
    SloVerdict,
    Validity,
    Value,
)
from tuner.run_info import Agent, HostInfo
from tuner.usage import Telemetry

HOUR_S = 3600


def side(trial: int, throughput: tuple[float, float, float], accuracy: float, lost: float) -> Side:
    value, low, high = throughput
    found = {
        "throughput_rps": builders.estimate(value, low, high),
        "latency_p50_s": builders.estimate(0.001),
        "latency_p99_s": builders.estimate(0.005),
        "error_rate": builders.estimate(0.0),
        "accuracy": builders.estimate(accuracy),
        "accuracy_drop": builders.estimate(lost, lost - 0.01, lost + 0.01),
    }
    met: dict[str, dict[str, SloVerdict]] = {"steady": {"p99": "met"}}
    load = Load(mode="closed", level=4)
    config: dict[str, Value] = {"instances": 2, "concurrency": 4}
    return Side(trial=trial, config=config, load=load, metrics={"steady": found}, verdicts=met, server={}, valid=True)


def using(megabytes: int, cores: float) -> Point:
    telemetry = Telemetry(rss_bytes=megabytes * 2**20, cpu_cores=cores, samples=5)
    return builders.point(level=4).model_copy(update={"telemetry": telemetry})


@pytest.fixture
def found() -> Result:
    """Trial 1 is confirmed: twice the throughput, 1 percentage point of accuracy less, half as much memory again."""
    yours, best = side(0, (100, 90, 110), 0.98, 0.0), side(1, (200, 190, 210), 0.97, 0.01)
    gain = Ratio(value=2.0, low=1.9, high=2.1, n=4, verdict="better")
    made = Confirmation(
        candidate=best,
        baseline=yours,
        redeployments=4,
        rounds=24,
        gains={"throughput_rps": gain},
        verdict="met",
    )
    chosen = builders.best(1, (2.0, 1.9, 2.1)).model_copy(
        update={"metrics": best.metrics, "verdicts": best.verdicts, "config": best.config}
    )
    knobs = [
        KnobInfo(name="instances", unit="", applied="reload", doc="", values=[1, 2]),
        KnobInfo(name="max_queue_delay", unit="s", applied="reload", doc="", values=[0.0]),
    ]
    trials = (
        builders.trial(0, using(200, 0.5), config={"instances": 1, "max_queue_delay": 0.001}),
        builders.trial(1, using(300, 1.0), config={"instances": 2, "max_queue_delay": 0.001}),
    )
    baseline = FrontPoint(trial=0, point=0, meets_slo=True, membership=0.5, on_front=False)
    parts = {"confirmation": made, "best": chosen, "knobs": knobs, "baseline": baseline}
    return builders.result(*trials).model_copy(update=parts)


def priced(result: Result, dollars: float) -> Result:
    return result.model_copy(update={"study": result.study.model_copy(update={"price_usd_per_h": dollars})})


def changed(result: Result, **of_best: object) -> Result:
    assert result.best is not None
    return result.model_copy(update={"best": result.best.model_copy(update=of_best)})


def test_a_confirmed_gain_is_what_to_deploy(found: Result) -> None:
    assert answer.headline(found).text == "Deploy trial 1: 2.00x throughput, 95% interval [1.90, 2.10]"
    assert answer.slos(found) == answer.Said("Every SLO is met on the workload steady", "good")
    said = answer.sureness(found)
    assert said is not None
    assert "4 redeployments of both, 24 rounds of each or more on every workload" in said.text


def test_what_is_not_confirmed_is_not_to_be_deployed(found: Result) -> None:
    one = changed(found, confirmed=False, gain_vs_baseline=None).model_copy(update={"message": "time was up"})
    assert answer.headline(one) == answer.Said("Trial 1 did best in the search, and is not confirmed", "bad")
    assert answer.sureness(one) == answer.Said("Not confirmed: time was up.", "bad")


@pytest.mark.parametrize("best", [None, 0])
def test_a_candidate_that_was_rejected_is_not_called_the_best(found: Result, best: int | None) -> None:
    section = _confirmed(html.render(found))
    assert "Yours and the best, measured in turn" in section
    assert "Ratios, the best to yours" in section
    section = _confirmed(html.render(found.model_copy(update={"best": None if best is None else builders.best(best)})))
    assert "<h2>Yours and trial 1, measured in turn</h2>" in section
    assert "Ratios, trial 1 to yours" in section
    assert "best" not in section


def _confirmed(page: str) -> str:
    return page.partition('<section id="confirmed">')[2].partition("</section>")[0]


def test_an_slo_that_is_missed_or_undecided_is_named_with_its_workload(found: Result) -> None:
    one = changed(found, verdicts={"steady": {"p99": "missed"}, "web": {"p99": "undecided", "error_rate": "met"}})
    assert answer.slos(one) == answer.Said("SLO missed: steady.p99; undecided: web.p99", "bad")


def test_without_a_best_the_message_is_the_answer() -> None:
    empty = builders.result()
    assert answer.headline(empty) == answer.Said("Nothing was measured yet", "bad")
    assert answer.slos(empty) is None
    assert answer.sureness(empty) is None
    assert answer.costs(empty) == []
    assert answer.changes(empty) == []


def test_only_the_knobs_that_differ_are_changes(found: Result) -> None:
    assert answer.changes(found) == [answer.Change("instances", "1", "2")]


def test_the_costs_are_accuracy_memory_cpu_and_with_a_price_dollars(found: Result) -> None:
    costs = {one.name: one for one in answer.costs(found)}
    accuracy = costs["accuracy, steady"]
    assert (accuracy.yours, accuracy.best) == ("98.00%", "97.00%")
    assert accuracy.note == "1.00% lost, item by item [0.00%, 2.00%]"
    memory = costs["memory of the server"]
    assert (memory.yours, memory.best, memory.note) == ("200.0 MiB", "300.0 MiB", "+50.0%")
    assert costs["CPU of the server"].note == "+100.0%"
    assert "a million requests" not in costs
    dollars = {one.name: one for one in answer.costs(priced(found, 3.6))}["a million requests"]
    assert dollars.yours == "$10.00 [$9.09, $11.11]", "3.6 / 3600 / 100 * 1e6"
    assert dollars.best == "$5.00 [$4.76, $5.26]"
    assert "one server at $3.60/h" in dollars.note


def several(found: Result, **rates: tuple[float, float]) -> Result:
    """A priced run of more workloads: name -> throughput of it, and of all workloads together (0: not told)."""
    metrics = {
        name: {"throughput_rps": builders.estimate(own)}
        | ({"total_throughput_rps": builders.estimate(total)} if total else {})
        for name, (own, total) in rates.items()
    }
    workloads = [*rates, *(f"{name}.chat" for name in rates)]
    study = found.study.model_copy(update={"workloads": workloads, "price_usd_per_h": 3.6})
    return changed(found.model_copy(update={"study": study, "confirmation": None}), metrics=metrics)


def test_workloads_that_were_measured_one_after_the_other_have_a_price_each(found: Result) -> None:
    one = several(found, steady=(100.0, 0), web=(50.0, 0))
    lines = {cost.name: cost for cost in answer.costs(one) if "million" in cost.name}
    assert {name: cost.best for name, cost in lines.items()} == {
        "a million requests, steady": "$10.00",
        "a million requests, web": "$20.00",
    }
    assert lines["a million requests, web"].note == "one server at $3.60/h, at its throughput of web and nothing else"


def test_workloads_that_share_the_server_have_one_price(found: Result) -> None:
    one = several(found, steady=(100.0, 400.0), web=(300.0, 400.0))
    (cost,) = (cost for cost in answer.costs(one) if "million" in cost.name)
    assert (cost.name, cost.best) == ("a million requests", "$2.50")
    assert cost.note == "one server at $3.60/h, at the throughput of all workloads together"


def test_a_percentile_that_is_met_beyond_its_interval_is_explained(found: Result) -> None:
    assert found.best is not None
    bound = found.study.bounds_of("steady")["p99"]
    over = builders.estimate(0.002, 0.001, 0.004)
    for high, explained in ((bound * 1.5, True), (bound, False)):
        metrics = {"latency_p99_s": builders.estimate(bound / 2, bound / 4, high), "over_p99_bound": over}
        one = changed(found, metrics={"steady": metrics})
        said = answer.surprises(one)
        assert bool(said) is explained
        assert ("The verdict is made by the requests over the bound" in html.render(one)) is explained
        if explained:
            limit, reaches = words.milliseconds(bound), words.milliseconds(high)
            assert said == [
                f"steady, p99: met, although the interval of the p99 reaches {reaches}. The verdict is made by the "
                f"requests over the bound: 1% may take longer than {limit}, and 0.20% did, 95% interval [0.10%, 0.40%]."
            ]
    assert answer.surprises(changed(one, verdicts={"steady": {"p99": "undecided"}})) == []


def test_a_throughput_without_bounds_has_a_cost_without_bounds(found: Result) -> None:
    assert found.best is not None
    rate = Estimate(value=100.0, low=0.0, high=float("inf"), n=3)
    one = changed(priced(found, 3.6), metrics={"steady": {"throughput_rps": rate}})
    assert answer.costs(one)[-1].best == "$10.00 [$0.00, ∞]"


@pytest.mark.parametrize(
    ("amount", "shown"),
    [
        (1234.5, "$1,234.50"),
        (1.2, "$1.20"),
        (0.0347, "$0.0347"),
        (0.00012345, "$0.000123"),
        (float("inf"), "∞"),
        (0, "$0.00"),
    ],
)
def test_dollars_have_the_digits_that_matter(amount: float, shown: str) -> None:
    assert words.dollars(amount) == shown


def test_the_commands_are_quoted_for_a_shell(found: Result) -> None:
    study = found.study.model_copy(update={"overrides": ["slo.p99=20 ms"]})
    one = changed(found.model_copy(update={"study": study}), export="best")
    place = html.Place("runs/my run", "a study.yaml", own_files=True)
    assert html.apply_command(one, place) == "tune export 'runs/my run' --apply"
    assert html.apply_command(one, html.Place("runs/a", "s.yaml")) == "tune export runs/a --to YOUR_FOLDER"
    assert html.repeat_command(one, place) == "tune 'a study.yaml' --set 'slo.p99=20 ms' --fresh"
    spread = one.model_copy(update={"trials": [builders.trial(0, by_agents(2)), builders.trial(1, by_agents(3))]})
    assert html.repeat_command(spread, place) == "tune 'a study.yaml' --set 'slo.p99=20 ms' --agents 3 --fresh"
    host = HostInfo(name="gpu1", group=1, trials=2, facts={}, baseline=[], refused=None)
    shared = one.model_copy(update={"hosts": [host]})
    assert html.repeat_command(shared, place) == "tune worker 'a study.yaml' --set 'slo.p99=20 ms' --run NEW_NAME"
    assert html.apply_command(found, place) == "", "nothing was exported"


def by_agents(count: int) -> Point:
    """Return a point whose load several agents made; the last one's start may be the farthest off."""
    one = builders.point()
    told = {"cores": 2, "requests": 70, "issue_delay_p99_s": 0.0, "cpu_share": 0.1, "rtt_s": 0.0}
    agents = [
        Agent.model_validate({"name": f"agent{number}", **told, "start_skew_s": 0.0004 * (number + 1)})
        for number in range(count)
    ]
    return one.model_copy(update={"generator": one.generator.model_copy(update={"agents": agents})})


def test_the_agents_of_a_run_and_their_starts_are_told(found: Result) -> None:
    late = by_agents(4).model_copy(update={"validity": Validity(valid=False, reasons=["agent 4 sent late"])})
    one = found.model_copy(update={"trials": [builders.trial(0, by_agents(2)), builders.trial(1, by_agents(3), late)]})
    said = "2 to 3 agents, starts at most 1.20 ms off the agreed moment"
    assert [fact.said for fact in trust.facts(one) if fact.name == "load from"] == [said]
    assert text.load_from(one) == said
    told = Console(width=400, record=True)
    told.print(bench.picture(builders.trial(1, by_agents(1)), "none", None))
    assert "; load from 1 agent, starts at most 0.40 ms off the agreed moment" in told.export_text()
    assert text.load_from(found) == ""
    assert not any(fact.name == "load from" for fact in trust.facts(found))


def test_what_was_spoiled_is_said_where_trust_is_asked_for(found: Result) -> None:
    late = Validity(valid=False, reasons=["the load generator sent late"])
    spoiled = using(1, 1.0).model_copy(update={"validity": late})
    one = found.model_copy(update={"trials": [*found.trials, builders.trial(2, spoiled, spoiled, state="invalid")]})
    facts = {fact.name: fact for fact in trust.facts(one)}
    assert facts["validity"].bad
    assert facts["validity"].said == "2 of 4 measurements are valid; 2 spoiled by the load generator and not used"
    assert facts["trials"].said == "3 tried: 2 complete, 1 invalid"
    assert trust.remarks(one) == [("the load generator sent late", 2)]
    assert [one.trial for one in trust.failed(one)] == [2]
    assert facts["warm-up"].said.startswith("0.30 s under the same load")
    assert facts["samples"].said == "140 requests a measurement, 560 in all"
    assert facts["noise"].said.endswith("throughput 0.0%, p99 0.0%")


def test_classes_are_parts_of_the_measurement_of_their_workload(found: Result) -> None:
    few = Validity(valid=True, warnings=["p99 from 70 requests"])
    whole = using(1, 1.0).model_copy(update={"validity": Validity(valid=True, warnings=["an agent was late"])})
    part = {"outcomes": {"ok": 70}, "validity": few}
    classes = [whole.model_copy(update={"workload": f"steady.{name}", **part}) for name in ("browse", "pay")]
    one = found.model_copy(update={"trials": [builders.trial(number, whole, *classes) for number in (0, 1, 2)]})
    facts = {fact.name: fact.said for fact in trust.facts(one)}
    assert facts["validity"] == "3 of 3 measurements are valid"
    assert facts["steady state"] == "3 steady"
    assert facts["windows"].endswith(": 3 " + words.ENDINGS["cap"])
    assert facts["samples"] == "140 requests a measurement, 420 in all"
    assert trust.remarks(one) == [("an agent was late", 3), ("p99 from 70 requests", 3)]


def test_an_slo_is_met_on_workloads_and_not_on_their_classes(found: Result) -> None:
    met: dict[str, SloVerdict] = {"p99": "met"}
    verdicts = {"steady": met, "steady.browse": met, "steady.pay": met}
    said = answer.slos(changed(found, verdicts=verdicts))
    assert said is not None
    assert said.text == "Every SLO is met on the workload steady"
    said = answer.slos(changed(found, verdicts={"steady": {}, "steady.pay": met, "web": met}))
    assert said is not None
    assert said.text == "Every SLO is met on all 2 workloads"


@pytest.mark.long
def test_a_finished_run_gets_another_price(real_run: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(real_run, tmp_path / "run"))
    folder = real_run.parents[2]
    assert "one server at $1.20/h" in (run / "report.html").read_text()
    ended = tune("report", run, "--price", "$36/h", cwd=folder)
    assert ended.returncode == 0, ended.stderr
    assert "one server at $36.00/h" in (run / "report.html").read_text()
    ended = tune("report", run, "--price", "36", cwd=folder, COLUMNS="200")
    assert ended.returncode == 2
    assert "expected a price in dollars per hour, like `$1.20/h`, but got '36'" in " ".join(ended.stderr.split())
