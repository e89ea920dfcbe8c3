"""How long before its start a plan is handed to the load generator: long enough to be ready, and hardly longer."""

from collections.abc import Sequence

from tuner.results import Load

FIRST_NS = 30_000_000
CONNECTION_NS = 100_000
LEAST, MOST = 0.2, 2.0
"""Shares of the usual lead that may be given."""
MARGIN = 2.0
"""How many times what was needed is given."""
FORGET = 0.8
"""A lead becomes shorter by this factor at most from one plan to the next: now and then one needs more than others."""


class Lead:
    """The lead of the next plan.

    The usual one is FIRST_NS and CONNECTION_NS for each connection that a closed loop opens. The generator says how
    much of it was left when it was ready; the next plan of the same instruments gets MARGIN times what was needed.
    """

    def __init__(self) -> None:
        self._share = 1.0

    def ns(self, loads: Sequence[Load]) -> int:
        """Return the lead of loads that start at the same time, in ns."""
        return round(self._share * sum(map(_usual_ns, loads)))

    def learn(self, loads: Sequence[Load], spare_s: float) -> None:
        """Take in how far the last lead sufficed.

        Args:
            loads: that were given it.
            spare_s: how much of it was left when all generators were ready, in seconds; 0.0 or less: it was too short.
        """
        needed = self._share - spare_s * 1e9 / sum(map(_usual_ns, loads))
        wanted = MARGIN * needed if spare_s > 0 else MARGIN * self._share
        self._share = min(MOST, max(LEAST, wanted, FORGET * self._share))


def _usual_ns(load: Load) -> int:
    return FIRST_NS + (round(load.level) * CONNECTION_NS if load.mode == "closed" else 0)
