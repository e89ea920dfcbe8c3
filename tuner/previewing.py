"""Make the preview of a workload: its schedule as the load engine would be given it."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from tuner.load.plan import OpenLoop
from tuner.preview import Preview
from tuner.request_class import RequestClass
from tuner.study.load import Study
from tuner.workload import Workload
from workloads.prompts import lengths_of
from workloads.requests import Dataset, Prompts
from workloads.tensors import Drawn

SHORTEST_S, PERIODS, MOST, FEWEST = 10.0, 3, 1_000_000, 100


def previews(workload: Workload, study: Study, duration_s: float | None = None) -> list[Preview]:
    """Return what a workload would send at its own rate: all of it, and each class of a mix.

    Args:
        workload: the traffic.
        study: that has it, for the words.
        duration_s: of the schedule; None: as long as it takes to see the shape, 10 s at least.
    """
    whole = _whole(workload, study, duration_s)
    if workload.users is not None:
        return [whole]
    return (
        [whole, *_classes(workload, whole)] if workload.mixed else [replace(whole, sizes=_sizes(workload.classes[0]))]
    )


def _whole(workload: Workload, study: Study, duration_s: float | None) -> Preview:
    if workload.users is not None:
        note = "a locustfile: its users decide when requests are sent, and which"
        notes = (note, *workload.users.unused)
        return Preview(workload.name, workload.users.path.name, 0.0, np.empty(0), np.arange(0), notes=notes)
    arrival = dict(study.given["workloads"][workload.name]["arrival"])
    told = str(arrival.pop("process"))
    if arrival:
        told += f" ({', '.join(f'{name} {value}' for name, value in arrival.items())})"
    arrivals, count = workload.arrivals, sum(len(one.dataset) for one in workload.classes)
    if arrivals is None:
        note = "a closed loop: answers decide when requests are sent"
        return Preview(workload.name, told, 0.0, np.empty(0), np.arange(count), notes=(note,))
    shown_s = max(SHORTEST_S, PERIODS * arrivals.least_window_s, FEWEST / arrivals.mean_rate_rps)
    wanted_s = shown_s if duration_s is None else duration_s
    length_s = min(wanted_s, MOST / arrivals.mean_rate_rps)
    loop = workload.loop(workload.at(None), length_s)
    assert isinstance(loop, OpenLoop), "it has arrivals"
    notes = () if length_s == wanted_s else (f"cut after about {MOST:,} arrivals",)
    schedule = loop.schedule
    return Preview(
        workload.name, told, length_s, schedule.offsets_ns / 1e9, schedule.requests.astype(np.int64), notes=notes
    )


def _classes(workload: Workload, whole: Preview) -> Iterator[Preview]:
    """Yield each class of a mix: its own arrivals, and its requests numbered from 0."""
    total, first = sum(one.weight for one in workload.classes), 0
    for part, one in zip(workload.parts[1:], workload.classes, strict=True):
        mine = (whole.requests >= first) & (whole.requests < first + len(one.dataset))
        yield Preview(
            part.name,
            f"{one.weight / total:.1%} of {workload.name}",
            whole.duration_s,
            whole.offsets_s[mine] if len(whole.offsets_s) else whole.offsets_s,
            whole.requests[mine] - first,
            _sizes(one),
        )
        first += len(one.dataset)


def _sizes(one: RequestClass) -> dict[str, NDArray[np.int64]]:
    """Return what can be said of each request's size without a server."""
    source = one.dataset
    if isinstance(source, Prompts):
        unit = "input tokens" if source.ids else "input words"
        return {unit: lengths_of(source), "output tokens": source.output_tokens.astype(np.int64)}
    if isinstance(source, Drawn):
        return dict(source.drawn_lengths())
    if isinstance(source, Dataset):
        sizes = [sum(source.rows(name, index).nbytes for name in source.inputs) for index in range(len(source))]
        return {"bytes": np.array(sizes, np.int64)}
    return {}
