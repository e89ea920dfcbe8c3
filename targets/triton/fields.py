"""How the values of knobs stand in Triton's ModelConfig: each function makes a pair that reads and writes one."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tritonclient.grpc import model_config_pb2

from targets.base import TargetError, Value

ModelConfig = model_config_pb2.ModelConfig
Reader = Callable[[Any], Value | None]
Writer = Callable[[Any, Value], None]

US_PER_S = 1_000_000
NO_NUMBERS = "none"
"""A list of numbers without any, as text."""
WARMUP_NAME = "paretune"
WARMUP_DATA = {"zero": "zero_data", "random": "random_data"}
KINDS: Mapping[str, int] = {
    name.removeprefix("KIND_").lower(): number for name, number in model_config_pb2.ModelInstanceGroup.Kind.items()
}


@dataclass(frozen=True)
class Access:
    """One value in a ModelConfig.

    Attributes:
        read: configuration -> the value that it has or that Triton takes for it; None where it has no such part.
        write: puts a value into a configuration.
    """

    read: Reader
    write: Writer


def as_text(numbers: Sequence[int]) -> str:
    """Return numbers as the value of a knob: ascending, `4,8`; `none` for none."""
    return ",".join(map(str, sorted(set(numbers)))) or NO_NUMBERS


def as_numbers(text: Value) -> list[int]:
    """Return the numbers that a value of a knob holds."""
    return [] if text == NO_NUMBERS else [int(part) for part in str(text).split(",")]


def scalar(path: str) -> Access:
    """Return the access to a whole number or a flag: `dynamic_batching.priority_levels`."""

    def read(config: Any) -> Value | None:
        value: Value = getattr(*_holder(config, path))
        return value

    return Access(read, lambda config, value: setattr(*_holder(config, path), value))


def microseconds(path: str, within: str = "") -> Access:
    """Return the access to a duration, in seconds.

    Args:
        path: of the field, in microseconds.
        within: message that has to be there for the field to mean anything; writing the field makes it.
    """

    def read(config: Any) -> Value | None:
        if within and not config.HasField(within):
            return None
        return float(getattr(*_holder(config, path))) / US_PER_S

    def write(config: Any, value: Value) -> None:
        holder, name = _holder(config, path)
        setattr(holder, name, round(float(value) * US_PER_S))
        holder.SetInParent()

    return Access(read, write)


def numbers(path: str) -> Access:
    """Return the access to a list of whole numbers, as text."""

    def write(config: Any, value: Value) -> None:
        field = getattr(*_holder(config, path))
        del field[:]
        field.extend(as_numbers(value))

    return Access(lambda config: as_text(getattr(*_holder(config, path))), write)


def named(path: str, names: Mapping[str, int]) -> Access:
    """Return the access to a number of which a few values have a meaning, by the names of these."""

    def read(config: Any) -> Value | None:
        number = getattr(*_holder(config, path))
        return next((name for name, one in names.items() if one == number), None)

    return Access(read, lambda config, value: setattr(*_holder(config, path), names[str(value)]))


def switch(path: str) -> Access:
    """Return the access to the flag `enable` of a message that is on where the message is absent."""

    def read(config: Any) -> Value | None:
        holder, name = _holder(config, path)
        return bool(getattr(holder, name).enable) if holder.HasField(name) else True

    def write(config: Any, value: Value) -> None:
        message = getattr(*_holder(config, path))
        message.SetInParent()
        message.enable = bool(value)

    return Access(read, write)


def parameter(key: str, names: Sequence[str] = ()) -> Access:
    """Return the access to an entry of `parameters` that holds a number; 0 where it is absent.

    Args:
        key: of the entry.
        names: of the numbers from 0, where they have a meaning each; the values are then these.
    """

    def read(config: Any) -> Value | None:
        text = config.parameters[key].string_value if key in config.parameters else "0"
        if not text.isdigit() or (names and int(text) >= len(names)):
            return None
        return names[int(text)] if names else int(text)

    def write(config: Any, value: Value) -> None:
        config.parameters[key].string_value = str(names.index(str(value)) if names else value)

    return Access(read, write)


# -- instance groups --


def of_group(read_one: Reader, write_one: Writer, absent: Value | None, name: str) -> Access:
    """Return the access to a field of the only instance group.

    Args:
        read_one: group -> value.
        write_one: puts a value into the group.
        absent: the value where there is no group.
        name: of the knob, for the error.
    """

    def read(config: Any) -> Value | None:
        if len(config.instance_group) > 1:
            return None
        return read_one(config.instance_group[0]) if config.instance_group else absent

    return Access(read, lambda config, value: write_one(_only_group(config, name), value))


def count() -> Access:
    """Return the access to the instances of a group; None where the server decides."""
    return of_group(lambda group: group.count or None, lambda group, value: setattr(group, "count", value), None,
                    "instances")  # fmt: skip


def kind() -> Access:
    """Return the access to what the instances run on; Triton chooses where it is `auto`."""
    names = {number: name for name, number in KINDS.items()}
    return of_group(
        lambda group: names[group.kind],
        lambda group, value: setattr(group, "kind", KINDS[str(value)]),
        names[0],
        "instance_kind",
    )


def gpus() -> Access:
    """Return the access to the GPUs that a group runs on; Triton takes all where none is named."""

    def write(group: Any, value: Value) -> None:
        del group.gpus[:]
        group.gpus.extend(as_numbers(value))

    return of_group(lambda group: as_text(group.gpus), write, NO_NUMBERS, "gpus")


def limiter_priority() -> Access:
    """Return the access to a group's priority for the rate limiter; 0 is 1 to Triton."""
    return of_group(
        lambda group: group.rate_limiter.priority or 1,
        lambda group, value: setattr(group.rate_limiter, "priority", value),
        1,
        "rate_limiter_priority",
    )


