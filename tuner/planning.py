"""What is tried before the sampler is asked: the study's own starts, then probes around the user's configuration."""

from targets.base import Config
from tuner.findings import Findings
from tuner.objective import Goal
from tuner.probes import next_probe, starting_points
from tuner.rank import best_of_each
from tuner.search import Search
from tuner.space import Space


def next_planned(search: Search, found: Findings, space: Space, goal: Goal) -> Config | None:
    """Return the next configuration that is tried whatever the sampler says, None when it is the sampler's turn.

    Args:
        search: knows what was tried.
        found: what came of it.
        space: what may be proposed.
        goal: the first objective.
    """
    start = found.probe_start()
    wanted = search.first_new(starting_points(space, start))
    if wanted is not None or start is None:
        return wanted
    tried = best_of_each([one for one in found.candidates() if one.trial.number > 0], goal)
    known = {one.trial.number for one in tried}
    failed = [trial.config for trial in found.trials if trial.number > 0 and trial.number not in known]
    return next_probe(space, start, goal, tried, failed)
