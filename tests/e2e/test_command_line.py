"""The command line where no server is needed: every error is one message with its exit code."""

import errno
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
import typer
import yaml

from targets import registry
from tests.support.tune import tune
from tests.tuner.result_builders import result, trial
from tuner.cli import app, main
from tuner.cli.failures import code_of
from tuner.cli.frame import BAD_USAGE, COMMANDS, OUR_BUG, TARGET_UNUSABLE
from tuner.space import LOAD_NAMES

WriteStudy = Callable[..., Path]


def fails(cwd: Path, code: int, message: str, *arguments: object) -> None:
    ended = tune(*arguments, cwd=cwd)
    assert ended.returncode == code, ended.stderr
    assert re.search(message, ended.stderr), ended.stderr
    assert "Traceback" not in ended.stderr
    assert ended.stdout == ""


def test_a_new_connection_for_every_grpc_request_is_refused_with_its_line(
    small_study: WriteStudy, tmp_path: Path
) -> None:
    study = small_study()
    sections = yaml.safe_load(study.read_text())
    sections["target"]["protocol"] = "grpc"
    sections["workloads"]["bursty"]["keep_alive"] = False
    study.write_text(yaml.safe_dump(sections, sort_keys=False))
    message = r"study\.yaml:\d+: workloads\.bursty\.keep_alive: .* gRPC keeps its connections"
    fails(tmp_path, BAD_USAGE, message, study)


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"slo": {"p99": "10"}}, r"study\.yaml:\d+: slo\.p99: expected a duration with a unit, .* but got '10'"),
        ({"slo": {"p98": "10 ms"}}, r"study\.yaml:\d+: slo\.p98: unknown key `p98`; did you mean `p9"),
        ({"space": {"instances": [0, 1], "concurrency": 4}}, r"space\.instances\.0: 0 is out of the legal range, 1 to"),
        (
            {"space": {"max_batch": [1], "concurrency": 4}},
            r"space\.max_batch: no such knob; did you mean `max_batch_size`",
        ),
        ({"space": {"precision": ["int4"], "concurrency": 4}}, r"'int4' is no name of target\.variants \(fp32, int8\)"),
        ({"space": {"max_batch_size": [8]}}, r"'steady' is a closed loop: give `concurrency`"),
        ({"space": {"concurrency": 4, "rate": "5/s"}, "workloads": None}, r"study\.yaml:\d+: workloads"),
        ({"objectives": ["maximize joy"]}, r"study\.yaml:\d+: objectives\.0: expected `maximize"),
        ({"study": "no spaces"}, r"study\.yaml:1: study: "),
        (
            {"isolation": {"cores": {"server": "9998-9999", "generator": 0}}},
            r"study\.yaml:\d+: isolation\.cores\.server: this process may not use CPUs 9998-9999; it may use CPU",
        ),
    ],
)
def test_a_study_that_does_not_fit_points_at_its_line(
    sections: dict[str, object], message: str, small_study: WriteStudy, tmp_path: Path
) -> None:
    fails(tmp_path, BAD_USAGE, message, small_study(**sections))
    assert not list(tmp_path.glob("runs/*/*/study.db"))


@pytest.mark.parametrize(
    ("target", "code", "message"),
    [
        ({"repository": "nowhere"}, TARGET_UNUSABLE, r"target\.repository: .*nowhere is no directory"),
        ({"model": "digit"}, TARGET_UNUSABLE, r"target\.model: no model 'digit' in .*did you mean 'digits'"),
        (
            {"kind": "tritn"},
            BAD_USAGE,
            r"study\.yaml:\d+: target\.kind: no target of kind 'tritn'; did you mean 'triton'",
        ),
        ({"variants": {"fp32": {"max_batch": 3}}}, TARGET_UNUSABLE, r"target\.variants\.fp32: "),
        ({"server": "missing/tritonserver"}, TARGET_UNUSABLE, r"names .*missing/tritonserver, which is no executable"),
        ({"launch": "elsewhere"}, BAD_USAGE, r"study\.yaml:\d+: target\.launch: Input should be 'local', 'docker'"),
        ({"launch": "docker"}, BAD_USAGE, r"study\.yaml:\d+: target: `launch: docker` .* needs `docker`"),
    ],
)
def test_a_target_that_cannot_be_used_is_named(
    target: dict[str, object], code: int, message: str, small_study: WriteStudy, tmp_path: Path
) -> None:
    study = small_study()
    written = yaml.safe_load(study.read_text())
    written["target"] |= target
    study.write_text(yaml.safe_dump(written, sort_keys=False))
    fails(tmp_path, code, message, study)


