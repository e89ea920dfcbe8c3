"""SGLang's command line, and what SGLang says.

There is no SGLang for a machine without a GPU. What Paretune runs is recorded by a program in the place of its Python,
that then ends as SGLang ends.
"""

import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest
import yaml

from targets.base import ConfigRefused, Context, TargetError, Value, difference, metric_values
from targets.openai.deployment import ModelDeployment
from targets.sglang import installation, log, metrics, readback
from targets.sglang.options import SGLangOptions
from targets.sglang.target import SGLangTarget

DATA = Path(__file__).parents[1] / "data"
EXPOSITION = (DATA / "sglang-metrics.txt").read_bytes()
USAGE = """\
usage: sglang serve [-h] --model-path MODEL_PATH
                    [--tokenizer-path TOKENIZER_PATH]
sglang serve: error: argument --page-size: invalid int value: 'x'
"""
RECORDER = """\
#!/usr/bin/env python3
import json, os, pathlib, sys
here = pathlib.Path(__file__).parent
if sys.argv[1] == "-c":
    print("0.5.23")
elif "--help" in sys.argv:
    print((here / "help.txt").read_text())
else:
    said = pathlib.Path(sys.argv[sys.argv.index("--config") + 1]).read_text()
    seen = {"argv": sys.argv[1:], "env": dict(os.environ), "folder": os.getcwd(), "config": said}
    (here / "seen.json").write_text(json.dumps(seen))
    sys.stderr.write((here / "last-words.txt").read_text())
    sys.exit(2)
"""


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """A study's folder, with a program that records how it is run."""
    folder = tmp_path / "study"
    folder.mkdir()
    (folder / "sglang.yaml").write_text("# ours\nmodel-path: llama\npage-size: 1\n")
    (folder / "python").write_text(RECORDER)
    (folder / "python").chmod(stat.S_IRWXU)
    (folder / "help.txt").write_text((DATA / "sglang-help.txt").read_text())
    (folder / "last-words.txt").write_text(USAGE)
    return folder


def target(study: Path, **options: object) -> SGLangTarget:
    made = SGLangOptions.model_validate({"config": "sglang.yaml", "server": "python"} | options)
    return SGLangTarget(made, Context(study, study / "log.txt"))


def seen_by_it(study: Path, config: dict[str, Value] | None = None, **options: object) -> dict[str, Any]:
    """Return what the program saw when a configuration was deployed."""
    made = target(study, **options)
    made.start()
    with pytest.raises(ConfigRefused):
        made.deploy({**made.user_config(), **(config or {})}, "one")
    assert made.alive(), "no deployment is left that could be dead"
    said: dict[str, Any] = json.loads((study / "seen.json").read_text())
    return said


# -- the command line --


def test_the_command_line_is_that_of_the_launch_with_the_users_file(study: Path) -> None:
    seen = seen_by_it(study, {"page_size": 16, "disable_radix_cache": True}, args=["--device", "cuda"], port=30123)
    argv = seen["argv"]
    assert argv[:3] == ["-m", "sglang.launch_server", "--config"]
    assert argv[4:] == ["--device", "cuda", "--enable-metrics", "--host", "127.0.0.1", "--port", "30123"]
    assert argv[3].endswith("/sglang.yaml"), "SGLang takes no file of another ending"
    assert seen["config"] == "# ours\nmodel-path: llama\npage-size: 16\ndisable-radix-cache: true\n"
    assert Path(seen["folder"]) == study, "paths are relative to the study"


def test_what_is_applied_is_what_is_exported(study: Path) -> None:
    config: dict[str, Value] = {"page_size": 16, "schedule_policy": "lpm", "quantization": "none"}
    (exported,) = target(study).export(config).files.values()
    assert seen_by_it(study, config)["config"] == exported
    assert yaml.safe_load(exported) == {"model-path": "llama", "page-size": 16, "schedule-policy": "lpm"}


def test_a_model_that_the_file_does_not_name_is_an_argument(study: Path) -> None:
    (study / "sglang.yaml").write_text("page-size: 1\n")
    argv = seen_by_it(study, model="llama", served_model_name="one")["argv"]
    assert argv[4:8] == ["--model-path", "llama", "--served-model-name", "one"]


