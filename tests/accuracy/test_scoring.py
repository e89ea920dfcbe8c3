"""From answers and labels to a score per item."""

import numpy as np
import pytest

from tuner.accuracy.scoring import Cosine, Regression, ScoringError, TopK, compared

SCORES = [np.array([0.1, 0.7, 0.2]), np.array([0.5, 0.2, 0.3]), np.array([0.3, 0.4, 0.3])]


def test_the_top_class_is_the_arg_max() -> None:
    assert TopK(1).scores(SCORES, np.array([1, 2, 1])).tolist() == [1.0, 0.0, 1.0]


def test_the_right_class_may_be_among_the_k_highest() -> None:
    assert TopK(2).scores(SCORES, np.array([2, 2, 1])).tolist() == [1.0, 1.0, 1.0]
    assert TopK(2).scores(SCORES, np.array([0, 1, 2])).tolist() == [0.0, 0.0, 0.0]


def test_top_1_is_numpys_arg_max_whatever_is_equal() -> None:
    rng = np.random.default_rng(0)
    answers = [rng.integers(0, 3, 6).astype(np.float32) for _ in range(300)]
    labels = rng.integers(0, 6, 300)
    expected = [float(np.argmax(one) == label) for one, label in zip(answers, labels, strict=True)]
    assert TopK(1).scores(answers, labels).tolist() == expected


def test_top_k_is_what_a_stable_sort_puts_first() -> None:
    rng = np.random.default_rng(1)
    answers = [rng.integers(0, 4, 8).astype(np.float32) for _ in range(300)]
    labels = rng.integers(0, 8, 300)
    first = [np.argsort(-one, kind="stable")[:3] for one in answers]
    expected = [float(label in top) for top, label in zip(first, labels, strict=True)]
    assert TopK(3).scores(answers, labels).tolist() == expected


def test_a_single_value_is_the_class_itself() -> None:
    assert TopK(1).scores([np.array([4]), np.array(3)], np.array([4, 4])).tolist() == [1.0, 0.0]
    with pytest.raises(ScoringError, match="there is no top 2"):
        TopK(2).scores([np.array([4])], np.array([4]))


def test_a_single_score_is_no_class() -> None:
    """A probability would be cut to class 0, and half of a balanced set of items be told as right."""
    with pytest.raises(ScoringError, match=r"item 1: the model's answer is the single value 0\.93, which is a score"):
        TopK(1).scores([np.array([1.0], np.float32), np.array([0.93], np.float32)], np.array([1, 1]))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_single_value_that_is_no_number_is_wrong(value: float) -> None:
    assert TopK(1).scores([np.array([value]), np.array([1.0])], np.array([0, 1])).tolist() == [0.0, 1.0]


@pytest.mark.parametrize("answer", [[b"cat"], [b"cat", b"dog", b"cow"]])
def test_texts_are_no_scores(answer: list[bytes]) -> None:
    with pytest.raises(ScoringError, match="item 0: the model's answer is object, and only numbers can be compared"):
        TopK(1).scores([np.array(answer, object)], np.array([0]))


def test_a_top_k_of_all_classes_is_refused() -> None:
    with pytest.raises(ScoringError, match="tells 3 classes apart, so all would be among the top 3"):
        TopK(3).scores(SCORES, np.array([1, 2, 1]))


def test_no_answer_a_nan_and_an_unknown_class_are_wrong() -> None:
    answers = [None, np.array([np.nan, 1.0, 0.0]), np.array([0.0, 1.0, 0.0])]
    assert TopK(1).scores(answers, np.array([0, 1, 7])).tolist() == [0.0, 0.0, 0.0]


@pytest.mark.parametrize(("squared", "expected"), [(False, [0.5, 1.5]), (True, [0.5, np.sqrt((1 + 4) / 2)])])
def test_the_error_of_an_item_is_over_its_values(squared: bool, expected: list[float]) -> None:
    answers = [np.array([1.0, 2.0]), np.array([3.0, 3.0])]
    labels = np.array([[1.5, 2.5], [2.0, 1.0]])
    assert Regression(squared).scores(answers, labels).tolist() == pytest.approx(expected)


def test_without_an_answer_an_error_is_infinite() -> None:
    assert Regression(False).scores([None, np.array([np.nan])], np.array([1.0, 2.0])).tolist() == [np.inf, np.inf]


def test_answers_and_labels_of_different_length_are_told_by_item() -> None:
    with pytest.raises(ScoringError, match="item 1: the model answers 3 values, and its label has 2"):
        Regression(False).scores([np.zeros(2), np.zeros(3)], np.zeros((2, 2)))
    with pytest.raises(ScoringError, match="item 0: the model's answer is object, and only numbers"):
        Cosine().scores([np.array([b"x"], object)], np.zeros((1, 1)))


def test_a_cosine_is_that_of_the_angle() -> None:
    answers = [np.array([2.0, 0.0]), np.array([1.0, 1.0]), np.array([-1.0, 0.0]), np.zeros(2), None]
    labels = np.array([[1.0, 0.0]] * 5)
    assert Cosine().scores(answers, labels).tolist() == pytest.approx([1.0, np.sqrt(0.5), -1.0, 0.0, 0.0])


def test_the_output_is_named_where_there_are_several() -> None:
    outputs = {"A": np.array([[1, 2]]), "B": np.array([[3]])}
    assert compared(outputs, "A").tolist() == [1, 2]
    assert compared({"A": outputs["A"]}, None).tolist() == [1, 2]
    with pytest.raises(ScoringError, match=r"has outputs A, B; name one with `requests\.output`"):
        compared(outputs, None)
    with pytest.raises(ScoringError, match="no output 'C'; it has A, B"):
        compared(outputs, "C")
