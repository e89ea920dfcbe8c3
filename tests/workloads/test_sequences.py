"""Requests that belong together: where each stands, and how sequences are drawn."""

import numpy as np
import pytest

from workloads.lengths import Constant, Uniform
from workloads.prompts import Independent, Synthetic
from workloads.requests import Dataset, RequestSourceError, TensorSpec, in_sequences
from workloads.sequences import Place, Sequences, drawn
from workloads.tensors import Drawn

TWO_AND_ONE = Sequences(np.array([2, 1]), first_id=7)


def test_each_request_knows_its_sequence_and_whether_it_starts_or_ends_it() -> None:
    assert list(TWO_AND_ONE.places()) == [Place(7, True, False), Place(7, False, True), Place(8, True, True)]
    assert TWO_AND_ONE.firsts.tolist() == [0, 2]


@pytest.mark.parametrize(("count", "lengths"), [(1, [1]), (3, [3]), (4, [3, 1]), (6, [3, 3]), (7, [3, 3, 1])])
def test_the_last_sequence_ends_with_the_requests(count: int, lengths: list[int]) -> None:
    assert drawn(Constant(3), count, 1, np.random.default_rng(0)).lengths.tolist() == lengths
    assert Sequences(np.array([3, 3, 3])).cut(count).lengths.tolist() == lengths


@pytest.mark.parametrize(("count", "begun"), [(1, 1), (3, 1), (4, 2), (9, 3)])
def test_a_sequence_is_begun_by_its_first_request(count: int, begun: int) -> None:
    assert Sequences(np.array([3, 3, 3])).begun(count).lengths.tolist() == [3] * begun


def test_drawn_lengths_follow_their_distribution_and_add_up_to_the_requests() -> None:
    found = drawn(Uniform(5, 15), 10_000, 1, np.random.default_rng(3))
    assert found.lengths.sum() == 10_000
    assert 9.5 < found.lengths.mean() < 10.5
    assert set(found.lengths[:-1].tolist()) == set(range(5, 16))


def test_drawn_tensors_and_read_ones_stay_in_their_sequences_when_they_take_shape() -> None:
    tensor = TensorSpec("X", "FP32", (2,))
    for requests in (Drawn(3, 1), Dataset({"X": np.zeros((3, 2), np.float32)})):
        placed = in_sequences(requests, TWO_AND_ONE)
        shaped = placed if isinstance(placed, Dataset) else placed.shaped([tensor])
        assert isinstance(shaped, Dataset)
        assert shaped.sequences is TWO_AND_ONE
        assert len(shaped) == 3


def test_prompts_are_no_sequences() -> None:
    prompts = Synthetic(Independent(Constant(3), Constant(3)), 3, False, 1, 9).make(1)
    with pytest.raises(RequestSourceError, match="brings all that was said before"):
        in_sequences(prompts, TWO_AND_ONE)
