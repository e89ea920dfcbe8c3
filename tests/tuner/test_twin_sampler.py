"""The twin as a sampler of Optuna's: in a study of Optuna's own, without anything else of Paretune's."""

from collections.abc import Mapping

import optuna
import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution
from optuna.samplers import BaseSampler, RandomSampler

from tuner.asking import TwinSampler

PARAMETERS: Mapping[str, BaseDistribution] = {
    "batch": IntDistribution(0, 6),
    "precision": CategoricalDistribution(["fp32", "int8"]),
    "instances": IntDistribution(0, 0),
}


def asked(sampler: BaseSampler) -> dict[str, int | str]:
    study = optuna.create_study(sampler=sampler)
    return dict(study.ask(dict(PARAMETERS)).params)


@pytest.mark.parametrize("expected", [{"batch": 5, "precision": "int8"}, {"batch": 0, "precision": "fp32"}])
def test_it_proposes_what_is_expected_most_of(expected: dict[str, int | str]) -> None:
    assert asked(TwinSampler(expected, PARAMETERS, RandomSampler(seed=1))) == {**expected, "instances": 0}


@pytest.mark.parametrize("seed", range(3))
def test_it_hands_over_where_nothing_is_expected(seed: int) -> None:
    assert asked(TwinSampler(None, PARAMETERS, RandomSampler(seed=seed))) == asked(RandomSampler(seed=seed))


def test_a_parameter_that_it_does_not_know_is_the_other_samplers() -> None:
    study = optuna.create_study(
        sampler=TwinSampler({"batch": 5}, {"batch": PARAMETERS["batch"]}, RandomSampler(seed=2))
    )
    other = optuna.create_study(sampler=RandomSampler(seed=2))
    found = study.ask(dict(PARAMETERS)).params
    assert found["batch"] == 5
    assert found["precision"] == other.ask({"precision": PARAMETERS["precision"]}).params["precision"]
