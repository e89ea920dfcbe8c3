"""What it costs to change each knob, learnt from the trials of a run. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median

from targets.base import Config
from tuner.results import Trial
from tuner.space import LOAD_NAMES

TIMED = 1000
"""Trials that say what the next one takes; of more the newest."""
FIRST_S = 1.0
"""A guess while nothing was applied."""


@dataclass(frozen=True)
class ApplyCosts:
    """Seconds that a change takes, by knob.

    Attributes:
        knobs: knob -> seconds; of a knob that was never changed there is none.
        other_s: of a knob that was never changed.
    """

    knobs: Mapping[str, float] = field(default_factory=dict)
    other_s: float = FIRST_S

    def of(self, before: Config, after: Config) -> float:
        """Return what a change takes in seconds: as long as the dearest knob that differs, 0 where none does."""
        return max((self.knobs.get(name, self.other_s) for name in changed(before, after)), default=0.0)


def changed(before: Config, after: Config) -> list[str]:
    """Return the server's knobs that differ between two configurations."""
    either = before if before.keys() == after.keys() else (*before, *(name for name in after if name not in before))
    return [name for name in either if before.get(name) != after.get(name) and name not in LOAD_NAMES]


def learn_costs(trials: Sequence[Trial]) -> ApplyCosts:
    """Return what each knob's change took.

    What is changed together is applied together, so a change costs what its dearest knob costs. A knob's cost is the
    median over the trials that changed it along with the fewest others: an upper bound where it never changed alone.

    Args:
        trials: in the order in which they were applied. Those that were refused or ended a server say nothing.
    """
    changes = changes_of(trials)
    return ApplyCosts(cost_of_each(changes), median(seconds for _, seconds in changes) if changes else FIRST_S)


def changes_of(trials: Sequence[Trial]) -> list[tuple[list[str], float]]:
    """Return the knobs that were changed from each trial to the next, and what that took in seconds.

    Args:
        trials: in the order in which they were applied. Those that were refused or ended a server say nothing.
    """
    found: list[tuple[list[str], float]] = []
    before: Config | None = None
    for trial in trials:
        if trial.state in ("refused", "crashed", "hung"):
            before = None
            continue
        names = [] if before is None else changed(before, trial.config)
        if names:
            found.append((names, trial.apply_s))
        before = trial.config
    return found


def cost_of_each(changes: Sequence[tuple[Sequence[str], float]]) -> dict[str, float]:
    """Return what each knob's change took in seconds, by the changes that were made."""
    found = {}
    for name in dict.fromkeys(name for names, _ in changes for name in names):
        mine = [(len(names), seconds) for names, seconds in changes if name in names]
        fewest = min(count for count, _ in mine)
        found[name] = median(seconds for count, seconds in mine if count == fewest)
    return found
