"""How much faster do four hosts finish a study than one, and is anything lost or measured twice when hosts are killed?

Hosts are processes of this machine with a simulated server each, a PostgreSQL is between them. Their trials wait for
most of their time, so two cores are enough for four of them. In the last part hosts are killed at random moments, and
others take their place.

    python benchmarks/workers.py [--rounds KILLS] [--json PATH] [--docs]
"""

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

import options  # noqa: E402
from tables import PAGE, markdown, write_section  # noqa: E402

from tests.support.hosts import Hosts, hosts, watched  # noqa: E402
from tests.support.postgres import PASSWORD, Postgres, postgres  # noqa: E402
from tests.support.simulated_study import write_simulated_study  # noqa: E402
from tuner.hosts.entries import Book  # noqa: E402

KILLS = 20
TRIALS = 60
TRIALS_OF_KILLS = 80
HOSTS = 4
MOST_SHARE = 0.35
WAITING = {
    "space.max_batch_size": "{low: 1, high: 16}",
    "space.instances": "{low: 1, high: 8}",
    "space.concurrency": "[2]",
    "slo.p99": "9 s",
    "telemetry.period": "1 s",
}
LONG = {"measure.warmup": "1 s", "measure.max_warmup": "1 s", "measure.window": "5 s", "measure.max_window": "5 s"}
SHORT = {"measure.warmup": "0.3 s", "measure.max_warmup": "0.3 s", "measure.window": "1 s", "measure.max_window": "1 s"}
SLOW = {"max_batch_size": 1, "max_queue_delay_us": 0, "instances": 1, "fixed_ms": 40.0, "each_ms": 1.0}


@dataclass(frozen=True)
class Row:
    """What some hosts did: seconds until all trials were told, and until the report; what became of proposals."""

    hosts: int
    kills: int
    trials: int
    told_s: float
    whole_s: float
    lost: int
    doubled: int


def main() -> int:
    """Return 1 when a bar is missed."""
    os.environ["TUNE_PASSWORD"] = PASSWORD
    given = options.parse(__doc__, KILLS, "hosts that are killed", "docs/hosts.md")
    with postgres() as server:
        one = measured(server, "one", 1, 0, TRIALS, LONG)
        print(one, flush=True)
        four = measured(server, "four", HOSTS, 0, TRIALS, LONG)
        print(four, flush=True)
        killed = measured(server, "killed", HOSTS, given.rounds, TRIALS_OF_KILLS, SHORT)
        print(killed, flush=True)
    rows = [one, four, killed]
    share = four.whole_s / one.whole_s
    fast = share <= MOST_SHARE
    whole = not any(row.lost or row.doubled for row in rows) and killed.kills == given.rounds
    said = (
        f"Four hosts took {share:.2f} of the time of one from the start to the report (asked: at most {MOST_SHARE:g})."
    )
    print(said)
    if given.json:
        given.json.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")
    if given.docs:
        columns = ("hosts", "killed", "trials", "all told after", "report after", "lost", "measured twice")
        lines = [
            [row.hosts, row.kills, row.trials, f"{row.told_s:.0f} s", f"{row.whole_s:.0f} s", row.lost, row.doubled]
            for row in rows
        ]
        write_section("workers", f"{markdown(columns, lines)}\n\n{said}", PAGE.with_name("hosts.md"))
    print("met" if fast and whole else "missed")
    return 0 if fast and whole else 1


def measured(server: Postgres, run: str, count: int, kills: int, trials: int, windows: dict[str, str]) -> Row:
    """Let hosts finish a study; kill some of them on the way."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        study = write_simulated_study(folder, trials)
        (folder / "models" / "queue" / "queue.json").write_text(json.dumps(SLOW))
        changed = [f"{place}={value}" for place, value in {**WAITING, **windows, "search.budget.time": "1 h"}.items()]
        sets = [word for one in changed for word in ("--set", one)]
        arguments = [study.name, "--storage", server.url, "--run", run, "--lease", "5 s", "--quiet", *sets]
        with (
            watched(server.url, f"queue@{run}") as book,
            hosts(folder, *arguments, TUNE_PASSWORD=PASSWORD) as running,
        ):
            began = time.monotonic()
            for _ in range(count):
                running.start()
            done = _kill(running, book, kills) if kills else 0
            running.until(lambda: len(book().told) >= trials, 900)
            told_s = time.monotonic() - began
            ended = running.wait(600)
            whole_s = time.monotonic() - began
            kept = book()
    bad = [one for one in ended if one[1] not in (0, 5)]
    assert not bad, bad
    keys = [kept.entries[number].key for number in kept.told]
    made = {one.key for one in kept.entries.values() if one.kind == "proposal" and not one.withdrawn}
    return Row(count, done, trials, told_s, whole_s, len(made - set(keys)), len(keys) - len(set(keys)))


def _kill(running: Hosts, book: Callable[[], Book], kills: int) -> int:
    """Kill hosts from the first trial on, until so many were."""
    running.until(lambda: len(book().told) > 0, 300)
    return running.survive(kills, (0.5, 5.0), Random(0))  # noqa: S311 - no secret


if __name__ == "__main__":
    sys.exit(main())
