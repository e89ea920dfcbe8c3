"""vLLM's YAML and knobs, and what a study may say of it; no vLLM runs."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml
from pydantic import ValidationError

from targets.base import ConfigRefused, Context, Knob, TargetError
from targets.openai import help as vllm_help
from targets.vllm import knobs
from targets.vllm.config import check_options, parse
from targets.vllm.metrics import METRICS
from targets.vllm.options import VLLMOptions
from targets.vllm.target import VLLMTarget
from workloads.requests import Dataset, Prompts

HELP = vllm_help.parse((Path(__file__).parents[1] / "data" / "vllm-help.txt").read_text())
SPECULATIVE = {"off": {}, "ngram": {"method": "ngram", "num_speculative_tokens": 3, "prompt_lookup_max": 4}}
YAML = """\
# our server
model: org/llama
served-model-name: [chat, other]  # what clients ask for

max_num_seqs: 64   # one GPU
max-num-batched-tokens: 2K
# caching helps our prompts
enable_prefix_caching: true   # keep
gpu-memory-utilization: 0.85
compilation-config:
    mode: 3
    sizes:
      - 1
      - 8
port: 8000
"""
USER = {
    "max_num_seqs": 64,
    "max_num_batched_tokens": 2048,
    "enable_prefix_caching": True,
    "gpu_memory_utilization": 0.85,
}
Make = Callable[..., VLLMTarget]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Make targets beside a YAML; `text` is another one, None for no file."""

    def make(text: str | None = YAML, **options: object) -> VLLMTarget:
        values: dict[str, object] = dict(options)
        if text is not None:
            (tmp_path / "vllm.yaml").write_text(text)
            values["config"] = "vllm.yaml"
        return VLLMTarget(VLLMOptions.model_validate(values), Context(tmp_path, tmp_path / "log.txt"))

    return make


def exported(target: VLLMTarget, **change: object) -> str:
    (text,) = target.export({**target.user_config(), **change}).files.values()
    return text


# -- the user's YAML --


def test_the_users_configuration_is_that_of_the_file(make: Make) -> None:
    assert make().user_config() == USER
    assert make("model: x\nmax-model-len: 8k\n").user_config() == {"max_model_len": 8000}
    assert make("model: x\nmax_model_len: auto\n").user_config() == {}
    assert make("model: x\nno-enable-chunked-prefill: true\n").user_config() == {"enable_chunked_prefill": False}
    assert make("model: x\ndevice_memory_utilization: 0.5\n").user_config() == {"gpu_memory_utilization": 0.5}


def test_a_file_is_read_as_vllm_reads_it(make: Make) -> None:
    # YAML 1.1 has more words for true and false than YAML 1.2.
    assert make("model: x\nenable-prefix-caching: on\n").user_config() == {"enable_prefix_caching": True}
    assert make("model: x\nenforce-eager: off\n").user_config() == {"enforce_eager": False}


def test_speculation_has_the_name_that_the_study_gives_it(make: Make) -> None:
    text = "model: x\nspeculative_config: {method: ngram, prompt_lookup_max: 4, num_speculative_tokens: 3}\n"
    assert make(text, speculative=SPECULATIVE).user_config() == {"speculative_config": "ngram"}
    assert make("model: x\n", speculative=SPECULATIVE).user_config() == {"speculative_config": "off"}
    assert make("model: x\n").user_config() == {}
    assert make('model: x\nspeculative-config: \'{"method": "mtp"}\'\n').user_config() == {}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected settings like `max-num-seqs: 64`, one a line, but got ''"),
        ("- 1\n", "expected settings like"),
        ("model: [\n", "vllm.yaml:2: not YAML: "),
        ("model: x\nrevision: 2024-02-30\n", "vllm.yaml:2: not YAML: '2024-02-30' is written like"),
        ("model: x\nmax_num_seqs: 0\n", "vllm.yaml:2: max_num_seqs: is 0; legal is 1 or more"),
        ("model: x\nmax_num_seqs: many\n", "vllm.yaml:2: max_num_seqs: expected a whole number, but got 'many'"),
        ("model: x\nmax_num_seqs: 1.5\n", "expected a whole number, but got 1.5"),
        ("model: x\nmax_num_seqs:\n", "vllm.yaml:2: max_num_seqs: has no value; give it one"),
        ("model: x\ngpu-memory-utilization: 85\n", "gpu-memory-utilization: is 85; legal is 0.01 to 1"),
        ("model: x\nenforce-eager: 1\n", "enforce-eager: expected true or false, but got 1"),
        ("model: x\ndtype: 16\n", "dtype: expected a name, but got 16"),
        ("model: x\nspeculative-config: 3\n", "speculative-config: expected a mapping, but got 3"),
        ("model: x\nspeculative-config: '{'\n", "speculative-config: is no JSON"),
        ("model: x\nmax-num-seqs: 4\nmax_num_seqs: 8\n", "vllm.yaml:3: max_num_seqs: is given in line 2 already"),
        (
            "model: x\nenable_prefix_caching: false\n",
            "vllm.yaml:2: enable_prefix_caching: `vllm serve --config` ignores `false`; "
            "write `no-enable-prefix-caching: true`",
        ),
        ("model: x\nno-enforce-eager: false\n", "no-enforce-eager: says nothing to vLLM with False"),
        ("model: x\nuds: /run/x\n", "vllm.yaml:2: uds: Paretune asks the server over TCP; take it out for the tuning"),
    ],
)
def test_a_file_that_cannot_be_used_is_named_with_its_line(text: str, message: str, make: Make) -> None:
    with pytest.raises(TargetError, match=re.escape(message)):
        make(text)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    options = VLLMOptions(config=Path("no.yaml"))
    with pytest.raises(TargetError, match=r"target\.config: no\.yaml: no such file; make it, or leave `config` out"):
        VLLMTarget(options, Context(tmp_path, tmp_path / "log.txt"))


