"""Measurements and gates made by hand, for tests that need no server."""

import math
from collections.abc import Sequence

import numpy as np

from tuner.gate.document import Accuracy, Measured, Measurement, Restart
from tuner.results import Load

HOST = {
    "cpu": "a CPU",
    "cores": "1 of 2 for the server",
    "gpu": "none",
    "driver": "none",
    "server": "a server 1.0",
    "place": "this host",
    "protocol": "http",
    "model": "digits",
}


def restarts(throughput: Sequence[float], p99_s: Sequence[float] | None = None, errors: int = 0) -> list[Restart]:
    """One restart for each throughput, of 10,000 requests."""
    latencies = p99_s if p99_s is not None else [0.01] * len(throughput)
    return [
        Restart(
            metrics={"throughput_rps": one, "latency_p99_s": p99, "latency_p50_s": 0.004, "cold_start_s": 0.02},
            requests=10_000,
            errors=errors,
        )
        for one, p99 in zip(throughput, latencies, strict=True)
    ]


def measurement(
    throughput: Sequence[float] = (100.0, 101.0, 99.0, 100.5, 99.5),
    *,
    p99_s: Sequence[float] | None = None,
    rules: dict[str, float] | None = None,
    errors: int = 0,
    accuracy: float | None = None,
    **fields: object,
) -> Measurement:
    """A measurement of one workload, `steady`."""
    measured = Measured(
        load=Load(mode="closed", level=16),
        restarts=restarts(throughput, p99_s, errors),
        latency={-140: 100, -139: 300, -120: 20},
        slo={"p99": "met"},
        accuracy=None if accuracy is None else Accuracy(value=accuracy, items=600),
    )
    made = {
        "study": "digits",
        "label": "a.yaml",
        "started": "2026-01-31 10:20 UTC",
        "host": HOST,
        "traffic": {"steady": "abc"},
        "environment": {"paretune": "0.1.0"},
        "config": {"max_batch_size": 8},
        "rules": {"steady": rules if rules is not None else {"throughput": 0.05}},
        "bounds": {"steady": {"p99": 0.02}},
        "confidence": 0.99,
        "inconclusive": "fail",
        "workloads": {"steady": measured},
    }
    return Measurement.model_validate({**made, **fields})


def noisy(rng: np.random.Generator, n: int, factor: float = 1.0, sd: float = 0.01) -> list[float]:
    """Throughputs of n deployments."""
    return [100 * factor * math.exp(one) for one in rng.normal(0, sd, n)]
