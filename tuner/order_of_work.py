"""The order of work: what is dear to change stays as it is while what is cheap is tried. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from math import prod

from targets.base import Config, Knob, Value
from tuner.applying import TIMED, changes_of, cost_of_each
from tuner.results import Trial
from tuner.space import LOAD_NAMES, Space

MOST_IN_A_ROW = 8
"""Trials at most between two changes of what is dear, however dear it is."""
ALIKE = 0.5
"""Knobs are changed along with a dearer one where they take at least this share of its time."""
SHORTEST_S = 0.1
"""What measuring a trial takes at least."""
_KINDS = ("live", "reload", "restart")


@dataclass(frozen=True)
class Tier:
    """Knobs whose changes are about as dear.

    Attributes:
        names: of the knobs, the dearest first.
        seconds: that a change of the dearest takes.
    """

    names: tuple[str, ...]
    seconds: float


def kind(knob: Knob) -> int:
    """Return how much of the server a change of a knob takes up anew: 0 nothing, 1 the model, 2 all of it."""
    return _KINDS.index(knob.applied)


def kept(space: Space, trials: Sequence[Trial], measuring_s: float) -> dict[str, Value]:
    """Return the values of the last trial that the next one keeps, while cheaper knobs are tried.

    Each tier stays as it is for as many trials as take as long as its change did, 8 at most, and half as many at most
    as a dearer tier, so that the cheaper one is varied in between. It does not stay where nothing new is left to try
    beside it, nor after a trial that could not be measured, since what it keeps may be the reason.

    Args:
        space: what may be proposed.
        trials: in the order in which they were applied; the first is of the user's configuration.
        measuring_s: what a trial takes beside applying its configuration.
    """
    tried = trials[1:]
    if not tried or tried[-1].state != "complete":
        return {}
    values = {one.name: one.values for one in space}
    last = {name: value for name, value in space.active(tried[-1].config).items() if value in values[name]}
    most, same, found = MOST_IN_A_ROW, dict[str, Value](), dict[str, Value]()
    for tier in tiers(seconds_of_each(space, trials[-TIMED:])):
        here = {name: last[name] for name in tier.names if name in last}
        same |= here
        most = min(most, round(tier.seconds / max(measuring_s, SHORTEST_S)))
        if _in_a_row(tried, same) < most and _leaves_some(space, tried, found | here):
            found |= here
        most //= 2
    return found


def tiers(seconds: Mapping[str, float]) -> list[Tier]:
    """Return the knobs in tiers, the dearest first.

    Args:
        seconds: knob -> what its change takes.
    """
    found: list[Tier] = []
    for name in sorted(seconds, key=lambda name: -seconds[name]):
        if found and seconds[name] >= ALIKE * found[-1].seconds:
            found[-1] = Tier((*found[-1].names, name), found[-1].seconds)
        else:
            found.append(Tier((name,), seconds[name]))
    return found


def seconds_of_each(space: Space, trials: Sequence[Trial]) -> dict[str, float]:
    """Return what a change of each knob of the server that is in the space takes, in seconds.

    What was changed together took as long as that which takes up most of the server, so it says nothing of the rest: a
    live knob that was changed along with a restart is not known yet. What is not known is as dear as the dearest of
    its kind; a kind of which nothing is known takes no time until it was tried.
    """
    kinds = {one.name: kind(one.knob) for one in space if one.name not in LOAD_NAMES}
    known = cost_of_each([(_of_the_largest_kind(names, kinds), seconds) for names, seconds in changes_of(trials)])
    dearest = {
        each: max((known[name] for name in kinds if kinds[name] == each and name in known), default=0.0)
        for each in set(kinds.values())
    }
    return {name: known.get(name, dearest[each]) for name, each in kinds.items()}


def _of_the_largest_kind(names: Sequence[str], kinds: Mapping[str, int]) -> list[str]:
    largest = max(kinds.get(name, 0) for name in names)
    return [name for name in names if kinds.get(name, 0) == largest]


def _in_a_row(tried: Sequence[Trial], values: Config) -> int:
    """Return how many of the last trials have all of some values."""
    return sum(takewhile(bool, (_has(trial.config, values) for trial in reversed(tried))))


def _leaves_some(space: Space, tried: Sequence[Trial], values: Config) -> bool:
    """Whether beside some values there are more combinations of the others than were tried."""
    combinations = prod(len(one.values) for one in space if one.name not in values)
    return sum(_has(trial.config, values) for trial in tried) < combinations


def _has(config: Config, values: Config) -> bool:
    return all(config.get(name) == value for name, value in values.items())
