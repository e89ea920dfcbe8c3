"""What there is of a gate that came to no end."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from targets.base import ServerDied, TargetError
from tests.gate.gate_builders import measurement
from tests.support.simulated_study import write_simulated_study
from tuner.gate import ending, opening
from tuner.gate.running import Gate, compare
from tuner.load.generator import GeneratorError
from tuner.study.load import load_study
from tuner.wiring import prepare

SETTINGS = ("gate={concurrency: 2, rounds: 2, round: 60 ms, throughput: -90%}",)


class Unheard:
    """Takes note of nothing."""

    def progress(self, spent_s: float, budget_s: float) -> None:
        """Take note of the time."""

    def note(self, text: str) -> None:
        """Take note of a remark."""


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Gate]:
    """Two sides of the same simulated server, started."""
    study = load_study(write_simulated_study(tmp_path), SETTINGS)
    sides = [(name, prepare(study, tmp_path / f"{name}.txt")) for name in ("old", "new")]
    with opening.opened("ab", sides, tmp_path, None, [], ["a note"]) as made:
        yield made


def test_the_side_that_died_is_named_and_what_was_measured_before_is_there(
    gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    trier = gate.rounds.sides[1].trier
    measure = trier.measure_at_once
    dying = iter([False] * 3 + [True])

    def measured(*arguments: object) -> object:
        if next(dying):
            trier.target.stop()
        return measure(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(trier, "measure_at_once", measured)
    with pytest.raises(TargetError) as ended:
        gate.run(Unheard())
    result = gate.unfinished(ended.value)
    assert (result.state, result.exit_code, result.redeployments) == ("unfinished", 3, 1)
    assert result.message == f"new: {ended.value}"
    assert result.old is not None
    for side in (result.old, result.new):
        assert [len(one.restarts) for one in side.workloads.values()] == [1]
    assert result.notes == ["a note"]
    assert 0 < result.measured_s < result.wall_s


def test_a_gate_that_is_ended_in_its_first_redeployment_has_measured_nothing(gate: Gate) -> None:
    result = gate.unfinished(KeyboardInterrupt())
    assert (result.message, result.exit_code, result.redeployments) == ("interrupted", 130, 0)
    assert result.new.workloads == {}
    assert result.new.label == "new"


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (ServerDied("it ended"), 3, "new: it ended"),
        (GeneratorError("no memory"), 5, "no memory"),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
)
def test_what_ends_a_gate_says_its_exit_code(error: BaseException, code: int, said: str) -> None:
    assert (ending.code_of(error), ending.said_of(error, "new")) == (code, said)


def test_a_verdict_stands_where_something_goes_wrong_after_it() -> None:
    verdict = compare(measurement(), measurement(), [])
    result = ending.late(verdict, TargetError("the model's own configuration could not be loaded again"))
    assert (result.state, result.exit_code) == (verdict.state, 3)
    assert result.notes[-1] == "after the verdict: the model's own configuration could not be loaded again"
