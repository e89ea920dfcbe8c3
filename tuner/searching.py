"""The search of a run: proposals are tried until trials, time, space, patience or doubt are used up."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tuner import budget, confirm, rank
from tuner.budget import Budget
from tuner.choosing import Choice
from tuner.endings import SearchEnding
from tuner.findings import Findings
from tuner.front import hypervolume
from tuner.objective import Objective, pessimistic
from tuner.planning import Planner, Predicted
from tuner.results import Trial
from tuner.run_info import SearchInfo
from tuner.search import Proposal, Search
from tuner.study.spec import StudySpec
from tuner.trials import Trier

GROWTH = 1.01
"""A front that grew by less, in the volume that it dominates, is as it was."""


@dataclass
class Searching:
    """Tries proposals.

    Attributes:
        spec: the study.
        user: the user's configuration; proposals change it.
        trier: target and instruments.
        search: remembers.
        found: what came of the trials so far; grows.
        planner: proposes.
        sampler: that was chosen.
        budget: of time.
        trial_begins: told the number and the configuration of each trial before it is tried.
        trial_ended: told of each trial after it was stored.
        ended: why it ended, None while it has not.
    """

    spec: StudySpec
    user: Mapping[str, Any]
    trier: Trier
    search: Search
    found: Findings
    planner: Planner
    sampler: Choice
    budget: Budget
    trial_begins: Callable[[int, Mapping[str, Any]], None]
    trial_ended: Callable[[Trial], None]
    ended: SearchEnding | None = None

    def run(self) -> SearchEnding:
        """Try proposals until there is a reason to end."""
        self.search.skip(self.planner.space.at_every_load(self.user))  # the baseline
        while (ending := self._ending()) is None:
            made = self.planner.next()
            if made is None:
                ending = "space"
                break
            if self.planner.certain(self.spec.search.budget.certain):
                ending = "certain"
                break
            trial, objective = self._attempt(*made)
            self.search.tell(trial, objective)
            self.trial_ended(trial)
        self.ended = ending
        return ending

    def info(self) -> SearchInfo:
        """Return what the result says of the search."""
        errors = self.planner.prediction_errors()
        return SearchInfo(
            sampler=self.sampler.sampler,
            reason=self.sampler.reason,
            ended=self.ended,
            chance_left=self.planner.chance_left,
            prediction_error=float(np.expm1(np.median(errors))) if errors else None,
            predictions=len(errors),
            left_out=self.planner.space.left_out(),
        )

    def _ending(self) -> SearchEnding | None:
        tried = self.found.trials[1:]
        if len(tried) >= self.spec.search.budget.trials:
            return "trials"
        if self.budget.left_s() < self._reserve_s() + self._next_cost_s():
            return "time"
        patience = self.spec.search.budget.patience
        if patience is not None and len(tried) > patience and not self._grew_in(patience):
            return "patience"
        return None

    def _next_cost_s(self) -> float:
        """Return what the next trial will cost, in seconds."""
        baseline, *tried = self.found.trials
        shown_s = budget.shown_by(baseline, climbs=self.spec.load.search != "sampled")
        return budget.typical_cost_s([trial.wall_s for trial in tried], shown_s)

    def _grew_in(self, patience: int) -> bool:
        """Whether the front of what meets the SLO grew in the last trials."""
        found = [one for one in self.found.ranked() if np.isfinite(one.objective.values).all()]
        if not found:
            return True  # nothing meets it yet: that is no reason to stop looking
        values = np.array([one.objective.values for one in found])
        maximize = [goal.maximize for goal in self.found.goals]
        below = np.minimum(0.0, values.min(axis=0) * GROWTH)  # scores of answers may be below 0
        reference = np.where(maximize, below, values.max(axis=0) * GROWTH)
        last = sorted(trial.number for trial in self.found.trials)[
            -patience
        ]  # those of other hosts' groups are missing
        before = values[[one.trial.number < last for one in found]]
        return hypervolume(values, reference, maximize) > GROWTH * hypervolume(before, reference, maximize)

    def _attempt(self, proposal: Proposal, predicted: Predicted) -> tuple[Trial, Objective]:
        known = self.trier.accuracies.variants
        config = {**self.user, **proposal.config}
        self.trial_begins(proposal.number, config)
        trial = self.trier.attempt(proposal.number, config, self.found.front())
        if self.trier.accuracies.variants != known:
            self.search.remember("accuracies", self.trier.accuracies.stored())
        trial = trial.model_copy(update={"predicted": predicted})
        if trial.state == "complete":
            return trial, rank.worth(trial, self.found.names, self.found.goals)
        return trial, self._worst()

    def _worst(self) -> Objective:
        """Return what is told of a configuration that could not be measured."""
        constraints = [f"{name}.{slo}" for name, bounds in self.found.bounds.items() for slo in bounds]
        return pessimistic(self.found.goals, constraints)

    def _reserve_s(self) -> float:
        """Return what has to be kept for measuring the best again; while nothing but yours meets the SLO the least."""
        settings, workloads = self.spec.confirm, self.trier.workloads
        prices = self.found.prices(self.trier.beside_s)
        ranked = self.found.ranked()
        if not any(one.trial.number for one in ranked):
            return budget.least_reserve_s(settings, prices, workloads, self.budget.total_s)
        found = [confirm.contender_of(one) for one in ranked[:1]]
        rounds = confirm.rounds_needed(self.trier, found, self.found.by_number(), settings)
        return budget.reserve_s(settings, prices, rounds, workloads, self.budget.total_s)
