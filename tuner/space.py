"""The space a study searches: every parameter as a finite, ordered list of legal values."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from math import prod
from typing import Any

from targets.base import Config, Knob, Value
from tuner.study.source import Source
from tuner.units import format_value
from workloads.units import parse_duration, parse_rate

LOAD_KNOBS = (
    Knob("concurrency", "int", 1, 65536, 1, "", "live", "requests in flight of closed-loop workloads"),
    Knob("rate", "duration", None, None, 0.0, "/s", "live", "mean rate that open-loop workloads are scaled to"),
)
LOAD_NAMES = tuple(knob.name for knob in LOAD_KNOBS)
MAX_VALUES = 10_000
UNORDERED = ("choice", "bool")


@dataclass(frozen=True)
class Parameter:
    """One dimension of the space.

    Attributes:
        knob: what it sets.
        values: the legal values, ascending where they have an order.
        ordered: whether neighbours are alike; names and yes/no are not.
    """

    knob: Knob
    values: tuple[Value, ...]
    ordered: bool

    @property
    def name(self) -> str:
        """The knob's name."""
        return self.knob.name


@dataclass(frozen=True)
class Space:
    """The parameters of a study, in the order of its file."""

    parameters: tuple[Parameter, ...]

    def __iter__(self) -> Iterator[Parameter]:
        return iter(self.parameters)

    @property
    def size(self) -> int:
        """Number of configurations, load levels included."""
        return prod(len(parameter.values) for parameter in self.parameters)

    @property
    def of_server(self) -> bool:
        """Whether it has a knob of the server, or load levels alone."""
        return any(parameter.name not in LOAD_NAMES for parameter in self.parameters)

    def levels(self, name: str) -> tuple[Value, ...]:
        """Return the values of a load parameter, () where the study does not search or fix it."""
        return next((parameter.values for parameter in self.parameters if parameter.name == name), ())


def server_part(config: Config) -> dict[str, Value]:
    """Return the knobs of a configuration without its load level."""
    return {name: value for name, value in config.items() if name not in LOAD_NAMES}


def make_space(raw: Mapping[str, Any], knobs: Sequence[Knob], source: Source) -> Space:
    """Check the study's `space` against what the target can apply.

    Raises:
        StudyError: an unknown knob, a value out of its legal range or of the wrong kind; with its line.
    """
    known = {knob.name: knob for knob in (*knobs, *LOAD_KNOBS)}
    parameters = []
    for name, given in raw.items():
        if name not in known:
            close = get_close_matches(name, known, n=1)
            hint = f"did you mean `{close[0]}`?" if close else f"known: {', '.join(known)}"
            raise source.error(("space", name), f"no such knob; {hint}")
        values = _Reader(known[name], source).values(given)
        parameters.append(Parameter(known[name], values, ordered=known[name].type not in UNORDERED))
    return Space(tuple(parameters))


@dataclass(frozen=True)
class _Reader:
    """Reads the values of one knob from the study."""

    knob: Knob
    source: Source

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
            raise self._error("unknown key; a range has low, high, scale (linear or log2) and step", unknown.pop())
        if self.knob.type == "choice":
            raise self._error(f"is a list of {self._names()}")
        if self.knob.type == "bool":
            raise self._error("is a list of true and false")
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
            return self._doublings(low, high)
        if scale != "linear":
            raise self._error(f"must be `linear` or `log2`, but got {scale!r}", "scale")
        return self._steps(low, high, given.get("step"))

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
        if isinstance(value, int | float) and (
            (knob.low is not None and value < knob.low) or (knob.high is not None and value > knob.high)
        ):
            low, high = ("any" if bound is None else format_value(bound, knob.unit) for bound in (knob.low, knob.high))
            raise self._error(f"{given} is out of the legal range, {low} to {high}", *place)
        return value

    def _number(self, given: object, *place: str | int) -> Value:
        knob = self.knob
        if knob.type == "choice":
            if given not in knob.choices:
                one = self._names().removeprefix("names of ")
                what = f"no name of {one}" if knob.choices_from else f"none of {', '.join(knob.choices)}"
                raise self._error(f"{given!r} is {what}", *place)
            return str(given)
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

    def _names(self) -> str:
        """Say which names a choice has: `names of target.variants (fp32, int8)`."""
        names = ", ".join(self.knob.choices) or "none given"
        return f"names of {self.knob.choices_from} ({names})" if self.knob.choices_from else f"names: {names}"

    def _typed(self, value: float) -> Value:
        return int(value) if self.knob.type == "int" else value

    def _error(self, message: str, *place: str | int) -> Exception:
        return self.source.error(("space", self.knob.name, *place), message)
