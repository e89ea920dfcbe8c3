"""Wait for a storage that does not answer: a database that restarts loses nothing that was told."""

import time
from collections.abc import Callable
from typing import TypeVar

from tuner.storage import StorageAway, StorageError, kept

T = TypeVar("T")
PAUSE_S = 0.5
LONGEST_PAUSE_S = 10.0
SAID_EVERY_S = 30.0


class Patience:
    """Does things with a storage again until they are done.

    Args:
        longest_s: how long a storage may stay away.
        say: told when it is away, and when it is back.
        missed: called after each attempt that failed: what was watched meanwhile was not seen.
    """

    def __init__(self, longest_s: float, say: Callable[[str], None], missed: Callable[[], None] = lambda: None) -> None:
        self._longest_s, self._say, self.missed = longest_s, say, missed

    def __call__(self, action: Callable[[], T]) -> T:
        """Do something that may be done twice, and return what it returns.

        Raises:
            StorageError: the storage cannot be used, or stayed away for too long.
        """
        began = time.monotonic()
        said_at, pause_s = -SAID_EVERY_S, PAUSE_S
        while True:
            try:
                with kept():
                    found = action()
            except (StorageAway, OSError) as error:
                self.missed()
                away_s = time.monotonic() - began
                if away_s > self._longest_s:
                    raise StorageError(f"{error}; it stayed away for {away_s:.0f} s") from None
                if away_s - said_at >= SAID_EVERY_S:
                    said_at = away_s
                    self._say(
                        f"the storage does not answer, trying again for {self._longest_s - away_s:.0f} s: {error}"
                    )
                time.sleep(min(pause_s, max(0.0, self._longest_s - away_s) + 0.01))
                pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
                continue
            if said_at >= 0:
                self._say("the storage answers again")
            return found
