"""What several targets need: knobs with a study's names, requests of the right kind."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from targets.base import Knob, TargetError
from workloads.requests import Dataset, Prompts, Requests


def named_choices(knobs: Sequence[Knob], name: str, choices: Iterable[str]) -> list[Knob]:
    """Return knobs with the choices of one of them set to the names that a study gives."""
    return [replace(knob, choices=tuple(choices)) if knob.name == name else knob for knob in knobs]


def a_dataset(requests: Requests) -> Dataset:
    """Return requests as the dataset that they are. Raises TargetError when they are prompts."""
    if not isinstance(requests, Dataset):
        raise TargetError("this server takes tensors, not prompts; give `source: dataset`")
    return requests


def prompts(requests: Requests) -> Prompts:
    """Return requests as the prompts that they are. Raises TargetError when they are tensors."""
    if not isinstance(requests, Prompts):
        raise TargetError("this server takes prompts, not tensors; give `source: prompts`")
    return requests
