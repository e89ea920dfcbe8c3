"""A study made of a configuration of Triton Model Analyzer, for teams that have one.

The keys are those of Model Analyzer 1.58 (docs/config.md of triton-inference-server/model_analyzer). What has no
counterpart is named in the study's first lines: nothing is left out silently.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from targets import yaml_text

MOST_CONCURRENCY, MOST_BATCH, MOST_INSTANCES = 1024, 128, 5
"""Model Analyzer's own defaults of run_config_search_max_*."""
DELAYS = ["0 us", "100 us", "500 us", "1 ms", "5 ms"]
"""Model Analyzer does not search the queue delay unless it is told to; a study does."""
LATENCY = {f"perf_latency_{name}": name for name in ("p90", "p95", "p99")} | {"perf_latency_avg": "mean"}
SIZES = {"gpu_used_memory": "gpu_memory", "cpu_used_ram": "server_rss"}
"""Given in megabytes; the memory is that of the server's processes in both tools."""
OBJECTIVES = {
    "perf_throughput": "maximize throughput",
    **{key: f"minimize {name}" for key, name in (LATENCY | SIZES).items()},
}
_CARRIED = {
    "model_repository", "profile_models", "concurrency", "request_rate", "batch_sizes", "client_protocol",
    "constraints", "objectives", "latency_budget", "triton_launch_mode", "triton_server_path", "triton_http_endpoint",
    *(f"run_config_search_{end}_{what}" for end in ("min", "max")
      for what in ("concurrency", "model_batch_size", "instance_count")),
}  # fmt: skip
_NOTHING_LOST = {
    "checkpoint_directory", "output_model_repository_path", "override_output_model_repository", "export_path",
    "run_config_search_mode", "perf_analyzer_path", "perf_analyzer_timeout", "perf_output", "perf_output_path",
    "perf_analyzer_cpu_util", "perf_analyzer_max_auto_adjusts", "client_max_retries", "duration_seconds",
    "monitoring_interval", "collect_cpu_metrics", "skip_summary_reports", "skip_detailed_reports",
    "num_configs_per_model", "num_top_model_configs", "inference_output_fields", "gpu_output_fields",
    "server_output_fields", "filename_model_inference", "filename_model_gpu", "filename_server_only", "verbose",
    "quiet", "plots", "always_report_gpu_metrics", "triton_output_path", "triton_grpc_endpoint", "triton_metrics_url",
}  # fmt: skip
"""Keys about its own files, reports and measuring."""


class ImportRefused(Exception):
    """A configuration that no study can be made of; the message says why and the remedy."""


@dataclass
class _Notes:
    """What is not carried over."""

    lost: list[str] = field(default_factory=list)

    def add(self, place: str, why: str) -> None:
        self.lost.append(f"{place}: {why}")


def study_text(path: Path, folder: Path, model: str | None) -> str:
    """Return a study, as YAML, that asks what a Model Analyzer configuration asks.

    Args:
        path: the configuration.
        folder: where the study will stand; its paths are relative to that.
        model: which of the models; may be None where there is one.

    Raises:
        ImportRefused: it cannot be read, has no model repository, or several models and none is named.
    """
    data = _read(path)
    try:
        return _study_text(data, path, folder, model)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        what = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise ImportRefused(f"{path}: not as Model Analyzer has it: {what}") from None


def _study_text(data: Mapping[str, Any], path: Path, folder: Path, model: str | None) -> str:
    notes = _Notes()
    name, own = _model(path, data, model)
    settings = {**data, **own}
    for key in settings:
        if key not in _CARRIED | _NOTHING_LOST | {"parameters", "model_config_parameters", "perf_analyzer_flags"}:
            notes.add(key, "has no counterpart")
    study = {
        "study": name.replace("/", "-"),
        "target": _target(settings, name, path, folder, notes),
        "workloads": {"steady": {"arrival": _arrival(settings), "requests": _requests(settings, path, folder, notes)}},
        "space": _space(settings, notes),
        "slo": _slo(settings, notes),
        "objectives": _objectives(settings, notes),
        "search": {"budget": {"trials": 40, "time": "10 min"}},
    }
    head = [f"# Made of {path.name}, a configuration of Triton Model Analyzer.", "# Next: tune doctor; tune THIS_FILE"]
    if notes.lost:
        head += ["# Not carried over:", *(f"#   {one}" for one in notes.lost)]
    return "\n".join(head) + "\n" + yaml.safe_dump(study, sort_keys=False, width=110)


