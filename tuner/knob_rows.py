"""What can be tuned, as rows for a person: of a kind of target, for one model of one's own, or in a study."""

import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from pydantic import ValidationError

from targets import registry
from targets.base import PRIVATE, Config, Context, Knob, KnowsRules, Target, TargetError, Value
from tuner.space import LOAD_KNOBS
from tuner.study.load import load_study
from tuner.units import format_value

Row = dict[str, str]
Document = dict[str, Value | list[Value] | None]
NO_BOUND = 2**31 - 1
"""A bound from here on is that of the field's type, and nobody comes near it."""


@dataclass(frozen=True)
class Listed:
    """A knob, with the user's configuration where it is told of a model.

    Attributes:
        knob: the knob.
        own: the values that the model has today; None where no model is told of.
        server: version of the server that it is told of, "" where none is.
    """

    knob: Knob
    own: Config | None = None
    server: str = ""

    @property
    def too_old(self) -> bool | None:
        """Whether the server has it not yet; None where that is not known."""
        has, needs = _numbers(self.server), _numbers(self.knob.since)
        return has < needs if has and needs else None

    def row(self) -> Row:
        """Return what a person reads about it, its value today or why it has none among it."""
        knob, own = self.knob, self.own
        row = {"knob": knob.name, "type": knob.type if knob.unit != "/s" else "rate"}
        if own is not None:
            row["now"] = format_value(own[knob.name], knob.unit) if knob.name in own else ""
        why = f"the server is {self.server}, and {knob.since} brought it" if self.too_old else knob.unusable
        row["legal"] = f"not here: {why}" if why else _legal(knob)
        return {**row, "applied": knob.applied, "since": knob.since, "rule": knob.rule, "what": knob.doc}

    def document(self) -> Document:
        """Return the same for a program, with the numbers behind it in the knob's unit."""
        knob = self.knob
        choices: list[Value] = [True, False] if knob.type == "bool" else list(knob.choices)
        numbers = {"unit": knob.unit, "default": knob.default, "low": knob.low, "high": knob.high, "choices": choices}
        return {**self.row(), **numbers, "server": self.server or None, "too_old": self.too_old}


def of_kind(kind: str) -> list[Listed]:
    """Return the knobs of a kind of target and the load levels.

    Raises:
        TargetError: no such kind.
    """
    return [Listed(knob) for knob in (*registry.knobs(kind), *LOAD_KNOBS)]


def units_of(kind: str) -> dict[str, str]:
    """Return the units of the knobs of a kind of target and of the load levels: knob -> unit, "" for none.

    Raises:
        TargetError: no such kind.
    """
    return {knob.name: knob.unit for knob in (*registry.knobs(kind), *LOAD_KNOBS)}


def of_model(kind: str, model: str, repository: Path) -> list[Listed]:
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
        return _of_target(registry.create(options, Context(Path.cwd(), Path(folder) / "log.txt")))


def of_study(kind: str, path: Path) -> tuple[list[Listed], str]:
    """Return the knobs of a study's target as it has it, each with its value today or why it cannot be used there.

    Where a knob says which version of the server brought it, the server is started, or asked where it runs already, for
    its own version.

    Returns:
        The knobs, and what their versions were compared with or why with none; "" where there are no versions.

    Raises:
        StudyError: the study cannot be read, or is of another kind.
        TargetError: the target's files cannot be used.
    """
    study = load_study(path)
    spec, folder = study.spec, study.source.path.parent.resolve()
    if spec.target.kind != kind:
        raise study.source.error(("target", "kind"), f"is {spec.target.kind}: give `tune knobs` that kind, not {kind}")
    with TemporaryDirectory(prefix="paretune-knobs-") as scratch:
        context = Context(folder, Path(scratch) / "log.txt", private=PRIVATE | spec.search.private)
        target = registry.create(spec.target, context)
        if not any(knob.since for knob in target.knobs()):
            return _of_target(target), ""
        try:
            version = _version(target)
        except TargetError as error:
            return _of_target(target), f"the versions are compared with no server's: {error}"
        return _of_target(target, version), f"the versions are compared with that of the server, {version}"


def _of_target(target: Target, version: str = "") -> list[Listed]:
    if isinstance(target, KnowsRules):
        with suppress(TargetError):  # it cannot have all of them at once, and has taken note of them all the same
            target.expect([knob.name for knob in target.knobs()])
    own = target.user_config()
    return [Listed(knob, own, version) for knob in target.knobs()]


def _version(target: Target) -> str:
    """Return the version of a target's server. Raises TargetError where it does not start, answer or tell it."""
    try:
        target.start()
        said = target.environment().get("server", "")
    finally:
        target.stop()
    if (found := re.search(r"\d+(\.\d+)+", said)) is None:
        raise TargetError(f"it tells none, but {said!r}")
    return found[0]


def _numbers(version: str) -> tuple[int, ...]:
    """Return the numbers of a version; () where there are none, or where an earlier one may do as well."""
    found = re.fullmatch(r"\d+(\.\d+)*", version)
    return tuple(map(int, found[0].split("."))) if found else ()


def _asked(kind: str, model: str, repository: Path) -> dict[str, Value]:
    """Return what a study says of the requests to a model that needs it; what is wrong with a place is told later."""
    try:
        found = registry.models_at(kind, str(repository), model)
    except TargetError:
        return {}
    return {"protocol": "grpc", "streaming": True} if any(one.streams for one in found) else {}


def shown(listed: Sequence[Listed]) -> list[Row]:
    """Return rows as a terminal has room for: a rule stands with what the knob is, the least of it is left out."""
    return [
        {
            **{name: text for name, text in row.items() if name not in ("type", "since", "rule")},
            "what": "; ".join(filter(None, (row["what"], row["rule"]))),
        }
        for row in (one.row() for one in listed)
    ]


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
