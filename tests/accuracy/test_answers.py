"""Answers of two variants beside one another."""

from pathlib import Path

import numpy as np
import pytest

from tuner.accuracy.answers import as_numbers, difference, load, save


def one(**outputs: object) -> dict[str, np.ndarray]:
    return {name: np.array(value) for name, value in outputs.items()}


def test_a_difference_is_over_all_values_of_all_outputs() -> None:
    ours = as_numbers([one(A=[[1.0, 2.0]], B=[0]), one(A=[[5.0, 5.0]], B=[1])])
    theirs = as_numbers([one(A=[[1.0, 2.5]], B=[1]), one(A=[[5.0, 5.0]], B=[1])])
    found = difference(ours, theirs)
    assert found is not None
    assert found.of_items.tolist() == pytest.approx([0.5, 0.0])
    assert found.largest == 1.0


def test_only_items_that_both_answered_are_compared() -> None:
    ours, theirs = as_numbers([None, one(A=[1.0]), one(A=[3.0])]), as_numbers([one(A=[9.0]), one(A=[1.5]), None])
    found = difference(ours, theirs)
    assert found is not None
    assert found.of_items.tolist() == [0.5]


def test_answers_of_other_shapes_differ_infinitely_and_equal_nans_not_at_all() -> None:
    found = difference(
        as_numbers([one(A=[1.0, 2.0]), one(A=[np.nan, np.inf])]), as_numbers([one(A=[1.0]), one(A=[np.nan, np.inf])])
    )
    assert found is not None
    assert found.of_items.tolist() == [np.inf, 0.0]
    lonely = difference(as_numbers([one(A=[np.nan])]), as_numbers([one(A=[1.0])]))
    assert lonely is not None
    assert lonely.largest == np.inf


def test_texts_are_no_numbers() -> None:
    words = as_numbers([{"T": np.array([b"a"], object)}])
    assert words == {}
    assert difference(words, words) is None
    assert difference(as_numbers([None]), as_numbers([None])) is None


def test_answers_come_back_as_they_were_stored(tmp_path: Path) -> None:
    ours = as_numbers([one(A=[[1.0, 2.0]]), None, one(A=[3.5])])
    save(tmp_path / "answers" / "steady.npz", ours)
    back = load(tmp_path / "answers" / "steady.npz")
    assert back["A"].sizes.tolist() == [2, -1, 1]
    assert back["A"].item(0).tolist() == [1.0, 2.0]
    assert back["A"].item(2).tolist() == [3.5]
    assert load(tmp_path / "answers" / "none.npz") == {}
