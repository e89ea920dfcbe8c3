"""The space of a study, of what a configuration of Model Analyzer searches: ranges and `model_config_parameters`."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tuner.analyzer_values import Notes, several, values_of

MOST_CONCURRENCY, MOST_BATCH, MOST_INSTANCES = 1024, 128, 5
"""Model Analyzer's own defaults of run_config_search_max_*."""
DELAYS = ["0 us", "100 us", "500 us", "1 ms", "5 ms"]
"""Model Analyzer does not search the queue delay unless it is told to; a study does."""
STAYS = "stays as the model's config has it; or make it a variant"
OFF = "none"


def _as_it_is(value: Any) -> Any:
    return value


def _microseconds(value: Any) -> str:
    return f"{value} us"


def _name(value: Any) -> str:
    return str(value).lower()


def _kind(value: Any) -> str:
    return str(value).removeprefix("KIND_").lower()


def _accelerator(known: str) -> Callable[[Any], str]:
    def read(value: Any) -> str:
        if value not in (known, OFF):
            raise ValueError(f"{value}: of the accelerators `{known}` is a knob")
        return str(value)

    return read


def _graph_level(value: Any) -> str:
    return {0: "all", -1: "basic", 1: "extended", 2: "disabled"}[int(value)]


def _execution_mode(value: Any) -> str:
    return ("sequential", "parallel")[int(value)]


@dataclass(frozen=True)
class _Field:
    """A field of config.pbtxt that a knob sets.

    Attributes:
        knob: its name.
        read: Model Analyzer's value -> the study's. Raises ValueError, KeyError or IndexError for one that is none.
        lists: the field has a list for a value, so that a list of lists is several.
        when: a condition under which the knob means something, where it is searched beside others.
    """

    knob: str
    read: Callable[[Any], Any] = _as_it_is
    lists: bool = False
    when: str = ""


_BATCHING = "dynamic_batching"
_ACCELERATORS = "optimization.execution_accelerators"
_TENSORRT = f"{_ACCELERATORS}.gpu_execution_accelerator"
_SEQUENCES = "sequence_batching"


def _policy(place: str, start: str = "") -> dict[str, _Field]:
    return {
        f"{place}.timeout_action": _Field(f"{start}timeout_action", _name),
        f"{place}.default_timeout_microseconds": _Field(f"{start}default_timeout", _microseconds),
        f"{place}.allow_timeout_override": _Field(f"{start}allow_timeout_override"),
        f"{place}.max_queue_size": _Field(f"{start}max_queue_size"),
    }


_FIELDS: Mapping[str, _Field] = {
    "max_batch_size": _Field("max_batch_size"),
    f"{_BATCHING}.max_queue_delay_microseconds": _Field("max_queue_delay", _microseconds),
    f"{_BATCHING}.preferred_batch_size": _Field("preferred_batch_size", lists=True),
    f"{_BATCHING}.preserve_ordering": _Field("preserve_ordering"),
    f"{_BATCHING}.priority_levels": _Field("priority_levels"),
    f"{_BATCHING}.default_priority_level": _Field("default_priority_level"),
    **_policy(f"{_BATCHING}.default_queue_policy"),
    **{
        place: one
        for level in range(1, 5)
        for place, one in _policy(f"{_BATCHING}.priority_queue_policy.{level}", f"level_{level}_").items()
    },
    "instance_group.count": _Field("instances"),
    "instance_group.kind": _Field("instance_kind", _kind),
    "instance_group.gpus": _Field("gpus", lists=True),
    "instance_group.rate_limiter.priority": _Field("rate_limiter_priority"),
    "response_cache.enable": _Field("response_cache"),
    "optimization.graph.level": _Field("graph_level", _graph_level),
    "optimization.cuda.graphs": _Field("cuda_graphs"),
    "optimization.eager_batching": _Field("eager_batching"),
    "optimization.gather_kernel_buffer_threshold": _Field("gather_kernel_buffer_threshold"),
    "optimization.input_pinned_memory.enable": _Field("input_pinned_memory"),
    "optimization.output_pinned_memory.enable": _Field("output_pinned_memory"),
    f"{_TENSORRT}.name": _Field("gpu_accelerator", _accelerator("tensorrt")),
    f"{_TENSORRT}.parameters.precision_mode": _Field("tensorrt_precision", _name, when="gpu_accelerator == tensorrt"),
    f"{_TENSORRT}.parameters.max_workspace_size_bytes": _Field("tensorrt_workspace", int,
                                                               when="gpu_accelerator == tensorrt"),
    f"{_ACCELERATORS}.cpu_execution_accelerator.name": _Field("cpu_accelerator", _accelerator("openvino")),
    "parameters.intra_op_thread_count.string_value": _Field("intra_op_thread_count", int),
    "parameters.inter_op_thread_count.string_value": _Field("inter_op_thread_count", int),
    "parameters.execution_mode.string_value": _Field("execution_mode", _execution_mode),
    f"{_SEQUENCES}.max_sequence_idle_microseconds": _Field("max_sequence_idle", _microseconds),
    f"{_SEQUENCES}.direct.max_queue_delay_microseconds": _Field("sequence_queue_delay", _microseconds),
    f"{_SEQUENCES}.direct.minimum_slot_utilization": _Field("minimum_slot_utilization"),
    f"{_SEQUENCES}.oldest.max_queue_delay_microseconds": _Field("sequence_queue_delay", _microseconds),
    f"{_SEQUENCES}.oldest.max_candidate_sequences": _Field("max_candidate_sequences"),
    f"{_SEQUENCES}.oldest.preferred_batch_size": _Field("sequence_preferred_batch_size", lists=True),
    f"{_SEQUENCES}.oldest.preserve_ordering": _Field("sequence_preserve_ordering"),
}  # fmt: skip
"""Field of config.pbtxt -> the knob that sets it."""
_OF_LISTS = frozenset(place for place, one in _FIELDS.items() if one.lists)


