"""Hosts that share a journal: what one claims another does not get, and nothing is lost with a host."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.distributions import IntDistribution

from targets.base import Knob
from tuner.hosts.entries import DONE
from tuner.hosts.ledger import Evicted, Held, Ledger, Outcome
from tuner.hosts.patience import Patience
from tuner.hosts.shared import SharedSearch
from tuner.objective import Goal
from tuner.space import Parameter, Space
from tuner.storage import JOURNAL, StorageAway, StorageError, open_storage, shared

SPACE = {"batch": IntDistribution(0, 99)}
ABOUT = {"name": "host", "lease_s": 0.2}


def ledger(folder: Path, name: str = "queue@shared") -> Ledger:
    storage = shared(open_storage(f"{JOURNAL}{folder / 'study.log'}", folder))
    made = Ledger(storage, name, Patience(0.0, lambda _: None), ["maximize"])
    made.read()
    return made


@pytest.fixture
def two(tmp_path: Path) -> tuple[Ledger, Ledger]:
    one, other = ledger(tmp_path), ledger(tmp_path)
    one.join(ABOUT)
    other.join(ABOUT)
    return one, other


def claim(one: Ledger, batch: int, budget: int = 10, again: Any = None) -> Held | None:
    return one.claim((0, str(batch)), {"batch": batch}, {"batch": batch}, SPACE, budget, again)


def lost(other: Ledger) -> list[int]:
    """Let a host find out that the others are silent."""
    other.bury()
    time.sleep(0.3)
    return other.bury()


def test_what_one_host_holds_another_does_not_get(two: tuple[Ledger, Ledger]) -> None:
    one, other = two
    held = claim(one, 3)
    assert held is not None
    assert held.number == 1
    assert claim(other, 3) is None
    more = claim(other, 4)
    assert more is not None
    other.read()
    assert [entry.key for entry in other.book.held(0)] == [(0, "3"), (0, "4")]


def test_what_was_told_is_there_for_all_and_cannot_be_told_again(two: tuple[Ledger, Ledger]) -> None:
    one, other = two
    held = claim(one, 3)
    assert held is not None
    one.tell(held, Outcome((5.0,), {"said": "by one"}))
    (number,) = other.read().told
    assert other.trial(number).values == [5.0]
    assert other.trial(number).user_attrs["said"] == "by one"
    assert claim(other, 3) is None
    with pytest.raises(Evicted):
        other.tell(held, Outcome((6.0,), {"said": "by other"}))


def test_no_more_is_proposed_than_the_budget_has(two: tuple[Ledger, Ledger]) -> None:
    one, other = two
    assert claim(one, 1, budget=2) is not None
    assert claim(other, 2, budget=2) is not None
    assert claim(one, 3, budget=2) is None
    assert one.book.budgeted() == 2


def test_a_silent_host_gives_back_what_it_held_and_its_result_does_not_count(two: tuple[Ledger, Ledger]) -> None:
    one, other = two
    held = claim(one, 3)
    assert held is not None
    assert lost(other) == [one.host]
    (again,) = other.book.given_back(0, 10)
    mine = claim(other, 3, again=again)
    assert mine is not None
    assert mine.number == held.number
    with pytest.raises(Evicted):
        one.tell(held, Outcome((1.0,), {}))
    other.tell(mine, Outcome((2.0,), {}))
    assert [one.trial(number).values for number in one.read().told] == [[2.0]]


def test_hosts_that_were_lost_with_a_proposal_are_counted_and_those_that_were_interrupted_are_not(
    tmp_path: Path,
) -> None:
    last, told = ledger(tmp_path), 0
    for reason in ("ended early", "interrupted", "ended early"):
        one = ledger(tmp_path)
        one.join(ABOUT)
        again = next(iter(one.read().given_back(0, 10)), None)
        assert claim(one, 3, again=again) is not None
        one.leave(reason)
        told += reason != "interrupted"
        assert last.read().losses((0, "3")) == told


def test_nothing_is_claimed_any_more_while_the_best_is_confirmed(two: tuple[Ledger, Ledger]) -> None:
    one, other = two
    held = claim(other, 2)
    assert held is not None
    assert one.claim_finish(0)
    assert claim(other, 4) is None
    assert [entry.key for entry in one.read().held(0)] == [(0, "2")]  # what was held before is waited for


def test_a_host_that_beats_is_alive(two: tuple[Ledger, Ledger]) -> None:
    one, other = two
    for _ in range(6):
        other.bury()
        time.sleep(0.1)
        one.beat("measures", 1.0)
    assert other.bury() == []


def test_nobody_is_taken_for_dead_by_what_was_not_heard_while_the_storage_was_away(
    two: tuple[Ledger, Ledger],
) -> None:
    _, other = two
    other.bury()
    time.sleep(0.3)
    other._missed()
    assert other.bury() == []


def test_a_host_that_leaves_gives_back_at_once(two: tuple[Ledger, Ledger]) -> None:
    one, other = two
    claim(one, 3)
    one.leave("interrupted")
    assert [entry.key for entry in other.read().given_back(0, 10)] == [(0, "3")]


def test_what_a_host_held_that_ended_while_it_was_being_buried_is_given_back_by_the_next(
    two: tuple[Ledger, Ledger],
) -> None:
    one, other = two
    claim(one, 3)
    one._end(one._own())  # whoever buried it got no further
    other.bury()
    assert [entry.key for entry in other.book.given_back(0, 10)] == [(0, "3")]


def test_a_host_that_was_taken_for_dead_takes_part_again_as_a_new_one(two: tuple[Ledger, Ledger]) -> None:
    one, other = two
    before = one.host
    lost(other)
    with pytest.raises(Evicted):
        claim(one, 5)
    one.join(ABOUT)
    assert one.host != before
    assert claim(one, 5) is not None


def test_one_host_alone_confirms_until_it_is_lost(two: tuple[Ledger, Ledger]) -> None:
    one, other = two
    assert one.claim_finish(0)
    assert not other.claim_finish(0)
    lost(other)
    assert other.claim_finish(0)
    with pytest.raises(Evicted):
        one.done(0, {"exit_code": 0})
    other.done(0, {"exit_code": 5})
    assert one.read().done(0) == {"exit_code": 5}
    assert not one.finishes(0)
    entry = one.book.finisher(0)
    assert entry is not None
    assert DONE in entry.attributes


def test_an_entry_that_was_added_twice_since_an_answer_was_lost_counts_once(
    two: tuple[Ledger, Ledger], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, _ = two
    one._patience = Patience(5.0, lambda _: None)
    create, answers = one._storage.create_new_trial, iter([False, True])

    def lossy(*arguments: Any) -> int:
        made = create(*arguments)
        if not next(answers, True):
            raise OSError("the answer is lost")
        return made

    monkeypatch.setattr(one._storage, "create_new_trial", lossy)
    held = claim(one, 3)
    assert held is not None
    assert len(one.read().held(0)) == 1
    assert one.book.budgeted() == 1


def test_half_a_line_that_a_killed_process_left_is_cut_off(two: tuple[Ledger, Ledger], tmp_path: Path) -> None:
    one, other = two
    with (tmp_path / "study.log").open("ab") as journal:
        journal.write(b'{"op_code": 8, "worker_id": "gone", "trial_id": 0, "user_a')
    assert claim(one, 3) is not None
    assert len(other.read().held(0)) == 1
    assert len(ledger(tmp_path).read().held(0)) == 1


def test_a_study_that_no_host_works_on_is_not_there(tmp_path: Path) -> None:
    ledger(tmp_path)
    storage = shared(open_storage(f"{JOURNAL}{tmp_path / 'study.log'}", tmp_path))
    with pytest.raises(StorageError, match="no host has worked on other@shared there yet"):
        Ledger(storage, "other@shared", Patience(0.0, lambda _: None))


def test_a_search_leaves_optuna_as_quiet_as_the_ledger_made_it(tmp_path: Path) -> None:
    optuna.logging.set_verbosity(optuna.logging.INFO)
    made = ledger(tmp_path)
    knob = Parameter(Knob("batch", "int", None, None, 1, "", "reload", ""), (1, 2), True)
    storage = shared(open_storage(f"{JOURNAL}{tmp_path / 'study.log'}", tmp_path))
    SharedSearch(
        made, ABOUT, 10, storage=storage, space=Space((knob,)), goals=[Goal(True, "steady", "throughput")],
        sampler="random", seed=7, name="queue@shared",
    )  # fmt: skip
    assert optuna.logging.get_verbosity() == optuna.logging.ERROR, "a database that is away is told without its SQL"


def test_a_journal_is_given_with_its_whole_path(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="give the whole path"):
        open_storage(f"{JOURNAL}study.log", tmp_path)
    with pytest.raises(StorageError, match="No such file"):
        open_storage(f"{JOURNAL}{tmp_path / 'nowhere' / 'study.log'}", tmp_path)


@contextmanager
def away(times: int) -> Iterator[Any]:
    """Yield what fails so many times."""
    left = [times]

    def action() -> str:
        if left[0]:
            left[0] -= 1
            raise StorageAway("gone fishing")
        return "done"

    yield action


def test_a_storage_that_comes_back_is_waited_for_with_a_word() -> None:
    said: list[str] = []
    missed: list[bool] = []
    patience = Patience(60.0, said.append, lambda: missed.append(True))
    with away(2) as action:
        assert patience(action) == "done"
    assert len(missed) == 2
    assert len(said) == 2
    assert "gone fishing" in said[0]
    assert said[1] == "the storage answers again"


def test_a_storage_that_stays_away_is_an_error() -> None:
    with away(99) as action, pytest.raises(StorageError, match="gone fishing; it stayed away for"):
        Patience(0.0, lambda _: None)(action)
