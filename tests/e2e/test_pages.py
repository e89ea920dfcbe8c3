"""Whoever follows the tutorial, a page of the cookbook or a command's page finds that every command works."""

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml

from tests.openai.conftest import token_server
from tests.support.foreign_triton import foreign_triton
from tests.support.pages import DOCS, blocks, follow, make_commands
from tuner.results import read_result

LOCAL = ("bursty-traffic", "model-analyzer", "int8", "cost", "several-workloads")
"""Pages of the cookbook that need nothing but the Triton that Paretune starts."""
SHOWN_URL, SHOWN_MODEL = "http://localhost:8000", "llama-3.1-8b"
COMMAND_PAGES = ("init", "doctor", "bench", "compare", "preview", "show", "open", "report", "export", "knobs", "schema")


@dataclass
class Session:
    """A folder with a finished run, in which the examples of the commands go on."""

    folder: Path
    commands: Path
    printed: list[str] = field(default_factory=list)


@pytest.fixture(scope="module")
def commands(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The short `tune`."""
    return make_commands(tmp_path_factory.mktemp("commands") / "bin")


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory, commands: Path) -> Session:
    """What the page of `tune run` leaves behind."""
    folder = tmp_path_factory.mktemp("session")
    return Session(folder, commands, follow(DOCS / "commands" / "run.md", folder, commands))


def test_the_tutorial_can_be_followed_to_its_end(tmp_path: Path, commands: Path) -> None:
    printed = "".join(follow(DOCS / "tutorial.md", tmp_path, commands))
    assert "target triton" in printed
    assert (tmp_path / "summary.md").read_text().strip()
    assert (tmp_path / "runs" / "digits" / "latest" / "report.html").stat().st_size > 10_000
    assert read_result(tmp_path / "runs" / "larger-bursts").study.overrides[:1] == ["slo.p99=20 ms"]


@pytest.mark.parametrize("page", LOCAL)
def test_a_page_of_the_cookbook_can_be_followed_to_its_end(page: str, tmp_path: Path, commands: Path) -> None:
    assert "".join(follow(DOCS / "cookbook" / f"{page}.md", tmp_path, commands))
    for result in tmp_path.glob("runs/*/latest/result.json"):
        assert any(point.validity.valid for trial in read_result(result.parent).trials for point in trial.points)


def test_a_remote_server_is_measured_tuned_and_given_the_result(tmp_path: Path, commands: Path) -> None:
    with foreign_triton(tmp_path, "explicit") as server:
        follow(DOCS / "cookbook" / "remote-server.md", tmp_path, commands, {SHOWN_URL: server.url})
    load = yaml.safe_load((tmp_path / "load" / "study.yaml").read_text())
    assert load["target"]["kind"] == "kserve"
    assert read_result(tmp_path / "runs" / "remote" / "latest").trial(1).config["max_batch_size"] in (4, 8, 16, 32, 64)


def test_the_tokens_of_a_language_model_are_measured(tmp_path: Path, commands: Path) -> None:
    with token_server() as url:
        places = {SHOWN_URL: url, SHOWN_MODEL: "clock"}
        follow(DOCS / "cookbook" / "language-model.md", tmp_path, commands, places)
    assert read_result(tmp_path / "runs" / "chat" / "latest").study.slo.keys() >= {"ttft_p95", "tpot_p95"}


def test_the_job_of_a_ci_fails_for_a_missed_slo_alone(tmp_path: Path, commands: Path) -> None:
    printed = follow(DOCS / "cookbook" / "ci.md", tmp_path, commands)
    assert any("no SLO is missed" in one for one in printed)
    measured = json.loads((tmp_path / "bench.json").read_text())
    measured["points"][0]["verdicts"]["p99"] = "missed"
    (tmp_path / "bench.json").write_text(json.dumps(measured))
    gate = subprocess.run([sys.executable, "gate.py", "bench.json"], cwd=tmp_path, capture_output=True, check=False)
    assert (gate.returncode, gate.stdout) == (1, b"missed: steady: p99\n")


def test_the_workflow_of_the_ci_page_runs_what_the_page_runs() -> None:
    page = list(blocks(DOCS / "cookbook" / "ci.md"))
    (workflow,) = [yaml.safe_load(block.text) for block in page if block.language == "yml"]
    run = {line for block in (*page, *blocks(DOCS / "tutorial.md")) if block.language == "sh" for line in lines(block.text)}
    steps = [step["run"] for step in workflow["jobs"]["tune"]["steps"] if "run" in step]
    commands = [line for step in steps for line in lines(step) if line.startswith(("tune", "python"))]
    assert len(commands) == 5
    assert set(commands) <= run


def lines(text: str) -> list[str]:
    """Return the commands of a block."""
    return [line.strip() for line in text.splitlines() if line.strip()]


@pytest.mark.parametrize("page", COMMAND_PAGES)
def test_the_examples_of_a_command_work(page: str, session: Session) -> None:
    assert any(follow(DOCS / "commands" / f"{page}.md", session.folder, session.commands))


def test_every_page_with_commands_to_follow_is_followed() -> None:
    cookbook = {page.stem for page in (DOCS / "cookbook").glob("*.md")}
    assert cookbook == {*LOCAL, "remote-server", "language-model", "ci"}
    assert {page.stem for page in (DOCS / "commands").glob("*.md")} == {*COMMAND_PAGES, "run", "ui"}


def not_run() -> Iterator[tuple[Path, str, str]]:
    """Yield the page, the reason and the text of each block that is not run."""
    for page in [DOCS / "tutorial.md", *(DOCS / "cookbook").glob("*.md"), *(DOCS / "commands").glob("*.md")]:
        yield from ((page, block.not_run, block.text) for block in blocks(page) if block.not_run)


@pytest.mark.parametrize(("page", "reason", "text"), not_run(), ids=lambda value: getattr(value, "stem", None))
def test_a_page_says_of_what_is_not_run_that_it_is_not(page: Path, reason: str, text: str) -> None:
    after = " ".join(page.read_text().split(text)[1].split())
    said = after.removeprefix("``` ").partition(")")[0]
    assert said.startswith("(The tests"), f"{page.name}: {reason}"
    assert " not run " in said
