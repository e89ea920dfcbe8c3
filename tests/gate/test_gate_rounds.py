"""How sides are measured: in turn, deployed anew, the order swapped, one at a time where memory does not allow both."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.support.simulated_study import write_simulated_study
from tuner.confirm import DROPPED_SHARE
from tuner.gate import opening, rounds
from tuner.gate.hosts import HostsDiffer
from tuner.gate.running import Gate
from tuner.load.generator import LoadLost
from tuner.measure import Meter
from tuner.offered import Offered
from tuner.study.load import load_study
from tuner.study.source import StudyError
from tuner.wiring import prepare
from tuner.workload import Workload

SETTINGS = (
    "gate={concurrency: 2, rounds: 2, round: 60 ms}",
    "workloads.bursty={arrival: {process: bursty, burst_size: 2, pause: 45 ms}, "
    "requests: {source: dataset, path: requests.npz}}",
)


@contextmanager
def two_sides(folder: Path) -> Iterator[Gate]:
    """Start two sides of the same simulated server."""
    study = load_study(write_simulated_study(folder), SETTINGS)
    sides = [(name, prepare(study, folder / f"{name}.txt")) for name in ("old", "new")]
    with opening.opened("ab", sides, folder, None, []) as made:
        yield made


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gate]:
    """A gate for all tests to which it does not matter what was measured before."""
    with two_sides(tmp_path_factory.mktemp("gate")) as made:
        yield made


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Gate]:
    """A gate that has measured nothing."""
    with two_sides(tmp_path) as made:
        yield made


def deployed(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Note what is deployed and retired, in order."""
    told: list[str] = []
    for side in gate.rounds.sides:
        deploy, retire, name = side.trier.deploy, side.trier.retire, side.label

        def deploying(config: object, alias: str, deploy: object = deploy, name: str = name) -> object:
            told.append(f"+{name}")
            return deploy(config, alias)  # type: ignore[operator]

        def retiring(deployment: object, retire: object = retire, name: str = name) -> None:
            told.append(f"-{name}")
            retire(deployment)  # type: ignore[operator]

        monkeypatch.setattr(side.trier, "deploy", deploying)
        monkeypatch.setattr(side.trier, "retire", retiring)
    return told


