"""The first proposals: the user's configuration with one knob moved, then with all moves that helped. Pure.

A sampler that starts from random points spends its few trials far from anything useful. Moving one knob at a time from
a configuration that works, under the load where it works best, shows what each knob is worth; together, the moves that
helped are often most of the way. What did not help is tried once more under the highest load. Everything after is the
sampler's.
"""

from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace

from targets.base import Config, Value
from tuner.objective import Goal
from tuner.order_of_work import kind
from tuner.rank import Candidate
from tuner.space import LOAD_NAMES, Space

_Key = tuple[Value | None, ...]

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
    probing = _Probing(space, goal, results, known)
    moves = list(_single_moves(space, origin))
    pending, helped = probing.round(origin, moves, start)
    if pending is not None:
        return pending
    together = {**origin, **helped}
    loaded = {**together, **_highest_load(space)}
    for config in (together, loaded):
        if not probing.knows(config):
            return config
    if loaded.keys().isdisjoint(LOAD_NAMES):
        return None
    # A larger batch or a longer wait pays only where there is enough to fill it.
    ordered = {parameter.name for parameter in space if parameter.ordered}
    others = [(name, value) for name, value in moves if name in ordered and name not in helped]
    reached = results.get(_key(space, together))
    best = reached if reached is not None and reached.feasible and _better(reached, start, goal) else start
    pending, helped_loaded = probing.round(loaded, others, best)
    if pending is not None:
        return pending
    everything = {**loaded, **helped_loaded}
    return None if probing.knows(everything) else everything


def starting_points(space: Space, start: Candidate | None) -> list[Config]:
    """Return the configurations that the study wants tried first, at the load where the user's works best.

    Where the user's meets the SLO at none (a start of None), that is the level in the middle: what is proposed is to do
    better, and at the lowest level nothing has much throughput. Constraints may leave it out; then no load is named.
    """
    own = {one.name: space.own[one.name] for one in space if space.own.get(one.name) in one.values}
    if start is not None:  # a knob of it that is not in the space takes no load with it
        origin = _levels(space, start) | (_origin(space, start) or {})
        return [{**own, **origin, **config} for config in space.starts]
    middle = {one.name: one.values[len(one.values) // 2] for one in space if one.name in LOAD_NAMES}
    at_middle = [{**own, **middle, **config} for config in space.starts]
    return [
        placed if space.allows(placed) else {**own, **config}
        for placed, config in zip(at_middle, space.starts, strict=True)
    ]


def unmeasured_variants(space: Space, start: Candidate | None, tried: Sequence[Config]) -> list[Config]:
    """Return the user's configuration with each name that no configuration tried so far has, one after the other.

    Names have no order, so nothing that was measured says anything of another one.
    """
    missing: list[dict[str, Value]] = []
    for one in space:
        if not one.ordered:
            known = {config.get(one.name, space.own.get(one.name)) for config in tried}
            missing += [{one.name: value} for value in one.values if value not in known]
    return [config for config in starting_points(replace(space, starts=tuple(missing)), start) if space.allows(config)]


@dataclass(frozen=True)
class _Probing:
    """What is known while moves are tried.

    Attributes:
        space: what may be proposed.
        goal: the first objective.
        results: what was measured, by key.
        known: keys of what was tried, with or without a result.
    """

    space: Space
    goal: Goal
    results: Mapping[_Key, Candidate]
    known: AbstractSet[_Key]

    def knows(self, config: Config) -> bool:
        """Whether nothing is to be learnt from a configuration: it was tried, or may not be."""
        return _key(self.space, config) in self.known or not self.space.allows(config)

    def round(
        self, origin: Config, moves: Sequence[tuple[str, Value]], reference: Candidate
    ) -> tuple[Config | None, dict[str, Value]]:
        """Return the first move that was not tried, or else those that beat the reference, the best of each knob."""
        helped: dict[str, tuple[Candidate, Value]] = {}
        for name, value in moves:
            moved = {**origin, name: value}
            if not self.knows(moved):
                return moved, {}
            result = self.results.get(_key(self.space, moved))
            if result is not None and _helps(result, reference, self.goal):
                before = helped.get(name)
                if before is None or _better(result, before[0], self.goal):
                    helped[name] = (result, value)
        return None, {name: value for name, (_, value) in helped.items()}


def _origin(space: Space, start: Candidate) -> dict[str, Value] | None:
    """Return the start in terms of the space, None where one of its values is not in it."""
    return space.nearest({**_levels(space, start), **start.trial.config})


def _levels(space: Space, start: Candidate) -> dict[str, Value]:
    """Return each load level of the space that a workload was measured at, the first workload's before the others'."""
    found: dict[str, Value] = {}
    for point in start.points:
        name = point.load.name
        if name not in found and point.load.level in space.levels(name):
            found[name] = point.load.level
    return found


def _single_moves(space: Space, origin: Mapping[str, Value]) -> Iterator[tuple[str, Value]]:
    """Yield each server knob with its far end, or each other name of a variant.

    What is dear to change comes last, one after the other: each move is made from the same configuration, so that a
    cheap one between two dear ones would take back the first of them.
    """
    for parameter in sorted(space, key=lambda one: kind(one.knob)):
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


def _key(space: Space, config: Config) -> _Key:
    active = space.active(config)
    return tuple(active.get(parameter.name) for parameter in space)
