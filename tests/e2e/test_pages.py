"""Whoever follows the tutorial, a page of the cookbook or a command's page finds that every command works."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from tests.openai.conftest import token_server
from tests.support.foreign_triton import foreign_triton
from tests.support.pages import DOCS, blocks, follow, make_commands, run_block
from tuner.results import read_result

pytestmark = pytest.mark.long

LOCAL = ("bursty-traffic", "model-analyzer", "int8", "cost", "several-workloads")
"""Pages of the cookbook that need nothing but the Triton that Paretune starts."""
SHOWN_URL, SHOWN_MODEL = "http://localhost:8000", "llama-3.1-8b"
COMMAND_PAGES = ("doctor", "bench", "compare", "preview", "show", "open", "report", "export", "knobs", "schema")
COMMAND_PAGES += ("manifests",)
HOST_PAGES = ("worker", "status")
"""Those of hosts that share a study; the second one goes on with what the first one left."""


@pytest.fixture(scope="module")
def commands(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The short `tune`."""
    return make_commands(tmp_path_factory.mktemp("commands") / "bin")


@dataclass(frozen=True)
class Followed:
    """The folder of somebody who has followed the tutorial, and what it printed."""

    folder: Path
    printed: str


@pytest.fixture(scope="module")
def tutorial(tmp_path_factory: pytest.TempPathFactory, commands: Path) -> Followed:
    """The tutorial, followed to its end; the pages whose examples go on with its runs are followed in its folder."""
    folder = tmp_path_factory.mktemp("tutorial")
    return Followed(folder, "".join(follow(DOCS / "tutorial.md", folder, commands)))


def without_study(folder: Path) -> Path:
    """Take the study and its model away; `tune init digits` writes the same ones again, and the runs stay theirs."""
    (folder / "digits.yaml").unlink(missing_ok=True)
    shutil.rmtree(folder / "digits", ignore_errors=True)
    return folder


def test_the_tutorial_can_be_followed_to_its_end(tutorial: Followed) -> None:
    assert "target triton" in tutorial.printed
    assert "CV of the gaps" in tutorial.printed
    assert (tutorial.folder / "summary.md").read_text().startswith("## digits")
    runs = tutorial.folder / "runs"
    assert (runs / "digits" / "latest" / "report.html").is_file()
    assert read_result(runs / "larger-bursts").study.overrides[:1] == ["slo.p99=20 ms"]


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


def test_the_job_of_a_ci_fails_for_a_missed_slo_alone(tutorial: Followed, commands: Path) -> None:
    folder = without_study(tutorial.folder)
    printed = follow(DOCS / "cookbook" / "ci.md", folder, commands)
    assert any("no SLO is missed" in one for one in printed)
    measured = json.loads((folder / "bench.json").read_text())
    measured["points"][0]["verdicts"]["p99"] = "missed"
    (folder / "bench.json").write_text(json.dumps(measured))
    gate = subprocess.run([sys.executable, "gate.py", "bench.json"], cwd=folder, capture_output=True, check=False)
    assert (gate.returncode, gate.stdout) == (1, b"missed: steady: p99\n")


def test_the_workflow_of_the_ci_page_runs_what_the_page_runs() -> None:
    page = list(blocks(DOCS / "cookbook" / "ci.md"))
    (workflow,) = [yaml.safe_load(block.text) for block in page if block.language == "yml"]
    run = {
        line for block in (*page, *blocks(DOCS / "tutorial.md")) if block.language == "sh" for line in lines(block.text)
    }
    steps = [step["run"] for step in workflow["jobs"]["tune"]["steps"] if "run" in step]
    commands = [line for step in steps for line in lines(step) if line.startswith(("tune", "python"))]
    assert len(commands) == 5
    assert set(commands) <= run


def lines(text: str) -> list[str]:
    """Return the commands of a block."""
    return [line.strip() for line in text.splitlines() if line.strip()]


