"""The traffic of a study, of what a configuration of Model Analyzer says of loads and of flags of Perf Analyzer."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from targets import registry
from targets.base import TargetError
from tuner.analyzer_space import rates_of
from tuner.analyzer_values import CERTIFICATES, Notes, several, values_of

ITS_OWN = frozenset(
    {
        "async", "sync", "binary-search", "bls-composing-models", "collect-metrics", "metrics-url", "metrics-interval",
        "concurrency-range", "batch-size", "model-name", "measurement-mode", "measurement-interval",
        "measurement-request-count", "service-kind", "triton-server-directory", "model-repository", "protocol", "url",
        "stability-percentage", "max-trials", "max-threads", "num-threads", "warmup-request-count", "verbose",
        "verbose-csv", "extra-verbose", "latency-report-file", "profile-export-file", "request-count",
    }
)  # fmt: skip
"""Flags of Perf Analyzer about its own measuring and reports, and those that Model Analyzer itself gives it."""
CARRIED_FLAGS = frozenset(
    {
        "streaming", "input-tensor-format", "output-tensor-format", "shared-memory", "output-shared-memory-size",
        "request-parameter", "header", "H", *CERTIFICATES, "ssl-grpc-use-ssl", "input-data", "shape", "percentile",
        "string-length", "request-distribution", "sequence-length", "start-sequence-id", "num-of-sequences",
    }
)  # fmt: skip


def workload_of(settings: Mapping[str, Any], model: str, path: Path, folder: Path, notes: Notes) -> dict[str, Any]:
    """Return one workload: its arrivals, its requests, and the sequences that they belong to.

    Args:
        settings: what is said of its model.
        model: that it asks.
        path: of the configuration.
        folder: where the study will stand.
        notes: take up what is not carried over.
    """
    flags = dict(settings.get("perf_analyzer_flags") or {})
    for flag in flags:
        if flag not in CARRIED_FLAGS | ITS_OWN:
            notes.add(f"perf_analyzer_flags.{flag}", "has no counterpart")
    if "percentile" in flags:
        notes.add("perf_analyzer_flags.percentile", f"{flags['percentile']}: a bound names its own one, as `slo.p99`")
    requests = _requests(settings, flags, path, folder, notes)
    if requests["source"] == "tensors" and "shape" in flags:
        requests |= _shapes(sizes_of(flags["shape"]), settings, model, path, notes)
    if "lengths" in requests and requests.pop("batch", None) is not None:
        notes.add("batch_sizes", "a request with an axis of open length is one row")
    made: dict[str, Any] = {"arrival": _arrival(settings, flags), "requests": requests}
    if "sequence-length" in flags:
        first = {"first_id": int(flags["start-sequence-id"])} if "start-sequence-id" in flags else {}
        made["sequences"] = {"length": int(flags["sequence-length"]), **first}
        if made["arrival"]["process"] != "closed":
            made["sequences"]["at_once"] = int(flags.get("num-of-sequences", 4))
    return made


def _arrival(settings: Mapping[str, Any], flags: Mapping[str, Any]) -> dict[str, Any]:
    rates = rates_of(settings)
    process = "poisson" if flags.get("request-distribution") == "poisson" else "constant"
    return {"process": process, "rate": f"{rates[0]}/s"} if rates else {"process": "closed"}


def batches_of(settings: Mapping[str, Any]) -> list[Any]:
    """Return the rows of a request that a section names."""
    return values_of(dict(settings.get("parameters") or {}).get("batch_sizes", settings.get("batch_sizes"))) or [1]


def _requests(
    settings: Mapping[str, Any], flags: Mapping[str, Any], path: Path, folder: Path, notes: Notes
) -> dict[str, Any]:
    data, batches = flags.get("input-data"), batches_of(settings)
    if isinstance(data, list):
        notes.add("perf_analyzer_flags.input-data", f"{data}: the first is taken")
        data = data[0] if data else None
    if data is not None and data not in ("zero", "random"):
        if batches != [1]:
            notes.add("batch_sizes", f"{batches}: each request of a file is one row")
        file = (path.parent / str(data)).resolve()
        return {"source": "perf_analyzer", "path": os.path.relpath(file, folder.resolve())}
    made: dict[str, Any] = {"source": "tensors"}
    if batches != [1]:
        made["batch"] = int(batches[0])
    if len(batches) > 1:
        notes.add(
            "batch_sizes", f"{batches}: {batches[0]} is taken; give another one as `requests.batch`, with `--set`"
        )
    if "string-length" in flags:
        made["strings"] = int(flags["string-length"])
    return made


def _shapes(
    given: Mapping[str, list[int]], settings: Mapping[str, Any], model: str, path: Path, notes: Notes
) -> dict[str, Any]:
    """Return `lengths` and `shapes` of the axes that the model leaves open; {} where all have their size already."""
    try:
        repository = (path.parent / str(settings.get("model_repository", ""))).resolve()
        (found,) = registry.models_at("triton", str(repository), model)
    except TargetError as error:
        notes.add("perf_analyzer_flags.shape", f"{error}; give requests.shapes for axes of open length")
        return {}
    lengths: dict[str, int] = {}
    shapes: dict[str, list[str]] = {}
    for tensor in found.inputs:
        sizes = given.get(tensor.name)
        if sizes is None:
            continue
        if len(sizes) != len(tensor.shape):
            notes.add(
                "perf_analyzer_flags.shape", f"input {tensor.name} has the shape {list(tensor.shape)}, not {sizes}"
            )
            continue
        named = {f"{tensor.name}_{axis}": size for axis, size in enumerate(sizes) if tensor.shape[axis] < 0}
        if named:
            lengths |= named
            shapes[tensor.name] = list(named)
    if strangers := [name for name in given if name not in {tensor.name for tensor in found.inputs}]:
        notes.add("perf_analyzer_flags.shape", f"model {model!r} has no input {', '.join(strangers)}")
    return {"lengths": lengths, "shapes": shapes} if shapes else {}


def sizes_of(given: Any) -> dict[str, list[int]]:
    """Return input -> its sizes of `INPUT:3,224`, or of a list of such."""
    parts = [str(one).rpartition(":") for one in several(given)]
    return {name: [int(size) for size in sizes.split(",")] for name, _, sizes in parts}