def test_an_unparsable_config_is_named_with_its_line(small_study: WriteStudy, repository: Path, tmp_path: Path) -> None:
    (repository / "digits" / "config.pbtxt").write_text('name: "digits"\nmax_batch_sise: 8\n')
    fails(
        tmp_path, TARGET_UNUSABLE, r"config\.pbtxt:2: not a Triton model configuration: .*max_batch_sise", small_study()
    )


def test_a_missing_dataset_is_named_with_the_studys_line(small_study: WriteStudy, tmp_path: Path) -> None:
    study = small_study()
    (tmp_path / "test.npz").unlink()
    fails(tmp_path, BAD_USAGE, r"study\.yaml:\d+: workloads\.steady\.requests\.path: .*test\.npz: no such file", study)


def test_an_accuracy_bound_needs_labels(small_study: WriteStudy, tmp_path: Path) -> None:
    study = small_study()
    np.savez(tmp_path / "test.npz", IMAGE=np.load(tmp_path / "test.npz")["IMAGE"])
    fails(tmp_path, BAD_USAGE, r"slo\.accuracy_drop: no workload's requests have labels", study)


def test_a_study_that_is_not_there_is_named(tmp_path: Path) -> None:
    fails(tmp_path, BAD_USAGE, r"nothing\.yaml: cannot be read", "nothing.yaml")


def test_a_run_that_is_not_there_is_named(tmp_path: Path) -> None:
    for command in ("report", "export"):
        arguments = ["--diff"] if command == "export" else []
        fails(tmp_path, BAD_USAGE, r"runs/x/result\.json: No such file", command, "runs/x", *arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["study.yaml", "--ours", "instances=2"], r"space\.concurrency has 2 values; .*--set space\.concurrency=16"),
        (["study.yaml", "--ours", "instances=two"], r"space\.instances"),
        (["study.yaml", "--theirs", "speed=2"], r"space\.speed"),
        (["runs/x", "runs/y"], r"runs/x/result\.json: No such file"),
    ],
)
def test_a_comparison_that_cannot_be_made_says_why(
    arguments: list[str], message: str, small_study: WriteStudy, tmp_path: Path
) -> None:
    small_study()
    fails(tmp_path, BAD_USAGE, message, "compare", *arguments)


