"""Baselines as files: small, readable, and refused when they are not what was accepted."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from tests.gate.gate_builders import measurement
from tests.support.simulated_study import write_simulated_study
from tests.support.tune import tune
from tuner.gate import histogram, hosts
from tuner.gate.baseline import (
    MEASURED,
    RESULT,
    BaselineError,
    accept,
    lacking,
    parse_measurement,
    read_measurement,
    written,
)
from tuner.gate.document import Measurement
from tuner.gate.gathering import kept, packed, stored_scores
from tuner.gate.hosts import HostsDiffer, Setting
from tuner.gate.running import compare
from tuner.rundir import StudyMark, open_run


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """The run of a gate that can be accepted."""
    path = tmp_path / "run"
    path.mkdir()
    (path / MEASURED).write_text(written(measurement()))
    return path


def test_an_accepted_run_says_who_when_and_why_and_reads_back_as_it_was(run: Path, tmp_path: Path) -> None:
    made = accept(run, tmp_path / "new" / "baseline.json", by="ada", why="batch of 16")
    back = read_measurement(tmp_path / "new" / "baseline.json")
    assert back.accepted == made.accepted
    assert back.accepted is not None
    assert (back.accepted.by, back.accepted.why, back.accepted.run) == ("ada", "batch of 16", "run")
    assert back.workloads == measurement().workloads


def test_a_run_that_was_not_valid_is_not_accepted(run: Path, tmp_path: Path) -> None:
    spoiled = compare(measurement(), measurement(), []).model_copy(update={"state": "invalid", "message": "sent late"})
    (run / RESULT).write_text(spoiled.model_dump_json(by_alias=True))
    with pytest.raises(BaselineError, match="this gate was not valid: sent late; measure again"):
        accept(run, tmp_path / "baseline.json", by="ada", why="")
    assert not (tmp_path / "baseline.json").exists()


def test_what_the_load_generator_spoiled_says_so_itself_and_is_neither_accepted_nor_held_against(
    tmp_path: Path,
) -> None:
    file = tmp_path / "measurement.json"
    file.write_text(written(measurement().model_copy(update={"invalid": ["steady: sent late"]})))
    assert read_measurement(file).invalid == ["steady: sent late"]
    with pytest.raises(
        BaselineError, match=r"measurement\.json: its gate was not valid: steady: sent late; measure again"
    ):
        accept(file, tmp_path / "baseline.json", by="ada", why="")
    assert not (tmp_path / "baseline.json").exists()
    ended = tune("gate", "compare", file, file, cwd=tmp_path)
    assert ended.returncode == 5
    assert "NOT VALID: a.yaml: steady: sent late" in ended.stdout


def test_the_baseline_of_another_study_is_not_overwritten(run: Path, tmp_path: Path) -> None:
    there = tmp_path / "baseline.json"
    there.write_text(written(measurement(study="resnet")))
    with pytest.raises(BaselineError, match="is the baseline of another study, resnet, and this is one of digits"):
        accept(run, there, by=None, why="")
    assert read_measurement(there).study == "resnet"


def test_a_baseline_is_small_and_has_a_line_for_each_restart() -> None:
    text = written(measurement())
    assert len(text) < 4_000
    assert sum('"throughput_rps"' in line for line in text.splitlines()) == 5
    assert json.loads(text)["schema"] == "paretune.baseline/1"


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda text: text[:500], "not JSON, so it was truncated or edited"),
        (lambda text: text.replace('"throughput_rps": 101.0', '"throughput_rps": 90.0'), "checksum does not fit"),
        (lambda text: text.replace("baseline/1", "baseline/2"), "upgrade Paretune"),
        (lambda text: text.replace("paretune.baseline/1", "other/1"), "is no baseline"),
        (lambda text: text.replace('"study"', '"studies"'), "checksum does not fit"),
    ],
    ids=["truncated", "edited", "newer", "other", "incomplete"],
)
def test_a_baseline_that_is_not_what_was_accepted_is_refused_and_not_overwritten(
    damage: object, message: str, run: Path, tmp_path: Path
) -> None:
    file = tmp_path / "baseline.json"
    broken = damage(written(measurement()))  # type: ignore[operator]
    file.write_text(broken)
    with pytest.raises(BaselineError) as read:
        read_measurement(file)
    with pytest.raises(BaselineError) as overwritten:
        accept(run, file, by=None, why="")
    assert message in str(read.value)
    assert message in str(overwritten.value)
    assert file.read_text() == broken


class Newer(Measurement):
    """What a later version may keep as well."""

    weather: str = "dry"


class Odd(Measurement):
    """What no version wrote."""

    study: int  # type: ignore[assignment]


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (Newer.model_validate(measurement().model_dump()), "weather: Extra .*; a newer Paretune wrote it; upgrade"),
        (
            Odd.model_validate({**measurement().model_dump(), "study": 3}),
            "study: Input should be a valid string; take it from version control again",
        ),
    ],
)
def test_a_document_that_has_another_shape_names_the_place(document: Measurement, message: str) -> None:
    with pytest.raises(BaselineError, match=rf"b: no paretune.baseline/1 document: {message}"):
        parse_measurement("b", written(document))


def test_a_gate_that_is_refused_leaves_the_run_before_it_where_it_was(tmp_path: Path) -> None:
    study = write_simulated_study(tmp_path)
    (tmp_path / "b.json").write_text(written(measurement(host={**measurement().host, "cpu": "another CPU"})))
    before = open_run(tmp_path / "runs", "queue-gate", StudyMark(""), None, fresh=True)
    settings = ["--set", "gate={concurrency: 2, throughput: -20%, rounds: 2, round: 60 ms}", "--despite", "workload"]
    ended = tune("gate", study, "--against", "b.json", *settings, cwd=tmp_path)
    assert ended.returncode == 2
    assert "not comparable: cpu: another CPU then" in ended.stderr
    assert (tmp_path / "runs" / "queue-gate" / "latest").resolve() == before.path
    assert list((tmp_path / "runs" / "queue-gate").glob("2*")) == [before.path]


def test_a_baseline_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(BaselineError, match=r"nothing\.json: No such file"):
        read_measurement(tmp_path / "nothing.json")


def test_a_baseline_of_few_restarts_says_what_it_lacks() -> None:
    assert lacking(measurement()) == ""
    assert "from 4 restarts, of 5" in lacking(measurement([100.0] * 4))
    away = {**measurement().host, "place": "http://models:8000"}
    assert lacking(measurement(host=away)).startswith("its server runs elsewhere and was not restarted")
    assert lacking(measurement(host=away, elsewhere="as_restarts")) == ""


@pytest.mark.parametrize(
    ("field", "change"),
    [
        ("cpu", {"host": {"cpu": "another"}}),
        ("cores", {"host": {"cores": "2 of 4 for the server"}}),
        ("gpu", {"host": {"gpu": "one"}}),
        ("driver", {"host": {"driver": "550"}}),
        ("server", {"host": {"server": "a server 1.1"}}),
        ("agents", {"host": {"agents": "2 (CPUs: 8, 8)"}}),
        ("place", {"host": {"place": "http://other:8000"}}),
        ("protocol", {"host": {"protocol": "grpc"}}),
        ("model", {"host": {"model": "bert"}}),
        ("workload", {"traffic": {"steady": "abd"}}),
        ("workload", {"traffic": {"steady": "abc", "bursty": "abc"}}),
    ],
)
def test_what_matters_has_to_be_the_same_unless_told_otherwise(field: str, change: dict[str, dict[str, str]]) -> None:
    old = measurement()
    new = measurement(**{name: {**getattr(old, name), **value} for name, value in change.items()})
    with pytest.raises(HostsDiffer, match=rf"not comparable: {field}: .*--despite {field}$"):
        hosts.check(Setting.of(old), Setting.of(new), [])
    (noted,) = hosts.check(Setting.of(old), Setting.of(new), [field])
    assert noted.startswith(f"{field} differs")


def test_another_host_is_refused_by_the_command_line(run: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.json"
    other.write_text(written(measurement(host={**measurement().host, "cpu": "another CPU"})))
    ended = tune("gate", "compare", other, run, cwd=tmp_path)
    assert ended.returncode == 2
    assert "cpu: another CPU then, a CPU now" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_the_histogram_knows_a_latency_within_two_percent_and_adds_up() -> None:
    rng = np.random.default_rng(1)
    one, two = rng.lognormal(-5, 1, 5_000), rng.lognormal(-4, 0.3, 5_000)
    merged = histogram.merged([histogram.counted(one), histogram.counted(two)])
    both = np.concatenate([one, two])
    assert merged == histogram.counted(both)
    assert sum(merged.values()) == len(both)
    for value in both[:100]:
        (bucket,) = histogram.counted(np.array([value]))
        low, high = histogram.upper_s(bucket - 1), histogram.upper_s(bucket)
        assert low < value <= high
        assert (low + high) / 2 == pytest.approx(value, rel=0.0201)


def test_failed_requests_have_no_latency_in_the_histogram() -> None:
    assert sum(histogram.counted(np.array([0.001, np.inf])).values()) == 1


def test_which_items_were_right_is_kept_bit_by_bit() -> None:
    scores = np.array([1.0, 0, 1, 1, 0, 0, 0, 1, 1])
    as_bits = {"value": 5 / 9, "items": 9, "right": packed(scores)}
    one = measurement()
    data = one.model_dump(by_alias=True)
    data["workloads"]["steady"]["accuracy"] = as_bits
    assert stored_scores(type(one).model_validate(data))["steady"].tolist() == scores.tolist()
    assert packed(np.array([0.5, 1.0])) is None


def test_scores_that_are_no_0_or_1_are_kept_exactly() -> None:
    scores = np.array([0.1, math.inf, 1 / 3, 0.0, 1.0, -0.25])
    one = kept(math.inf, scores)
    assert (one.items, one.right) == (6, None)
    steady = measurement().workloads["steady"].model_copy(update={"accuracy": one})
    back = parse_measurement("kept", written(measurement(workloads={"steady": steady})))
    assert stored_scores(back)["steady"].tolist() == scores.tolist()
    assert kept(0.5, np.array([1.0, 0.0])).scores is None, "bits say these"
