"""Relations between knobs: `max_queue_delay <= 1 ms`, `precision == int8 and instances < 4`. Pure."""

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from targets.base import Config, Value

OPERATORS: Mapping[str, Callable[[Any, Any], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    ">": operator.gt,
}
"""How a relation is written; longer ones first."""


@dataclass(frozen=True)
class Term:
    """One comparison of a knob with a value, or with another knob.

    Attributes:
        left: name of the knob.
        sign: one of OPERATORS.
        value: what it is compared with, in the knob's unit; None where that is another knob.
        right: name of the other knob, "" where it is a value.
    """

    left: str
    sign: str
    value: Value | None = None
    right: str = ""

    def holds(self, config: Config) -> bool:
        """Whether it is so; of a knob that a configuration does not have nothing is asked."""
        if self.left not in config or (self.right and self.right not in config):
            return True
        return OPERATORS[self.sign](config[self.left], config[self.right] if self.right else self.value)


@dataclass(frozen=True)
class Relation:
    """Comparisons that all have to hold.

    Attributes:
        text: as the study has it.
        terms: the comparisons.
    """

    text: str
    terms: tuple[Term, ...]

    def holds(self, config: Config) -> bool:
        """Whether all of them hold."""
        return all(term.holds(config) for term in self.terms)


class RelationError(ValueError):
    """A text that is no relation; the message says what was expected."""


def parse_relation(text: object, read: Callable[[str, str], Value], names: frozenset[str]) -> Relation:
    """Read a relation: comparisons joined by `and`.

    Args:
        text: of the study.
        read: (knob, text of a value) -> the value in the knob's unit; raises what it likes.
        names: of the knobs.

    Raises:
        RelationError: it is none, or names no knob.
    """
    if not isinstance(text, str):
        raise RelationError(f"expected a comparison like `max_queue_delay <= 1 ms`, but got {text!r}")
    return Relation(text, tuple(_term(part.strip(), read, names) for part in text.split(" and ")))


def _term(text: str, read: Callable[[str, str], Value], names: frozenset[str]) -> Term:
    sign = next((one for one in OPERATORS if one in text), None)
    left, _, right = (part.strip() for part in text.partition(sign)) if sign else (text, "", "")
    if sign is None or not left or not right:
        raise RelationError(f"expected KNOB {'|'.join(OPERATORS)} VALUE or another KNOB, but got {text!r}")
    if left not in names:
        close = get_close_matches(left, names, n=1)
        hint = f"did you mean `{close[0]}`?" if close else f"known: {', '.join(sorted(names))}"
        raise RelationError(f"{left!r} is no knob of this target or load; {hint}")
    if right in names:
        return Term(left, sign, right=right)
    return Term(left, sign, read(left, right))
