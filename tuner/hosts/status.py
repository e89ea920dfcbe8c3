"""How a shared study stands: its hosts, its trials, the best so far. Pure, but for the clock that is passed in."""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import zip_longest
from typing import Any

from tuner.hosts.entries import ABOUT, BEAT, CONFIG, LEFT, VERDICT, WORTH, Book, Entry
from tuner.hosts.standing import BestSoFar, HeldTrial, HostState, HostStatus, Status, StudyState, ToldTrial
from tuner.objective import Goal
from tuner.study.spec import BudgetSpec


def status_of(
    book: Book, names: tuple[str, str], budget: BudgetSpec, goals: Sequence[Goal], now: datetime, *, most: int
) -> Status:
    """Return how a study stands.

    Args:
        book: its entries.
        names: of the study, and of the run.
        budget: of the study, as its first host has it; another one may have come with a larger.
        goals: its objectives.
        now: with a time zone.
        most: trials that are listed.
    """
    groups = [host.number for host in book.hosts() if host.group == host.number]
    trials, time_s = max(budget.trials, book.budget()[0]), max(budget.time, book.budget()[1])
    told = [book.entries[number] for number in book.told]
    counts = Counter(one.host for one in told)
    ranked = {group: _ranked([one for one in told if one.key[0] == group], goals[0]) for group in groups}
    listed = _in_turn(list(ranked.values()))[:most]
    outcomes = [dict(said) for said in map(book.done, groups) if said is not None]
    confirming = any(book.finisher(group) and book.done(group) is None for group in groups)
    hosts = [_host(book, host, counts[host.number], now) for host in book.hosts()]
    state: StudyState = "searching"
    if groups and len(outcomes) == len(groups):
        state = "done"
    elif not any(host.state == "alive" for host in hosts):
        state = "waiting"
    elif confirming:
        state = "confirming"
    return Status(
        study=names[0],
        run=names[1],
        state=state,
        budget_trials=trials,
        budget_s=time_s,
        spent_s=book.spent_s(),
        told=dict(Counter(str(one.attributes[WORTH]["state"]) for one in told)),
        given_back=sum(len(book.given_back(group, trials)) for group in groups),
        hosts=hosts,
        held=[
            HeldTrial(trial=book.number(one), host=book.name(one.host), config=one.attributes[CONFIG])
            for one in book.held()
        ],
        best=[best for group in groups if (best := _best(book, ranked[group], goals)) is not None],
        trials=[_told(book, one, goals) for one in listed],
        not_listed=sum(map(len, ranked.values())) - len(listed),
        outcomes=outcomes,
    )


def _host(book: Book, host: Entry, trials: int, now: datetime) -> HostStatus:
    beat: Mapping[str, Any] = host.attributes.get(BEAT, {})
    heard_s = max(0.0, (now - datetime.fromisoformat(beat["at"])).total_seconds()) if beat else None
    refused = host.attributes.get(VERDICT, {}).get("refused")
    return HostStatus(
        name=book.name(host.number),
        state=_state(host, heard_s),
        since=host.at,
        doing=str(beat.get("doing", "")) if host.state == "open" else "",
        heard_s=heard_s,
        group=host.group,
        trials=trials,
        reason=refused,
    )


def _state(host: Entry, heard_s: float | None) -> HostState:
    if VERDICT in host.attributes and "refused" in host.attributes[VERDICT]:
        return "refused"
    if host.state != "open":
        return "left" if LEFT in host.attributes else "lost"
    silent = heard_s is not None and heard_s > float(host.attributes[ABOUT]["lease_s"])
    return "silent" if silent else "alive"


def _ranked(told: Sequence[Entry], goal: Goal) -> list[Entry]:
    """Return told trials, the best on an objective first: what meets the SLO, other complete ones, the rest."""
    sign = 1 if goal.maximize else -1

    def rank(one: Entry) -> tuple[bool, bool, float]:
        worth = one.attributes[WORTH]
        complete = worth["state"] == "complete"
        return not complete, not worth["feasible"], -sign * float(worth["values"][0]) if complete else 0.0

    return sorted(told, key=rank)


def _in_turn(groups: Sequence[Sequence[Entry]]) -> list[Entry]:
    """Return the first of each, then the second of each, and so on: what is in different groups is not compared."""
    return [one for together in zip_longest(*groups) for one in together if one is not None]


def _told(book: Book, one: Entry, goals: Sequence[Goal]) -> ToldTrial:
    worth = one.attributes[WORTH]
    return ToldTrial(
        trial=book.number(one),
        group=one.key[0],
        host=book.name(one.host),
        state=worth["state"],
        meets_slo=bool(worth["feasible"]),
        values=_values(one, goals) if worth["state"] == "complete" else {},
        config=one.attributes[CONFIG],
    )


def _values(one: Entry, goals: Sequence[Goal]) -> dict[str, float]:
    values = one.attributes[WORTH]["values"]
    return {f"{goal.workload}.{goal.metric}": value for goal, value in zip(goals, values, strict=True)}


def _best(book: Book, ranked: Sequence[Entry], goals: Sequence[Goal]) -> BestSoFar | None:
    """Return the best told trial of a group on the first objective: of those that meet the SLO, if any do."""
    if not ranked or ranked[0].attributes[WORTH]["state"] != "complete":
        return None
    best = ranked[0]
    return BestSoFar(
        group=best.key[0],
        trial=book.number(best),
        host=book.name(best.host),
        config=best.attributes[CONFIG],
        meets_slo=bool(best.attributes[WORTH]["feasible"]),
        values=_values(best, goals),
    )
