"""The knobs that a study declares: their types and legal values, and the file that gives the user's own values."""

import re
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Literal

import yaml
from pydantic import Field, ValidationInfo, field_validator, model_validator

from targets import yaml_text
from targets.base import ConfigRefused, Knob, KnobType, TargetError, Value
from targets.options import Section
from workloads.units import parse_duration

_UNITS = (("s", 1.0), ("ms", 1e3), ("us", 1e6), ("ns", 1e9))


class KnobSpec(Section):
    """A knob: what values it has. Templates make of it whatever the server takes."""

    type: Literal["int", "float", "duration", "bool", "choice"] = Field(description="of its values")
    choices: list[str] = Field(default=[], description="the names of a `choice`")
    low: str | float | None = Field(None, description="smallest legal value")
    high: str | float | None = Field(None, description="largest legal value")
    default: str | bool | int | float = Field(description="what you run today")
    unit: str = Field("", description="of the value, for the reader; a duration has its own")
    doc: str = Field("", pattern=r"^[^\n]*$", description="one line")
    changes_answers: bool = Field(False, description="whether accuracy is measured for each of its values")

    @field_validator("choices", mode="before")
    @classmethod
    def _names(cls, given: object, info: ValidationInfo) -> object:
        if info.data.get("type") != "choice":
            raise ValueError("only a knob of type `choice` has choices")
        if not isinstance(given, list) or not given:
            raise ValueError(f"expected a list of names, but got {given!r}")
        return [_name(one) for one in given]

    @field_validator("low", "high", mode="before")
    @classmethod
    def _bound(cls, given: object, info: ValidationInfo) -> object:
        kind = info.data.get("type")
        if kind in ("bool", "choice"):
            raise ValueError(f"a knob of type `{kind}` has no `{info.field_name}`")
        return None if kind is None or given is None else read_value(kind, (), given)

    @field_validator("default", mode="before")
    @classmethod
    def _default(cls, given: object, info: ValidationInfo) -> object:
        kind = info.data.get("type")
        return given if kind is None else read_value(kind, info.data.get("choices", ()), given)

    @model_validator(mode="after")
    def _fits(self) -> "KnobSpec":
        if self.type == "choice" and not self.choices:
            raise ValueError("a knob of type `choice` needs `choices`")
        if self.low is not None and self.high is not None and float(self.low) > float(self.high):
            raise ValueError(f"`low <= high` must hold, but got low {self.low} and high {self.high}")
        if wrong := misfit(self.knob(""), self.default):
            raise ValueError(f"`default` {wrong}")
        if self.type == "duration" and self.unit not in ("", "s"):
            raise ValueError("a duration is written with its unit; leave `unit` out")
        return self

    def _number(self, bound: str | float | None) -> float | None:
        if bound is None:
            return None
        return int(bound) if self.type == "int" else float(bound)

    def knob(self, name: str) -> Knob:
        """Return the knob; every change of it takes a new process."""
        return Knob(
            name=name,
            type=self.type,
            low=self._number(self.low),
            high=self._number(self.high),
            default=self.default,
            unit="s" if self.type == "duration" else self.unit,
            applied="restart",
            doc=self.doc or f"knob {name} of the study",
            choices=tuple(self.choices),
            choices_from=f"target.knobs.{name}.choices" if self.choices else "",
            changes_answers=self.changes_answers,
        )


def read_value(kind: KnobType, choices: list[str] | tuple[str, ...], given: object) -> Value:
    """Return a knob's value as a study or a file of values writes it; durations in seconds.

    Raises:
        ValueError: it is of another type, or no choice.
    """
    if kind == "duration":
        return parse_duration(given)
    if kind == "choice":
        name = _name(given)
        if choices and name not in choices:
            raise ValueError(f"{name!r} is none of {', '.join(choices)}")
        return name
    if kind == "bool":
        if not isinstance(given, bool):
            raise ValueError(f"expected true or false, but got {given!r}")
        return given
    if isinstance(given, bool) or not isinstance(given, int if kind == "int" else int | float):
        raise ValueError(f"expected {'a whole number' if kind == 'int' else 'a number'}, but got {given!r}")
    return given if kind == "int" else float(given)


def _name(given: object) -> str:
    if isinstance(given, bool) or not isinstance(given, str | int | float):
        raise ValueError(f"expected a name, but got {given!r}; put it in quotes")
    return str(given)


