"""What is tried next: the study's own starts, then what the twin expects most of, or probes and the sampler."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import compress
from statistics import median

import numpy as np
from numpy.typing import NDArray

from targets.base import Config, Value
from tuner.applying import TIMED, ApplyCosts, learn_costs
from tuner.candidates import BESTS
from tuner.catalog import key_of
from tuner.findings import Findings
from tuner.objective import Goal
from tuner.once import Each
from tuner.order_of_work import kept
from tuner.probes import next_probe, starting_points, unmeasured_variants
from tuner.rank import Candidate, best_of_each, nearest
from tuner.results import Estimate, Trial
from tuner.search import Proposal, Search
from tuner.space import LOAD_NAMES, Space
from tuner.twin.forecast import measured_as
from tuner.twin.forecasts import Forecasts
from tuner.twin.planner import Twin

RECENT = 6
"""Predictions that the twin is judged by."""
FEWEST = 4
"""Predictions before it is judged."""
CERTAIN_AFTER = 10
"""Predictions that were measured before it is believed that nothing better is left."""
HANDOVER = math.log(1.5)
"""The twin hands over when its recent predictions were off by more than this factor in the median."""
TRIAL_S = 2.0
"""A guess at what measuring a trial takes while none was made."""
MOST_NEAR = 300
"""Such neighbours at most."""

Predicted = dict[str, dict[str, Estimate]]


@dataclass(frozen=True)
class _Near:
    """What lies beside the best configurations so far.

    Attributes:
        of: trial and point of each of these.
        configs: what lies beside.
        keys: of it, as the search knows it.
        at_loads: it, by what differs beside the load.
    """

    of: list[tuple[int, int]]
    configs: list[dict[str, Value]]
    keys: list[str]
    at_loads: "_AtLoads"


@dataclass(frozen=True)
class _AtLoads:
    """Configurations, those that differ in their load alone taken together: to apply they take the same.

    Attributes:
        firsts: one of each.
        which: of each configuration which of these it goes with.
    """

    firsts: list[Config]
    which: NDArray[np.int64]


@dataclass
class Planner:
    """Proposes trials.

    Attributes:
        search: knows what was tried, and asks the sampler.
        found: what came of it.
        space: what may be proposed.
        goal: the first objective.
        twin: the simulation of the server, if it can be had and is wanted.
        margin: a configuration is better when it is so by this share.
        chance_left: the largest chance of an untried configuration to be better than the best by more than the margin,
            as the twin saw it last; None: unknown.
    """

    search: Search
    found: Findings
    space: Space
    goal: Goal
    twin: Twin | None
    margin: float
    chance_left: float | None = None
    _by_the_study: bool = False
    _probed: Candidate | None = None
    _refused: set[int] = field(default_factory=set)
    _near: _Near = field(default_factory=lambda: _Near([], [], [], _at_loads([])))

    def __post_init__(self) -> None:
        self._errors: Each[Trial, float | None] = Each(self._prediction_error)
        self._configs: Each[Trial, Config] = Each(lambda trial: trial.config)
        self._is_refused: Each[Trial, bool] = Each(lambda trial: trial.state == "refused")

    def next(self) -> tuple[Proposal, Predicted] | None:
        """Return the next proposal and what the twin expects of it, None when every configuration was tried."""
        self._skip_refused()
        start = self.found.probe_start()
        wanted = self.search.first_new(starting_points(self.space, start))
        forecasts = self._forecasts()
        self._by_the_study, expected = wanted is not None, None
        if forecasts is not None and self.twin is not None:
            tried = self._configs(self.found.trials)
            wanted = wanted or self.search.first_new(unmeasured_variants(self.space, start, tried))
            self._by_the_study = wanted is not None
            chosen = self._most_promising(forecasts)
            if wanted is None and chosen is not None and not self.handed_over:
                expected = forecasts.configs[chosen]
        elif wanted is None and start is not None:
            wanted = self._probe(start)
        free = wanted is None and expected is None
        stays = kept(self.space, self.found.trials, self._measuring_s()) if free else None
        proposal = self.search.ask(wanted, stays, expected)
        if proposal is None:
            return None
        return proposal, self._predicted(proposal.config, forecasts)

    def _skip_refused(self) -> None:
        """Leave out what the server does not take, whatever the load."""
        trials = self.found.trials[1:]
        for trial in compress(trials, self._is_refused(trials)):
            if trial.number not in self._refused:
                self._refused.add(trial.number)
                self.search.skip(self.space.at_every_load(trial.config))

    @property
    def handed_over(self) -> bool:
        """Whether the twin was too far off of late to propose."""
        errors = self.prediction_errors()[-RECENT:]
        return len(errors) >= FEWEST and median(errors) > HANDOVER

    def certain(self, confidence: float) -> bool:
        """Whether the twin is so sure of each untried configuration that it is no better than the best."""
        if self.twin is None or self.twin.sampled or self._by_the_study or self.handed_over:
            return False
        enough = len(self.prediction_errors()) >= CERTAIN_AFTER
        return enough and self.chance_left is not None and self.chance_left < 1 - confidence

    def prediction_errors(self) -> list[float]:
        """Return |ln(measured / predicted)| of the first objective, of each trial that was predicted and measured."""
        return [error for error in self._errors(self.found.trials) if error is not None]

    def _prediction_error(self, trial: Trial) -> float | None:
        expected = trial.predicted.get(self.goal.workload, {}).get(self.goal.key)
        best = self.found.best_of(trial)
        if expected is None or best is None:
            return None
        key = key_of(measured_as(self.goal.metric))
        found = [one.metrics[key].value for one in best.points if one.workload == self.goal.workload]
        if not found or not 0 < found[0] < math.inf:
            return None
        return abs(math.log(found[0] / expected.value))

    def costs(self) -> ApplyCosts:
        """Return what changes of the knobs took so far."""
        return learn_costs(self.found.trials)

    def _newest_costs(self) -> ApplyCosts:
        return learn_costs(self.found.trials[-TIMED:])

    def _forecasts(self) -> Forecasts | None:
        if self.twin is None:
            return None
        made = self.twin.forecasts(self.found.trials, self.twin.candidates)
        if made is None or not self.twin.sampled:
            return made
        self._look_near(self.twin)
        near = self.twin.forecasts(self.found.trials, self._near.configs)
        return made if near is None else made.joined(near)

    def _look_near(self, twin: Twin) -> None:
        """Take up what lies beside the best so far, beside those that came closest while nothing meets the SLO."""
        best: dict[tuple[int, int], Candidate] = {}  # a point may go with several of the other workloads
        for one in self.found.ranked() or nearest(self.found.candidates()):
            best.setdefault((one.trial.number, one.point), one)
            if len(best) == BESTS:
                break
        if list(best) != self._near.of:
            configs = [
                {**one.trial.config, **{load.name: load.level for load in one.loads.values()}} for one in best.values()
            ]
            found = twin.near(configs)[:MOST_NEAR]
            keys = [self.search.key(config) for config in found]
            self._near = _Near(list(best), found, keys, _at_loads(found))

    def _most_promising(self, forecasts: Forecasts) -> int | None:
        """Return the untried configuration with the largest expected gain per second, None when all were tried."""
        new = np.array([key not in self.search.tried for key in self._keys])
        if not new.any():
            self.chance_left = 0.0
            return None
        ranked = self.found.ranked()
        best = ranked[0].objective.values[0] if ranked else None
        if best is not None and not 0 < best < math.inf:
            best = None
        if best is not None:
            self.chance_left = float(forecasts.chances(self.goal, best, self.margin)[new].max())
        worth = forecasts.gains(self.goal, best) / self._seconds(self._candidates_at_loads, self._near.at_loads)
        return int(np.argmax(np.where(new, worth, -np.inf)))

    def _seconds(self, *some: _AtLoads) -> NDArray[np.float64]:
        """Return what a trial of each configuration will take, shape [configurations]."""
        measuring_s, costs, own, now = self._measuring_s(), self._newest_costs(), self.space.own, self._applied()
        return np.concatenate(
            [
                np.array([measuring_s + costs.of(now, {**own, **config}) for config in one.firsts])[one.which]
                for one in some
            ]
        )

    def _applied(self) -> Config:
        """Return the configuration that was applied last."""
        return self.found.trials[-1].config if self.found.trials else self.space.own

    @property
    def _keys(self) -> list[str]:
        """The configurations that were forecast, as the search knows them."""
        return [*self._of_candidates, *self._near.keys]

    @cached_property
    def _of_candidates(self) -> list[str]:
        return [] if self.twin is None else [self.search.key(config) for config in self.twin.candidates]

    @cached_property
    def _candidates_at_loads(self) -> _AtLoads:
        return _at_loads([] if self.twin is None else self.twin.candidates)

    def _measuring_s(self) -> float:
        """Return what a trial takes beside applying its configuration."""
        tried = [trial for trial in self.found.trials[1:][-TIMED:] if trial.state == "complete"]
        return median(trial.wall_s - trial.apply_s for trial in tried) if tried else TRIAL_S

    def _predicted(self, config: Config, forecasts: Forecasts | None) -> Predicted:
        """Return what the twin expects of a proposal; where loads are climbed, at the load that it expects most of."""
        if forecasts is None or self.twin is None:
            return {}
        key = self.search.key(config)
        known = [index for index, other in enumerate(self._keys) if other == key]
        if known:
            return forecasts.predicted(known[int(np.argmax(forecasts.gains(self.goal, None)[known]))])
        same = [config] if set(config) & set(LOAD_NAMES) else self.twin.searched.at_every_load(config)
        own = self.twin.forecasts(self.found.trials, same or [config])
        if own is None:
            return {}
        return own.predicted(int(np.argmax(own.gains(self.goal, None))))

    def _probe(self, start: Candidate) -> Config | None:
        if start is self._probed:
            return None  # what was tried stays tried
        tried = best_of_each([one for one in self.found.candidates() if one.trial.number > 0], self.goal)
        known = {one.trial.number for one in tried}
        failed = [trial.config for trial in self.found.trials if trial.number > 0 and trial.number not in known]
        found = next_probe(self.space, start, self.goal, tried, failed)
        if found is None:
            self._probed = start
        return found


def _at_loads(configs: Sequence[Config]) -> _AtLoads:
    known: dict[tuple[object, ...], int] = {}
    firsts, which = list[Config](), list[int]()
    for config in configs:
        key = tuple(value for name, value in config.items() if name not in LOAD_NAMES), *config
        if key not in known:
            known[key] = len(firsts)
            firsts.append(config)
        which.append(known[key])
    return _AtLoads(firsts, np.array(which, int))
