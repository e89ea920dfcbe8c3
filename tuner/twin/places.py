"""Where configurations lie beside one another: ordered values along a scale, names apart from each other. Pure."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from targets.base import Config
from tuner.space import LOAD_NAMES, Space

Floats = NDArray[np.float64]
NAMED = 0.7
"""Distance of different names in each of their dimensions: together about as far apart as the ends of a scale."""


def places(space: Space, configs: Sequence[Config], level_name: str | None) -> Floats:
    """Return where configurations lie, shape [configurations, dimensions], each dimension from 0 to 1.

    Args:
        space: of the study.
        configs: any; what one says nothing of is as the user has it.
        level_name: the load level that is a dimension too; None: neither is.
    """
    columns: list[Floats] = []
    for one in space:
        if one.name in LOAD_NAMES and one.name != level_name:
            continue
        own = space.own.get(one.name, one.values[0])
        values = [config.get(one.name, own) for config in configs]
        if not one.ordered:
            columns += [NAMED * np.array([float(value == each) for value in values]) for each in one.values]
        elif len(one.values) > 1:
            scale = np.linspace(0, 1, len(one.values))
            columns.append(np.interp(np.array(values, float), np.array(one.values, float), scale))
    return np.column_stack(columns) if columns else np.zeros((len(configs), 1))
