"""llama.cpp on the level of files and arguments: the environment file, its knobs, the study's own keys."""

import subprocess
from pathlib import Path

import pytest
from pydantic import ValidationError

from targets.base import Context, TargetError, Value
from targets.llamacpp import config, knobs
from targets.llamacpp.config import EnvFile
from targets.llamacpp.options import LlamaCppOptions
from targets.llamacpp.target import LlamaCppTarget

PATH = Path("llama.env")
OWN = """\
# Ours since spring.
export LLAMA_ARG_N_PARALLEL=4   # four people

LLAMA_ARG_CTX_SIZE="8192"
LLAMA_ARG_NO_CONT_BATCHING=1
LLAMA_ARG_FLASH_ATTN=enabled
LLAMA_ARG_N_GPU_LAYERS=auto
LLAMA_ARG_ALIAS='a llama'
CUDA_VISIBLE_DEVICES=0,1
"""
OWN_VALUES = {"parallel": 4, "ctx_size": 8192, "cont_batching": False, "flash_attn": "on"}


def parse(text: str) -> EnvFile:
    return config.parse(text, PATH)


def target(folder: Path, **options: object) -> LlamaCppTarget:
    (folder / "model.gguf").touch()
    made = LlamaCppOptions.model_validate({"model": "model.gguf"} | options)
    return LlamaCppTarget(made, Context(folder, folder / "log.txt"))


def sourced(text: str, folder: Path) -> dict[str, str]:
    """Return the variables that a shell reads from a file, as docs/llamacpp.md starts the server."""
    (folder / "sourced.env").write_text(text)
    command = ["/bin/sh", "-c", "set -a; . ./sourced.env; exec env -0"]
    ended = subprocess.run(command, cwd=folder, env={}, capture_output=True, check=True)
    said = dict(one.split("=", 1) for one in ended.stdout.decode().split("\0") if one)
    return {name: value for name, value in said.items() if name != "PWD"}


# -- reading --


def test_the_users_file_is_read_as_a_shell_reads_it(tmp_path: Path) -> None:
    file = parse(OWN)
    assert file.said == sourced(OWN, tmp_path)
    assert file.said["LLAMA_ARG_ALIAS"] == "a llama"
    assert file.values == OWN_VALUES


@pytest.mark.parametrize(
    "line",
    ["A=b", "A=", "A='b c'd", 'A="b c"', "A=b#c", "A=#c", "A=b # c", "A='' # c", "  A=b  ", "A=b=c", "A=b,c:d/e*?[]{}"],
)
def test_a_line_is_read_as_a_shell_reads_it(line: str, tmp_path: Path) -> None:
    assert parse(line).said == sourced(line, tmp_path)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("LLAMA_ARG_BATCH", r"^llama\.env:2: expected NAME=VALUE, but got 'LLAMA_ARG_BATCH'$"),
        ("LLAMA_ARG_BATCH = 4", r"^llama\.env:2: expected NAME=VALUE"),
        ("LLAMA_ARG_BATCH= 4", r"^llama\.env:2: LLAMA_ARG_BATCH: a shell would change '4'; write the value itself"),
        ("LLAMA_ARG_MODEL=$HOME/model.gguf", r"LLAMA_ARG_MODEL: a shell would change '\$HOME/model\.gguf'"),
        ("LLAMA_ARG_MODEL=~/model.gguf", r"LLAMA_ARG_MODEL: a shell would change '~/model\.gguf'"),
        ("LLAMA_ARG_ALIAS=a llama", r"a shell would change 'a llama'; .* in single quotes where it has spaces"),
        ("LLAMA_ARG_ALIAS=`date`", r"a shell would change '`date`'"),
        ("LLAMA_ARG_ALIAS='a", r"a shell would change \"'a\""),
        ("A=b; rm", r"llama\.env:2: A: a shell would change 'b; rm'"),
        ("LLAMA_ARG_N_PARALLEL=2", r"^llama\.env:2: LLAMA_ARG_N_PARALLEL: is given in line 1 already; keep one"),
        ("LLAMA_ARG_BATCH=x", r"^llama\.env:2: LLAMA_ARG_BATCH: expected a whole number, but got 'x'$"),
        ("LLAMA_ARG_BATCH=0", r"^llama\.env:2: LLAMA_ARG_BATCH: is 0; legal is 1 or more$"),
        ("LLAMA_ARG_UBATCH=-2", r"^llama\.env:2: LLAMA_ARG_UBATCH: is -2; legal is 1 or more, or 0$"),
        ("LLAMA_ARG_REPACK=yes", r"^llama\.env:2: LLAMA_ARG_REPACK: expected true or false, but got 'yes'$"),
        ("LLAMA_ARG_SSL_KEY_FILE=key.pem", r"^llama\.env:2: LLAMA_ARG_SSL_KEY_FILE: .* in the clear.*; take it out"),
        ("LLAMA_ARG_MODELS_DIR=models", r"^llama\.env:2: LLAMA_ARG_MODELS_DIR: a router starts servers of its own"),
    ],
)
def test_a_line_that_cannot_be_used_is_named(line: str, message: str) -> None:
    with pytest.raises(TargetError, match=message):
        parse(f"LLAMA_ARG_N_PARALLEL=4\n{line}\n")


