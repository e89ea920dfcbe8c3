"""What is learnt of a prediction's errors, and how sure it is."""

import numpy as np
import pytest

from tuner.twin.residual import COMMON, learn


def line(*values: float) -> np.ndarray:
    return np.array(values)[:, None]


def test_without_measurements_the_prediction_stands_and_is_unsure() -> None:
    mean, spread = learn(np.empty((0, 2)), np.empty(0), np.empty(0)).at(np.zeros((3, 2)))
    assert mean == pytest.approx([0, 0, 0])
    assert (spread > COMMON).all()


def test_an_error_that_is_everywhere_the_same_is_taken_out_everywhere() -> None:
    places = np.random.default_rng(0).random((12, 2))
    mean, spread = learn(places, np.full(12, 0.4), np.full(12, 0.05)).at(np.array([[0.5, 0.5], [3.0, 3.0]]))
    assert mean == pytest.approx([0.4, 0.4], abs=0.05)
    assert (spread < 0.15).all()


def test_near_a_measurement_it_is_surer_than_far_from_all() -> None:
    places = line(0.0, 0.1, 0.2, 0.3, 0.4)
    errors = np.array([0.0, 0.4, 0.6, 0.6, 0.4])
    _, spread = learn(places, errors, np.full(5, 0.03)).at(line(0.1, 3.0))
    assert spread[0] < spread[1] / 2


def test_what_was_measured_with_much_noise_counts_little() -> None:
    places = line(0.5, 0.5)
    mean, _ = learn(places, np.array([0.3, -0.3]), np.array([0.02, 1.0])).at(line(0.5))
    assert mean[0] > 0.2


def test_its_intervals_hold_the_true_error_as_often_as_they_say() -> None:
    """40 draws from the prior, 50 places each: about 95% of the true errors lie within 1.96 standard deviations."""
    rng, inside = np.random.default_rng(1), []
    for _ in range(40):
        places = rng.random((62, 2))
        squares = ((places[:, None] - places[None]) ** 2).sum(axis=2)
        covariance = COMMON**2 + 0.4**2 * np.exp(-squares / (2 * 0.5**2)) + 1e-9 * np.eye(62)
        true = np.linalg.cholesky(covariance) @ rng.standard_normal(62)
        errors = true[:12] + rng.normal(0, 0.05, 12)
        mean, spread = learn(places[:12], errors, np.full(12, 0.05)).at(places[12:])
        inside.append(np.abs(true[12:] - mean) < 1.96 * spread)
    assert 0.88 < np.mean(inside) < 0.99