# -- the export --


def test_an_export_changes_what_was_tuned_and_keeps_comments_and_order(make: Make) -> None:
    target = make()
    text = exported(target, max_num_seqs=128, max_num_batched_tokens=4096)
    expected = YAML.replace("max_num_seqs: 64 ", "max_num_seqs: 128 ").replace("2K", "4096")
    assert [line.split() for line in text.splitlines()] == [line.split() for line in expected.splitlines()]
    export = target.export({**USER, "max_num_seqs": 128})
    assert export.originals == {Path("vllm.yaml"): YAML}


def test_an_export_without_a_change_is_the_file_itself(make: Make) -> None:
    assert exported(make()) == YAML
    assert exported(make(), quantization="none") == YAML


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"max_num_seqs": 8}, {"max_num_seqs": 8}),
        ({"max_num_batched_tokens": 512}, {"max-num-batched-tokens": 512}),
        ({"max_model_len": 4096}, {"max-model-len": 4096}),
        ({"block_size": 32}, {"block-size": 32}),
        ({"gpu_memory_utilization": 0.9}, {"gpu-memory-utilization": 0.9}),
        ({"kv_cache_dtype": "fp8"}, {"kv-cache-dtype": "fp8"}),
        ({"dtype": "float16"}, {"dtype": "float16"}),
        ({"quantization": "fp8"}, {"quantization": "fp8"}),
        ({"enable_prefix_caching": False}, {"no-enable-prefix-caching": True}),
        ({"enable_chunked_prefill": False}, {"no-enable-chunked-prefill": True}),
        ({"long_prefill_token_threshold": 256}, {"long-prefill-token-threshold": 256}),
        ({"async_scheduling": False}, {"no-async-scheduling": True}),
        ({"enforce_eager": True}, {"enforce-eager": True}),
        ({"performance_mode": "throughput"}, {"performance-mode": "throughput"}),
        ({"tensor_parallel_size": 2}, {"tensor-parallel-size": 2}),
        ({"pipeline_parallel_size": 2}, {"pipeline-parallel-size": 2}),
        ({"speculative_config": "ngram"}, {"speculative-config": SPECULATIVE["ngram"]}),
    ],
)
def test_a_knob_becomes_a_line_that_is_read_again(
    change: dict[str, object], expected: dict[str, object], make: Make
) -> None:
    target = make(speculative=SPECULATIVE)
    text = exported(target, **change)
    before, after = yaml.safe_load(YAML), yaml.safe_load(text)
    assert {key: value for key, value in after.items() if before.get(key) != value} == expected
    assert make(text, speculative=SPECULATIVE).user_config() == {**target.user_config(), **change}


def test_every_knob_has_a_test_that_it_becomes_a_line() -> None:
    (mark,) = test_a_knob_becomes_a_line_that_is_read_again.pytestmark
    assert [next(iter(change)) for change, _ in mark.args[1]] == [knob.name for knob in VLLMTarget.all_knobs()]


def test_a_line_that_becomes_false_is_said_so_that_vllm_does_not_ignore_it(make: Make) -> None:
    lines = exported(make(), enable_prefix_caching=False).splitlines()
    place = next(number for number, line in enumerate(lines) if "prefix" in line)
    assert lines[place].split() == ["no-enable-prefix-caching:", "true", "#", "keep"]
    assert lines[place - 1] == "# caching helps our prompts"
    text = exported(make("model: x\nno-enforce-eager: true\nport: 1\n"), enforce_eager=True)
    assert text == "model: x\nenforce-eager: true\nport: 1\n"