def test_the_environment_is_ours_with_that_of_the_study(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OURS", "1")
    env = seen_by_it(study, env={"SGLANG_USE_CPU_ENGINE": 1})["env"]
    assert (env["OURS"], env["SGLANG_USE_CPU_ENGINE"]) == ("1", "1")
    assert env["TORCHINDUCTOR_CACHE_DIR"]
    assert not Path(env["TMPDIR"]).exists(), "its temporary files have gone with it"


def test_it_is_refused_with_sglangs_own_reason_and_leaves_its_log(study: Path) -> None:
    made = target(study)
    made.start()
    with pytest.raises(ConfigRefused, match=r"^SGLang ended before it was ready \(exit code 2\): argument --page"):
        made.deploy(made.user_config(), "one")
    assert USAGE in (study / "log.txt").read_text()
    with pytest.raises(TargetError, match="invalid int value"):
        made.verify(made.export(made.user_config()), None)  # type: ignore[arg-type]


def test_a_key_of_the_file_is_in_no_log_and_in_no_reason(study: Path) -> None:
    (study / "sglang.yaml").write_text("model-path: llama\napi-key: sk-1234567\n")
    (study / "last-words.txt").write_text(f"{USAGE}server_args=(api_key='sk-1234567')\nValueError: key sk-1234567\n")
    made = target(study)
    made.start()
    with pytest.raises(ConfigRefused) as refused:
        made.deploy({"page_size": 16}, "one")
    assert "sk-1234567" not in str(refused.value)
    log = (study / "log.txt").read_text()
    assert "api-key: ***\npage-size: 16\n" in log
    assert "api_key='***'" in log
    assert "sk-1234567" not in log
    assert "api-key: sk-1234567" in json.loads((study / "seen.json").read_text())["config"]


def test_what_the_version_does_not_know_is_refused_before_it_is_started(study: Path) -> None:
    made = target(study)
    made.start()
    with pytest.raises(ConfigRefused, match=r"0\.5\.23 has no --cuda-graph-max-bs, but cuda-graph-max-bs-decode"):
        made.deploy({"cuda_graph_max_bs": 8}, "one")
    assert not (study / "seen.json").exists()


def test_a_key_that_the_version_does_not_know_is_an_error_of_the_start(study: Path) -> None:
    (study / "sglang.yaml").write_text("model-path: llama\nno-such: 1\n")
    with pytest.raises(TargetError, match=r"sglang\.yaml:2: no-such: SGLang 0\.5\.23 has no option --no-such"):
        target(study).start()


def test_version_and_place_belong_beside_the_numbers(study: Path) -> None:
    made = target(study)
    made.start()
    assert made.environment() == {
        "server": "sglang 0.5.23",
        "server_found_in": "study",
        "server_executable": str(study / "python"),
        "model": "llama",
    }
    made.stop()
    with pytest.raises(TargetError, match="the target was not started"):
        made.environment()


def test_a_python_without_sglang_is_an_error_that_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(TargetError, match=r"target\.server: .* is no executable file; install it, where"):
        installation.find(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(installation, "find_spec", lambda name: None)  # noqa: ARG005 - of another name
    with pytest.raises(TargetError, match=r"has no sglang, and no command `sglang` is on PATH; install it, where"):
        installation.find(None)
    for name in ("sglang", "python3"):
        (tmp_path / name).touch(mode=0o755)
    assert installation.find(None) == installation.Installation(tmp_path / "python3", "PATH")


def test_a_program_that_fails_is_quoted(study: Path) -> None:
    (study / "python").write_text("#!/bin/sh\necho 'No module named sglang' >&2\nexit 1\n")
    with pytest.raises(TargetError, match="ended with exit code 1: No module named sglang; install it, where"):
        installation.abilities(installation.find(study / "python"), dict(os.environ))


# -- log --


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (USAGE, "argument --page-size: invalid int value: 'x'"),
        ("launch_server.py: error: unrecognized arguments: --no-such 0.5", "unrecognized arguments: --no-such 0.5"),
        (
            "[2025-11-25 19:42:20 TP0] Scheduler hit an exception: Traceback (most recent call last):\n"
            '  File "scheduler.py", line 1, in run\n'
            "RuntimeError: Not enough memory. Please try to increase --mem-fraction-static.\n\n"
            "[2025-11-25 19:42:21] Rank 0 scheduler is dead.\n"
            "Traceback (most recent call last):\n"
            "EOFError\n",
            "Not enough memory. Please try to increase --mem-fraction-static.",
        ),
        (
            "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB.",
            "CUDA out of memory. Tried to allocate",
        ),
        ("[2025-11-25 19:42:20] server_args=ServerArgs(model_path='llama')\nKilled", ""),
    ],
)
def test_the_reason_is_the_first_one(text: str, reason: str) -> None:
    said = log.reason(text)
    assert said.startswith(reason)
    assert bool(said) == bool(reason)


# -- what it took --