def test_one_run_alone_cannot_be_compared(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    fails(tmp_path, BAD_USAGE, r"^tune: run is a run: give another one to compare it with\n$", "compare", "run")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["init", "triton", "--model", "resnet50"], "--model goes with FOLDER, --url or --from-model-analyzer"),
        (["init", "digits", "--model", "resnet50"], "the starter digits is written as it is"),
        (["init", "models", "--api-key-env", "KEY"], "--api-key-env goes with --url"),
        (["compare", "run", "run", "--ours", "instances=2"], "--ours goes with STUDY.yaml"),
        (["compare", "run", "run", "--theirs", "instances=2"], "--theirs goes with STUDY.yaml"),
        (["compare", "run", "run", "--set", "space.instances=2"], "--set goes with STUDY.yaml"),
        (["compare", "run", "run", "--agents", "1"], "--agents is about a load"),
        (["knobs", "triton", "--repository", "models"], "--repository goes with --model NAME"),
        (["knobs", "triton", "--study", "study.yaml", "--model", "m"], "give one of --study and --model"),
        (["export", "run", "--diff", "--as", "command"], "--diff and --as both print on stdout"),
    ],
)
def test_an_option_that_would_be_ignored_is_refused_with_what_it_goes_with(
    arguments: list[str], message: str, tmp_path: Path
) -> None:
    ended = tune(*arguments, cwd=tmp_path, PARETUNE_TOKEN="0" * 64)
    assert ended.returncode == BAD_USAGE
    (said,) = ended.stderr.splitlines()
    assert said.startswith("tune: ")
    assert message in said
    assert ended.stdout == ""
    assert not list(tmp_path.iterdir()), "nothing was written"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("bnch", "tune: no such command 'bnch'. Did you mean 'bench'? see tune --help"),
        ("run", "tune: missing argument 'STUDY.yaml'; see tune run --help"),
        ("run study.yaml --trails 5", "tune: no such option: --trails .*; see tune run --help"),
        ("run study.yaml --trials", "tune: option '--trials' requires an argument; see tune COMMAND --help"),
        ("run study.yaml --trials 0", "tune: invalid value for '--trials': .*; see tune run --help"),
        ("worker study.yaml --lease 5", "tune: invalid value for '--lease': expected a duration .*; see tune worker"),
        ("gate", "tune: give a study, or two with --ab OLD.yaml NEW.yaml"),
        ("gate accept", "tune: missing argument .*; see tune gate accept --help"),
        (
            "--quiet bench study.yaml",
            "tune: no such option: --quiet; what a command takes stands behind its name: tune",
        ),
        ("--quiet", "tune: no such option: --quiet; what a command takes stands behind its name: tune COMMAND --help"),
        ("--trials 5 nothing.yaml", "tune: nothing.yaml: cannot be read"),
    ],
)
def test_a_command_line_that_cannot_be_taken_is_one_line_with_the_remedy(
    line: str, message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["tune", *line.split()])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == BAD_USAGE
    printed = capsys.readouterr()
    (said,) = printed.err.splitlines()
    assert re.match(message.replace("?", r"\?"), said), said
    assert printed.out == ""


@pytest.mark.parametrize(
    "line", ["--quiet study.yaml", "--trials 5 -q study.yaml", "-q --out runs/x study.yml --seed 1"]
)
def test_options_of_a_run_may_stand_before_its_study(line: str) -> None:
    group: Any = typer.main.get_command(app)
    root = group.make_context("tune", line.split())
    name, command, rest = group.resolve_command(root, [*root._protected_args, *root.args])
    parsed = command.make_context(name, rest, parent=root)
    assert name == "run"
    assert parsed.params["quiet"] is True
    assert parsed.params["study"].stem == "study"


def test_a_run_on_cpus_that_are_not_here_is_exported_all_the_same(small_study: WriteStudy, tmp_path: Path) -> None:
    study = small_study(isolation={"cores": {"server": "9998-9999", "generator": 0}})
    stored = result(trial(1, config={"max_batch_size": 4}))
    told = stored.study.model_copy(update={"path": str(study), "text": study.read_text()})
    (tmp_path / "result.json").write_text(stored.model_copy(update={"study": told}).model_dump_json(by_alias=True))
    ended = tune("export", ".", "--trial", 1, "--diff", cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert "+max_batch_size: 4" in ended.stdout


def test_a_directory_with_other_things_in_it_is_not_taken_for_a_run(small_study: WriteStudy, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "letter.txt").write_text("dear")
    fails(tmp_path, BAD_USAGE, "--out out: exists and is no run of Paretune", small_study(), "--out", "out")
    assert (tmp_path / "out" / "letter.txt").read_text() == "dear"


def test_an_override_that_is_wrong_names_the_option(small_study: WriteStudy, tmp_path: Path) -> None:
    fails(tmp_path, BAD_USAGE, r"--set slo\.p99: .*expected a duration", small_study(), "--set", "slo.p99=fast")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--time", "5"], "tune: --time: expected a duration with a unit"),
        (["--time", "5 min", "--set", "search.budget.trials=none"], "tune: --set search.budget.trials: "),
        (["--trials", "3", "--set", "search.budget=3"], "tune: --trials: `budget` (line "),
    ],
)
def test_an_option_for_a_key_is_named_as_it_was_given(
    arguments: list[str], message: str, small_study: WriteStudy, tmp_path: Path
) -> None:
    ended = tune(small_study(), *arguments, cwd=tmp_path)
    assert (ended.returncode, ended.stdout) == (BAD_USAGE, "")
    assert ended.stderr.startswith(message)


