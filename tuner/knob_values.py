"""The values of a knob as a study writes them: read, and held against what is legal."""

from collections.abc import Sequence
from dataclasses import dataclass

from targets.base import Knob, Value
from tuner.nesting import place_of
from tuner.study.source import Source
from tuner.units import format_value
from workloads.units import is_multiple, parse_duration, parse_rate

MAX_VALUES = 10_000
NO_NUMBERS = "none"
"""A list without any numbers, as a value."""
UNORDERED = ("choice", "bool", "list")


def _whole_numbers(given: object) -> list[int]:
    """Return the numbers of `4,8`, `none` or one number. Raises ValueError."""
    return [] if given == NO_NUMBERS else [int(part) for part in str(given).split(",")]


@dataclass(frozen=True)
class ValueReader:
    """Reads the values of one knob from the study."""

    knob: Knob
    source: Source
    place: tuple[str | int, ...] = ()

    def value(self, given: object) -> Value:
        """Read one value; a range of the knob does not bind it."""
        return self._number(given)

    def values(self, given: object) -> tuple[Value, ...]:
        """Read a range, a list or a single value."""
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
