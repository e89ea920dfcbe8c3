"""Triton's model configuration: read, overlaid with a variant, changed by knobs, and compared with what is loaded."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from os.path import normpath
from pathlib import Path, PurePath

from google.protobuf import json_format, text_format
from google.protobuf.message import Message
from tritonclient.grpc import model_config_pb2

from targets.base import Config, TargetError, Value
from targets.triton import pbtxt
from targets.triton.knobs import ALWAYS_READ, BY_NAME, CATALOGUE
from targets.triton.rules import missing_part, out_of_range, vain_delay

ModelConfig = model_config_pb2.ModelConfig
Variants = Mapping[str, Mapping[str, object]]
OF_MODEL = "$$TRITON_MODEL_DIRECTORY/"
"""What a parameter begins with that names a path from its model's folder on."""


def parse(text: str, path: Path) -> model_config_pb2.ModelConfig:
    """Parse a config.pbtxt; fields that only a newer server knows are passed over.

    Raises:
        TargetError: with file, line and what the parser expected.
    """
    try:
        return pbtxt.read(text, ModelConfig())[0]
    except text_format.ParseError as error:
        line, what = error.GetLine(), str(error).rpartition(" : ")[2]
        where = f"{path}:{line}" if line else str(path)
        raise TargetError(f"{where}: not a Triton model configuration: {what}") from None


def check_variant(name: str, overlay: Mapping[str, object]) -> None:
    """Check that an overlay uses Triton's own field names and types.

    Raises:
        TargetError: naming the variant and the field.
    """
    try:
        overlaid(ModelConfig(), overlay)
    except KeyError as error:
        raise TargetError(f"target.variants.{name}: {error} is no field; use the names of config.pbtxt") from None
    except (json_format.ParseError, TypeError, ValueError) as error:
        raise TargetError(
            f"target.variants.{name}: not an overlay of Triton's model configuration: {str(error).splitlines()[0]}"
        ) from None


def overlaid(base: Message, overlay: Mapping[str, object]) -> model_config_pb2.ModelConfig:
    """Return `base` with the overlay's fields: messages and maps are merged, lists replaced."""
    result = ModelConfig()
    result.CopyFrom(base)
    fields = _expanded(overlay)
    _merge(result, json_format.ParseDict(fields, ModelConfig()), fields)
    return result


def _merge(into: Message, change: Message, fields: Mapping[str, object]) -> None:
    """Set in `into` what `fields` names, defaults included (a message alone cannot tell 0 from absent)."""
    for name, given in fields.items():
        descriptor = into.DESCRIPTOR.fields_by_name[name]
        value = getattr(change, name)
        if _is_map(descriptor):
            getattr(into, name).MergeFrom(value)
        elif descriptor.is_repeated:
            into.ClearField(name)
            getattr(into, name).MergeFrom(value)
        elif isinstance(given, Mapping):
            getattr(into, name).SetInParent()
            _merge(getattr(into, name), value, given)
        else:
            setattr(into, name, value)


def applied(base: Message, config: Config) -> model_config_pb2.ModelConfig:
    """Return `base` with the server knobs of `config` set (`precision` is the caller's: it picks the base).

    A value that the base has itself asks for nothing where other knobs take away the part that it is of: a search gives
    a knob that a condition leaves out the user's own value.

    Raises:
        ConfigRefused: a value out of its range, or of a knob that means nothing in this configuration.
        TargetError: the model has several instance groups, so that a knob of theirs is ambiguous.
    """
    result = ModelConfig()
    result.CopyFrom(base)
    for one in CATALOGUE:
        if one.name not in config or one.access.read(result) == config[one.name]:
            continue
        if reason := out_of_range(one.knob, config[one.name]) or missing_part(one, result, config[one.name]):
            if one.access.read(base) == config[one.name]:
                continue
            raise reason
        one.access.write(result, config[one.name])
    if reason := vain_delay(base, result):
        raise reason
    return result


def knob_values(config: model_config_pb2.ModelConfig, names: Iterable[str] = ALWAYS_READ) -> dict[str, Value]:
    """Return the values a model configuration gives knobs; what it leaves to the server is absent.

    `max_queue_delay` is absent where dynamic batching is off: setting it, to 0 as well, turns it on.

    Args:
        config: of a model.
        names: of the knobs; those of the study's variants and load are passed over.
    """
    values = {name: BY_NAME[name].access.read(config) for name in names if name in BY_NAME}
    return {name: value for name, value in values.items() if value is not None}


def knob_mismatches(asked: Config, loaded: model_config_pb2.ModelConfig) -> Iterator[str]:
    """Yield every knob that was asked for and is loaded otherwise; what a value leaves to Triton may be anything."""
    actual = knob_values(loaded, asked)
    for name, value in asked.items():
        if name in BY_NAME and actual.get(name) != value and not BY_NAME[name].filled_in(value, loaded):
            yield f"{name}: asked {value}, loaded {actual.get(name)}"


