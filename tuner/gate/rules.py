"""The rules of a gate: by how much which figure may be worse on which workload. Pure."""

from collections.abc import Container, Mapping
from dataclasses import dataclass
from typing import Literal

from tuner.catalog import AT_LEAST, METRICS, key_of

COLD_START, CPU, MEMORY = "cold_start_s", "cpu_per_request_s", "memory_bytes"
_KEYS = {
    "memory": MEMORY,
    "energy": METRICS["energy_per_inference"].key,
    "cpu": CPU,
    "cold_start": COLD_START,
}
FALLS = ("throughput", "goodput", "token_throughput", "accuracy")
"""Rules on what gets worse as it falls."""
POINTS = ("error_rate", "accuracy")
"""Rules in percentage points."""
OF_ITEMS = ("accuracy", "prediction_error")
"""Rules on the labelled items: all of them are asked, so that what they say is exact."""
OF_SERVER = ("memory", "energy", "cpu")
"""Rules on what the server uses: it is told of all requests of a window together."""

_OF_LABELS = (*OF_ITEMS, "accuracy_drop")

Kind = Literal["ratio", "points", "slo"]


@dataclass(frozen=True)
class Rule:
    """A limit on a change, or an SLO.

    Attributes:
        workload: or `WORKLOAD.CLASS`.
        name: as the study spells it.
        kind: `ratio`: of new over old; `points`: new - old; `slo`: a bound on new alone.
        limit: the harm that is allowed, above 0: of a ratio a share, of points a difference, of an SLO the bound.
        falls: whether it gets worse as the figure falls.
    """

    workload: str
    name: str
    kind: Kind
    limit: float
    falls: bool = False

    @property
    def key(self) -> str:
        """The figure's key in `Restart.metrics`."""
        return _KEYS.get(self.name) or key_of(self.name)

    @property
    def worst(self) -> float:
        """The change that is just allowed: -0.05 where throughput may fall by 5%, 0.1 where a latency may grow."""
        return -self.limit if self.falls else self.limit

    def harm(self, change: float) -> float:
        """Return a change as harm: above 0 where it is for the worse."""
        return -change if self.falls else change


def rules_of(
    limits: Mapping[str, Mapping[str, float]],
    bounds: Mapping[str, Mapping[str, float]],
    cold: Container[str],
    *,
    changes: bool,
) -> tuple[Rule, ...]:
    """Return the rules of a gate.

    Args:
        limits: workload -> rule -> limit.
        bounds: workload, or class of one -> SLO -> bound.
        cold: the workloads that a deployment is cold for.
        changes: whether there is something to compare with; without it SLOs alone are rules.
    """
    found = []
    for workload, of_workload in limits.items() if changes else ():
        for name, limit in of_workload.items():
            if name == "cold_start" and workload not in cold:
                continue
            found.append(Rule(workload, name, "points" if name in POINTS else "ratio", limit, name in FALLS))
    for workload, of_workload in bounds.items():
        for name, bound in of_workload.items():
            found.append(Rule(workload, name, "slo", bound, name in AT_LEAST))
    return tuple(found)


def measurable(asked: Mapping[str, Mapping[str, float]], errors: Mapping[str, bool]) -> dict[str, dict[str, float]]:
    """Return rules, or SLOs, without those on labelled items that a workload or class does not have.

    Args:
        asked: workload, or class of one -> rule or SLO -> limit or bound.
        errors: of those that have labelled items, whether these are scored by their errors.
    """
    return {
        part: {name: limit for name, limit in own.items() if name not in _OF_LABELS or _tells(errors.get(part), name)}
        for part, own in asked.items()
    }


def _tells(errors: bool | None, name: str) -> bool:
    return errors is not None and name in ("accuracy_drop", "prediction_error" if errors else "accuracy")