def test_a_setting_and_its_opposite_contradict_each_other() -> None:
    with pytest.raises(TargetError, match=r"llama\.env:2: LLAMA_ARG_NO_REPACK: wins over LLAMA_ARG_REPACK; keep one"):
        parse("LLAMA_ARG_REPACK=1\nLLAMA_ARG_NO_REPACK=0\n")


@pytest.mark.parametrize(
    ("name", "given", "value"),
    [
        ("parallel", "-1", None),
        ("parallel", "8", 8),
        ("n_gpu_layers", "all", None),
        ("n_gpu_layers", "0", 0),
        ("ctx_size", "0", None),
        ("cache_ram", "-1", -1),
        ("flash_attn", "1", "on"),
        ("flash_attn", "off", "off"),
        ("flash_attn", "-1", "auto"),
        ("cache_type_k", "q8_0", "q8_0"),
        ("cont_batching", "enabled", True),
        ("cont_batching", "0", False),
    ],
)
def test_a_value_of_the_environment_is_a_knobs_value(name: str, given: str, value: Value | None) -> None:
    assert knobs.read(name, given) == value


def test_a_choice_of_the_users_file_is_a_choice_of_the_knob(tmp_path: Path) -> None:
    (tmp_path / "llama.env").write_text("LLAMA_ARG_CACHE_TYPE_K=tq1_0\n")
    made = target(tmp_path, config="llama.env")
    (knob,) = (one for one in made.knobs() if one.name == "cache_type_k")
    assert knob.choices[-1] == "tq1_0"


# -- writing --


def test_an_export_changes_what_was_tuned_and_nothing_else(tmp_path: Path) -> None:
    wanted = {**OWN_VALUES, "parallel": 16, "ctx_size": 4096, "cont_batching": True, "cache_type_k": "q8_0"}
    again = config.rewrite(parse(OWN), wanted)
    assert again == (
        OWN.replace("N_PARALLEL=4", "N_PARALLEL=16")
        .replace('"8192"', "4096")
        .replace("LLAMA_ARG_NO_CONT_BATCHING=1", "LLAMA_ARG_CONT_BATCHING=true")
        + "LLAMA_ARG_CACHE_TYPE_K=q8_0\n"
    )
    assert parse(again).values == wanted
    assert parse(again).said == sourced(again, tmp_path)


def test_an_export_of_the_users_own_values_is_the_users_own_file() -> None:
    assert config.rewrite(parse(OWN), OWN_VALUES) == OWN


def test_a_value_that_was_left_to_the_server_is_changed_where_it_stands() -> None:
    file = parse("LLAMA_ARG_N_GPU_LAYERS=auto # all of them fit\nLLAMA_ARG_BATCH=64")
    again = config.rewrite(file, {"n_gpu_layers": 12, "batch_size": 64, "repack": False})
    assert again == "LLAMA_ARG_N_GPU_LAYERS=12 # all of them fit\nLLAMA_ARG_BATCH=64\nLLAMA_ARG_REPACK=false\n"


def test_line_ends_stay_as_they_are() -> None:
    file = parse("LLAMA_ARG_BATCH=64\r\nLLAMA_ARG_UBATCH=32\r\n")
    assert config.rewrite(file, {"batch_size": 128}) == "LLAMA_ARG_BATCH=128\r\nLLAMA_ARG_UBATCH=32\r\n"


