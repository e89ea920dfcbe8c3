"""Which requests of workloads are scored, and how."""

from collections.abc import Sequence

from tuner.accuracy.scoring import Scoring
from tuner.request_class import RequestClass
from tuner.workload import Workload


def scorings_of(workloads: Sequence[Workload]) -> dict[str, Scoring]:
    """Return how each part with labels is scored: a mix as a whole where all its labelled classes are in one way."""
    found: dict[str, Scoring] = {}
    for workload in workloads:
        ways = {
            part: one.scoring for part, one in classes_of(workload) if one.dataset.labels is not None and one.scoring
        }
        found |= ways
        if workload.mixed and ways and len(set(ways.values())) == 1:
            found[workload.name] = next(iter(ways.values()))
    return found


def shares_of(workloads: Sequence[Workload]) -> dict[str, dict[str, float]]:
    """Return the shares of the labelled classes of each mix that is scored as a whole; they add up to 1."""
    whole, found = scorings_of(workloads), {}
    for workload in workloads:
        if workload.mixed and workload.name in whole:
            weights = {part: one.weight for part, one in classes_of(workload) if part in whole}
            found[workload.name] = {part: weight / sum(weights.values()) for part, weight in weights.items()}
    return found


def classes_of(workload: Workload) -> list[tuple[str, RequestClass]]:
    """Return the requests of a workload, or those of each class of a mix, with what they are called."""
    parts = workload.parts[1:] if workload.mixed else workload.parts
    return [(part.name, one) for part, one in zip(parts, workload.classes, strict=True)]
