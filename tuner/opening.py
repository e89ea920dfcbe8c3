"""The search of a run, opened: what keeps its trials, the sampler, and the simulation that it asks."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module

from tuner.budget import least_measuring_s
from tuner.choosing import Choice, choose_sampler
from tuner.findings import Findings
from tuner.instruments import ladder_of
from tuner.planning import Planner
from tuner.preference import Preference
from tuner.rundir import RunDirectory
from tuner.search import LOCAL_NAME, Search
from tuner.space import Space
from tuner.storage import FILES, open_storage
from tuner.twin.simulation import simulation_of
from tuner.wiring import Prepared


@dataclass(frozen=True)
class Opened:
    """What a run searches with.

    Attributes:
        search: remembers; that of an earlier session goes on.
        sampler: that was chosen, and why.
        found: what came of the trials; nothing yet.
        planner: proposes.
        choose: what a trial takes and the time for trials, in seconds -> the sampler, for when more is known of both.
    """

    search: Search
    sampler: Choice
    found: Findings
    planner: Planner
    choose: Callable[[float, float], Choice]


def open_search(prepared: Prepared, run: RunDirectory) -> Opened:
    """Open what keeps a run's trials; no server is needed.

    Raises:
        StorageError: it cannot be used.
    """
    spec, goals = prepared.study.spec, prepared.goals
    storage = open_storage(spec.search.storage, run.path)
    name = LOCAL_NAME if spec.search.storage in FILES else f"{spec.study}/{run.identity()}"
    focused = spec.search.choose == "first"
    return opened_with(
        prepared,
        lambda space, sampler: Search(storage, space, goals, sampler, spec.search.seed, name, focused=focused),
    )


def opened_with(prepared: Prepared, make: Callable[[Space, str], Search]) -> Opened:
    """Return what a run searches with.

    Args:
        prepared: the study.
        make: makes the search, of the space that is searched and the name of the sampler.
    """
    import_module("scipy.optimize")  # the twin and the statistics use it
    spec, goals = prepared.study.spec, prepared.goals
    asked, simulation = spec.search, simulation_of(prepared)
    space = prepared.space.without_load() if ladder_of(prepared) else prepared.space

    def choose(trial_s: float, left_s: float) -> Choice:
        return choose_sampler(asked, space, simulation.missing, trial_s, left_s)

    sampler = choose(least_measuring_s(spec.measure, prepared.workloads), asked.budget.time)
    search = make(space, sampler.sampler)
    preference = Preference(asked.choose, tuple(asked.weights))
    found = Findings(prepared.study, prepared.space, prepared.workloads, goals, preference=preference)
    twin = simulation.twin if sampler.sampler == "twin" else None
    planner = Planner(search, found, space, goals[0], twin, spec.measure.tolerance)
    return Opened(search, sampler, found, planner, choose)
