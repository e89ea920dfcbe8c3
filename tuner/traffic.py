"""A study's workloads made ready: requests read or drawn, arrival processes built."""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import chain
from typing import TypeVar

import numpy as np

from tuner.accuracy.own_function import OwnFunctionError, load_function
from tuner.accuracy.scoring import Cosine, Own, Regression, Scoring, TopK
from tuner.request_class import RequestClass
from tuner.space import Space
from tuner.study.accuracy import AccuracySpec, CosineSpec, FunctionSpec, RegressionSpec, TopKSpec, labels_of
from tuner.study.arrivals import Arrival, ClosedSpec, OpenArrival, TraceSpec
from tuner.study.lengths import Length, lengths_of
from tuner.study.load import Study
from tuner.study.locustfile import LocustSpec
from tuner.study.source import Keys
from tuner.study.traffic import (
    DatasetSpec,
    PerfAnalyzerSpec,
    PromptLengthsSpec,
    PromptsSpec,
    RequestsSpec,
    SequencesSpec,
    SyntheticSpec,
    TensorsSpec,
    WorkloadSpec,
)
from tuner.units import format_offered
from tuner.users_traffic import make_users_workload
from tuner.workload import Workload, every_load
from workloads import think
from workloads.arrivals import Arrivals
from workloads.datasets import Listed, load_dataset, load_perf_analyzer
from workloads.lengths import Lengths
from workloads.prompts import (
    TOO_FEW_IDS,
    Independent,
    PromptLengths,
    Recorded,
    Synthetic,
    can_be_fresh,
    load_prompts,
)
from workloads.requests import Requests, RequestSourceError, in_sequences, prioritised
from workloads.sequences import Sequences, drawn
from workloads.tensors import Drawn
from workloads.traces import load_trace

ROUNDING = 1e-9
CLASS_SEEDS = 1000
"""The seeds of a workload's classes are so far apart: further than those of a study's workloads."""
COUNT = 1000
"""Prompts that are made up, where neither the study nor a trace says how many."""
_Made = TypeVar("_Made")


def make_workloads(study: Study) -> tuple[Workload, ...]:
    """Read the requests of every workload of a study, and its traces.

    Raises:
        StudyError: a source cannot be read, an arrival process or a locustfile cannot be; with its line.
    """
    sources: dict[str, Requests] = {}
    return tuple(
        make_users_workload(study, name, spec, study.spec.search.seed + index)
        if isinstance(spec, LocustSpec)
        else _make(study, name, spec, sources, study.spec.search.seed + index)
        for index, (name, spec) in enumerate(study.spec.workloads.items())
    )


def _make(study: Study, name: str, spec: WorkloadSpec, sources: dict[str, Requests], seed: int) -> Workload:
    place = ("workloads", name)
    closed = spec.arrival if isinstance(spec.arrival, ClosedSpec) else None
    classes = tuple(
        _class(study, (*place, "mix", one) if one else place, spec, one, sources, seed) for one in spec.classes()
    )
    return Workload(
        name=name,
        classes=classes,
        arrivals=None if isinstance(spec.arrival, ClosedSpec) else _arrivals(study, name, spec.arrival),
        think=_made(study, (*place, "arrival", "think_time"), closed.pauses) if closed else think.NONE,
        ramp_up_s=closed.ramp_up if closed else 0.0,
        model=spec.model or "",
        concurrency=closed.concurrency if closed else None,
        connections=spec.connections,
        keep_alive=spec.keep_alive,
        seed=seed,
        sequences=classes[0].sequences,
        at_once=spec.sequences.at_once if spec.sequences else None,
    )


def _class(
    study: Study, place: Keys, workload: WorkloadSpec, name: str, sources: dict[str, Requests], seed: int
) -> RequestClass:
    """Read the requests of a class; classes and workloads of the same source share it."""
    spec = workload.classes()[name]
    source, repeats = spec.requests, spec.repeats
    from_files = isinstance(source, DatasetSpec | PerfAnalyzerSpec)
    seed += list(workload.classes()).index(name) * CLASS_SEEDS
    key = source.model_dump_json() + ("" if from_files else str(seed))
    if key not in sources:
        sources[key] = _requests(study, (*place, "requests"), source, seed)
    if isinstance(source, DatasetSpec):
        _check_used(study, (*place, "requests"), source, sources[key])
    fresh = isinstance(source, TensorsSpec | PromptsSpec | SyntheticSpec) and source.fresh
    if fresh and not can_be_fresh(sources[key]):
        raise study.source.error((*place, "requests"), f"{TOO_FEW_IDS}; take more of them, or give `fresh: false`")
    sequences = _sequences(study, (*place, "sequences"), workload.sequences, sources[key], seed)
    dataset = prioritised(sources[key], spec.priority) if spec.priority else sources[key]
    return RequestClass(
        name=name,
        dataset=in_sequences(dataset, sequences) if sequences else dataset,
        weight=spec.weight,
        timeout_s=spec.timeout or workload.timeout,
        output=source.output if isinstance(source, DatasetSpec) else None,
        scoring=_scoring(study, (*place, "requests", "accuracy"), source.accuracy)
        if isinstance(source, DatasetSpec)
        else None,
        scoring_error=partial(_error_in, study, (*place, "requests")),
        fresh=fresh,
        shuffled=len(workload.classes()) > 1 or not _row_by_row(workload.arrival, source),
        repeats=repeats.share if repeats else 0.0,
        skew=repeats.skew if repeats else 1.0,
        sequences=sequences,
    )