def test_both_stay_loaded_and_the_order_is_swapped_and_without_room_one_is_loaded_at_a_time(
    fresh: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = deployed(fresh, monkeypatch)
    fresh.rounds.redeploy()
    fresh.rounds.redeploy()
    assert told == ["+old", "+new", "-old", "-new", "+new", "+old", "-new", "-old"]
    assert not fresh.rounds.in_turn
    told.clear()
    monkeypatch.setattr(rounds, "free_bytes", int)
    monkeypatch.setattr(rounds, "Settling", object)  # as if deployments of the simulated server ended later
    for side in fresh.rounds.sides:
        monkeypatch.setattr(side.trier.target, "settle", partial(told.append, f"settled {side.label}"), raising=False)
    fresh.rounds.redeploy()
    both = ["settled old", "settled new"]
    assert told == ["+old", *both, "-old", *both, "+old", "-old", *both, "+new", "-new", *both]
    assert fresh.rounds.in_turn
    (note,) = fresh.rounds.notes
    assert note.startswith("only one side was loaded at a time: one needs ")
    for side in fresh.rounds.sides:
        assert {name: len(runs) for name, runs in side.gathered.runs.items()} == {"steady": 3, "bursty": 3}
        assert all("cold_start_s" in one.metrics for one in side.gathered.restarts["steady"])
        assert not any("cold_start_s" in one.metrics for one in side.gathered.restarts["bursty"])


def test_a_deployment_that_an_agent_was_lost_in_while_it_was_cold_is_made_anew(
    gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gate.rounds, "_done", 0)
    trier, lost = gate.rounds.sides[1].trier, [True]
    run_at_once = Meter.run_at_once

    def losing(meter: Meter, *arguments: Any) -> Any:
        if lost and meter is trier.meter:
            lost.pop()
            raise LoadLost("lost agent 2")
        return run_at_once(meter, *arguments)

    monkeypatch.setattr(Meter, "run_at_once", losing)
    before = [len(side.gathered.restarts.get("steady", [])) for side in gate.rounds.sides]
    told = deployed(gate, monkeypatch)
    gate.rounds.redeploy()
    assert told == ["+old", "+new", "-new", "+new", "-old", "-new"]
    for side, count in zip(gate.rounds.sides, before, strict=True):
        assert len(side.gathered.restarts["steady"]) == count + 1
        assert "cold_start_s" in side.gathered.restarts["steady"][-1].metrics


def test_a_cold_start_is_judged_where_the_new_study_names_its_workloads_in_another_order(tmp_path: Path) -> None:
    path = write_simulated_study(tmp_path)
    settings = ("gate={concurrency: 2, cold_start: +50%, rounds: 2, round: 60 ms}", SETTINGS[1])
    old = load_study(path, settings)
    text = path.read_text().replace("  steady:\n", "  bursty:\n")
    steady = "workloads.steady={arrival: {process: closed}, requests: {source: dataset, path: requests.npz}}"
    bursty = "workloads.bursty.arrival={process: bursty, burst_size: 2, pause: 45 ms}"
    new = load_study(path, (settings[0], bursty, steady), text=text)
    assert [list(one.spec.workloads) for one in (old, new)] == [["steady", "bursty"], ["bursty", "steady"]]
    sides = [(name, prepare(one, tmp_path / f"{name}.txt")) for name, one in (("old", old), ("new", new))]
    with opening.opened("ab", sides, tmp_path, None, []) as made:
        assert [one.workload for one in made.rules if one.name == "cold_start"] == ["bursty"]
        made.rounds.redeploy()
        for side in made.rounds.sides:
            cold = [name for name, (one,) in side.gathered.restarts.items() if "cold_start_s" in one.metrics]
            assert cold == ["bursty"]


def offered(gate: Gate, *workloads: Workload) -> list[Offered]:
    """Workloads of the gate, changed or not, at its loads."""
    return [Offered(one, gate.rounds.sides[0].loads[one.name]) for one in workloads]


def test_a_round_spans_two_periods_of_a_bursty_workload_at_least(gate: Gate) -> None:
    steady, bursty = gate.rounds.workloads
    pace = rounds.round_pace(offered(gate, steady), gate.spec)
    assert (pace.warmup_s, pace.window_s) == pytest.approx((DROPPED_SHARE * 0.06, (1 - DROPPED_SHARE) * 0.06))
    assert bursty.arrivals is not None
    assert bursty.arrivals.period_s
    assert rounds.round_pace(offered(gate, bursty), gate.spec).window_s >= 2 * bursty.arrivals.period_s


def test_a_round_has_the_time_in_which_its_slots_begin(gate: Gate) -> None:
    steady = replace(gate.rounds.workloads[0], ramp_up_s=0.5)
    pace = rounds.round_pace(offered(gate, steady), gate.spec)
    assert (pace.warmup_s, pace.window_s) == (0.5, pytest.approx((1 - DROPPED_SHARE) * 0.06))


def test_a_round_of_workloads_at_once_suits_each_of_them_and_is_measured_once(gate: Gate) -> None:
    steady, bursty = gate.rounds.workloads
    slow = replace(steady, ramp_up_s=0.5)
    together = rounds.round_pace(offered(gate, slow, bursty), gate.spec)
    assert together.warmup_s == 0.5
    assert together.window_s == rounds.round_pace(offered(gate, bursty), gate.spec).window_s
    side = gate.rounds.sides[0]
    at_once = [replace(one, model=f"model of {one.name}") for one in (steady, bursty)]
    apart_s, together_s, alone_s = (
        rounds.longest_s([replace(side.demand, workloads=those)], gate.spec)
        for those in ([steady, bursty], at_once, [bursty])
    )
    assert together_s == pytest.approx(alone_s), "the bursts need the most"
    assert apart_s > alone_s


def test_no_redeployment_is_measured_longer_than_was_planned(gate: Gate) -> None:
    before = sum(side.trier.measured_s for side in gate.rounds.sides)
    gate.rounds.redeploy()
    took_s = sum(side.trier.measured_s for side in gate.rounds.sides) - before
    assert 0 < took_s <= gate.rounds.redeployment_s() + 1e-6


def test_what_settles_at_once_is_redeployed_more_often_than_what_takes_as_long_as_it_may(tmp_path: Path) -> None:
    settings = (SETTINGS[0], "gate.time=10 s", "gate.throughput=-0.001%", "measure.max_warmup=1 s")
    study = load_study(write_simulated_study(tmp_path), settings)
    sides = [(name, prepare(study, tmp_path / f"{name}.txt")) for name in ("old", "new")]
    with opening.opened("ab", sides, tmp_path, None, []) as made:
        at_most = int(10 / made.rounds.redeployment_s())
        result = made.run(Quiet())
    assert result.state == "inconclusive", "so small a change is never certain"
    assert result.redeployments > at_most >= 3
    assert result.measured_s <= 10


class Quiet:
    """Takes note of nothing."""

    def progress(self, spent_s: float, budget_s: float) -> None:
        """Pass over it."""

    def note(self, text: str) -> None:
        """Pass over it."""


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ((), None),
        (("gate.time=1 s",), r"gate.time: 3 redeployments have to be measured .* not 1 s: give `gate.time: \d+ s`"),
        (("workloads.steady.arrival.ramp_up=10 s",), r"takes up to 1\d\d\.\d s, not 120 s"),
    ],
)
def test_what_cannot_fit_into_the_time_cap_is_refused_before_anything_starts(
    settings: tuple[str, ...], message: str | None, tmp_path: Path
) -> None:
    prepared = prepare(load_study(write_simulated_study(tmp_path), (*SETTINGS, *settings)), tmp_path / "log.txt")
    _, loads = opening.chosen(prepared, None)
    with nullcontext() if message is None else pytest.raises(StudyError, match=message):
        opening.check_time("ab", prepared.study, [opening.demand(prepared, loads)] * 2)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (("gate.users=5",), "gate.users: no workload of this study is a locustfile; take it out"),
        (
            ("gate.rate=50/s", "workloads.bursty.arrival={process: closed}"),
            "gate.rate: no workload of this study is an open loop; take it out",
        ),
    ],
)
def test_a_load_that_no_workload_takes_is_refused(settings: tuple[str, ...], message: str, tmp_path: Path) -> None:
    prepared = prepare(load_study(write_simulated_study(tmp_path), (*SETTINGS, *settings)), tmp_path / "log.txt")
    with pytest.raises(StudyError) as refused:
        opening.measured_at("ab", [prepared] * 2, None)
    assert str(refused.value).endswith(message)


