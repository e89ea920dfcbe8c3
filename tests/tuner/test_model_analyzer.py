"""A configuration of Model Analyzer becomes a study that asks the same."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from studies import __file__ as studies_file
from tuner.model_analyzer import ImportRefused, study_text
from tuner.starters import StarterError, write_imported
from tuner.study.load import load_study
from tuner.wiring import prepare

MODELS = Path(studies_file).parent / "digits/models"
PLAIN: dict[str, Any] = {"model_repository": str(MODELS), "profile_models": ["digits"]}


def imported(folder: Path, model: str | None = None, **more: Any) -> dict[str, Any]:
    """Return the study that is made, as data."""
    (folder / "config.yaml").write_text(yaml.safe_dump({**PLAIN, **more}))
    return dict(yaml.safe_load(study_text(folder / "config.yaml", folder, model)))


def comments(folder: Path, **more: Any) -> str:
    (folder / "config.yaml").write_text(yaml.safe_dump({**PLAIN, **more}))
    lines = study_text(folder / "config.yaml", folder, None).splitlines()
    return "\n".join(line for line in lines if line.startswith("#"))


def test_the_study_is_valid_and_fits_the_model(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(
        yaml.safe_dump({**PLAIN, "latency_budget": 10, "run_config_search_max_concurrency": 64})
    )
    study = load_study(write_imported(tmp_path / "config.yaml", tmp_path / "new", None))
    prepared = prepare(study, tmp_path / "log.txt")
    assert prepared.space.levels("concurrency") == (1, 2, 4, 8, 16, 32, 64)
    assert study.spec.slo.bounds() == {"p99": 0.01, "error_rate": 0.001}


def test_model_analyzers_own_ranges_hold_where_it_says_nothing(tmp_path: Path) -> None:
    space = imported(tmp_path)["space"]
    assert space["max_batch_size"] == {"low": 1, "high": 128, "scale": "log2"}
    assert space["instances"] == {"low": 1, "high": 5}
    assert space["concurrency"] == {"low": 1, "high": 1024, "scale": "log2"}
    assert "1 ms" in space["max_queue_delay"]


def test_what_is_said_of_the_models_config_is_searched(tmp_path: Path) -> None:
    own = {
        "parameters": {"concurrency": {"start": 2, "stop": 6, "step": 2}},
        "model_config_parameters": {
            "max_batch_size": [4, 8],
            "dynamic_batching": {"max_queue_delay_microseconds": [100, 200], "preferred_batch_size": [[4]]},
            "instance_group": [{"kind": "KIND_CPU", "count": [1, 2]}],
        },
    }
    space = imported(tmp_path, profile_models={"digits": own})["space"]
    assert space == {
        "max_batch_size": [4, 8],
        "max_queue_delay": ["100 us", "200 us"],
        "instances": [1, 2],
        "concurrency": [2, 4, 6],
    }
    lost = comments(tmp_path, profile_models={"digits": own})
    assert "preferred_batch_size" in lost
    assert "instance_group.kind" in lost


def test_rates_make_an_open_loop(tmp_path: Path) -> None:
    made = imported(tmp_path, request_rate="100,200")
    assert made["workloads"]["steady"]["arrival"] == {"process": "constant", "rate": "100/s"}
    assert made["space"]["rate"] == ["100/s", "200/s"]
    assert "concurrency" not in made["space"]


def test_constraints_become_bounds_and_others_are_named(tmp_path: Path) -> None:
    constraints = {"perf_latency_p95": {"max": 20}, "perf_throughput": {"min": 5}, "gpu_free_memory": {"min": 200}}
    assert imported(tmp_path, constraints=constraints)["slo"] == {"p95": "20 ms", "error_rate": "0.1%"}
    lost = comments(tmp_path, constraints=constraints)
    assert "constraints.perf_throughput: {'min': 5}" in lost
    assert "constraints.gpu_free_memory" in lost


def test_what_the_server_uses_has_bounds_and_objectives_too(tmp_path: Path) -> None:
    constraints = {"gpu_used_memory": {"max": 200}, "gpu_utilization": {"max": 90}, "cpu_used_ram": {"max": 1500}}
    objectives = {"cpu_used_ram": 1, "gpu_used_memory": 2}
    given = {"constraints": constraints, "objectives": objectives}
    made = imported(tmp_path, **given)
    assert made["objectives"][:2] == ["minimize gpu_memory", "minimize server_rss"]
    path = write_imported(tmp_path / "config.yaml", tmp_path / "new", None)
    bounds = load_study(path).spec.slo.bounds()
    assert bounds == {"error_rate": 0.001, "gpu_utilization": 0.9, "gpu_memory": 200e6, "server_rss": 1500e6}
    assert "constraints" not in comments(tmp_path, **given)


def test_a_models_own_constraints_win(tmp_path: Path) -> None:
    own = {"digits": {"constraints": {"perf_latency_p99": {"max": 7}}}}
    made = imported(tmp_path, profile_models=own, constraints={"perf_latency_p99": {"max": 99}})
    assert made["slo"]["p99"] == "7 ms"


def test_objectives_are_in_the_order_of_their_weights(tmp_path: Path) -> None:
    objectives = {"perf_throughput": 1, "perf_latency_p99": 5, "gpu_utilization": 9}
    assert imported(tmp_path, objectives=objectives)["objectives"] == ["minimize p99", "maximize throughput"]
    assert "gpu_utilization" in comments(tmp_path, objectives=objectives)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"batch_sizes": [1, 2]}, "batch_sizes: [1, 2]"),
        ({"triton_launch_mode": "docker"}, "triton_launch_mode: docker"),
        ({"triton_launch_mode": "remote"}, "triton_launch_mode: remote"),
        ({"triton_server_flags": {"log-verbose": 1}}, "triton_server_flags"),
        ({"perf_analyzer_flags": {"streaming": True}}, "perf_analyzer_flags.streaming"),
    ],
)
def test_nothing_is_left_out_silently(tmp_path: Path, more: dict[str, Any], said: str) -> None:
    assert said in comments(tmp_path, **more)


def test_what_is_about_its_own_files_is_not_missed(tmp_path: Path) -> None:
    assert "Not carried over" not in comments(tmp_path, export_path="x", run_config_search_mode="quick")


def test_its_input_data_is_read_where_it_stands(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "config.yaml").write_text(yaml.safe_dump({**PLAIN, "perf_analyzer_flags": {"input-data": "in.json"}}))
    made = yaml.safe_load(study_text(tmp_path / "config.yaml", tmp_path / "sub", None))
    assert made["workloads"]["steady"]["requests"] == {"source": "perf_analyzer", "path": "../in.json"}


@pytest.mark.parametrize("models", ["a,b", ["a", "b"], [{"a": {}}, "b"], {"a": {}, "b": None}])
def test_of_several_models_one_is_named(tmp_path: Path, models: Any) -> None:
    with pytest.raises(ImportRefused, match=r"has 2 models \(a, b\); name one with --model"):
        imported(tmp_path, profile_models=models)
    assert imported(tmp_path, "b", profile_models=models)["target"]["model"] == "b"
    with pytest.raises(ImportRefused, match="no model 'c' in profile_models; there are a, b"):
        imported(tmp_path, "c", profile_models=models)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [", "not YAML"),
        ("a: 2024-02-30", "not YAML: '2024-02-30' is written like"),
        ("[]", "no `profile_models`"),
        ("profile_models: a", "no `model_repository`"),
        (None, "No such file"),
    ],
)
def test_what_is_no_such_configuration_is_refused_with_its_name(tmp_path: Path, text: str | None, message: str) -> None:
    if text is not None:
        (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(StarterError, match=f"config.yaml.*{message}"):
        write_imported(tmp_path / "config.yaml", tmp_path, None)


def test_a_study_that_is_there_stays(tmp_path: Path) -> None:
    (tmp_path / "study.yaml").write_text("mine")
    with pytest.raises(StarterError, match="is there already"):
        write_imported(tmp_path / "config.yaml", tmp_path, None)
    assert (tmp_path / "study.yaml").read_text() == "mine"


def test_each_group_and_each_batching_of_a_list_counts(tmp_path: Path) -> None:
    own = {
        "instance_group": [[{"kind": "KIND_CPU", "count": 1}], [{"kind": "KIND_CPU", "count": 4}]],
        "dynamic_batching": [{}, {"max_queue_delay_microseconds": 200}, {"max_queue_delay_microseconds": [100, 200]}],
    }
    space = imported(tmp_path, profile_models={"digits": {"model_config_parameters": own}})["space"]
    assert space["instances"] == [1, 4]
    assert space["max_queue_delay"] == ["100 us", "200 us"]


@pytest.mark.parametrize(
    "more",
    [
        {"concurrency": {"start": 1}},
        {"concurrency": {"start": 1, "stop": 4, "step": 0}},
        {"concurrency": "a,b"},
        {"constraints": {"perf_latency_p99": 20}},
        {"perf_analyzer_flags": [1]},
        {"profile_models": {"digits": {"model_config_parameters": [1]}}},
    ],
)
def test_what_model_analyzer_would_not_take_is_refused_with_the_file(tmp_path: Path, more: dict[str, Any]) -> None:
    with pytest.raises(ImportRefused, match=r"config\.yaml: not as Model Analyzer has it"):
        imported(tmp_path, **more)


def test_no_models_are_no_configuration(tmp_path: Path) -> None:
    with pytest.raises(ImportRefused, match="no model None in profile_models"):
        imported(tmp_path, profile_models=None)


def test_an_objective_may_be_a_word_and_rates_may_be_fractions(tmp_path: Path) -> None:
    made = imported(tmp_path, objectives="perf_latency_p99", request_rate="10.5,20")
    assert made["objectives"][0] == "minimize p99"
    assert made["space"]["rate"] == ["10.5/s", "20/s"]


def test_several_objectives_say_how_they_are_weighed(tmp_path: Path) -> None:
    assert "search.choose: weighted" in comments(tmp_path, objectives=["perf_throughput", "perf_latency_p99"])
