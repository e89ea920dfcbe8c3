"""Records: captured, stored, mapped, put together."""

import resource
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from record_builders import MS, answered, records, with_events

from targets.base import Outcome
from tuner import records as module
from tuner import rows as rows_module
from tuner.records import (
    AFTER,
    EVENT,
    FIELDS,
    ROW,
    WARMUP,
    WINDOW,
    EventsWriter,
    Records,
    RecordsWriter,
    events_path,
    issue_delays_s,
    latencies_s,
    load_records,
    merged,
    pooled,
    read_records,
    save_records,
    service_times_s,
)
from tuner.rows import Column, Rows


def append(writer: RecordsWriter, intended_ns: int, outcome: Outcome = Outcome.OK) -> None:
    times = (intended_ns, intended_ns + 1, intended_ns + 2, intended_ns + 3, intended_ns + 4)
    writer.append(times, (100, 200), request=intended_ns % 7, code=200, outcome=outcome)


def stored(path: Path, intended_ns: Sequence[int], window_ns: tuple[int, int] = (0, 1000), worker: int = 0) -> Records:
    writer = RecordsWriter(path, worker)
    for one in intended_ns:
        append(writer, one)
    writer.close(window_ns)
    return read_records(path, window_ns)


def assert_same(found: Records, expected: Records) -> None:
    for name, kind, _ in FIELDS:
        assert found.columns[name].dtype == kind
        np.testing.assert_array_equal(found.columns[name], expected.columns[name])
    np.testing.assert_array_equal(found.events, expected.events)
    assert list(found.windows_ns) == list(expected.windows_ns)


# Capturing and reading.


def test_what_is_appended_is_read_back(tmp_path: Path) -> None:
    writer = RecordsWriter(tmp_path / "rows", worker=3)
    big = 2**62
    times = (big, big + 1, big + 2, big + 3, big + 4)
    writer.append(times, (2**31 - 1, 5), request=6, code=-104, outcome=Outcome.TIMEOUT, tokens=17)
    writer.close((0, 2**63 - 1))
    columns = read_records(tmp_path / "rows", (0, 2**63 - 1)).columns
    found = {name: column.tolist() for name, column in columns.items()}
    rest = {
        "request": [6],
        "code": [-104],
        "class": [0],
        "worker": [3],
        "outcome": [Outcome.TIMEOUT],
        "phase": [WINDOW],
    }
    assert [found[name] for name, _, _ in FIELDS[:5]] == [[time] for time in times]
    assert [found["bytes_out"], found["bytes_in"], found["tokens"]] == [[2**31 - 1], [5], [17]]
    assert {name: found[name] for name in rest} == rest


def test_a_request_that_was_not_streamed_has_no_tokens(tmp_path: Path) -> None:
    rows = stored(tmp_path / "rows", [1, 2]).rows
    assert rows["tokens"].tolist() == rows["worker"].tolist() == [0, 0]


def test_a_file_holds_one_column_after_the_other(tmp_path: Path) -> None:
    columns = stored(tmp_path / "rows", [30, 10, 20]).columns
    assert (tmp_path / "rows").read_bytes() == b"".join(columns[name].tobytes() for name, _, _ in FIELDS)
    assert (tmp_path / "rows").stat().st_size == 3 * ROW.itemsize


def test_the_writer_grows_past_its_first_capacity(tmp_path: Path) -> None:
    writer = RecordsWriter(tmp_path / "rows")
    count = 2 * module._INITIAL_ROWS + 3
    for index in range(count):
        append(writer, index)
    assert writer.count == count
    writer.close((0, count))
    rows = read_records(tmp_path / "rows", (0, count)).rows
    assert len(rows) == count
    np.testing.assert_array_equal(rows["intended_ns"], np.arange(count))
    np.testing.assert_array_equal(rows["request"], np.arange(count) % 7)
    assert np.all(rows["code"] == 200)


def test_an_empty_run_has_no_rows(tmp_path: Path) -> None:
    empty = stored(tmp_path / "rows", [], (0, 10))
    assert len(empty.rows) == len(empty.in_window()) == len(empty.completed_ns()) == 0
    assert empty.windows_ns == [(0, 10)]


def test_the_phase_is_that_of_the_intended_time(tmp_path: Path) -> None:
    phases = stored(tmp_path / "rows", [99, 100, 199, 200, 150], (100, 200)).rows["phase"]
    assert phases.tolist() == [WARMUP, WINDOW, WINDOW, AFTER, WINDOW]


