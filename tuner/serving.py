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
    asking = sorted(workloads, key=lambda one: one.users is not None)  # a locustfile has no request to ask once
    if not isinstance(target, ServesSeveral):
        target.verify(export, asking[0].classes[0].dataset)
        return
    requests: dict[str, Requests] = {}
    for one in asking:
        requests.setdefault(one.model, one.classes[0].dataset)
    target.verify_all(export, requests)
