"""Workloads for the tests of what works on them: everything that a test does not say has a plain value."""

from collections.abc import Mapping

import numpy as np

from tuner.request_class import RequestClass
from tuner.workload import Workload
from workloads.arrivals import Arrivals
from workloads.requests import Dataset


def workload(
    name: str = "steady",
    arrivals: Arrivals | None = None,
    *,
    timeout_s: float = 2.0,
    connections: int = 64,
    items: int = 3,
    mix: Mapping[str, float] | None = None,
    priorities: Mapping[str, int] | None = None,
) -> Workload:
    """Return a workload of one class, or of a mix of classes with these weights, each of so many items.

    Classes without a priority have 0: the server gives them one.
    """
    given = priorities or {}
    classes = tuple(
        RequestClass(Dataset({"X": np.zeros((items, 1))}, priority=given.get(one, 0)), timeout_s, one, weight)
        for one, weight in (mix or {"": 1.0}).items()
    )
    return Workload(name, classes, arrivals, connections, keep_alive=True, seed=0)
