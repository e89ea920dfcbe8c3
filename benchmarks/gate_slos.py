"""How often does a gate call an SLO missed, or met, that is not?

The servers in virtual time of gate.py, held against a p99 SLO: a first-come-first-served queue under an open loop, with
a luck of its own for every deployment, looked at as a gate looks. The bound is put where half as many requests as are
allowed, just as many, or twice as many take longer.

    python benchmarks/gate_slos.py [--rounds N] [--json PATH] [--docs]
"""

import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import options
from gate import (
    CALIBRATION_RUNS,
    CAP_S,
    CASES,
    COLD_S,
    CONFIDENCE,
    MOST_FALSE_ALARMS,
    ROUND_S,
    ROUNDS,
    RUNS,
    Case,
    rounds,
)
from tables import markdown, write_section

from tuner.gate import intervals, slos
from tuner.gate.deciding import Look
from tuner.stats import Ordered

ALLOWED = 0.01
TRUTHS = {"half of what is allowed": 0.005, "exactly what is allowed": ALLOWED, "twice what is allowed": 0.02}


@dataclass(frozen=True)
class Found:
    """What the gate said of a bound again and again."""

    case: str
    truth: str
    runs: int
    missed: int
    met: int


def latencies(case: Case, runs: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Return the latencies of a deployment in each of so many gates."""
    every = np.concatenate(rounds(case, (1.0, 1.0), runs, rng)[1], axis=1)
    return [one[~np.isnan(one)] for one in every]


def verdicts(case: Case, bound: float, runs: int, rng: np.random.Generator) -> tuple[int, int]:
    """Return how many of so many gates called the bound missed, and how many met."""
    planned = intervals.looks(3, int(CAP_S / (2 * (ROUNDS * ROUND_S + COLD_S))))
    gathered: list[list[np.ndarray]] = [[] for _ in range(runs)]
    told = {"missed": 0, "met": 0, "undecided": 0}
    for index, count in enumerate(planned):
        while len(gathered[0]) < count:
            for deployments, one in zip(gathered, latencies(case, len(gathered), rng), strict=True):
                deployments.append(one)
        look = Look(1 - CONFIDENCE, planned, index, 1)
        left = []
        for deployments in gathered:
            over = [(int(np.count_nonzero(one > bound)), len(one)) for one in deployments]
            evidence = slos.of_shares(Ordered.of(np.concatenate(deployments)), bound, over)
            said = slos.judged("p99", bound, evidence, look)
            told[said] += said != "undecided"
            if said == "undecided":
                left.append(deployments)
        gathered = left
        if not gathered:
            break
    return told["missed"], told["met"]


def main() -> int:
    """Return 1 when there are more wrong verdicts than allowed; how many are right is told, and has no bar."""
    given = options.parse(__doc__, RUNS, "gates of each row", "docs/gate.md")
    found, met = [], True
    most = MOST_FALSE_ALARMS * given.rounds / RUNS
    for case in CASES[1:]:
        every = np.concatenate(latencies(case, CALIBRATION_RUNS, np.random.default_rng(7)))
        for number, (truth, share) in enumerate(TRUTHS.items()):
            bound = float(np.quantile(every, 1 - share))
            missed, kept = verdicts(case, bound, given.rounds, np.random.default_rng([number, 3]))
            found.append(Found(case.name.partition(", ")[2], truth, given.rounds, missed, kept))
            met &= (share > ALLOWED or missed <= most) and (share < ALLOWED or kept <= most)
            print(found[-1], flush=True)
    if given.json:
        given.json.write_text(json.dumps({"found": [asdict(one) for one in found], "met": met}, indent=1) + "\n")
    rows = [[one.case, one.truth, f"{one.missed} of {one.runs}", f"{one.met} of {one.runs}"] for one in found]
    body = markdown(["load", "requests over the bound of the p99", "missed", "met"], rows)
    print(body)
    if given.docs:
        write_section("gate_slos", body, Path(__file__).parent.parent / "docs" / "gate.md")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