def limiter_count() -> Access:
    """Return the access to how much of the only resource of the rate limiter an instance takes."""
    return of_group(
        lambda group: group.rate_limiter.resources[0].count if len(group.rate_limiter.resources) == 1 else None,
        lambda group, value: setattr(group.rate_limiter.resources[0], "count", value),
        None,
        "rate_limiter_count",
    )


def _only_group(config: Any, name: str) -> Any:
    if len(config.instance_group) > 1:
        raise TargetError(
            f"model {config.name!r} has {len(config.instance_group)} instance groups; `{name}` tunes "
            f"models with one: merge them, or take `{name}` out of the space"
        )
    return config.instance_group[0] if config.instance_group else config.instance_group.add()


# -- accelerators --


def accelerator(side: str, name: str) -> Access:
    """Return the access to an execution accelerator: its name where it is on, else `none`; others stay.

    Args:
        side: `gpu` or `cpu`.
        name: as Triton spells it.
    """

    def write(config: Any, value: Value) -> None:
        listed = getattr(config.optimization.execution_accelerators, f"{side}_execution_accelerator")
        present = [index for index, one in enumerate(listed) if one.name == name]
        if value == name and not present:
            listed.add().name = name
        elif value != name:
            for index in reversed(present):
                del listed[index]

    return Access(lambda config: name if _accelerator(config, side, name) is not None else "none", write)


def whole_bytes(text: str) -> int | None:
    """Return the number that a parameter holds, None where it holds something else: `1G`."""
    return int(text) if text.isdecimal() else None


def tensorrt_parameter(key: str, read_text: Callable[[str], Value | None], absent: Value) -> Access:
    """Return the access to a parameter of the accelerator TensorRT; None where that is off.

    Args:
        key: of the parameter.
        read_text: its text -> the value of the knob, None where it is none; written is the value's text in capitals.
        absent: the value where the accelerator is on without the parameter.
    """

    def read(config: Any) -> Value | None:
        found = _accelerator(config, "gpu", "tensorrt")
        if found is None:
            return None
        return read_text(found.parameters[key]) if key in found.parameters else absent

    def write(config: Any, value: Value) -> None:
        found = _accelerator(config, "gpu", "tensorrt")
        if found is not None:
            found.parameters[key] = str(value).upper()

    return Access(read, write)


def _accelerator(config: Any, side: str, name: str) -> Any | None:
    listed = getattr(config.optimization.execution_accelerators, f"{side}_execution_accelerator")
    return next((one for one in listed if one.name == name), None)


# -- warm-up --


def warmup() -> Access:
    """Return the access to what a model is warmed up with: `none`, `zero` or `random`; None for the user's own way."""

    def read(config: Any) -> Value | None:
        if not config.model_warmup:
            return "none"
        inputs = [one for entry in config.model_warmup for one in entry.inputs.values()]
        return next(
            (name for name, field in WARMUP_DATA.items() if inputs and all(getattr(one, field) for one in inputs)), None
        )

    return Access(read, _write_warmup)


def _write_warmup(config: Any, value: Value) -> None:
    batch = config.model_warmup[0].batch_size or 1 if config.model_warmup else 1
    times = config.model_warmup[0].count if config.model_warmup else 0
    del config.model_warmup[:]
    if value == "none":
        return
    entry = config.model_warmup.add(name=WARMUP_NAME, batch_size=batch, count=times)
    for tensor in config.input:
        if not tensor.optional:
            given = entry.inputs[tensor.name]
            given.data_type = tensor.data_type
            given.dims.extend(tensor.dims)
            setattr(given, WARMUP_DATA[str(value)], True)


def warmup_batch_size() -> Access:
    """Return the access to the batch of the only warm-up request; None where there is none or several."""

    def write(config: Any, value: Value) -> None:
        config.model_warmup[0].batch_size = int(value)

    def read(config: Any) -> Value | None:
        # Triton passes over an entry with the batch 0.
        return int(config.model_warmup[0].batch_size) or None if len(config.model_warmup) == 1 else None

    return Access(read, write)


def warmup_count() -> Access:
    """Return the access to how often the only warm-up request is sent; 0 is once to Triton."""

    def write(config: Any, value: Value) -> None:
        config.model_warmup[0].count = int(value)

    return Access(
        lambda config: int(config.model_warmup[0].count) or 1 if len(config.model_warmup) == 1 else None, write
    )


def _holder(config: Any, path: str) -> tuple[Any, str]:
    """Return the message that holds the field at a path, and the field's name."""
    *messages, name = path.split(".")
    for message in messages:
        config = getattr(config, message)
    return config, name
