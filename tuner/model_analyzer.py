"""A study made of a configuration of Triton Model Analyzer, for teams that have one.

The keys are those of Model Analyzer 1.58 (docs/config.md of triton-inference-server/model_analyzer). What has no
counterpart is named in the study's first lines: nothing is left out silently.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from targets import yaml_text
from tuner.analyzer_space import load_of, space_of
from tuner.analyzer_target import target_of
from tuner.analyzer_traffic import batches_of, workload_of
from tuner.analyzer_values import ImportRefused, Notes
from tuner.catalog import THROUGHPUT_BOUND

LATENCY = {f"perf_latency_{name}": name for name in ("p90", "p95", "p99")} | {"perf_latency_avg": "mean"}
SIZES = {"gpu_used_memory": "gpu_memory", "cpu_used_ram": "server_rss"}
"""Given in megabytes; the memory is that of the server's processes in both tools."""
OBJECTIVES = {
    "perf_throughput": "maximize throughput",
    "gpu_utilization": "maximize gpu_utilization",
    **{key: f"minimize {name}" for key, name in (LATENCY | SIZES).items()},
}
_CARRIED = {
    "model_repository", "profile_models", "concurrency", "request_rate", "batch_sizes", "client_protocol",
    "constraints", "objectives", "latency_budget", "min_throughput", "cpu_only", "parameters",
    "model_config_parameters", "perf_analyzer_flags", "triton_launch_mode", "triton_server_path", "triton_server_flags",
    "triton_server_environment", "triton_http_endpoint", "triton_grpc_endpoint", "triton_metrics_url",
    "triton_docker_image", "triton_docker_mounts", "triton_docker_shm_size", "triton_docker_labels",
    "triton_docker_args", "gpus", "bls_composing_models", "ensemble_composing_models", "reload_model_disable",
    "cpu_only_composing_models",
    "run_config_search_disable", "run_config_profile_models_concurrently_enable",
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
    "quiet", "plots", "always_report_gpu_metrics", "triton_output_path", "triton_install_path", "config_file",
}  # fmt: skip
"""Keys about its own files, reports and measuring."""


def study_text(path: Path, folder: Path, model: str | None) -> str:
    """Return a study, as YAML, that asks what a Model Analyzer configuration asks.

    Args:
        path: the configuration.
        folder: where the study will stand; its paths are relative to that.
        model: which of the models; may be None where there is one, or where they are profiled concurrently.

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
    notes = Notes()
    models = _models(data)
    if model is None and len(models) > 1 and data.get("run_config_profile_models_concurrently_enable"):
        study = _of_several(data, models, path, folder, notes)
    else:
        study = _of_one(data, models, path, folder, model, notes)
    head = [f"# Made of {path.name}, a configuration of Triton Model Analyzer.", "# Next: tune doctor; tune THIS_FILE"]
    if notes.lost:
        head += ["# Not carried over:", *(f"#   {one}" for one in notes.lost)]
    return "\n".join(head) + "\n" + yaml.safe_dump(study, sort_keys=False, width=110)


def _of_one(
    data: Mapping[str, Any], models: Mapping[str, Any], path: Path, folder: Path, wanted: str | None, notes: Notes
) -> dict[str, Any]:
    """Return the study of one model."""
    name = _wanted(path, models, wanted)
    settings = {**data, **models[name]}
    _unknown(settings, "", notes)
    target = target_of(settings, None, name, path, folder, notes)
    workload = workload_of(settings, name, path, folder, notes)
    return {
        "study": name.replace("/", "-"),
        "target": target,
        "workloads": {"steady": workload},
        "space": {**_space(settings, "", notes, alone=True), **load_of(settings)},
        "slo": {**_bounds(settings, workload["requests"], "", notes), "error_rate": "0.1%"},
        "objectives": _objectives(settings, notes),
        **_BUDGET,
    }


_BUDGET = {"search": {"budget": {"trials": 40, "time": "10 min"}}}


def _of_several(
    data: Mapping[str, Any], models: Mapping[str, Mapping[str, Any]], path: Path, folder: Path, notes: Notes
) -> dict[str, Any]:
    """Return the study of models that share a server, each with a workload and bounds of its own."""
    if data.get("triton_launch_mode") == "remote":
        raise ImportRefused(
            f"{path}: models together are for a server that is started; with triton_launch_mode: remote name one of "
            f"{', '.join(models)} with --model"
        )
    _unknown(data, "", notes)
    settings = {name: {**data, **own} for name, own in models.items()}
    workloads: dict[str, Any] = {}
    spaces: dict[str, Any] = {}
    of_server: dict[str, str] = {}
    for name, one in settings.items():
        _unknown(models[name], f"profile_models.{name}.", notes)
        workload = workload_of(one, name, path, folder, notes)
        bounds = _bounds(one, workload["requests"], f"profile_models.{name}.", notes)
        of_server |= {key: bounds.pop(key) for key in _OF_SERVER if key in bounds}
        own = {"slo": bounds} if bounds else {}
        workloads[name] = {"model": name, **workload, **own}
        spaces[name] = _space(one, f"profile_models.{name}.", notes, alone=False)
    loads = [load_of(one) for one in settings.values()]
    together = {key: level for load in reversed(loads) for key, level in load.items()}
    if any(together[key] != level for load in loads for key, level in load.items()):
        notes.add("parameters", "all closed loops have one `concurrency`, all open ones one `rate`: the first model's")
    objectives = [one.replace("throughput", "total_throughput") for one in _objectives(data, notes)]
    return {
        "study": "-".join(models),
        "target": target_of(data, {name: {} for name in models}, "", path, folder, notes),
        "workloads": workloads,
        "space": {"models": spaces, **together},
        "slo": {**of_server, "error_rate": "0.1%"},
        "objectives": objectives,
        **_BUDGET,
    }


_OF_SERVER = (*SIZES.values(), "gpu_utilization", "gpu_utilization_at_least")
"""Bounds that are of the server, whatever models it has."""


def _unknown(settings: Mapping[str, Any], place: str, notes: Notes) -> None:
    for key in settings:
        if key not in _CARRIED | _NOTHING_LOST:
            notes.add(f"{place}{key}", "has no counterpart")


def _space(settings: Mapping[str, Any], place: str, notes: Notes, *, alone: bool) -> dict[str, Any]:
    """Return the knobs of one model with those that it calls; of an ensemble only those of its composing models.

    Args:
        settings: what is said of the model.
        place: where that stands.
        notes: take up what is not carried over.
        alone: the server is for this model alone.
    """
    if settings.get("triton_launch_mode") == "remote" and settings.get("reload_model_disable"):
        return {}
    key = "ensemble_composing_models" if settings.get("ensemble_composing_models") else _CALLED
    if settings.get(_CALLED) and (key != _CALLED or not alone):
        notes.add(f"{place}{_CALLED}", "they are loaded as they are (target.also) and not tuned")
    least = max(map(int, batches_of(settings)))
    composing, on_cpus = {}, _named(settings.get("cpu_only_composing_models"))
    for name, own in _named(settings.get(key)).items() if key != _CALLED or alone else ():
        of_all = {name: value for name, value in settings.items() if name not in _OF_A_MODEL}
        whole = {**of_all, **({"cpu_only": True} if name in on_cpus else {}), **own}
        composing[name] = space_of(whole, f"{place}{key}.{name}.model_config_parameters", least, notes)
    if composing and key != _CALLED:
        return {"composing": composing}
    return {
        **space_of(settings, f"{place}model_config_parameters", least, notes),
        **({"composing": composing} if composing else {}),
    }


_CALLED = "bls_composing_models"
_OF_A_MODEL = ("model_config_parameters", "cpu_only")


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
    if "model_repository" not in data and data.get("triton_launch_mode") != "remote":
        raise ImportRefused(f"{path}: no `model_repository`; add the one that you give on its command line")
    return data


def _models(data: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the models, each with what is said of it alone."""
    return _named(data["profile_models"])