def test_a_throughput_that_the_gate_does_not_ask_the_server_for_is_refused(tmp_path: Path) -> None:
    settings = (*SETTINGS, "workloads.bursty.slo.throughput_at_least=80/s", "workloads.bursty.arrival.pause=10 ms")
    path = write_simulated_study(tmp_path)
    low, high = (
        prepare(load_study(path, (*settings, f"gate.rate={rate}/s")), tmp_path / "log.txt") for rate in (50, 90)
    )
    with pytest.raises(StudyError) as refused:
        opening.measured_at("ab", [high, low], None)
    assert "workloads.bursty.slo.throughput_at_least: is 80/s, but the open loop `bursty` offers 50/s" in str(
        refused.value
    )
    assert opening.measured_at("ab", [low, high], None)[1][1]["bursty"].level == 90


@pytest.mark.parametrize("left_over", ["gate.rate=50/s", "gate.users=5"])
def test_a_level_that_nothing_takes_is_refused_of_the_side_that_is_judged_only(left_over: str, tmp_path: Path) -> None:
    closed, path = (*SETTINGS, "workloads.bursty.arrival={process: closed}"), write_simulated_study(tmp_path)
    left, without = (
        prepare(load_study(path, settings), tmp_path / "log.txt") for settings in ((*closed, left_over), closed)
    )
    (_, old), (_, new) = opening.measured_at("ab", [left, without], None)
    assert old == new
    assert {name: load.level for name, load in old.items()} == {"steady": 2, "bursty": 2}
    with pytest.raises(StudyError, match=r"no workload of this study is an? .*; take it out$"):
        opening.measured_at("ab", [without, left], None)