def test_knobs_of_a_kind_that_there_is_none_of_are_bad_usage(tmp_path: Path) -> None:
    fails(tmp_path, BAD_USAGE, "no target of kind 'tritn'; did you mean 'triton'", "knobs", "tritn")


def test_the_schema_of_studies_accepts_the_example(tmp_path: Path) -> None:
    schema = json.loads(tune("schema", cwd=tmp_path).stdout)
    study = yaml.safe_load((Path(__file__).parents[2] / "studies" / "digits.yaml").read_text())
    jsonschema.validate(study, schema)
    study["slo"]["p99"] = 10
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(study, schema)


def test_init_writes_a_study_and_never_over_one(tmp_path: Path) -> None:
    assert tune("init", cwd=tmp_path).returncode == 0
    written = (tmp_path / "study.yaml").read_text()
    assert "space:" in written
    fails(tmp_path, BAD_USAGE, r"study\.yaml is there already", "init")
    assert (tmp_path / "study.yaml").read_text() == written


def test_init_digits_brings_the_model_and_its_data(tmp_path: Path) -> None:
    assert tune("init", "digits", "--to", "here", cwd=tmp_path).returncode == 0
    assert (tmp_path / "here/digits/models/digits/1/model.int8.onnx").stat().st_size > 10_000
    assert (tmp_path / "here/digits/test.npz").is_file()


def test_knobs_lists_what_can_be_tuned(tmp_path: Path) -> None:
    rows = json.loads(tune("knobs", "triton", "--json", cwd=tmp_path).stdout)
    assert [row["knob"] for row in rows] == [*(knob.name for knob in registry.knobs("triton")), *LOAD_NAMES]
    assert all(row["what"] for row in rows)
    numbers = {"unit", "default", "low", "high", "choices", "server", "too_old"}
    assert all(set(row) == {"knob", "type", "legal", "applied", "since", "rule", "what"} | numbers for row in rows)
    found = {row["knob"]: {key: row[key] for key in ("type", *numbers)} for row in rows}
    assert found["tensorrt_workspace"] == {
        "type": "int", "unit": "bytes", "default": 2**30, "low": 1, "high": 2**63 - 1, "choices": [],
        "server": None, "too_old": None,
    }  # fmt: skip
    assert found["max_queue_delay"].items() >= {"unit": "s", "default": 0.0, "low": 0, "high": None}.items()
    assert found["timeout_action"].items() >= {"default": "reject", "choices": ["reject", "delay"]}.items()
    assert found["preserve_ordering"].items() >= {"default": False, "choices": [True, False]}.items()
    assert [name for name, row in zip(found, rows, strict=True) if not row["since"]] == ["precision", *LOAD_NAMES]


def test_knobs_of_a_study_are_those_of_its_own_server(small_study: WriteStudy, tmp_path: Path) -> None:
    target = {"kind": "triton", "model": "digits", "repository": "models", "flags": {"http-thread-count": 3}}
    variants = {"ours": {"parameters": {"model_file": "model.onnx"}}}
    study = small_study(target={**target, "variants": variants}, space={"concurrency": 4})
    ended = tune("knobs", "triton", "--study", study, "--json", cwd=tmp_path)
    found = {row["knob"]: row for row in json.loads(ended.stdout)}
    assert found["http_thread_count"]["now"] == "3"
    assert found["precision"]["choices"] == ["ours"]
    assert "not here: " in found["tensorrt_workspace"]["legal"]
    version = found["max_batch_size"]["server"]
    assert re.fullmatch(r"2\.\d+\.\d+", version)
    assert f"compared with that of the server, {version}" in ended.stderr
    assert (found["warmup_count"]["since"], found["warmup_count"]["too_old"]) == ("2.24", False)
    assert found["max_batch_size"]["too_old"] is None, "it may be older than what was looked at"
    fails(tmp_path, BAD_USAGE, r"study\.yaml:\d+: target\.kind: is triton", "knobs", "simulated", "--study", study)


