"""What a study says of the users of a locustfile."""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tuner.load.plan import UsersLoop
from workloads.requests import Dataset

NO_REQUESTS = Dataset({}, batches=np.zeros(0, np.int64))
"""What is known of a locustfile's requests before it runs."""
WAITS = 2
"""Longest waits that a window holds: users that begin at the same time go on together for a while."""
OF_A_ROUND = 1.25
"""A round over its window, and a little more."""


@dataclass(frozen=True)
class Users:
    """A locustfile, and how its users begin.

    Attributes:
        path: of the locustfile.
        spawn_rate: users that begin per second; math.inf: all at once.
        names: of the requests of each class but the last, which has all others; () where there are no classes.
        own_host: whether they keep the host of the locustfile.
        wait_s: the longest that one waits between two tasks, as far as that is known.
        unused: what the locustfile says, or Locust's configuration beside it, that is not done, a line each.
    """

    path: Path
    spawn_rate: float = math.inf
    names: tuple[tuple[str, ...], ...] = ()
    own_host: bool = False
    wait_s: float = 0.0
    unused: tuple[str, ...] = ()

    @property
    def window_s(self) -> float:
        """The shortest window that shows what they do."""
        return WAITS * self.wait_s

    @property
    def round_s(self) -> float:
        """The shortest round of which enough is counted."""
        return OF_A_ROUND * self.window_s

    def warmup_s(self, users: float) -> float:
        """Return how long it takes until all have begun, and have waited once."""
        return users / self.spawn_rate + self.wait_s

    def loop(self, users: int) -> UsersLoop:
        """Return the load of so many."""
        return UsersLoop(users, self.spawn_rate, self.names, own_host=self.own_host)
