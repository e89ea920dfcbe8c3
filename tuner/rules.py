"""The server's rules that are known without it: what they leave out of a search, and how much that is."""

from collections.abc import Iterable
from typing import NamedTuple

from targets.base import Config, ConfigRefused, KnowsRules, Value
from tuner.run_info import LeftOut

MAX_JUDGED = 2_000
"""Of a space of more combinations nobody counts what the rules leave out; it is left out all the same."""

_Key = tuple[tuple[str, Value], ...]


class Rule(NamedTuple):
    """A rule of the server that a configuration breaks.

    Attributes:
        knobs: whose values are the reason: a rule is told from others by them.
        said: the rule, with the values.
    """

    knobs: tuple[str, ...]
    said: str


class Rules:
    """Knows which configurations of the server break a rule; each is asked for once.

    Args:
        target: that has the rules.
        user: its configuration; others change it.
    """

    def __init__(self, target: KnowsRules, user: Config) -> None:
        self._target, self._user = target, user
        self._known: dict[_Key, tuple[Rule, ...]] = {}

    def broken(self, server: Config) -> tuple[Rule, ...]:
        """Return the rules that a configuration breaks, which names knobs of the server alone."""
        key = tuple(server.items())
        if key not in self._known:
            self._known[key] = self._asked(server)
        return self._known[key]

    def _asked(self, server: Config) -> tuple[Rule, ...]:
        try:
            self._target.check({**self._user, **server})
        except ConfigRefused as refused:
            return tuple(Rule(one.knobs, str(one)) for one in refused.parts or (refused,))
        return ()

    def met(self) -> LeftOut | None:
        """Return what came up so far and was left out, as configurations of the server; None where nothing was."""
        return left_out((found for found in self._known.values()), None)


def left_out(broken: Iterable[tuple[Rule, ...]], of: int | None) -> LeftOut | None:
    """Return how many configurations are left out by which rule, None where all are kept.

    Args:
        broken: of each configuration the rules that it breaks, () where it breaks none.
        of: number of configurations; None: not all of them were looked at.
    """
    counts: dict[tuple[str, ...], int] = {}
    said: dict[tuple[str, ...], str] = {}
    total = 0
    for rules in broken:
        total += bool(rules)
        for rule in dict.fromkeys(one.knobs for one in rules):
            counts[rule] = counts.get(rule, 0) + 1
        for one in rules:
            said.setdefault(one.knobs, one.said)
    if not total:
        return None
    return LeftOut(configurations=total, of=of, rules={said[knobs]: count for knobs, count in counts.items()})
