"""The search: Optuna proposes, is told, and remembers.

Every parameter is told to Optuna as an index into its list of values, so that ordered knobs keep their order whatever
their spacing. Samplers are asked in memory; a proposal gets into the storage with the whole trial that came of it, in
one transaction: a killed process loses nothing that was measured, and nothing is left half done.
"""

import json
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import (
    BaseSampler,
    NSGAIISampler,
    PartialFixedSampler,
    QMCSampler,
    RandomSampler,
)
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

from targets.base import Config, Value
from tuner.asking import MOST_TOLD, PLACE, Asked, Drawn, Ranked, Tpe, TwinSampler, best_and_newest, distribution
from tuner.candidates import BESTS, candidates, listed_whole, neighbours
from tuner.gaussian import FIT_EVERY, Gaussian, for_gaussian, on_one_thread
from tuner.objective import WORST, Goal, Objective
from tuner.order_of_work import kind
from tuner.results import Trial
from tuner.space import Space
from tuner.storage import kept

LOCAL_NAME = "paretune"
"""Of the study in a storage that is the run's own."""
STARTUP_TRIALS = 6
FRONT_EVERY = 5
"""After the first trials every fifth proposal is for the whole front, the others for the first objective."""
ATTEMPTS_FOR_NEW = 50
POPULATION = 12
"""Trials of a generation of NSGA-II."""
TRIAL = "paretune:trial"


@dataclass(frozen=True)
class Proposal:
    """A configuration to try; numbers start at 1, 0 is the baseline."""

    number: int
    config: Config


