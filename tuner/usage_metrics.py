"""Metrics of what was used: energy per inference, GPU, memory, CPU; and several windows of one load together. Pure."""

import math
from collections.abc import Callable, Container, Iterable, Sequence

from tuner.catalog import METRICS
from tuner.results import Estimate
from tuner.usage import Gpu, ServerReading, Telemetry

SLOWED = ("hw_slowdown", "sw_thermal_slowdown", "hw_thermal_slowdown", "hw_power_brake_slowdown")
"""Throttle reasons that are no setting of the user's: another day the same configuration would do better."""

MEMORY = frozenset({"gpu_memory", "server_rss"})
"""Metrics of what is loaded, whether or not it is asked anything."""


def usage_metrics(used: Telemetry, throughput: Estimate) -> dict[str, Estimate]:
    """Return metric key -> estimate, those that can be had.

    They are about the GPUs on which a process of the server's was seen; where none was seen on any, about all of the
    host's. GPU memory is that of the server's own processes where it is told of all of these GPUs, else all that is
    in use on them; with MIG it is that of the instances. Of GPUs that need not be the server's, those that have no
    reading of power are left out of the energy.

    Args:
        used: telemetry of a window.
        throughput: of the same window. It gives the energy per inference, power / throughput, its interval; the other
            numbers are readings, and their interval is the value alone.
    """
    gpus = [gpu for gpu in used.gpu if gpu.server] or used.gpu
    values = {
        "gpu_utilization": _of_all(gpus, lambda gpu: gpu.utilization, lambda found: sum(found) / len(found)),
        "gpu_memory": _of_all(gpus, lambda gpu: gpu.server_memory_bytes or None, sum)
        or _of_all(gpus, _memory_used, sum),
        "server_cpu": used.cpu_cores,
        "server_rss": used.rss_bytes,
    }
    found = {
        METRICS[name].key: Estimate(value=value, low=value, high=value, n=used.samples)
        for name, value in values.items()
        if value is not None
    }
    serving = any(gpu.server for gpu in gpus)
    metered = [gpu for gpu in gpus if serving or not _without_power(gpu)]
    joules = _of_all(metered, lambda gpu: gpu.energy_joules, sum)
    if joules and used.sampled_s > 0:  # none at all: the counter was not renewed in the window
        found[METRICS["energy_per_inference"].key] = _per_inference(joules / used.sampled_s, throughput)
    return found


def memory_of_server(used: Telemetry, *, all_processes: bool) -> float | None:
    """Return the memory of the server's own processes, in bytes: on its GPUs where it is on some, else the host's.

    None where that is not told. What is in use on a whole GPU, by whomever, does not stand for it: with two servers
    on one GPU that is the same number for both.

    Args:
        used: telemetry of a window.
        all_processes: whether process ids here are those that a GPU tells. In a container they are mostly not: no
            process on a GPU is known there as the server's, and that does not say that none is.
    """
    own = [gpu for gpu in used.gpu if gpu.server]
    if own:
        return _of_all(own, _memory_of_server, sum)
    on_none = all_processes and all(gpu.server is False for gpu in used.gpu)
    return used.rss_bytes if on_none or not used.gpu else None


def untold(
    asked: Iterable[str], used: Telemetry, told: Container[str], more: Container[str] = ()
) -> dict[str, Estimate]:
    """Return infinite estimates, with the reason, for the metrics that are asked for and not told: the worst there is.

    Args:
        asked: names of metrics of use.
        used: telemetry of the window.
        told: keys of those that are.
        more: those of which more is asked for: they are infinitely little.
    """
    why = "; ".join(used.notes) or "this host has no GPU"
    worst = {name: -math.inf if name in more else math.inf for name in asked if METRICS[name].key not in told}
    return {
        METRICS[name].key: Estimate(value=value, low=-math.inf, high=math.inf, n=0, note=why)
        for name, value in worst.items()
    }


def without_memory(used: Telemetry, *, shared: bool) -> Telemetry:
    """Return telemetry of one deployment of several without the memory that the others have a part in.

    Args:
        used: while all of them were loaded.
        shared: whether they share processes; else what is told of the server's processes is its own.
    """
    of_all = ["memory_used_bytes", "memory_used_mean_bytes", *(["server_memory_bytes"] if shared else [])]
    unknown = dict.fromkeys(of_all)
    gpus = [
        gpu.model_copy(update={**unknown, "instances": [one.model_copy(update=unknown) for one in gpu.instances]})
        for gpu in used.gpu
    ]
    own = {"rss_bytes": None, "rss_mean_bytes": None} if shared else {}
    return used.model_copy(update={"gpu": gpus, **own})


def throttled(used: Telemetry) -> list[str]:
    """Return a warning for each GPU that ran slower than it could because of heat or its power supply."""
    found = []
    for gpu in used.gpu:
        reasons = {name: share for name, share in (gpu.throttle or {}).items() if name in SLOWED}
        if reasons:
            said = ", ".join(f"{name} in {share:.0%}" for name, share in reasons.items())
            found.append(f"GPU {gpu.index} was slowed down ({said} of the samples): cool it, or lower its power limit")
    return found