def misfit(knob: Knob, value: Value) -> str:
    """Say why a value is not legal for a knob, "" when it is."""
    if knob.type == "choice":
        return "" if value in knob.choices else f"is {value!r}, none of {', '.join(knob.choices)}"
    if knob.type == "bool":
        return "" if isinstance(value, bool) else f"is {value!r}, not true or false"
    if isinstance(value, bool | str) or (knob.type == "int" and not isinstance(value, int)):
        return f"is {value!r}, not {'a whole number' if knob.type == 'int' else 'a number'}"
    below = knob.low is not None and value < knob.low
    above = knob.high is not None and value > knob.high
    if not (below or above):
        return ""
    low, high = ("any" if bound is None else written(knob, bound) for bound in (knob.low, knob.high))
    return f"is {written(knob, value)}, out of its range, {low} to {high}"


def checked(knobs: Mapping[str, Knob], config: Mapping[str, Value]) -> dict[str, Value]:
    """Return a configuration whose values are all legal.

    Raises:
        ConfigRefused: an unknown knob, or a value that is not legal; with the range.
    """
    for name, value in config.items():
        if name not in knobs:
            raise ConfigRefused(f"`{name}` is no knob of this study; {_known(name, knobs)}")
        if wrong := misfit(knobs[name], value):
            raise ConfigRefused(f"`{name}` {wrong}")
    return dict(config)


def _known(name: str, knobs: Mapping[str, Knob]) -> str:
    close = get_close_matches(name, knobs, n=1)
    return f"did you mean `{close[0]}`?" if close else f"known: {', '.join(knobs) or 'none'}"


def written(knob: Knob, value: Value) -> str:
    """Return a value as a study file writes it; reading it again gives the same value."""
    if knob.type == "duration":
        return _duration(float(value))
    if knob.type in ("bool", "choice"):
        text = yaml.safe_dump(value, default_flow_style=True, width=10_000).splitlines()[0]
        return text.strip()
    return str(int(value)) if knob.type == "int" else str(value)


def _duration(seconds: float) -> str:
    for unit, per_s in _UNITS:
        text = f"{seconds * per_s:.12g}"
        if seconds * per_s >= 1 and "e" not in text and parse_duration(f"{text} {unit}") == seconds:
            return f"{text} {unit}"
    return f"{seconds:.17g} s" if seconds else "0 ms"


def parse_values(text: str, path: Path, knobs: Mapping[str, Knob]) -> dict[str, Value]:
    """Read a file of values: YAML, knob -> value as in the study.

    Raises:
        TargetError: with file, knob, value and what is expected.
    """
    try:
        data = yaml_text.load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        raise TargetError(f"{path}{line}: not YAML: {getattr(error, 'problem', None) or error}") from None
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise TargetError(f"{path}: expected a mapping of knobs to values, but got {data!r:.60}")
    return {str(name): _read(path, str(name), given, knobs) for name, given in data.items()}


def _read(path: Path, name: str, given: object, knobs: Mapping[str, Knob]) -> Value:
    if name not in knobs:
        raise TargetError(f"{path}: `{name}` is no knob of this study; {_known(name, knobs)}")
    knob = knobs[name]
    try:
        value = read_value(knob.type, knob.choices, given)
    except ValueError as error:
        raise TargetError(f"{path}: {name}: {error}") from None
    if wrong := misfit(knob, value):
        raise TargetError(f"{path}: `{name}` {wrong}")
    return value


def rewritten(
    text: str, path: Path, knobs: Mapping[str, Knob], before: Mapping[str, Value], config: Mapping[str, Value]
) -> str:
    """Return the text of a file of values, changed where it stands.

    Args:
        text: of the file; "" for a new one, which says every value.
        path: of the file.
        knobs: by name.
        before: what the user runs; what the file does not say and stays so is not written.
        config: what the text has to say.
    """
    said = parse_values(text, path, knobs)
    lines = {name: f"{name}: {written(knobs[name], value)}" for name, value in config.items()}
    changed = text
    for name, value in config.items():
        if name in said and said[name] != value:
            changed = _with_line(changed, name, lines[name])
        elif name not in said and (not text or before.get(name) != value):
            end = "\r\n" if "\r\n" in text else "\n"
            changed += ("" if not changed or changed.endswith("\n") else end) + lines[name] + end
    try:
        same = {**before, **parse_values(changed, path, knobs)} == {**before, **config}
    except TargetError:
        same = False
    return changed if same else "".join(f"{line}\n" for line in lines.values())


def _with_line(text: str, name: str, line: str) -> str:
    return re.sub(rf"^{name}[ \t]*:[^#\r\n]*?(?=[ \t]*(#|\r?$))", lambda _: line, text, flags=re.MULTILINE)
