"""The search: Optuna proposes, is told, and remembers. The only module that knows Optuna.

Every parameter is told to Optuna as an index into its list of values, so that ordered knobs keep their order whatever
their spacing. The study's storage also keeps, with each proposal, the whole trial that came of it, before the
proposal is told: a killed process loses nothing that was measured.
"""

import json
import sqlite3
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution
from optuna.samplers import BaseSampler, NSGAIISampler, QMCSampler, RandomSampler, TPESampler
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState

from targets.base import Config, Value
from tuner.objective import WORST, Goal, Objective
from tuner.results import Trial
from tuner.space import Parameter, Space

STARTUP_TRIALS = 6
FRONT_EVERY = 5
"""After the first trials every fifth proposal is for the whole front, the others for the first objective."""
ATTEMPTS_FOR_NEW = 50
POPULATION = 12
"""Trials of a generation of NSGA-II."""
_APPLIED = ("restart", "reload", "live")
_TRIAL, _VALUES = "paretune:trial", "paretune:values"


@dataclass(frozen=True)
class Proposal:
    """A configuration to try; numbers start at 1, 0 is the baseline."""

    number: int
    config: Config


@dataclass(frozen=True)
class Choice:
    """Which sampler is taken, and why."""

    sampler: str
    reason: str


def choose_sampler(asked: str, space: Space, trials: int) -> Choice:
    """Return the sampler that a study is searched with.

    Args:
        asked: `auto`, or its name.
        space: what may be proposed.
        trials: that the study may make.
    """
    if asked != "auto":
        return Choice(asked, "as the study says")
    if space.size <= trials:
        return Choice("grid", f"{trials} trials are enough for all {space.size} configurations")
    return Choice("tpe", f"{trials} trials for {space.size} configurations")