def test_a_missing_file_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_records(tmp_path / "rows", (0, 1))


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    stored(tmp_path / "rows", range(3))
    (tmp_path / "rows").write_bytes((tmp_path / "rows").read_bytes()[:-5])
    with pytest.raises(ValueError, match=f"rows: {3 * ROW.itemsize - 5} bytes are no whole number of rows"):
        read_records(tmp_path / "rows", (0, 3))


def test_records_that_were_read_outlive_their_file_and_the_next_run_on_its_path(tmp_path: Path) -> None:
    path = tmp_path / "rows"
    first = stored(path, [10, 20, 30])
    second = stored(path, [40, 50])
    path.unlink()
    assert first.rows["intended_ns"].tolist() == [10, 20, 30]
    assert second.rows["intended_ns"].tolist() == [40, 50]


def test_columns_that_cannot_keep_a_change_refuse_it(tmp_path: Path) -> None:
    mapped = stored(tmp_path / "rows", [10, 20])
    for some in (mapped, pooled([mapped, mapped])):
        with pytest.raises(ValueError, match="read-only"):
            some.columns["done_ns"][0] = 0


def test_a_file_that_cannot_be_written_leaves_the_old_one_and_no_rest(tmp_path: Path) -> None:
    stored(tmp_path / "rows", [10, 20])
    writer = RecordsWriter(tmp_path / "rows")
    append(writer, 30)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (ROW.itemsize // 2, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            writer.close((0, 1000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [path.name for path in tmp_path.iterdir()] == ["rows"]
    assert read_records(tmp_path / "rows", (0, 1000)).rows["intended_ns"].tolist() == [10, 20]


# Saving and loading.


def test_saved_records_are_loaded_as_they_were(tmp_path: Path) -> None:
    both = pooled([records([answered(1, 2), answered(5, 3)]), records([answered(2000, 2)], (1500, 2500))])
    save_records(with_events(both, (0, 1, 100), (2, 4, 200)), tmp_path / "trial.npz")
    loaded = load_records(tmp_path / "trial.npz")
    assert_same(loaded, with_events(both, (0, 1, 100), (2, 4, 200)))
    assert loaded.windows_ns == [(0, 1000 * MS), (1500 * MS, 2500 * MS)]
    assert loaded.window_s == 2.0


def test_mapped_records_are_saved_as_any_others(tmp_path: Path) -> None:
    mapped = stored(tmp_path / "rows", [30, 10, 2000])
    save_records(mapped, tmp_path / "trial.npz")
    assert_same(load_records(tmp_path / "trial.npz"), mapped)


def test_something_else_is_not_loaded(tmp_path: Path) -> None:
    np.savez(tmp_path / "other.npz", a=np.zeros(3))
    with pytest.raises(KeyError):
        load_records(tmp_path / "other.npz")


# Putting together.


def test_the_windows_length_is_that_of_all_together() -> None:
    parts = [records([], (0, 400)), records([], (500, 750))]
    assert pooled(parts).window_s == pytest.approx(0.65)


def test_pooling_keeps_every_row_and_its_phase() -> None:
    first = records([answered(-5, 1), answered(5, 1)], (0, 10))
    second = records([answered(105, 1), answered(115, 1)], (100, 110))
    both = pooled([first, second])
    assert both.rows["phase"].tolist() == [WARMUP, WINDOW, WINDOW, AFTER]
    assert both.in_window()["intended_ns"].tolist() == [5 * MS, 105 * MS]


def test_pooling_one_run_copies_nothing() -> None:
    one = records([answered(5, 1)])
    assert pooled([one]) is one
    assert merged([one]) is one


def test_runs_that_were_put_together_may_be_put_together_again() -> None:
    first, second, third = (records([answered(at, 1)] * count, (0, 10)) for at, count in ((5, 1), (25, 2), (7, 3)))
    inner = merged([first, third])
    assert len(inner.rows) == 4
    both = pooled([second, inner])
    assert len(both.rows) == 6
    assert both.rows["intended_ns"].tolist() == [at * MS for at in (25, 25, 5, 7, 7, 7)]
    assert both.in_window()["request"].tolist() == [0, 0, 1, 2]


def test_merging_keeps_the_window_once_and_the_rows_of_every_worker(tmp_path: Path) -> None:
    parts = [stored(tmp_path / "0", [10, 30], worker=0), stored(tmp_path / "1", [20, 40, 50], worker=1)]
    run = merged(parts)
    assert run.windows_ns == [(0, 1000)]
    assert run.rows["worker"].tolist() == [0, 0, 1, 1, 1]
    ordered = run.in_window()
    assert ordered["intended_ns"].tolist() == [10, 20, 30, 40, 50]
    assert ordered["worker"].tolist() == [0, 1, 0, 1, 1]
    assert run.completed_ns().tolist() == [14, 24, 34, 44, 54]


def test_runs_with_different_windows_are_not_parts_of_one() -> None:
    with pytest.raises(ValueError, match="same windows"):
        merged([records([], (0, 10)), records([], (0, 20))])


# Rows.


class Watched(dict[str, Column]):
    """Columns that note which of them were asked for."""

    def __init__(self, columns: Mapping[str, Column]) -> None:
        super().__init__(columns)
        self.asked: set[str] = set()

    def __getitem__(self, name: str) -> Column:
        self.asked.add(name)
        return super().__getitem__(name)


@pytest.mark.parametrize("parts", [1, 3])
def test_only_the_columns_asked_for_are_touched(parts: int) -> None:
    some = records([answered(3, 1), answered(-1, 1), answered(2, 1)])
    watched = Watched(some.columns)
    inside = pooled([Records(watched, some.windows_ns)] * parts).in_window()
    assert watched.asked == {"phase", "intended_ns"}
    watched.asked.clear()
    assert inside["request"].tolist() == [2] * parts + [0] * parts
    assert watched.asked == {"request"}


def test_a_column_without_a_selection_is_the_stored_one() -> None:
    some = records([answered(1, 1), answered(2, 1)])
    assert some.rows["done_ns"] is some.columns["done_ns"]
    assert some.in_window()["done_ns"] is some.columns["done_ns"], "all are in the window, and in order"


def test_rows_are_selected_by_mask_and_by_index_again_and_again() -> None:
    rows = records([answered(index, 1) for index in range(10)]).rows
    even = rows[rows["request"] % 2 == 0]
    assert even["request"].tolist() == [0, 2, 4, 6, 8]
    assert even[np.array([3, 0, 0])]["request"].tolist() == [6, 0, 0]
    assert even[even["request"] > 3]["request"].tolist() == [4, 6, 8]
    assert len(even[even["request"] > 3]) == 3
    assert len(even[np.zeros(5, bool)]) == 0


def test_a_selection_over_several_chunks_is_that_of_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows_module, "_CHUNK", 7)
    some = records([answered(index % 13, index) for index in range(100)])
    order = np.random.default_rng(0).permutation(100)
    rows = some.rows[order]
    np.testing.assert_array_equal(rows["done_ns"], some.columns["done_ns"][order])
    np.testing.assert_array_equal(latencies_s(rows), np.arange(100)[order] / 1000)


