"""The llama.cpp target on the real llama-server: each knob, what it says of itself, and how it fails."""

import os
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from targets.base import ConfigRefused, Outcome, ServerDied, TargetError, Value, difference, metric_values
from targets.llamacpp import help as helped
from targets.llamacpp import installation, knobs
from targets.openai.deployment import ModelDeployment
from tests.llamacpp.conftest import MODEL_VARIABLE, MakeLlamaCpp, some_prompts
from tests.support.load_runs import MS, closed, outcomes
from tuner.load import engine
from tuner.load.plan import Plan
from tuner.records import Records, read_records
from tuner.timings import misplaced
from workloads.requests import Prompts

pytestmark = pytest.mark.llamacpp

CHANGES: Mapping[str, Value] = {
    "parallel": 3, "ctx_size": 1000, "kv_unified": True, "batch_size": 64, "ubatch_size": 32, "threads": 2,
    "threads_http": 3, "n_gpu_layers": 2, "n_cpu_moe": 1, "split_mode": "none", "kv_offload": False,
    "flash_attn": "on", "cache_type_k": "q8_0", "cache_type_v": "bf16", "repack": False, "cont_batching": False,
    "cache_prompt": False, "cache_reuse": 16, "cache_ram": 0, "spec_draft_n_max": 2,
}  # fmt: skip


def ask(deployment: ModelDeployment, prompts: Prompts, folder: Path) -> Records:
    """Send each prompt once, two at a time."""
    plan = Plan(
        endpoint=deployment.endpoint(prompts),
        load=closed(2, len(prompts), len(prompts)),
        start_ns=time.monotonic_ns() + 20 * MS,
        warmup_ns=0,
        window_ns=30_000 * MS,
        timeout_ns=20_000 * MS,
        records_path=folder / "records.bin",
    )
    engine.run(plan)
    return read_records(plan.records_path, plan.window)


def the_variables() -> Mapping[str, tuple[str, ...]]:
    return installation.abilities(installation.find(None), dict(os.environ)).variables


def test_the_server_has_the_variable_and_the_flags_of_every_knob() -> None:
    variables = the_variables()
    for setting in knobs.SETTINGS:
        assert set(setting.flags) == set(variables[setting.variable]), setting.knob.name
        if setting.knob.type == "bool":
            assert helped.can_be_false(setting.variable, variables), setting.knob.name


def test_every_knob_is_changed_below() -> None:
    assert list(CHANGES) == [knob.name for knob in knobs.KNOBS]


@pytest.mark.parametrize(("name", "value"), CHANGES.items())
def test_a_knob_is_applied_and_exported(name: str, value: Value, make_llamacpp: MakeLlamaCpp) -> None:
    target = make_llamacpp()
    target.start()
    deployment = target.deploy({**target.user_config(), name: value}, "one")
    deployment.ask_once(some_prompts())
    (text,) = target.export(deployment.config).files.values()
    assert f"{knobs.BY_NAME[name].variable}={knobs.written(value)}" in text
    (pid,) = deployment.processes()
    environment = Path(f"/proc/{pid}/environ").read_text().split("\0")
    assert f"{knobs.BY_NAME[name].variable}={knobs.written(value)}" in environment, "the export is what the server has"


@pytest.mark.parametrize("form", ["chat", "completions"])
def test_tokens_are_counted(form: str, make_llamacpp: MakeLlamaCpp, tmp_path: Path) -> None:
    target = make_llamacpp(endpoint=form)
    target.start()
    prompts = Prompts(["one", "two words", "three", "and four"] * 5, some_prompts(20, 12).output_tokens)
    records = ask(target.deploy(target.user_config(), "one"), prompts, tmp_path)
    assert outcomes(records) == {Outcome.OK}, "the server closes each connection, and no request is lost by it"
    assert set(records.rows["tokens"]) == {12}
    assert misplaced(records) == (0, 20), "each event has one token, and the server agrees"


def test_the_servers_metrics_are_of_the_window(make_llamacpp: MakeLlamaCpp, tmp_path: Path) -> None:
    target = make_llamacpp()
    target.start()
    deployment, prompts = target.deploy(target.user_config(), "one"), some_prompts(2, 20)
    before = deployment.statistics()()
    ask(deployment, prompts, tmp_path)
    between = deployment.statistics()()
    first = metric_values(difference(before, between), target.metrics())
    assert first["prefix_cache_hit_rate"] == 0
    assert 1 <= first["busy_slots"] <= 2
    assert first["tokens_per_step"] > 1
    ask(deployment, prompts, tmp_path)
    again = metric_values(difference(between, deployment.statistics()()), target.metrics())
    assert again["prefix_cache_hit_rate"] > 0.5, "the same prompts, in the same slots"
    assert again["requests_waiting"] == 0


