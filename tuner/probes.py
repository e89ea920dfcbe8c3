"""The first proposals: the user's configuration with one knob moved, then with all moves that helped. Pure.

A sampler that starts from random points spends its few trials far from anything useful. Moving one knob at a time from
a configuration that works, under the load where it works best, shows what each knob is worth; together, the moves that
helped are often most of the way. Everything after is the sampler's.
"""

from collections.abc import Iterator, Mapping, Sequence

from targets.base import Config, Value
from tuner.objective import Goal
from tuner.rank import Candidate
from tuner.space import LOAD_NAMES, Space

WORTH = 0.05
"""A move counts as helping when it improves the first objective by this share."""


def next_probe(
    space: Space, start: Candidate, goal: Goal, tried: Sequence[Candidate], refused: Sequence[Config]
) -> Config | None:
    """Return the next configuration to probe, None when all were tried.

    Args:
        space: what may be proposed.
        start: the user's configuration under a load where it works well.
        goal: the first objective.
        tried: what was measured since.
        refused: configurations that were tried and could not be measured.
    """
    origin = _origin(space, start)
    if origin is None:
        return None
    results = {_key(space, one.trial.config): one for one in tried}
    known = {*results, _key(space, origin), *(_key(space, config) for config in refused)}
    single = list(_single_moves(space, origin))
    helped: dict[str, tuple[Candidate, Value]] = {}
    for name, value in single:
        moved = {**origin, name: value}
        if _key(space, moved) not in known:
            return moved
        result = results.get(_key(space, moved))
        if result is not None and _helps(result, start, goal):
            before = helped.get(name)
            if before is None or _better(result, before[0], goal):
                helped[name] = (result, value)
    together = {**origin, **{name: value for name, (_, value) in helped.items()}}
    for config in (together, {**together, **_highest_load(space)}):
        if _key(space, config) not in known:
            return config
    return None


def _origin(space: Space, start: Candidate) -> dict[str, Value] | None:
    """Return the start in terms of the space, None where one of its values is not in it."""
    load = start.trial.points[start.point].load
    level = dict.fromkeys(LOAD_NAMES, load.level)
    origin: dict[str, Value] = {}
    for parameter in space:
        value = {**level, **start.trial.config}.get(parameter.name)
        if value not in parameter.values:
            return None
        origin[parameter.name] = parameter.values[parameter.values.index(value)]
    return origin


def _single_moves(space: Space, origin: Mapping[str, Value]) -> Iterator[tuple[str, Value]]:
    """Yield each server knob with its far end, or each other name of a variant."""
    for parameter in space:
        if parameter.name in LOAD_NAMES:
            continue
        here = parameter.values.index(origin[parameter.name])
        last = len(parameter.values) - 1
        ends = ([0] if here > last / 2 else [last]) if parameter.ordered else range(last + 1)
        for index in ends:
            if index != here:
                yield parameter.name, parameter.values[index]


def _helps(result: Candidate, start: Candidate, goal: Goal) -> bool:
    now, before = result.objective.values[0], start.objective.values[0]
    better = now > before * (1 + WORTH) if goal.maximize else now < before * (1 - WORTH)
    return result.feasible and better


def _better(one: Candidate, other: Candidate, goal: Goal) -> bool:
    now, before = one.objective.values[0], other.objective.values[0]
    return now > before if goal.maximize else now < before


def _highest_load(space: Space) -> dict[str, Value]:
    return {parameter.name: parameter.values[-1] for parameter in space if parameter.name in LOAD_NAMES}


def _key(space: Space, config: Config) -> tuple[Value | None, ...]:
    return tuple(config.get(parameter.name) for parameter in space)
