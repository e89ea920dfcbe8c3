"""How often does the gate raise a false alarm, and how often does it find a real harm?

Servers in virtual time: a first-come-first-served queue whose service times are log-normal, on a machine that drifts
from round to round, with a luck of its own for every deployment. Both sides are measured as the gate measures them:
short rounds in turn, the same arrivals for both, deployed anew again and again, looked at as the gate looks. Asked is
one rule: throughput of a closed loop at saturation, p99 of an open loop at 50% and at 80% load.

    python benchmarks/gate.py [--rounds N] [--json PATH] [--docs]
"""

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import options
from numpy.typing import NDArray
from tables import markdown, write_section

from tuner.gate import intervals
from tuner.gate.deciding import Look

RUNS = 2_000
MOST_FALSE_ALARMS = 31
"""Of 2,000 runs at a nominal 1%: a binomial distribution has more in 1% of the cases."""
LEAST_POWER = 0.95
CONFIDENCE = 0.99
ROUND_S, DROPPED, ROUNDS, COLD_S, CAP_S = 0.1, 0.2, 20, 0.3, 120.0
SERVICE_S, SERVICE_CV = 0.0005, 0.1
DEPLOYMENT_SD, DRIFT_SD = 0.005, 0.02
CALIBRATION_RUNS, CALIBRATIONS = 4_000, 8

Figures = NDArray[np.float64]


@dataclass(frozen=True)
class Case:
    """A rule under a load.

    Attributes:
        name: of the row.
        load: share of the capacity that is offered; None: a closed loop at saturation.
        limit: of the rule, a share.
    """

    name: str
    load: float | None
    limit: float

    @property
    def falls(self) -> bool:
        """Whether the figure gets worse as it falls."""
        return self.load is None


@dataclass(frozen=True)
class Found:
    """What the gate said of many pairs, where services of the new side take longer by a share."""

    rule: str
    truth: str
    longer: float
    runs: int
    failed: int
    passed: int
    seconds: float


CASES = (
    Case("throughput -5%, closed loop at saturation", None, 0.05),
    Case("p99 +10%, open loop at 50%", 0.5, 0.10),
    Case("p99 +10%, open loop at 80%", 0.8, 0.10),
)


def deployment(case: Case, factors: tuple[float, float], runs: int, rng: np.random.Generator) -> tuple[Figures, ...]:
    """Return the figure of old and new in one redeployment, each of shape [runs].

    Args:
        case: the load.
        factors: how much longer a service takes on each side.
        runs: independent gates.
        rng: of everything.
    """
    measured = rounds(case, factors, runs, rng)
    if case.load is None:
        return tuple(np.mean(one, axis=0) for one in measured)
    return tuple(np.nanquantile(np.concatenate(one, axis=1), 0.99, axis=1) for one in measured)


def rounds(
    case: Case, factors: tuple[float, float], runs: int, rng: np.random.Generator
) -> tuple[list[Figures], list[Figures]]:
    """Return what each round of a redeployment gives, of old and new; see `deployment`.

    Returns:
        Of each side for each round: the throughput, shape [runs], or the latencies, shape [runs, requests], nan of
        requests that are not counted.
    """
    luck = np.exp(rng.normal(0, DEPLOYMENT_SD, (2, runs, 1)))
    spread = np.sqrt(np.log1p(SERVICE_CV**2))
    measured: tuple[list[Figures], list[Figures]] = ([], [])
    speed = rng.normal(0, DRIFT_SD, (runs, 1))
    rate = 1 / SERVICE_S if case.load is None else case.load / SERVICE_S
    count = int(rate * ROUND_S * 1.3) + 30
    for number in range(ROUNDS):
        arrivals = np.cumsum(rng.exponential(1 / rate, (runs, count)), axis=1)
        for side in (0, 1) if number % 2 == 0 else (1, 0):
            speed = 0.9 * speed + rng.normal(0, DRIFT_SD * np.sqrt(1 - 0.81), (runs, 1))
            noise = rng.lognormal(-(spread**2) / 2, spread, (runs, count))
            services = SERVICE_S * factors[side] * luck[side] * np.exp(speed) * noise
            measured[side].append(_saturated(services) if case.load is None else _latencies(arrivals, services))
    return measured


def _saturated(services: Figures) -> Figures:
    done = np.cumsum(services, axis=1)
    inside = (done >= DROPPED * ROUND_S) & (done < ROUND_S)
    return inside.sum(axis=1) / ((1 - DROPPED) * ROUND_S)


def _latencies(arrivals: Figures, services: Figures) -> Figures:
    """Return the latencies of the requests due in the counted part of a round, nan of the others (Lindley, 1952)."""
    work = np.cumsum(services, axis=1)
    done = work + np.maximum.accumulate(arrivals - (work - services), axis=1)
    counted = (arrivals >= DROPPED * ROUND_S) & (arrivals < ROUND_S)
    return np.where(counted, done - arrivals, np.nan)


