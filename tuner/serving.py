"""What a study asks of its target where that may serve one model, or several at once."""

from collections.abc import Sequence

from targets.base import Export, ServesSeveral, Target
from tuner.workload import Workload
from workloads.requests import Requests


def check_requests(target: Target, workload: Workload, requests: Requests) -> None:
    """Check that requests of a workload are what its model takes. Raises TargetError naming the input."""
    if workload.model and isinstance(target, ServesSeveral):
        target.check_model(workload.model, requests)
    else:
        target.check_requests(requests)


def verify(target: Target, export: Export, workloads: Sequence[Workload]) -> None:
    """Load an export as it is and ask each model once what its first workload sends, a locustfile's left out.

    Raises:
        TargetError: it does not serve.
    """
    requests = first_requests(workloads)
    if isinstance(target, ServesSeveral):
        target.verify_all(export, requests)
    else:
        (asked,) = requests.values()
        target.verify(export, asked)


def first_requests(workloads: Sequence[Workload]) -> dict[str, Requests]:
    """Return what each model is asked by its first workload, a locustfile's left out: model, "" for one -> requests."""
    found: dict[str, Requests] = {}
    for one in sorted(workloads, key=lambda one: one.users is not None):  # a locustfile has no request to ask once
        found.setdefault(one.model, one.classes[0].dataset)
    return found