class _Connection(sqlite3.Connection):
    """A connection that does not wait for the disk at every commit.

    With a write-ahead log that is safe when the process is killed; a host that loses power may lose the last commits.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.execute("PRAGMA journal_mode = WAL")
        self.execute("PRAGMA synchronous = NORMAL")


class Search:
    """An Optuna study in a SQLite file.

    Args:
        storage: the file; an existing one is continued.
        space: what may be proposed.
        goals: the objectives.
        sampler: name of one, see `choose_sampler`.
        seed: the sampler's seed for a proposal derives from it and the proposal's number, so that the same told
            results give the same proposals, across a resume too.
    """

    def __init__(self, storage: Path, space: Space, goals: Sequence[Goal], sampler: str, seed: int) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._space = space
        self._kind = sampler
        self._seed = seed
        self._study = optuna.create_study(
            storage=RDBStorage(f"sqlite:///{storage}", engine_kwargs={"connect_args": {"factory": _Connection}}),
            study_name="paretune",
            directions=["maximize" if goal.maximize else "minimize" for goal in goals],
            load_if_exists=True,
        )
        self._settle_stale()
        complete = self._study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        self._tried = {self._key(trial) for trial in complete}

    def remembered(self, key: str) -> Any:
        """Return what `remember` stored under a key, None when nothing was."""
        return self._study.user_attrs.get(key)

    def remember(self, key: str, value: object) -> None:
        """Store a JSON value beside the trials."""
        self._study.set_user_attr(key, value)

    def trials(self) -> list[Trial]:
        """Return the trials told so far, by number."""
        return [Trial.model_validate_json(trial.user_attrs[_TRIAL]) for trial in self._told()]

    def skip(self, configs: Iterable[Config]) -> None:
        """Take note of configurations of the space that are known without having been proposed."""
        self._tried |= {self._key_of(self._indices(config)) for config in configs}

    def first_new(self, configs: Iterable[Config]) -> Config | None:
        """Return the first of some configurations of the space that was not tried yet, None when all were."""
        return next((config for config in configs if self._is_new(self._indices(config))), None)

    def ask(self, planned: Config | None = None) -> Proposal | None:
        """Propose a configuration that was not tried yet; None when every one was.

        Args:
            planned: what to propose instead of asking the sampler; it lies in the space.
        """
        if len(self._tried) >= self._space.size:
            return None
        number = len(self._told()) + 1
        if planned is None and self._kind == "grid":
            planned = self._next_of_the_grid()
        if planned is not None:
            self._study.enqueue_trial(self._indices(planned))
        elif self._kind == "tpe" and number > STARTUP_TRIALS and number % FRONT_EVERY:
            self._study.enqueue_trial(self._focused(number))
        self._study.sampler = self._sampler(number)
        trial = self._study.ask()
        chosen = {parameter.name: self._suggest(trial, parameter) for parameter in self._space}
        if not self._is_new(chosen):
            # The sampler repeats itself where it sees no noise to average out; a measurement is too dear for that.
            # And it does not know which configurations the study's constraints leave out.
            self._study.tell(trial, state=TrialState.FAIL)
            untried = self._untried(number)
            if untried is None:
                return None
            trial, chosen = untried
        self._open = trial
        return Proposal(number, self._config(chosen))

    def tell(self, trial: Trial, objective: Objective) -> None:
        """Tell the open proposal's outcome; the trial itself is stored with it, in one go."""
        values = _finite(objective.values)
        for name, violation in objective.violations.items():
            self._open.set_constraint(name, _clipped(violation))
        self._open.set_user_attr(_VALUES, values)
        self._open.set_user_attr(_TRIAL, trial.model_dump_json())
        self._study.tell(self._open, values)
        self._tried.add(self._key(self._study.trials[self._open.number]))

    def _indices(self, config: Config) -> dict[str, int | str]:
        return {
            parameter.name: parameter.values.index(value) if parameter.ordered else str(value)
            for parameter in self._space
            for value in [config.get(parameter.name, parameter.values[0])]
        }

    def _next_of_the_grid(self) -> Config | None:
        """Return the next configuration of all: what is dear to change varies slowest, the load fastest."""
        dearest_first = sorted(self._space, key=lambda one: _APPLIED.index(one.knob.applied))
        return self.first_new(replace(self._space, parameters=tuple(dearest_first)).configs())

    def _is_new(self, chosen: dict[str, int | str]) -> bool:
        """Whether a configuration was not tried yet and keeps the constraints."""
        return self._key_of(chosen) not in self._tried and self._space.allows(self._config(chosen))

    def _settle_stale(self) -> None:
        """End what an interrupted run left open: told if its trial was stored already, forgotten otherwise."""
        while self._study.get_trials(deepcopy=False, states=(TrialState.WAITING,)):
            self._study.ask()  # what was planned and never asked for: it is taken up, and ended below
        for stale in self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            if _TRIAL in stale.user_attrs:
                self._study.tell(stale.number, stale.user_attrs[_VALUES])
            else:
                self._study.tell(stale.number, state=TrialState.FAIL)

    def _told(self) -> Sequence[FrozenTrial]:
        complete = self._study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        return [trial for trial in complete if _TRIAL in trial.user_attrs]

    def _sampler(self, number: int) -> BaseSampler:
        seed = int(np.random.SeedSequence([self._seed, number]).generate_state(1)[0])
        if self._kind in ("random", "grid"):
            return RandomSampler(seed=seed)
        if self._kind == "nsga2":
            return NSGAIISampler(seed=seed, population_size=POPULATION)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            if self._kind == "qmc":  # one sequence for all proposals; the study stores how far it has come
                return QMCSampler(seed=self._seed, scramble=True, warn_asynchronous_seeding=False)
            return TPESampler(seed=seed, n_startup_trials=STARTUP_TRIALS, multivariate=True)

    def _focused(self, number: int) -> dict[str, int | str]:
        """Propose for the first objective alone: a sampler of several spreads its few trials along the whole front."""
        direction = self._study.directions[0]
        alone = optuna.create_study(direction=direction, sampler=self._sampler(number))
        for trial in self._study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)):
            alone.add_trial(
                optuna.create_trial(
                    params=trial.params,
                    distributions=trial.distributions,
                    value=trial.values[0],
                    constraints=trial.constraints,
                )
            )
        proposed = alone.ask()
        return {parameter.name: self._suggest(proposed, parameter) for parameter in self._space}

    def _untried(self, number: int) -> tuple[optuna.Trial, dict[str, int | str]] | None:
        """Draw at random until a configuration is new; then take the first new one in order, None if there is none."""
        rng = np.random.default_rng([self._seed, number, 1])
        shape = [len(parameter.values) for parameter in self._space]
        for _ in range(ATTEMPTS_FOR_NEW):
            chosen = self._choice([int(rng.integers(size)) for size in shape])
            if self._is_new(chosen):
                break
        else:
            every = (self._indices(config) for config in self._space.configs())
            first = next((choice for choice in every if self._is_new(choice)), None)
            if first is None:
                return None
            chosen = first
        self._study.enqueue_trial(chosen)
        trial = self._study.ask()
        for parameter in self._space:
            self._suggest(trial, parameter)
        return trial, chosen

    def _choice(self, indices: Sequence[int]) -> dict[str, int | str]:
        return {
            parameter.name: index if parameter.ordered else str(parameter.values[index])
            for parameter, index in zip(self._space, indices, strict=True)
        }

    def _suggest(self, trial: optuna.Trial, parameter: Parameter) -> int | str:
        distribution = _distribution(parameter)
        chosen: int | str = (
            trial.suggest_int(parameter.name, 0, len(parameter.values) - 1)
            if isinstance(distribution, IntDistribution)
            else trial.suggest_categorical(parameter.name, [str(value) for value in parameter.values])
        )
        return chosen

    def _config(self, chosen: dict[str, int | str]) -> dict[str, Value]:
        whole: dict[str, Value] = {
            parameter.name: parameter.values[int(chosen[parameter.name])]
            if parameter.ordered
            else next(value for value in parameter.values if str(value) == chosen[parameter.name])
            for parameter in self._space
        }
        return self._space.active(whole)

    def _key(self, trial: FrozenTrial) -> str:
        return self._key_of(trial.params)

    def _key_of(self, chosen: dict[str, Any]) -> str:
        active = self._config(chosen) if len(chosen) == len(self._space.parameters) else {}
        return json.dumps([chosen.get(one.name) if one.name in active else None for one in self._space])


def _distribution(parameter: Parameter) -> BaseDistribution:
    if parameter.ordered:
        return IntDistribution(0, len(parameter.values) - 1)
    return CategoricalDistribution([str(value) for value in parameter.values])


def _finite(values: Sequence[float]) -> list[float]:
    return [_clipped(value) for value in values]


def _clipped(value: float) -> float:
    return float(np.clip(value, -WORST, WORST))
