"""How a shared study stands, in the terminal: the best so far, with its units."""

from typing import Any

import pytest
from rich.console import Console

from reports import hosts
from targets.base import TargetError
from tuner.hosts.standing import BestSoFar, HeldTrial, HostStatus, Status, ToldTrial
from tuner.knob_rows import units_of
from tuner.run_info import MetricInfo

BEST = BestSoFar(
    group=1,
    trial=12,
    host="gpu1",
    config={"max_queue_delay": 0.0005, "cache_size": 2**28, "encoder.max_queue_delay": 0.001, "instances": 2},
    meets_slo=True,
    values={"steady.p99": 0.00421, "steady.throughput": 11_776.4, "steady.hits": 0.3, "steady.pending": 12_345.6},
)
STATUS = Status(
    study="digits",
    run="shared",
    state="searching",
    budget_trials=40,
    budget_s=300.0,
    spent_s=18_000.0,
    told={"complete": 12},
    given_back=0,
    hosts=[],
    held=[],
    best=[BEST],
    trials=[],
    not_listed=0,
    outcomes=[],
)


def test_values_and_knobs_have_their_units() -> None:
    own = [MetricInfo(name="hits", unit="share", doc="of its own")]
    said = str(hosts.picture(STATUS, units_of("triton"), own)[0])
    assert "steady.p99 4.21 ms, steady.throughput 11,776/s, steady.hits 30.00%, steady.pending 12,346;" in said
    assert "max_queue_delay=500 us cache_size=256 MiB encoder.max_queue_delay=1 ms instances=2" in said
    assert "time     5 h 0 min of 5 min 0 s" in said


def told(trial: int, **said: Any) -> ToldTrial:
    given = {"group": 1, "host": "gpu1", "state": "complete", "meets_slo": True, "config": {"max_queue_delay": 0.0005}}
    return ToldTrial.model_validate({"trial": trial, "values": {"steady.p99": 0.00421}, **given, **said})


def printed(status: Status) -> list[list[str]]:
    console = Console(width=140, record=True)
    for part in hosts.picture(status, units_of("triton")):
        console.print(part)
    return [line.split() for line in console.export_text().splitlines()]


def test_trials_are_listed_with_what_came_of_them_and_how_many_are_not() -> None:
    trials = [
        told(12),
        told(3, meets_slo=False, values={"steady.p99": None}),
        told(7, state="crashed", meets_slo=False, values={}),
    ]
    held = [HeldTrial(trial=13, host="gpu2", config={"max_queue_delay": 0.001})]
    said = printed(STATUS.model_copy(update={"trials": trials, "held": held, "best": [], "not_listed": 1234}))
    assert ["trial", "host", "state", "SLO", "steady.p99", "configuration"] in said
    assert ["12", "gpu1", "complete", "met", "4.21", "ms", "max_queue_delay=500", "us"] in said
    assert ["3", "gpu1", "complete", "missed", "∞", "max_queue_delay=500", "us"] in said
    assert ["7", "gpu1", "crashed", "max_queue_delay=500", "us"] in said
    assert ["13", "gpu2", "held", "max_queue_delay=1", "ms"] in said
    assert said[-1] == ["1,234", "trials", "more:", "--list", "N"]


def test_trials_of_several_groups_are_told_apart() -> None:
    two = [
        HostStatus(name=name, state="alive", since="", doing="", heard_s=None, group=group, trials=1, reason=None)
        for group, name in enumerate(("gpu1", "gpu2"))
    ]
    trials = [told(1, group=0), told(2, group=1, host="gpu2")]
    said = printed(STATUS.model_copy(update={"hosts": two, "trials": trials, "best": []}))
    assert ["2", "gpu2", "(group", "1)", "complete", "met", "4.21", "ms", "max_queue_delay=500", "us"] in said


def test_units_are_those_of_a_kind_of_server_and_of_the_loads() -> None:
    found = units_of("triton")
    assert (found["max_queue_delay"], found["rate"], found["instances"]) == ("s", "/s", "")
    with pytest.raises(TargetError, match="no target of kind 'tritn'"):
        units_of("tritn")
