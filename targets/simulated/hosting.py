"""A deployment on the simulated server: its queue, its service times and its statistics."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from targets.simulated.connection import Connection
from targets.simulated.live import Execution, LiveQueue
from targets.simulated.model import Batching, Service

MAX_COUNT = 65_536
"""Most servers, and most requests of a batch."""

_DRAWN_AT_ONCE = 1024


class DeploymentSpec(BaseModel):
    """What the control API is told of a deployment, and says of it: one of `service` and `batching`.

    Attributes:
        servers: how many serve at once.
        service: requests are served one by one, for a time that they carry or that is drawn from this.
        seed: of the draws: the k-th is the k-th of `service.draw` with this seed.
        batching: requests are served in batches.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)

    servers: int = Field(1, ge=1, le=MAX_COUNT)
    service: Service | None = None
    seed: int = Field(0, ge=0)
    batching: Batching | None = None

    @model_validator(mode="after")
    def _one_way_to_serve(self) -> Self:
        if (self.service is None) == (self.batching is None):
            raise ValueError("give one of `service` and `batching`")
        if self.batching and self.batching.max_size > MAX_COUNT:
            raise ValueError(f"`batching.max_size` is {MAX_COUNT} at most, but got {self.batching.max_size}")
        return self


@dataclass(frozen=True, slots=True)
class Job:
    """A request in the queue.

    Attributes:
        connection: where its answer goes.
        label: the class that the answer names.
        service_ns: how long it is served where there are no batches.
    """

    connection: Connection
    label: int
    service_ns: int = 0


@dataclass
class Statistics:
    """Counts of what was served, as the control API gives them.

    Attributes:
        joined: requests that joined the queue.
        requests: those of them that were served.
        failures: refused for what they carried.
        executions: batches, or requests without batching.
        queue_ns, compute_ns: waiting and service of all requests, summed.
        batches: size -> [executions, their service summed].
    """

    joined: int = 0
    requests: int = 0
    failures: int = 0
    executions: int = 0
    queue_ns: int = 0
    compute_ns: int = 0
    batches: dict[int, list[int]] = field(default_factory=dict)

    def count(self, execution: Execution[Job]) -> None:
        """Add an execution that is over."""
        size, service_ns = len(execution.jobs), execution.done_ns - execution.started_ns
        self.requests += size
        self.executions += 1
        self.queue_ns += size * execution.started_ns - sum(execution.arrived_ns)
        self.compute_ns += size * service_ns
        of_size = self.batches.setdefault(size, [0, 0])
        of_size[0] += 1
        of_size[1] += service_ns


class Hosted:
    """A deployment.

    Args:
        spec: how it works.
    """

    def __init__(self, spec: DeploymentSpec) -> None:
        self.spec = spec
        self.statistics = Statistics()
        batching = spec.batching
        self.queue: LiveQueue[Job] = LiveQueue(
            spec.servers,
            batching.max_size if batching else 1,
            round(batching.max_delay_s * 1e9) if batching else 0,
            self._service_ns,
        )
        self._draws = _draws(spec.service, spec.seed) if spec.service else None

    def job(self, connection: Connection, label: int, service_ns: int | None) -> Job:
        """Make a job of a request.

        Args:
            connection: where the answer goes.
            label: the class that it names.
            service_ns: what the request says of its service time, None: nothing.

        Raises:
            ValueError: it says something where the batches decide.
        """
        if self._draws is None:
            if service_ns is not None:
                raise ValueError("batches have their own service times; send none, or deploy `service`")
            return Job(connection, label)
        return Job(connection, label, next(self._draws) if service_ns is None else service_ns)

    def _service_ns(self, jobs: Sequence[Job]) -> int:
        batching = self.spec.batching
        return round(batching.service_s(len(jobs)) * 1e9) if batching else jobs[0].service_ns


def _draws(service: Service, seed: int) -> Iterator[int]:
    rng = np.random.default_rng(seed)
    while True:
        yield from np.rint(service.draw(_DRAWN_AT_ONCE, rng) * 1e9).astype(np.int64).tolist()
