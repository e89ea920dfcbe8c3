"""What vLLM's log, its metrics and its help say, read from saved texts of a real one."""

from pathlib import Path

import pytest

from targets.base import difference, metric_values
from targets.openai import help as vllm_help
from targets.prometheus import BadExposition
from targets.vllm import log, readback
from targets.vllm.metrics import METRICS, counters

DATA = Path(__file__).parents[1] / "data"
HELP = (DATA / "vllm-help.txt").read_text()
METRICS_TEXT = (DATA / "vllm-metrics.txt").read_bytes()
READY, REFUSED, ENGINE = ((DATA / f"vllm-log-{name}.txt").read_text() for name in ("ready", "refused", "engine"))


# -- the log --


def test_a_refusal_names_the_fields_and_what_is_wrong_with_them() -> None:
    assert log.reason(REFUSED) == (
        "max_num_batched_tokens: Input should be greater than or equal to 1; "
        "max_num_seqs: Input should be greater than or equal to 1"
    )


def test_a_refusal_of_fields_that_do_not_go_together_is_said_as_vllm_says_it() -> None:
    said = (
        "pydantic_core._pydantic_core.ValidationError: 1 validation error for SchedulerConfig\n"
        "  Value error, max_num_batched_tokens (32) must be greater than or equal to max_num_seqs (64). "
        "[type=value_error, input_value=ArgsKwargs((), {'runner_t..., 'stream_interval': 1}), input_type=ArgsKwargs]\n"
        "    For further information visit https://errors.pydantic.dev/2.14/v/value_error\n"
    )
    assert log.reason(said) == "max_num_batched_tokens (32) must be greater than or equal to max_num_seqs (64)."


def test_the_first_exception_is_the_reason_and_not_what_follows_from_it() -> None:
    assert log.reason(ENGINE) == "No common block size for 17 (CPU_ATTN: [MultipleOf(32)])."


def test_what_the_command_line_does_not_take_is_the_reason() -> None:
    said = (
        "usage: vllm serve [model_tag] [options]\nvllm serve: error: argument --max-num-seqs: invalid int value: 'x'\n"
    )
    assert log.reason(said) == "argument --max-num-seqs: invalid int value: 'x'"
    assert log.reason("vllm: error: unrecognized arguments: --nope 3\n") == "unrecognized arguments: --nope 3"


def test_an_exception_without_words_is_named() -> None:
    assert log.reason("Traceback (most recent call last):\nKeyboardInterrupt\n") == "KeyboardInterrupt"


def test_a_log_without_errors_gives_no_reason() -> None:
    assert log.reason(READY) == ""
    assert log.reason("(APIServer pid=7) WARNING 11-25 19:21:35 [model.py:1] ValueError: passed over\n") == ""


def test_a_running_vllm_says_what_it_took_and_where_it_runs() -> None:
    taken = log.arguments(READY)
    assert taken is not None
    assert (taken["max_num_seqs"], taken["enable_prefix_caching"], taken["enforce_eager"]) == (32, False, True)
    assert log.device(READY) == "cpu"


def test_a_log_that_does_not_say_what_was_taken_is_no_reason_to_refuse() -> None:
    assert log.arguments("") is None
    assert log.arguments("x non-default args: {'a': <object at 0x7>}\n") is None
    assert readback.mismatches({"max_num_seqs": 8}, "", vllm_help.parse(HELP)) == []


# -- what it took --


@pytest.mark.parametrize(
    ("asked", "wrong"),
    [
        ({"max_num_seqs": 32, "enable_prefix_caching": False, "dtype": "auto", "gpu_memory_utilization": 0.92}, []),
        ({"max_num_seqs": 16}, ["max_num_seqs: asked 16, took 32"]),
        ({"max_num_batched_tokens": 64}, ["max_num_batched_tokens: asked 64, took its default None"]),
        ({"enable_chunked_prefill": False}, ["enable_chunked_prefill: asked False, took its default None"]),
        ({"quantization": "none", "speculative_config": "ngram"}, []),
    ],
)
def test_what_vllm_took_is_compared_with_what_was_asked(asked: dict[str, object], wrong: list[str]) -> None:
    assert readback.mismatches(asked, READY, vllm_help.parse(HELP)) == wrong


# -- the help --


def test_the_help_gives_each_option_with_spellings_choices_and_default() -> None:
    options = vllm_help.parse(HELP)
    assert options["dtype"].choices == ("auto", "bfloat16", "float", "float16", "float32", "half")
    assert options["dtype"].default == "auto"
    assert options["max-num-seqs"] == vllm_help.Option(("--max-num-seqs",), (), "None")
    assert options["tensor-parallel-size"].flags == ("--tensor-parallel-size", "-tp")
    assert options["device-memory-utilization"] is options["gpu-memory-utilization"]
    assert options["gpu-memory-utilization"].default == "0.92"
    assert options["no-enable-prefix-caching"] is options["enable-prefix-caching"]
    assert "fp8" in options["kv-cache-dtype"].choices
    assert options["port"].default == "8000"


def test_a_text_that_is_no_help_has_no_options() -> None:
    assert vllm_help.parse("command not found\n") == {}


# -- the metrics --


def test_the_metrics_are_read_by_the_names_that_vllm_gives_them() -> None:
    reading = counters(5, METRICS_TEXT)
    assert reading.taken_ns == 5
    assert reading.requests == 29
    assert reading.failures == 0
    assert set(reading.total_ns) == {"queue", "prefill", "decode"}
    assert all(total > 0 for total in reading.total_ns.values())
    assert reading.gauges["running"] == 4
    assert reading.gauges["waiting"] == 4
    assert 0 < reading.gauges["kv_cache_use"] < 1
    assert reading.counters["prefix_hits"] > 0


def test_a_window_has_a_value_for_every_metric_that_is_declared() -> None:
    nothing = counters(0, b"")
    values = metric_values(difference(nothing, counters(2_000_000_000, METRICS_TEXT)), METRICS)
    assert set(values) == {metric.name for metric in METRICS} - {"draft_acceptance_rate"}
    assert 0 < values["prefix_cache_hit_rate"] < 1
    assert values["preemptions"] == 0


def test_a_version_that_gives_less_is_read_as_far_as_it_goes() -> None:
    reading = counters(1, b'vllm:gpu_cache_usage_perc{engine="0"} 0.25\n')
    assert (reading.requests, reading.failures) == (0, 0)
    assert reading.gauges == {"kv_cache_use": 0.25}
    assert reading.counters == {}


def test_requests_that_were_not_answered_are_not_counted_as_answered() -> None:
    lines = [f'vllm:request_success_total{{finished_reason="{reason}"}} {count}\n' for reason, count in
             (("stop", 3), ("length", 2), ("abort", 7), ("error", 1))]  # fmt: skip
    reading = counters(1, "".join(lines).encode())
    assert (reading.requests, reading.failures) == (5, 1)


def test_the_shares_of_several_engines_are_not_added() -> None:
    text = "".join(
        f'vllm:kv_cache_usage_perc{{engine="{one}"}} 0.5\nvllm:num_requests_running{{engine="{one}"}} 3\n'
        for one in range(2)
    )
    assert counters(1, text.encode()).gauges == {"kv_cache_use": 0.5, "running": 6}


def test_an_answer_that_is_no_exposition_is_an_error() -> None:
    with pytest.raises(BadExposition, match="not in Prometheus"):
        counters(1, b"<html>")
