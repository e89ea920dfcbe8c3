"""The twin where a queue has levels: it knows beforehand whom they help, and whom they cost."""

from collections.abc import Sequence

import numpy as np
import pytest
from batching_server import HANDLING_S, KNOBS, measured
from result_builders import estimate
from workload_builders import workload

from targets.base import Config, Knob, Value
from targets.simulated.many import Classes, Queues, closed_loops, linear
from tuner.objective import Goal
from tuner.results import Trial
from tuner.space import Parameter, Space
from tuner.twin.forecast import roles_of
from tuner.twin.planner import Twin

MIXED = workload("steady", mix={"bulk": 3.0, "urgent": 1.0}, priorities={"urgent": 1})
PARTS = [part.name for part in MIXED.parts]
BULK_S = 0.009
"""Bound on the p99 of the class that waits."""
GOAL = Goal(False, "steady.urgent", "p99")
QUEUE_KNOBS = (
    Knob("priority_levels", "int", 0, None, 0, "", "reload", "", role="priority_levels"),
    Knob("default_priority_level", "int", 0, None, 0, "", "reload", "", role="default_level"),
)
VALUES: dict[str, tuple[Value, ...]] = {
    "max_batch_size": (1, 2, 4, 8, 16, 32),
    "concurrency": (32,),
    "priority_levels": (0, 2),
}
OWN: Config = {
    "max_batch_size": 4, "max_queue_delay": 0.0, "instances": 1, "precision": "fp32", "concurrency": 32,
    "priority_levels": 0, "default_priority_level": 2,
}  # fmt: skip
SPACE = Space(
    tuple(Parameter(knob, VALUES[knob.name], True) for knob in (*KNOBS, *QUEUE_KNOBS) if knob.name in VALUES), own=OWN
)


def truth(configs: Sequence[Config]) -> np.ndarray:
    """Return throughput, p99 and mean latency of all requests and of each class, shape [3, parts, configs]."""
    sizes = np.array([int(config["max_batch_size"]) for config in configs])
    like = np.ones(len(configs))
    queues = Queues(
        sizes, 0 * like, np.ones(len(configs), int), linear(5e-4 * like, 8e-5 * like, 32), HANDLING_S * like,
        4e-4 * like, HANDLING_S * like,
    )  # fmt: skip
    levels = np.array([(2, 1) if config["priority_levels"] else (2, 2) for config in configs])
    order = np.random.default_rng(7).choice(2, 4096, p=MIXED.shares)
    found = closed_loops(queues, np.full(len(configs), 32), Classes(order, MIXED.shares, levels))
    parts = (found, *found.classes)
    return np.stack([[one.throughput_rps, one.percentile(0.99), one.mean_s] for one in parts], axis=1)


def trial(number: int, config: Config, rng: np.random.Generator) -> Trial:
    """Return what a run measures of a configuration: a point of all requests, and one of each class."""
    true = truth([config])[:, :, 0] * np.exp(rng.normal(0, 0.03, (3, 3)))
    whole = measured(number, config, lambda _: true[:, :1], rng)
    points = [
        whole.points[0].model_copy(
            update={
                "workload": name,
                "metrics": {
                    "throughput_rps": estimate(throughput, throughput / 1.06, throughput * 1.06),
                    "latency_p99_s": estimate(p99, p99 / 1.06, p99 * 1.06),
                    "latency_mean_s": estimate(mean, mean / 1.06, mean * 1.06),
                },
                "server": whole.points[0].server if name == "steady" else None,
                "violations": {"p99": p99 / BULK_S - 1} if name == "steady.bulk" else {},
            }
        )
        for name, (throughput, p99, mean) in zip(PARTS, true.T, strict=True)
    ]
    return whole.model_copy(update={"points": points})


def a_twin() -> Twin:
    roles = roles_of((*KNOBS, *QUEUE_KNOBS), [one.name for one in SPACE.without_load()])
    assert roles is not None
    assert roles.others == (), "levels of the queue do not change how long a batch takes"
    return Twin(SPACE, [MIXED], [GOAL], {"steady.bulk": {"p99": BULK_S}}, roles, cores=1, seed=0)


def every(configs: Sequence[Config]) -> list[Config]:
    return [{**OWN, **one} for one in configs]


def best_p99_s(configs: Sequence[Config]) -> float:
    _, p99_s, _ = truth(every(configs))
    kept = p99_s[PARTS.index("steady.bulk")] <= BULK_S
    return float(p99_s[PARTS.index("steady.urgent")][kept].min())


def test_priorities_decide_what_is_best() -> None:
    """What the tests below ask: it takes levels, and the batch is not that of a queue without."""
    with_levels, without = ([one for one in SPACE.configs() if one["priority_levels"] == levels] for levels in (2, 0))
    assert best_p99_s(with_levels) < 0.8 * best_p99_s(without)
    _, p99_s, _ = truth(every(list(SPACE.configs())))
    urgent = np.where(p99_s[1] <= BULK_S, p99_s[2], np.inf)
    best = list(SPACE.configs())[int(np.argmin(urgent))]
    assert best["priority_levels"] == 2
    assert best["max_batch_size"] == 8


@pytest.mark.parametrize("seed", range(3))
def test_it_knows_what_levels_do_before_any_were_measured(seed: int) -> None:
    rng, twin = np.random.default_rng(seed), a_twin()
    forecasts = twin.forecasts([trial(0, OWN, rng)], twin.candidates)
    assert forecasts is not None
    _, p99_s, _ = truth(every(twin.candidates))
    leveled = np.array([one["priority_levels"] == 2 for one in twin.candidates])
    filled = np.array([int(one["max_batch_size"]) <= 8 for one in twin.candidates])  # batches near the measured ones
    for name in ("steady.bulk", "steady.urgent"):
        off = np.abs(np.log(forecasts.median[name]["p99"] / p99_s[PARTS.index(name)]))
        assert np.median(off[leveled & filled]) < 0.2, name
    ratio = forecasts.median["steady.urgent"]["p99"] / forecasts.median["steady.bulk"]["p99"]
    assert (ratio[leveled & filled] < 0.7).all()
    assert ratio[~leveled] == pytest.approx(1, rel=0.15)


@pytest.mark.parametrize("seed", range(3))
def test_it_finds_the_best_where_priorities_decide(seed: int) -> None:
    rng, twin = np.random.default_rng(seed), a_twin()
    made, tried, reached = [trial(0, OWN, rng)], set[int](), np.inf
    for number in range(1, 5):
        forecasts = twin.forecasts(made, twin.candidates)
        assert forecasts is not None
        fine = [one for one in made if one.points[1].violations["p99"] <= 0]
        gains = forecasts.gains(GOAL, min((one.points[2].metrics["latency_p99_s"].value for one in fine), default=None))
        gains[list(tried)] = -1
        index = int(np.argmax(gains))
        tried.add(index)
        config = {**OWN, **twin.candidates[index]}
        made.append(trial(number, config, rng))
        _, p99_s, _ = truth([config])
        reached = min(reached, float(p99_s[2, 0]) if p99_s[1, 0] <= BULK_S else np.inf)
    assert reached <= 1.05 * best_p99_s(list(SPACE.configs()))