def test_without_a_file_there_is_one_with_the_model(tmp_path: Path) -> None:
    (tmp_path / "my model.gguf").touch()
    made = target(tmp_path, model="my model.gguf", args=["--no-ui"])
    export = made.export({"parallel": 8})
    assert export.originals == {}
    assert export.files == {
        PATH: "# set -a; . ./llama.env; llama-server --no-ui\nLLAMA_ARG_MODEL='my model.gguf'\nLLAMA_ARG_N_PARALLEL=8\n"
    }
    assert sourced(export.files[PATH], tmp_path)["LLAMA_ARG_MODEL"] == "my model.gguf"
    assert made.user_config() == {}


def test_an_export_keeps_its_path_inside_the_study(tmp_path: Path) -> None:
    (tmp_path / "deploy").mkdir()
    (tmp_path / "deploy" / "prod.env").write_text("LLAMA_ARG_BATCH=64\n")
    study = tmp_path / "study"
    study.mkdir()
    assert list(target(tmp_path, config="deploy/prod.env").export({}).files) == [Path("deploy/prod.env")]
    assert list(target(study, config="../deploy/prod.env").export({}).files) == [Path("prod.env")]


# -- the study's own keys --


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"args": ["-np", "4"]}, r"target\.args: -np is a knob; write LLAMA_ARG_N_PARALLEL into your `config` instead"),
        ({"args": ["--cache_type_k", "q8_0"]}, r"target\.args: --cache_type_k is a knob; write LLAMA_ARG_CACHE_TYPE_K"),
        ({"args": ["--no-repack"]}, r"target\.args: --no-repack is a knob; write LLAMA_ARG_REPACK"),
        ({"args": ["--port", 80]}, r"target\.args: --port is given by Paretune"),
        ({"args": ["-m", "x.gguf"]}, r"target\.args: -m: name the model with `target\.model`"),
        ({"args": ["--api-key", "x"]}, r"target\.args: --api-key: set LLAMA_API_KEY in your environment instead"),
        ({"args": ["--embeddings"]}, r"target\.args: --embeddings: Paretune asks for completions"),
        ({"env": {"LLAMA_ARG_BATCH": 4}}, r"target\.env: LLAMA_ARG_BATCH: write it into your `config` instead"),
        ({"env": {"LLAMA_API_KEY": "x"}}, r"target\.env: LLAMA_API_KEY: set it in your environment instead"),
        ({"config": "none.env"}, r"target\.config: none\.env: no such file"),
        ({"model": "none.gguf"}, r"target\.model: none\.gguf: no such file; name the \.gguf file"),
    ],
)
def test_a_study_that_cannot_be_used_is_told_why(options: dict[str, object], message: str, tmp_path: Path) -> None:
    with pytest.raises(TargetError, match=message):
        target(tmp_path, **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "give `model`, or a `config` that names it"),
        ({"model": "m", "side_by_side": True, "port": 80}, "`side_by_side` needs a port for each deployment"),
        ({"model": "m", "args": "--no-ui"}, r"expected a list of arguments, like \[--no-ui\], but got a text"),
        ({"model": "m", "parallel": 2}, "unknown key `parallel`"),
    ],
)
def test_options_that_do_not_fit_together_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        LlamaCppOptions.model_validate(options)


def test_the_model_of_the_file_has_to_be_there_too(tmp_path: Path) -> None:
    (tmp_path / "llama.env").write_text("# ours\nLLAMA_ARG_MODEL=other.gguf\n")
    with pytest.raises(TargetError, match=r"^llama\.env:2: LLAMA_ARG_MODEL: other\.gguf: no such file"):
        target(tmp_path, model=None, config="llama.env")


def test_a_file_without_a_model_needs_one_of_the_study(tmp_path: Path) -> None:
    (tmp_path / "llama.env").write_text("LLAMA_ARG_BATCH=64\n")
    with pytest.raises(TargetError, match=r"target\.model: is missing, and llama\.env has no LLAMA_ARG_MODEL either"):
        target(tmp_path, model=None, config="llama.env")


def test_what_the_study_reads_is_what_it_names(tmp_path: Path) -> None:
    made = LlamaCppOptions(model="model.gguf", config=Path("llama.env"))
    assert list(made.files()) == [Path("llama.env"), Path("model.gguf")]
    assert {metric.name for metric in made.metrics()} == {metric.name for metric in target(tmp_path).metrics()}
