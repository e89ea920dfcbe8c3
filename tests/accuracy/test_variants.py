"""Answers of a variant that do not go with the labels are its own fault; those of the baseline are the study's."""

from collections.abc import Sequence

import numpy as np
import pytest

from targets.base import Unfit
from tuner.accuracy.answers import Outputs
from tuner.accuracy.scored import scorings_of
from tuner.accuracy.scoring import Cosine, Scoring, TopK
from tuner.accuracy.variants import Accuracies, Ask
from tuner.request_class import RequestClass
from tuner.workload import Workload
from workloads.labels import Labels
from workloads.requests import Dataset


def workload(scoring: Scoring, labels: Labels, output: str | None = None) -> Workload:
    dataset = Dataset({"X": np.zeros((2, 1), np.float32)}, labels=labels)
    one = RequestClass(dataset, 1.0, scoring=scoring, output=output)
    return Workload("steady", (one,), None, 1, keep_alive=True, seed=0)


def giving(**outputs: Sequence[float]) -> Ask:
    found: Outputs = {name: np.array(values, np.float32) for name, values in outputs.items()}
    return lambda _, __, items: [found] * items


@pytest.mark.parametrize(
    ("made", "own", "other", "message"),
    [
        (workload(TopK(), np.zeros(2, np.int64), "Y"), giving(Y=[1, 0]), giving(Z=[1, 0]), "has no output 'Y'"),
        (workload(TopK(), np.zeros(2, np.int64)), giving(Y=[1, 0]), giving(Y=[1, 0], Z=[1, 0]), "outputs Y, Z; name"),
        (workload(Cosine(), np.ones((2, 2))), giving(Y=[1, 0]), giving(Y=[1, 0, 0]), "answers 3 values"),
    ],
)
def test_answers_of_another_variant_that_cannot_be_scored_are_refused_with_its_name(
    made: Workload, own: Ask, other: Ask, message: str
) -> None:
    known = Accuracies(scorings_of([made]), reference="precision fp32")
    known.learn("precision fp32", [made], own)
    with pytest.raises(Unfit, match=f"^precision int8: .*{message}"):
        known.learn("precision int8", [made], other)
    assert known.variants == {"precision fp32"}
    with pytest.raises(ValueError, match=message):  # the error that the study would make, at its line
        Accuracies(scorings_of([made]), reference="precision fp32").learn("precision fp32", [made], other)
