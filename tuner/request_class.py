"""Requests of one kind in a workload: where they come from, in which order, and how long each is waited for."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from tuner.accuracy.scoring import Scoring
from workloads.order import Order
from workloads.prompts import fresh
from workloads.requests import Prompts, Requests
from workloads.sequences import Sequences
from workloads.tensors import Drawn

ErrorMaker = Callable[[tuple[str, ...], str], Exception]
NONCE_NS = 10_000_000
"""Two measurements never begin within so short a time."""


def _unplaced(keys: tuple[str, ...], message: str) -> Exception:
    """Make an error of requests that no study names."""
    return ValueError(f"{'.'.join(keys)}: {message}")


@dataclass(frozen=True)
class RequestClass:
    """A class of a workload's requests; a workload that is no mix has one, without a name.

    Attributes:
        dataset: the requests.
        timeout_s: of a request.
        name: in the workload's `mix`.
        weight: share of the requests that are of this class, over the sum of the weights.
        output: the output that is compared with the labels, None: the only one.
        scoring: how answers are compared with labels, None where that is never done.
        scoring_error: from keys below the requests and a message: the error that says where the study is wrong.
        fresh: the requests are others in each measurement.
        shuffled: False: requests are sent in the order of their source.
        repeats: share of the requests that were sent before.
        skew: of the repeats' popularity.
        sequences: that the requests belong to, None: to none.
    """

    dataset: Requests
    timeout_s: float
    name: str = ""
    weight: float = 1.0
    output: str | None = None
    scoring: Scoring | None = None
    scoring_error: ErrorMaker = _unplaced
    fresh: bool = False
    shuffled: bool = True
    repeats: float = 0.0
    skew: float = 1.0
    sequences: Sequences | None = None

    def requests(self) -> Requests:
        """Return the requests of the next measurement: others each time if they are to be fresh."""
        if not self.fresh:
            return self.dataset
        nonce = time.monotonic_ns() // NONCE_NS
        if isinstance(self.dataset, Prompts):
            return fresh(self.dataset, nonce)
        return replace(self.dataset, values_seed=nonce) if isinstance(self.dataset, Drawn) else self.dataset

    @property
    def priority(self) -> int:
        """Of the requests in the server's queue, as the server counts it; 0: what it gives those without one."""
        return self.dataset.priority

    @property
    def order(self) -> Order:
        """The order in which they are sent."""
        return Order(len(self.dataset), self.shuffled, self.repeats, self.skew)


@dataclass(frozen=True)
class Part:
    """Requests whose results are told: all of a workload, or those of one class of a mix.

    Attributes:
        name: `WORKLOAD` or `WORKLOAD.CLASS`.
        index: of the class, None: all requests.
    """

    name: str
    index: int | None
