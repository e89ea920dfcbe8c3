"""`tune gate` as a user and as CI run it, on simulated servers that take as long as they say."""

import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

from tests.support.junit import violations
from tests.support.nvml import compiled, loading, script
from tests.support.simulated_study import slow_down, write_gated_study
from tests.support.tune import tune
from tuner.cli import app
from tuner.gate.baseline import read_gate, read_measurement
from tuner.gate.document import GateResult
from tuner.gate.running import compare

pytestmark = pytest.mark.long

ROOT = Path(__file__).parent.parent.parent


def git(folder: Path, *arguments: str) -> str:
    who = ["-c", "user.name=ada", "-c", "user.email=ada@example.org", "-c", "commit.gpgsign=false"]
    ended = subprocess.run(["git", "-C", str(folder), *who, *arguments], check=True, capture_output=True, text=True)
    return ended.stdout


@pytest.fixture
def repository_of_study(tmp_path: Path) -> Path:
    """A repository whose latest commit makes the server four times as slow."""
    write_gated_study(tmp_path)
    git(tmp_path, "init", "-q")
    for message in ("as it was", "slower"):
        git(tmp_path, "add", ".")
        git(tmp_path, "commit", "-qm", message)
        slow_down(tmp_path)
    return tmp_path


def states(result: GateResult) -> dict[str, str]:
    return {one.rule: one.state for one in result.rules if one.kind != "slo"}


def action(inputs: dict[str, str], folder: Path) -> "subprocess.CompletedProcess[str]":
    """Run the steps of the composite action as a runner does: inputs as text, conditions, outputs in files.

    No step comes after one that failed.
    """
    spec = yaml.safe_load((ROOT / "action.yml").read_text())
    values = {name: one.get("default", "") for name, one in spec["inputs"].items()} | inputs
    (install, gate) = spec["runs"]["steps"]
    assert install["if"] == "inputs.install != ''"
    if values["install"] and (installed := step(install, values, folder)).returncode:
        return installed
    return step(gate, values, folder)