def test_the_examples_of_a_run_work(tutorial: Followed, commands: Path) -> None:
    folder = without_study(tutorial.folder)
    shown, _, for_programs = follow(DOCS / "commands" / "run.md", folder, commands)
    assert "report " in shown
    document, end = json.JSONDecoder().raw_decode(for_programs)
    assert document["study"]["name"] == "digits"
    events = [json.loads(line)["event"] for line in for_programs[end:].splitlines() if line]
    assert events == ["started", "finished"]
    assert len(list((folder / "runs" / "digits").glob("2*"))) == 1, "the same command shows the run that has ended"


@pytest.mark.parametrize("page", ["command-line", "concepts/exit-codes", "concepts/repeatability"])
def test_the_examples_of_other_pages_go_on_with_the_tutorial(page: str, tutorial: Followed, commands: Path) -> None:
    assert run_block("tune init digits", without_study(tutorial.folder), commands).returncode == 0
    assert any(follow(DOCS / f"{page}.md", tutorial.folder, commands))


def test_the_examples_of_init_work(tmp_path: Path, commands: Path) -> None:
    assert any(follow(DOCS / "commands" / "init.md", tmp_path, commands))
    written = {str(path.relative_to(tmp_path)) for path in tmp_path.glob("**/*.yaml")}
    assert written >= {"study.yaml", "digits.yaml", "mine/study.yaml", "tuned/study.yaml", "here/mlserver.yaml"}


@pytest.mark.parametrize("page", COMMAND_PAGES)
def test_the_examples_of_a_command_work(page: str, tutorial: Followed, commands: Path) -> None:
    assert any(follow(DOCS / "commands" / f"{page}.md", tutorial.folder, commands))


def test_the_examples_of_hosts_that_share_a_study_work(tmp_path: Path, commands: Path) -> None:
    printed = [line for page in HOST_PAGES for line in follow(DOCS / "commands" / f"{page}.md", tmp_path, commands)]
    assert "report " in printed[0]
    shown, _, as_json = printed[1].partition("\n{")
    assert "digits, run shared: done" in shown
    assert json.loads("{" + as_json)["state"] == "done"


def test_every_page_with_commands_to_follow_is_followed() -> None:
    cookbook = {page.stem for page in (DOCS / "cookbook").glob("*.md")}
    assert cookbook == {*LOCAL, "remote-server", "language-model", "ci"}
    others = {*HOST_PAGES, "agent", "gate", "init", "run", "ui"}
    assert {page.stem for page in (DOCS / "commands").glob("*.md")} == {*COMMAND_PAGES, *others}


@pytest.mark.parametrize("page", [*(DOCS / "cookbook").glob("*.md"), DOCS / "tutorial.md"], ids=lambda page: page.stem)
def test_a_page_tells_the_reader_the_name_of_every_file(page: Path) -> None:
    text = page.read_text()
    for block in blocks(page):
        before = text.partition(f"<!-- file: {block.file} -->")[0].rstrip().rpartition("\n\n")[2]
        assert not block.file or f"`{block.file}`" in before


def not_run() -> Iterator[tuple[Path, str, str]]:
    """Yield the page, the reason and the text of each block that is not run."""
    for page in [DOCS / "tutorial.md", *(DOCS / "cookbook").glob("*.md"), *(DOCS / "commands").glob("*.md")]:
        yield from ((page, block.not_run, block.text) for block in blocks(page) if block.not_run)


@pytest.mark.parametrize(("page", "reason", "text"), list(not_run()), ids=lambda value: getattr(value, "stem", None))
def test_a_page_says_of_what_is_not_run_that_it_is_not(page: Path, reason: str, text: str) -> None:
    after = " ".join(page.read_text().split(text)[1].split())
    said = after.removeprefix("``` ").partition(")")[0]
    assert said.startswith("(The tests"), f"{page.name}: {reason}"
    assert " not run " in said
