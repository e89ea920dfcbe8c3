"""How a shared study stands, from entries whose answer is known."""

from datetime import UTC, datetime
from typing import Any

import pytest

from tuner.hosts.entries import ABOUT, CONFIG, ENTRY, GROUP, HOST, KEY, VERDICT, WORTH, Book, Entry
from tuner.hosts.standing import Status
from tuner.hosts.status import status_of
from tuner.objective import parse_goals
from tuner.study.spec import BudgetSpec

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def host(number: int) -> Entry:
    about = {"name": f"gpu{number}", "lease_s": 30.0}
    return Entry(number, "open", {ENTRY: "host", ABOUT: about, VERDICT: {"group": number}})


def told(number: int, group: int, values: tuple[float, ...], state: str = "complete", *, feasible: bool) -> Entry:
    worth = {"state": state, "values": list(values), "feasible": feasible}
    own: dict[str, Any] = {HOST: group, GROUP: group, KEY: str(number), CONFIG: {"instances": number}, WORTH: worth}
    return Entry(number, "told", {ENTRY: "proposal", **own})


def status(*entries: Entry, goal: str = "maximize goodput", most: int = 20) -> Status:
    book = Book()
    book.take_up(entries)
    return status_of(book, ("digits", "shared"), BudgetSpec(), parse_goals([goal], "steady"), NOW, most=most)


ONE_GROUP = (
    host(0),
    told(1, 0, (900.0,), feasible=False),
    told(2, 0, (0.0,), "crashed", feasible=False),
    told(3, 0, (300.0,), feasible=True),
    told(4, 0, (500.0,), feasible=True),
    told(5, 0, (float("inf"),), "refused", feasible=False),
)


@pytest.mark.parametrize(
    ("goal", "order"), [("maximize goodput", [4, 3, 1, 2, 5]), ("minimize goodput", [3, 4, 1, 2, 5])]
)
def test_trials_are_listed_with_the_best_of_those_that_meet_the_slo_first(goal: str, order: list[int]) -> None:
    found = status(*ONE_GROUP, goal=goal)
    assert [one.trial for one in found.trials] == order
    assert [one.trial for one in found.best] == order[:1]
    best, *_, refused = found.trials
    assert (best.host, best.state, best.meets_slo, best.config) == ("gpu0", "complete", True, {"instances": order[0]})
    assert best.values == {"steady.goodput": 500.0 if order[0] == 4 else 300.0}
    assert (refused.state, refused.values) == ("refused", {})
    assert found.not_listed == 0


def test_so_many_are_listed_and_the_others_counted() -> None:
    found = status(*ONE_GROUP, most=2)
    assert ([one.trial for one in found.trials], found.not_listed) == ([4, 3], 3)
    assert (status(*ONE_GROUP, most=0).trials, status(*ONE_GROUP, most=0).not_listed) == ([], 5)


def test_groups_take_turns_in_the_list() -> None:
    fast = [told(number, 1, (float(1000 * number),), feasible=True) for number in (2, 3, 4)]
    found = status(host(0), host(1), *fast, told(5, 0, (1.0,), feasible=True), most=3)
    assert [(one.group, one.config["instances"]) for one in found.trials] == [(0, 5), (1, 4), (1, 3)]
    assert found.not_listed == 1


def test_where_nothing_could_be_measured_there_is_no_best() -> None:
    found = status(host(0), told(1, 0, (0.0,), "crashed", feasible=False))
    assert (found.best, [one.trial for one in found.trials]) == ([], [1])
