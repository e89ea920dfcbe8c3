"""Targets by name, found through the entry points of group `paretune.targets`."""

from collections.abc import Sequence
from difflib import get_close_matches
from functools import cache
from importlib.metadata import EntryPoint, entry_points

from targets.base import Context, Knob, Target, TargetError, TargetKind
from targets.found import FindsModels, FindsServedModels, FoundModel
from targets.options import TargetOptions

GROUP = "paretune.targets"


def names() -> list[str]:
    """Return the kinds of target that are installed, sorted."""
    return sorted(_points())


def create(options: TargetOptions, context: Context) -> Target:
    """Make a target of the kind that its options name.

    Raises:
        TargetError: no such kind is installed, or it cannot read the user's files.
    """
    return _load(options.kind)(options, context)


def options_of(kind: str) -> type[TargetOptions]:
    """Return the shape of the study's `target` section for a kind.

    Raises:
        TargetError: no such kind is installed, or a part of it is missing.
    """
    return _load(kind).Options


def unknown(kind: str) -> str:
    """Say that there is no such kind, and what there is."""
    close = get_close_matches(kind, names(), n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"installed: {', '.join(names())}"
    return f"no target of kind {kind!r}; {hint}"


@cache
def _points() -> dict[str, EntryPoint]:
    """Return what is installed, by kind; every installed distribution is looked through for it, once."""
    return {point.name: point for point in entry_points(group=GROUP)}


def _load(kind: str) -> TargetKind:
    points = _points()
    if kind not in points:
        raise TargetError(unknown(kind))
    try:
        found: TargetKind = points[kind].load()
    except ImportError as error:
        raise TargetError(f"target {kind!r} ({points[kind].value}) cannot be imported: {error}") from None
    return found


def knobs(kind: str) -> Sequence[Knob]:
    """Return the knobs of a kind of target without making one."""
    return _load(kind).all_knobs()


def availability(kind: str) -> str:
    """Say which server a local launch would take.

    Raises:
        TargetError: none; with the remedy.
    """
    return _load(kind).availability()


def models_at(kind: str, place: str, model: str | None) -> Sequence[FoundModel]:
    """Return the models in a folder that a kind of target can serve, or the one that is wanted.

    Raises:
        NothingFound: the folder has no models of the kind.
        TargetError: the kind cannot look for models, or the folder cannot be used; with the remedy.
    """
    found = _load(kind)
    if not isinstance(found, FindsModels):
        raise TargetError(f"target {kind!r} cannot look for models; write its study by hand, `tune schema` helps")
    return found.models_at(place, model)


def models_served(kind: str, url: str, model: str | None, key_env: str | None) -> Sequence[FoundModel]:
    """Return the models of a server that runs, or the one that is wanted; see `FindsServedModels`.

    Raises:
        NothingFound: the server does not speak what the kind of target does.
        TargetError: the kind cannot look for models, or the server cannot be used; with the remedy.
    """
    found = _load(kind)
    if not isinstance(found, FindsServedModels):
        raise TargetError(
            f"target {kind!r} asks no server for its models; write its study by hand, `tune schema` helps"
        )
    return found.models_served(url, model, key_env)
