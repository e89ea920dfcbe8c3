"""What can be tuned, as rows for a person: of a kind of target, or for one model of one's own."""

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from pydantic import ValidationError

from targets import registry
from targets.base import Config, Context, Knob, KnowsRules, TargetError, Value
from tuner.space import LOAD_KNOBS
from tuner.units import format_value

Row = dict[str, str]
NO_BOUND = 2**31 - 1
"""A bound from here on is that of the field's type, and nobody comes near it."""


def of_kind(kind: str) -> list[Row]:
    """Return the knobs of a kind of target and the load levels.

    Raises:
        TargetError: no such kind.
    """
    return [_knob_row(knob) for knob in (*registry.knobs(kind), *LOAD_KNOBS)]


def units_of(kind: str) -> dict[str, str]:
    """Return the units of the knobs of a kind of target and of the load levels: knob -> unit, "" for none.

    Raises:
        TargetError: no such kind.
    """
    return {knob.name: knob.unit for knob in (*registry.knobs(kind), *LOAD_KNOBS)}


def of_model(kind: str, model: str, repository: Path) -> list[Row]:
    """Return the knobs of a kind of target for one model, each with its value today or why it cannot be used.

    Raises:
        TargetError: no such kind, or the model cannot be used.
    """
    given = {"kind": kind, "model": model, "repository": repository.resolve()}
    try:
        options = registry.options_of(kind).model_validate({**given, **_asked(kind, model, repository)})
    except ValidationError as error:
        raise TargetError(
            f"target {kind!r} has no knobs of a model in a repository: {error.errors()[0]['msg']}"
        ) from None
    with TemporaryDirectory(prefix="paretune-knobs-") as folder:
        target = registry.create(options, Context(Path.cwd(), Path(folder) / "log.txt"))
        if isinstance(target, KnowsRules):
            target.expect([knob.name for knob in target.knobs()])
        own = target.user_config()
        return [_knob_row(knob, own) for knob in target.knobs()]


def _asked(kind: str, model: str, repository: Path) -> dict[str, Value]:
    """Return what a study says of the requests to a model that needs it; what is wrong with a place is told later."""
    try:
        found = registry.models_at(kind, str(repository), model)
    except TargetError:
        return {}
    return {"protocol": "grpc", "streaming": True} if any(one.streams for one in found) else {}


def shown(rows: Sequence[Row]) -> list[Row]:
    """Return rows as a terminal has room for them: a rule stands with what the knob is, the least of it is left out."""
    return [
        {
            **{name: text for name, text in row.items() if name not in ("type", "since", "rule")},
            "what": "; ".join(filter(None, (row["what"], row["rule"]))),
        }
        for row in rows
    ]


def _knob_row(knob: Knob, own: Config | None = None) -> Row:
    """Return what a person reads about a knob; with the user's configuration its value, or why it has none."""
    row = {"knob": knob.name, "type": knob.type if knob.unit != "/s" else "rate"}
    if own is not None:
        row["now"] = format_value(own[knob.name], knob.unit) if knob.name in own else ""
    row["legal"] = f"not here: {knob.unusable}" if knob.unusable else _legal(knob)
    return {**row, "applied": knob.applied, "since": knob.since, "rule": knob.rule, "what": knob.doc}


def _legal(knob: Knob) -> str:
    if knob.type == "choice":
        return ", ".join(knob.choices) or f"names of {knob.choices_from}"
    if knob.type == "bool":
        return "true, false"
    if knob.low is None and knob.high is None:
        return ""
    if knob.low is not None and (knob.high is None or knob.high >= NO_BOUND):
        return f"{'each ' if knob.type == 'list' else ''}{format_value(knob.low, knob.unit)} or more"
    bounds = ("" if bound is None else format_value(bound, knob.unit) for bound in (knob.low, knob.high))
    return f"{'each ' if knob.type == 'list' else ''}{' to '.join(bounds).strip()}"
