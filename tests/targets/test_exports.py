"""What goes with an exported configuration, of every kind of server, and the line that starts a server on it."""

import re
import shlex
from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml

from targets import registry
from targets.base import Context, Export, Target
from targets.command.options import CommandOptions
from targets.command.target import CommandTarget
from targets.kserve.options import KServeOptions
from targets.kserve.target import KServeTarget
from targets.llamacpp.options import LlamaCppOptions
from targets.llamacpp.target import LlamaCppTarget
from targets.mlserver.options import MLServerOptions
from targets.mlserver.target import MLServerTarget
from targets.sglang.options import SGLangOptions
from targets.sglang.target import SGLangTarget
from targets.simulated.options import SimulatedOptions
from targets.simulated.target import SimulatedTarget
from targets.triton.options import TritonOptions
from targets.triton.target import TritonTarget
from targets.vllm.options import VLLMOptions
from targets.vllm.target import VLLMTarget
from tests.conftest import STUDIES
from tuner.start_lines import NoStart, start_lines

KINDS = {
    "triton": (TritonOptions, TritonTarget, {"model": "digits", "repository": "digits/models"}),
    "vllm": (VLLMOptions, VLLMTarget, {"model": "org/llama", "args": ["--seed=1"]}),
    "sglang": (SGLangOptions, SGLangTarget, {"model": "org/llama", "args": ["--log-level=error"]}),
    "llamacpp": (LlamaCppOptions, LlamaCppTarget, {"model": "tiny.gguf", "args": ["--no-ui"]}),
    "mlserver": (MLServerOptions, MLServerTarget, {"model": "scans", "repository": "models"}),
    "simulated": (SimulatedOptions, SimulatedTarget, {"model": "queue", "repository": "models"}),
    "command": (
        CommandOptions,
        CommandTarget,
        {
            "command": ["./serve", "--port", "{{ port }}", "--n", "{{ n }}"],
            "knobs": {"n": {"type": "int", "default": 1}},
            "ready": {"url": "/"},
            "request": {"path": "/", "body": '{"n": 1}'},
        },
    ),
}


