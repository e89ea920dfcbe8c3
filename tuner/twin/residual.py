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
MOST = 100
"""Measurements that are used; of more the newest."""
TELLING = 60
"""Measurements that say how probable each triple is; of more the newest."""


@dataclass(frozen=True)
class Process:
    """The Gaussian process under one height and length of its kernel.

    Attributes:
        places: of the measurements, shape [n, dimensions].
        weights: K^-1 y, shape [n].
        root: L^-1 of K = L L', shape [n, n]; with the noise on K's diagonal inverting it loses nothing that counts.
        height, length: of the kernel.
    """

    places: Floats
    weights: Floats
    root: Floats
    height: float
    length: float

    def at(self, alike: Floats) -> tuple[Floats, Floats]:
        """Return mean and variance of ln(true / predicted) at m places.

        Args:
            alike: how alike these and the measurements are under the kernel's length, shape [m, n].
        """
        prior = np.full(len(alike), COMMON**2 + self.height**2)
        if not len(self.places):
            return np.zeros(len(alike)), prior
        cross = _kernel(alike, self.height)
        explained = np.sum((cross @ self.root.T) ** 2, axis=1)
        return cross @ self.weights, np.maximum(prior - explained, 1e-6)


@dataclass(frozen=True)
class Residual:
    """What was learnt: processes, and how probable each is after the measurements."""

    processes: Sequence[tuple[float, Process]]

    def at(self, places: Floats) -> tuple[Floats, Floats]:
        """Return mean and standard deviation of ln(true / predicted) at places of shape [m, dimensions]."""
        lengths = {process.length: process.places for _, process in self.processes}  # the measurements are the same
        alike = {length: _alike(places, measured, length) for length, measured in lengths.items()}
        found = [(share, *process.at(alike[process.length])) for share, process in self.processes]
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
    logs = _plausibilities(places[-TELLING:], errors[-TELLING:], noise[-TELLING:], np.array(settings))
    weights = np.exp(logs - logs.max())
    kept = np.flatnonzero(weights >= NEGLIGIBLE)
    shares = weights[kept] / weights[kept].sum()
    return Residual(
        [
            (float(share), _process(places, errors, noise, *settings[index]))
            for share, index in zip(shares, kept, strict=True)
        ]
    )


def _plausibilities(places: Floats, errors: Floats, noise: Floats, settings: Floats) -> Floats:
    """Return log marginal likelihood plus log prior of triples [triples, 3], each up to the same constant."""
    heights, lengths, further = settings.T
    priors = -heights / USUAL_HEIGHT - further / USUAL_NOISE
    if not len(errors):
        return np.asarray(priors)
    known, which = np.unique(lengths, return_inverse=True)
    alike = np.stack([_alike(places, places, length) for length in known])[which]
    covariances = COMMON**2 + heights[:, None, None] ** 2 * alike
    covariances += np.eye(len(errors)) * (noise**2 + further[:, None] ** 2)[:, None, :]
    lower = np.linalg.cholesky(covariances)
    whitened = _solved(lower, np.broadcast_to(errors[:, None], (len(settings), len(errors), 1)))
    halves = np.log(np.diagonal(lower, axis1=1, axis2=2)).sum(axis=1)
    return np.asarray(priors - 0.5 * np.sum(whitened**2, axis=(1, 2)) - halves)


def _process(places: Floats, errors: Floats, noise: Floats, height: float, length: float, further: float) -> Process:
    if not len(errors):
        return Process(places, errors, np.empty((0, 0)), height, length)
    covariance = _kernel(_alike(places, places, length), height) + np.diag(noise**2 + further**2)
    root = _solved(np.linalg.cholesky(covariance), np.eye(len(errors)))
    return Process(places, root.T @ (root @ errors), root, height, length)


def _solved(lower: Floats, right: Floats) -> Floats:
    """Solve lower @ x = right for triangular matrices of shape [..., n, n], by forward substitution.

    LAPACK would take threads for matrices of this size, and on a busy host they wait for each other longer than this
    takes.
    """
    found = np.zeros(right.shape)
    for row in range(right.shape[-2]):
        rest = right[..., row, :] - np.squeeze(lower[..., row, None, :row] @ found[..., :row, :], axis=-2)
        found[..., row, :] = rest / lower[..., row, row, None]
    return found


def _kernel(alike: Floats, height: float) -> Floats:
    return np.asarray(COMMON**2 + height**2 * alike)


def _alike(one: Floats, other: Floats, length: float) -> Floats:
    """Return how alike places of shape [n, dimensions] and [m, dimensions] are, shape [n, m], from 0 to 1."""
    squares = np.sum(one**2, axis=1)[:, None] + np.sum(other**2, axis=1)[None, :] - 2 * one @ other.T
    return np.asarray(np.exp(np.maximum(squares, 0.0) / (-2 * length**2)))
