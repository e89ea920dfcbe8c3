"""What is due when, and how a load is dealt out to several processes."""

from collections import Counter
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from targets.base import Endpoint
from tests.support.load_runs import judge
from tuner.load.plan import ClosedLoop, OpenLoop, Plan, always
from tuner.load.sources import Source, make_source
from workloads.schedule import Schedule

START, WINDOW = 1_000, 1_000_000
relaxed = settings(deadline=None, max_examples=80)
counts = st.integers(1, 9)
schedules = st.lists(st.tuples(st.integers(0, WINDOW), st.integers(0, 20)), max_size=50).map(
    lambda due: Schedule(
        np.sort(np.array([offset for offset, _ in due], np.int64)), np.array([one for _, one in due], np.int32)
    )
)


def source_of(load: ClosedLoop | OpenLoop) -> Source:
    endpoint = Endpoint("127.0.0.1", 1, (b"",), judge)
    return make_source(Plan(endpoint, load, START, 0, WINDOW, WINDOW, Path("unused")))


def taken(load: ClosedLoop | OpenLoop, answer_ns: int = 1_000) -> list[tuple[int, int]]:
    """Return (when it is due, request) of all that a load sends if each answer takes so long."""
    source, found = source_of(load), []
    on_their_way: list[int] = []
    while not source.exhausted or on_their_way:
        due = source.next_ns()
        if due is not None and (not on_their_way or due <= on_their_way[0]):
            found.append((due, source.take()))
            on_their_way.append(due + answer_ns)
        else:
            source.on_done(on_their_way.pop(0))
    return found


# Open loops.


@relaxed
@given(schedules)
def test_an_open_loop_gives_its_schedule(schedule: Schedule) -> None:
    due = (schedule.offsets_ns + START).tolist()
    assert taken(OpenLoop(schedule, 4)) == list(zip(due, schedule.requests.tolist(), strict=True))


@relaxed
@given(schedules, counts)
def test_the_shards_of_an_open_loop_add_up_to_it(schedule: Schedule, count: int) -> None:
    whole = OpenLoop(schedule, 4)
    shards = [whole.shard(index, count) for index in range(count)]
    assert sorted(request for shard in shards for request in taken(shard)) == sorted(taken(whole))


@relaxed
@given(counts, st.integers(1, 100))
def test_the_connections_of_an_open_loop_are_dealt_out_one_each_at_least(count: int, connections: int) -> None:
    whole = OpenLoop(Schedule(np.zeros(0, np.int64), np.zeros(0, np.int32)), connections)
    dealt = [whole.shard(index, count).connections for index in range(count)]
    assert sum(dealt) == max(connections, count)
    assert max(dealt) - min(dealt) <= 1


def test_an_open_loop_does_not_hold_its_schedule_as_a_list() -> None:
    source = source_of(OpenLoop(Schedule(np.arange(1_000_000), np.zeros(1_000_000, np.int32)), 64))
    assert [(source.next_ns(), source.take()) for _ in range(3)] == [(START, 0), (START + 1, 0), (START + 2, 0)]
    assert source.first_places == 64


# Closed loops.


def orders(length: int) -> np.ndarray:
    return np.random.default_rng(1).permutation(length).astype(np.int32)


@relaxed
@given(counts, st.integers(1, 40), st.integers(1, 60), st.integers(1, 40))
def test_the_shards_of_a_closed_loop_have_its_slots_and_its_total(
    count: int, concurrency: int, total: int, requests: int
) -> None:
    whole = ClosedLoop(concurrency, orders(requests), always(5), total)
    shards = [whole.shard(index, count) for index in range(count)]
    assert sum(shard.concurrency for shard in shards) == concurrency
    assert sum(shard.total for shard in shards) == total
    assert {int(shard.think_ns[0]) for shard in shards} == {5}


@relaxed
@given(counts, st.integers(0, 40), st.integers(1, 40), st.integers(1, 100))
def test_the_shards_of_a_closed_loop_send_what_the_whole_sends(
    count: int, more: int, requests: int, total: int
) -> None:
    whole = ClosedLoop(count + more, orders(requests), always(0), total)
    sent = Counter(request for index in range(count) for _, request in taken(whole.shard(index, count)))
    assert sent == Counter(np.resize(whole.order, total).tolist())


@relaxed
@given(counts, st.integers(1, 40))
def test_a_shard_takes_every_so_many_th_request(count: int, requests: int) -> None:
    whole = ClosedLoop(count, orders(requests), always(0), 3 * requests)
    for index in range(count):
        sent = [request for _, request in taken(whole.shard(index, count))]
        assert sent == np.tile(whole.order, 3)[index::count].tolist()


def test_a_load_without_an_end_of_its_own_goes_on_until_it_is_ended() -> None:
    source = source_of(ClosedLoop(2, orders(3), always(500)))
    assert source.goes_on
    assert {source.take(), source.take()} <= {0, 1, 2}
    assert source.on_done(START + 2 * WINDOW)
    source.end_at(START + WINDOW)
    assert (source.goes_on, source.exhausted, source.next_ns()) == (False, True, None)
    assert not source.on_done(START + 2 * WINDOW)


def test_the_order_begins_again_at_its_end() -> None:
    order = orders(5)
    assert [one for _, one in taken(ClosedLoop(1, order, always(0), 12))] == np.resize(order, 12).tolist()


@relaxed
@given(st.integers(1, 8), st.integers(1, 50), st.integers(0, 500))
def test_no_more_are_on_their_way_than_there_are_slots(concurrency: int, total: int, think_ns: int) -> None:
    due = taken(ClosedLoop(concurrency, orders(4), always(think_ns), total), answer_ns=100)
    assert len(due) == total
    assert [when for when, _ in due] == [
        START + (number // concurrency) * (100 + think_ns) for number in range(total)
    ], "slots answer in turn"