def step(spec: dict[str, Any], values: dict[str, str], folder: Path) -> "subprocess.CompletedProcess[str]":
    """Run one of them. Of its Python, pip only notes what it is to install."""
    environment = {name: text.replace("${{ inputs.", "").replace(" }}", "") for name, text in spec["env"].items()}
    python = folder / "python" / "python"
    python.parent.mkdir(exist_ok=True)
    noted = f'echo "$@" >> "{folder}/pip.txt"; exit ${{PIP_ENDS:-0}}'
    python.write_text(f'#!/bin/sh\nif [ "$1 $2" = "-m pip" ]; then {noted}; fi\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    path = os.pathsep.join([str(folder / "bin"), str(python.parent), os.environ["PATH"]])
    return subprocess.run(
        ["bash", "-e", "-o", "pipefail", "-c", spec["run"]],
        cwd=folder,
        env={
            **os.environ,
            **{name: values[of] for name, of in environment.items()},
            "PATH": path,
            "GITHUB_ACTION_PATH": str(ROOT),
            "GITHUB_OUTPUT": str(folder / "output"),
            "GITHUB_STEP_SUMMARY": str(folder / "summary"),
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


@pytest.fixture
def tune_on_path(tmp_path: Path) -> None:
    """A `tune` of these sources, whatever is installed."""
    (tmp_path / "bin").mkdir()
    script = tmp_path / "bin" / "tune"
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m tuner "$@"\n')
    script.chmod(0o755)


@pytest.mark.usefixtures("tune_on_path")
def test_the_action_fails_a_commit_that_makes_the_server_slower(repository_of_study: Path) -> None:
    study = repository_of_study / "study.yaml"
    study.write_text(f"{study.read_text()}# not committed\n")
    ended = action({"study": "study.yaml", "old": "HEAD~1", "arguments": "--quiet"}, repository_of_study)
    assert ended.returncode == 1, ended.stderr
    output = dict(line.split("=", 1) for line in (repository_of_study / "output").read_text().splitlines())
    assert output["verdict"] == "fail"
    summary = (repository_of_study / "summary").read_text()
    assert "FAIL: a regression" in summary
    assert "HEAD is what is checked out here, but for the changes that are not committed" in summary
    run = repository_of_study / output["run"]
    assert states(read_gate(run)) == {"throughput": "fail", "p50": "fail"}
    assert violations((run / "junit.xml").read_text()) == []
    assert len(git(repository_of_study, "worktree", "list").splitlines()) == 1
    result = read_gate(run)
    assert result.old is not None
    for side, revision in ((result.old, "HEAD~1"), (result.new, "HEAD")):
        commit = git(repository_of_study, "rev-parse", revision).strip()
        assert (side.label, side.environment["commit"]) == (f"{revision} ({commit[:12]})", commit)
        assert side.label in summary


@pytest.mark.usefixtures("tune_on_path")
def test_the_action_ends_as_the_gate_does_where_nothing_was_measured(tmp_path: Path) -> None:
    ended = action({"study": "missing.yaml", "alone": "true"}, tmp_path)
    assert ended.returncode == 2
    assert "missing.yaml: cannot be read" in ended.stderr
    assert "ended with exit code 2 before anything was begun" in (tmp_path / "summary").read_text()


@pytest.mark.usefixtures("tune_on_path")
@pytest.mark.parametrize(
    ("install", "installed"),
    [
        ("action", f"-m pip install --quiet {ROOT}[triton]\n"),
        ("paretune==0.1.0", "-m pip install --quiet paretune==0.1.0\n"),
        ("", ""),
    ],
)
def test_the_action_installs_its_own_revision_or_what_is_named_or_nothing(
    install: str, installed: str, tmp_path: Path
) -> None:
    ended = action({"study": "missing.yaml", "alone": "true", "install": install}, tmp_path)
    assert ended.returncode == 2, "there is no such study"
    noted = tmp_path / "pip.txt"
    assert (noted.read_text() if noted.exists() else "") == installed
    assert "triton" in tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]


def test_the_action_measures_nothing_where_paretune_cannot_be_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_ENDS", "7")
    assert action({"study": "missing.yaml", "alone": "true"}, tmp_path).returncode == 7
    assert not (tmp_path / "output").exists()


@pytest.mark.usefixtures("tune_on_path")
def test_the_action_does_not_pass_where_an_input_is_mistyped_and_nothing_would_be_compared(tmp_path: Path) -> None:
    ended = action({"study": str(write_gated_study(tmp_path)), "agianst": "baseline.json"}, tmp_path)
    assert ended.returncode == 2
    assert "nothing to compare with: give `old` or `against`" in ended.stdout
    assert not list(tmp_path.glob("gate-run*"))


def test_gates_of_one_job_have_a_run_each_and_arguments_in_quotes_stay_together(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    script = tmp_path / "bin" / "tune"
    script.write_text('#!/bin/sh\nmkdir "$4"\nfor one in "$@"; do echo "$one"; done > "$4/arguments"\n')
    script.chmod(0o755)
    given = "--set 'gate={throughput: -2%}'\n--quiet"
    for _ in range(3):
        ended = action({"study": "study.yaml", "alone": "true", "arguments": given}, tmp_path)
        assert ended.returncode == 0, ended.stderr
    runs = [line.removeprefix("run=") for line in (tmp_path / "output").read_text().splitlines()]
    assert len(set(runs)) == 3
    assert [one.removeprefix(runs[0]) for one in runs] == ["", "-2", "-3"]
    for run in runs:
        told = (tmp_path / run / "arguments").read_text().splitlines()
        assert told == ["gate", "study.yaml", "--out", run, "--set", "gate={throughput: -2%}", "--quiet"]


@pytest.mark.parametrize(
    ("arguments", "said"), [("--out there", "--out is given by the action"), ("'x", "a quote is not closed: 'x")]
)
def test_arguments_that_the_action_cannot_take_are_refused(arguments: str, said: str, tmp_path: Path) -> None:
    ended = action({"study": "study.yaml", "alone": "true", "arguments": arguments}, tmp_path)
    assert ended.returncode == 2
    assert said in ended.stderr


def test_what_a_gate_measured_becomes_the_baseline_that_a_slower_server_fails(tmp_path: Path) -> None:
    study = write_gated_study(tmp_path)
    alone = tune("gate", study, "--out", "run", "--json", cwd=tmp_path)
    assert alone.returncode == 0, alone.stderr
    assert json.loads(alone.stdout)["form"] == "alone"
    accepted = tune("gate", "accept", "run", "--to", "baseline.json", "--why", "the first", cwd=tmp_path)
    assert accepted.returncode == 0, accepted.stderr
    assert read_measurement(tmp_path / "baseline.json").restarts >= 5
    slow_down(tmp_path)
    against = tune("gate", study, "--against", "baseline.json", "--out", "slow", "--junit", "j.xml", cwd=tmp_path)
    assert against.returncode == 1, against.stderr
    assert states(read_gate(tmp_path / "slow")) == {"throughput": "fail", "p50": "fail"}
    assert (tmp_path / "j.xml").read_text() == (tmp_path / "slow" / "junit.xml").read_text()


def test_slos_alone_judge_two_sides_and_one_that_was_missed_before_is_no_regression(tmp_path: Path) -> None:
    only = "gate={concurrency: 4, rounds: 3, round: 200 ms, redeployments: 3, restarts: 3, time: 12 s}"
    for name, fixed_ms in (("old", 2.0), ("new", 10.0)):  # 4 in flight: 10 ms and 42 ms each
        (tmp_path / name).mkdir()
        write_gated_study(tmp_path / name)
        slow_down(tmp_path / name, fixed_ms)
    ended = tune(
        "gate", "--ab", "old/study.yaml", "new/study.yaml", "--set", "slo={p50: 25 ms, p90: 20 s}", "--set", only,
        "--out", "run", cwd=tmp_path,
    )  # fmt: skip
    assert ended.returncode == 1, ended.stderr
    result = read_gate(tmp_path / "run")
    assert result.message == "a regression: steady SLO p50"
    rule, loose = result.rules  # the second lets a busy machine send some milliseconds late
    assert (rule.rule, rule.kind, rule.state, rule.worse) == ("p50", "slo", "fail", True)
    assert (loose.rule, loose.state) == ("p90", "pass")
    assert "steady" in (tmp_path / "run" / "junit.xml").read_text()
    again = compare(result.new, result.new, [])
    assert (again.exit_code, again.message) == (4, "an SLO is missed, as on the old side: steady SLO p50")


def test_one_side_after_the_other_is_told_and_a_side_is_no_different_from_itself(tmp_path: Path) -> None:
    study = write_gated_study(tmp_path)
    # bounds that no drift of a busy machine between the sides reaches
    given = ("gate.sides=in_turn", "gate.inconclusive=warn", "gate.throughput=-60%", "gate.p50=+150%")
    settings = [word for one in given for word in ("--set", one)]
    ended = tune("gate", "--ab", study, study, *settings, "--out", "run", cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    result = read_gate(tmp_path / "run")
    assert result.form == "ab"
    assert result.old is not None
    assert result.old.restarts == result.new.restarts == 5
    assert set(states(result).values()) <= {"pass", "inconclusive"}
    assert result.in_turn
    assert "only one side was loaded at a time: `gate.sides` is `in_turn`" in result.notes
    assert "5 redeployments of both sides, one after the other" in ended.stdout


def test_memory_that_gpus_do_not_tell_of_the_servers_own_processes_is_not_judged(tmp_path: Path) -> None:
    study = write_gated_study(tmp_path)
    whole = {"name": "Stub", "memory_used": 2 << 30, "processes": "!3"}  # as both sides use it together
    environment = loading(compiled(tmp_path), script({"0": whole}), tmp_path)
    given = ("gate.memory=+10%", "slo.gpu_memory=1 GiB", "gate.redeployments=3", "gate.time=5 s")
    settings = [word for one in given for word in ("--set", one)]
    ended = tune("gate", "--ab", study, study, *settings, "--out", "run", cwd=tmp_path, **environment)
    assert ended.returncode in (1, 5), ended.stderr  # 1: what is judged may fail on a busy machine
    result = read_gate(tmp_path / "run")
    told = {one.rule: (one.state, one.note) for one in result.rules if one.rule in ("memory", "gpu_memory")}
    assert told == dict.fromkeys(("memory", "gpu_memory"), ("inconclusive", "not measured"))
    assert any(note.startswith("memory: not measured, for the GPUs do not tell") for note in result.notes)


def refused(arguments: list[object], folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(folder)
    ended = CliRunner().invoke(app, ["gate", *map(str, arguments)])
    assert ended.exit_code == 2, ended.output
    return " ".join(ended.output.split())


Change = Callable[[str], str]


@pytest.mark.parametrize(
    ("change", "arguments", "message"),
    [
        (lambda text: text.replace("throughput: -20%", "throughput: +20%"), [], "gate.throughput: it gets worse as it"),
        (lambda text: text.replace("p50: +20%", "p98: +20%"), [], "gate.p98: unknown key `p98`; did you mean `p9"),
        (lambda text: text.replace("  concurrency: 4\n", ""), [], "space.concurrency: it has 2 values, and a gate is"),
        (
            lambda text: f"{text}  workloads: {{bursty: {{p50: +5%}}}}\n",
            [],
            "gate.workloads.bursty: no workload of this study; there are steady",
        ),
        (lambda text: text, ["--ab", "HEAD~1", "HEAD"], "not a git repository"),
        (lambda text: text, ["--despite", "weather"], "--despite weather: expected one of cpu, cores"),
        (lambda text: text, ["--junit", "models"], "models: cannot be written (it is a folder); name another file"),
        (lambda text: text, ["--html", "requests.npz/x.html"], "requests.npz/x.html: cannot be written (its folder: "),
    ],
)
def test_a_gate_that_cannot_be_made_says_why(
    change: Change, arguments: list[object], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = write_gated_study(tmp_path)
    study.write_text(change(study.read_text()))
    assert message in refused([study, *arguments], tmp_path, monkeypatch)


def test_a_side_that_answers_another_number_of_labelled_items_is_compared_without_pairs(tmp_path: Path) -> None:
    study = write_gated_study(tmp_path)
    text = study.read_text().replace("slo: {", "slo: {accuracy_drop: 5%, ") + "  accuracy: -5%\n  confidence: 90%\n"
    sides = []
    for name, items in (("old", 100), ("new", 60)):
        np.savez(tmp_path / f"{name}.npz", INPUT=np.zeros((items, 4)), labels=np.zeros(items, np.int64))
        sides.append(tmp_path / f"{name}.yaml")
        sides[-1].write_text(text.replace("path: requests.npz", f"path: {name}.npz"))
    ended = tune("gate", "--ab", *sides, "--despite", "workload", "--out", "run", cwd=tmp_path)
    assert ended.returncode in (0, 5), ended.stderr
    result = read_gate(tmp_path / "run")
    assert any("steady: the sides were asked another number of labelled items" in note for note in result.notes)
    (rule,) = (one for one in result.rules if one.rule == "accuracy")
    assert rule.note == "100 labelled items then and 60 now, so not item by item"
    assert [one.state for one in result.rules if one.rule == "accuracy_drop"] == ["inconclusive"]


def test_a_class_of_a_mix_has_the_rules_that_name_it(tmp_path: Path) -> None:
    one = "requests: {source: dataset, path: requests.npz}"
    mix = f"mix: {{often: {{weight: 3, {one}}}, rare: {{{one}}}}}"
    for name in ("old", "new"):
        (tmp_path / name).mkdir()
        study = write_gated_study(tmp_path / name)
        study.write_text(study.read_text().replace(one, mix) + "  workloads: {steady.rare: {p50: +20%}}\n")
    slow_down(tmp_path / "new")
    ended = tune("gate", "--ab", "old/study.yaml", "new/study.yaml", "--out", "run", cwd=tmp_path)
    assert ended.returncode == 1, ended.stderr
    rules = [one for one in read_gate(tmp_path / "run").rules if one.kind != "slo"]
    assert {(one.workload, one.rule) for one in rules} == {
        ("steady", "throughput"),
        ("steady", "p50"),
        ("steady.rare", "p50"),
    }
    change = next(one.change for one in rules if one.workload == "steady.rare")
    assert change is not None
    assert change > 1, "all requests take four times as long"


def test_two_sides_of_one_run_have_the_same_workloads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = write_gated_study(tmp_path)
    other = tmp_path / "other.yaml"
    other.write_text(study.read_text().replace("  concurrency: 4\n", "  concurrency: 2\n"))
    said = refused(["--ab", study, other, "--quiet"], tmp_path, monkeypatch)
    assert "workload: steady was measured at 4 (closed loop), now at 2 (closed); give both sides the same" in said
