"""What follows from the entries of a shared study, whoever reads them."""

from random import Random
from typing import Any

import pytest

from tuner.hosts.entries import (
    ABOUT,
    BEAT,
    BUDGET,
    DONE,
    ENTRY,
    GROUP,
    HOST,
    KEY,
    ORDINAL,
    VERDICT,
    WITHDRAWN,
    Book,
    Entry,
    Kind,
    State,
)


def host(number: int, state: State = "open", name: str = "gpu", **attributes: Any) -> Entry:
    return Entry(number, state, {ENTRY: "host", ABOUT: {"name": name, "lease_s": 30.0}, **attributes})


def held(number: int, of: int, key: str, state: State = "open", kind: Kind = "proposal", **attributes: Any) -> Entry:
    return Entry(number, state, {ENTRY: kind, HOST: of, GROUP: 0, KEY: key, **attributes})


def book_of(*entries: Entry) -> Book:
    book = Book()
    book.take_up(entries)
    return book


def test_of_two_that_claim_the_same_the_earlier_has_it() -> None:
    book = book_of(host(0), host(1), held(2, 1, "a"), held(3, 0, "a"))
    first = book.holder((0, "a"))
    assert first is not None
    assert first.number == 2


def test_hosts_are_ready_in_the_order_in_which_they_had_their_baselines() -> None:
    ready = [Entry(3, "open", {ENTRY: "ready", HOST: 2}), Entry(4, "ended", {ENTRY: "ready", HOST: 0})]
    book = book_of(host(0), host(1), host(2), *ready)
    assert [one.number for one in book.ready()] == [2, 0]
    assert book.held() == []


def test_a_heartbeat_may_look_through_the_hosts_while_one_is_taken_up() -> None:
    class Looked(Book):
        def _count(self, entry: Entry, kind: Kind) -> None:
            super()._count(entry, kind)
            seen.append(self.spent_s())

    seen: list[float] = []
    Looked().take_up([host(0, **{BEAT: {"spent_s": 3.0}})])
    assert seen == [3.0]


def test_a_proposal_that_was_given_back_is_to_be_measured_again_under_its_number() -> None:
    book = book_of(host(0), host(1, "ended"), held(2, 0, "a", "told"), held(3, 1, "b", "ended"))
    (again,) = book.given_back(0, 10)
    assert (again.number, book.number(again)) == (3, 2)
    book.take_up([held(4, 0, "b", kind="again", **{ORDINAL: 2})])
    assert book.given_back(0, 10) == []
    assert book.number(book.entries[4]) == 2
    assert book.budgeted() == 2


def test_what_was_withdrawn_uses_no_budget_and_is_not_measured_again() -> None:
    book = book_of(host(0), held(1, 0, "a", "ended", **{WITHDRAWN: True}), held(2, 0, "b"))
    assert book.budgeted() == 1
    assert book.budgeted(2) == 0
    assert book.given_back(0, 10) == []


def test_the_budget_is_the_largest_of_the_hosts_that_were_admitted() -> None:
    def came(number: int, trials: int, time_s: float, **verdict: Any) -> Entry:
        about = {"name": "gpu", "lease_s": 30.0, BUDGET: [trials, time_s]}
        return Entry(number, "open", {ENTRY: "host", ABOUT: about, **({VERDICT: verdict} if verdict else {})})

    assert book_of(came(0, 40, 300.0)).budget() == (0, 0.0)
    admitted = [came(0, 40, 300.0, group=0), came(1, 60, 200.0, group=0)]
    assert book_of(*admitted, came(2, 99, 999.0, refused="it differs")).budget() == (60, 300.0)


def test_what_is_beyond_the_budget_is_not_measured_again() -> None:
    book = book_of(host(0, "ended"), held(1, 0, "a", "ended"), held(2, 0, "b", "ended"))
    assert [one.number for one in book.given_back(0, 1)] == [1]


@pytest.mark.parametrize("seed", range(5))
def test_what_a_book_keeps_up_is_what_its_entries_say(seed: int) -> None:
    rng, book = Random(seed), Book()
    book.take_up([host(0)])
    for number in range(1, 120):
        key, group = rng.choice("abcdefgh"), rng.choice((0, 7))
        kind: Kind = rng.choice(("proposal", "again"))
        open_ones = [one for one in book.entries.values() if one.kind != "host" and one.state == "open"]
        ending = [
            Entry(one.number, rng.choice(("told", "ended")), {**one.attributes, **rng.choice(({}, {WITHDRAWN: True}))})
            for one in rng.sample(open_ones, min(len(open_ones), rng.randrange(3)))
        ]
        book.take_up([*ending, held(number, 0, key, rng.choice(("open", "ended")), kind, **{GROUP: group})])
        budget, before = rng.randrange(20), rng.randrange(140)
        firsts = first_entries(book)
        assert book.budgeted() == len(firsts)
        assert book.budgeted(before) == sum(first.number < before for first in firsts)
        for one in (0, 7):
            free = [first for first in firsts[:budget] if first.key[0] == one and book.holder(first.key) is None]
            assert book.given_back(one, budget) == free


def first_entries(book: Book) -> list[Entry]:
    """Return of each proposal its first entry that was not withdrawn, the oldest first."""
    found: dict[tuple[int, str], Entry] = {}
    for number in sorted(book.entries):
        entry = book.entries[number]
        if entry.kind != "host" and not entry.withdrawn:
            found.setdefault(entry.key, entry)
    return list(found.values())


def test_groups_do_not_share_proposals() -> None:
    book = book_of(host(0), host(1), held(2, 0, "a"), held(3, 1, "a", **{GROUP: 1}))
    other = book.holder((1, "a"))
    assert other is not None
    assert other.number == 3
    assert [one.number for one in book.held(1)] == [3]


def test_hosts_of_one_name_are_told_apart() -> None:
    book = book_of(host(0), host(1), host(2, name="cpu"))
    assert [book.name(number) for number in (0, 1, 2)] == ["gpu", "gpu.1", "cpu"]


def test_one_host_confirms_and_another_takes_over_from_one_that_is_gone() -> None:
    finish = {ENTRY: "finish", HOST: 0, GROUP: 0}
    book = book_of(host(0), host(1), Entry(2, "open", finish))
    first = book.finisher(0)
    assert first is not None
    assert first.host == 0
    book.take_up([Entry(2, "ended", finish)])
    assert book.finisher(0) is None
    book.take_up([Entry(3, "open", {**finish, HOST: 1, DONE: {"exit_code": 0}})])
    assert book.done(0) == {"exit_code": 0}


def test_the_time_that_is_spent_is_what_any_host_says() -> None:
    assert book_of().spent_s() == 0
    assert book_of(host(0, "ended", **{BEAT: {"spent_s": 7.5}}), host(1, **{BEAT: {"spent_s": 3.0}})).spent_s() == 7.5


def test_a_host_is_decided_when_it_was_admitted_or_is_gone() -> None:
    assert not host(0).decided
    assert host(0, **{VERDICT: {"group": 0}}).decided
    assert host(0, "ended").decided
