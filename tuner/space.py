"""The space a study searches: every parameter as a finite, ordered list of legal values, and what they must keep."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from functools import cached_property
from itertools import product
from math import prod
from typing import Any

import yaml

from targets import yaml_text
from targets.base import Config, Knob, Value
from tuner.nesting import flat, place_of
from tuner.relations import Relation, RelationError, parse_relation
from tuner.study.source import Source
from tuner.units import format_value
from workloads.units import is_multiple, parse_duration, parse_rate

LOAD_KNOBS = (
    Knob("concurrency", "int", 1, 65536, 1, "", "live", "requests in flight of closed-loop workloads"),
    Knob("rate", "duration", None, None, 0.0, "/s", "live", "mean rate that open-loop workloads are scaled to"),
    Knob("users", "int", 1, 65536, 1, "", "live", "users of locustfile workloads"),
)
LOAD_NAMES = tuple(knob.name for knob in LOAD_KNOBS)
MAX_VALUES = 10_000
MAX_COUNTED = 200_000
"""A space of more combinations is not counted one by one."""
NO_NUMBERS = "none"
"""A list without any numbers, as a value."""
UNORDERED = ("choice", "bool", "list")


@dataclass(frozen=True)
class Parameter:
    """One dimension of the space.

    Attributes:
        knob: what it sets.
        values: the legal values, ascending where they have an order.
        ordered: whether neighbours are alike; names and yes/no are not.
        when: the parameter counts only where this holds; elsewhere the knob keeps the user's value. None: everywhere.
    """

    knob: Knob
    values: tuple[Value, ...]
    ordered: bool
    when: Relation | None = None

    @property
    def name(self) -> str:
        """The knob's name."""
        return self.knob.name


@dataclass(frozen=True)
class Space:
    """The parameters of a study, in the order of its file.

    Attributes:
        parameters: what is searched.
        constraints: relations that every configuration keeps.
        own: the user's configuration: the values of knobs that are not searched, or not everywhere.
        starts: configurations that are tried first; knobs that one lacks keep the user's value.
    """

    parameters: tuple[Parameter, ...]
    constraints: tuple[Relation, ...] = ()
    own: Config = field(default_factory=dict)
    starts: tuple[Config, ...] = ()

    def __iter__(self) -> Iterator[Parameter]:
        return iter(self.parameters)

    @cached_property
    def size(self) -> int:
        """Number of configurations, load levels included; of a large space with conditions an upper bound."""
        combinations = prod(len(parameter.values) for parameter in self.parameters)
        free = not self.constraints and all(parameter.when is None for parameter in self.parameters)
        return combinations if free or combinations > MAX_COUNTED else sum(1 for _ in self.configs())

    def configs(self, slowest_first: Sequence[Parameter] = ()) -> Iterator[dict[str, Value]]:
        """Yield every configuration once, the last parameter's values fastest.

        Args:
            slowest_first: the parameters in another order; (): in their own.
        """
        order = slowest_first or self.parameters
        for values in product(*(parameter.values for parameter in order)):
            chosen = {parameter.name: value for parameter, value in zip(order, values, strict=True)}
            config = self.active(chosen)
            # Those that do not count in it have one value only: with others it is the same configuration.
            once = all(one.name in config or chosen[one.name] == one.values[0] for one in order)
            if once and self.allows(config):
                yield config

    def active(self, config: Config) -> dict[str, Value]:
        """Return the parameters of a configuration that count in it, in the space's order.

        Conditions are asked in that order, and of a parameter that does not count itself they see the user's value.
        """
        found: dict[str, Value] = {}
        for parameter in self.parameters:
            if parameter.name in config and (parameter.when is None or parameter.when.holds({**self.own, **found})):
                found[parameter.name] = config[parameter.name]
        return found

    def allows(self, config: Config) -> bool:
        """Whether a configuration keeps every constraint."""
        whole = {**self.own, **self.active(config)}
        return all(constraint.holds(whole) for constraint in self.constraints)

    @property
    def of_server(self) -> bool:
        """Whether it has a knob of the server, or load levels alone."""
        return any(parameter.name not in LOAD_NAMES for parameter in self.parameters)

    def at_every_load(self, server: Config) -> list[dict[str, Value]]:
        """Return the configurations of the space with these values of the server's knobs; [] where it has none."""
        loads = [one for one in self.parameters if one.name in LOAD_NAMES]
        levels = [
            dict(zip([one.name for one in loads], values, strict=True))
            for values in product(*(one.values for one in loads))
        ]
        found = (self.nearest({**server, **level}) for level in levels)
        return [config for config in found if config is not None and self.allows(config)]

    def nearest(self, config: Config) -> dict[str, Value] | None:
        """Return a configuration in terms of the space, None where a value that counts in it is not in the space.

        A parameter that does not count in it has its first value.
        """
        whole = {
            one.name: one.values[one.values.index(config[one.name])]
            if config.get(one.name) in one.values
            else one.values[0]
            for one in self.parameters
        }
        active = self.active(whole)
        return whole if all(config.get(name) == value for name, value in active.items()) else None

    def without_load(self) -> "Space":
        """Return the parameters of the server alone."""
        return replace(self, parameters=tuple(one for one in self.parameters if one.name not in LOAD_NAMES))

    def levels(self, name: str) -> tuple[Value, ...]:
        """Return the values of a load parameter, () where the study does not search or fix it."""
        return next((parameter.values for parameter in self.parameters if parameter.name == name), ())


