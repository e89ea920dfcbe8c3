"""Which sampler a study is searched with, where it leaves that open. Pure."""

from dataclasses import dataclass

from tuner.space import Space
from tuner.study.spec import SearchSpec
from tuner.units import format_duration


@dataclass(frozen=True)
class Choice:
    """Which sampler is taken, and why."""

    sampler: str
    reason: str


def choose_sampler(asked: SearchSpec, space: Space, no_twin: str, trial_s: float, left_s: float) -> Choice:
    """Return the sampler that a study is searched with.

    `auto` is the twin where it can be had, which measures least. Without one it is the grid where trials and time are
    enough for everything: no other sampler is sure to have seen the best. Else it is TPE.

    Args:
        asked: how the study wants to be searched.
        space: what may be proposed.
        no_twin: why the server cannot be simulated; "" where it can.
        trial_s: what a trial takes, as far as that is known, in seconds.
        left_s: time for trials, in seconds.
    """
    if asked.sampler != "auto":
        return Choice(asked.sampler, "as the study says")
    trials, size = asked.budget.trials, space.size
    few = f"{trials} trials for {size} configurations"
    if not no_twin:
        return Choice("twin", f"the server can be simulated; {few}")
    if size > trials:
        return Choice("tpe", f"{few}; no twin: {no_twin}")
    all_s, left = format_duration(size * trial_s), format_duration(max(left_s, 0.0))
    if size * trial_s > left_s:
        return Choice("tpe", f"all {size} configurations take about {all_s}, and {left} are left; no twin: {no_twin}")
    return Choice("grid", f"{trials} trials and {left} are enough for all {size} configurations; no twin: {no_twin}")