class Search:
    """An Optuna study in a storage.

    Args:
        storage: see `storage.open_storage`; a study of this name in it is continued.
        space: what may be proposed.
        goals: the objectives.
        sampler: name of one, see `choosing.choose_sampler`.
        seed: the sampler's seed for a proposal derives from it and the proposal's number, so that the same told
            results give the same proposals, across a resume too.
        name: of the study in the storage.
        focused: TPE and the Gaussian process make most proposals for the first objective, not for all of them.
    """

    def __init__(
        self,
        storage: BaseStorage,
        space: Space,
        goals: Sequence[Goal],
        sampler: str,
        seed: int,
        name: str = LOCAL_NAME,
        *,
        focused: bool = True,
    ) -> None:
        # Never more than before: a ledger that hosts share wants errors alone.
        optuna.logging.set_verbosity(max(optuna.logging.get_verbosity(), optuna.logging.WARNING))
        self.space = space
        self._kind, self._focused = sampler, focused
        self._seed = seed
        with kept():
            self._study = optuna.create_study(
                storage=storage,
                study_name=name,
                directions=["maximize" if goal.maximize else "minimize" for goal in goals],
                load_if_exists=True,
            )
            complete = self._study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        self._told = [trial for trial in complete if TRIAL in trial.user_attrs]
        self._all, self._first = Asked(self._study.directions), Asked(self._study.directions[:1])
        self._ranked = [Ranked(direction, index) for index, direction in enumerate(self._study.directions)]
        self._beside: tuple[list[int], list[tuple[str, dict[str, int | str]]]] = [], []
        self._fitted: dict[tuple[int, frozenset[str]], tuple[int, Gaussian]] = {}
        self.tried = {self._key_of(trial.params) for trial in self._told}

    def take(self, sampler: str) -> None:
        """Go on with another sampler; it is told what the one before was."""
        self._kind = sampler

    def key(self, config: Config) -> str:
        """Return what tells a configuration from others; those of `tried` were proposed already."""
        return self._key_of(self._indices(config))

    def remembered(self, key: str) -> Any:
        """Return what `remember` stored under a key, None when nothing was."""
        with kept():
            return self._study.user_attrs.get(key)

    def remember(self, key: str, value: object) -> None:
        """Store a JSON value beside the trials."""
        with kept():
            self._study.set_user_attr(key, value)

    def trials(self) -> list[Trial]:
        """Return the trials told so far, by number."""
        return [Trial.model_validate_json(trial.user_attrs[TRIAL]) for trial in self._told]

    def skip(self, configs: Iterable[Config]) -> None:
        """Take note of configurations of the space that are known without having been proposed."""
        self.tried |= {self._key_of(self._indices(config)) for config in configs}

    def first_new(self, configs: Iterable[Config]) -> Config | None:
        """Return the first of some configurations of the space that was not tried yet, None when all were."""
        return next((config for config in configs if self._is_new(self._indices(config))), None)

    def ask(
        self, planned: Config | None = None, kept: Config | None = None, expected: Config | None = None
    ) -> Proposal | None:
        """Propose a configuration that was not tried yet; None when every one was.

        Args:
            planned: what to propose instead of asking the sampler; it lies in the space.
            kept: values of parameters that the sampler is to leave as they are, as long as there is something untried.
            expected: the untried configuration that the twin expects most of; it is what its sampler proposes.
        """
        if planned is None and len(self.tried) >= self.space.size:
            return None
        number = self._turn()
        if planned is None and expected is None and self._kind == "grid":
            planned = self._next_of_the_grid()
        if planned is not None:
            drawn = Drawn(self._indices(planned))
        else:
            drawn = self._sampled(number, kept or {}, None if expected is None else self._indices(expected))
        if not self._is_new(drawn.chosen):
            # The sampler repeats itself where it sees no noise to average out; a measurement is too dear for that.
            # And it does not know which configurations the study's constraints leave out.
            untried = self._untried(number, kept or {})
            if untried is None:
                return None
            drawn = Drawn(untried)
        self._open = drawn
        return Proposal(number, self._config(drawn.chosen))

    def tell(self, trial: Trial, objective: Objective) -> None:
        """Tell the last proposal's outcome; the trial itself is stored with it, in one go."""
        told = self._made(trial, objective)
        with kept():
            self._study.add_trial(told)
        self._told.append(told)
        self.tried.add(self._key_of(self._open.chosen))

    def _resume(self, chosen: dict[str, int | str]) -> None:
        """Take up a proposal that was made elsewhere; what comes of it may be told."""
        self._open = Drawn(chosen)

    def _turn(self) -> int:
        """Return the number of the next proposal."""
        return len(self._told) + 1

    def _distributions(self) -> dict[str, BaseDistribution]:
        return {parameter.name: distribution(parameter) for parameter in self.space}

    def _made(self, trial: Trial, objective: Objective) -> FrozenTrial:
        """Return what is told of the last proposal."""
        return optuna.create_trial(
            params=dict(self._open.chosen),
            distributions=self._distributions(),
            values=[_clipped(value) for value in objective.values],
            constraints={name: _clipped(violation) for name, violation in objective.violations.items()},
            user_attrs={TRIAL: trial.model_dump_json(), PLACE: dict(self._open.place)},
            system_attrs=dict(self._open.notes),
        )

    def _indices(self, config: Config) -> dict[str, int | str]:
        return {
            parameter.name: parameter.values.index(value) if parameter.ordered else str(value)
            for parameter in self.space
            for value in [config.get(parameter.name, parameter.values[0])]
        }

    def _kept(self, kept: Config) -> dict[str, int | str]:
        """Return what Optuna is told of the values that a proposal keeps."""
        return {name: index for name, index in self._indices(kept).items() if name in kept}

    def _next_of_the_grid(self) -> Config | None:
        """Return the next configuration of all: what is dear to change varies slowest, the load fastest."""
        dearest_first = sorted(self.space, key=lambda one: kind(one.knob), reverse=True)
        return self.first_new(self.space.configs(dearest_first))

    def _is_new(self, chosen: dict[str, int | str]) -> bool:
        """Whether a configuration was not tried yet and keeps the constraints."""
        return self._key_of(chosen) not in self.tried and self.space.allows(self._config(chosen))

    def _sampled(self, number: int, kept: Config, expected: dict[str, int | str] | None) -> Drawn:
        """Ask the sampler."""
        focuses = self._focused and self._kind in ("tpe", "twin", "gp")
        # For the first objective alone: a sampler of several spreads its few trials along the whole front.
        first = focuses and number > STARTUP_TRIALS and number % FRONT_EVERY > 0
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            if self._kind == "gp":
                with on_one_thread():
                    return self._sampled_by_gaussian(number, kept, 1 if first else len(self._study.directions))
            sampler = self._keeping(kept, self._free_sampler(number))
            if expected is not None or self._kind == "twin":
                sampler = TwinSampler(expected, self._distributions(), sampler)
            of = self._told_of(1 if first else len(self._ranked), expected is not None)
            return (self._first if first else self._all).ask(sampler, self.space, self._told, of)

    def _told_of(self, objectives: int, is_expected: bool) -> Sequence[int] | None:
        """Return which trials a sampler is told of: those that it reads; None: all."""
        if self._kind in ("random", "grid") or is_expected:
            return ()
        if self._kind in ("tpe", "twin"):
            return best_and_newest(self._told, self._ranked[:objectives], MOST_TOLD)
        return None

    def _sampled_by_gaussian(self, number: int, kept: Config, objectives: int) -> Drawn:
        """Ask a Gaussian process that begins with kernels of some trials ago.

        Of how many trials depends on how many were told alone, so that a resumed study proposes the same.

        Args:
            number: of the proposal.
            kept: see `ask`.
            objectives: how many of the first ones it is told of.
        """
        before = len(self._told) // FIT_EVERY * FIT_EVERY
        parameters = objectives, frozenset(self._kept(kept))
        count, fitted = self._fitted.get(parameters, (0, None))
        if before and count != before:
            fitted = Gaussian([self._told[0].params], self._seed, STARTUP_TRIALS)
            self._ask_gaussian(fitted, kept, objectives, before)
            self._fitted[parameters] = before, fitted
        made = Gaussian(self._choices(kept), self._seed_of(number), STARTUP_TRIALS, fitted)
        return self._ask_gaussian(made, kept, objectives, len(self._told))

    def _ask_gaussian(self, sampler: Gaussian, kept: Config, objectives: int, count: int) -> Drawn:
        directions = self._study.directions[:objectives]
        told = for_gaussian(self._told[:count], directions, self._ranked[0])
        return Asked(directions).ask(self._keeping(kept, sampler), self.space, told)

    def _keeping(self, kept: Config, free: BaseSampler) -> BaseSampler:
        """Return a sampler that leaves some values as they are."""
        return PartialFixedSampler(self._kept(kept), free) if kept else free

    def _seed_of(self, number: int) -> int:
        return int(np.random.SeedSequence([self._seed, number]).generate_state(1)[0])

    def _free_sampler(self, number: int) -> BaseSampler:
        seed = self._seed_of(number)
        if self._kind in ("random", "grid"):
            return RandomSampler(seed=seed)
        if self._kind == "nsga2":
            return NSGAIISampler(seed=seed, population_size=POPULATION)
        if self._kind == "qmc":  # one sequence for all proposals; the study stores how far it has come
            return QMCSampler(seed=self._seed, scramble=True, warn_asynchronous_seeding=False)
        return Tpe(self._distributions(), seed, STARTUP_TRIALS)

    def _choices(self, kept: Config) -> list[dict[str, int | str]]:
        """Return what a Gaussian process chooses among: untried configurations, of a large space some of them."""
        fixed, known = self._kept(kept), self._candidates
        if not listed_whole(self.space):
            known = [*known, *self._beside_the_best()]
        return [chosen for key, chosen in known if key not in self.tried and fixed.items() <= chosen.items()]

    def _beside_the_best(self) -> list[tuple[str, dict[str, int | str]]]:
        """Return the same of what lies beside the best so far."""
        best = self._ranked[0].best(self._told, BESTS)
        if best != self._beside[0]:
            near = neighbours(self.space, [self._config(self._told[index].params) for index in best])
            self._beside = best, [(self.key(config), self._indices(config)) for config in near]
        return self._beside[1]

    @cached_property
    def _candidates(self) -> list[tuple[str, dict[str, int | str]]]:
        """Candidates of the space, with what tells each from others."""
        return [(self.key(config), self._indices(config)) for config in candidates(self.space, self._seed)]

    def _untried(self, number: int, kept: Config) -> dict[str, int | str] | None:
        """Draw at random until a configuration is new; then take the first new one in order, None if there is none.

        What is to be kept is kept in the first draws.
        """
        rng = np.random.default_rng([self._seed, number, 1])
        shape = [len(parameter.values) for parameter in self.space]
        for attempt in range(2 * ATTEMPTS_FOR_NEW):
            chosen = self._choice([int(rng.integers(size)) for size in shape])
            if attempt < ATTEMPTS_FOR_NEW:
                chosen |= self._kept(kept)
            if self._is_new(chosen):
                return chosen
        every = (self._indices(config) for config in self.space.configs())
        return next((choice for choice in every if self._is_new(choice)), None)

    def _choice(self, indices: Sequence[int]) -> dict[str, int | str]:
        return {
            parameter.name: index if parameter.ordered else str(parameter.values[index])
            for parameter, index in zip(self.space, indices, strict=True)
        }

    def _config(self, chosen: dict[str, int | str]) -> dict[str, Value]:
        whole: dict[str, Value] = {
            parameter.name: parameter.values[int(chosen[parameter.name])]
            if parameter.ordered
            else next(value for value in parameter.values if str(value) == chosen[parameter.name])
            for parameter in self.space
        }
        return self.space.active(whole)

    def _key_of(self, chosen: dict[str, Any]) -> str:
        active = self._config(chosen) if len(chosen) == len(self.space.parameters) else {}
        return json.dumps([chosen.get(one.name) if one.name in active else None for one in self.space])


def _clipped(value: float) -> float:
    return float(np.clip(value, -WORST, WORST))