def server_part(config: Config) -> dict[str, Value]:
    """Return the knobs of a configuration without its load level."""
    return {name: value for name, value in config.items() if name not in LOAD_NAMES}


def make_space(
    raw: Mapping[str, Any],
    knobs: Sequence[Knob],
    source: Source,
    constraints: Sequence[object] = (),
    own: Config | None = None,
) -> Space:
    """Check the study's `space` and its constraints against what the target can apply.

    Args:
        raw: the study's `space`; the knobs of a group by their names, see `nesting.flat`.
        knobs: of the target.
        source: of the study.
        constraints: relations between knobs, as the study has them.
        own: the user's configuration.

    Raises:
        StudyError: an unknown knob or one that is fixed, a value out of its legal range or of the wrong kind; no
            relation, or one that no configuration keeps; with its line.
    """
    known = {knob.name: knob for knob in (*knobs, *LOAD_KNOBS)}
    parameters: list[Parameter] = []
    for name, given in raw.items():
        if name not in known:
            here = [knob.name for knob in known.values() if not knob.place]
            close = get_close_matches(name, here, n=1)
            hint = f"did you mean `{close[0]}`?" if close else f"known: {', '.join(here)}"
            raise source.error(("space", name), f"no such knob; {hint}")
        if known[name].unusable:
            raise source.error(place_of(known[name]), f"cannot be used here: {known[name].unusable}; take it out")
        when, wanted = None, given
        if isinstance(given, dict) and "when" in given:
            before = {one.name for one in parameters} | {knob.name for knob in knobs if knob.name not in raw}
            when = _relation(given["when"], known, frozenset(before), source, (*place_of(known[name]), "when"))
            rest = {key: value for key, value in given.items() if key != "when"}
            wanted = rest["values"] if set(rest) == {"values"} else rest
        values = _Reader(known[name], source).values(wanted)
        parameters.append(Parameter(known[name], values, known[name].type not in UNORDERED, when))
    kept = tuple(
        _relation(text, known, frozenset(known), source, ("constraints", index))
        for index, text in enumerate(constraints)
    )
    space = Space(tuple(parameters), kept, dict(own or {}))
    if kept and next(space.configs(), None) is None:
        raise source.error(("constraints",), "no configuration of the space keeps all of them")
    return space