def pooled_use(parts: Sequence[Telemetry]) -> Telemetry:
    """Put windows of the same load together: means weighted by their seconds, largest values, energies added.

    What one of them lacks is left out.

    Args:
        parts: at least one.
    """
    first, seconds = parts[0], [part.sampled_s for part in parts]
    updates = _pooled_fields([part.model_dump() for part in parts], seconds)
    gpus = [part.gpu for part in parts]
    if all(len(one) == len(gpus[0]) for one in gpus):
        updates["gpu"] = [_pooled_gpu([one[index] for one in gpus], seconds) for index in range(len(gpus[0]))]
    updates["server_metrics"] = _pooled_readings(parts, seconds)
    updates["notes"] = list(dict.fromkeys(note for part in parts for note in part.notes))
    return first.model_copy(update={**updates, "sampled_s": sum(seconds), "series": None})


def _pooled_readings(parts: Sequence[Telemetry], seconds: Sequence[float]) -> list[ServerReading]:
    """Return the server's own metrics over all parts.

    A counter that a part does not have did not grow in it; a gauge that one does not have is left out.
    """
    of_each = [{one.name: one for one in part.server_metrics} for part in parts]
    pooled = []
    for name, first in {name: one for each in of_each for name, one in each.items()}.items():
        if first.per_s is not None or all(name in each for each in of_each):
            none = ServerReading(name=name, per_s=0.0)
            found = [each.get(name, none).model_dump() for each in of_each]
            pooled.append(first.model_copy(update=_pooled_fields(found, seconds)))
    return pooled


def _pooled_gpu(parts: Sequence[Gpu], seconds: Sequence[float]) -> Gpu:
    updates = _pooled_fields([part.model_dump() for part in parts], seconds)
    known = [part.throttle for part in parts if part.throttle is not None]
    if known:
        reasons = dict.fromkeys(reason for one in known for reason in one)
        updates["throttle"] = {name: sum(one.get(name, 0.0) for one in known) / len(known) for name in reasons}
    seen = [part.server for part in parts if part.server is not None]
    instances = [part.instances for part in parts]
    if all(len(one) == len(instances[0]) for one in instances):
        updates["instances"] = [
            one.model_copy(update=_pooled_fields([part[index].model_dump() for part in instances], seconds))
            for index, one in enumerate(instances[0])
        ]
    return parts[0].model_copy(update={**updates, "server": any(seen) if seen else None})


_LARGEST = ("rss_bytes", "memory_used_bytes", "server_memory_bytes", "max")
_ADDED = ("energy_joules", "samples")


def _pooled_fields(parts: Sequence[dict[str, object]], seconds: Sequence[float]) -> dict[str, object]:
    """Return field -> value over all parts, of those fields that are numbers; None where a part lacks it."""
    pooled: dict[str, object] = {}
    for name in parts[0]:
        values = [part[name] for part in parts]
        numbers = [value for value in values if isinstance(value, int | float) and not isinstance(value, bool)]
        if name in ("index", "memory_total_bytes") or not numbers:
            continue
        if len(numbers) < len(values):
            pooled[name] = None
        elif name in _ADDED:
            pooled[name] = sum(numbers)
        elif name in _LARGEST or name.endswith("_max"):
            pooled[name] = max(numbers)
        else:
            weights = seconds if sum(seconds) > 0 else [1.0] * len(seconds)
            pooled[name] = sum(map(math.prod, zip(numbers, weights, strict=True))) / sum(weights)
    return pooled


def _without_power(gpu: Gpu) -> bool:
    """Whether a GPU was sampled and has no reading of power at all, as those of a display; not one that was lost."""
    return gpu.samples > 0 and gpu.power_watts is None and gpu.energy_joules is None


def _memory_used(gpu: Gpu) -> float | None:
    """Return the memory in use: of its MIG instances that the server is on, of all of them, or of the whole GPU."""
    if not gpu.instances:
        return gpu.memory_used_bytes
    of_server = [one.server_memory_bytes for one in gpu.instances if one.server_memory_bytes]
    used = of_server or [one.memory_used_bytes for one in gpu.instances if one.memory_used_bytes is not None]
    return sum(used) if used else None


def _memory_of_server(gpu: Gpu) -> float | None:
    """Return the memory of the server's processes on a GPU, or on its MIG instances; None where that is not told."""
    own = [one.server_memory_bytes for one in gpu.instances if one.server_memory_bytes]
    return gpu.server_memory_bytes or sum(own) or None


def _of_all(
    gpus: Sequence[Gpu], told: Callable[[Gpu], float | None], together: Callable[[list[float]], float]
) -> float | None:
    """Return a number over all GPUs, None where one of them lacks it or there are none."""
    found = [value for gpu in gpus if (value := told(gpu)) is not None]
    return together(found) if found and len(found) == len(gpus) else None


def _per_inference(watts: float, throughput: Estimate) -> Estimate:
    def over(rate: float) -> float:
        return watts / rate if rate > 0 else math.inf

    return Estimate(
        value=over(throughput.value),
        low=over(throughput.high),
        high=over(throughput.low),
        n=throughput.n,
        note=None if throughput.low > 0 else throughput.note,
    )
