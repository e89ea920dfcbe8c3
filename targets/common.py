"""What several targets need: knobs with a study's names, requests of the right kind."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from targets.base import Endpoint, Knob, Unfit
from workloads.requests import Dataset, Prompts, Requests, RequestSourceError, TensorSpec

_KEPT = 8
"""Encoded sources: those of all workloads of a study, but not of all measurements where each has fresh requests."""


def named_choices(knobs: Sequence[Knob], name: str, choices: Iterable[str]) -> list[Knob]:
    """Return knobs with the choices of one of them set to the names that a study gives."""
    return [replace(knob, choices=tuple(choices)) if knob.name == name else knob for knob in knobs]


def a_dataset(requests: Requests, inputs: Sequence[TensorSpec]) -> Dataset:
    """Return requests as tensors.

    Args:
        requests: what is to be sent.
        inputs: of the model, one item of each; () where the server does not tell.

    Raises:
        Unfit: they are prompts, or cannot be what the model takes.
    """
    if isinstance(requests, Prompts):
        raise Unfit("this server takes tensors, not prompts; give `source: dataset`")
    if isinstance(requests, Dataset):
        return requests
    try:
        return requests.shaped(inputs)
    except RequestSourceError as error:
        raise Unfit(str(error)) from None


def check_tensors(requests: Requests) -> None:
    """Check that requests are tensors. Raises Unfit when they are prompts."""
    if isinstance(requests, Prompts):
        raise Unfit("this server takes tensors, not prompts; give `source: dataset`")


class Encoded:
    """Requests encoded once for a deployment; those that were asked for last are kept.

    Args:
        encode: requests -> where and how to send them.
        kept: how many.
        dropped: told of each that is not kept any longer.
    """

    def __init__(
        self,
        encode: Callable[[Requests], Endpoint],
        kept: int = _KEPT,
        dropped: Callable[[Endpoint], None] | None = None,
    ) -> None:
        self._encode, self._most, self._dropped = encode, kept, dropped
        self._kept: dict[int, tuple[Requests, Endpoint]] = {}

    def __call__(self, requests: Requests) -> Endpoint:
        """Return the requests encoded."""
        kept = self._kept.pop(id(requests), None) or (requests, self._encode(requests))
        while len(self._kept) >= self._most:
            _, gone = self._kept.pop(next(iter(self._kept)))
            if self._dropped is not None:
                self._dropped(gone)
        self._kept[id(requests)] = kept  # the last one
        return kept[1]


def prompts(requests: Requests) -> Prompts:
    """Return requests as the prompts that they are. Raises Unfit when they are tensors."""
    if not isinstance(requests, Prompts):
        raise Unfit("this server takes prompts, not tensors; give `source: prompts`")
    return requests
