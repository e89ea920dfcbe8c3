"""The twin of a study's server, where it can be simulated."""

import os
from dataclasses import dataclass, replace

from targets.base import KnowsOwn
from tuner.twin.forecast import roles_of
from tuner.twin.planner import Twin
from tuner.wiring import Prepared, beyond_the_twin


@dataclass(frozen=True)
class Simulation:
    """The simulation of a study's server, or why there is none.

    Attributes:
        twin: the simulation.
        missing: why it cannot be had; "" where it can.
    """

    twin: Twin | None
    missing: str = ""


def simulation_of(prepared: Prepared) -> Simulation:
    """Return what simulates the server of a study: one that batches, and whose knobs say how."""
    spec, space = prepared.study.spec, prepared.space
    if spec.target.several:
        return Simulation(None, "it simulates one model at a time, and several get in each other's way")
    searched = [one.name for one in space.without_load()]
    roles = roles_of(prepared.target.knobs(), searched)
    if roles is None:
        return Simulation(None, f"of {spec.target.kind} no knob is known to set its batches")
    if spec.search.choose != "first":
        return Simulation(None, f"it proposes for one objective, and `choose: {spec.search.choose}` asks for several")
    if why := beyond_the_twin(prepared.study):
        return Simulation(None, why)
    cores = len(prepared.cores.server or os.sched_getaffinity(0))
    if isinstance(prepared.target, KnowsOwn):  # the queue has levels whether or not they are searched
        space = replace(space, own={**prepared.target.own_values(roles.of_queue), **space.own})
    twin = Twin(
        space,
        prepared.workloads,
        prepared.goals,
        spec.bounds(),
        roles,
        cores,
        spec.search.seed,
        climbs=spec.load.search == "max_under_slo",
    )
    return Simulation(twin)
