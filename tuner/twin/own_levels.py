"""Where each workload climbs by itself: its forecasts at its own levels, whatever those of the others are. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from targets.base import Config, Value
from tuner.space import LOAD_NAMES, Space, server_part
from tuner.workload import Workload

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
LIKELY = 0.5
"""A level with this chance to keep every bound, at least, is taken to be sustained."""


@dataclass(frozen=True)
class Asked:
    """What is forecast of a workload: rows, some of which are those of a configuration.

    Attributes:
        configs: parameters of the space, the workload's load level included, of each row.
        rows: of each configuration those at its levels, ascending; shape [configurations, levels].
    """

    configs: Sequence[Config]
    rows: Ints

    def best_chance(self, kept: Floats) -> Floats:
        """Return the chance of each configuration to keep every bound at the level where it most likely does.

        Args:
            kept: the chance of each row.
        """
        return np.asarray(kept[self.rows].max(axis=1))

    def rows_at_best(self, kept: Floats) -> Ints:
        """Return the row of each configuration at its highest level that is likely sustained, else the likeliest.

        Args:
            kept: the chance of each row to keep every bound.
        """
        chances = kept[self.rows]
        likely = chances >= LIKELY
        highest = likely.shape[1] - 1 - np.argmax(likely[:, ::-1], axis=1)
        column = np.where(likely.any(axis=1), highest, np.argmax(chances, axis=1))
        return np.asarray(self.rows[np.arange(len(self.rows)), column])


def levels_of_one(space: Space, workload: Workload) -> Space:
    """Return a space without load levels but those of one workload."""
    other = [name for name in LOAD_NAMES if name != workload.level_name]
    return replace(space, parameters=tuple(one for one in space if one.name not in other))


def own_levels(space: Space, workload: Workload, configs: Sequence[Config]) -> Asked:
    """Return what is forecast of a workload at every level of its own; servers that differ in the load are one.

    Args:
        space: of the study.
        workload: one whose load is not that of the configurations.
        configs: parameters of the space.
    """
    servers: dict[tuple[tuple[str, Value], ...], int] = {}
    of_config = [servers.setdefault(tuple(server_part(config).items()), len(servers)) for config in configs]
    levels = _levels(space, workload)
    rows = [{**dict(server), **level} for server in servers for level in levels]
    first = np.array(of_config, np.int64) * len(levels)
    return Asked(rows, first[:, None] + np.arange(len(levels)))


def _levels(space: Space, workload: Workload) -> list[dict[str, Value]]:
    """Return the levels that a workload may get, none where its traffic has a rate of its own."""
    if workload.concurrency is not None:
        return [{workload.level_name: workload.concurrency}]
    return [{workload.level_name: level} for level in space.levels(workload.level_name)] or [{}]
