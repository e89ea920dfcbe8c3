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
from tuner.knob_values import UNORDERED, ValueReader
from tuner.nesting import flat, place_of
from tuner.relations import Relation, RelationError, parse_relation
from tuner.rules import MAX_JUDGED, Rule, Rules, left_out
from tuner.run_info import LeftOut
from tuner.study.source import Source
from tuner.units import format_value

LOAD_KNOBS = (
    Knob("concurrency", "int", 1, 65536, 1, "", "live", "requests in flight of closed-loop workloads"),
    Knob("rate", "duration", None, None, 0.0, "/s", "live", "mean rate that open-loop workloads are scaled to"),
    Knob("users", "int", 1, 65536, 1, "", "live", "users of locustfile workloads"),
)
LOAD_NAMES = tuple(knob.name for knob in LOAD_KNOBS)
MAX_COUNTED = 200_000
"""A space of more combinations is not counted one by one."""


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
        rules: of the server, where it has some that are known without it. They leave out no start: what the user
            wants tried is, and is refused with the rule.
    """

    parameters: tuple[Parameter, ...]
    constraints: tuple[Relation, ...] = ()
    own: Config = field(default_factory=dict)
    starts: tuple[Config, ...] = ()
    rules: Rules | None = field(default=None, compare=False, repr=False)

    def __iter__(self) -> Iterator[Parameter]:
        return iter(self.parameters)

    @cached_property
    def size(self) -> int:
        """Number of configurations, load levels included; of a large space with conditions or rules an upper bound."""
        judged = self.rules is not None and self.combinations <= MAX_JUDGED
        free = not self.constraints and all(parameter.when is None for parameter in self.parameters)
        if self.combinations > MAX_COUNTED or (free and not judged):
            return self.combinations
        return sum(1 for _ in (self if judged else self.without_rules()).configs())

    @property
    def combinations(self) -> int:
        """Number of combinations of all values, whatever leaves some of them out."""
        return prod(len(parameter.values) for parameter in self.parameters)

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
        """Whether a configuration keeps every constraint, and every rule of the server that is known without it."""
        active = self.active(config)
        whole = {**self.own, **active}
        return all(constraint.holds(whole) for constraint in self.constraints) and not self.broken(active)

    def broken(self, active: Config) -> tuple[Rule, ...]:
        """Return the rules of the server that a configuration breaks, whose parameters all count in it."""
        if self.rules is None:
            return ()
        server = server_part(active)
        return () if server in self._started else self.rules.broken(server)

    def left_out(self) -> LeftOut | None:
        """Return what the server's rules leave out, of a large space of what came up so far; None: nothing."""
        if self.rules is None or self.combinations > MAX_JUDGED:
            return None if self.rules is None else self.rules.met()
        return self._left_out

    @cached_property
    def _left_out(self) -> LeftOut | None:
        every = list(self.without_rules().configs())
        return left_out((self.broken(config) for config in every), len(every))

    @cached_property
    def _started(self) -> list[Config]:
        """The starts, as far as they are about the server, in terms of the space."""
        own = {one.name: self.own[one.name] if self.own.get(one.name) in one.values else one.values[0] for one in self}
        return [server_part(self.active({**own, **start})) for start in self.starts]

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

    def without_rules(self) -> "Space":
        """Return the same, as if nothing were known of the server's rules."""
        return replace(self, rules=None)

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
        values = ValueReader(known[name], source).values(wanted)
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
            config[name] = ValueReader(one.knob, source, (*place, name)).value(value)
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
        return ValueReader(known[name], source, place).value(given)

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