@pytest.mark.parametrize("count", [255, 256, 257, 65536])
def test_an_index_reaches_the_last_row(count: int) -> None:
    rows = Rows({"request": np.arange(count, dtype=np.int32)})
    assert rows[np.array([count - 1, 0])]["request"].tolist() == [count - 1, 0]


def test_a_mask_of_another_length_is_refused() -> None:
    rows = records([answered(1, 1), answered(2, 1)]).rows
    with pytest.raises(IndexError, match="a mask of 1 does not fit 2 requests"):
        rows[np.ones(1, bool)]


# What is asked of records.


def test_requests_in_the_window_come_in_the_order_they_were_due() -> None:
    rows = records([answered(30, 1), answered(10, 50), answered(-1, 1), answered(20, 1), answered(1000, 1)]).in_window()
    assert rows["intended_ns"].tolist() == [10 * MS, 20 * MS, 30 * MS]


def test_requests_in_the_window_come_as_they_were_stored_where_order_does_not_matter() -> None:
    some = records([answered(30, 1), answered(10, 50), answered(-1, 1), answered(20, 1)])
    assert some.in_window(ordered=False)["intended_ns"].tolist() == [30 * MS, 10 * MS, 20 * MS]


def test_requests_due_at_once_keep_their_order() -> None:
    rows = records([answered(10, index) for index in range(50)]).in_window()
    assert rows["request"].tolist() == list(range(50))


def test_completions_are_those_that_were_ok_in_any_phase_in_order() -> None:
    some = records([answered(-5, 30), answered(0, 1), (3, 3, 4, Outcome.TIMEOUT), answered(2000, 1)])
    assert some.completed_ns().tolist() == [1 * MS, 25 * MS, 2001 * MS]