def test_doctor_finds_a_tritonserver_here(tmp_path: Path) -> None:
    ended = tune("doctor", cwd=tmp_path)
    assert ended.returncode == 0
    assert re.search(r"target triton\s+yes", ended.stdout)


def test_no_arguments_lead_on(tmp_path: Path) -> None:
    ended = tune(cwd=tmp_path)
    assert (ended.returncode, ended.stderr) == (0, "")
    lines = ended.stdout.splitlines()
    assert [line.split("  ")[0] for line in lines] == ["tune init", "tune STUDY.yaml", "tune doctor"]
    assert "tune --help" in lines[-1]


def test_the_help_fits_a_terminal_and_lists_every_command(tmp_path: Path) -> None:
    lines = tune("--help", cwd=tmp_path, COLUMNS="80").stdout.splitlines()
    assert max(map(len, lines)) <= 80
    listed = [found[1] for line in lines if (found := re.match(r"│ ([a-z]+) +[A-Z]", line))]
    assert listed == list(COMMANDS)


def test_the_help_imports_nothing_heavy(tmp_path: Path) -> None:
    code = (
        "import sys; sys.argv = ['tune', '--help']\nfrom tuner.cli import main\ntry: main()\nexcept SystemExit: pass\n"
    )
    heavy = (
        "print([one for one in ('numpy', 'scipy', 'optuna', 'sqlalchemy', 'plotly', 'pydantic') if one in sys.modules])"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code + heavy], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert ended.stdout.splitlines()[-1] == "[]"


def test_what_writes_reports_imports_neither_plotly_nor_optuna(tmp_path: Path) -> None:
    """They take long to import, and only images and the dashboard need them."""
    heavy = "[one for one in ('plotly', 'optuna', 'sqlalchemy') if one in sys.modules]"
    drawn = "from reports.charts import plot; print(len(plot.library()) > 1e6, 'plotly.graph_objects' in sys.modules)"
    code = f"import sys, tuner.cli.looking; print({heavy}); {drawn}"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert ended.stdout.splitlines() == ["[]", "True False"]


def test_a_command_of_the_help_is_defined_in_the_module_that_it_names() -> None:
    group: Any = typer.main.get_command(app)
    for name, command in group.loaded().items():
        assert command.callback.__module__ == f"tuner.cli.{COMMANDS[name].module}"


def test_a_mistyped_command_is_no_study(tmp_path: Path) -> None:
    fails(tmp_path, BAD_USAGE, "Did you mean 'bench'", "bnch")


BROKEN = "import tuner.starters; tuner.starters.STARTERS['triton'] = None; from tuner.cli import main; main()"


@pytest.mark.parametrize(
    ("arguments", "environment", "shown"),
    [
        ([], {}, False),
        (["--debug"], {}, True),
        ([], {"PARETUNE_DEBUG": "1"}, True),
        ([], {"PARETUNE_DEBUG": "0"}, False),
    ],
)
def test_a_bug_is_one_line_unless_its_traceback_is_asked_for(
    arguments: list[str], environment: dict[str, str], shown: bool, tmp_path: Path
) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", BROKEN, "init", "triton", *arguments],
        cwd=tmp_path,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == OUR_BUG
    last = ended.stderr.splitlines()[-1]
    assert re.match(r"tune: AttributeError: .*; this is a bug of Paretune .*: please report it", last)
    assert ("Traceback" in ended.stderr) == shown
    assert ("--debug" in last) != shown
    assert shown or len(ended.stderr.splitlines()) == 1


