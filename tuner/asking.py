"""Samplers are asked in memory: a proposal is stored with the whole trial that came of it, not before."""

from bisect import insort
from collections.abc import Container, Mapping, Sequence
from copy import deepcopy as copied
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution
from optuna.samplers import BaseSampler, TPESampler
from optuna.storages import InMemoryStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from tuner.space import Parameter, Space

PLACE = "paretune:place"
"""Key of what a sampler wrote beside the study, in the trial that was proposed with it."""
MOST_TOLD = 1000
"""Trials that TPE is told of: for each proposal it sorts them and reads the parameters of each."""
_QMC = "qmc:"
"""Begins the names under which Optuna keeps how far a quasi-random sequence has come."""


@dataclass(frozen=True)
class Drawn:
    """What is proposed, as Optuna is told of it.

    Attributes:
        chosen: parameter -> index of its value, or the name of it.
        notes: what the sampler wrote beside the trial and reads again, such as its generation.
        place: what it wrote beside the study: how far a sequence has come.
    """

    chosen: dict[str, int | str]
    notes: Mapping[str, Any] = field(default_factory=dict)
    place: Mapping[str, Any] = field(default_factory=dict)


class Tpe(TPESampler):
    """Optuna's TPE, told which parameters there are: it would compare those of all trials before each proposal.

    Args:
        distributions: of the parameters; every trial has all of them.
        seed: of the proposal.
        startup: trials before it proposes; till then it draws at random.
    """

    def __init__(self, distributions: Mapping[str, BaseDistribution], seed: int, startup: int) -> None:
        super().__init__(seed=seed, n_startup_trials=startup, multivariate=True)
        self._parameters = {name: one for name, one in sorted(distributions.items()) if not one.single()}

    def infer_relative_search_space(
        self,
        study: optuna.Study,  # noqa: ARG002 - Optuna's names
        trial: FrozenTrial,  # noqa: ARG002
    ) -> dict[str, BaseDistribution]:
        """Return the parameters that are drawn together."""
        return dict(self._parameters)


