"""The first host that has its baseline is the one that others are compared with; nobody waits for a slower one."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from targets.base import Knob
from tuner.budget import Budget
from tuner.hosts.admission import Figure, Host, HostDiffers
from tuner.hosts.admitting import Admission
from tuner.hosts.entries import BASELINE, VERDICT
from tuner.hosts.heart import Heart
from tuner.hosts.ledger import Ledger
from tuner.hosts.patience import Patience
from tuner.hosts.searching import POLL_S
from tuner.hosts.shared import SharedSearch
from tuner.objective import Goal
from tuner.space import Parameter, Space
from tuner.storage import JOURNAL, open_storage, shared

LEASE_S = 0.2
ABOUT = {"name": "host", "lease_s": LEASE_S}
FACTS = {"cpu": "A", "cores": "2 of 4 for the server", "gpu": "none", "driver": "none", "server": "1.0"}
MINE = Host("host", FACTS, {"steady": "f00"}, [Figure("steady", 1.0, 100.0, 98.0, 102.0)])
OTHER = Host("host", {**FACTS, "cpu": "B"}, {"steady": "f00"}, MINE.figures)


def host(folder: Path, *, groups: bool = False, name: str = "host") -> Admission:
    """Return what admits one more host, that has joined."""
    storage = shared(open_storage(f"{JOURNAL}{folder / 'study.log'}", folder))
    ledger = Ledger(storage, "queue@shared", Patience(0.0, lambda _: None), ["maximize"])
    knob = Parameter(Knob("batch", "int", None, None, 1, "", "reload", ""), (1, 2), True)
    about = {**ABOUT, "name": name}
    search = SharedSearch(
        ledger, about, 10, storage=storage, space=Space((knob,)), goals=[Goal(True, "steady", "throughput")],
        sampler="random", seed=7, name="queue@shared",
    )  # fmt: skip
    ledger.join(about)
    return Admission(search, Heart(ledger, LEASE_S), Budget(100.0), 0.1, groups=groups)


def number(one: Admission) -> int | None:
    return one.shared.ledger.host


def waits(monkeypatch: pytest.MonkeyPatch, budget: Budget, others: Sequence[Callable[[], None]] = ()) -> list[float]:
    """Have other things happen while a host waits, one in each turn; return what is spent at each of them."""
    spent: list[float] = []
    left = iter(others)

    def sleep(seconds: float) -> None:
        if seconds == POLL_S:
            spent.append(budget.spent_s())
            next(left, lambda: None)()
        pause(seconds)

    pause = time.sleep
    monkeypatch.setattr(time, "sleep", sleep)
    return spent


def test_a_host_that_has_no_baseline_yet_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slow, fast = host(tmp_path), host(tmp_path)
    spent = waits(monkeypatch, fast.budget)
    fast.admit(MINE, {})
    assert fast.shared.group == number(fast)
    assert spent == []
    slow.admit(MINE, notes := {})
    assert slow.shared.group == number(fast)
    assert notes == {BASELINE: MINE.stored(), VERDICT: {"group": number(fast)}}


def test_a_host_that_had_its_baseline_before_is_waited_for_and_that_takes_no_time_of_the_budget(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(ABOUT, "lease_s", 60.0)
    first, second = host(tmp_path), host(tmp_path)
    second.shared.ledger.note(BASELINE, MINE.stored())
    second.shared.ledger.is_ready()
    spent = waits(monkeypatch, first.budget, [lambda: None, lambda: second.shared.ledger.decide({"group": 1})])
    first.admit(MINE, {})
    assert first.shared.group == number(second) == 1
    assert len(spent) == 2
    assert len(set(spent)) == 1, "the clock of the budget stands still"


def test_a_host_that_is_lost_before_it_decides_is_waited_for_no_longer_than_its_lease(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost, mine = host(tmp_path), host(tmp_path)
    lost.shared.ledger.note(BASELINE, MINE.stored())
    lost.shared.ledger.is_ready()
    spent = waits(monkeypatch, mine.budget)
    mine.admit(MINE, {})
    assert mine.shared.group == number(mine)
    assert len(spent) >= 1
    assert len(set(spent)) == 1


def test_a_host_that_differs_is_refused_or_begins_a_group(tmp_path: Path) -> None:
    host(tmp_path).admit(MINE, {})
    with pytest.raises(HostDiffers, match=r"differs from host, .*cpu: A there, B here.*--groups"):
        host(tmp_path).admit(OTHER, {})
    apart = host(tmp_path, groups=True)
    apart.admit(OTHER, {})
    assert apart.shared.group == number(apart)
    alike = host(tmp_path, groups=True)
    alike.admit(OTHER, {})
    assert alike.shared.group == number(apart)


def test_where_several_differ_from_the_first_host_in_the_same_way_it_is_named_as_the_odd_one(tmp_path: Path) -> None:
    host(tmp_path, name="first").admit(MINE, {})

    def refused(name: str) -> tuple[str, str]:
        one = host(tmp_path, name=name)
        with pytest.raises(HostDiffers) as found:
            one.admit(replace(OTHER, name=name), {})
        book = one.shared.ledger.read()
        assert one.shared.ledger.host is not None
        return str(found.value), book.entries[one.shared.ledger.host].attributes[VERDICT]["refused"]

    for _ in range(2):  # one that tries again is no second witness
        told, kept = refused("second")
        assert "Take a host of the same kind; if first is the odd one, end it, and begin anew" in told
        assert kept == "cpu: A there, B here"
    told, kept = refused("third")
    assert "It is like second, refused as well, so that first may be the odd one: if it is, end it, and" in told
    assert "--run NAME; or let those that differ form groups" in told
    assert kept == "cpu: A there, B here; it is like second, refused as well"


def test_a_host_that_was_taken_for_dead_meanwhile_is_admitted_as_a_new_one(tmp_path: Path) -> None:
    mine, other = host(tmp_path), host(tmp_path)
    before = number(mine)
    other.shared.ledger.bury()
    time.sleep(2 * LEASE_S)
    assert other.shared.ledger.bury() == [before]
    mine.admit(MINE, {})
    assert mine.shared.group == number(mine) != before
