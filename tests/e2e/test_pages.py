"""Whoever follows a page of the documentation finds that every command on it works."""

import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from tests.openai.conftest import token_server
from tests.support.browser import chromium, opened
from tests.support.foreign_triton import foreign_triton
from tests.support.pages import (
    COMMAND_PAGES,
    DOCS,
    GATES,
    GOING_ON,
    HOSTS,
    IN_A_CHECKOUT,
    OWN_STUDIES,
    RECIPES,
    ROOT,
    blocks,
    follow,
    make_commands,
    run_block,
)
from tests.support.screenshots import PAGES, SECTIONS, take
from tests.support.simulated_study import slow_down, write_simulated_study
from tuner.results import read_result

pytestmark = pytest.mark.long

SHOWN_URL, SHOWN_MODEL = "http://localhost:8000", "llama-3.1-8b"
FEWER_ITEMS = {"1000": "100"}
"""Of the requests of a page, each of which is asked for its right answer at the server's own pace."""
SHOWN_STORAGE = "postgresql://tune:$PASSWORD@db.internal/trials"
GATE = """
gate:
  p50: +900%
  concurrency: 4
  rounds: 2
  round: 50 ms
  restarts: 3
  time: 3 s
  inconclusive: warn
"""
"""A rule that any machine keeps, in as little time as a gate takes."""
SHORT_GATE = {
    "study: queue": "study: digits",
    "{p90: 900 ms, error_rate: 10%}": "{p50: 900 ms, error_rate: 50%}",
    "{warmup: 0.1 s, max_warmup: 0.2 s,": "{warmup: 50 ms, max_warmup: 50 ms,",
}
"""What becomes of the study: few requests are enough for these bounds, and some may be sent late."""
MAKE_BASELINES = """
tune gate study.yaml --out first
tune gate accept first --to baselines/digits.json --why "as it was"
cp baselines/digits.json baselines/old.json
cp baselines/digits.json baseline.json
cp study.yaml main.yaml
cp study.yaml branch.yaml
git init --quiet --initial-branch main
git add .
git -c user.name=ada -c user.email=ada@example.org -c commit.gpgsign=false commit --quiet --message "as it was"
"""


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


def without_exports(folder: Path) -> Path:
    """Take away what the examples of another page exported: a model is not copied over one that is there."""
    for name in ("models", "deployment"):
        shutil.rmtree(folder / name, ignore_errors=True)
    return folder


def test_the_tutorial_can_be_followed_to_its_end(tutorial: Followed) -> None:
    assert "target triton" in tutorial.printed
    assert "CV of the gaps" in tutorial.printed
    assert (tutorial.folder / "summary.md").read_text().startswith("## digits")
    runs = tutorial.folder / "runs"
    assert (runs / "digits" / "latest" / "report.html").is_file()
    assert read_result(runs / "larger-bursts").study.overrides[:1] == ["slo.p99=20 ms"]


def test_the_report_of_the_tutorials_run_draws_every_chart_and_is_what_the_screenshots_show(
    tutorial: Followed, tmp_path: Path
) -> None:
    run = tutorial.folder / "runs" / "digits" / "latest"
    with chromium() as browser:
        taken = take(browser, run, tmp_path)
        with opened(browser, run / "report.html") as report:
            charts = report.page.locator(".chart")
            drawn = [charts.nth(index).locator(".main-svg").count() > 0 for index in range(charts.count())]
            headings = report.page.locator("h2, h3").all_inner_texts()
    assert {one.name for one in taken} == {f"{name}.png" for name in (*PAGES, *SECTIONS)}
    assert all((DOCS / one.name).is_file() for one in taken)
    assert len(drawn) >= 5
    assert all(drawn)
    assert {"Throughput against p99", "Where the latency goes", "Executed batch sizes"} <= set(headings)


@pytest.mark.parametrize("page", RECIPES)
def test_a_page_of_the_cookbook_can_be_followed_to_its_end(page: str, tmp_path: Path, commands: Path) -> None:
    assert "".join(follow(DOCS / "cookbook" / f"{page}.md", tmp_path, commands))
    for result in tmp_path.glob("runs/*/latest/result.json"):
        assert any(point.validity.valid for trial in read_result(result.parent).trials for point in trial.points)


