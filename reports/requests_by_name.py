"""What is known of each name of a locustfile's requests, as rows of a table."""

from dataclasses import dataclass

from reports import words
from reports.points import two_sides
from tuner.catalog import METRICS
from tuner.results import NamedRequests, Result

_SHOWN = {"throughput": "throughput", "p50": "p50", "p90": "p90", "p99": "p99", "errors": "error_rate"}
"""Column -> metric of the requests of a name."""
COLUMNS = tuple(_SHOWN)


@dataclass(frozen=True)
class Row:
    """The requests of one name, or of all that are told together, with one configuration.

    Attributes:
        workload: the locustfile's.
        side: whose configuration, and at which load.
        name: of the requests.
        requests: intended in the window.
        figures: in the order of `COLUMNS`.
    """

    workload: str
    side: str
    name: str
    requests: int
    figures: tuple[str, ...]


def rows(result: Result) -> list[Row]:
    """Return the names that were seen with your configuration and with the best; [] without a locustfile."""
    return [
        Row(workload, side, called(one), one.requests, figures(one))
        for workload in result.study.workloads
        for side, _, point in two_sides(result, workload)
        for one in point.named
    ]


def called(one: NamedRequests) -> str:
    """Return what requests are called: `GET /page`, or how many other names they have."""
    return f"{one.method} {one.name}" if one.method else f"{one.names:,} other name{'s' if one.names > 1 else ''}"


def figures(one: NamedRequests) -> tuple[str, ...]:
    """Return the results of requests of one name, in the order of `COLUMNS`."""
    return tuple(words.metric_value(name, one.metrics[METRICS[name].key].value) for name in _SHOWN.values())