def with_starts(space: Space, raw: Sequence[Mapping[str, Any]], source: Source) -> Space:
    """Return a space with the configurations that the study wants tried first.

    Raises:
        StudyError: one has a knob or a value that is not in the space, or does not keep the constraints; with its line.
    """
    parameters = {parameter.name: parameter for parameter in space}
    starts = []
    for index, given in enumerate(raw):
        place = ("search", "start", index)
        config: dict[str, Value] = {}
        for name, value in flat(given, [one.knob for one in space], source, place).items():
            if name not in parameters:
                raise source.error((*place, name), f"is not in the space; it has {', '.join(parameters)}")
            one = parameters[name]
            config[name] = _Reader(one.knob, source, (*place, name)).value(value)
            if config[name] not in one.values:
                known = ", ".join(format_value(each, one.knob.unit) for each in one.values)
                raise source.error((*place, name), f"{value} is not in the space; it has {known}")
        if not space.allows(config):
            raise source.error(place, "does not keep the study's `constraints`")
        starts.append(config)
    return replace(space, starts=tuple(starts))


def _relation(
    text: object, known: Mapping[str, Knob], names: frozenset[str], source: Source, place: tuple[str | int, ...]
) -> Relation:
    def read(name: str, value: str) -> Value:
        try:
            given = yaml_text.load(value)
        except yaml.YAMLError:
            given = value
        return _Reader(known[name], source, place).value(given)

    try:
        relation = parse_relation(text, read, names)
    except RelationError as error:
        raise source.error(place, str(error)) from None
    for term in relation.terms:
        ordered = [known[name].type not in UNORDERED for name in (term.left, term.right) if name]
        if len(set(ordered)) > 1:
            raise source.error(place, f"{term.left} and {term.right} cannot be compared: one is a number, one a name")
        if not ordered[0] and term.sign not in ("==", "!="):
            raise source.error(place, f"{term.left} has no order; compare it with == or !=")
    return relation


def _whole_numbers(given: object) -> list[int]:
    """Return the numbers of `4,8`, `none` or one number. Raises ValueError."""
    return [] if given == NO_NUMBERS else [int(part) for part in str(given).split(",")]


