"""Optuna's Gaussian process: told of few enough trials to be asked soon, and asked of what may be proposed."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.samplers import GPSampler
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial

from tuner.asking import Ranked, best_and_newest
from tuner.objective import Objective, evened

MOST_TOLD = 50
"""Trials that it is told of: what a proposal takes grows with the third power of their number."""
FIT_EVERY = 10
"""Trials after which kernels are fitted from nothing; between, from what fitted then: that takes half the steps."""


class Gaussian(GPSampler):
    """Optuna's, that takes the best of a list instead of climbing from some random places.

    A climb of one parameter after the other asks hundreds of times for a few configurations; a list is asked for at
    once, ends at no local optimum, and has nothing in it that was tried or that constraints leave out.

    Args:
        choices: parameter -> index or name, of each configuration that may be proposed; []: it climbs as Optuna does.
        seed: of the proposal.
        startup: trials before it proposes; till then it draws at random.
        fitted: one that was asked with fewer trials and the same parameters, objectives and constraints; the fit of the
            kernels begins with its kernels.
    """

    def __init__(
        self,
        choices: Sequence[Mapping[str, int | str]],
        seed: int,
        startup: int,
        fitted: "Gaussian | None" = None,
    ) -> None:
        super().__init__(seed=seed, n_startup_trials=startup)
        self._choices = choices
        if fitted is not None:  # where Optuna keeps the kernels of the last proposal; see its GPSampler
            self._gprs_cache_list = fitted._gprs_cache_list
            self._constraints_gprs_cache_list = fitted._constraints_gprs_cache_list

    def _optimize_acqf(self, acqf: Any, best_params: NDArray[np.float64] | None) -> NDArray[np.float64]:
        """Return the parameters at which the acquisition is largest; Optuna lets this be another way to find it.

        Args:
            acqf: the acquisition function.
            best_params: of the front so far.
        """
        if not self._choices:
            found: NDArray[np.float64] = super()._optimize_acqf(acqf, best_params)
            return found
        places: NDArray[np.float64] = acqf.search_space.get_normalized_params(self._choices, self._choices)
        best: NDArray[np.float64] = places[int(np.argmax(acqf.eval_acqf_no_grad(places)))]
        return best


def for_gaussian(
    told: Sequence[FrozenTrial], directions: Sequence[StudyDirection], ranked: Ranked | None = None
) -> list[FrozenTrial]:
    """Return the trials that a Gaussian process is told of, in their order, evened out (see `objective.evened`).

    Of more than MOST_TOLD those are half the best on the first objective, those that violate nothing first, and the
    newest of all others.

    Args:
        told: every complete trial of the study, in the order in which they were told.
        directions: of the objectives, or of the first ones if it is told of these alone.
        ranked: them on the first objective.
    """
    ranked = ranked or Ranked(directions[0])
    kept = [told[index] for index in best_and_newest(told, [ranked], MOST_TOLD)]
    as_told = [Objective(tuple(one.values[: len(directions)]), one.constraints) for one in kept]
    maximize = [one is StudyDirection.MAXIMIZE for one in directions]
    return [
        optuna.create_trial(
            params=one.params, distributions=one.distributions, values=made.values, constraints=dict(made.violations)
        )
        for one, made in zip(kept, evened(as_told, maximize), strict=True)
    ]


@contextmanager
def on_one_thread() -> Iterator[None]:
    """Let PyTorch, and the BLAS of NumPy and SciPy, compute on one thread each.

    They take as many as the host has cores, and the tuner is mostly pinned to one of them: more threads wait for each
    other there, and it is hundreds of small steps that do.
    """
    torch, pools = import_module("torch"), import_module("threadpoolctl")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with pools.threadpool_limits(limits=1):
            yield
    finally:
        torch.set_num_threads(before)
