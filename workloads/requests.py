"""Requests: the inputs that are sent, with labels where accuracy can be judged."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from workloads.sequences import Sequences

Rows: TypeAlias = NDArray[np.generic] | Sequence[NDArray[np.generic]]
"""One value a row: an array [n, ...], or n arrays that may differ in shape."""


class RequestSourceError(ValueError):
    """A request source that cannot be read; the message names the file and what was expected."""


@dataclass(frozen=True)
class TensorSpec:
    """An input of a model.

    Attributes:
        name: of the input.
        datatype: as the Open Inference Protocol spells it, e.g. FP32 or BYTES.
        shape: of one item, without a batch axis; -1 where any size will do.
        optional: whether a request may leave it out.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]
    optional: bool = False


@dataclass(frozen=True)
class Dataset:
    """Tensors to send.

    Attributes:
        inputs: input name -> its rows; the same number for every input.
        labels: [n, ...], what the answer to each row is compared with, see `labels.Wanted`, or None.
        batches: int64 [m], how many rows each request takes, in turn; None: one.
        priority: of the requests in the server's queue, as the server counts it; 0: what it gives those without one.
        sequences: that the requests belong to, None: to none.
    """

    inputs: Mapping[str, Rows]
    labels: NDArray[np.generic] | None = None
    batches: NDArray[np.int64] | None = None
    priority: int = 0
    sequences: Sequences | None = None

    def __len__(self) -> int:
        return len(next(iter(self.inputs.values()))) if self.batches is None else len(self.batches)

    @cached_property
    def _ends(self) -> NDArray[np.int64]:
        assert self.batches is not None, "asked for batches only"
        return np.cumsum(self.batches)

    def rows(self, name: str, request: int) -> NDArray[np.generic]:
        """Return a request's rows of an input, array [b, ...]."""
        end = request + 1 if self.batches is None else int(self._ends[request])
        start = request if self.batches is None else end - int(self.batches[request])
        rows = self.inputs[name][start:end]
        return rows if isinstance(rows, np.ndarray) else np.stack(rows)


@dataclass(frozen=True)
class Prompts:
    """Requests to a language model, one a row.

    Attributes:
        texts: what is sent: a text, or the ids of its tokens.
        output_tokens: int64 [n], how many tokens are asked for at most.
        ids: lowest and highest token id that occur, None where all are texts.
        made_up: nobody minds another beginning.
        priority: of the requests in the server's queue, as the server counts it; 0: what it gives those without one.
    """

    texts: Sequence[str | Sequence[int]]
    output_tokens: NDArray[np.int64]
    ids: tuple[int, int] | None = None
    made_up: bool = False
    priority: int = 0

    @property
    def labels(self) -> None:
        """There is no right class of a text."""
        return None

    def __len__(self) -> int:
        return len(self.texts)


@runtime_checkable
class Unshaped(Protocol):
    """Requests that become tensors once it is known what the model takes."""

    @property
    def labels(self) -> NDArray[np.generic] | None:
        """What the answer to each row is compared with, [n, ...], or None."""
        ...

    @property
    def priority(self) -> int:
        """Of the requests in the server's queue."""
        ...

    def __len__(self) -> int: ...

    def at_priority(self, priority: int) -> "Unshaped":
        """Return the same with a priority in the server's queue."""
        ...

    def in_sequences(self, sequences: Sequences) -> "Unshaped":
        """Return the same as requests of sequences."""
        ...

    def shaped(self, inputs: Sequence[TensorSpec]) -> Dataset:
        """Return the tensors for a model's inputs.

        Raises:
            RequestSourceError: they cannot be what the model takes; naming the input.
        """
        ...


Requests: TypeAlias = Dataset | Prompts | Unshaped


def prioritised(requests: Requests, priority: int) -> Requests:
    """Return the same requests with a priority in the server's queue."""
    if isinstance(requests, Dataset | Prompts):
        return replace(requests, priority=priority)
    return requests.at_priority(priority)


def in_sequences(requests: Requests, sequences: Sequences) -> Requests:
    """Return the same requests as those of sequences. Raises RequestSourceError where they are prompts."""
    if isinstance(requests, Prompts):
        raise RequestSourceError("prompts are no requests of sequences: a chat brings all that was said before")
    if isinstance(requests, Dataset):
        return replace(requests, sequences=sequences)
    return requests.in_sequences(sequences)