def knobs_of(settings: Mapping[str, Any], place: str, notes: Notes) -> dict[str, Any]:
    """Return the knobs that a model's section names, with their values.

    Args:
        settings: the section.
        place: of its `model_config_parameters`, for what is not carried over.
        notes: take that up.
    """
    given = dict(settings.get("model_config_parameters") or {})
    if "instance_group" in given:
        given["instance_group"] = _single_groups(given["instance_group"], place, notes)
    leaves: dict[str, list[Any]] = {}
    for path, leaf in _leaves(given):
        if path in _FIELDS:
            leaves.setdefault(path, []).extend(_several(leaf, _FIELDS[path]))
        else:
            notes.add(f"{place}.{path}", STAYS)
    found: dict[str, list[Any]] = {}
    for path, values in leaves.items():
        found.setdefault(_FIELDS[path].knob, []).extend(_read(values, path, place, notes))
    if settings.get("cpu_only"):
        found.setdefault("instance_kind", ["cpu"])  # what a model's own section says comes first
    return {name: _under_condition(name, values, found) for name, values in found.items() if values}


def _single_groups(given: Any, place: str, notes: Notes) -> list[Any]:
    """Return instance groups that are tried one at a time; where several are to be there at once that is noted."""
    listed = several(given)
    ways = listed if any(isinstance(one, list) for one in listed) else [listed]
    if any(len(several(way)) > 1 for way in ways):
        notes.add(f"{place}.instance_group", f"several groups at once: the knobs tune one; {STAYS}")
    return [group for way in ways if len(several(way)) == 1 for group in several(way)]


def _several(given: Any, field: _Field) -> list[Any]:
    """Return the values that a leaf names: of a field that has lists a plain list is one."""
    if field.lists:
        return several(given) if any(isinstance(one, list) for one in several(given)) else [several(given)]
    return values_of(given) if isinstance(given, dict) else several(given)


def _read(values: Sequence[Any], path: str, place: str, notes: Notes) -> list[Any]:
    """Return the values of a field as a study has them, each once, numbers in their order."""
    found: list[Any] = []
    if all(isinstance(one, int | float) and not isinstance(one, bool) for one in values):
        values = sorted(values)
    for one in values:
        try:
            value = _FIELDS[path].read(one)
        except (ValueError, KeyError, IndexError) as error:
            notes.add(f"{place}.{path}", f"{error if isinstance(error, ValueError) else one}; {STAYS}")
            continue
        if value not in found:
            found.append(value)
    return found


def _under_condition(name: str, values: list[Any], found: Mapping[str, list[Any]]) -> Any:
    when = next(one.when for one in _FIELDS.values() if one.knob == name)
    return {"values": values, "when": when} if when and OFF in found.get(when.split()[0], ()) else values


def _leaves(given: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the path of each field and what stands there; a list of messages is several values of their fields."""
    if isinstance(given, dict) and not ("start" in given and "stop" in given):
        for key, one in given.items():
            yield from _leaves(one, f"{path}.{key}".lstrip("."))
    elif isinstance(given, list) and path not in _OF_LISTS and any(isinstance(one, dict | list) for one in given):
        for one in given:
            yield from _leaves(one, path)
    elif given == [] and f"{path}.name" in _FIELDS:
        yield f"{path}.name", OFF
    else:
        yield path, given


def space_of(settings: Mapping[str, Any], place: str, least_batch: int, notes: Notes) -> dict[str, Any]:
    """Return the part of a study's space that a model's section asks for, without load levels.

    Args:
        settings: the section, with what is said of all models.
        place: of its `model_config_parameters`.
        least_batch: rows of a request, which a batch has to have room for.
        notes: take up what is not carried over.
    """
    named = knobs_of(settings, place, notes)
    ranges: dict[str, Any] = {}
    if not settings.get("run_config_search_disable"):
        batches = _range(settings, "model_batch_size", MOST_BATCH, doubling=True)
        ranges = {
            "max_batch_size": {**batches, "low": max(batches["low"], least_batch)},
            "max_queue_delay": DELAYS,
            "instances": _range(settings, "instance_count", MOST_INSTANCES, doubling=False),
        }
    if any(one.knob in named for path, one in _FIELDS.items() if path.startswith(_SEQUENCES)):
        ranges.pop("max_queue_delay", None)  # there is no dynamic batching beside sequences
    return {**ranges, **named}


def load_of(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the load levels that a section asks for: `rate` where it has rates, else `concurrency`."""
    if rates := rates_of(settings):
        return {"rate": [f"{rate}/s" for rate in rates]}
    parameters = dict(settings.get("parameters") or {})
    given = values_of(parameters.get("concurrency", settings.get("concurrency")))
    if not given and settings.get("run_config_search_disable"):
        given = [1]
    return {"concurrency": given or _range(settings, "concurrency", MOST_CONCURRENCY, doubling=True)}


def rates_of(settings: Mapping[str, Any]) -> list[Any]:
    """Return the rates of requests that a section names."""
    return values_of(dict(settings.get("parameters") or {}).get("request_rate", settings.get("request_rate")))


def _range(settings: Mapping[str, Any], what: str, most: int, *, doubling: bool) -> dict[str, Any]:
    low = int(settings.get(f"run_config_search_min_{what}", 1))
    high = int(settings.get(f"run_config_search_max_{what}", most))
    return {"low": low, "high": high, **({"scale": "log2"} if doubling else {})}
