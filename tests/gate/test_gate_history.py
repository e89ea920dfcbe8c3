"""The history of what was accepted: steps are found where they are, and nowhere else."""

import re
import subprocess
from pathlib import Path

import numpy as np
import pytest

from tests.gate.gate_builders import measurement
from tests.support.tune import tune
from tuner.gate.baseline import BaselineError, written
from tuner.gate.document import Accepted
from tuner.gate.history import courses, of_folder, of_git
from tuner.gate.revisions import RevisionError, checked_out
from tuner.gate.steps import steps

LEVELS = [100.0] * 8 + [80.0] * 7


def test_a_step_is_found_where_it_is() -> None:
    rng = np.random.default_rng(1)
    series = [*rng.normal(0, 1, 12), *rng.normal(5, 1, 10), *rng.normal(1, 1, 12)]
    found = steps(series, np.random.default_rng(2))
    assert len(found) == 2
    assert abs(found[0] - 12) <= 1
    assert abs(found[1] - 22) <= 1


def test_a_series_without_a_step_has_one_no_more_often_than_its_significance() -> None:
    """At 10% of 30 series: a binomial distribution has more than 8 in 1% of the cases."""
    rng = np.random.default_rng(3)
    found = [steps(rng.normal(0, 1, 14).tolist(), np.random.default_rng(n), 0.1) for n in range(30)]
    assert sum(map(bool, found)) <= 8


def test_a_short_or_constant_series_has_no_step() -> None:
    assert steps([1.0, 9.0, 1.0], np.random.default_rng(0)) == ()
    assert steps([1.0] * 20, np.random.default_rng(0)) == ()


def accepted(number: int, level: float) -> str:
    rng = np.random.default_rng(number)
    one = measurement([level * factor for factor in np.exp(rng.normal(0, 0.005, 5))])
    when = f"2026-01-{number + 1:02d} 12:00 UTC"
    return written(one.model_copy(update={"accepted": Accepted(by="ada", when=when, why="", run=f"run{number}")}))


def test_the_page_shows_the_step_of_the_figure_that_has_one(tmp_path: Path) -> None:
    baselines = tmp_path / "baselines"
    baselines.mkdir()
    (baselines / "package.json").write_text("{}")
    for number, level in enumerate(LEVELS):
        (baselines / f"{number:02d}.json").write_text(accepted(number, level))
    found = {one.key: one for one in courses(of_folder(baselines))}
    assert found["throughput_rps"].steps == (8,)
    assert found["throughput_rps"].changes() == [pytest.approx(-0.2, abs=0.01)]
    assert found["latency_p50_s"].steps == ()
    ended = tune("gate", "history", baselines, "--to", "history.html", cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    page = (tmp_path / "history.html").read_text()
    assert page.count("<svg") == len(found)
    assert re.search(r"-(19|20)\.\d% at 08\.json \(2026-01-09 12:00 UTC\)", page)
    assert "http" not in page.replace("http-equiv", "")


def git(folder: Path, *arguments: str) -> None:
    who = ["-c", "user.name=ada", "-c", "user.email=ada@example.org", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", "-C", str(folder), *who, *arguments], check=True, capture_output=True)


@pytest.fixture
def history(tmp_path: Path) -> Path:
    """A repository with three versions of a baseline."""
    git(tmp_path, "init", "-q")
    for number, level in enumerate([100.0, 101.0, 99.0]):
        (tmp_path / "baseline.json").write_text(accepted(number, level))
        (tmp_path / "study.yaml").write_text(f"study: version{number}\n")
        git(tmp_path, "add", ".")
        git(tmp_path, "commit", "-qm", f"version {number}")
        git(tmp_path, "tag", f"v{number}")
    return tmp_path


@pytest.mark.parametrize("place", ["baseline.json", "."])
def test_git_has_every_version_of_a_baseline(history: Path, place: str) -> None:
    entries = of_git(history / place)
    whens = [one.measurement.accepted.when for one in entries if one.measurement.accepted]
    assert whens == [f"2026-01-0{number} 12:00 UTC" for number in (1, 2, 3)]


def test_two_revisions_are_checked_out_beside_one_another_and_gone_afterwards(history: Path) -> None:
    with checked_out(history / "study.yaml", ("v0", "HEAD")) as (old, new):
        assert (old.read_text(), new.read_text()) == ("study: version0\n", "study: version2\n")
    assert not old.exists()
    listed = subprocess.run(["git", "-C", str(history), "worktree", "list"], capture_output=True, text=True, check=True)
    assert len(listed.stdout.splitlines()) == 1


@pytest.mark.parametrize(
    ("revisions", "message"),
    [(("v7", "HEAD"), "v7: git rev-parse: "), (("v0", "no such"), "no such: git rev-parse")],
)
def test_a_revision_that_there_is_not_is_named(history: Path, revisions: tuple[str, str], message: str) -> None:
    with pytest.raises(RevisionError, match=message), checked_out(history / "study.yaml", revisions):
        pass


def test_a_study_in_no_repository_is_named(tmp_path: Path) -> None:
    with (
        pytest.raises(RevisionError, match=r"git rev-parse: .*not a git repository"),
        checked_out(tmp_path / "study.yaml", ("a", "b")),
    ):
        pass


def test_a_folder_without_baselines_is_named(tmp_path: Path) -> None:
    with pytest.raises(BaselineError, match="no baseline there"):
        of_folder(tmp_path)
