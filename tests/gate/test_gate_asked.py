"""Rules that nothing tells of are refused, and the message names what does."""

import math
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pynvml
import pytest

from reports.gate import junit
from targets.base import Outcome, TargetError
from targets.simulated.target import SimulatedDeployment
from tests.gate.gate_builders import measurement
from tests.support.junit import violations
from tests.support.simulated_study import write_simulated_study
from tests.support.tune import tune
from tests.tuner.record_builders import answered, records
from tuner.gate import asked, concluding, opening
from tuner.gate.baseline import read_gate, written
from tuner.gate.gathering import known
from tuner.metrics import summarise
from tuner.slo import Slo
from tuner.study.load import Study, load_study
from tuner.study.source import StudyError
from tuner.wiring import prepare

ONE = "requests: {source: dataset, path: requests.npz}"
LABELLED = "requests: {source: dataset, path: labelled.npz}"
FAR = "requests: {source: dataset, path: numbers.npz, accuracy: {kind: absolute_error}}"
STREAMING = ("target={kind: openai, url: 'http://h/v1', model: m}", "space={concurrency: 2}")
SHORT = "gate={concurrency: 2, throughput: -20%, rounds: 2, round: 60 ms, restarts: 2, time: 3 s}"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A study, and labelled requests beside it: of classes, and of numbers."""
    for name, labels in (("labelled", np.zeros(20, np.int64)), ("numbers", np.zeros((20, 1)))):
        np.savez(tmp_path / f"{name}.npz", INPUT=np.zeros((20, 4)), labels=labels)
    return write_simulated_study(tmp_path)


def refused(made: Study) -> str:
    with pytest.raises(StudyError) as error:
        asked.check(made)
    return str(error.value)


def test_a_rule_on_tokens_needs_a_server_that_streams_them(path: Path) -> None:
    for place in ("gate.ttft_p99", "gate.workloads.steady.ttft_p99"):
        said = refused(load_study(path, [f"{place}=+10%"]))
        assert said.endswith(f"{place}: simulated does not stream tokens, so its answers have none")
    asked.check(load_study(path, [*STREAMING, "gate.ttft_p99=+10%"]))


def test_a_rule_on_tokens_is_not_for_the_users_of_a_locustfile(path: Path) -> None:
    shop = "workloads.shop={locustfile: shop.py, users: 2}"
    said = refused(load_study(path, [*STREAMING, shop, "gate.tpot_mean=+10%"]))
    assert "gate.tpot_mean: Locust does not tell when tokens come" in said
    assert said.endswith("give the rule to the other workloads, under `gate.workloads`")
    said = refused(load_study(path, [*STREAMING, shop, "gate.workloads={shop: {tpot_mean: +10%}}"]))
    assert "gate.workloads.shop.tpot_mean: Locust does not tell" in said
    asked.check(load_study(path, [*STREAMING, shop, "gate.workloads={steady: {tpot_mean: +10%}}"]))


def test_a_rule_on_energy_needs_a_gpu_that_tells_it(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_driver() -> None:
        raise pynvml.NVMLError(pynvml.NVML_ERROR_DRIVER_NOT_LOADED)

    monkeypatch.setattr(pynvml, "nvmlInit", no_driver)
    said = refused(load_study(path, ["gate.energy=+10%"]))
    assert "gate.energy: no GPU of this host tells `energy_per_inference`: no GPU telemetry: " in said
    asked.check(load_study(path, ["gate={memory: +10%, cpu: +10%}"]))
    there = ["target={kind: kserve, model: m, url: 'http://127.0.0.1:9'}", "space={concurrency: 2}", "search={}"]
    for rule, metric in (("energy", "energy_per_inference"), ("memory", "server_rss"), ("cpu", "server_cpu")):
        said = refused(load_study(path, [*there, f"gate={{{rule}: +10%}}"]))
        assert f"gate.{rule}: `{metric}` is measured of the server's processes, and that at `target.url` runs" in said


NO_LABELS = "have no labels to judge accuracy by"


@pytest.mark.parametrize(
    ("requests", "gate", "message"),
    [
        (ONE, "{accuracy: -1%}", "gate.accuracy: no workload's requests have labels to judge accuracy by"),
        (
            ONE,
            "{workloads: {steady: {accuracy: -1%}}}",
            f"gate.workloads.steady.accuracy: the requests of this workload {NO_LABELS}",
        ),
        (
            f"mix: {{often: {{{LABELLED}}}, rare: {{{ONE}}}}}",
            "{workloads: {steady.rare: {accuracy: -1%}}}",
            f'gate.workloads."steady.rare".accuracy: the requests of this class {NO_LABELS}',
        ),
        (LABELLED, "{prediction_error: +1%}", "gate.prediction_error: the requests' accuracy is no error: give `acc"),
        (FAR, "{accuracy: -1%}", "gate.accuracy: the requests' accuracy is an error: give `prediction_error`"),
        (
            f"mix: {{often: {{{LABELLED}}}, rare: {{{FAR}}}}}",
            "{accuracy: -1%}",
            "gate.accuracy: its classes are not all scored in one way; give the rule to one of them, like "
            "gate.workloads.steady.often",
        ),
    ],
)
def test_a_rule_on_labelled_items_needs_some_of_its_kind(requests: str, gate: str, message: str, path: Path) -> None:
    text = path.read_text().replace(ONE, requests)
    made = load_study(path, [f"gate={gate}", "gate.concurrency=2"], text=text)
    asked.check(made)
    with pytest.raises(StudyError) as error:
        opening.measured_at("ab", [prepare(made, path.parent / "log.txt")] * 2, None)
    assert message in str(error.value)


def test_a_rule_on_labelled_items_holds_for_the_workloads_that_have_some(path: Path) -> None:
    plain = f"workloads.plain={{arrival: {{process: closed}}, {ONE}}}"
    text = path.read_text().replace(ONE, LABELLED)
    made = load_study(path, [plain, "gate={concurrency: 2, accuracy: -1%, p50: +10%}"], text=text)
    sides = [(name, prepare(made, path.parent / f"{name}.txt")) for name in ("old", "new")]
    with opening.opened("ab", sides, path.parent, None, []) as gate:
        ruled = {(one.workload, one.name) for one in gate.rules if one.kind != "slo"}
    assert ruled == {("steady", "p50"), ("steady", "accuracy"), ("plain", "p50")}


def elsewhere(_: SimulatedDeployment) -> Sequence[int]:
    """The processes of a server that runs elsewhere."""
    return ()


def test_what_a_server_elsewhere_uses_is_refused_before_it_is_measured(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = load_study(path, ["gate={concurrency: 2, cpu: +10%, memory: +10%, p50: +10%}"])
    monkeypatch.setattr(SimulatedDeployment, "processes", elsewhere)
    with opening.opened("alone", [("new", prepare(made, path.parent / "log.txt"))], path.parent, None, []) as gate:
        with pytest.raises(TargetError, match="memory, cpu: cannot be measured of new, for the server's processes"):
            gate.rounds.redeploy()
        assert gate.rounds.sides[0].trier.measured_s == 0


def test_a_baseline_is_measured_without_an_slo(path: Path) -> None:
    ended = tune("gate", path, "--set", "slo={}", "--set", SHORT, "--out", "run", cwd=path.parent)
    assert ended.returncode in (0, 5), ended.stderr  # 5: on a busy host the load generator may send late
    result = read_gate(path.parent / "run")
    assert (result.rules, result.new.rules) == ([], {"steady": {"throughput": 0.2}})
    assert result.new.restarts == 2


def test_a_baseline_that_was_spoiled_is_refused_before_anything_is_measured(path: Path) -> None:
    spoiled = measurement().model_copy(update={"invalid": ["steady: sent late"]})
    (path.parent / "b.json").write_text(written(spoiled))
    ended = tune("gate", path, "--against", "b.json", "--set", SHORT, cwd=path.parent)
    assert ended.returncode == 2
    assert "b.json: its gate was not valid: steady: sent late; measure again" in ended.stderr
    assert not (path.parent / "runs").exists()


def test_two_sides_need_a_rule_or_an_slo(path: Path) -> None:
    for form in (["--ab", path, path], [path, "--against", "b.json"]):
        (path.parent / "b.json").write_text(written(measurement()))
        ended = tune("gate", *form, "--set", "gate.concurrency=2", "--set", "slo={}", cwd=path.parent)
        assert ended.returncode == 2
        assert "gate: there is no rule: give one, like" in ended.stderr
    assert not (path.parent / "runs").exists()
    asked.check(load_study(path, ["gate.concurrency=2"]))


def test_what_else_is_to_be_known_of_the_measurement_is_noted(path: Path) -> None:
    ended = tune("gate", path, "--set", SHORT, "--set", "slo.p99=900 ms", "--out", "run", cwd=path.parent)
    assert ended.returncode in (0, 5), ended.stderr  # 5: on a busy host the load generator may send late
    told = r"study\.yaml: steady: p99 from \d+ requests; fewer than 662 claim little about it"
    assert any(re.search(told, note) for note in read_gate(path.parent / "run").notes)


def test_what_no_request_tells_of_is_left_out_and_what_failed_is_not() -> None:
    slo = Slo({"tpot_p99": 1.0})
    of_one_token = known(summarise(records([answered(0, 1), answered(1, 2)]), slo))
    failed = known(summarise(records([(0, 0, 1, Outcome.HTTP_ERROR)]), slo))
    assert of_one_token["latency_p99_s"] == pytest.approx(0.002)
    assert failed["latency_p99_s"] == failed["tpot_p99_s"] == math.inf
    assert "tpot_p99_s" not in of_one_token
    assert "latency_p99_s" not in known(summarise(records([answered(-5, 1)]), slo))


def test_a_gate_without_a_rule_passes_and_says_that_it_measured_alone() -> None:
    found = concluding.result(
        form="alone",
        study="digits",
        found=([], []),
        sides=(None, measurement()),
        planned=(5,),
        redeployments=5,
        times_s=(1.0, 2.0),
        notes=[],
    )
    assert (found.state, found.exit_code, found.message) == ("pass", 0, "measured: there is nothing to hold it against")
    assert violations(junit.report(found)) == []


def test_a_gate_without_a_rule_and_without_an_slo_is_refused(path: Path) -> None:
    assert "gate: there is no rule: give one, like" in refused(load_study(path, ["slo={}"]))