def factor_for(case: Case, change: float, rng_seed: int) -> float:
    """Return how much longer services have to take for the figure to change by a share.

    By bisection, in one rng, and then in proportion, by as many more runs as show the change to 0.05%: a limit that was
    0.2% off would itself make verdicts of half as much again wrong.
    """
    wanted, low, high = 1 + change, 0.9, 1.5
    for _ in range(12):
        middle = (low + high) / 2
        ratio = np.exp(_log_ratio(case, middle, [rng_seed]))
        longer = ratio > wanted if case.falls else ratio < wanted
        low, high = (middle, high) if longer else (low, middle)
    found = _log_ratio(case, middle, [(rng_seed, number) for number in range(CALIBRATIONS)])
    return 1 + (middle - 1) * float(np.log(wanted)) / found


def _log_ratio(case: Case, factor: float, seeds: Sequence[object]) -> float:
    """Return the mean log ratio of new to old over CALIBRATION_RUNS deployments for each seed."""
    made = (deployment(case, (1.0, factor), CALIBRATION_RUNS, np.random.default_rng(seed)) for seed in seeds)
    return float(np.mean([np.mean(np.log(new / old)) for old, new in made]))


def gates(case: Case, factor: float, runs: int, rng: np.random.Generator) -> tuple[int, int, float]:
    """Return of so many gates: how many failed, how many passed, and the mean measured seconds to the decision."""
    each_s = 2 * (ROUNDS * ROUND_S + COLD_S)
    planned = intervals.looks(3, int(CAP_S / each_s))
    open_runs, pairs = np.arange(runs), np.zeros((runs, 0, 2))
    failed = passed = 0
    seconds = 0.0
    for index, count in enumerate(planned):
        while pairs.shape[1] < count:
            made = np.stack(deployment(case, (1.0, factor), len(open_runs), rng), axis=-1)
            pairs = np.concatenate([pairs, made[:, None]], axis=1)
        look = Look(1 - CONFIDENCE, planned, index, 1)
        states = np.array([_state(case, one, look) for one in pairs])
        failed, passed = failed + int(np.sum(states == "fail")), passed + int(np.sum(states == "pass"))
        ended = len(states) if count == planned[-1] else int(np.sum(states != ""))
        seconds += ended * count * each_s
        open_runs, pairs = open_runs[states == ""], pairs[states == ""]
        if not len(open_runs):
            break
    return failed, passed, seconds / runs


def _state(case: Case, pairs: Figures, look: Look) -> str:
    harm: Callable[[float], float] = (lambda change: -change) if case.falls else (lambda change: change)
    failing = intervals.paired(pairs[:, 0].tolist(), pairs[:, 1].tolist(), look.failing)
    passing = intervals.paired(pairs[:, 0].tolist(), pairs[:, 1].tolist(), look.passing)
    if min(harm(failing.low), harm(failing.high)) > case.limit:
        return "fail"
    return "pass" if max(harm(passing.low), harm(passing.high)) <= case.limit else ""


def main() -> int:
    """Return 1 when a bar is missed."""
    given = options.parse(__doc__, RUNS, "gates of each row", "docs/gate.md")
    found, met = [], True
    for number, case in enumerate(CASES):
        sign = -1 if case.falls else 1
        for truth, change in (
            ("no change", 0.0),
            ("exactly the limit", case.limit),
            ("twice the limit", 2 * case.limit),
        ):
            factor = factor_for(case, sign * change, number) if change else 1.0
            failed, passed, seconds = gates(
                case, factor, given.rounds, np.random.default_rng([number, int(change * 100)])
            )
            found.append(Found(case.name, truth, factor - 1, given.rounds, failed, passed, seconds))
            most, least = MOST_FALSE_ALARMS * given.rounds / RUNS, LEAST_POWER * given.rounds
            met &= failed >= least if truth == "twice the limit" else failed <= most
            print(found[-1], flush=True)
    if given.json:
        given.json.write_text(json.dumps({"found": [asdict(one) for one in found], "met": met}, indent=1) + "\n")
    rows = [
        [
            one.rule,
            one.truth,
            f"{one.longer:.1%}",
            f"{one.failed:,} of {one.runs:,}",
            f"{one.passed:,} of {one.runs:,}",
            f"{one.seconds:.0f} s",
        ]
        for one in found
    ]
    columns = ["rule", "truth", "services longer by", "failed", "passed", "measured until decided, mean"]
    table = markdown(columns, rows)
    print(table)
    if given.docs:
        write_section("gate", table, Path(__file__).parent.parent / "docs" / "gate.md")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
