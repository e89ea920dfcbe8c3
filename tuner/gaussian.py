"""Optuna's Gaussian process: told of few enough trials to be asked soon, and asked of what may be proposed."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.samplers import GPSampler
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial

from tuner.objective import Objective, evened

Over = Callable[[FrozenTrial], float]
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


def violation_of(trial: FrozenTrial) -> float:
    """Return by how much a trial violates its constraints, in all. Optuna reads them anew each time: ask once."""
    return sum(max(0.0, violation) for violation in trial.constraints.values())


def for_gaussian(
    told: Sequence[FrozenTrial], directions: Sequence[StudyDirection], over: Over = violation_of
) -> list[FrozenTrial]:
    """Return the trials that a Gaussian process is told of, in their order, evened out (see `objective.evened`).

    Of more than MOST_TOLD those are half the best on the first objective, those that violate nothing first, and the
    newest of all others.

    Args:
        told: every complete trial of the study, in the order in which they were told.
        directions: of the objectives, or of the first ones if it is told of these alone.
        over: see `violation_of`.
    """
    kept = _best_and_newest(told, directions[0], over) if len(told) > MOST_TOLD else told
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


def best_of(told: Sequence[FrozenTrial], first: StudyDirection, count: int, over: Over = violation_of) -> list[int]:
    """Return which trials are the best on the first objective, the best first; those that violate nothing come first.

    Args:
        told: complete trials.
        first: direction of that objective.
        count: how many at most.
        over: see `violation_of`.
    """
    sign = -1.0 if first is StudyDirection.MAXIMIZE else 1.0

    def worse(index: int) -> tuple[float, float]:
        return over(told[index]), sign * told[index].values[0]

    return sorted(range(len(told)), key=worse)[:count]


def _best_and_newest(told: Sequence[FrozenTrial], first: StudyDirection, over: Over) -> list[FrozenTrial]:
    best = set(best_of(told, first, MOST_TOLD // 2, over))
    newest = [index for index in range(len(told)) if index not in best][len(best) - MOST_TOLD :]
    return [told[index] for index in sorted(best | set(newest))]
