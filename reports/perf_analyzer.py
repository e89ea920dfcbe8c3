"""A configuration's measurements as CSV with the columns of perf_analyzer, for tools that read its files.

Columns and units are those of perf_analyzer 2.60 over HTTP and gRPC: microseconds, and inferences per second.
"""

import csv
import io
import math

from reports.points import server_part
from tuner.results import Point, Result

STAGES = {
    "Server Queue": "queue",
    "Server Compute Input": "compute_input",
    "Server Compute Infer": "compute_infer",
    "Server Compute Output": "compute_output",
}
LEVELS = {"closed": "Concurrency", "open": "Request Rate", "users": "Concurrency"}
PERCENTILES = ("p50", "p90", "p95", "p99")


def csv_of_best(result: Result) -> str:
    """Return a row for each load level of the primary workload, measured with the best configuration of the server.

    Where nothing is the best it is the user's configuration; where nothing was measured there is the heading alone.
    perf_analyzer parts a latency into client, network and server; a Paretune latency begins at the intended send time,
    so what the server does not claim stands under `Network+Server Send/Recv`, waiting for a connection included, and
    the two of the client are 0.
    """
    own = [trial.config for trial in result.trials if trial.number == 0]
    configs = [server_part(config) for config in ([result.best.config] if result.best else own)]
    found: dict[float, Point] = {}
    for trial in result.trials:
        if server_part(trial.config) in configs:
            same = [point for point in trial.points if point.workload == result.study.workloads[0]]
            found |= {point.load.level: point for point in same if trial.counts(point)}
    mode = next((point.load.mode for point in found.values()), "closed")
    columns = [LEVELS[mode], "Inferences/Second", "Client Send", "Network+Server Send/Recv", *STAGES, "Client Recv",
               *(f"{name} latency" for name in PERCENTILES)]  # fmt: skip
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(_row(found[level]) for level in sorted(found))
    return text.getvalue()


def _row(point: Point) -> list[object]:
    stages = {name: point.server.mean_s.get(key, 0.0) if point.server else 0.0 for name, key in STAGES.items()}
    network_s = _value(point, "latency_mean_s") - sum(stages.values())
    return [
        f"{point.load.level:.9g}",
        f"{_value(point, 'throughput_rps'):.9g}",
        0,
        _microseconds(max(0.0, network_s)),
        *map(_microseconds, stages.values()),
        0,
        *(_microseconds(_value(point, f"latency_{name}_s")) for name in PERCENTILES),
    ]


def _value(point: Point, key: str) -> float:
    return point.metrics[key].value if key in point.metrics else math.nan


def _microseconds(seconds: float) -> object:
    """Return whole microseconds; nothing where requests failed and there is no number."""
    return round(seconds * 1e6) if math.isfinite(seconds) else ""
