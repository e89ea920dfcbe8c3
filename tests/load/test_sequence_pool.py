"""Sequences in the load: one request at a time in each, in order, as many at once as may be, all ended at the end."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from targets.base import Endpoint
from tuner.load.plan import ClosedLoop, OpenLoop, Plan
from tuner.load.sequences import SequenceOrder, SequencePool
from tuner.load.sources import Source, make_source
from workloads.schedule import Schedule

START, WINDOW = 1_000, 1_000


def order(*lengths: int) -> SequenceOrder:
    sizes = np.array(lengths, np.int64)
    return SequenceOrder(np.cumsum(sizes) - sizes, sizes)


def source(load: ClosedLoop | OpenLoop, *lengths: int) -> Source:
    endpoint = Endpoint("127.0.0.1", 1, (b"",), judge=len)  # type: ignore[arg-type]
    return make_source(Plan(endpoint, load, START, 0, WINDOW, WINDOW, Path("unused"), sequences=order(*lengths)))


@given(
    st.lists(st.integers(1, 5), min_size=4, max_size=9), st.integers(1, 4), st.lists(st.integers(0, 99), max_size=80)
)
def test_a_sequence_has_one_request_on_its_way_and_they_come_in_order(
    lengths: list[int], at_once: int, answers: list[int]
) -> None:
    sequences = order(*lengths)
    pool = SequencePool(sequences, at_once)
    of = np.repeat(np.arange(len(lengths)), lengths)
    expected = sequences.firsts.tolist()
    under_way: list[int] = []
    for answer in answers:
        while len(under_way) < at_once:
            request = pool.next()
            sequence = int(of[request])
            assert sequence not in {int(of[one]) for one in under_way}
            assert request == expected[sequence]
            under_way.append(request)
        done = under_way.pop(answer % at_once)
        ok, sequence = answer >= 10, int(of[done])
        pool.done(done, ok=ok)
        last = done == sequences.firsts[sequence] + lengths[sequence] - 1
        expected[sequence] = sequences.firsts[sequence] if last or not ok else done + 1


def test_as_many_sequences_are_live_as_may_be_and_the_next_begins_when_one_ends() -> None:
    pool = SequencePool(order(2, 2, 2), 2)
    assert [pool.next(), pool.next()] == [0, 2]
    pool.done(2, ok=True)
    assert pool.next() == 3, "the one that is live goes on before another begins"
    pool.done(3, ok=True)
    assert pool.next() == 4


def test_a_sequence_whose_request_failed_begins_anew_after_the_others() -> None:
    pool = SequencePool(order(3, 1, 1), 1)
    assert pool.next() == 0
    pool.done(0, ok=True)
    assert pool.next() == 1
    pool.done(1, ok=False)
    rest = []
    for _ in range(3):
        rest.append(pool.next())
        pool.done(rest[-1], ok=True)
    assert rest == [3, 4, 0]


def test_the_slots_of_a_closed_loop_end_their_sequences_when_the_load_ends() -> None:
    load = ClosedLoop(2, np.zeros(1, np.int32))
    found = source(load, 5, 5)
    sent = [found.bound(found.take()) for _ in range(2)]
    assert sent == [0, 5]
    assert found.on_done(START + WINDOW - 10, 0, ok=True)
    assert found.bound(found.take()) == 1
    found.on_done(START + WINDOW + 5, 5, ok=True)
    assert found.next_ns() == START + WINDOW, "after the window, so that it is in no result"
    assert found.bound(found.take()) == 9, "though the other one is on its way still"
    assert found.next_ns() is None
    found.on_done(START + WINDOW + 9, 1, ok=True)
    assert found.bound(found.take()) == 4
    for request in (9, 4):
        assert not found.on_done(START + WINDOW + 20, request, ok=True)
    assert found.exhausted


def test_the_arrivals_of_an_open_loop_go_to_the_sequence_that_has_waited_longest() -> None:
    schedule = Schedule(np.arange(5, dtype=np.int64), np.zeros(5, np.int32))
    found = source(OpenLoop(schedule, 2), 3, 3)
    assert found.most_places == 2
    sent = [found.bound(found.take()) for _ in range(2)]
    for request in (3, 0):
        found.on_done(START + 10, request, ok=True)
    sent += [found.bound(found.take()) for _ in range(2)]
    assert sent == [0, 3, 4, 1]
    found.on_done(START + 20, 4, ok=True)
    found.on_done(START + 20, 1, ok=True)
    assert found.bound(found.take()) == 5
    found.on_done(START + 30, 5, ok=True)
    assert found.next_ns() == START + WINDOW
    assert found.bound(found.take()) == 2, "the one that is live still is ended"
    found.on_done(START + WINDOW + 5, 2, ok=True)
    assert found.exhausted


def test_a_window_that_ends_early_ends_the_sequences_then() -> None:
    found = source(ClosedLoop(1, np.zeros(1, np.int32), np.array([500])), 9)
    assert found.bound(found.take()) == 0
    found.on_done(START + 10, 0, ok=True)
    found.end_at(START + 100)
    assert found.next_ns() == START + 100
    assert found.bound(found.take()) == 8


@pytest.mark.parametrize("count", [2, 3])
def test_shards_have_whole_sequences_and_all_of_them(count: int) -> None:
    whole = order(1, 2, 3, 4, 5)
    parts = [whole.shard(index, count) for index in range(count)]
    pairs = sorted((first, length) for one in parts for first, length in zip(one.firsts, one.lengths, strict=True))
    assert pairs == list(zip(whole.firsts, whole.lengths, strict=True))
