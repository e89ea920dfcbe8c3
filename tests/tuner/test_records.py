"""Records: captured, stored, read, pooled."""

from pathlib import Path

import numpy as np
import pytest
from record_builders import MS, answered, records

from targets.base import Outcome
from tuner import records as module
from tuner.records import (
    AFTER,
    ROW,
    WARMUP,
    WINDOW,
    Records,
    RecordsWriter,
    issue_delays_s,
    latencies_s,
    load_records,
    pooled,
    read_records,
    save_records,
    service_times_s,
)


def append(writer: RecordsWriter, intended_ns: int, outcome: Outcome = Outcome.OK) -> None:
    times = (intended_ns, intended_ns + 1, intended_ns + 2, intended_ns + 3, intended_ns + 4)
    writer.append(times, (100, 200), request=intended_ns % 7, code=200, outcome=outcome)


def test_what_is_appended_is_read_back(tmp_path: Path) -> None:
    writer = RecordsWriter(tmp_path / "rows")
    big = 2**62
    writer.append(
        (big, big + 1, big + 2, big + 3, big + 4), (2**31 - 1, 5), request=6, code=-104, outcome=Outcome.TIMEOUT
    )
    writer.close((0, 2**63 - 1))
    (row,) = read_records(tmp_path / "rows", (0, 2**63 - 1)).rows
    assert row["intended_ns"] == big
    assert row["ready_ns"] == big + 1
    assert row["sent_ns"] == big + 2
    assert row["first_ns"] == big + 3
    assert row["done_ns"] == big + 4
    assert (row["bytes_out"], row["bytes_in"], row["tokens"]) == (2**31 - 1, 5, 0)
    assert (row["request"], row["code"], row["outcome"]) == (6, -104, Outcome.TIMEOUT)
    assert (row["class"], row["worker"]) == (0, 0)


def test_the_writer_grows_past_its_first_capacity(tmp_path: Path) -> None:
    writer = RecordsWriter(tmp_path / "rows")
    count = 2 * module._INITIAL_ROWS + 3
    for index in range(count):
        append(writer, index)
    assert writer.count == count
    writer.close((0, count))
    rows = read_records(tmp_path / "rows", (0, count)).rows
    np.testing.assert_array_equal(rows["intended_ns"], np.arange(count))
    np.testing.assert_array_equal(rows["request"], np.arange(count) % 7)
    assert np.all(rows["code"] == 200)


def test_an_empty_run_has_no_rows(tmp_path: Path) -> None:
    RecordsWriter(tmp_path / "rows").close((0, 10))
    stored = read_records(tmp_path / "rows", (0, 10))
    assert len(stored.rows) == 0
    assert stored.windows_ns == [(0, 10)]


def test_the_phase_is_that_of_the_intended_time(tmp_path: Path) -> None:
    writer = RecordsWriter(tmp_path / "rows")
    for intended in (99, 100, 199, 200, 150):
        append(writer, intended)
    writer.close((100, 200))
    phases = read_records(tmp_path / "rows", (100, 200)).rows["phase"]
    assert phases.tolist() == [WARMUP, WINDOW, WINDOW, AFTER, WINDOW]


def test_a_missing_file_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_records(tmp_path / "rows", (0, 1))


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    writer = RecordsWriter(tmp_path / "rows")
    for index in range(3):
        append(writer, index)
    writer.close((0, 3))
    (tmp_path / "rows").write_bytes((tmp_path / "rows").read_bytes()[:-5])
    with pytest.raises(ValueError, match="rows"):
        read_records(tmp_path / "rows", (0, 3))


def test_saved_records_are_loaded_as_they_were(tmp_path: Path) -> None:
    both = pooled([records([answered(1, 2), answered(5, 3)]), records([answered(2000, 2)], (1500, 2500))])
    save_records(both, tmp_path / "trial.npz")
    loaded = load_records(tmp_path / "trial.npz")
    assert loaded.rows.dtype == ROW
    np.testing.assert_array_equal(loaded.rows, both.rows)
    assert loaded.windows_ns == [(0, 1000 * MS), (1500 * MS, 2500 * MS)]
    assert loaded.window_s == 2.0


def test_something_else_is_not_loaded(tmp_path: Path) -> None:
    np.savez(tmp_path / "other.npz", a=np.zeros(3))
    with pytest.raises(KeyError):
        load_records(tmp_path / "other.npz")


def test_the_windows_length_is_that_of_all_together() -> None:
    parts = [records([], (0, 400)), records([], (500, 750))]
    assert pooled(parts).window_s == pytest.approx(0.65)


def test_pooling_keeps_every_row_and_its_phase() -> None:
    first = records([answered(-5, 1), answered(5, 1)], (0, 10))
    second = records([answered(105, 1), answered(115, 1)], (100, 110))
    both = pooled([first, second])
    assert both.rows["phase"].tolist() == [WARMUP, WINDOW, WINDOW, AFTER]
    assert both.in_window()["intended_ns"].tolist() == [5 * MS, 105 * MS]


def test_requests_in_the_window_come_in_the_order_they_were_due() -> None:
    rows = records([answered(30, 1), answered(10, 50), answered(-1, 1), answered(20, 1), answered(1000, 1)]).in_window()
    assert rows["intended_ns"].tolist() == [10 * MS, 20 * MS, 30 * MS]


def test_requests_due_at_once_keep_their_order() -> None:
    rows = records([answered(10, index) for index in range(50)]).in_window()
    assert rows["request"].tolist() == list(range(50))


def test_completions_are_those_that_were_ok_in_any_phase_in_order() -> None:
    some = records([answered(-5, 30), answered(0, 1), (3, 3, 4, Outcome.TIMEOUT), answered(2000, 1)])
    assert some.completed_ns().tolist() == [1 * MS, 25 * MS, 2001 * MS]


def test_latency_counts_from_the_intended_time() -> None:
    rows = records([(0, 7, 10, Outcome.OK)]).rows
    assert latencies_s(rows).tolist() == [0.01]
    assert service_times_s(rows).tolist() == [0.003]


@pytest.mark.parametrize("outcome", [outcome for outcome in Outcome if outcome is not Outcome.OK])
def test_a_failure_is_an_infinite_latency_and_has_no_service_time(outcome: Outcome) -> None:
    rows = records([answered(0, 5), (0, 1, 2, outcome)]).rows
    assert latencies_s(rows).tolist() == [0.005, np.inf]
    assert service_times_s(rows).tolist() == [0.005]


def test_the_issue_delay_is_from_ready_to_sent() -> None:
    some = records([(0, 5, 9, Outcome.OK), (1, 0, 9, Outcome.DROPPED), (2, 2.5, 9, Outcome.TIMEOUT)])
    some.rows["ready_ns"][0] = 4 * MS
    assert issue_delays_s(some.rows).tolist() == pytest.approx([0.001, 0.0005])


def test_records_are_packed_without_gaps() -> None:
    assert ROW.itemsize == sum(np.dtype(kind).itemsize for _, kind, _ in module.FIELDS)


def test_no_records_are_fine() -> None:
    nothing = Records(np.zeros(0, ROW), [(0, MS)])
    assert len(nothing.in_window()) == len(nothing.completed_ns()) == len(latencies_s(nothing.rows)) == 0
