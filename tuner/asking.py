"""Samplers are asked in memory: a proposal is stored with the whole trial that came of it, not before."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
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


class Asked:
    """A study in memory that samplers are asked on.

    Args:
        directions: of its objectives, the first ones of the trials.
    """

    def __init__(self, directions: Sequence[StudyDirection]) -> None:
        self._storage = InMemoryStorage()
        self._study = optuna.create_study(storage=self._storage, directions=directions)
        self._count = len(directions)
        self._known = 0

    def ask(self, sampler: BaseSampler, space: Space, told: Sequence[FrozenTrial]) -> Drawn:
        """Ask a sampler, after the trials told so far."""
        self._take_up(told)
        self._study.sampler = sampler
        trial = self._study.ask()
        chosen = {parameter.name: _suggested(trial, parameter) for parameter in space}
        self._study.tell(trial, state=TrialState.FAIL)  # what becomes of it is told with the other trials
        notes = self._study.get_trials(deepcopy=False)[trial.number].system_attrs
        return Drawn(chosen, notes, {key: value for key, value in self._attributes().items() if key.startswith(_QMC)})

    def _take_up(self, told: Sequence[FrozenTrial]) -> None:
        for trial in told[self._known :]:
            self._study.add_trial(
                optuna.create_trial(
                    params=trial.params,
                    distributions=trial.distributions,
                    values=trial.values[: self._count],
                    system_attrs=trial.system_attrs,  # the constraints are among them
                )
            )
            for key, value in trial.user_attrs.get(PLACE, {}).items():
                self._storage.set_study_system_attr(self._number, key, value)
        self._known = len(told)

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
