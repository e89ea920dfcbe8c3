"""Which configurations of a space are looked at."""

import pytest
from batching_server import SPACE

from targets.base import Knob
from tuner.candidates import MOST_CANDIDATES, candidates, listed_whole, neighbours
from tuner.relations import Relation, Term, parse_relation
from tuner.space import Parameter, Space

HERE = {"max_batch_size": 8, "max_queue_delay": 0.0, "instances": 1, "precision": "fp32", "concurrency": 16}


def of_numbers(count: int) -> Space:
    names = (Parameter(Knob(one, "int", 0, None, 1, "", "live", ""), tuple(range(count)), ordered=True) for one in "ab")
    return Space(tuple(names), (Relation("a < b", (Term("a", "<", right="b"),)),))


def test_of_a_small_space_all_are_looked_at() -> None:
    space = of_numbers(44)
    assert listed_whole(space)
    assert candidates(space, 0) == list(space.configs())


def test_of_a_large_space_a_sample_is_looked_at_that_a_seed_repeats() -> None:
    space = of_numbers(500)
    assert not listed_whole(space)
    found = candidates(space, 1)
    assert found == candidates(space, 1) != candidates(space, 2)
    assert len({str(one) for one in found}) == len(found)
    assert 0.9 * MOST_CANDIDATES < len(found) <= MOST_CANDIDATES
    assert all(one["a"] < one["b"] for one in found)
    assert sum(one["b"] for one in found) / len(found) == pytest.approx(2 / 3 * 500, rel=0.05)


def test_an_ordered_knob_moves_by_1_2_or_4_values_and_a_name_to_every_other() -> None:
    names = Parameter(Knob("name", "choice", None, None, "", "", "reload", ""), ("a", "b", "c", "d"), ordered=False)
    found = neighbours(Space((*SPACE.parameters, names), own=SPACE.own), [{**HERE, "name": "b"}])
    moves = [{name: value for name, value in one.items() if value != {**HERE, "name": "b"}[name]} for one in found]
    assert moves == [
        {"max_batch_size": 2},
        {"max_batch_size": 4},
        {"max_batch_size": 16},
        {"max_batch_size": 32},
        {"max_queue_delay": 0.0005},
        {"max_queue_delay": 0.002},
        {"instances": 2},
        {"precision": "int8"},
        {"concurrency": 1},
        {"concurrency": 4},
        {"concurrency": 8},
        {"concurrency": 32},
        {"name": "a"},
        {"name": "c"},
        {"name": "d"},
    ]


def test_what_lies_beside_several_comes_once() -> None:
    other = {**HERE, "max_batch_size": 16}
    found = neighbours(SPACE, [HERE, other])
    assert len({str(one) for one in found}) == len(found)
    assert HERE in found
    assert other in found


def test_a_level_between_those_of_the_space_is_moved_to_the_nearest() -> None:
    found = neighbours(SPACE, [{**HERE, "concurrency": 13.0, "precision": "fp16"}])
    assert {one["concurrency"] for one in found} == {1, 4, 8, 16, 32}
    assert {type(one["concurrency"]) for one in found} == {int}


def test_constraints_and_conditions_are_kept() -> None:
    def relation(text: str) -> object:
        return parse_relation(text, lambda _, value: int(value), frozenset(("batch", "cache", "size")))

    def knob(name: str, *values: int, when: object = None) -> Parameter:
        return Parameter(Knob(name, "int", 0, None, 1, "", "live", ""), values, ordered=True, when=when)  # type: ignore[arg-type]

    space = Space(
        (knob("batch", 1, 2, 4), knob("cache", 0, 1), knob("size", 1, 2, 3, when=relation("cache == 1"))),
        constraints=(relation("batch <= 2"),),  # type: ignore[arg-type]
        own={"size": 2},
    )
    assert neighbours(space, [{"batch": 2, "cache": 0}]) == [
        {"batch": 1, "cache": 0},
        {"batch": 2, "cache": 1, "size": 2},
    ]
