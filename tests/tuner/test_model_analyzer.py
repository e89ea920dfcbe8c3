"""A configuration of Model Analyzer becomes a study that asks the same."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from studies import __file__ as studies_file
from targets import registry
from tuner.analyzer_space import _FIELDS
from tuner.analyzer_values import ImportRefused
from tuner.model_analyzer import study_text
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
        "preferred_batch_size": [[4]],
        "instances": [1, 2],
        "instance_kind": ["cpu"],
        "concurrency": [2, 4, 6],
    }
    assert "Not carried over" not in comments(tmp_path, profile_models={"digits": own})


def test_every_field_that_a_knob_sets_is_searched_with_its_values(tmp_path: Path) -> None:
    policy = {"timeout_action": ["REJECT", "DELAY"], "default_timeout_microseconds": 5000, "max_queue_size": [0, 64]}
    accelerator = {
        "name": "tensorrt",
        "parameters": {"precision_mode": "FP16", "max_workspace_size_bytes": "1073741824"},
    }
    own = {
        "dynamic_batching": {"preferred_batch_size": [[4], [4, 8]], "preserve_ordering": [True, False],
                             "priority_levels": 2, "default_priority_level": 1, "default_queue_policy": policy,
                             "priority_queue_policy": {1: {"max_queue_size": 8}}},
        "instance_group": [[{"kind": "KIND_GPU", "count": 1, "gpus": [0, 1]}], [{"kind": "KIND_CPU", "count": 4}]],
        "optimization": {"execution_accelerators": {"gpu_execution_accelerator": [[], [accelerator]]},
                         "graph": {"level": [-1, 1]}, "input_pinned_memory": {"enable": False}},
        "parameters": {"intra_op_thread_count": {"string_value": ["1", "2"]}},
        "response_cache": {"enable": True},
    }  # fmt: skip
    space = imported(tmp_path, profile_models={"digits": {"model_config_parameters": own}})["space"]
    when = "gpu_accelerator == tensorrt"
    expected = {
        "preferred_batch_size": [[4], [4, 8]], "preserve_ordering": [True, False], "priority_levels": [2],
        "default_priority_level": [1], "timeout_action": ["reject", "delay"], "default_timeout": ["5000 us"],
        "max_queue_size": [0, 64], "level_1_max_queue_size": [8], "instance_kind": ["gpu", "cpu"], "instances": [1, 4],
        "gpus": [[0, 1]], "gpu_accelerator": ["none", "tensorrt"], "graph_level": ["basic", "extended"],
        "tensorrt_precision": {"values": ["fp16"], "when": when}, "input_pinned_memory": [False],
        "tensorrt_workspace": {"values": [2**30], "when": when}, "intra_op_thread_count": [1, 2],
        "response_cache": [True],
    }  # fmt: skip
    assert {name: space[name] for name in space if name in expected} == expected
    assert set(space) - set(expected) == {"max_batch_size", "max_queue_delay", "concurrency"}


def test_each_knob_of_a_field_is_one_of_tritons() -> None:
    known = {knob.name for knob in registry.knobs("triton")}
    assert {one.knob for one in _FIELDS.values()} <= known


def test_a_value_that_no_knob_has_is_named(tmp_path: Path) -> None:
    own = {
        "optimization": {"execution_accelerators": {"gpu_execution_accelerator": [{"name": "auto_mixed_precision"}]}},
        "instance_group": [{"kind": "KIND_GPU", "count": 1}, {"kind": "KIND_CPU", "count": 1}],
        "version_policy": {"latest": {"num_versions": 2}},
    }
    lost = comments(tmp_path, profile_models={"digits": {"model_config_parameters": own}})
    assert "gpu_execution_accelerator.name: auto_mixed_precision: of the accelerators `tensorrt` is a knob" in lost
    assert "instance_group: several groups at once" in lost
    assert "version_policy.latest.num_versions: stays as the model's config has it" in lost


def test_a_search_that_is_off_leaves_what_is_not_named_alone(tmp_path: Path) -> None:
    own = {"digits": {"model_config_parameters": {"max_batch_size": 2}, "cpu_only": True}}
    space = imported(tmp_path, run_config_search_disable=True, profile_models=own)["space"]
    assert space == {"max_batch_size": [2], "instance_kind": ["cpu"], "concurrency": [1]}


def loaded(folder: Path, **more: Any) -> Any:
    """Return the target of the study that is made, as a study has it, which is valid then."""
    (folder / "config.yaml").write_text(yaml.safe_dump({**PLAIN, **more}))
    return load_study(write_imported(folder / "config.yaml", folder / "new", None)).spec.target


def test_a_container_is_described_as_model_analyzer_has_it(tmp_path: Path) -> None:
    given = {
        "triton_launch_mode": "docker", "triton_docker_image": "nvcr.io/nvidia/tritonserver:25.08-py3",
        "triton_docker_mounts": ["/data/tokens:/tokens:ro"], "triton_docker_shm_size": "2G", "gpus": ["GPU-1", "GPU-2"],
        "triton_docker_args": {"ipc_mode": "host"}, "perf_analyzer_flags": {"shared-memory": "system"},
        "triton_docker_labels": {"team": "vision"}, "triton_server_environment": {"OMP_NUM_THREADS": 1},
        "triton_http_endpoint": "localhost:8010", "triton_server_flags": {"log_verbose": 1},
    }  # fmt: skip
    target = loaded(tmp_path, **given)
    assert (target.launch, target.http_port, target.flags) == ("docker", 8010, {"log-verbose": 1})
    docker = target.docker
    assert (docker.image, docker.gpus, docker.shm_size) == (given["triton_docker_image"], "device=GPU-1,GPU-2", "2g")
    assert (docker.mounts, docker.env) == ({Path("/data/tokens"): Path("/tokens")}, {"OMP_NUM_THREADS": "1"})
    assert docker.args == ["--label", "team=vision", "--ipc=host"]
    assert (target.tensors, target.outputs) == ("shared_memory", "shared_memory")
    assert "Not carried over" not in comments(tmp_path, **given)
    assert imported(tmp_path, triton_launch_mode="docker")["target"]["docker"]["gpus"] == "all"
    assert "triton_docker_image: not given" in comments(tmp_path, triton_launch_mode="docker")


def test_a_server_that_runs_is_asked_where_it_is(tmp_path: Path) -> None:
    given = {"triton_launch_mode": "remote", "triton_http_endpoint": "host:9000", "triton_grpc_endpoint": "host:9001",
             "triton_metrics_url": "http://host:9002/metrics"}  # fmt: skip
    target = loaded(tmp_path, **given)
    assert (target.launch, target.url, target.grpc_url) == ("remote", "http://host:9000", "grpc://host:9001")
    assert target.metrics_url == "http://host:9002/metrics"
    assert "Not carried over" not in comments(tmp_path, **given)
    made = imported(tmp_path, triton_launch_mode="remote", client_protocol="http", reload_model_disable=True,
                    perf_analyzer_flags={"header": "Authorization: Bearer x"})  # fmt: skip
    assert (made["target"]["url"], made["target"]["headers"]) == (
        "http://localhost:8000",
        {"Authorization": "Bearer x"},
    )
    assert list(made["space"]) == ["concurrency"], "no model is loaded there"


def test_the_certificates_of_a_server_that_runs_are_carried_over(tmp_path: Path) -> None:
    given = {"triton_launch_mode": "remote", "triton_grpc_endpoint": "host:9001"}
    flags = {"ssl-grpc-use-ssl": True, "ssl-grpc-root-certifications-file": "ca.pem"}
    target = loaded(tmp_path, **given, perf_analyzer_flags=flags)
    assert (target.grpc_url, target.url, target.ca) == ("grpcs://host:9001", "http://localhost:8000", Path("ca.pem"))
    assert "Not carried over" not in comments(tmp_path, **given, perf_analyzer_flags=flags)
    both = {**flags, "ssl-https-ca-certificates-file": "ca.pem"}
    made = imported(tmp_path, **given, perf_analyzer_flags=both)["target"]
    assert (made["url"], made["ca"]) == ("https://localhost:8000", "ca.pem")
    other = {**flags, "ssl-https-ca-certificates-file": "other.pem"}
    said = comments(tmp_path, **given, perf_analyzer_flags=other)
    assert "other.pem: `ca` is one file for both protocols; put the certificates into one" in said
    clear = imported(tmp_path, **given, perf_analyzer_flags={"ssl-grpc-use-ssl": False})["target"]
    assert clear["grpc_url"] == "grpc://host:9001"


def test_how_requests_are_sent_is_carried_over(tmp_path: Path) -> None:
    flags = {
        "shared-memory": "system", "request-parameter": ["tier:gold:string", "beam:4:int", "draft:true:bool"],
        "request-distribution": "poisson", "sequence-length": 20, "start-sequence-id": 7, "measurement-interval": 5000,
    }  # fmt: skip
    target = loaded(tmp_path, perf_analyzer_flags=flags)
    assert (target.tensors, target.outputs, target.protocol) == ("shared_memory", "shared_memory", "grpc")
    assert target.parameters == {"tier": "gold", "beam": 4, "draft": True}
    assert "Not carried over" not in comments(tmp_path, perf_analyzer_flags=flags)
    steady = imported(tmp_path, perf_analyzer_flags=flags, request_rate=100)["workloads"]["steady"]
    assert steady["arrival"] == {"process": "poisson", "rate": "100/s"}
    assert steady["sequences"] == {"length": 20, "first_id": 7, "at_once": 4}
    streamed = imported(tmp_path, perf_analyzer_flags={"streaming": True})["target"]
    assert (streamed["streaming"], streamed["protocol"]) == (True, "grpc")
    cuda = {"shared-memory": "cuda", "output-shared-memory-size": 1024}
    made = imported(tmp_path, perf_analyzer_flags=cuda)["target"]
    assert made["tensors"] == "cuda_shared_memory"
    assert "outputs" not in made
    timed = {"request-parameter": "timeout:2000:int", "input-tensor-format": "json"}
    target = imported(tmp_path, perf_analyzer_flags=timed, client_protocol="http")["target"]
    assert (target["queue_timeout"], target["tensors"]) == ("2000 us", "json")


def test_a_request_has_as_many_rows_as_it_had_and_a_batch_room_for_them(tmp_path: Path) -> None:
    made = imported(tmp_path, batch_sizes=4)
    assert made["workloads"]["steady"]["requests"] == {"source": "tensors", "batch": 4}
    assert made["space"]["max_batch_size"] == {"low": 4, "high": 128, "scale": "log2"}
    (tmp_path / "new").mkdir()
    path = tmp_path / "new" / "study.yaml"
    path.write_text(yaml.safe_dump({**made, "target": {**made["target"], "repository": str(MODELS)}}))
    found = {one.name: one.values for one in prepare(load_study(path), tmp_path / "log.txt").space}
    assert found["max_batch_size"] == (4, 8, 16, 32, 64, 128)


def test_the_shape_of_a_request_is_that_of_the_axes_that_the_model_leaves_open(tmp_path: Path) -> None:
    folder = tmp_path / "models" / "words"
    (folder / "1").mkdir(parents=True)
    inputs = (
        "{ name: 'TOKENS' data_type: TYPE_INT32 dims: [ -1 ] }, { name: 'IMAGE' data_type: TYPE_FP32 dims: [ 3, -1 ] }"
    )
    output = "output { name: 'Y' data_type: TYPE_FP32 dims: 1 }"
    (folder / "config.pbtxt").write_text(f"backend: 'python' max_batch_size: 8 input [ {inputs} ] {output}")
    flags = {"shape": ["TOKENS:128", "IMAGE:3,224"]}
    words = {"model_repository": "models", "profile_models": "words"}
    requests = imported(tmp_path, **words, perf_analyzer_flags=flags)["workloads"]["steady"]["requests"]
    assert requests == {
        "source": "tensors",
        "lengths": {"TOKENS_0": 128, "IMAGE_1": 224},
        "shapes": {"TOKENS": ["TOKENS_0"], "IMAGE": ["IMAGE_1"]},
    }
    assert "Not carried over" not in comments(tmp_path, **words, perf_analyzer_flags=flags)
    study = load_study(write_imported(tmp_path / "config.yaml", tmp_path / "new", None))
    assert prepare(study, tmp_path / "log.txt").workloads[0].name == "steady"
    wrong = comments(tmp_path, **words, perf_analyzer_flags={"shape": ["X:3", "IMAGE:3,4,5"]})
    assert "has no input X" in wrong
    assert "input IMAGE has the shape [3, -1], not [3, 4, 5]" in wrong
    rows = comments(tmp_path, **words, perf_analyzer_flags=flags, batch_sizes=4)
    assert "batch_sizes: a request with an axis of open length is one row" in rows
    nowhere = comments(tmp_path, perf_analyzer_flags=flags, model_repository="nowhere")
    assert "give requests.shapes for axes of open length" in nowhere


def test_models_that_are_profiled_together_share_a_server(tmp_path: Path) -> None:
    for name in ("digits", "twin"):
        shutil.copytree(MODELS / "digits", tmp_path / "models" / name, ignore=shutil.ignore_patterns("__pycache__"))
    config = tmp_path / "models" / "twin" / "config.pbtxt"
    config.write_text(config.read_text().replace('"digits"', '"twin"'))
    own = {
        "digits": {"constraints": {"perf_latency_p99": {"max": 20}}, "parameters": {"concurrency": [2, 4]}},
        "twin": {"model_config_parameters": {"max_batch_size": [2, 4]}, "parameters": {"concurrency": [2, 4]}},
    }
    given = {"run_config_profile_models_concurrently_enable": True, "profile_models": own, "model_repository": "models",
             "constraints": {"cpu_used_ram": {"max": 900}}}  # fmt: skip
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(given))
    study = load_study(write_imported(tmp_path / "config.yaml", tmp_path / "new", None))
    prepared = prepare(study, tmp_path / "log.txt")
    assert study.spec.target.several == ("digits", "twin")
    assert [one.name for one in prepared.space][:2] == ["digits.max_batch_size", "digits.max_queue_delay"]
    assert [workload.model for workload in prepared.workloads] == ["digits", "twin"]
    assert prepared.space.levels("concurrency") == (2, 4)
    assert [goal.metric for goal in prepared.goals] == ["total_throughput", "p99"]
    assert study.spec.workloads["digits"].slo.bounds() == {"p99": 0.02}
    assert study.spec.slo.bounds() == {"server_rss": 900e6, "error_rate": 0.001}
    with pytest.raises(ImportRefused, match=r"models together are for a server that is started.*digits, twin"):
        imported(tmp_path, **{**given, "triton_launch_mode": "remote"})


def test_what_an_ensemble_is_composed_of_is_searched(tmp_path: Path) -> None:
    composing = {"preprocess": {"model_config_parameters": {"instance_group": [{"count": [1, 2]}]}}, "classify": None}
    space = imported(tmp_path, ensemble_composing_models=composing, run_config_search_disable=True)["space"]
    assert space == {"composing": {"preprocess": {"instances": [1, 2]}, "classify": {}}, "concurrency": [1]}


def test_what_a_model_calls_is_searched_with_it_but_not_beside_other_models(tmp_path: Path) -> None:
    classifier = {"model_config_parameters": {"instance_group": [{"count": [1, 2]}]}}
    called = [{"tokenizer": None}, {"classifier": classifier}]
    for settings in ({}, {"triton_launch_mode": "remote"}):
        made = imported(tmp_path, bls_composing_models=called, run_config_search_disable=True, **settings)
        assert made["target"]["also"] == ["tokenizer", "classifier"]
        assert made["space"] == {
            "composing": {"tokenizer": {}, "classifier": {"instances": [1, 2]}}, "concurrency": [1]
        }  # fmt: skip
    quick = imported(tmp_path, bls_composing_models="tokenizer,classifier")["space"]
    assert quick["composing"]["classifier"] == {name: quick[name] for name in quick["composing"]["classifier"]}
    on_cpu = imported(tmp_path, bls_composing_models=["a", "b"], cpu_only_composing_models=["b"])["space"]["composing"]
    assert [one.get("instance_kind") for one in on_cpu.values()] == [None, ["cpu"]]
    own = {"model_config_parameters": {"instance_group": [{"kind": "KIND_GPU"}]}}
    on_gpu = imported(tmp_path, bls_composing_models={"b": own}, cpu_only_composing_models=["b"])["space"]["composing"]
    assert on_gpu["b"]["instance_kind"] == ["gpu"]
    assert "composing_models" not in comments(tmp_path, bls_composing_models=["a"], cpu_only_composing_models="a")
    both = {"bls_composing_models": ["a"], "ensemble_composing_models": {"preprocess": None}}
    assert list(imported(tmp_path, **both)["space"]["composing"]) == ["preprocess"]
    assert "bls_composing_models: they are loaded as they are (target.also) and not tuned" in comments(tmp_path, **both)


def test_rates_make_an_open_loop(tmp_path: Path) -> None:
    made = imported(tmp_path, request_rate="100,200")
    assert made["workloads"]["steady"]["arrival"] == {"process": "constant", "rate": "100/s"}
    assert made["space"]["rate"] == ["100/s", "200/s"]
    assert "concurrency" not in made["space"]


def test_constraints_become_bounds_and_others_are_named(tmp_path: Path) -> None:
    constraints = {"perf_latency_p95": {"max": 20}, "perf_throughput": {"max": 5}, "gpu_free_memory": {"min": 200}}
    assert imported(tmp_path, constraints=constraints)["slo"] == {"p95": "20 ms", "error_rate": "0.1%"}
    lost = comments(tmp_path, constraints=constraints)
    assert "constraints.perf_throughput: {'max': 5}" in lost
    assert "constraints.gpu_free_memory" in lost


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({"constraints": {"perf_throughput": {"min": 500}}}, "500/s"),
        ({"constraints": {"perf_throughput": {"min": 500}}, "batch_sizes": 4}, "125/s"),
        ({"constraints": {"perf_throughput": {"min": 500}}, "min_throughput": 700}, "700/s"),
        ({"min_throughput": 1_234_567}, "1234567/s"),
        ({"constraints": {"perf_throughput": {"min": 0}}}, None),
    ],
)
def test_a_throughput_has_a_bound_from_below_in_requests(tmp_path: Path, more: Any, expected: str | None) -> None:
    """Perf Analyzer counts the rows of a request, so a bound on inferences is one on fewer requests."""
    assert imported(tmp_path, **more)["slo"].get("throughput_at_least") == expected
    load_study(write_imported(tmp_path / "config.yaml", tmp_path / "new", None))
    assert "throughput" not in comments(tmp_path, **more)


def test_each_of_several_models_has_its_own_bound_on_the_throughput(tmp_path: Path) -> None:
    own = {"perf_throughput": {"min": 70}}
    made = imported(
        tmp_path,
        profile_models={"digits": {"constraints": own}, "other": {}},
        run_config_profile_models_concurrently_enable=True,
        constraints={"perf_throughput": {"min": 20}},
    )
    bounds = {name: one["slo"]["throughput_at_least"] for name, one in made["workloads"].items()}
    assert bounds == {"digits": "70/s", "other": "20/s"}
    assert "throughput_at_least" not in made["slo"]


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


def test_more_use_of_the_gpus_is_better_there_and_may_have_a_bound_from_below(tmp_path: Path) -> None:
    given = {"constraints": {"gpu_utilization": {"min": 30, "max": 95}}, "objectives": ["gpu_utilization"]}
    assert imported(tmp_path, **given)["objectives"][0] == "maximize gpu_utilization"
    spec = load_study(write_imported(tmp_path / "config.yaml", tmp_path / "new", None)).spec
    assert spec.slo.bounds() == {"error_rate": 0.001, "gpu_utilization": 0.95, "gpu_utilization_at_least": 0.3}
    assert "gpu_utilization" not in comments(tmp_path, **given)


def test_a_models_own_constraints_win(tmp_path: Path) -> None:
    own = {"digits": {"constraints": {"perf_latency_p99": {"max": 7}}}}
    made = imported(tmp_path, profile_models=own, constraints={"perf_latency_p99": {"max": 99}})
    assert made["slo"]["p99"] == "7 ms"


def test_objectives_are_in_the_order_of_their_weights(tmp_path: Path) -> None:
    objectives = {"perf_throughput": 1, "perf_latency_p99": 5, "gpu_free_memory": 9}
    assert imported(tmp_path, objectives=objectives)["objectives"] == ["minimize p99", "maximize throughput"]
    assert "gpu_free_memory" in comments(tmp_path, objectives=objectives)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"batch_sizes": [2, 4]}, "batch_sizes: [2, 4]: 2 is taken"),
        ({"batch_sizes": 2, "perf_analyzer_flags": {"input-data": "in.json"}}, "batch_sizes: [2]: each request of"),
        ({"triton_launch_mode": "c_api"}, "triton_launch_mode: c_api"),
        ({"triton_launch_mode": "docker", "triton_docker_args": {"mem_limit": "4g"}}, "mem_limit: 4g: give it in"),
        ({"triton_launch_mode": "docker", "triton_docker_shm_size": "1.5g"}, "triton_docker_shm_size: 1.5g"),
        ({"triton_launch_mode": "remote", "perf_analyzer_flags": {"shared-memory": "cuda"}},
         "perf_analyzer_flags.shared-memory: tensors: cuda_shared_memory: `cuda_shared_memory` is for a server that"),
        ({"triton_server_flags": {"http-port": 1}}, "triton_server_flags.http-port: flags: {'http-port': 1}: Paretune"),
        ({"triton_server_environment": {"LD_PRELOAD": "x.so"}}, "the server has that of `tune`: LD_PRELOAD=x.so tune"),
        ({"gpus": ["GPU-1"]}, "gpus: name them in CUDA_VISIBLE_DEVICES"),
        ({"client_protocol": "http", "perf_analyzer_flags": {"streaming": True}}, "are streamed over gRPC only"),
        ({"perf_analyzer_flags": {"request-parameter": "priority:1:int"}}, "the `priority`"),
        ({"perf_analyzer_flags": {"shared-memory": "cuda", "output-shared-memory-size": 9}}, "of no known size"),
        ({"perf_analyzer_flags": {"percentile": 95}}, "perf_analyzer_flags.percentile: 95: a bound names its own one"),
        ({"perf_analyzer_flags": {"grpc-compression-algorithm": "gzip"}}, "compression-algorithm: has no counterpart"),
        ({"weighting": 3}, "weighting: has no counterpart"),
    ],
)  # fmt: skip
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
