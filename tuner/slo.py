"""What is asked of requests: bounds, of all of them together and of each class of them. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass

from tuner.catalog import LATENCY, TTFT, Timing

_STRICTEST_FIRST = ("p99", "p95", "p90", "p50")


@dataclass(frozen=True)
class Slo:
    """Bounds.

    Attributes:
        bounds: SLO -> bound, of all requests together.
        classes: of each class of the requests, by its index; (): the bounds above are each request's.
    """

    bounds: Mapping[str, float]
    classes: tuple["Slo", ...] = ()

    @property
    def latency_bound_s(self) -> float | None:
        """The bound that goodput holds each request's latency to, None without one."""
        return self.request_bound_s(LATENCY)

    @property
    def since_due_bound_s(self) -> float:
        """The tightest bound on what counts from when a request is due, of all requests or a class; 0 without one."""
        own = [self.request_bound_s(timing) for timing in (LATENCY, TTFT)]
        of_classes = [one.since_due_bound_s for one in self.classes]
        return min((bound for bound in (*own, *of_classes) if bound), default=0.0)

    def request_bound_s(self, timing: Timing) -> float | None:
        """Return the bound of the highest percentile of a timing, to which goodput holds a request; None without."""
        names = (timing.name(one) for one in _STRICTEST_FIRST)
        return next((self.bounds[name] for name in names if name in self.bounds), None)
