"""Which requests a cache of answers is expected to have answered, and when that is believed."""

import gc
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pytest
from record_builders import records

from targets.answer_cache import CacheCounters
from targets.base import Endpoint, Outcome, ServerCounters, ServerStats
from tests.support.load_runs import judge
from tuner.cache_latencies import server_of
from tuner.cached_answers import EITHER, HIT, MISS, Answers, Lookups, expected
from tuner.load.plan import RunReport
from tuner.records import Records
from tuner.results import Cache
from tuner.runs import Run, pooled_runs
from workloads.requests import Dataset

OK, LATE = Outcome.OK, Outcome.TIMEOUT
A, B = b"a", b"b"
REPORT = RunReport(requests=1, cpu_share=0.1, stalls=0, longest_stall_s=0.0, queue_max=0, waiting_max=0)


def sent(*spans: tuple[float, float, Outcome]) -> Records:
    """Records of requests that were due and sent at once: (sent, done, outcome), in ms."""
    return records([(start, start, done, outcome) for start, done, outcome in spans], (0, 1e6))


@pytest.mark.parametrize(
    ("contents", "spans", "found"),
    [
        ([1, 1, 1], [(1, 2, OK), (3, 4, OK), (5, 6, OK)], [MISS, HIT, HIT]),
        ([1, 1], [(3, 4, OK), (1, 2, OK)], [HIT, MISS]),
        ([1, 2], [(1, 4, OK), (2, 3, OK)], [MISS, MISS]),
        ([1, 1, 1], [(1, 4, OK), (2, 5, OK), (6, 7, OK)], [EITHER, EITHER, HIT]),
        ([1, 1, 1], [(1, 2, LATE), (3, 4, OK), (5, 6, LATE)], [MISS, EITHER, HIT]),
        ([1, 1], [(1, 2, OK), (2, 3, OK)], [MISS, EITHER]),
        ([7, 8, 9], [(1, 2, OK), (1, 2, OK), (1, 2, OK)], [HIT, EITHER, MISS]),
        ([], [], []),
    ],
)
def test_a_request_is_a_hit_where_its_like_was_answered_before_and_a_miss_where_none_was_sent(
    contents: list[int], spans: list[tuple[float, float, Outcome]], found: list[int]
) -> None:
    made = expected(np.array(contents, np.int64), sent(*spans), {7, 8}, {7})
    assert made.tolist() == found


def test_a_request_that_was_not_sent_is_neither_and_says_nothing_of_those_after_it() -> None:
    some = sent((1, 2, Outcome.DROPPED), (3, 4, OK))
    some.columns["sent_ns"][0] = 0
    assert expected(np.array([1, 1]), some, set(), set()).tolist() == [EITHER, MISS]


@dataclass(eq=False)
class Kept:
    """A deployment whose server says that it found so much in its cache."""

    hits: int = 0
    misses: int = 0
    keeps_answers: bool = True

    def statistics(self) -> Callable[[], ServerCounters]:
        now = ServerCounters(0, cache=CacheCounters(self.hits, 0, self.misses, 0))
        return lambda: now

    def endpoint(self, _: Dataset) -> Endpoint:
        return Endpoint("h", 1, (A, B), judge)


@dataclass(eq=False)
class Late(Kept):
    """One whose server has counted another request at each look, from those on that it had answered last."""

    behind: int = 0

    def statistics(self) -> Callable[[], ServerCounters]:
        now = ServerCounters(0, cache=CacheCounters(self.hits - self.behind, 0, self.misses, 0))
        self.behind = max(0, self.behind - 1)
        return lambda: now


def known(deployment: Kept, answers: Answers, some: Records, order: Sequence[int], counted: tuple[int, int]) -> Run:
    """Offer requests to a deployment, of which its server counts so many hits and misses."""
    some.columns["request"][:] = order
    begun = answers.begin([deployment])  # type: ignore[list-item]
    deployment.hits, deployment.misses = deployment.hits + counted[0], deployment.misses + counted[1]
    (lookups,) = answers.ended(begun, [(A, B)], [some])
    cache = CacheCounters(counted[0], 0, counted[1], 0)
    stats = ServerStats(1.0, len(some.rows), 0, counted[1], {"queue": 0.0}, [], cache=cache)
    return Run(some, stats, 0.1, REPORT, lookups=lookups)


def cache_of(run: Run) -> Cache:
    stored = server_of(run)
    assert stored is not None
    assert stored.cache is not None
    return stored.cache


def one_after_the_other(*latencies_ms: float) -> Records:
    return sent(*((100.0 * index, 100.0 * index + took, OK) for index, took in enumerate(latencies_ms, 1)))


def test_latencies_of_hits_and_misses_are_told_apart_where_the_server_counts_the_same() -> None:
    cache = cache_of(known(Kept(), Answers(), one_after_the_other(40, 3, 50, 1, 2), [0, 0, 1, 1, 0], (3, 2)))
    assert {name: one.value for name, one in cache.hit_latency.items()} == {"p50": 0.002, "p90": 0.003, "p99": 0.003}
    assert {name: one.n for name, one in cache.miss_latency.items()} == {"p50": 2, "p90": 2, "p99": 2}
    assert cache.miss_latency["p99"].value == 0.05
    assert (cache.either, cache.latency_note) == (0, None)