@dataclass(frozen=True)
class _Reader:
    """Reads the values of one knob from the study."""

    knob: Knob
    source: Source
    place: tuple[str | int, ...] = ()

    def value(self, given: object) -> Value:
        """Read one value; a range of the knob does not bind it."""
        return self._number(given)

    def values(self, given: object) -> tuple[Value, ...]:
        if isinstance(given, dict):
            return self._range(given)
        if isinstance(given, list):
            if not given:
                raise self._error("needs at least one value")
            values = tuple(self._value(item, index) for index, item in enumerate(given))
            if len(set(values)) != len(values):
                raise self._error("names a value twice")
            return values if self.knob.type in UNORDERED else tuple(sorted(values))
        return (self._value(given),)

    def _range(self, given: dict[str, object]) -> tuple[Value, ...]:
        if unknown := set(given) - {"low", "high", "scale", "step"}:
            raise self._error(
                "unknown key; a range has low, high, scale (linear or log2), step and when; a list with a condition "
                "has values and when",
                unknown.pop(),
            )
        if self.knob.type in UNORDERED:
            raise self._error(f"is a list of {self._listed()}")
        for bound in ("low", "high"):
            if bound not in given:
                raise self._error(f"a range needs `{bound}`")
        low, high = (float(self._value(given[bound], bound)) for bound in ("low", "high"))
        if low > high:
            raise self._error(f"`low <= high` must hold, but got low {given['low']} and high {given['high']}")
        scale = given.get("scale", "linear")
        if scale == "log2" and "step" in given:
            raise self._error("a log2 range doubles from `low` to `high` and takes no `step`", "step")
        if scale == "log2":
            return self._whole(self._doublings(low, high))
        if scale != "linear":
            raise self._error(f"must be `linear` or `log2`, but got {scale!r}", "scale")
        return self._whole(self._steps(low, high, given.get("step")))

    def _doublings(self, low: float, high: float) -> tuple[Value, ...]:
        """Return low, 2 low, 4 low, ... and high."""
        if low <= 0:
            raise self._error("a log2 range needs low > 0; list the values to include 0", "low")
        values = []
        while low < high:
            values.append(low)
            low *= 2
        return tuple(self._typed(value) for value in (*values, high))

    def _steps(self, low: float, high: float, step: object) -> tuple[Value, ...]:
        if step is None and self.knob.type != "int":
            raise self._error("a linear range of this knob needs `step`; or use `scale: log2`, or list the values")
        width = 1.0 if step is None else float(self._number(step, "step"))
        if width <= 0 or (high - low) / width > MAX_VALUES:
            raise self._error(f"step {step} makes no list of 1 to {MAX_VALUES} values; take a wider one", "step")
        count = int((high - low) / width + 1e-9) + 1
        return tuple(self._typed(float(f"{low + index * width:.12g}")) for index in range(count))

    def _value(self, given: object, *place: str | int) -> Value:
        value = self._number(given, *place)
        knob = self.knob
        numbers = [value] if isinstance(value, int | float) else _whole_numbers(value) if knob.type == "list" else []
        if any(
            (knob.low is not None and one < knob.low) or (knob.high is not None and one > knob.high) for one in numbers
        ):
            low, high = ("any" if bound is None else format_value(bound, knob.unit) for bound in (knob.low, knob.high))
            raise self._error(f"{given} is out of the legal range, {low} to {high}", *place)
        self._whole([value], *place)
        return value

    def _whole(self, values: Sequence[Value], *place: str | int) -> tuple[Value, ...]:
        """Return numbers that are whole multiples of what the knob is counted in."""
        grain, unit = self.knob.grain, self.knob.unit
        for one in values if grain else ():
            if not is_multiple(float(one), grain):
                counted, given = (format_value(number, unit) for number in (grain, one))
                raise self._error(f"{given} is no whole multiple of {counted}, which the server counts in", *place)
        return tuple(values)

    def _number(self, given: object, *place: str | int) -> Value:
        knob = self.knob
        if knob.type == "choice":
            return self._choice(given, *place)
        if knob.type == "list":
            return self._list(given, *place)
        if knob.type == "bool":
            if not isinstance(given, bool):
                raise self._error(f"expected true or false, but got {given!r}", *place)
            return given
        if knob.type == "int":
            if not isinstance(given, int) or isinstance(given, bool):
                raise self._error(f"expected a whole number, but got {given!r}", *place)
            return given
        if knob.type == "float":
            if not isinstance(given, int | float) or isinstance(given, bool):
                raise self._error(f"expected a number, but got {given!r}", *place)
            return float(given)
        try:
            return parse_rate(given) if knob.unit == "/s" else parse_duration(given)
        except ValueError as error:
            raise self._error(str(error), *place) from None

    def _choice(self, given: object, *place: str | int) -> str:
        if given not in self.knob.choices:
            one = self._names().removeprefix("names of ")
            what = f"no name of {one}" if self.knob.choices_from else f"none of {', '.join(self.knob.choices)}"
            raise self._error(f"{given!r} is {what}", *place)
        return str(given)

    def _list(self, given: object, *place: str | int) -> str:
        """Read a list of whole numbers, or one number, as text: ascending, `4,8`, or `none`."""
        try:
            numbers = given if isinstance(given, list) else _whole_numbers(given)
            if any(isinstance(one, bool) or not isinstance(one, int) for one in numbers):
                raise ValueError
        except ValueError:
            raise self._error(f"expected a list of whole numbers, but got {given!r}", *place) from None
        return ",".join(map(str, sorted(set(numbers)))) or NO_NUMBERS

    def _listed(self) -> str:
        """Say what the values of a knob without an order are listed from."""
        if self.knob.type == "choice":
            return self._names()
        return "true and false" if self.knob.type == "bool" else "lists of whole numbers, like [[4], [4, 8], []]"

    def _names(self) -> str:
        """Say which names a choice has: `names of target.variants (fp32, int8)`."""
        names = ", ".join(self.knob.choices) or "none given"
        return f"names of {self.knob.choices_from} ({names})" if self.knob.choices_from else f"names: {names}"

    def _typed(self, value: float) -> Value:
        return int(value) if self.knob.type == "int" else value

    def _error(self, message: str, *place: str | int) -> Exception:
        return self.source.error((*(self.place or place_of(self.knob)), *place), message)
