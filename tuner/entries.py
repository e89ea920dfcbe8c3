"""The parameters of a study's `space` as the file has them: one after the other, or those of each model together."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tuner.study.source import Source

GROUPS = ("models",)
"""Keys of `space` that hold the knobs of one model after the other; a knob of one is called `MODEL.KNOB`."""


@dataclass(frozen=True)
class Entry:
    """A parameter as the study has it.

    Attributes:
        name: of the knob, `MODEL.KNOB` where it is one of a model among several.
        place: its keys in the study.
        given: its values.
    """

    name: str
    place: tuple[str, ...]
    given: Any


def entries_of(raw: Mapping[str, Any], source: Source) -> list[Entry]:
    """Return the parameters of a study's `space`, those of each model by their whole names.

    Raises:
        StudyError: a group of models is no mapping of mappings, or a parameter stands there twice; with its line.
    """
    found: list[Entry] = []
    for key, given in raw.items():
        if key not in GROUPS:
            found.append(Entry(key, ("space", key), given))
            continue
        for model, knobs in _mapping(given, source, ("space", key)).items():
            inside = _mapping(knobs, source, ("space", key, model))
            found += [Entry(f"{model}.{name}", ("space", key, model, name), one) for name, one in inside.items()]
    for index, entry in enumerate(found):
        if entry.name in [one.name for one in found[:index]]:
            raise source.error(entry.place, f"`{entry.name}` is given twice; keep one")
    return found


def _mapping(given: Any, source: Source, place: tuple[str, ...]) -> Mapping[str, Any]:
    if not isinstance(given, dict):
        what = "models with their knobs" if len(place) == 2 else "knobs with their values"
        raise source.error(place, f"expected a mapping of {what}, but got {given!r}")
    return {str(name): one for name, one in given.items()}
