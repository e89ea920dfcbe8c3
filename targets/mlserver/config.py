"""MLServer's model-settings.json and settings.json: what they give the knobs, and how they are changed."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from targets.base import Config, ConfigRefused, Knob, TargetError, Value
from targets.mlserver import jsontext

MODEL_SETTINGS = "model-settings.json"
SETTINGS = "settings.json"
MAX_COUNT = 1 << 16
MAX_TIME_S = 3600.0

KNOBS: Sequence[Knob] = (
    Knob("max_batch_size", "int", 0, MAX_COUNT, 0, "", "restart",
         "how many requests are put together into one batch at most; 0 and 1: adaptive batching is off"),
    Knob("max_batch_time", "duration", 0, MAX_TIME_S, 0.0, "s", "restart",
         "how long a batch waits to be full; 0: adaptive batching is off"),
    Knob("parallel_workers", "int", 0, MAX_COUNT, 1, "", "restart",
         "processes that run the model; 0: the server's own process does (settings.json)"),
)  # fmt: skip
BATCHING = ("max_batch_size", "max_batch_time")
"""The knobs of adaptive batching."""
_FILE_OF = {"max_batch_size": MODEL_SETTINGS, "max_batch_time": MODEL_SETTINGS, "parallel_workers": SETTINGS}


@dataclass(frozen=True)
class Settings:
    """The two files that say how MLServer serves a model.

    Attributes:
        model: text of the model's model-settings.json.
        server: text of settings.json, None where there is none.
        model_path: where the first was read.
        server_path: where the second is read, or would be.
    """

    model: str
    server: str | None
    model_path: Path
    server_path: Path

    def text(self, file: str) -> str:
        """Return the text of one of the files."""
        return self.model if file == MODEL_SETTINGS else self.server or "{}\n"

    def path(self, file: str) -> Path:
        """Return where one of the files is."""
        return self.model_path if file == MODEL_SETTINGS else self.server_path


def knob_values(settings: Settings) -> dict[str, Value]:
    """Return the values that the files give the knobs; MLServer's own default where they are silent.

    Raises:
        TargetError: a value that is not legal, with file and line.
    """
    values: dict[str, Value] = {}
    members = {file: jsontext.parse(settings.text(file), settings.path(file)) for file in (MODEL_SETTINGS, SETTINGS)}
    for knob in KNOBS:
        file = _FILE_OF[knob.name]
        member = members[file].get(knob.name)
        if member is None:
            values[knob.name] = knob.default
            continue
        place = f"{settings.path(file)}:{jsontext.line(settings.text(file), member.key_start)}"
        values[knob.name] = _legal(knob, member.value, place)
    if "parallel_workers" in members[MODEL_SETTINGS]:
        raise TargetError(
            f"{settings.model_path}: `parallel_workers` has its place in {SETTINGS} since MLServer 1.2; move it there"
        )
    return values


def _legal(knob: Knob, value: object, place: str) -> Value:
    kinds = (int,) if knob.type == "int" else (int, float)
    low, high = knob.low or 0, knob.high or 0
    if not isinstance(value, kinds) or isinstance(value, bool) or not low <= value <= high:
        expected = "a whole number" if knob.type == "int" else "a number of seconds"
        raise TargetError(f"{place}: `{knob.name}` has to be {expected} from {low:g} to {high:g}, but is {value!r}")
    return int(value) if knob.type == "int" else float(value)


def applied(settings: Settings, config: Config) -> Settings:
    """Return the files with the values of a configuration, changed where they stand.

    Raises:
        ConfigRefused: no such knob, or a value that is not legal.
    """
    knobs = {knob.name: knob for knob in KNOBS}
    current = knob_values(settings)
    changes: dict[str, dict[str, Value]] = {MODEL_SETTINGS: {}, SETTINGS: {}}
    for name, given in config.items():
        if name not in knobs:
            raise ConfigRefused(f"no such knob `{name}`; there are: {', '.join(knobs)}")
        try:
            value = _legal(knobs[name], given, "the configuration")
        except TargetError as error:
            raise ConfigRefused(str(error)) from None
        if value != current[name]:
            changes[_FILE_OF[name]][name] = value
    model = jsontext.rewrite(settings.model, settings.model_path, changes[MODEL_SETTINGS])
    server = settings.server
    if changes[SETTINGS]:
        server = jsontext.rewrite(settings.text(SETTINGS), settings.server_path, changes[SETTINGS])
    return Settings(model, server, settings.model_path, settings.server_path)


def with_places(settings: Settings, places: Mapping[str, object]) -> str:
    """Return the text of a settings.json that says the same, but for where the server listens and writes."""
    members = jsontext.parse(settings.text(SETTINGS), settings.server_path)
    return json.dumps({name: member.value for name, member in members.items()} | dict(places), indent=2)


def metrics_path(settings: Settings) -> str | None:
    """Return where the server gives its metrics, None where they are switched off."""
    members = jsontext.parse(settings.text(SETTINGS), settings.server_path)
    path = members["metrics_endpoint"].value if "metrics_endpoint" in members else "/metrics"
    return str(path) if path else None
