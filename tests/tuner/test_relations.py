"""Relations between knobs: how they are read, and when they hold."""

import pytest

from targets.base import Value
from tuner.relations import Relation, RelationError, Term, parse_relation

NAMES = frozenset({"batch", "preferred", "delay", "precision"})


def read(knob: str, text: str) -> Value:
    return text if knob == "precision" else float(text)


def relation(text: object) -> Relation:
    return parse_relation(text, read, NAMES)


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("preferred <= batch", [Term("preferred", "<=", right="batch")]),
        ("batch<4", [Term("batch", "<", 4.0)]),
        ("precision == int8", [Term("precision", "==", "int8")]),
        ("precision != int8 and delay >= 0.5", [Term("precision", "!=", "int8"), Term("delay", ">=", 0.5)]),
    ],
)
def test_a_relation_is_comparisons_joined_by_and(text: str, terms: list[Term]) -> None:
    assert relation(text) == Relation(text, tuple(terms))


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("preferred <= batch", True),
        ("preferred < batch", False),
        ("preferred == batch", True),
        ("preferred != batch", False),
        ("batch > 3 and delay >= 0.5", True),
        ("batch > 3 and delay > 0.5", False),
        ("precision == int8", False),
        ("precision == int8 and batch > 100", False),
    ],
)
def test_a_relation_holds_when_every_comparison_does(text: str, holds: bool) -> None:
    config: dict[str, Value] = {"preferred": 4, "batch": 4, "delay": 0.5, "precision": "fp32"}
    assert relation(text).holds(config) is holds


def test_nothing_is_asked_of_a_knob_that_a_configuration_does_not_have() -> None:
    assert relation("preferred <= batch").holds({"batch": 1})
    assert relation("preferred <= batch").holds({"preferred": 9})
    assert not relation("preferred <= batch and batch < 1").holds({"batch": 1})


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("batch", "expected KNOB <=|>=|==|!=|<|> VALUE or another KNOB, but got 'batch'"),
        ("batch <=", "expected KNOB"),
        ("<= 4", "expected KNOB"),
        ("bach <= 4", "'bach' is no knob of this target or load; did you mean `batch`?"),
        ("zzz <= 4", "'zzz' is no knob of this target or load; known: batch, delay, precision, preferred"),
        (3, "expected a comparison like `max_queue_delay <= 1 ms`, but got 3"),
    ],
)
def test_what_is_no_relation_says_what_was_expected(text: object, says: str) -> None:
    with pytest.raises(RelationError) as caught:
        relation(text)
    assert says in str(caught.value)
