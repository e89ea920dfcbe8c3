"""Hosts that are not alike do not measure one study together."""

import json
import math
from dataclasses import asdict, replace

import pytest

from tests.tuner.result_builders import GOALS, point, trial
from tuner.hosts.admission import Figure, Host, differences, figures_of
from tuner.run_info import HostFigure

FACTS = {"cpu": "A", "cores": "2 of 4 for the server", "gpu": "none", "driver": "none", "server": "1.0"}
ONE = Host("one", FACTS, {"steady": "f00"}, [Figure("steady", level, 100.0, 98.0, 102.0) for level in (1.0, 8.0)])


def scaled(factor: float, levels: int = 2) -> Host:
    figures = [
        replace(one, value=one.value * factor, low=98.0 * factor, high=102.0 * factor) if index < levels else one
        for index, one in enumerate(ONE.figures)
    ]
    return replace(ONE, name="other", figures=figures)


def test_hosts_that_are_alike_measure_together() -> None:
    assert differences(ONE, replace(ONE, name="other"), 0.1) == []
    assert differences(ONE, scaled(1.1), 0.1) == []


@pytest.mark.parametrize("name", FACTS)
def test_a_fact_that_differs_is_named_with_both_its_values(name: str) -> None:
    other = replace(ONE, facts={**FACTS, name: "B"})
    assert differences(ONE, other, 0.1) == [f"{name}: {FACTS[name]} there, B here"]


def test_a_host_whose_load_agents_make_differs_from_one_without() -> None:
    other = replace(ONE, facts={**FACTS, "agents": "2 (CPUs: 4, 8)"})
    assert differences(ONE, other, 0.1) == ["agents: none there, 2 (CPUs: 4, 8) here"]
    assert differences(other, other, 0.1) == []


def test_requests_that_differ_are_named() -> None:
    assert differences(ONE, replace(ONE, traffic={"steady": "bad"}), 0.1) == [
        "workload steady sends something else here"
    ]


def test_a_configuration_of_ones_own_that_differs_is_named_knob_by_knob() -> None:
    one, other = (replace(ONE, config=config) for config in ({"batch": "8", "kind": '"cpu"'}, {"batch": "4", "n": "1"}))
    assert differences(one, other, 0.1) == [
        "your configuration has batch 8 there and 4 here",
        'your configuration has kind "cpu" there and nowhere here',
        "your configuration has n nowhere there and 1 here",
    ]
    assert differences(one, one, 0.1) == []


def test_files_of_the_server_that_differ_are_named() -> None:
    one = replace(ONE, files={"1": "aa", "config.pbtxt": "bb"})
    assert differences(one, one, 0.1) == []
    (said,) = differences(one, replace(one, files={"1": "cc", "config.pbtxt": "bb"}), 0.1)
    assert said == "files of the server are not the same: 1"
    (said,) = differences(one, replace(one, files={"a": "1", "b": "2", "c": "3"}), 0.1)
    assert said == "files of the server are not the same: 1, a, b and 2 more"


@pytest.mark.parametrize("factor", [0.5, 2.0])
def test_a_baseline_that_differs_is_named_with_its_ratio(factor: float) -> None:
    (said,) = differences(ONE, scaled(factor), 0.1)
    assert f"({factor:.2f}x)" in said
    assert "2 of 2 loads" in said


def test_one_load_of_two_that_differs_may_be_chance() -> None:
    assert differences(ONE, scaled(2.0, levels=1), 0.1) == []


def test_what_may_differ_can_be_widened() -> None:
    assert differences(ONE, scaled(2.0), 1.5) == []


@pytest.mark.parametrize(("value", "differs"), [(150.0, False), (220.0, False), (900.0, True)])
def test_a_bound_that_is_not_known_is_taken_to_be_far_off(value: float, differs: bool) -> None:
    figures = [replace(one, value=value, low=None) for one in ONE.figures]
    assert bool(differences(ONE, replace(ONE, figures=figures), 0.1)) == differs
    figures = [replace(one, value=1e4 / value, high=None) for one in ONE.figures]
    assert bool(differences(ONE, replace(ONE, figures=figures), 0.1)) == differs


@pytest.mark.parametrize(("low", "differs"), [(111.0, False), (113.0, True), (math.inf, True), (None, False)])
def test_a_host_that_collapses_at_a_load_differs_where_the_lower_bound_does(low: float | None, differs: bool) -> None:
    collapsed = replace(ONE, figures=[replace(one, value=math.inf, low=low, high=None) for one in ONE.figures])
    for there, here in ((ONE, collapsed), (collapsed, ONE)):
        assert bool(said := differences(there, here, 0.1)) == differs
        assert all("100" in one and "inf" in one and "2 of 2 loads" in one for one in said)
    assert differences(collapsed, collapsed, 0.1) == []


def test_a_host_without_a_value_at_the_loads_of_the_others_is_not_taken_unseen() -> None:
    elsewhere = replace(ONE, figures=[replace(ONE.figures[0], level=64.0)])
    for here in (elsewhere, replace(ONE, figures=[])):
        (said,) = differences(ONE, here, 0.1)
        assert said == (
            "your configuration has no valid value here at any load at which it has one there "
            "(1 on steady, 8 on steady)"
        )
    assert differences(replace(ONE, figures=[]), ONE, 0.1) == [], "there is nothing to compare with"


@pytest.mark.parametrize("value", [100.0, math.inf])
def test_a_host_is_the_same_after_it_was_stored(value: float) -> None:
    figures = [replace(ONE.figures[0], value=value, low=value)]
    host = replace(ONE, figures=figures, config={"batch": "8"}, files={"1": "aa"})
    assert Host.of(json.loads(json.dumps(host.stored()))) == host


def test_the_figures_are_those_of_the_first_objective() -> None:
    figures = figures_of(trial(0, point(throughput=120.0)), GOALS[0])
    assert [(one.workload, one.value) for one in figures] == [("steady", 120.0)]


@pytest.mark.parametrize(
    ("low", "outcomes", "kept"),
    [
        (0.2, {"ok": 130, "timeout": 10}, 0.2),
        (-math.inf, {"ok": 130, "timeout": 10}, None),
        (-math.inf, {"ok": 2, "timeout": 2}, None),
        (-math.inf, {"ok": 10, "timeout": 130}, math.inf),
    ],
)
def test_an_infinite_latency_is_a_figure_with_its_lower_bound(
    low: float, outcomes: dict[str, int], kept: float | None
) -> None:
    measured = point(p99=math.inf, p99s=(low, math.inf)).model_copy(update={"outcomes": outcomes})
    (figure,) = figures_of(trial(0, measured), GOALS[1])
    assert (figure.value, figure.low, figure.high) == (math.inf, kept, None)
    assert HostFigure(**asdict(figure)).model_dump(mode="json")["value"] is None
