"""What breaks a rule of the server that is known without it is left out of the space, and counted."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from batching_server import BOUND_S, ROLES, SPACE
from result_builders import GOALS
from workload_builders import workload

from targets.base import Config, ConfigRefused, Knob
from tuner.rules import MAX_JUDGED, Rule, Rules, left_out
from tuner.run_info import LeftOut
from tuner.search import Search
from tuner.space import Parameter, Space
from tuner.storage import open_storage
from tuner.study.load import load_study
from tuner.twin.planner import Twin
from tuner.wiring import prepare


class Ruled:
    """A target whose server takes no batch above 8, and two instances of int8 only alone."""

    def __init__(self) -> None:
        self.asked: list[Config] = []

    def expect(self, knobs: object) -> None: ...

    def check(self, config: Config) -> None:
        self.asked.append(config)
        parts = []
        if config["max_batch_size"] > 8:
            parts.append(ConfigRefused(f"batches <= 8, but {config['max_batch_size']} > 8", ("max_batch_size",)))
        if config["precision"] == "int8" and config["instances"] == 2:
            parts.append(ConfigRefused("int8 is alone", ("precision", "instances")))
        if len(parts) > 1:
            raise ConfigRefused("; ".join(map(str, parts)), ("max_batch_size", "precision", "instances"), parts)
        if parts:
            raise parts[0]


def ruled(space: Space = SPACE, *starts: Config) -> tuple[Space, Ruled]:
    target = Ruled()
    return replace(space, rules=Rules(target, SPACE.own), starts=starts), target


def takes(config: Config) -> bool:
    return int(config["max_batch_size"]) <= 8 and (config["precision"], config["instances"]) != ("int8", 2)


def test_what_breaks_a_rule_is_not_in_the_space() -> None:
    space, _ = ruled()
    every = list(SPACE.configs())
    assert list(space.configs()) == [config for config in every if takes(config)]
    assert space.size == sum(map(takes, every)) < SPACE.size == len(every)
    assert all(space.allows(config) == takes(config) for config in every)
    assert space.at_every_load({**SPACE.own, "max_batch_size": 32}) == []


def test_each_configuration_of_the_server_is_asked_for_once_with_what_the_user_has() -> None:
    space, target = ruled()
    assert space.size == len(list(space.configs()))
    space.left_out()
    assert len(target.asked) == space.without_load().without_rules().size
    assert all(config.keys() >= SPACE.own.keys() for config in target.asked)


def test_a_start_of_the_users_that_breaks_a_rule_stays_at_every_load() -> None:
    """Knobs that it does not name have the user's values."""
    start = {"max_batch_size": 32, "precision": "int8"}
    space, _ = ruled(SPACE, start)
    kept = [config for config in space.configs() if not takes(config)]
    assert [config["concurrency"] for config in kept] == [1, 2, 4, 8, 16, 32]
    assert {tuple(config.items())[:-1] for config in kept} == {tuple({**SPACE.own, **start}.items())}


def test_what_is_left_out_is_counted_by_the_rule() -> None:
    space, _ = ruled()
    found = space.left_out()
    # 2 of 6 batches; of the others a quarter is int8 with two instances; three delays, six loads.
    assert found == LeftOut(
        configurations=(2 * 4 + 4) * 3 * 6,
        of=432,
        rules={"int8 is alone": 6 * 18, "batches <= 8, but 16 > 8": 2 * 4 * 18},
    )
    assert str(found) == (
        "216 of 432 configurations are left out by rules of the server: "
        "int8 is alone (108); batches <= 8, but 16 > 8 (144)"
    )


def test_of_a_large_space_what_came_up_is_counted() -> None:
    wide = Parameter(Knob("wide", "int", 1, None, 1, "", "reload", ""), tuple(range(1, 101)), ordered=True)
    space, _ = ruled(replace(SPACE, parameters=(*SPACE.parameters, wide)))
    assert space.combinations > MAX_JUDGED
    assert space.left_out() is None, "nothing came up yet"
    assert space.size == space.combinations, "it is not counted one by one"
    assert not space.allows({**SPACE.own, "max_batch_size": 16, "wide": 1})
    assert space.allows({**SPACE.own, "wide": 1})
    found = space.left_out()
    assert found == LeftOut(configurations=1, of=None, rules={"batches <= 8, but 16 > 8": 1})
    assert str(found) == (
        "1 of the configurations that came up is left out by rules of the server: batches <= 8, but 16 > 8 (1)"
    )


def test_where_nothing_is_left_out_nothing_is_said() -> None:
    assert left_out([(), ()], 2) is None
    assert SPACE.left_out() is None
    assert left_out([(Rule(("a",), "no a"),), ()], 2) == LeftOut(configurations=1, of=2, rules={"no a": 1})


@pytest.mark.parametrize("sampler", ["tpe", "nsga2", "qmc", "random", "grid"])
def test_no_sampler_proposes_what_breaks_a_rule_and_everything_else_is_proposed(tmp_path: Path, sampler: str) -> None:
    small = Space(SPACE.parameters[0:1] + SPACE.parameters[2:4], own=SPACE.own)
    space, _ = ruled(small)
    search = Search(open_storage("sqlite", tmp_path), space, GOALS, sampler, 0)
    proposed = []
    while (proposal := search.ask()) is not None:
        proposed.append(proposal.config)
        search.skip([proposal.config])
    assert sorted(map(str, proposed)) == sorted(str(config) for config in small.configs() if takes(config))


def test_the_twin_looks_at_no_configuration_that_breaks_a_rule() -> None:
    space, _ = ruled()
    twin = Twin(space, [workload("steady")], GOALS, {"steady": {"p99": BOUND_S}}, ROLES, cores=1, seed=0)
    assert twin.candidates == [config for config in SPACE.configs() if takes(config)]


def test_tritons_rules_are_known_before_it_is_asked(small_study: Callable[..., Path]) -> None:
    space = {"max_batch_size": [4, 8, 16, 32], "preferred_batch_size": [[4], [8], [16], [32]], "concurrency": [4, 8]}
    path = small_study(space=space)
    found = prepare(load_study(path), path.with_name("log.txt")).space
    assert found.size == 20
    assert found.left_out() == LeftOut(
        configurations=12, of=32, rules={"dynamic batching preferred size must be <= max batch size, but 8 > 4": 12}
    )
