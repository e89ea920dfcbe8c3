"""Gates of servers in virtual time, whose change is known exactly: which rule sees what."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from targets.simulated.model import serve
from tests.gate.gate_builders import measurement
from tuner.gate.deciding import Look, decide
from tuner.gate.rules import rules_of

Times = NDArray[np.float64]
SERVICE_S, ROUND_S, COUNTED_S = 0.001, 0.5, 0.4
ROUNDS, REDEPLOYMENTS = 8, 8
LIMITS = {"throughput": 0.05, "p99": 0.20, "p50": 0.20}

Change = Callable[[Times, np.random.Generator], Times]


def as_before(services: Times, _: np.random.Generator) -> Times:
    return services


def one_in_fifty_slower(services: Times, rng: np.random.Generator) -> Times:
    return services + np.where(rng.random(len(services)) < 1 / 50, 8 * SERVICE_S, 0.0)


def five_percent_more_work(services: Times, _: np.random.Generator) -> Times:
    return services * 1.05


def half_as_fast(services: Times, _: np.random.Generator) -> Times:
    return services * 1.5


def figures(load: float | None, change: Change, seed: int) -> dict[str, list[float]]:
    """Return the figures of each redeployment; arrivals are the same for every change, services are drawn anew.

    Args:
        load: share of the old capacity that is offered; None: a closed loop at saturation.
        change: what becomes of the services.
        seed: of a side.
    """
    found: dict[str, list[float]] = {"throughput": [], "p50": [], "p99": []}
    shared, own = np.random.default_rng(1), np.random.default_rng(seed)
    for _ in range(REDEPLOYMENTS):
        answered, latencies = 0, []
        for _ in range(ROUNDS):
            count = int(ROUND_S / SERVICE_S * 1.5)
            gaps = shared.exponential(SERVICE_S / (load or 1), count)
            arrivals = np.cumsum(gaps) if load else np.zeros(count)
            services = change(SERVICE_S * own.lognormal(0, 0.1, count), own)
            done = serve(arrivals, services).done_s
            answered += int(np.sum((done >= ROUND_S - COUNTED_S) & (done < ROUND_S)))
            due = (arrivals >= ROUND_S - COUNTED_S) & (arrivals < ROUND_S) if load else np.arange(count) >= 0
            # In a closed loop a request waits for those before it: sixteen in flight.
            latencies.append(done[due] - arrivals[due] if load else done[16:] - done[:-16])
        pooled = np.concatenate(latencies)
        found["throughput"].append(answered / (ROUNDS * COUNTED_S))
        found["p50"].append(float(np.quantile(pooled, 0.5)))
        found["p99"].append(float(np.quantile(pooled, 0.99)))
    return found


def verdicts(load: float | None, change: Change) -> dict[str, str]:
    sides = []
    for seed, how in ((2, as_before), (3, change)):
        one = figures(load, how, seed)
        made = measurement(one["throughput"], p99_s=one["p99"], rules=LIMITS)
        restarts = [
            restart.model_copy(update={"metrics": {**restart.metrics, "latency_p50_s": p50}})
            for restart, p50 in zip(made.workloads["steady"].restarts, one["p50"], strict=True)
        ]
        steady = made.workloads["steady"].model_copy(update={"restarts": restarts})
        sides.append(made.model_copy(update={"workloads": {"steady": steady}}))
    rules = rules_of({"steady": LIMITS}, {}, ["steady"], changes=True)
    found = decide(rules, sides[0], sides[1], Look.single(0.99, len(rules)), together=True)
    return {one.rule: one.state for one in found}


@pytest.mark.parametrize(
    ("load", "change", "failed"),
    [
        (None, as_before, set()),
        (0.5, as_before, set()),
        (0.5, one_in_fifty_slower, {"p99"}),
        (None, half_as_fast, {"throughput", "p50", "p99"}),
        (0.5, half_as_fast, {"p50", "p99"}),
        (None, five_percent_more_work, set()),
    ],
)
def test_each_rule_sees_what_it_is_for(load: float | None, change: Change, failed: set[str]) -> None:
    found = verdicts(load, change)
    assert {rule for rule, state in found.items() if state == "fail"} == failed
    if load is not None:
        assert found["throughput"] == "pass"
    assert set(found) == set(LIMITS)
