"""What a kind of target finds at a place before there is a study: models that one can be written for."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from workloads.requests import TensorSpec


@dataclass(frozen=True)
class FoundModel:
    """A model that a study can be written for.

    Attributes:
        name: of the model, as a study names it.
        inputs: what one request takes, shapes without an axis of the batch and -1 for an open one; () where the place
            does not tell.
        knobs: names of the knobs that can be searched of it.
        max_batch: the largest batch that it takes as it is, 0 where it takes none or nobody tells.
        composing: the models that it is composed of, and those that these are composed of.
        sequences: whether its requests have to belong to sequences.
        streams: whether it may give several answers to a request, so that it has to be asked over a stream.
    """

    name: str
    inputs: tuple[TensorSpec, ...]
    knobs: tuple[str, ...] = ()
    max_batch: int = 0
    composing: tuple["FoundModel", ...] = ()
    sequences: bool = False
    streams: bool = False


@runtime_checkable
class FindsModels(Protocol):
    """A kind of target that can say which models there are at a place of its own kind."""

    def models_at(self, place: str, model: str | None) -> Sequence[FoundModel]:
        """Return the models at a place, by name.

        Args:
            place: a folder, or a URL.
            model: the one that is wanted, None: every one.

        Raises:
            TargetError: the place cannot be used, or has no such model; with the remedy.
        """
        ...
