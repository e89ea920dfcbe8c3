"""Numbers that a server gives of itself at an address of their own, while a deployment of it is measured."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable


class Told(NamedTuple):
    """One number.

    Attributes:
        name: as the server writes it, with its labels; the same for every deployment of a study.
        value: of it.
        grows: whether it counts, so that what it says is by how much it grew.
    """

    name: str
    value: float
    grows: bool


ToldOfGpus = Mapping[str, Mapping[str, float]]
"""Name of a GPU -> field -> value: `utilization` (share), `memory_used_bytes`, `memory_total_bytes`, `power_watts`, and
`energy_joules`, which only grows."""


@dataclass(frozen=True)
class Exposed:
    """The numbers of a server.

    Attributes:
        get: how long it may take, in seconds -> the text with the numbers. Called beside a running load, by another
            thread than other questions: it must cost next to nothing. Raises TargetError when there is no answer.
        told: such a text -> its numbers, without those of other deployments. Raises TargetError when it is none.
        gpus: such a text -> what it says of the server's GPUs; None where they are read on this host, or not at all.
    """

    get: Callable[[float], bytes]
    told: Callable[[bytes], Sequence[Told]]
    gpus: Callable[[bytes], ToldOfGpus] | None = None


@runtime_checkable
class TellsGpus(Protocol):
    """A target whose server may tell of its GPUs by itself."""

    def lacking_of_gpus(self, fields: Sequence[str]) -> str:
        """Return why no GPU tells any of these fields, "" where one does. Raises TargetError without an answer."""
        ...


@runtime_checkable
class Exposes(Protocol):
    """A deployment whose server gives such numbers; not every server does."""

    def exposed(self) -> Exposed:
        """Return how they are read. Raises TargetError, with the reason, where this one gives none."""
        ...
