"""The snippets for GitLab and Jenkins: their shell commands, in a checkout as these make it of a merge request."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from junitparser import JUnitXml, TestSuite

from tests.support.pages import DOCS, blocks
from tests.support.simulated_study import write_simulated_study

pytestmark = pytest.mark.long

GATE = "\ngate: {throughput: -20%, concurrency: 4, rounds: 3, round: 150 ms, time: 5 s}\n"
MAIN, BRANCH = "main", "slower"
INSTALLED = "install paretune[triton] @ git+https://github.com/OWNER/paretune@REVISION\n"


def git(folder: Path, *arguments: str) -> None:
    who = ["-c", "user.name=ada", "-c", "user.email=ada@example.org", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", "-C", str(folder), *who, *arguments], check=True, capture_output=True)


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository whose branch makes the server ten times as slow as its main branch has it."""
    folder = tmp_path_factory.mktemp("origin")
    study = write_simulated_study(folder)
    study.write_text(study.read_text().replace("p90: 900 ms", "p50: 900 ms") + GATE)
    git(folder, "init", "-q", "-b", MAIN)
    queue = folder / "models" / "queue" / "queue.json"
    for branch, fixed_ms in ((MAIN, 2.0), (BRANCH, 20.0)):
        queue.write_text(json.dumps({**json.loads(queue.read_text()), "fixed_ms": fixed_ms}))
        git(folder, "checkout", "-q", "-B", branch)
        git(folder, "add", ".")
        git(folder, "commit", "-qm", branch)
    return folder


def checkout(origin: Path, folder: Path) -> Path:
    """Clone as a CI does: the branch of the merge request alone, at a commit."""
    place = folder / "checkout"
    git(folder, "clone", "-q", "--single-branch", "--branch", BRANCH, origin.as_uri(), str(place))
    git(place, "checkout", "-q", "--detach")
    return place


def commands(language: str, mark: str) -> str:
    """Return the one snippet of the page in a language that has a mark."""
    (text,) = (one.text for one in blocks(DOCS / "gate.md") if one.language == language and mark in one.text)
    return text


def run(script: list[str], place: Path, **environment: str) -> "subprocess.CompletedProcess[str]":
    """Run commands one after the other until one fails; `tune` is the one of these sources, others only note a call.

    Programs are found in the path, and in a virtual environment.
    """
    programs, tune = place.parent / "bin", f'exec "{sys.executable}" -m tuner "$@"'
    for folder in (programs, place / ".venv" / "bin"):
        folder.mkdir(parents=True)
        for name, does in (("tune", tune), ("pip", ""), ("python3", "")):
            (folder / name).write_text(f'#!/bin/sh\necho "$@" >> ../{name}.txt\n{does}\n')
            (folder / name).chmod(0o755)
    path = os.pathsep.join([str(programs), str(Path(sys.executable).parent), os.environ["PATH"]])
    return subprocess.run(
        ["sh", "-e", "-c", "\n".join(script)],
        cwd=place,
        env={**os.environ, "PATH": path, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def failed(path: Path) -> list[str]:
    """Return the test cases of a JUnit file that failed, as another parser reads it."""
    read = JUnitXml.fromfile(str(path))
    assert all(isinstance(suite, TestSuite) for suite in read)
    return [case.name for suite in read for case in suite if case.is_failure]


def jenkins() -> tuple[str, list[str]]:
    """Return the pipeline and its shell commands."""
    pipeline = commands("groovy", "pipeline")
    script = re.findall(r"\bsh '([^']*)'", pipeline)
    assert len(script) == pipeline.count("sh '")
    return pipeline, script


def test_the_snippet_for_gitlab_fails_a_branch_that_is_slower(origin: Path, tmp_path: Path) -> None:
    job = yaml.safe_load(commands("yml", "CI_MERGE_REQUEST"))["gate"]
    place = checkout(origin, tmp_path)
    ended = run(job["script"], place, CI_MERGE_REQUEST_TARGET_BRANCH_NAME=MAIN)
    assert ended.returncode == 1, ended.stderr
    assert (tmp_path / "pip.txt").read_text() == INSTALLED
    assert failed(place / job["artifacts"]["reports"]["junit"]) == ["throughput"]
    (kept,) = job["artifacts"]["paths"]
    assert {"gate.html", "gate.json"} <= {one.name for one in (place / kept).iterdir()}


def test_the_snippet_for_jenkins_gives_the_same_command_after_the_same_fetch(origin: Path, tmp_path: Path) -> None:
    """So what it measures is what the one for GitLab does; its gate is not measured once more."""
    pipeline, script = jenkins()
    place = checkout(origin, tmp_path)
    *before, gate = script
    ended = run([*before, 'git rev-parse --verify "origin/$CHANGE_TARGET"', f"echo {gate}"], place, CHANGE_TARGET=MAIN)
    assert ended.returncode == 0, ended.stderr
    of_gitlab = yaml.safe_load(commands("yml", "CI_MERGE_REQUEST"))["gate"]["script"][-1]
    assert (tmp_path / "python3.txt").read_text() == "-m venv .venv\n"
    assert (tmp_path / "pip.txt").read_text() == INSTALLED
    as_there = gate.removeprefix(".venv/bin/").replace("CHANGE_TARGET", "CI_MERGE_REQUEST_TARGET_BRANCH_NAME")
    assert as_there == of_gitlab
    assert ended.stdout.splitlines()[-1] == f".venv/bin/tune gate study.yaml --ab origin/{MAIN} HEAD --out gate"
    assert re.findall(r"\bjunit testResults: '([^']*)', allowEmptyResults: true", pipeline) == ["gate/junit.xml"]
    assert re.findall(r"\barchiveArtifacts artifacts: '([^']*)', allowEmptyArchive: true", pipeline) == ["gate/**"]
