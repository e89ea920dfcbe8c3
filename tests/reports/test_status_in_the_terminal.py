"""How a shared study stands, in the terminal: the best so far, with its units."""

import pytest

from reports import hosts
from targets.base import TargetError
from tuner.hosts.standing import BestSoFar, Status
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
    outcomes=[],
)


def test_values_and_knobs_have_their_units() -> None:
    own = [MetricInfo(name="hits", unit="share", doc="of its own")]
    said = str(hosts.picture(STATUS, units_of("triton"), own)[0])
    assert "steady.p99 4.21 ms, steady.throughput 11,776/s, steady.hits 30.00%, steady.pending 12,346;" in said
    assert "max_queue_delay=500 us cache_size=256 MiB encoder.max_queue_delay=1 ms instances=2" in said
    assert "time     5 h 0 min of 5 min 0 s" in said


def test_units_are_those_of_a_kind_of_server_and_of_the_loads() -> None:
    found = units_of("triton")
    assert (found["max_queue_delay"], found["rate"], found["instances"]) == ("s", "/s", "")
    with pytest.raises(TargetError, match="no target of kind 'tritn'"):
        units_of("tritn")
