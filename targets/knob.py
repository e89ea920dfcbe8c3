"""What a knob is: a parameter that a target can apply, and the values that it may have."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Value = int | float | str | bool
Config = Mapping[str, Value]
"""Knob name -> value, in the knob's own unit (durations in seconds)."""

KnobType = Literal["int", "float", "duration", "bool", "choice", "list"]
KnobRole = Literal["", "max_batch", "max_delay", "instances", "priority_levels", "default_level"]


@dataclass(frozen=True)
class Knob:
    """A parameter that a target can apply.

    Attributes:
        name: as the study file spells it.
        type: of its values; a `duration` is in seconds, a `choice` one of `choices`, a `list` whole numbers as text:
            `4,8`, or `none` for the empty one.
        low: smallest legal value of a number, or None; of a list it binds each of its numbers.
        high: largest legal value of a number, or None; of a list it binds each of its numbers.
        default: what the server takes where the user's config is silent.
        unit: of the value, "" for a count or a name.
        applied: what it takes to change it.
        doc: one line.
        choices: the names that a `choice` has.
        choices_from: where in the study these names are given, "" where the target knows them.
        changes_answers: whether the answers depend on it; accuracy is then measured for each of its values.
        role: the part of batch service that it sets, "" for none: the largest batch, how long the oldest request may
            wait for its batch to fill, how many batches are served at once, how many levels its queue has, of which 1
            is served first, or which of them requests wait on that name none. A simulation of the server needs it.
        since: first version of the server that has it, as far as that is known.
        rule: what the server asks of its values beside the range, in one line.
        unusable: why no value of it can be used on the user's model, this server or this machine, "" where one can.
        place: keys of the study's `space` that it stands under, where that is not its name alone.
        grain: every value is a whole multiple of it, in the value's unit; 0: any value is taken.
    """

    name: str
    type: KnobType
    low: float | None
    high: float | None
    default: Value
    unit: str
    applied: Literal["live", "reload", "restart"]
    doc: str
    choices: tuple[str, ...] = ()
    choices_from: str = ""
    changes_answers: bool = False
    role: KnobRole = ""
    since: str = ""
    rule: str = ""
    unusable: str = ""
    place: tuple[str, ...] = ()
    grain: float = 0.0
