"""A trial of which one measurement was spoiled: its others count, and are shown as those that do."""

from rich.console import Console

from reports import trials, trials_table
from tests.tuner.result_builders import best, point, result, trial
from tuner.results import Point, Result, Trial, TrialState, Validity

LATE = "the load generator sent late"
REASON = f"steady: {LATE}"


def spoiled(level: float, throughput: float) -> Point:
    return point(level=level, throughput=throughput).model_copy(
        update={"validity": Validity(valid=False, reasons=[LATE])}
    )


def ended(made: Trial, reason: str = REASON) -> Trial:
    return made.model_copy(update={"reason": reason})


def in_part(state: TrialState = "invalid") -> Result:
    """The best is trial 1, of which the second load was spoiled."""
    made = trial(1, point(level=8, throughput=200.0), spoiled(16, 150.0), state=state)
    return result(trial(0, point()), ended(made)).model_copy(update={"best": best(1)})


def shown(found: Result) -> list[list[str]]:
    """Return the words of each line of the table in the terminal."""
    console = Console(width=200, record=True)
    console.print(trials.table(found))
    return [line.split() for line in console.export_text().splitlines()]


def test_the_table_in_the_terminal_has_every_load_and_the_reason_below() -> None:
    rows = shown(in_part())
    at = next(index for index, row in enumerate(rows) if row[:2] == ["1", "*"])
    assert rows[at][2:] == ["8", "in", "flight", "200/s", "met"]
    assert rows[at + 1] == ["16", "in", "flight", "150/s", "spoiled,", "not", "used"]
    assert rows[at + 2] == ["invalid", *REASON.split()]


def test_a_trial_of_which_nothing_counts_has_its_reason_alone() -> None:
    rows = shown(in_part("crashed"))
    assert ["1", "*", "crashed", *REASON.split()] in rows
    assert not any("200/s" in row for row in rows)
    all_spoiled = ended(trial(1, spoiled(8, 200.0), state="invalid"))
    assert ["1", "invalid", *REASON.split()] in shown(result(all_spoiled))


def test_in_the_page_only_the_spoiled_measurement_is_bad_and_has_the_reason() -> None:
    yours, fine, bad = trials_table.table(in_part()).rows
    assert [row.tone for row in (yours, fine, bad)] == ["good", "good", "bad"]
    assert yours.cells[-1] == fine.cells[-1] == "met"
    said = bad.cells[-1]
    assert isinstance(said, str)
    assert said.startswith(f"invalid: {REASON}\n")


def test_in_the_page_no_measurement_before_a_crash_is_good() -> None:
    _, first, _ = trials_table.table(in_part("crashed")).rows
    assert first.tone == "bad"
    assert str(first.cells[-1]).startswith(f"crashed: {REASON}\n")