def test_a_line_that_says_nothing_any_more_is_taken_out(make: Make) -> None:
    text = "model: x\nspeculative_config: {method: ngram, prompt_lookup_max: 4, num_speculative_tokens: 3}\nport: 1\n"
    assert exported(make(text, speculative=SPECULATIVE), speculative_config="off") == "model: x\nport: 1\n"
    assert exported(make("model: x\nquantization: fp8\n"), quantization="none") == "model: x\n"


def test_comments_at_the_end_and_between_the_lines_stay(make: Make) -> None:
    text = "# first\nmodel: x  # the model\n\n# about sequences\nmax-num-seqs: 4\n# the end\n"
    changed = exported(make(text), max_num_seqs=8, enforce_eager=True)
    assert yaml.safe_load(changed) == {"model": "x", "max-num-seqs": 8, "enforce-eager": True}
    assert re.findall("#.*", changed) == re.findall("#.*", text)


def test_quotes_and_lists_stay_as_they_are_written(make: Make) -> None:
    text = "model: 'org/llama'\nallowed-origins:\n- \"a\"\n- b\nmiddleware: [x,  y]\nmax-num-seqs: 4\n"
    assert exported(make(text), max_num_seqs=8) == text.replace("4", "8").replace("x,  y", "x, y")


def test_without_a_file_the_export_is_a_new_one(make: Make) -> None:
    target = make(None, model="org/llama", served_model_name="chat", args=["--seed", 3])
    export = target.export({"max_num_seqs": 32})
    assert export.originals == {}
    assert export.files == {
        Path("vllm.yaml"): "# vllm serve --config vllm.yaml --seed 3\n"
        "model: org/llama\nserved-model-name: chat\nmax-num-seqs: 32\n"
    }


def test_a_file_elsewhere_is_exported_by_its_name(make: Make, tmp_path: Path) -> None:
    (tmp_path / "other.yaml").write_text(YAML)
    target = make(None, config=str(tmp_path / "other.yaml"))
    assert list(target.export(USER).files) == [Path("other.yaml")]


# -- knobs --


def test_a_knob_that_changes_the_answers_says_so() -> None:
    assert [knob.name for knob in knobs.KNOBS if knob.changes_answers] == ["kv_cache_dtype", "dtype", "quantization"]


def test_the_users_own_choice_is_legal(make: Make) -> None:
    def choices(target: VLLMTarget, name: str) -> tuple[str, ...]:
        (knob,) = (knob for knob in target.knobs() if knob.name == name)
        return knob.choices

    target = make("model: x\nquantization: mxfp4\nmax-num-seqs: 4\n", speculative=SPECULATIVE)
    assert "mxfp4" in choices(target, "quantization")
    assert choices(target, "dtype") == next(knob.choices for knob in knobs.KNOBS if knob.name == "dtype")
    assert choices(target, "speculative_config") == ("off", "ngram")


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("max_num_seqs", 8, ""),
        ("quantization", "none", ""),
        ("enable_prefix_caching", False, ""),
        ("speculative_config", "ngram", ""),
        ("kv_cache_dtype", "fp4", "does not know `kv_cache_dtype` fp4; it knows auto, bfloat16, float16, fp8"),
        ("batch", 8, "has no knob `batch`; known: max_num_seqs"),
    ],
)
def test_what_a_version_does_not_know_is_refused(name: str, value: object, message: str) -> None:
    said = knobs.misfit(name, value, HELP)
    assert said.startswith(message) if message else said == ""


def test_an_option_that_a_version_does_not_have_is_refused() -> None:
    without = {name: option for name, option in HELP.items() if name not in ("performance-mode", "no-enforce-eager")}
    assert "has no --performance-mode" in knobs.misfit("performance_mode", "throughput", without)
    assert "has no --no-enforce-eager" in knobs.misfit("enforce_eager", False, without)
    assert knobs.misfit("enforce_eager", True, without) == ""


def test_a_key_that_a_version_does_not_know_is_named_with_file_and_line() -> None:
    config = parse("model: x\nmax-num-seqs: 4\nturbo_mode: true\n", Path("vllm.yaml"), {})
    with pytest.raises(TargetError, match=r"vllm\.yaml:3: turbo_mode: vLLM 9\.9 has no option --turbo-mode"):
        check_options(config, HELP, "9.9")
    check_options(parse("model: x\nno-enforce-eager: true\n", Path("vllm.yaml"), {}), HELP, "9.9")


def test_a_false_that_this_version_ignores_is_named() -> None:
    fine = parse("model: x\nenforce-eager: false\n", Path("vllm.yaml"), {})
    check_options(fine, HELP, "9.9")
    options = {**HELP, "thrift": vllm_help.Option(("--thrift", "--no-thrift"), (), "True")}
    with pytest.raises(TargetError, match="ignores `false`; write `no-thrift: true`"):
        check_options(parse("model: x\nthrift: false\n", Path("vllm.yaml"), {}), options, "9.9")