def test_a_remote_server_is_measured_tuned_and_given_the_result(tmp_path: Path, commands: Path) -> None:
    with foreign_triton(tmp_path, "explicit") as server:
        follow(DOCS / "cookbook" / "remote-server.md", tmp_path, commands, {SHOWN_URL: server.url})
    load = yaml.safe_load((tmp_path / "load" / "study.yaml").read_text())
    assert (load["target"]["kind"], load["target"]["launch"]) == ("triton", "remote")
    assert list(load["space"]) == ["concurrency"]
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


@pytest.mark.parametrize("page", GOING_ON)
def test_the_examples_of_other_pages_go_on_with_the_tutorial(page: str, tutorial: Followed, commands: Path) -> None:
    folder = without_exports(without_study(tutorial.folder))
    assert run_block("tune init digits", folder, commands).returncode == 0
    assert any(follow(DOCS / f"{page}.md", folder, commands))


@pytest.mark.parametrize("page", IN_A_CHECKOUT)
def test_the_examples_with_the_studies_that_come_along_work(page: str, tmp_path: Path, commands: Path) -> None:
    (tmp_path / "studies").symlink_to(ROOT / "studies")
    assert all(follow(DOCS / f"{page}.md", tmp_path, commands))


@pytest.mark.parametrize("page", OWN_STUDIES)
def test_a_page_with_a_study_of_its_own_can_be_followed(page: str, tmp_path: Path, commands: Path) -> None:
    assert any(follow(DOCS / f"{page}.md", tmp_path, commands, FEWER_ITEMS))
    result = read_result(tmp_path / "runs" / OWN_STUDIES[page] / "latest")
    assert [trial.state for trial in result.trials] == ["complete", "complete"]


@pytest.fixture(scope="module")
def gated(tmp_path_factory: pytest.TempPathFactory, commands: Path) -> Path:
    """The folder of somebody who has what the pages of the gate name: studies, baselines and revisions."""
    folder = tmp_path_factory.mktemp("gated")
    study = write_simulated_study(folder)
    text = study.read_text()
    for before, after in SHORT_GATE.items():
        assert before in text
        text = text.replace(before, after)
    study.write_text(text + GATE)
    slow_down(folder, 1.0)
    made = run_block(MAKE_BASELINES, folder, commands)
    assert made.returncode == 0, made.stderr
    return folder


@pytest.mark.parametrize("page", GATES)
def test_the_examples_of_the_gate_work(page: str, gated: Path, commands: Path) -> None:
    assert all(follow(DOCS / f"{page}.md", gated, commands))


def test_the_examples_of_init_work(tmp_path: Path, commands: Path) -> None:
    assert any(follow(DOCS / "commands" / "init.md", tmp_path, commands))
    written = {str(path.relative_to(tmp_path)) for path in tmp_path.glob("**/*.yaml")}
    assert written >= {"study.yaml", "digits.yaml", "mine/study.yaml", "tuned/study.yaml", "here/mlserver.yaml"}


@pytest.mark.parametrize("page", COMMAND_PAGES)
def test_the_examples_of_a_command_work(page: str, tutorial: Followed, commands: Path) -> None:
    assert any(follow(DOCS / "commands" / f"{page}.md", without_exports(tutorial.folder), commands))


def test_the_examples_of_hosts_that_share_a_study_work(tmp_path: Path, commands: Path) -> None:
    """A journal stands where a page has a database: the study is done by then, and every further host says so."""
    places = {SHOWN_STORAGE: "digits.log"}
    printed = [line for page in HOSTS for line in follow(DOCS / f"{page}.md", tmp_path, commands, places)]
    assert "report " in printed[0]
    shown, _, as_json = printed[2].partition("\n{")
    assert "digits, run shared: done" in shown
    assert json.loads("{" + as_json)["state"] == "done"
