"""SGLang on the level of files and arguments: the YAML of `--config`, its knobs, the study's own keys."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from targets.base import Context, TargetError, Value
from targets.openai import help as helped
from targets.sglang import config, knobs
from targets.sglang.config import ServeConfig
from targets.sglang.options import SGLangOptions
from targets.sglang.target import SGLangTarget
from workloads.requests import Prompts

DATA = Path(__file__).parents[1] / "data"
OPTIONS = helped.parse((DATA / "sglang-help.txt").read_text())
PATH = Path("sglang.yaml")
OWN = """\
# Ours since spring.
model-path: llama
max-running-requests: 32   # enough
max-prefill-tokens: 16Ki
mem-fraction-static: 0.8
tensor-parallel-size: 2
schedule-policy: "lpm"
disable-radix-cache: true
"""
OWN_VALUES = {
    "max_running_requests": 32, "max_prefill_tokens": 16384, "mem_fraction_static": 0.8, "tp_size": 2,
    "schedule_policy": "lpm", "disable_radix_cache": True,
}  # fmt: skip


def parse(text: str) -> ServeConfig:
    return config.parse(text, PATH)


def target(folder: Path, **options: object) -> SGLangTarget:
    made = SGLangOptions.model_validate({"model": "llama"} | options)
    return SGLangTarget(made, Context(folder, folder / "log.txt"))


# -- reading --


def test_the_users_file_gives_the_knobs_their_values() -> None:
    assert parse(OWN).values == OWN_VALUES


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [", r"^sglang\.yaml:1: not YAML: "),
        ("[]", r"^sglang\.yaml: expected settings like `page-size: 16`, one a line, but got '\[\]'$"),
        ("page-size: 1\npage-size: 2", r"^sglang\.yaml:2: page-size: is given in line 1 already; keep one of them$"),
        ("tp-size: 1\ntensor-parallel-size: 2", r"^sglang\.yaml:2: tensor-parallel-size: is given in line 1 already"),
        ("page_size: 1", r"^sglang\.yaml:1: page_size: SGLang knows options by dashes only; write `page-size`$"),
        ("\npage-size: x", r"^sglang\.yaml:2: page-size: expected a whole number, but got 'x'$"),
        ("page-size: 0", r"^sglang\.yaml:1: page-size: is 0; legal is 1 or more$"),
        ("mem-fraction-static: 2", r"^sglang\.yaml:1: mem-fraction-static: is 2; legal is 0\.01 to 1$"),
        ("disable-radix-cache: 1", r"^sglang\.yaml:1: disable-radix-cache: expected true or false, but got 1$"),
        ("dtype: 16", r"^sglang\.yaml:1: dtype: expected a name, but got 16$"),
        ("dtype:", r"^sglang\.yaml:1: dtype: has no value; give it one, or take the line out$"),
        ("ssl-keyfile: k.pem", r"^sglang\.yaml:1: ssl-keyfile: .* in the clear, .*; take it out for the tuning$"),
        ("is-embedding: true", r"^sglang\.yaml:1: is-embedding: Paretune asks for completions; take it out"),
        ("nnodes: 2", r"^sglang\.yaml:1: nnodes: needs further servers, and Paretune starts one; take it out$"),
        ("disaggregation-mode: prefill", r"^sglang\.yaml:1: disaggregation-mode: needs further servers"),
    ],
)
def test_a_file_that_cannot_be_used_is_named(text: str, message: str) -> None:
    with pytest.raises(TargetError, match=message):
        parse(text)


@pytest.mark.parametrize(
    ("given", "value"), [("1k", 1000), ("25.6k", 25_600), ("16Ki", 16_384), ("1M", 1_000_000), ("7", 7), (7, 7)]
)
def test_a_number_of_tokens_may_have_a_suffix(given: object, value: int) -> None:
    assert knobs.read("max_total_tokens", given) == value


@pytest.mark.parametrize("given", ["1K", "2.5Ki", "k", "1 000"])
def test_a_suffix_that_sglang_does_not_know_is_refused(given: str) -> None:
    with pytest.raises(ValueError, match="expected a whole number"):
        knobs.read("max_prefill_tokens", given)


def test_a_choice_of_the_users_file_is_a_choice_of_the_knob(tmp_path: Path) -> None:
    (tmp_path / "sglang.yaml").write_text("model-path: llama\nattention-backend: aiter\n")
    (knob,) = (one for one in target(tmp_path, config="sglang.yaml").knobs() if one.name == "attention_backend")
    assert knob.choices[-1] == "aiter"


# -- a version --


def test_the_help_knows_every_knob_but_the_one_that_older_versions_have() -> None:
    unknown = [name for name in knobs.BY_NAME if knobs.key_of(name) not in OPTIONS]
    assert unknown == ["cuda_graph_max_bs"]


def test_the_help_knows_every_choice() -> None:
    for knob in knobs.KNOBS:
        option = OPTIONS.get(knobs.key_of(knob.name))
        named = {choice for choice in knob.choices if knobs.written(knob.name, choice) is not None}
        assert option is None or not option.choices or named <= set(option.choices), knob.name


def test_a_key_that_a_version_does_not_know_is_named_with_its_line() -> None:
    config.check_options(parse(OWN), OPTIONS, "0.5.23")
    with pytest.raises(TargetError, match=r"^sglang\.yaml:2: no-such: SGLang 0\.5\.23 has no option --no-such$"):
        config.check_options(parse("page-size: 1\nno-such: 1"), OPTIONS, "0.5.23")


@pytest.mark.parametrize(
    ("name", "value", "misfit"),
    [
        ("page_size", 16, ""),
        ("quantization", "none", ""),
        ("attention_backend", "auto", ""),
        ("disable_radix_cache", False, ""),
        ("kv_cache_dtype", "int2", r"does not know `kv_cache_dtype` int2; it knows auto, fp8_e5m2"),
        ("cuda_graph_max_bs", 8, r"has no --cuda-graph-max-bs, but cuda-graph-max-bs-decode, cuda-graph-max-bs-pref"),
        ("threads", 8, r"has no knob `threads`; known: mem_fraction_static, "),
    ],
)
def test_what_a_version_cannot_be_told_is_said(name: str, value: Value, misfit: str) -> None:
    said = knobs.misfit(name, value, OPTIONS)
    assert said.startswith(misfit)
    assert bool(said) == bool(misfit)


# -- writing --


def test_an_export_changes_what_was_tuned_and_nothing_else() -> None:
    wanted = {
        **OWN_VALUES, "max_running_requests": 64, "tp_size": 4, "disable_radix_cache": False, "page_size": 16,
        "quantization": "none",
    }  # fmt: skip
    again = config.rewrite(parse(OWN), wanted)
    assert again == (
        OWN.replace("requests: 32 ", "requests: 64 ")
        .replace("size: 2", "size: 4")
        .replace("cache: true", "cache: false")
        + "page-size: 16\n"
    )
    assert parse(again).values == {name: value for name, value in wanted.items() if name != "quantization"}


def test_an_export_of_the_users_own_values_is_the_users_own_file() -> None:
    assert config.rewrite(parse(OWN), OWN_VALUES) == OWN


def test_what_is_left_to_the_server_is_taken_out() -> None:
    file = parse("model-path: llama\nquantization: fp8\nattention-backend: fa3  # fast\n")
    assert config.rewrite(file, {"quantization": "none", "attention_backend": "auto"}) == "model-path: llama\n"


def test_a_value_that_another_repeats_is_changed_alone() -> None:
    file = parse("page-size: &same 16\nmax-running-requests: *same\n")
    again = parse(config.rewrite(file, {"page_size": 32}))
    assert again.values == {"page_size": 32, "max_running_requests": 16}


def test_without_a_file_there_is_one_with_the_model(tmp_path: Path) -> None:
    made = target(tmp_path, served_model_name="one", args=["--device", "cuda"])
    export = made.export({"page_size": 16})
    assert export.originals == {}
    assert export.files == {
        PATH: "# python -m sglang.launch_server --config sglang.yaml --device cuda\n"
        "model-path: llama\nserved-model-name: one\npage-size: 16\n"
    }


# -- the study's own keys --


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"args": ["--page-size", 16]}, r"target\.args: --page-size is a knob; write it into your `config` instead"),
        ({"args": ["--tensor-parallel-size=2"]}, r"target\.args: --tensor-parallel-size is a knob"),
        ({"args": ["--model", "x"]}, r"target\.args: --model is given by Paretune; use the keys of `target`"),
        ({"args": ["--enable-metrics"]}, r"target\.args: --enable-metrics is given by Paretune"),
        ({"args": ["--smg-grpc-mode"]}, r"target\.args: --smg-grpc-mode: Paretune asks the server over HTTP"),
        ({"args": ["--api-key", "x"]}, r"target\.args: --api-key: write it into your `config` instead"),
        ({"config": "none.yaml"}, r"target\.config: none\.yaml: no such file; make it, or leave `config` out"),
    ],
)
def test_a_study_that_cannot_be_used_is_told_why(options: dict[str, object], message: str, tmp_path: Path) -> None:
    with pytest.raises(TargetError, match=message):
        target(tmp_path, **options)


def test_study_and_file_may_not_name_different_models(tmp_path: Path) -> None:
    (tmp_path / "sglang.yaml").write_text(OWN)
    assert target(tmp_path, config="sglang.yaml").user_config() == OWN_VALUES
    with pytest.raises(TargetError, match=r"target\.model: is 'gpt', but sglang\.yaml:2: model-path: 'llama'; "):
        target(tmp_path, config="sglang.yaml", model="gpt")
    (tmp_path / "sglang.yaml").write_text("page-size: 1\n")
    with pytest.raises(TargetError, match=r"target\.model: is missing, and sglang\.yaml has no `model-path` either"):
        target(tmp_path, config="sglang.yaml", model=None)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "give `model`, or a `config` that names it"),
        ({"model": "m", "side_by_side": True, "port": 80}, "`side_by_side` needs a port for each deployment"),
        ({"model": "m", "args": "--device cpu"}, r"expected a list of arguments, like \[--device, cpu\]"),
    ],
)
def test_options_that_do_not_fit_together_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        SGLangOptions.model_validate(options)


def test_token_ids_have_to_be_the_models(tmp_path: Path) -> None:
    (tmp_path / "llama").mkdir()
    (tmp_path / "llama" / "config.json").write_text('{"vocab_size": 100}')
    made = target(tmp_path, endpoint="completions")
    asked = Prompts([[1, 99]], [4], ids=(1, 99))
    made.check_requests(asked)
    with pytest.raises(TargetError, match="the model has the token ids 0 to 99, but the prompts have 1 to 100"):
        made.check_requests(Prompts([[1, 100]], [4], ids=(1, 100)))


def test_what_the_study_reads_is_what_it_names() -> None:
    made = SGLangOptions(model="llama", config=Path("sglang.yaml"))
    assert list(made.files()) == [Path("sglang.yaml"), Path("llama")]
    assert "kv_cache_use" in {metric.name for metric in made.metrics()}