def test_a_name_that_the_study_does_not_give_is_refused(make: Make) -> None:
    with pytest.raises(ConfigRefused, match=r"'eagle' is none of target\.speculative: off, ngram"):
        exported(make(speculative=SPECULATIVE), speculative_config="eagle")


def test_every_knob_of_the_table_is_one_of_the_help() -> None:
    assert [knob.name for knob in knobs.KNOBS if knobs.key_of(knob.name) not in HELP] == []

    def listed(knob: Knob) -> set[str]:
        return set(knob.choices) - {knobs.NONE}

    for knob in knobs.KNOBS:
        option = HELP[knobs.key_of(knob.name)]
        if knob.type == "choice" and option.choices:
            assert listed(knob) <= set(option.choices), knob.name


def test_every_knob_and_metric_is_on_the_page_of_vllm() -> None:
    page = (Path(__file__).parents[2] / "docs" / "vllm.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| .* \| `([\w-]+)` \|", page, re.MULTILINE)
    assert rows == [(knob.name, knobs.key_of(knob.name)) for knob in knobs.KNOBS]
    metrics = page.partition("## Metrics")[2].partition("## ")[0]
    named = re.findall(r"^\| `(\w+)` \| ([\w/]*) ?\|", metrics, re.MULTILINE)
    assert named == [(metric.name, metric.unit) for metric in METRICS]


# -- the study --


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "give `model`, or a `config` that names it"),
        ({"model": "x", "port": 8000, "side_by_side": True}, "`side_by_side` needs a port for each deployment"),
        ({"model": "x", "args": "--seed 3"}, r"expected a list of arguments, like \[--seed, 3\], but got a text"),
        ({"model": "x", "speculation": {}}, "unknown key `speculation`; did you mean `speculative`"),
    ],
)
def test_options_that_do_not_fit_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        VLLMOptions.model_validate(options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"args": ["--max-num-seqs", "4"]}, "target.args: --max-num-seqs is a knob; write it into your `config`"),
        ({"args": ["--no_enable_prefix_caching"]}, "target.args: --no_enable_prefix_caching is a knob"),
        ({"args": ["-tp", "2"]}, "target.args: -tp is a knob"),
        ({"args": ["--speculative-config.method=ngram"]}, "is a knob"),
        ({"args": ["--port=8000"]}, "target.args: --port is given by Paretune; use the keys of `target`"),
        ({"args": ["--uds", "x"]}, "target.args: --uds: Paretune asks the server over TCP"),
        ({"args": ["--api-key", "x"]}, "target.args: --api-key: set VLLM_API_KEY in your environment instead"),
        ({"model": "other"}, "target.model: is 'other', but vllm.yaml:2: model: 'org/llama'; keep one of them"),
        ({"served_model_name": "x"}, "target.served_model_name: is 'x', but vllm.yaml:3: served-model-name: 'chat'"),
    ],
)
def test_a_study_that_contradicts_the_file_is_refused(options: dict[str, object], message: str, make: Make) -> None:
    with pytest.raises(TargetError, match=re.escape(message)):
        make(**options)


def test_a_file_without_a_model_needs_one_from_the_study(make: Make) -> None:
    with pytest.raises(TargetError, match=r"target\.model: is missing, and vllm\.yaml has no `model` either"):
        make("max-num-seqs: 4\n")
    make("max-num-seqs: 4\n", model="org/llama")


def test_a_server_that_is_no_executable_is_refused_with_what_to_do(make: Make) -> None:
    with pytest.raises(TargetError, match=r"target\.server: .*/nowhere is no executable file; install it with"):
        make(server="nowhere").start()


def test_a_program_that_is_no_vllm_is_refused_with_what_it_said(make: Make, tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_text("#!/bin/sh\necho broken >&2\nexit 3\n")
    program.chmod(0o755)
    with pytest.raises(TargetError, match="ended with exit code 3: broken"):
        make(server="program").start()
    program.write_text("#!/bin/sh\necho usage: program\n")
    program.chmod(0o755)
    with pytest.raises(TargetError, match="names no --max-num-seqs: is it vLLM"):
        make(server=str(program)).start()


def test_requests_are_prompts_within_the_models_tokens(make: Make, tmp_path: Path) -> None:
    (tmp_path / "llama").mkdir()
    (tmp_path / "llama" / "config.json").write_text('{"vocab_size": 100}')
    target = make(None, model="llama", endpoint="completions")
    target.check_requests(Prompts([[0, 99]], np.array([4]), ids=(0, 99)))
    with pytest.raises(
        TargetError, match="the model has the token ids 0 to 99, but the prompts have 5 to 100; give other ids"
    ):
        target.check_requests(Prompts([[5, 100]], np.array([4]), ids=(5, 100)))
    with pytest.raises(TargetError, match="takes prompts, not tensors"):
        target.check_requests(Dataset({"A": np.zeros((2, 2))}))