@pytest.mark.parametrize("counted", [(2, 3), (3, 1), (4, 2)])
def test_they_are_not_where_it_counts_others_and_both_counts_are_said(counted: tuple[int, int]) -> None:
    cache = cache_of(known(Kept(), Answers(), one_after_the_other(40, 3, 50, 1, 2), [0, 0, 1, 1, 0], counted))
    assert cache.hit_latency == cache.miss_latency == {}
    hits, misses = counted
    note = f"what was sent makes 3 hits and 2 misses, warm-up included, but the server counted {hits} and {misses}: "
    assert cache.latency_note is not None
    assert cache.latency_note.startswith(note)


@pytest.mark.parametrize(("evicted", "told"), [(0, True), (2, True), (3, False), (-1, False)])
def test_a_count_may_be_off_by_half_a_percent_of_the_hits(evicted: int, told: bool) -> None:
    some = one_after_the_other(*(1.0 for _ in range(402)))
    order = [0] * 201 + [1] * 201
    cache = cache_of(known(Kept(), Answers(), some, order, (400 - evicted, 2 + evicted)))
    assert bool(cache.hit_latency) == told


def test_a_server_that_counts_a_request_after_its_answer_is_asked_again() -> None:
    deployment, answers, some = Late(), Answers(), one_after_the_other(40, 3, 50, 1, 2)
    some.columns["request"][:] = [0, 0, 1, 1, 0]
    begun = answers.begin([deployment])  # type: ignore[list-item]
    deployment.hits, deployment.misses, deployment.behind = 3, 2, 3
    (lookups,) = answers.ended(begun, [(A, B)], [some])
    assert lookups is not None
    assert (lookups.counted.hits, lookups.counted.misses) == (3, 2)


def test_a_count_that_stands_still_is_taken_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tuner.cached_answers.STILL_S", 0.0)
    cache = cache_of(known(Kept(), Answers(), one_after_the_other(40, 3, 50, 1, 2), [0, 0, 1, 1, 0], (2, 2)))
    assert cache.latency_note is not None


def test_requests_that_were_on_their_way_together_are_left_out_and_counted_as_either() -> None:
    some = sent((100, 140, OK), (110, 150, OK), (200, 201, OK))
    for counted in ((1, 2), (2, 1), (1, 1)):  # Triton counts none of two that were computed for the same place
        cache = cache_of(known(Kept(), Answers(), some, [0, 0, 0], counted))
        assert (cache.either, cache.miss_latency, cache.hit_latency["p50"].n) == (2, {}, 1)


def test_what_a_deployment_was_asked_before_is_remembered_and_that_of_another_is_not() -> None:
    answers, one, other = Answers(), Kept(), Kept()
    answers.note(one, Dataset({"X": np.zeros((2, 1))}), [{"Y": np.zeros(1)}, None])  # type: ignore[arg-type]
    some = one_after_the_other(1, 2)
    assert cache_of(known(one, answers, some, [0, 1], (1, 1))).either == 1, "of the second nobody knows an answer"
    assert cache_of(known(one, answers, some, [0, 1], (2, 0))).hit_latency["p50"].n == 2
    assert cache_of(known(other, answers, some, [0, 1], (0, 2))).miss_latency["p50"].n == 2
    del one
    gc.collect()
    answers.begin([other])  # type: ignore[list-item]
    assert len(answers._histories) == 1


def test_after_a_load_that_did_not_end_nothing_is_told_apart() -> None:
    answers, one = Answers(), Kept()
    answers.begin([one])  # type: ignore[list-item]
    cache = cache_of(known(one, answers, one_after_the_other(1, 2), [0, 1], (0, 2)))
    assert cache.latency_note == "not all that it was asked before is known"
    assert cache.miss_latency == {}


def test_without_a_cache_nothing_is_asked_of_the_server() -> None:
    answers, one = Answers(), Kept(keeps_answers=False)
    begun = answers.begin([one])  # type: ignore[list-item]
    assert begun == [None]
    assert answers.ended(begun, [(A, B)], [one_after_the_other(1)]) == [None]


def test_loads_that_are_put_together_are_held_against_all_counts() -> None:
    runs = [
        known(Kept(), Answers(), one_after_the_other(*(1.0 for _ in range(201))), [0] * 201, (200 - off, 1 + off))
        for off in (0, 2)
    ]
    assert not cache_of(runs[1]).hit_latency
    cache = cache_of(pooled_runs(runs))
    assert cache.hit_latency["p50"].n == 400, "2 of 400 are half a percent"
    assert pooled_runs([runs[0], replace(runs[1], lookups=None)]).lookups is None
    unknown = replace(runs[1], lookups=Lookups(np.zeros(201, np.int8), (0, 0), (0, 0), CacheCounters(), "who knows"))
    assert cache_of(pooled_runs([runs[0], unknown])).latency_note == "who knows"


def test_only_the_window_counts_for_the_latencies() -> None:
    some = one_after_the_other(40, 3, 2)
    some.columns["phase"][1] = 0
    assert cache_of(known(Kept(), Answers(), some, [0, 0, 0], (2, 1))).hit_latency["p99"].value == 0.002
