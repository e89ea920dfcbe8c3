"""The bounds that a figure depends on: goodput counts the answers within those of its own side. Pure."""

from tuner.catalog import LATENCY, METRICS, TPOT, TTFT
from tuner.gate.document import Measurement
from tuner.slo import Slo

GOODPUT, TOTAL_GOODPUT = METRICS["goodput"].key, METRICS["total_goodput"].key


def bounds_behind(key: str, one: Measurement, workload: str) -> dict[str, dict[str, float]]:
    """Return the bounds without which a figure says something else; {} where it depends on none.

    Args:
        key: of the figure.
        one: what was measured.
        workload: whose figure it is, or of which class.

    Returns:
        Workload, or class of one -> timing -> the bound that goodput holds a request to, in seconds. They are those of
        the workload and of its classes; of a total, those of all workloads.
    """
    if key not in (GOODPUT, TOTAL_GOODPUT):
        return {}
    found = {}
    for name, bounds in one.bounds.items():
        if key == TOTAL_GOODPUT or workload in (name, name.partition(".")[0]):
            slo = Slo(bounds)
            told = {timing.stem: slo.request_bound_s(timing) for timing in (LATENCY, TTFT, TPOT)}
            found[name] = {timing: bound for timing, bound in told.items() if bound is not None}
    return found