def _named(given: Any) -> dict[str, dict[str, Any]]:
    """Return models of any of Model Analyzer's forms: `a,b`, a list, or names with sections."""
    if isinstance(given, str):
        given = [one.strip() for one in given.split(",")]
    models: dict[str, dict[str, Any]] = {}
    for one in given if isinstance(given, list) else [given] if given else []:
        models |= {str(name): dict(own or {}) for name, own in one.items()} if isinstance(one, dict) else {str(one): {}}
    return models


def _wanted(path: Path, models: Mapping[str, Any], wanted: str | None) -> str:
    if wanted is None and len(models) > 1:
        raise ImportRefused(
            f"{path}: has {len(models)} models ({', '.join(models)}); name one with --model, or give "
            "run_config_profile_models_concurrently_enable: true for a study of all at once"
        )
    name = wanted or next(iter(models), None)
    if name is None or name not in models:
        raise ImportRefused(f"{path}: no model {name!r} in profile_models; there are {', '.join(models)}")
    return name


def _bounds(settings: Mapping[str, Any], requests: Mapping[str, Any], place: str, notes: Notes) -> dict[str, str]:
    """Return SLO -> bound.

    Args:
        settings: what is said of the model.
        requests: the study's, of it.
        place: where the settings stand.
        notes: take up what is not carried over.
    """
    slo: dict[str, str] = {}
    for key, bound in dict(settings.get("constraints") or {}).items():
        if key in LATENCY and "max" in bound:
            slo[LATENCY[key]] = f"{bound['max']} ms"
        elif key in SIZES and "max" in bound:
            slo[SIZES[key]] = f"{bound['max']} MB"
        elif key == "gpu_utilization" and bound.keys() & {"min", "max"}:
            ends = {"max": key, "min": f"{key}_at_least"}
            slo |= {name: f"{bound[end]}%" for end, name in ends.items() if end in bound}
        elif key == "perf_throughput" and "min" in bound:
            slo |= _throughput(bound["min"], requests)
        else:
            notes.add(f"{place}constraints.{key}", f"{bound}: no bound on that")
    if "latency_budget" in settings:
        slo["p99"] = f"{settings['latency_budget']} ms"
    if "min_throughput" in settings:
        slo |= _throughput(settings["min_throughput"], requests)
    return slo


def _throughput(least: Any, requests: Mapping[str, Any]) -> dict[str, str]:
    """Return the bound on the requests per second of one on the inferences: the rows of a request are one each."""
    rate = float(least) / int(requests.get("batch", 1))
    return {THROUGHPUT_BOUND: f"{rate:.12g}/s"} if rate else {}


def _objectives(settings: Mapping[str, Any], notes: Notes) -> list[str]:
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
