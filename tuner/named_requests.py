"""What a window says of each name of a locustfile's requests, whether a class of the study has it or not. Pure."""

from collections.abc import Sequence

import numpy as np

from tuner.catalog import METRICS
from tuner.load.plan import Named
from tuner.metrics import summarise
from tuner.records import Records
from tuner.results import NamedRequests
from tuner.slo import Slo

MOST_NAMES = 20
"""So many names, those with the most requests in the window, are told one by one; all others together."""
_KEYS = tuple(METRICS[name].key for name in ("throughput", "p50", "p90", "p99", "error_rate"))


def by_name(records: Records, named: Sequence[Named]) -> list[NamedRequests]:
    """Return the results of each name, the most frequent first, and of the rest together at the end.

    Args:
        records: of all requests of the workload.
        named: what they are called; requests that share a number, for want of numbers, are of the rest.
    """
    if not named:
        return []
    numbers, counts = np.unique(records.in_window(ordered=False)["request"], return_counts=True)
    frequent = [int(numbers[index]) for index in np.argsort(-counts, kind="stable")]
    of: dict[int, list[Named]] = {}
    for one in named:
        of.setdefault(one.request, []).append(one)
    told = [number for number in frequent if len(of[number]) == 1][:MOST_NAMES]
    found = [_results(records, [number], of[number]) for number in told]
    rest = [number for number in frequent if number not in told]
    if not rest:
        return found
    return [*found, _results(records, rest, [one for number in rest for one in of[number]])]


def _results(records: Records, numbers: Sequence[int], names: Sequence[Named]) -> NamedRequests:
    mine = records.of_requests(numbers)
    metrics = summarise(mine, Slo({}))
    alone = names[0] if len(names) == 1 else Named(0, "", "")
    return NamedRequests(
        method=alone.method,
        name=alone.name,
        names=len(names),
        requests=len(mine.in_window(ordered=False)),
        metrics={key: metrics[key] for key in _KEYS},
    )