def test_an_error_of_the_user_shows_its_traceback_only_with_debug(tmp_path: Path) -> None:
    fails(tmp_path, BAD_USAGE, r"nothing\.yaml: cannot be read", "nothing.yaml")
    ended = tune("nothing.yaml", "--debug", cwd=tmp_path)
    assert ended.returncode == BAD_USAGE
    assert "Traceback" in ended.stderr
    assert ended.stderr.splitlines()[-1].startswith("tune: ")


def test_the_shell_completes_commands_and_options(tmp_path: Path) -> None:
    for line, wanted in (("tune be", "bench"), ("tune bench --js", "--json")):
        words = {"COMP_WORDS": line, "COMP_CWORD": str(line.count(" "))}
        found = tune(cwd=tmp_path, _TUNE_COMPLETE="complete_bash", **words)
        assert wanted in found.stdout.split()


MISSING = "import sys; sys.modules[{module!r}] = None; from tuner.cli import main; main()"


@pytest.mark.parametrize(
    ("module", "arguments", "extra"),
    [("pyarrow", ["report", ".", "--parquet", "x"], "parquet"), ("optuna_dashboard", ["ui", "."], "ui")],
)
def test_a_missing_extra_is_named(module: str, arguments: list[str], extra: str, tmp_path: Path) -> None:
    (tmp_path / "result.json").write_text(result(trial(0), trial(1)).model_dump_json(by_alias=True))
    code = MISSING.format(module=module)
    ended = subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert ended.returncode == BAD_USAGE
    assert f"pip install 'paretune[{extra}]'" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "result.json").write_text(result(trial(0), trial(1)).model_dump_json(by_alias=True))
    (tmp_path / "file").write_text("")
    ended = tune("report", ".", "--markdown", "file/summary.md", cwd=tmp_path)
    assert ended.returncode == BAD_USAGE
    assert "file/summary.md: cannot be written" in ended.stderr


def test_files_that_cannot_be_used_are_no_bugs(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    remedy = "a file stands where a folder is needed: name another folder"
    fails(tmp_path, BAD_USAGE, rf"file/\S*: Not a directory; {remedy}", "init", "digits", "--to", "file/here")
    fails(tmp_path, BAD_USAGE, rf"file: (Not a directory|File exists); {remedy}", "init", "--to", "file")


@pytest.mark.parametrize(
    ("number", "file", "said"),
    [
        (errno.EACCES, "a.csv", "a.csv: Permission denied; you may not do that there: have the permissions changed"),
        (errno.EISDIR, "a.csv", "a.csv: Is a directory; a folder stands where a file is needed: name another file"),
        (errno.ENOENT, "a.csv", "a.csv: No such file or directory; there is nothing: check how its path is written"),
        (errno.ENOSPC, "a.csv", "a.csv: No space left on device; make room, or name another place"),
        (errno.ENOSPC, None, "No space left on device; make room, or name another place"),
        (errno.EROFS, None, "Read-only file system; nothing can be written there: name another place"),
        (errno.ELOOP, "a.csv", "a.csv: Too many levels of symbolic links; --debug shows what it was wanted for"),
    ],
)
def test_an_error_of_the_system_has_the_remedy_for_its_kind(number: int, file: str | None, said: str) -> None:
    code, told = code_of(OSError(number, os.strerror(number), file))
    assert code == BAD_USAGE
    assert told.startswith(said)


def test_an_error_of_the_system_that_is_about_no_file_is_a_bug() -> None:
    assert code_of(OSError(errno.EPERM, os.strerror(errno.EPERM)))[0] is None


def test_what_is_not_there_cannot_be_shown_or_opened(tmp_path: Path) -> None:
    for command in ("show", "open", "ui"):
        fails(tmp_path, BAD_USAGE, r"runs/x/result\.json: No such file", command, "runs/x")
    (tmp_path / "result.json").write_text(result(trial(0)).model_dump_json(by_alias=True))
    fails(tmp_path, BAD_USAGE, r"--trial 7: no such trial; there are 0", "show", ".", "--trial", 7)
    fails(tmp_path, BAD_USAGE, r"report\.html is not there yet; `tune report \.` writes it", "open", ".")