def test_a_refused_configuration_gives_the_servers_first_reason(make_llamacpp: MakeLlamaCpp) -> None:
    target = make_llamacpp()
    target.start()
    with pytest.raises(ConfigRefused, match=r"\(exit code 1\): quantized V cache requires flash_attn to be enabled$"):
        target.deploy({**target.user_config(), "cache_type_v": "q4_0", "flash_attn": "off"}, "one")
    with pytest.raises(ConfigRefused, match=r": LLAMA_ARG_N_PARALLEL: invalid value for n_parallel$"):
        target.deploy({**target.user_config(), "parallel": 0}, "one")
    with pytest.raises(ConfigRefused, match=r": GGML_ASSERT\(n_outputs_max <= .*\) failed$"):
        target.deploy({**target.user_config(), "parallel": 4, "batch_size": 1}, "one")


def test_an_argument_that_the_server_does_not_know_is_named(make_llamacpp: MakeLlamaCpp) -> None:
    target = make_llamacpp(args=["--no-such"])
    target.start()
    with pytest.raises(ConfigRefused, match="invalid argument: --no-such"):
        target.deploy(target.user_config(), "one")


def test_a_variable_that_the_server_would_pass_over_is_named_with_its_line(
    make_llamacpp: MakeLlamaCpp, tmp_path: Path
) -> None:
    (tmp_path / "llama.env").write_text("LLAMA_ARG_NO_REPACK=1\nLLAMA_ARG_PARALEL=4\nCUDA_VISIBLE_DEVICES=0\n")
    with pytest.raises(TargetError, match=r"llama\.env:2: LLAMA_ARG_PARALEL: llama-server .* has no such variable"):
        make_llamacpp().start()


def test_variables_of_paretunes_own_environment_do_not_reach_the_server(
    make_llamacpp: MakeLlamaCpp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LLAMA_ARG_N_PARALLEL", "7")
    monkeypatch.setenv("LLAMA_ARG_CACHE_TYPE_K", "nothing")
    target = make_llamacpp()
    target.start()
    assert target.deploy(target.user_config(), "one").config["parallel"] == 2


def test_a_server_with_a_key_is_asked_with_it(make_llamacpp: MakeLlamaCpp, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLAMA_API_KEY", "secret,other")
    target = make_llamacpp()
    target.start()
    deployment = target.deploy(target.user_config(), "one")
    deployment.ask_once(some_prompts())
    deployment.statistics()()


def test_a_model_without_a_file_of_the_users_is_exported_with_its_name(
    make_llamacpp: MakeLlamaCpp, tmp_path: Path
) -> None:
    (tmp_path / "model.gguf").symlink_to(os.environ[MODEL_VARIABLE])
    target = make_llamacpp(config=None, model="model.gguf", args=["--no-ui"])
    target.start()
    export = target.export({"parallel": 2})
    assert export.originals == {}
    (text,) = export.files.values()
    assert text == "# set -a; . ./llama.env; llama-server --no-ui\nLLAMA_ARG_MODEL=model.gguf\nLLAMA_ARG_N_PARALLEL=2\n"
    target.verify(export, some_prompts())


def test_a_file_that_is_no_model_is_the_servers_complaint(make_llamacpp: MakeLlamaCpp, tmp_path: Path) -> None:
    (tmp_path / "model.gguf").write_text("not a model")
    target = make_llamacpp(model="model.gguf")
    target.start()
    with pytest.raises(ConfigRefused, match=r"\(exit code 1\): invalid magic characters: 'not ', expected 'GGUF'$"):
        target.deploy(target.user_config(), "one")


def test_a_wanted_port_that_is_taken_is_said(make_llamacpp: MakeLlamaCpp) -> None:
    first = make_llamacpp()
    first.start()
    port = first.deploy(first.user_config(), "one").endpoint(some_prompts()).port
    second = make_llamacpp(port=port)
    second.start()
    with pytest.raises(TargetError, match=f"target.port: port {port} on 127.0.0.1 is in use"):
        second.deploy(second.user_config(), "two")


def test_a_server_that_was_killed_says_how_it_ended(make_llamacpp: MakeLlamaCpp) -> None:
    target = make_llamacpp()
    target.start()
    deployment = target.deploy(target.user_config(), "one")
    (pid,) = deployment.processes()
    os.kill(pid, 9)
    with pytest.raises(ServerDied, match=r"llama-server ended \(exit code -9\)"):
        deployment.statistics()
