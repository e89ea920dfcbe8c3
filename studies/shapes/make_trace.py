"""Make trace.csv: an evening of sessions, each of some requests of one user. Run it in this folder.

Sessions begin as a Poisson process whose rate falls by half over the evening; a session has a geometric number of
requests, 4 on average, with exponential pauses of 20 s between them.
"""

from pathlib import Path

import numpy as np

SEED, SESSIONS, EVENING_S, REQUESTS, PAUSE_S = 11, 150, 3600.0, 4, 20.0


def main() -> None:
    rng = np.random.default_rng(SEED)
    share = rng.random(SESSIONS)
    begins_s = EVENING_S * (2 - np.sqrt(4 - 3 * share))  # the inverse of a rate that falls in a line from 2 to 1
    counts = rng.geometric(1 / REQUESTS, SESSIONS)
    times_s = np.sort(
        np.concatenate(
            [begin + np.cumsum(rng.exponential(PAUSE_S, count)) for begin, count in zip(begins_s, counts, strict=True)]
        )
    )
    lines = ["timestamp", *(f"{time_s:.3f}" for time_s in times_s - times_s[0])]
    Path(__file__).with_name("trace.csv").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