def named(config: Message, name: str) -> model_config_pb2.ModelConfig:
    """Return the configuration under another model name."""
    renamed = ModelConfig()
    renamed.CopyFrom(config)
    renamed.name = name
    return renamed


def to_json(config: Message, name: str) -> str:
    """Return the configuration as Triton's load API takes it, under another model name."""
    return json_format.MessageToJson(named(config, name), preserving_proto_field_name=True, indent=None)


def from_loaded(loaded: Mapping[str, object]) -> model_config_pb2.ModelConfig:
    """Return what the server says is loaded as a message; fields that a newer server adds are passed over."""
    return json_format.ParseDict(dict(loaded), ModelConfig(), ignore_unknown_fields=True)


def instances_of(loaded: model_config_pb2.ModelConfig) -> int:
    """Return how many instances a version of a loaded model has; a group on GPUs has as many on each."""
    return sum(group.count * max(1, len(group.gpus)) for group in loaded.instance_group)


def only_instances(one: model_config_pb2.ModelConfig, other: model_config_pb2.ModelConfig) -> bool:
    """Whether two configurations differ in their instances at most."""
    bare = [named(config, "") for config in (one, other)]
    for config in bare:
        del config.instance_group[:]
    return bool(bare[0] == bare[1])


def mismatches(asked: Message, loaded: Message, path: str = "") -> Iterator[str]:
    """Yield every field that was asked for and is loaded otherwise.

    Triton normalises what it loads (it adds preferred batch sizes and names instance groups), so only what was
    asked for is compared.
    """
    for field, value in asked.ListFields():
        here = f"{path}{field.name}"
        actual = getattr(loaded, field.name)
        if here == "name":
            continue
        if _is_map(field):
            for key in value:
                if key not in actual or not _same_entry(value[key], actual[key]):
                    yield f"{here}[{key}]"
        elif field.is_repeated:
            yield from _repeated_mismatches(value, actual, here)
        elif field.message_type is not None:
            if not loaded.HasField(field.name):
                yield here
            yield from mismatches(value, actual, f"{here}.")
        elif value != actual:
            yield f"{here}: asked {value}, loaded {actual}"


def _repeated_mismatches(asked: Sequence[object], loaded: Sequence[object], here: str) -> Iterator[str]:
    if len(asked) != len(loaded):
        yield f"{here}: asked {len(asked)} entries, loaded {len(loaded)}"
        return
    for index, (one, other) in enumerate(zip(asked, loaded, strict=True)):
        if isinstance(one, Message) and isinstance(other, Message):
            yield from mismatches(one, other, f"{here}[{index}].")
        elif one != other:
            yield f"{here}[{index}]: asked {one}, loaded {other}"


def _same_entry(asked: object, loaded: object) -> bool:
    """Whether an entry of a map is the one asked for.

    The Python backend puts the path of the model's folder into a parameter that begins with the word for it, and takes
    `..` out.
    """
    if asked == loaded:
        return True
    text, said = str(getattr(asked, "string_value", "")), str(getattr(loaded, "string_value", ""))
    if not text.startswith(OF_MODEL) or not said.startswith("/"):
        return False
    inside = [part for part in PurePath(normpath(text.removeprefix(OF_MODEL))).parts if part != ".."]
    found = PurePath(normpath(said)).parts
    return list(found[len(found) - len(inside) :]) == inside


def _expanded(overlay: Mapping[str, object]) -> dict[str, object]:
    """Return the overlay in Triton's own fields; `version: 2` and plain parameter values are shorthands."""
    _require_values(overlay)
    fields = {name: value for name, value in overlay.items() if name not in ("model", "version", "parameters")}
    if "version" in overlay:
        fields["version_policy"] = {"specific": {"versions": [overlay["version"]]}}
    if parameters := overlay.get("parameters"):
        if not isinstance(parameters, Mapping):
            raise TypeError(f"`parameters` must map names to values, but got {parameters!r}")
        fields["parameters"] = {
            name: value if isinstance(value, Mapping) else {"string_value": _text(value)}
            for name, value in parameters.items()
        }
    return fields


def _require_values(overlay: object, place: str = "") -> None:
    """Raise ValueError where a key has no value: YAML's empty value would silently change nothing."""
    items = overlay.items() if isinstance(overlay, Mapping) else enumerate(overlay) if isinstance(overlay, list) else ()
    for name, value in items:
        if value is None:
            raise ValueError(f"`{place}{name}` has no value")
        _require_values(value, f"{place}{name}.")


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _is_map(field: object) -> bool:
    message = getattr(field, "message_type", None)
    return message is not None and message.GetOptions().map_entry
