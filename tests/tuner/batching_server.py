"""A server that batches, in arithmetic: what it truly does, and trials as a run would measure them."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from targets.base import Config, Knob, Value
from targets.simulated.many import Queues, closed_loops, linear
from tuner.results import BatchSize, Estimate, Generator, Load, Point, Server, Trial, Validity
from tuner.space import Parameter, Space
from tuner.twin.forecast import Roles
from tuner.usage import Telemetry

BOUND_S = 0.010
HANDLING_S = 2e-5
"""Time of the one core for each answer."""
KNOBS = (
    Knob("max_batch_size", "int", 1, None, 1, "", "reload", "", role="max_batch"),
    Knob("max_queue_delay", "duration", 0, None, 0.0, "s", "reload", "", role="max_delay"),
    Knob("instances", "int", 1, None, 1, "", "reload", "", role="instances"),
    Knob("precision", "choice", None, None, "", "", "reload", ""),
    Knob("concurrency", "int", 1, None, 1, "", "live", ""),
)
VALUES: Mapping[str, tuple[Value, ...]] = {
    "max_batch_size": (1, 2, 4, 8, 16, 32),
    "max_queue_delay": (0.0, 0.0005, 0.002),
    "instances": (1, 2),
    "precision": ("fp32", "int8"),
    "concurrency": (1, 2, 4, 8, 16, 32),
}
SPACE = Space(
    tuple(Parameter(knob, VALUES[knob.name], knob.type != "choice") for knob in KNOBS),
    own={"max_batch_size": 4, "max_queue_delay": 0.0, "instances": 1, "precision": "fp32"},
)
ROLES = Roles("max_batch_size", "max_queue_delay", "instances", ("precision",))
Truth = Callable[[Sequence[Config]], np.ndarray]


def a_server(slow: Callable[[Config], float] = lambda _: 1.0) -> Truth:
    """Return configs -> throughput, p99 and mean latency, shape [3, configs], of a server of one core.

    Args:
        slow: factor by which a configuration is slower than the twin can know.
    """

    def truth(configs: Sequence[Config]) -> np.ndarray:
        def of(name: str) -> np.ndarray:
            return np.array([float(config[name]) for config in configs])

        each_s = np.array([3e-5 if config["precision"] == "int8" else 8e-5 for config in configs])
        like = np.ones(len(configs))
        queues = Queues(
            of("max_batch_size").astype(int),
            of("max_queue_delay"),
            of("instances").astype(int),
            linear(5e-4 * of("instances"), each_s * of("instances"), 32),
            HANDLING_S * like,
            4e-4 * like,
            HANDLING_S * of("instances"),
        )
        found = closed_loops(queues, of("concurrency").astype(int))
        factor = np.array([slow(config) for config in configs])
        return np.stack([found.throughput_rps / factor, found.percentile(0.99) * factor, found.mean_s * factor])

    return truth


def measured(number: int, config: Config, truth: Truth, rng: np.random.Generator) -> Trial:
    """Return a trial as a run measures it, with 3% of noise and the server's own account of its batches."""
    throughput, p99, mean = truth([config])[:, 0] * np.exp(rng.normal(0, 0.03, 3))
    each_s = 3e-5 if config["precision"] == "int8" else 8e-5
    sizes = sorted({max(1, min(int(config["max_batch_size"]), int(config["concurrency"])) // part) for part in (1, 2)})
    batches = [
        BatchSize(size=size, count=100, compute_mean_s=int(config["instances"]) * (5e-4 + each_s * size))
        for size in sizes
    ]
    busy_s = sum(one.count * (one.compute_mean_s / int(config["instances"]) + HANDLING_S * one.size) for one in batches)
    served_s = sum(one.size * one.compute_mean_s for one in batches) / sum(one.size for one in batches)

    def estimate(value: float) -> Estimate:
        return Estimate(value=value, low=value / 1.06, high=value * 1.06, n=1000)

    return Trial(
        number=number,
        config={name: value for name, value in config.items() if number or name != "concurrency"},
        state="complete",
        points=[
            Point(
                workload="steady",
                load=Load(mode="closed", level=float(config["concurrency"])),
                warmup_s=0.1,
                window_s=1.0,
                metrics={
                    "throughput_rps": estimate(throughput),
                    "goodput_rps": estimate(throughput if p99 <= BOUND_S else 0.0),
                    "latency_p99_s": estimate(p99),
                    "latency_mean_s": estimate(mean),
                },
                outcomes={"ok": 1000},
                violations={"p99": p99 / BOUND_S - 1},
                server=Server(
                    window_s=busy_s,
                    requests=1000,
                    failures=0,
                    executions=200,
                    mean_s={"queue": max(0.0, mean - served_s - 5e-4)},
                    batch_sizes=batches,
                ),
                telemetry=Telemetry(),
                generator=Generator(issue_delay_p50_s=1e-5, issue_delay_p99_s=1e-4, cpu_share=0.2),
                validity=Validity(valid=True),
                records=None,
            )
        ],
        apply_s=1.0,
        wall_s=2.0,
    )


def every(configs: Sequence[Config]) -> list[Config]:
    return [{**SPACE.own, **one} for one in configs]


def best_of(truth: Truth) -> float:
    throughput, p99, _ = truth(every(list(SPACE.configs())))
    return float(throughput[p99 <= BOUND_S].max())


def baseline(truth: Truth, rng: np.random.Generator) -> list[Trial]:
    """Return the user's configuration at every load level, as one trial each."""
    return [measured(0, {**SPACE.own, "concurrency": level}, truth, rng) for level in VALUES["concurrency"]]