def _read(path: Path) -> dict[str, Any]:
    try:
        data = yaml_text.load(path.read_text())
    except OSError as error:
        raise ImportRefused(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ImportRefused(f"{path}: not a text in UTF-8") from None
    except yaml.YAMLError as error:
        raise ImportRefused(f"{path}: not YAML: {str(error).splitlines()[0]}") from None
    if not isinstance(data, dict) or "profile_models" not in data:
        raise ImportRefused(f"{path}: no `profile_models`; is it a configuration of Model Analyzer?")
    if "model_repository" not in data:
        raise ImportRefused(f"{path}: no `model_repository`; add the one that you give on its command line")
    return data


def _model(path: Path, data: Mapping[str, Any], wanted: str | None) -> tuple[str, dict[str, Any]]:
    """Return a model's name and what is said of it alone."""
    given = data["profile_models"]
    if isinstance(given, str):
        given = [one.strip() for one in given.split(",")]
    models: dict[str, dict[str, Any]] = {}
    for one in given if isinstance(given, list) else [given] if given else []:
        models |= {str(name): dict(own or {}) for name, own in one.items()} if isinstance(one, dict) else {str(one): {}}
    if wanted is None and len(models) > 1:
        raise ImportRefused(f"{path}: has {len(models)} models ({', '.join(models)}); name one with --model")
    name = wanted or next(iter(models), None)
    if name is None or name not in models:
        raise ImportRefused(f"{path}: no model {name!r} in profile_models; there are {', '.join(models)}")
    return name, models[name]


def _target(settings: Mapping[str, Any], name: str, path: Path, folder: Path, notes: _Notes) -> dict[str, Any]:
    mode = settings.get("triton_launch_mode", "local")
    if mode == "remote":
        notes.add("triton_launch_mode", "remote: Paretune starts the server itself, with the same repository")
    elif mode != "local":
        notes.add("triton_launch_mode", f"{mode}: Paretune starts a tritonserver on this machine")
    repository = (path.parent / str(settings["model_repository"])).resolve()
    target = {"kind": "triton", "model": name, "repository": os.path.relpath(repository, folder.resolve())}
    if settings.get("client_protocol", "grpc") == "grpc":
        target["protocol"] = "grpc"
    if "triton_server_path" in settings and "/" in str(settings["triton_server_path"]):
        target["server"] = str(settings["triton_server_path"])
    return target


def _arrival(settings: Mapping[str, Any]) -> dict[str, Any]:
    rates = _values(_parameters(settings).get("request_rate", settings.get("request_rate")))
    return {"process": "constant", "rate": f"{rates[0]}/s"} if rates else {"process": "closed"}


def _requests(settings: Mapping[str, Any], path: Path, folder: Path, notes: _Notes) -> dict[str, Any]:
    flags = dict(settings.get("perf_analyzer_flags") or {})
    data = flags.pop("input-data", None)
    if isinstance(data, list):
        notes.add("perf_analyzer_flags.input-data", f"{data}: the first is taken")
        data = data[0] if data else None
    shapes = flags.pop("shape", None)
    for flag in flags:
        notes.add(f"perf_analyzer_flags.{flag}", "has no counterpart")
    batches = _values(_parameters(settings).get("batch_sizes", settings.get("batch_sizes"))) or [1]
    if batches != [1]:
        notes.add("batch_sizes", f"{batches}: a request is one row of a batch, the server makes the batches")
    if data is not None and data not in ("zero", "random"):
        file = (path.parent / str(data)).resolve()
        return {"source": "perf_analyzer", "path": os.path.relpath(file, folder.resolve())}
    made: dict[str, Any] = {"source": "tensors"}
    if shapes is not None:
        notes.add("perf_analyzer_flags.shape", f"{shapes}: give it as requests.shapes if an axis is dynamic")
    return made


def _space(settings: Mapping[str, Any], notes: _Notes) -> dict[str, Any]:
    parameters, of_config = _parameters(settings), dict(settings.get("model_config_parameters") or {})
    batches = _values(of_config.pop("max_batch_size", None))
    delays = _delays(of_config.pop("dynamic_batching", None), notes)
    counts = _counts(of_config.pop("instance_group", None), notes)
    for key in of_config:
        notes.add(f"model_config_parameters.{key}", "stays as the model's config has it; or make it a variant")
    space: dict[str, Any] = {
        "max_batch_size": batches or _range(settings, "model_batch_size", MOST_BATCH, doubling=True),
        "max_queue_delay": [f"{delay} us" for delay in delays] or DELAYS,
        "instances": counts or _range(settings, "instance_count", MOST_INSTANCES, doubling=False),
    }
    rates = _values(parameters.get("request_rate", settings.get("request_rate")))
    if rates:
        return {**space, "rate": [f"{rate}/s" for rate in rates]}
    given = _values(parameters.get("concurrency", settings.get("concurrency")))
    return {**space, "concurrency": given or _range(settings, "concurrency", MOST_CONCURRENCY, doubling=True)}


def _delays(batching: Any, notes: _Notes) -> list[Any]:
    """Return the queue delays that are named, in microseconds."""
    found: list[Any] = []
    for one in batching if isinstance(batching, list) else [batching]:
        for key, value in (one or {}).items():
            if key == "max_queue_delay_microseconds":
                found += _values(value)
            else:
                notes.add(f"model_config_parameters.dynamic_batching.{key}", "stays as the model's config has it")
    return sorted(set(found))


def _counts(groups: Any, notes: _Notes) -> list[Any]:
    """Return the numbers of instances that are named."""
    found: list[Any] = []
    for group in _values(groups):
        for one in group if isinstance(group, list) else [group]:
            found += _values(one.get("count"))
            if "kind" in one:
                notes.add("model_config_parameters.instance_group.kind", "stays as the model's config has it")
    return sorted(set(found))


def _slo(settings: Mapping[str, Any], notes: _Notes) -> dict[str, str]:
    slo: dict[str, str] = {}
    for key, bound in dict(settings.get("constraints") or {}).items():
        if key in LATENCY and "max" in bound:
            slo[LATENCY[key]] = f"{bound['max']} ms"
        elif key in SIZES and "max" in bound:
            slo[SIZES[key]] = f"{bound['max']} MB"
        elif key == "gpu_utilization" and "max" in bound:
            slo[key] = f"{bound['max']}%"
        else:
            notes.add(f"constraints.{key}", f"{bound}: no bound on that")
    if "latency_budget" in settings:
        slo["p99"] = f"{settings['latency_budget']} ms"
    return {**slo, "error_rate": "0.1%"}


def _objectives(settings: Mapping[str, Any], notes: _Notes) -> list[str]:
    given = settings.get("objectives") or ["perf_throughput"]
    given = [given] if isinstance(given, str) else given
    if len(given) > 1:
        notes.add("objectives", f"{given}: the first ranks; to weigh them take search.choose: weighted")
    names = sorted(given, key=lambda key: -float(given[key])) if isinstance(given, dict) else list(given)
    found = [OBJECTIVES[name] for name in names if name in OBJECTIVES]
    for name in names:
        if name not in OBJECTIVES:
            notes.add(f"objectives.{name}", "has no counterpart")
    return [*found, *(one for one in ("maximize throughput", "minimize p99") if one not in found)]


def _parameters(settings: Mapping[str, Any]) -> Mapping[str, Any]:
    return dict(settings.get("parameters") or {})


def _values(given: Any) -> list[Any]:
    """Return a list of Model Analyzer's forms of one: a value, a list, `a,b`, or {start, stop, step}."""
    if given is None:
        return []
    if isinstance(given, dict) and "start" in given:
        return list(range(int(given["start"]), int(given["stop"]) + 1, int(given.get("step", 1))))
    if isinstance(given, str):
        return [float(one) if "." in one else int(one) for one in given.split(",") if one.strip()]
    return list(given) if isinstance(given, list) else [given]


def _range(settings: Mapping[str, Any], what: str, most: int, *, doubling: bool) -> dict[str, Any]:
    low = int(settings.get(f"run_config_search_min_{what}", 1))
    high = int(settings.get(f"run_config_search_max_{what}", most))
    return {"low": low, "high": high, **({"scale": "log2"} if doubling else {})}