@pytest.mark.parametrize(
    ("config", "wrong"),
    [
        ({"page_size": 16, "mem_fraction_static": 0.8, "dtype": "half", "max_running_requests": 8}, []),
        ({"kv_cache_dtype": "auto", "quantization": "none", "attention_backend": "auto"}, []),
        ({"stream_interval": 4}, []),
        ({"page_size": 1}, ["page_size: asked 1, took 16"]),
        ({"disable_radix_cache": False}, ["disable_radix_cache: asked False, took True"]),
        ({"mem_fraction_static": 0.9}, ["mem_fraction_static: asked 0.9, took 0.8"]),
    ],
)
def test_what_was_taken_otherwise_is_named(config: dict[str, Value], wrong: list[str]) -> None:
    said = {
        "page_size": 16, "mem_fraction_static": 0.8000000000000000001, "dtype": "float16", "kv_cache_dtype": "bfloat16",
        "quantization": "fp8", "attention_backend": "fa3", "disable_radix_cache": True, "max_running_requests": 8,
    }  # fmt: skip
    assert readback.mismatches(config, readback.server_info(json.dumps(said).encode())) == wrong


@pytest.mark.parametrize(
    ("config", "wrong"),
    [
        ({"chunked_prefill_size": 8192, "schedule_conservativeness": 1.1}, []),
        ({"chunked_prefill_size": 8199}, []),
        ({"schedule_conservativeness": 0.33}, []),
        ({"chunked_prefill_size": 4096}, ["chunked_prefill_size: asked 4096, with DP attention 512, took 1024"]),
        (
            {"schedule_conservativeness": 1.0},
            ["schedule_conservativeness: asked 1.0, with DP attention 0.3, took 0.33"],
        ),
        ({"max_running_requests": 64}, ["max_running_requests: asked 64, took 8"]),
    ],
)
def test_with_dp_attention_sglang_makes_less_of_two_knobs(config: dict[str, Value], wrong: list[str]) -> None:
    said = {
        "enable_dp_attention": True, "dp_size": 8, "chunked_prefill_size": 1024, "schedule_conservativeness": 1.1 * 0.3,
        "max_running_requests": 8,
    }  # fmt: skip
    assert readback.mismatches(config, said) == wrong
    without = {**said, "enable_dp_attention": False}
    assert readback.mismatches({"chunked_prefill_size": 8192}, without)


@pytest.mark.parametrize("size", [-1, 0])
def test_prompts_that_are_not_cut_are_not_cut_with_dp_attention_either(size: int) -> None:
    said = {"enable_dp_attention": True, "dp_size": 8, "chunked_prefill_size": size}
    assert readback.mismatches({"chunked_prefill_size": size}, said) == []


@pytest.mark.parametrize("answer", [b"[]", b"not JSON"])
def test_an_answer_that_is_no_object_is_an_error(answer: bytes) -> None:
    with pytest.raises(TargetError, match="which is no JSON object"):
        readback.server_info(answer)


# -- metrics --


def test_the_metrics_are_read() -> None:
    reading = metrics.counters(5, EXPOSITION)
    assert (reading.taken_ns, reading.requests) == (5, 4)
    assert reading.total_ns == {"queue": 1_500_000_000}
    assert reading.gauges == {"running": 5, "waiting": 5, "gen_throughput": 812.5, "kv_cache_use": 0.4}
    assert reading.counters == {"preemptions": 0, "prompt_tokens": 400, "cached_tokens": 100}


def test_the_metrics_of_a_window_are_of_what_happened_in_it() -> None:
    later = EXPOSITION.replace(b'"llama"} 400.0', b'"llama"} 600.0').replace(b'"llama"} 60.0', b'"llama"} 160.0')
    stats = difference(metrics.counters(0, EXPOSITION), metrics.counters(2_000_000_000, later))
    values = metric_values(stats, metrics.METRICS)
    assert values["prefix_cache_hit_rate"] == 0.5
    assert values["prompt_tokens_rate"] == 100
    assert values["requests_waiting"] == 5
    assert values["preemptions"] == 0
    assert "draft_accept_length" not in values, "there is no speculative decoding"


def test_what_a_version_does_not_give_is_left_out() -> None:
    reading = metrics.counters(0, b"# TYPE sglang:num_requests_total counter\n")
    assert (reading.requests, reading.total_ns, reading.counters, reading.gauges) == (0, {}, {}, {})


def test_its_own_metrics_are_told_as_it_names_them() -> None:
    class Running:
        """A server that has SGLang's answer."""

        def metrics(self, timeout_s: float) -> bytes:
            assert timeout_s == 0.25
            return EXPOSITION

    options = SGLangOptions.model_validate({"config": "sglang.yaml"})
    usage = SGLangTarget.usage
    deployed = ModelDeployment({}, Running(), "llama", options, {}, usage, metrics.counters)  # type: ignore[arg-type]
    exposed = deployed.exposed()
    told = {one.name.partition("{")[0]: one for one in exposed.told(exposed.get(0.25))}
    assert told["sglang:gen_throughput"].value == 812.5
    assert told["sglang:prompt_tokens_total"].grows is True
    assert not [name for name in told if name.endswith("_bucket")]