def _sequences(
    study: Study, place: Keys, spec: SequencesSpec | None, requests: Requests, seed: int
) -> Sequences | None:
    if spec is None:
        return None
    if spec.length is not None:
        drawing = np.random.default_rng([seed, len(requests)])
        return drawn(_lengths(study, (*place, "length"), spec.length), len(requests), spec.first_id, drawing)
    streams = requests.streams if isinstance(requests, Listed) else ()
    if not streams:
        raise study.source.error(place, "the file has requests, but no streams of them; give a `length`")
    return Sequences(np.array(streams, np.int64), spec.first_id)


def _scoring(study: Study, place: Keys, spec: AccuracySpec) -> Scoring:
    match spec:
        case TopKSpec(k=k):
            return TopK(k)
        case RegressionSpec(kind=kind):
            return Regression(squared=kind == "squared_error")
        case CosineSpec():
            return Cosine()
        case FunctionSpec(function=reference, better=better):
            try:
                return Own(load_function(study.resolve(spec.file).parent, reference), is_error=better == "less")
            except OwnFunctionError as error:
                raise study.source.error((*place, "function"), str(error)) from None


def _error_in(study: Study, place: Keys, keys: tuple[str, ...], message: str) -> Exception:
    return study.source.error((*place, *keys), message)


def _row_by_row(arrival: Arrival, source: RequestsSpec) -> bool:
    """Whether the k-th arrival of a trace is to have the size of its own request."""
    if not isinstance(arrival, TraceSpec) or not isinstance(source, SyntheticSpec) or source.lengths_from is None:
        return False
    lengths = source.lengths_from
    same = all(
        getattr(arrival, name) == getattr(lengths, name) for name in ("path", "format", "unit", "start", "duration")
    )
    return same and source.count is None


def _made(study: Study, place: Keys, make: Callable[[], _Made]) -> _Made:
    """Make something of a part of a study; what is wrong with it points at its line."""
    try:
        return make()
    except RequestSourceError as error:
        raise study.source.error((*place, "path"), str(error)) from None
    except ValueError as error:
        raise study.source.error(place, str(error)) from None


def _requests(study: Study, place: Keys, spec: RequestsSpec, seed: int) -> Requests:
    match spec:
        case SyntheticSpec():
            return _synthetic(study, place, spec, seed)
        case TensorsSpec():
            return _drawn(study, place, spec, seed)
        case PromptsSpec(path=path, default_output_tokens=tokens):
            return _made(study, place, lambda: load_prompts(study.resolve(path), tokens))
        case PerfAnalyzerSpec(path=path):
            return _made(study, place, lambda: load_perf_analyzer(study.resolve(path)))
        case DatasetSpec(path=path, labels=labels, input=name_of_input, accuracy=accuracy):
            wanted = labels_of(accuracy)
            return _made(study, place, lambda: load_dataset(study.resolve(path), labels, name_of_input, wanted))


def _check_used(study: Study, place: Keys, spec: DatasetSpec, found: Requests) -> None:
    """Check that the file has a use for the keys that the study gives of it. Raises StudyError."""
    path, folder = spec.path, study.resolve(spec.path).is_dir()
    keyed = not folder and spec.path.suffix != ".npy"
    if "labels" in spec.model_fields_set and not keyed:
        other = "labels.csv in the folder" if folder else "an .npz file"
        raise study.source.error(
            (*place, "labels"), f"{path} has no keys to name; take it out, labels stand in {other}"
        )
    if "labels" in spec.model_fields_set and found.labels is None:
        raise study.source.error((*place, "labels"), f"{path} has no {spec.labels!r}; name what it has, or take it out")
    if "accuracy" in spec.model_fields_set and found.labels is None:
        where = f"under {spec.labels!r}" if keyed else "in labels.csv" if folder else "as an .npy file never has"
        raise study.source.error(
            (*place, "accuracy"), f"{path} has no labels ({where}) that answers could be compared with; take it out"
        )
    if spec.input is not None and keyed:
        raise study.source.error(
            (*place, "input"), f"{path} names its inputs itself; take it out, it is for an .npy file or a folder"
        )