def test_a_workload_keeps_the_load_of_its_own_and_the_others_take_that_of_the_gate(tmp_path: Path) -> None:
    settings = (*SETTINGS, "workloads.bursty.arrival={process: closed}")
    prepared = prepare(load_study(write_simulated_study(tmp_path), settings), tmp_path / "log.txt")
    steady, bursty = (replace(prepared.workloads[0], concurrency=3), prepared.workloads[1])
    _, loads = opening.chosen(replace(prepared, workloads=(steady, bursty)), None)
    assert {name: load.level for name, load in loads.items()} == {"steady": 3, "bursty": 2}
    with pytest.raises(StudyError) as refused:
        opening.measured_at("alone", [replace(prepared, workloads=(steady,))], None)
    assert str(refused.value).endswith(
        "gate.concurrency: no workload takes it: steady has `concurrency` of its own; change "
        "`workloads.steady.arrival.concurrency` in its place"
    )


def of_settings(folder: Path, *settings: str) -> rounds.Demand:
    """What a side of this study is loaded with."""
    prepared = prepare(load_study(write_simulated_study(folder), (*SETTINGS, *settings)), folder / "log.txt")
    return opening.demand(prepared, opening.chosen(prepared, None)[1])


def test_each_side_settles_at_its_own_pace_and_both_have_the_longer_round(tmp_path: Path) -> None:
    usual, slow, ramped = (
        of_settings(tmp_path / name, *settings)
        for name, settings in (
            ("usual", ()),
            ("slow", ("measure.max_warmup=30 s",)),
            ("ramped", ("workloads.steady.arrival.ramp_up=10 s",)),
        )
    )
    spec = load_study(tmp_path / "usual" / "study.yaml", SETTINGS).spec.gate
    one_s = rounds.longest_s([usual], spec)
    assert rounds.longest_s([usual, usual], spec) == pytest.approx(2 * one_s)
    for sides in ([usual, slow], [slow, usual]):
        assert rounds.longest_s(sides, spec) == pytest.approx(one_s + rounds.longest_s([slow], spec))
        assert rounds.longest_s(sides, spec) > 30
    assert rounds.common_pace([usual, ramped], ["steady"], spec) == rounds.common_pace([ramped], ["steady"], spec)
    assert rounds.longest_s([usual, ramped], spec) > one_s + rounds.longest_s([ramped], spec)


@pytest.mark.parametrize("slow", ["old", "new"])
def test_the_time_cap_counts_the_slow_side_whichever_it_is(slow: str, tmp_path: Path) -> None:
    path, warmups = write_simulated_study(tmp_path), {slow: ("measure.max_warmup=60 s",)}
    settings = {name: (*SETTINGS, *warmups.get(name, ())) for name in ("old", "new")}
    sides = [prepare(load_study(path, given), tmp_path / f"{name}.txt") for name, given in settings.items()]
    with pytest.raises(StudyError, match=r"gate.time: 3 redeployments .* takes up to 18\d\.\d s, not 120 s"):
        opening.measured_at("ab", sides, None)


def test_a_workload_of_one_side_only_is_refused_before_a_server_is_started(tmp_path: Path) -> None:
    path = write_simulated_study(tmp_path)
    sides = [prepare(load_study(path, one), tmp_path / "log.txt") for one in (SETTINGS[:1], SETTINGS)]
    for both in (sides, sides[::-1]):
        with pytest.raises(HostsDiffer, match="bursty stands on one side only; give both sides the same workloads"):
            opening.measured_at("ab", both, None)
