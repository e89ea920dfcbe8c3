"""What Optuna's Gaussian process is told of trials: few enough to be asked soon, on scales that it can use."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module

import optuna
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial

from tuner.objective import Objective, evened

MOST_TOLD = 200
"""Trials that it is told of: what a proposal takes grows with the third power of their number."""


def for_gaussian(told: Sequence[FrozenTrial], directions: Sequence[StudyDirection]) -> list[FrozenTrial]:
    """Return the trials that a Gaussian process is told of, in their order, evened out (see `objective.evened`).

    Of more than MOST_TOLD those are half the best on the first objective, those that violate nothing first, and the
    newest of all others.

    Args:
        told: every complete trial of the study, in the order in which they were told.
        directions: of the objectives.
    """
    kept = _best_and_newest(told, directions[0]) if len(told) > MOST_TOLD else told
    as_told = [Objective(tuple(one.values), one.constraints) for one in kept]
    maximize = [one is StudyDirection.MAXIMIZE for one in directions]
    return [
        optuna.create_trial(
            params=one.params, distributions=one.distributions, values=made.values, constraints=dict(made.violations)
        )
        for one, made in zip(kept, evened(as_told, maximize), strict=True)
    ]


@contextmanager
def on_one_thread() -> Iterator[None]:
    """Let PyTorch compute on one thread: more of them wait for each other where they share the tuner's core.

    It takes as many as the host has cores, and the tuner is mostly pinned to one of them.
    """
    torch = import_module("torch")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _best_and_newest(told: Sequence[FrozenTrial], first: StudyDirection) -> list[FrozenTrial]:
    sign = -1.0 if first is StudyDirection.MAXIMIZE else 1.0

    def worse(index: int) -> tuple[float, float]:
        over = sum(max(0.0, violation) for violation in told[index].constraints.values())
        return over, sign * told[index].values[0]

    best = set(sorted(range(len(told)), key=worse)[: MOST_TOLD // 2])
    newest = [index for index in range(len(told)) if index not in best][len(best) - MOST_TOLD :]
    return [told[index] for index in sorted(best | set(newest))]
