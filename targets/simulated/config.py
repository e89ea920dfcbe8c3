"""A model's queue.json: read, overlaid with a variant, changed by knobs, and written back where it stands."""

import json
import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from targets.base import Config, ConfigRefused, Knob, TargetError, Value
from targets.simulated.hosting import MAX_COUNT, DeploymentSpec
from targets.simulated.model import Batching

CONFIG_NAME = "queue.json"
US_PER_S = 1_000_000
MS_PER_S = 1_000
MAX_DELAY_US = 3_600 * US_PER_S

KNOBS: Sequence[Knob] = (
    Knob("max_batch_size", "int", 1, MAX_COUNT, 1, "", "reload", "largest batch that is served at once",
         role="max_batch"),
    Knob("max_queue_delay", "duration", 0, MAX_DELAY_US / US_PER_S, 0.0, "s", "reload",
         "how long a request may wait for others to fill its batch (max_queue_delay_us)", role="max_delay"),
    Knob("instances", "int", 1, MAX_COUNT, 1, "", "reload", "batches that are served at the same time",
         role="instances"),
    Knob("precision", "choice", None, None, "", "", "reload",
         "one of the study's target.variants: an overlay of queue.json",
         choices_from="target.variants", changes_answers=True),
)  # fmt: skip


class QueueConfig(BaseModel):
    """What queue.json says; a batch of b requests is served in fixed_ms + each_ms * b."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)

    max_batch_size: int = Field(1, ge=1, le=MAX_COUNT, description=f"a whole number from 1 to {MAX_COUNT}")
    max_queue_delay_us: int = Field(
        0, ge=0, le=MAX_DELAY_US, description=f"a whole number of microseconds from 0 to {MAX_DELAY_US}"
    )
    instances: int = Field(1, ge=1, le=MAX_COUNT, description=f"a whole number from 1 to {MAX_COUNT}")
    fixed_ms: float = Field(ge=0, le=3.6e6, description="a number of milliseconds, 0 or more")
    each_ms: float = Field(ge=0, le=3.6e6, description="a number of milliseconds, 0 or more")


def parse(text: str, path: Path) -> QueueConfig:
    """Parse a queue.json.

    Raises:
        TargetError: with file, key, value and what is expected.
    """
    try:
        data = json.loads(text, object_pairs_hook=_once_each)
    except json.JSONDecodeError as error:
        raise TargetError(f"{path}:{error.lineno}: not JSON: {error.msg}") from None
    except KeyError as error:
        raise TargetError(f"{path}: `{error.args[0]}` is given twice; keep one") from None
    if not isinstance(data, dict):
        raise TargetError(f"{path}: expected an object with {', '.join(QueueConfig.model_fields)}, but got {data!r}")
    return _checked(data, str(path))


def _once_each(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found: dict[str, object] = {}
    for name, value in pairs:
        if name in found:
            raise KeyError(name)
        found[name] = value
    return found


def _checked(data: Mapping[str, object], place: str) -> QueueConfig:
    try:
        return QueueConfig.model_validate(data)
    except ValidationError as error:
        # A key that is not known is often the one that is missing, misspelt: it is named first.
        first = min(error.errors(), key=lambda one: one["type"] != "extra_forbidden")
        name = str(first["loc"][0])
        raise TargetError(f"{place}: {_complaint(name, first['type'], first['input'])}") from None


def _complaint(name: str, kind: str, value: object) -> str:
    if kind == "extra_forbidden":
        close = get_close_matches(name, QueueConfig.model_fields, n=1)
        hint = f"did you mean `{close[0]}`?" if close else f"there are: {', '.join(QueueConfig.model_fields)}"
        return f"no such key `{name}`; {hint}"
    expected = QueueConfig.model_fields[name].description
    if kind == "missing":
        return f"`{name}` is missing; give it {expected}"
    return f"`{name}` has to be {expected}, but is {value!r}"


def overlaid(base: QueueConfig, overlay: Mapping[str, object], variant: str) -> QueueConfig:
    """Return `base` with the keys of a variant's overlay.

    Raises:
        TargetError: naming the variant, the key and the value.
    """
    return _checked({**base.model_dump(), **overlay}, f"target.variants.{variant}")


def applied(base: QueueConfig, config: Config) -> QueueConfig:
    """Return `base` with the knobs of `config` set (`precision` is the caller's: it picks the base).

    Raises:
        ConfigRefused: no such knob, or a value that is not legal.
    """
    fields: dict[str, object] = base.model_dump()
    for name, value in config.items():
        if name == "max_queue_delay":
            fields["max_queue_delay_us"] = round(float(value) * US_PER_S)
        elif name != "precision":
            fields[name] = value
    try:
        changed = _checked(fields, CONFIG_NAME)
    except TargetError as error:
        raise ConfigRefused(str(error)) from None
    values = knob_values(changed)
    for name, value in config.items():
        if name != "precision" and values.get(name) != value:
            raise ConfigRefused(f"`{name}` is {value} in the configuration, but can only be {values.get(name)} here")
    return changed


def knob_values(config: QueueConfig) -> dict[str, Value]:
    """Return the values that a configuration gives the knobs."""
    return {
        "max_batch_size": config.max_batch_size,
        "max_queue_delay": config.max_queue_delay_us / US_PER_S,
        "instances": config.instances,
    }


def deployment_spec(config: QueueConfig) -> DeploymentSpec:
    """Return the configuration as the server's control API takes it."""
    batching = Batching(
        max_size=config.max_batch_size,
        max_delay_s=config.max_queue_delay_us / US_PER_S,
        fixed_s=config.fixed_ms / MS_PER_S,
        each_s=config.each_ms / MS_PER_S,
    )
    return DeploymentSpec(servers=config.instances, batching=batching)


def rewrite(text: str, old: QueueConfig, new: QueueConfig, path: Path) -> str:
    """Return the text of a queue.json that says `old`, with what `new` says otherwise changed where it stands.

    Raises:
        TargetError: the text writes a key in a way that is not found again.
    """
    before, after = old.model_dump(), new.model_dump()
    for name in [name for name in after if after[name] != before[name]]:
        value = json.dumps(after[name])
        text, found = re.subn(rf'("{name}"\s*:\s*)[^\s,}}]+', rf"\g<1>{value}", text)
        if not found:
            text = re.sub(r"\s*\}\s*$", f',\n  "{name}": {value}\n}}\n', text)
    if parse(text, path) != new:
        raise TargetError(f"{path}: cannot be changed where it stands; write its keys in plain letters")
    return text
