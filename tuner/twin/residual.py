"""Where a prediction is wrong, learnt from what was measured: a Gaussian process on log ratios. Pure.

The prior of ln(measured / predicted) is normal with mean 0: a constant error common to all (sd COMMON), plus one that
is alike where configurations are alike (squared exponential kernel). The kernel's height and length, and how much noise
measurements have beyond their own intervals, are not known: each triple of a small grid counts by how probable it makes
what was measured (its marginal likelihood: Rasmussen and Williams, Gaussian Processes for Machine Learning, 2006,
section 5.2). Taking the most probable one alone would be too sure.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve

Floats = NDArray[np.float64]
COMMON = 0.5
HEIGHTS = (0.05, 0.1, 0.2, 0.4, 0.8)
LENGTHS = (0.25, 0.5, 1.0)
NOISES = (0.0, 0.1, 0.2, 0.4)
"""Standard deviations of what measurements have in noise beyond their intervals: a machine that changes its speed."""
UNLEARNT = (0.4, 0.5, 0.1)
"""Height, length and further noise while there are too few measurements to learn them."""
FEW = 4
USUAL_HEIGHT, USUAL_NOISE = 0.4, 0.1
"""Heights and further noise are thought to be about so large before anything was measured (exponential priors)."""
NEGLIGIBLE = 0.02
"""A triple that is so much less probable than the most probable one is left out."""
MOST = 200
"""Measurements that are used; of more the newest."""
TELLING = 60
"""Measurements that say how probable each triple is; of more the newest."""


@dataclass(frozen=True)
class Process:
    """The Gaussian process under one height and length of its kernel.

    Attributes:
        places: of the measurements, shape [n, dimensions].
        weights: K^-1 y, shape [n].
        inverse: K^-1, shape [n, n]; K has the noise on its diagonal, so that inverting it loses nothing that counts.
        height, length: of the kernel.
    """

    places: Floats
    weights: Floats
    inverse: Floats
    height: float
    length: float

    def at(self, places: Floats) -> tuple[Floats, Floats]:
        """Return mean and variance of ln(true / predicted) at places of shape [m, dimensions]."""
        prior = np.full(len(places), COMMON**2 + self.height**2)
        if not len(self.places):
            return np.zeros(len(places)), prior
        cross = _kernel(places, self.places, self.height, self.length)
        explained = np.einsum("ij,ij->i", cross @ self.inverse, cross)
        return cross @ self.weights, np.maximum(prior - explained, 1e-6)


@dataclass(frozen=True)
class Residual:
    """What was learnt: processes, and how probable each is after the measurements."""

    processes: Sequence[tuple[float, Process]]

    def at(self, places: Floats) -> tuple[Floats, Floats]:
        """Return mean and standard deviation of ln(true / predicted) at places of shape [m, dimensions]."""
        found = [(share, *process.at(places)) for share, process in self.processes]
        mean = sum((share * own for share, own, _ in found), np.zeros(len(places)))
        square = sum((share * (variance + own**2) for share, own, variance in found), np.zeros(len(places)))
        return mean, np.sqrt(np.maximum(square - mean**2, 1e-6))


def learn(places: Floats, errors: Floats, noise: Floats) -> Residual:
    """Learn from measurements.

    Args:
        places: where, shape [n, dimensions], each dimension from 0 to 1.
        errors: ln(measured / predicted), shape [n].
        noise: standard deviation of each error from the measurement alone, above 0, shape [n].
    """
    places, errors, noise = places[-MOST:], errors[-MOST:], noise[-MOST:]
    settings = list(itertools.product(HEIGHTS, LENGTHS, NOISES)) if len(errors) >= FEW else [UNLEARNT]
    newest = places[-TELLING:], errors[-TELLING:], noise[-TELLING:]
    logs = np.array([_plausibility(*newest, *setting) for setting in settings])
    weights = np.exp(logs - logs.max())
    kept = np.flatnonzero(weights >= NEGLIGIBLE)
    shares = weights[kept] / weights[kept].sum()
    return Residual(
        [
            (float(share), _process(places, errors, noise, *settings[index]))
            for share, index in zip(shares, kept, strict=True)
        ]
    )


def _plausibility(places: Floats, errors: Floats, noise: Floats, height: float, length: float, further: float) -> float:
    """Return log marginal likelihood plus log prior of a triple, up to a constant."""
    prior = -height / USUAL_HEIGHT - further / USUAL_NOISE
    if not len(errors):
        return prior
    factor = _factor(places, noise, height, length, further)
    weights = cho_solve(factor, errors)
    return prior - 0.5 * float(errors @ weights) - float(np.log(np.diag(factor[0])).sum())


def _process(places: Floats, errors: Floats, noise: Floats, height: float, length: float, further: float) -> Process:
    if not len(errors):
        return Process(places, errors, np.empty((0, 0)), height, length)
    inverse = cho_solve(_factor(places, noise, height, length, further), np.eye(len(errors)))
    return Process(places, inverse @ errors, inverse, height, length)


def _factor(places: Floats, noise: Floats, height: float, length: float, further: float) -> tuple[Floats, bool]:
    """Return the Cholesky factor of the measurements' covariance, with scipy's flag."""
    covariance = _kernel(places, places, height, length) + np.diag(noise**2 + further**2)
    found: tuple[Floats, bool] = cho_factor(covariance, lower=True)
    return found


def _kernel(one: Floats, other: Floats, height: float, length: float) -> Floats:
    squares = np.sum(one**2, axis=1)[:, None] + np.sum(other**2, axis=1)[None, :] - 2 * one @ other.T
    distances = np.maximum(squares, 0.0)
    return np.asarray(COMMON**2 + height**2 * np.exp(-distances / (2 * length**2)))
