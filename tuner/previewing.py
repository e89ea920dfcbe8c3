"""Make the preview of a workload: its schedule as the load engine would be given it."""

import numpy as np
from numpy.typing import NDArray

from tuner.load.plan import OpenLoop
from tuner.preview import Preview
from tuner.study.load import Study
from tuner.workload import Workload
from workloads.prompts import lengths_of
from workloads.requests import Dataset, Prompts
from workloads.tensors import Drawn

SHORTEST_S, PERIODS, MOST, FEWEST = 10.0, 3, 1_000_000, 100


def preview(workload: Workload, study: Study, duration_s: float | None = None) -> Preview:
    """Return what a workload would send at its own rate.

    Args:
        workload: the traffic.
        study: that has it, for the words.
        duration_s: of the schedule; None: as long as it takes to see the shape, 10 s at least.
    """
    arrival = dict(study.given["workloads"][workload.name]["arrival"])
    told = str(arrival.pop("process"))
    if arrival:
        told += f" ({', '.join(f'{name} {value}' for name, value in arrival.items())})"
    arrivals = workload.arrivals
    if arrivals is None:
        note = "a closed loop: answers decide when requests are sent"
        return Preview(
            workload.name, told, 0.0, np.empty(0), np.arange(len(workload.dataset)), _sizes(workload), (note,)
        )
    shown_s = max(SHORTEST_S, PERIODS * arrivals.least_window_s, FEWEST / arrivals.mean_rate_rps)
    wanted_s = shown_s if duration_s is None else duration_s
    length_s = min(wanted_s, MOST / arrivals.mean_rate_rps)
    loop = workload.loop(workload.at(None), length_s)
    assert isinstance(loop, OpenLoop), "it has arrivals"
    notes = () if length_s == wanted_s else (f"cut after about {MOST:,} arrivals",)
    schedule = loop.schedule
    return Preview(
        workload.name,
        told,
        length_s,
        schedule.offsets_ns / 1e9,
        schedule.requests.astype(np.int64),
        _sizes(workload),
        notes,
    )


def _sizes(workload: Workload) -> dict[str, NDArray[np.int64]]:
    """Return what can be said of each request's size without a server."""
    source = workload.dataset
    if isinstance(source, Prompts):
        unit = "input tokens" if source.ids else "input words"
        return {unit: lengths_of(source), "output tokens": source.output_tokens.astype(np.int64)}
    if isinstance(source, Drawn):
        return dict(source.drawn_lengths())
    if isinstance(source, Dataset):
        sizes = [sum(source.rows(name, index).nbytes for name in source.inputs) for index in range(len(source))]
        return {"bytes": np.array(sizes, np.int64)}
    return {}