def test_completions_within_a_latency_are_ok_answers_at_most_as_slow() -> None:
    some = records([answered(5, 10), answered(0, 10.001), answered(1, 2), (3, 3, 4, Outcome.TIMEOUT)])
    assert some.completed_ns(latencies_s(some.rows) <= 0.010).tolist() == [3 * MS, 15 * MS]


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
    some.columns["ready_ns"][0] = 4 * MS
    assert issue_delays_s(some.rows).tolist() == pytest.approx([0.001, 0.0005])


def test_records_are_packed_without_gaps() -> None:
    assert ROW.itemsize == sum(np.dtype(kind).itemsize for _, kind, _ in FIELDS)


def test_no_records_are_fine() -> None:
    nothing = records([])
    assert len(nothing.in_window()) == len(nothing.completed_ns()) == len(latencies_s(nothing.rows)) == 0


# Events of streamed answers.


def with_a_stream(path: Path, intended_ns: Sequence[int], events: Sequence[tuple[int, int, int]]) -> Records:
    """Store a run whose streamed requests have the numbers 10, 11, ... in the order of their rows."""
    writer = EventsWriter(path)
    for event in events:
        writer.append(*event)
    row_of = np.concatenate([np.full(10, -1), np.arange(len(intended_ns))])
    records_writer = RecordsWriter(path)
    for one in intended_ns:
        append(records_writer, one)
    records_writer.close((0, 1000))
    writer.close(row_of)
    return read_records(path, (0, 1000))


def test_events_are_read_back_under_the_row_of_their_request(tmp_path: Path) -> None:
    found = with_a_stream(tmp_path / "rows", [1, 2, 3], [(12, 1, 2**62), (10, 2**32 - 1, 7), (12, 0, 9)]).events
    assert found.dtype == EVENT
    assert found.tolist() == [(2, 1, 2**62), (0, 2**32 - 1, 7), (2, 0, 9)]


def test_events_of_requests_without_a_row_are_left_out(tmp_path: Path) -> None:
    found = with_a_stream(tmp_path / "rows", [1, 2], [(9, 1, 5), (11, 2, 6), (0, 3, 7), (10, 4, 8)]).events
    assert found.tolist() == [(1, 2, 6), (0, 4, 8)]


def test_many_events_are_left_out_across_chunks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows_module, "_CHUNK", 1000)
    count = module._INITIAL_ROWS + 5
    writer = EventsWriter(tmp_path / "rows")
    for number in range(count):
        writer.append(number, 1, number)
    stored(tmp_path / "rows", [])
    row_of = np.where(np.arange(count) % 3 == 0, np.arange(count) // 3, -1)
    writer.close(row_of)
    found = read_records(tmp_path / "rows", (0, 1)).events
    np.testing.assert_array_equal(found["at_ns"], np.arange(0, count, 3))
    np.testing.assert_array_equal(found["row"], np.arange(len(found)))


@pytest.mark.parametrize("events", [[], [(0, 1, 5)]])
def test_without_events_there_is_no_file_of_them(events: list[tuple[int, int, int]], tmp_path: Path) -> None:
    found = with_a_stream(tmp_path / "rows", [1], events)
    assert not events_path(tmp_path / "rows").exists()
    assert (len(found.events), found.events.dtype) == (0, EVENT)


def test_a_run_on_the_same_path_does_not_inherit_the_events_of_the_one_before(tmp_path: Path) -> None:
    first = with_a_stream(tmp_path / "rows", [1], [(10, 1, 5)])
    second = stored(tmp_path / "rows", [1])
    assert len(second.events) == 0
    assert first.events.tolist() == [(0, 1, 5)]


def test_truncated_events_are_refused(tmp_path: Path) -> None:
    with_a_stream(tmp_path / "rows", [1], [(10, 1, 5)])
    events_path(tmp_path / "rows").write_bytes(b"12345")
    with pytest.raises(ValueError, match=r"rows\.events: 5 bytes"):
        read_records(tmp_path / "rows", (0, 1000))


@pytest.mark.parametrize("together", [merged, pooled])
def test_events_follow_their_requests_when_runs_are_put_together(
    together: Callable[[Sequence[Records]], Records],
) -> None:
    parts = [
        with_events(records([answered(1, 1), answered(2, 1)]), (1, 1, 5)),
        records([answered(3, 1)]),
        with_events(records([answered(4, 1), answered(5, 1)]), (0, 2, 6), (1, 3, 7)),
    ]
    assert together(parts).events.tolist() == [(1, 1, 5), (3, 2, 6), (4, 3, 7)]
    assert parts[2].events.tolist() == [(0, 2, 6), (1, 3, 7)]