class TwinSampler(BaseSampler):
    """The twin as a sampler: it proposes what the simulation expects most of, or hands over to another one.

    Args:
        expected: parameter -> index of its value, or the name of it, as Optuna knows them, of the untried configuration
            with the largest expected gain per second; None: the twin expects nothing, or was too far off of late.
        distributions: of the parameters.
        otherwise: hands over to this one where nothing is expected.
    """

    def __init__(
        self,
        expected: Mapping[str, int | str] | None,
        distributions: Mapping[str, BaseDistribution],
        otherwise: BaseSampler,
    ) -> None:
        self._expected = expected
        self._parameters = {name: one for name, one in distributions.items() if not one.single()}
        self._otherwise = otherwise

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Return the parameters that are proposed together: all of them that can be chosen."""
        if self._expected is None:
            return self._otherwise.infer_relative_search_space(study, trial)
        return dict(self._parameters)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Return their values."""
        if self._expected is None:
            return self._otherwise.sample_relative(study, trial, search_space)
        return {name: self._expected[name] for name in search_space}

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Return the value of a parameter that was not among them."""
        return self._otherwise.sample_independent(study, trial, param_name, param_distribution)


class Ranked:
    """Which trials are the best on an objective; of those that violate constraints the ones that come closest, last.

    It is kept up trial by trial: there may be ten thousand, and Optuna reads the constraints of one anew each time.

    Args:
        direction: of the objective.
        objective: which of the trials' values it is.
    """

    def __init__(self, direction: StudyDirection, objective: int = 0) -> None:
        self._sign = -1.0 if direction is StudyDirection.MAXIMIZE else 1.0
        self._objective = objective
        self._order: list[tuple[float, float, int]] = []

    def best(self, told: Sequence[FrozenTrial], count: int) -> list[int]:
        """Return which trials are the best, the best first; of equal ones the first comes first.

        Args:
            told: complete trials: those of the calls before, or the first ones of them, and any after them.
            count: how many at most.
        """
        for index in range(len(self._order), len(told)):
            insort(self._order, (_violation(told[index]), self._sign * told[index].values[self._objective], index))
        return list(islice((index for _, _, index in self._order if index < len(told)), count))


def best_and_newest(told: Sequence[FrozenTrial], ranked: Sequence[Ranked], most: int) -> Sequence[int]:
    """Return which trials a sampler is told of, in their order: all of them, or of more than `most` half the best.

    With several objectives the best are those on each of them, as many of each. The other half are the newest of all
    others. What was left out once stays so: a sampler that is told trial by trial knows what one knows that is told of
    all of these at once.

    Args:
        told: every complete trial of the study, in the order in which they were told.
        ranked: them on each objective that the sampler is told of.
        most: how many at most.
    """
    if len(told) <= most:
        return range(len(told))
    half = most // 2
    best = {index for one in ranked for index in one.best(told, half // len(ranked))}
    others = (index for index in reversed(range(len(told))) if index not in best)
    return sorted([*best, *islice(others, most - half)])


class _Shown(InMemoryStorage):
    """A storage of one study that shows some of its trials, and those that came since that was said.

    Attributes:
        shown: which.
    """

    def __init__(self) -> None:
        super().__init__()
        self.shown: list[int] = []

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        """Make a trial and return its id."""
        trial = int(super().create_new_trial(study_id, template_trial))
        self.shown.append(trial)
        return trial

    def get_all_trials(
        self,
        study_id: int,  # noqa: ARG002 - there is one
        deepcopy: bool = True,
        states: Container[TrialState] | None = None,
    ) -> list[FrozenTrial]:
        """Return those that are shown, in their order."""
        trials = [self.get_trial(trial) for trial in self.shown]
        found = [trial for trial in trials if states is None or trial.state in states]
        return copied(found) if deepcopy else found


class Asked:
    """A study in memory that samplers are asked on.

    Args:
        directions: of its objectives, the first ones of the trials.
    """

    def __init__(self, directions: Sequence[StudyDirection]) -> None:
        self._directions = directions
        self._begin()

    def _begin(self) -> None:
        self._storage = _Shown()
        self._study = optuna.create_study(storage=self._storage, directions=self._directions)
        self._known: dict[int, int] = {}

    def ask(
        self, sampler: BaseSampler, space: Space, told: Sequence[FrozenTrial], of: Sequence[int] | None = None
    ) -> Drawn:
        """Ask a sampler, after the trials told so far.

        Args:
            sampler: to ask.
            space: what may be proposed.
            told: every trial, in the order in which they were told.
            of: which of them the sampler is told of, in their order; None: of all.
        """
        self._take_up(told, range(len(told)) if of is None else of)
        self._study.sampler = sampler
        trial = self._study.ask()
        chosen = {parameter.name: _suggested(trial, parameter) for parameter in space}
        self._study.tell(trial, state=TrialState.FAIL)  # what becomes of it is told with the other trials
        notes = self._storage.get_trial(trial._trial_id).system_attrs
        return Drawn(chosen, notes, {key: value for key, value in self._attributes().items() if key.startswith(_QMC)})

    def _take_up(self, told: Sequence[FrozenTrial], of: Sequence[int]) -> None:
        new = [index for index in of if index not in self._known]
        if new and self._known and new[0] < next(reversed(self._known)):
            self._begin()  # their order is what it is told in
            new = list(of)
        for index in new:
            self._add(index, told[index])
        self._storage.shown = [self._known[index] for index in of]

    def _add(self, index: int, trial: FrozenTrial) -> None:
        made = optuna.create_trial(
            params=trial.params,
            distributions=trial.distributions,
            values=trial.values[: len(self._directions)],
            system_attrs=trial.system_attrs,  # the constraints are among them
        )
        self._known[index] = self._storage.create_new_trial(self._number, made)
        for key, value in trial.user_attrs.get(PLACE, {}).items():
            self._storage.set_study_system_attr(self._number, key, value)

    def _attributes(self) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self._storage.get_study_system_attrs(self._number)
        return found

    @property
    def _number(self) -> int:
        return int(self._storage.get_study_id_from_name(self._study.study_name))


def distribution(parameter: Parameter) -> BaseDistribution:
    """Return what a parameter is to Optuna: indices into its values where they have an order, else their names."""
    if parameter.ordered:
        return IntDistribution(0, len(parameter.values) - 1)
    return CategoricalDistribution([str(value) for value in parameter.values])


def _suggested(trial: optuna.Trial, parameter: Parameter) -> int | str:
    chosen: int | str = (
        trial.suggest_int(parameter.name, 0, len(parameter.values) - 1)
        if parameter.ordered
        else trial.suggest_categorical(parameter.name, [str(value) for value in parameter.values])
    )
    return chosen


def _violation(trial: FrozenTrial) -> float:
    """Return by how much a trial violates its constraints, in all."""
    return sum(max(0.0, violation) for violation in trial.constraints.values())
