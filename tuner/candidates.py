"""Which configurations are looked at: all of a small space; of a large one a sample, and what lies near the best."""

from collections.abc import Iterable

import numpy as np

from targets.base import Config, Value
from tuner.space import Parameter, Space

MOST_CANDIDATES = 2000
"""Configurations that are looked at; of a larger space a random choice, the same for a seed."""
BESTS = 3
"""The best so far whose neighbours are looked at, where the whole space is not."""
STEPS = (1, 2, 4, 8, 16)
"""By how many values an ordered parameter moves: of many values one step changes less than a measurement can tell."""


def listed_whole(space: Space) -> bool:
    """Whether `candidates` are all of a space."""
    return space.combinations <= MOST_CANDIDATES


def candidates(space: Space, seed: int) -> list[dict[str, Value]]:
    """Return the configurations of a space, of a large one MOST_CANDIDATES drawn at random."""
    if listed_whole(space):
        return list(space.configs())
    rng = np.random.default_rng(seed)
    found: dict[tuple[tuple[str, Value], ...], dict[str, Value]] = {}
    for _ in range(2 * MOST_CANDIDATES):
        whole = {one.name: one.values[int(rng.integers(len(one.values)))] for one in space}
        if space.allows(whole):
            config = space.active(whole)
            found[tuple(config.items())] = config
    return list(found.values())[:MOST_CANDIDATES]


def neighbours(space: Space, configs: Iterable[Config]) -> list[dict[str, Value]]:
    """Return the configurations of a space that differ from one of these in one parameter, each once.

    An ordered parameter moves by `STEPS` values either way, another one to each other value. A parameter that did not
    count so far has the user's value.

    Args:
        space: the space.
        configs: any; a value that is not in the space, such as a load level between two others, is moved to the
            nearest one, a name to the first.
    """
    found: dict[tuple[tuple[str, Value], ...], dict[str, Value]] = {}
    for config in configs:
        at = {one.name: _index(one, config.get(one.name, space.own.get(one.name))) for one in space}
        whole = {one.name: one.values[at[one.name]] for one in space}
        for one in space:
            here = at[one.name]
            for index, value in enumerate(one.values):
                if index == here or (one.ordered and abs(index - here) not in STEPS):
                    continue
                moved = space.active({**whole, one.name: value})
                if one.name in moved and space.allows(moved):
                    found.setdefault(tuple(moved.items()), moved)
    return list(found.values())


def _index(one: Parameter, value: Value | None) -> int:
    """Return which value of a parameter is this one, or the nearest to it."""
    if value in one.values:
        return one.values.index(value)
    if not one.ordered or value is None:
        return 0
    return min(range(len(one.values)), key=lambda index: abs(float(one.values[index]) - float(value)))