def _drawn(study: Study, place: Keys, spec: TensorsSpec, seed: int) -> Drawn:
    for name, (low, high) in spec.values.items():
        if not low <= high:
            raise study.source.error((*place, "values", name), f"the first must not be above the second: {low}, {high}")
    return Drawn(
        count=spec.count,
        seed=seed,
        lengths={name: _lengths(study, (*place, "lengths", name), given) for name, given in spec.lengths.items()},
        shapes=spec.shapes,
        ranges=spec.values,
        strings=_lengths(study, (*place, "strings"), spec.strings),
        batch=None if spec.batch is None else _lengths(study, (*place, "batch"), spec.batch),
    )


def _synthetic(study: Study, place: Keys, spec: SyntheticSpec, seed: int) -> Requests:
    ids = spec.token_ids
    if ids.low > ids.high:
        raise study.source.error((*place, "token_ids"), "`low <= high` must hold")
    lengths, count = _prompt_lengths(study, place, spec)
    return Synthetic(lengths, spec.count or count, spec.form == "ids", ids.low, ids.high).make(seed)


def _prompt_lengths(study: Study, place: Keys, spec: SyntheticSpec) -> tuple[PromptLengths, int]:
    """Return the lengths of prompts, and how many there are to be unless the study says it."""
    given = spec.lengths_from
    if given is not None:
        recorded = _made(study, (*place, "lengths_from"), lambda: _recorded(study, given))
        return recorded, len(recorded.input_tokens)
    return Independent(
        _lengths(study, (*place, "input_tokens"), spec.input_tokens),
        _lengths(study, (*place, "output_tokens"), spec.output_tokens),
    ), COUNT


def _lengths(study: Study, place: Keys, spec: Length | None) -> Lengths:
    assert spec is not None, "the study was validated"
    return _made(study, place, lambda: lengths_of(spec))


def _recorded(study: Study, spec: PromptLengthsSpec) -> Recorded:
    path = study.resolve(spec.path)
    trace = load_trace(path, spec.unit, spec.format).cut(spec.start, spec.duration)
    if trace.input_tokens is None or trace.output_tokens is None:
        missing = "input" if trace.input_tokens is None else "output"
        raise RequestSourceError(f"{path}: does not say how many {missing} tokens its requests had")
    return Recorded(trace.input_tokens, trace.output_tokens)


def _arrivals(study: Study, name: str, spec: OpenArrival) -> Arrivals:
    """Build an arrival process and check that a window can hold its shape."""
    place = ("workloads", name, "arrival")
    arrivals = _made(study, place, lambda: spec.made(study.resolve))
    _check_fits(study, place, arrivals)
    return arrivals


def check_sequences(study: Study, workloads: Sequence[Workload], space: Space) -> None:
    """Check that there are as many sequences as are live at once, at every load level, and a connection for each.

    Raises:
        StudyError: there are not, or two workloads that are measured at once give a model sequences of the same ids.
    """
    ids: dict[tuple[str, int], str] = {}
    for workload in workloads:
        if workload.sequences is None:
            continue
        place = ("workloads", workload.name, "sequences")
        levels = [level for level in space.levels("concurrency") if not isinstance(level, str)]
        most = workload.at_once or workload.concurrency or int(max(levels, default=0))
        if workload.at_once is not None and workload.at_once > workload.connections:
            raise study.source.error(
                (*place, "at_once"),
                f"{workload.at_once} live sequences need a connection each, and there are {workload.connections}; "
                "raise `connections` of the workload",
            )
        first = workload.sequences.first_id
        for one in range(first, first + len(workload.sequences)) if workload.model else ():
            if (other := ids.setdefault((workload.model, one), workload.name)) != workload.name:
                raise study.source.error(
                    (*place, "first_id"),
                    f"{other} sends {workload.model} a sequence {one} at the same time; begin above its last one",
                )
        if len(workload.sequences) < most:
            raise study.source.error(
                ("workloads", workload.name, "sequences"),
                f"{most} are to be live at once, and the requests make {len(workload.sequences)}; give a shorter "
                "`length`, or more requests",
            )


def check_windows(study: Study, workloads: Sequence[Workload], space: Space) -> None:
    """Check that a window can hold the shape of every workload at every load level. Raises StudyError."""
    for workload, load in chain.from_iterable(every_load(workloads, space)):
        if workload.arrivals is not None:
            _check_fits(study, ("workloads", workload.name, "arrival"), workload.arrivals.at_rate(load.level))


def _check_fits(study: Study, place: Keys, arrivals: Arrivals) -> None:
    longest_s, takes_s = max(study.spec.measure.window, study.spec.measure.max_window), arrivals.least_window_s
    if takes_s > longest_s * (1 + ROUNDING):
        raise study.source.error(
            place,
            f"at {format_offered(arrivals.mean_rate_rps)} it takes {takes_s:,.6g} s to show its shape, and the longest "
            f"window is {longest_s:,.6g} s; make it faster, or give a `measure.max_window` of {takes_s:,.6g} s or more",
        )
