"""A study's `space` whose knobs stand in groups, as one mapping from knobs to what the study gives them. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from targets.base import Knob
from tuner.study import paths
from tuner.study.source import Keys, Source, StudyError

SPACE: Keys = ("space",)
COMPOSING = "composing"
GROUPS = (COMPOSING, "models")
"""Keys of `space` that hold the knobs of one model after the other; a knob of one is called `MODEL.KNOB`."""


def knob_names(raw: Mapping[str, Any]) -> list[str]:
    """Return the knobs that a study's `space` names, whatever the target has."""
    names: list[str] = []
    for key, given in raw.items():
        if key not in GROUPS or not isinstance(given, dict):
            names.append(key)
            continue
        for model, knobs in given.items():
            names += [f"{model}.{name}" for name in knobs] if isinstance(knobs, dict) else []
    return names


def place_of(knob: Knob) -> Keys:
    """Return where the study's `space` has a knob."""
    return (*SPACE, *(knob.place or (knob.name,)))


def override_of(option: str, given: str, knobs: Sequence[Knob]) -> str:
    """Return `KNOB=VALUE` as an override of a study: a knob of one of several models stands deeper than its name says.

    A model's name that has dots may stand in quotes; it need not, as the names of all knobs are known.

    Args:
        option: what it was given with, for the error.
        given: it.
        knobs: of the target; those whose names have no dot need not be among them.

    Raises:
        StudyError: there is no such knob of a model, or a quote has no end.
    """
    try:
        keys, value = paths.split(given)
    except ValueError as error:
        raise StudyError(f"{option} {given}: {error}") from None
    places = {knob.name: place_of(knob) for knob in knobs if knob.place}
    in_group = keys[0] in GROUPS
    whole = ".".join(keys)  # a model may have the name of a group
    name = ".".join(keys[1:]) if in_group and whole not in places else whole
    if "." in name and name not in places and not in_group:
        close = get_close_matches(name, places, n=1)
        hint = f"did you mean `{close[0]}`?" if close else "a knob of one of several models is `MODEL.KNOB`"
        raise StudyError(f"{option} {given}: there is no knob {name!r}; {hint}")
    place = paths.joined(places.get(name, (*SPACE, *keys)))
    return place if value is None else f"{place}={value}"


def flat(raw: Mapping[str, Any], knobs: Sequence[Knob], source: Source, within: Keys = SPACE) -> dict[str, Any]:
    """Return knob -> what a study gives it; what stands under no group stays as it is.

    Args:
        raw: the study's `space`, or a part of the study of the same shape.
        knobs: of the target.
        source: of the study.
        within: where `raw` stands.

    Raises:
        StudyError: a group or a knob in one that the target does not have, with its line.
    """
    named = {knob.place: knob.name for knob in knobs if knob.place}
    found: dict[str, Any] = {}
    for key, given in raw.items():
        if any(place[0] == key for place in named):
            found |= dict(_inner(given, (key,), named, source, within))
        elif key == COMPOSING:
            raise source.error(
                (*within, key),
                "has the models that an ensemble is composed of, or that a model calls (Triton's `target.also`), and "
                "this target has none; take it out",
            )
        elif within == SPACE and key in named.values():
            *groups, last = next(place for place, name in named.items() if name == key)
            nested = "".join(f"{group}: {{" for group in groups) + f"{last}: ...{'}' * len(groups)}"
            raise source.error((*within, key), f"stands deeper; write `{nested}`")
        else:
            found[key] = given
    return found


def _inner(
    given: object, place: tuple[str, ...], named: Mapping[tuple[str, ...], str], source: Source, within: Keys
) -> Iterator[tuple[str, Any]]:
    if place in named:
        yield named[place], given
        return
    depth = len(place)
    known = list(dict.fromkeys(one[depth] for one in named if one[:depth] == place))
    if not isinstance(given, dict) or not given:
        raise source.error((*within, *place), f"expected a mapping of {', '.join(known)}, but got {given!r}")
    for key, inner in given.items():
        if key not in known:
            hint = _hint((*within, *place), str(key), known, source)
            raise source.error((*within, *place, key), f"no such name under `{'.'.join(place)}`; {hint}")
        yield from _inner(inner, (*place, key), named, source, within)


def _hint(within: Keys, key: str, known: Sequence[str], source: Source) -> str:
    """Say what may have been meant by a key that is not known; an override may have cut a name at its dot."""
    here = (*within, key)
    if any(path[: len(here)] == here for path in source.overridden):
        for name in known:
            if name.startswith(f"{key}."):
                return (
                    f"a name that has dots stands in quotes: {paths.joined((*within, name))}; single quotes around the "
                    "whole argument make the shell keep them"
                )
    close = get_close_matches(key, known, n=1)
    return f"did you mean `{close[0]}`?" if close else f"known: {', '.join(known)}"