def made(kind: str, folder: Path, **more: object) -> Target:
    options, target, values = KINDS[kind]
    (folder / "tiny.gguf").touch()
    for name, text in {
        "models/scans/model-settings.json": '{"name": "scans", "implementation": "a.B"}\n',
        "models/queue/queue.json": '{"fixed_ms": 1.0, "each_ms": 1.0}\n',
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    where = STUDIES if kind == "triton" else folder
    return target(options.model_validate({**values, **more}), Context(where, folder / "log.txt"))


def export_of(kind: str, folder: Path, tuned: Mapping[str, object] | None = None, **more: object) -> Export:
    target = made(kind, folder, **more)
    return target.export({**target.user_config(), **(tuned or {})})


def words(text: str) -> list[str]:
    return shlex.split(text.replace("\\\n", " "))


COMMANDS = {
    "triton": ["tritonserver", "--model-repository=OUT", "--model-control-mode=explicit", "--load-model=digits"],
    "vllm": ["vllm", "serve", "--config=OUT/vllm.yaml", "--seed=1"],
    "sglang": ["python3", "-m", "sglang.launch_server", "--config=OUT/sglang.yaml", "--log-level=error"],
    "llamacpp": ["env", "LLAMA_ARG_MODEL=tiny.gguf", "LLAMA_ARG_N_PARALLEL=2", "llama-server", "--no-ui"],
    "mlserver": ["mlserver", "start", "OUT"],
    "command": ["sh", "OUT/start.sh"],
}
TUNED: Mapping[str, Mapping[str, object]] = {"llamacpp": {"parallel": 2}, "vllm": {"max_num_seqs": 8}}
INSIDE = {
    "triton": ["tritonserver", "--model-repository=/models", *COMMANDS["triton"][2:]],
    "vllm": ["--config=/config/vllm.yaml", "--seed=1"],
    "sglang": [*COMMANDS["sglang"][:3], "--config=/config/sglang.yaml", "--host=0.0.0.0", "--log-level=error"],
    "llamacpp": ["--no-ui"],
    "mlserver": ["mlserver", "start", "/mnt/models"],
}


@pytest.mark.parametrize("kind", COMMANDS)
def test_a_command_line_starts_the_server_on_the_exported_files(kind: str, tmp_path: Path) -> None:
    text = start_lines(export_of(kind, tmp_path, TUNED.get(kind)), "command", tmp_path / "out", None)
    assert words(text) == [word.replace("OUT", str(tmp_path / "out")) for word in COMMANDS[kind]]


@pytest.mark.parametrize("kind", INSIDE)
def test_docker_is_given_the_folder_the_ports_and_what_the_image_does_not_say(kind: str, tmp_path: Path) -> None:
    export = export_of(kind, tmp_path, TUNED.get(kind))
    assert export.start is not None
    said = words(start_lines(export, "docker", tmp_path / "o u t", None))
    image = said.index(export.start.image)
    assert said[:3] == ["docker", "run", "--rm"]
    assert f"--volume={tmp_path / 'o u t'}:{export.start.folder}:ro" in said[:image]
    assert [word for word in said[:image] if word.startswith("--publish")] == [
        f"--publish={port}:{port}" for port in export.start.ports
    ]
    assert said[image + 1 :] == INSIDE[kind]
    if kind == "llamacpp":
        assert "--env=LLAMA_ARG_N_PARALLEL=2" in said[:image]


@pytest.mark.parametrize("kind", INSIDE)
def test_kubernetes_is_given_a_container(kind: str, tmp_path: Path) -> None:
    export = export_of(kind, tmp_path, TUNED.get(kind))
    assert export.start is not None
    (container,) = yaml.safe_load(start_lines(export, "kubernetes", None, "ours:1"))
    assert container["image"] == "ours:1"
    program = [*export.start.program]
    assert [*container["command"], *container["args"]] == [*program, *INSIDE[kind][len(export.start.in_image) :]]
    assert container["ports"] == [{"containerPort": port} for port in export.start.ports]
    assert container["volumeMounts"][0]["mountPath"] == export.start.folder
    assert ("env" in container) == (kind == "llamacpp")
    shared = [one["name"] for one in container["volumeMounts"] if one["mountPath"] == "/dev/shm"]
    assert shared == (["shared-memory"] if kind in ("triton", "vllm", "sglang") else [])
    gpus = any("--gpus" in word for word in export.start.docker)
    assert container.get("resources") == ({"limits": {"nvidia.com/gpu": 1}} if gpus else None)


def test_without_another_folder_the_server_is_started_on_the_users_own(tmp_path: Path) -> None:
    text = start_lines(export_of("triton", tmp_path), "command", None, None)
    assert f"--model-repository={STUDIES / 'digits' / 'models'}" in words(text)


def test_what_is_not_known_is_said(tmp_path: Path) -> None:
    with pytest.raises(NoStart, match="not known how the server is started"):
        start_lines(export_of("simulated", tmp_path), "command", None, None)
    with pytest.raises(NoStart, match="no container image of this server is known"):
        start_lines(export_of("command", tmp_path), "docker", None, None)


@pytest.mark.parametrize(
    ("kind", "commented", "places"),
    [
        ("triton", {"digits/config.pbtxt"}, {"digits/config.pbtxt": "digits/models/digits/config.pbtxt"}),
        ("vllm", {"vllm.yaml"}, {}),
        ("sglang", {"sglang.yaml"}, {}),
        ("llamacpp", {"llama.env"}, {}),
        ("mlserver", set(), {"scans/model-settings.json": "models/scans/model-settings.json"}),
        ("simulated", set(), {"queue/queue.json": "models/queue/queue.json"}),
        ("command", {"knobs.yaml", "start.sh"}, {}),
    ],
)
def test_an_export_knows_its_comments_and_its_places(
    kind: str, commented: set[str], places: dict[str, str], tmp_path: Path
) -> None:
    export = export_of(kind, tmp_path)
    where = STUDIES if kind == "triton" else tmp_path
    assert {str(path) for path in export.commented} == commented
    assert {str(path): place for path, place in export.places.items()} == {
        path: where / place for path, place in places.items()
    }
    assert export.commented <= export.files.keys()


@pytest.mark.parametrize(
    ("kind", "name", "text"),
    [
        ("vllm", "vllm.yaml", "max-num-seqs: 4  # few\r\nenforce-eager: true\r\n"),
        ("sglang", "sglang.yaml", "max-running-requests: 4  # few\r\nlog-level: error\r\n"),
        ("llamacpp", "llama.env", "LLAMA_ARG_N_PARALLEL=4 # few\r\nLLAMA_ARG_BATCH=64\r\n"),
        ("command", "knobs.yaml", "n: 4  # few\r\n"),
    ],
)
def test_a_file_of_the_users_is_changed_in_its_place_with_its_line_ends(
    kind: str, name: str, text: str, tmp_path: Path
) -> None:
    (tmp_path / "deploy").mkdir()
    (tmp_path / "deploy" / name).write_bytes(text.encode())
    key = "values" if kind == "command" else "config"
    target = made(kind, tmp_path, **{key: f"deploy/{name}"}, **({} if kind == "command" else {"args": []}))
    knob = next(name for name, value in target.user_config().items() if value == 4)
    path = Path("deploy") / name
    export = target.export({knob: 8})
    assert export.places == {path: tmp_path / path}
    assert export.originals[path] == text
    assert export.files[path] == text.replace("4", "8", 1)


def test_a_file_elsewhere_has_its_place_there(tmp_path: Path) -> None:
    study = tmp_path / "study"
    study.mkdir()
    (tmp_path / "vllm.yaml").write_text("model: org/llama\n")
    export = export_of("vllm", study, {"max_num_seqs": 8}, config="../vllm.yaml", model=None)
    assert export.places == {Path("vllm.yaml"): tmp_path / "vllm.yaml"}
    assert export.start is not None
    assert export.start.home == tmp_path


# -- what goes with a model of Triton --


TENSORS = """
input { name: "X" data_type: TYPE_FP32 dims: 4 }
output { name: "Y" data_type: TYPE_FP32 dims: 4 }
"""


def triton_of(folder: Path, model: str, **configs: str) -> Export:
    for name, text in configs.items():
        (folder / "models" / name / "1").mkdir(parents=True)
        (folder / "models" / name / "config.pbtxt").write_text(text + TENSORS)
    options = TritonOptions.model_validate({"model": model, "repository": "models"})
    return TritonTarget(options, Context(folder, folder / "log.txt")).export({})


def ensemble(*parts: str) -> str:
    steps = " ".join(f'step {{ model_name: "{part}" model_version: -1 }}' for part in parts)
    return f'platform: "ensemble"\nensemble_scheduling {{ {steps} }}\n'


def test_an_ensemble_needs_what_it_is_made_of_down_to_the_last(tmp_path: Path) -> None:
    export = triton_of(
        tmp_path,
        "whole",
        whole=ensemble("half", "leaf"),
        half=ensemble("leaf", "other"),
        leaf='backend: "python"',
        other='backend: "python"',
        stranger='backend: "python"',
    )
    assert sorted(map(str, export.folders)) == ["half", "leaf", "other", "whole"]
    assert export.folders[Path("leaf")] == tmp_path / "models" / "leaf"


def test_what_a_parameter_names_beside_the_model_goes_with_it(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "shared.tar.gz").touch()
    (tmp_path / "outside.tar.gz").touch()

    def parameter(key: str, value: str) -> str:
        return f'parameters {{ key: "{key}" value {{ string_value: "$$TRITON_MODEL_DIRECTORY/{value}" }} }}\n'

    text = (
        parameter("EXECUTION_ENV_PATH", "../shared.tar.gz")
        + parameter("own", "1")
        + parameter("absent", "../absent")
        + parameter("outside", "../../outside.tar.gz")
    )
    assert sorted(map(str, triton_of(tmp_path, "one", one=text).folders)) == ["one", "shared.tar.gz"]


# -- Triton in a container --


IN_DOCKER = {
    "image": "ours:1",
    "gpus": "device=0,1",
    "shm_size": "2g",
    "user": "1000",
    "mounts": {"word lists": "/words"},
    "env": {"OMP_NUM_THREADS": 1},
    "args": ["--ulimit", "memlock=-1"],
}
ON_GPU = 'backend: "onnxruntime"\ninstance_group [ { kind: KIND_GPU } ]\n'


def options_of_docker(export: Export) -> list[str]:
    """Return what stands before the image."""
    assert export.start is not None
    said = words(start_lines(export, "docker", None, "the image"))
    return said[: said.index("the image")]


def test_the_container_of_the_study_is_the_one_that_is_printed(tmp_path: Path) -> None:
    export = export_of("triton", tmp_path, launch="docker", docker=IN_DOCKER)
    assert export.start is not None
    assert export.start.image == "ours:1"
    said = words(start_lines(export, "docker", None, None))
    before = said[: said.index("ours:1")]
    mount = f"--mount=type=bind,source={STUDIES / 'word lists'},target=/words,readonly"
    assert {'--gpus="device=0,1"', "--shm-size=2g", "--user=1000", mount, "--env=OMP_NUM_THREADS=1"} <= set(before)
    assert before[before.index("--ulimit") + 1] == "memlock=-1"
    assert "the other:1" in words(start_lines(export, "docker", None, "the other:1"))
    assert words(start_lines(export, "command", None, None))[:2] == ["env", "OMP_NUM_THREADS=1"]
    (container,) = yaml.safe_load(start_lines(export, "kubernetes", None, None))
    assert container["image"] == "ours:1"
    assert container["resources"] == {"limits": {"nvidia.com/gpu": 2}}


def test_a_container_without_gpus_in_the_study_has_none_in_the_line(tmp_path: Path) -> None:
    export = export_of("triton", tmp_path, launch="docker", docker={"image": "ours:1"})
    assert not [word for word in options_of_docker(export) if "gpus" in word]
    assert "--shm-size=1g" in options_of_docker(export)


@pytest.fixture
def no_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """A shell that hides the GPUs of this machine."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")


@pytest.mark.usefixtures("no_gpus")
@pytest.mark.parametrize(
    ("model", "gpus"), [("on_gpu", True), ("on_cpu", False), ("around_gpu", True), ("around_cpu", False)]
)
def test_a_model_that_needs_gpus_gets_them(model: str, gpus: bool, tmp_path: Path) -> None:
    configs = {
        "on_gpu": ON_GPU,
        "on_cpu": 'backend: "python"',
        "around_gpu": ensemble("on_cpu", "on_gpu"),
        "around_cpu": ensemble("on_cpu"),
    }
    assert ("--gpus=all" in options_of_docker(triton_of(tmp_path, model, **configs))) == gpus


@pytest.mark.usefixtures("no_gpus")
@pytest.mark.parametrize("models", [("on_cpu", "on_gpu"), ("on_gpu", "on_cpu"), ("on_cpu", "other")])
def test_of_several_models_one_that_needs_gpus_is_enough(models: tuple[str, str], tmp_path: Path) -> None:
    for name, text in {"on_gpu": ON_GPU, "on_cpu": 'backend: "python"', "other": 'backend: "python"'}.items():
        (tmp_path / "models" / name).mkdir(parents=True)
        (tmp_path / "models" / name / "config.pbtxt").write_text(text + TENSORS)
    options = TritonOptions.model_validate({"models": {name: {} for name in models}, "repository": "models"})
    export = TritonTarget(options, Context(tmp_path, tmp_path / "log.txt")).export({})
    assert ("--gpus=all" in options_of_docker(export)) == ("on_gpu" in models)


def test_a_machine_with_gpus_gave_them_to_the_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("targets.triton.target.gpus_of", lambda _: (0,))
    assert "--gpus=all" in options_of_docker(export_of("triton", tmp_path))


def test_a_server_that_runs_elsewhere_has_no_files(tmp_path: Path) -> None:
    options = KServeOptions.model_validate({"model": "a", "url": "http://localhost:1"})
    export = KServeTarget(options, Context(tmp_path, tmp_path / "log.txt")).export({})
    assert (export.files, export.start, export.places) == ({}, None, {})


# -- the documentation --


def test_the_command_in_the_documentation_is_the_one_that_is_printed(tmp_path: Path) -> None:
    page = (STUDIES.parent / "docs" / "triton.md").read_text()
    made = start_lines(export_of("triton", tmp_path), "command", tmp_path / "deployment" / "models", None)
    assert f"```text\n{made.replace(f'{tmp_path}/', '')}```" in page


def test_the_documentation_says_how_every_kind_is_started(tmp_path: Path) -> None:
    page = (STUDIES.parent / "docs" / "commands" / "export.md").read_text()
    (row,) = (line for line in page.splitlines() if line.startswith("| kind | `command` |"))
    described = page[page.index(row) :].split("\n\n")[0]
    assert set(re.findall(r"`(\w+)`", "".join(line.split(" | ")[0] for line in described.splitlines()))) == set(
        registry.names()
    )
    for kind in KINDS:
        start = export_of(kind, tmp_path).start
        if start is not None and start.image:
            assert f"| `{kind}` | `{' '.join(start.program)}" in described
            assert f"`{start.image}`" in described
