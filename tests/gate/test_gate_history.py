"""The history of what was accepted: steps are found where they are, and nowhere else."""

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from reports.gate.history import render
from tests.gate.gate_builders import HOST, measurement
from tests.support.tune import tune
from tuner.gate.baseline import BaselineError, written
from tuner.gate.document import Accepted
from tuner.gate.history import courses, of_folder, of_git
from tuner.gate.revisions import RevisionError, checked_out, commit_of, without_changes
from tuner.gate.steps import steps
from tuner.results import Load

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


def accepted(number: int, level: float, **fields: object) -> str:
    rng = np.random.default_rng(number)
    one = measurement([level * factor for factor in np.exp(rng.normal(0, 0.005, 5))], **fields)
    when = f"2026-01-{number + 1:02d} 12:00 UTC"
    return written(one.model_copy(update={"accepted": Accepted(by="ada", when=when, why="", run=f"run{number}")}))


def test_the_page_shows_the_step_of_the_figure_that_has_one(tmp_path: Path) -> None:
    baselines = tmp_path / "baselines"
    baselines.mkdir()
    (baselines / "package.json").write_text("{}")
    for number, level in enumerate(LEVELS):
        (baselines / f"{number:02d}.json").write_text(accepted(number, level))
    found = {one.key: one for one in courses(of_folder(baselines).entries)}
    assert found["throughput_rps"].steps == (8,)
    assert found["throughput_rps"].changes() == [pytest.approx(-0.2, abs=0.01)]
    assert found["latency_p50_s"].steps == ()
    ended = tune("gate", "history", baselines, "--to", "history.html", cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    page = (tmp_path / "history.html").read_text()
    assert page.count("<svg") == len(found)
    assert re.search(r"-(19|20)\.\d% at 08\.json \(2026-01-09 12:00 UTC\)", page)
    assert "http" not in page.replace("http-equiv", "")


@pytest.mark.parametrize("n", [2, 3, 4, 5, 8])
def test_each_name_below_a_chart_stands_below_its_own_point(tmp_path: Path, n: int) -> None:
    for number in range(n):
        (tmp_path / f"{number}.json").write_text(accepted(number, 100.0 + number))
    found = [one for one in courses(of_folder(tmp_path).entries) if one.key == "throughput_rps"]
    page = render("baselines", found)
    points = {name: x for x, name in re.findall(r'<circle cx="([\d.]+)"[^>]*><title>(\d\.json)', page)}
    named = [(name, x) for x, name in re.findall(r'<text x="([\d.]+)"[^>]*>(\d\.json)</text>', page)]
    assert len(points) == n
    assert named == [(name, points[name]) for name, _ in named]
    assert len(named) == len(dict(named)) == min(n, 5)


def test_two_machines_and_two_loads_have_a_course_each_and_a_new_server_none_of_its_own(tmp_path: Path) -> None:
    other, newer = {**HOST, "cpu": "a slower CPU"}, {**HOST, "server": "a server 2.0"}
    agents = {**HOST, "agents": "2 (CPUs: 8, 8)"}
    half = Load(mode="closed", level=8)
    settings = [({}, 100.0), ({"host": newer}, 101.0), ({"host": other}, 50.0), ({"host": other}, 51.0)]
    settings += [({"host": agents}, 90.0), ({"host": agents}, 91.0)]
    for number, (fields, level) in enumerate(settings):
        (tmp_path / f"{number}.json").write_text(accepted(number, level, **fields))
    for number in (6, 7):
        steady = measurement([70.0]).workloads["steady"].model_copy(update={"load": half})
        (tmp_path / f"{number}.json").write_text(accepted(number, 70.0, workloads={"steady": steady}))
    found = [one for one in courses(of_folder(tmp_path).entries) if one.key == "throughput_rps"]
    assert {one.apart: one.names for one in found} == {
        "16 in flight; a CPU, 1 of 2 for the server": ("0.json", "1.json"),
        "16 in flight; a slower CPU, 1 of 2 for the server": ("2.json", "3.json"),
        "16 in flight; a CPU, 1 of 2 for the server, load from agents: 2 (CPUs: 8, 8)": ("4.json", "5.json"),
        "8 in flight; a CPU, 1 of 2 for the server": ("6.json", "7.json"),
    }
    page = render("baselines", found)
    assert "digits, steady: throughput (8 in flight; a CPU, 1 of 2 for the server)" in page


def beside(level: int) -> dict[str, object]:
    """The fields of a measurement whose workload had another one beside it, at a load."""
    steady = measurement([70.0]).workloads["steady"]
    restarts = [
        one.model_copy(update={"metrics": {**one.metrics, "total_throughput_rps": 90.0}}) for one in steady.restarts
    ]
    steady = steady.model_copy(update={"restarts": restarts})
    other = steady.model_copy(update={"load": Load(mode="open", level=level)})
    return {"workloads": {"steady": steady, "other": other}, "traffic": {"steady": "abc", "other": "def"}}


def test_a_workload_beside_another_load_of_its_neighbour_has_a_course_of_its_own(tmp_path: Path) -> None:
    for number, fields in enumerate([{}, {}, beside(10), beside(10), beside(20), beside(20)]):
        (tmp_path / f"{number}.json").write_text(accepted(number, 70.0, **fields))
    found = [one for one in courses(of_folder(tmp_path).entries) if one.key == "latency_p50_s"]
    assert {(one.place.workload, one.apart): one.names for one in found} == {
        ("steady", "alone"): ("0.json", "1.json"),
        ("steady", "beside other at 10/s offered (requests def)"): ("2.json", "3.json"),
        ("steady", "beside other at 20/s offered (requests def)"): ("4.json", "5.json"),
        ("other", "10/s offered"): ("2.json", "3.json"),
        ("other", "20/s offered"): ("4.json", "5.json"),
    }


def test_goodput_within_other_bounds_has_a_course_of_its_own(tmp_path: Path) -> None:
    steady = measurement([70.0]).workloads["steady"]
    good = [one.model_copy(update={"metrics": {**one.metrics, "goodput_rps": 60.0}}) for one in steady.restarts]
    for number, bound in enumerate([0.02, 0.02, 0.04, 0.04]):
        fields = {
            "workloads": {"steady": steady.model_copy(update={"restarts": good})},
            "bounds": {"steady": {"p99": bound}},
        }
        (tmp_path / f"{number}.json").write_text(accepted(number, 70.0, **fields))
    found = courses(of_folder(tmp_path).entries)
    assert {one.apart: one.names for one in found if one.key == "goodput_rps"} == {
        "within steady: latency 0.02 s": ("0.json", "1.json"),
        "within steady: latency 0.04 s": ("2.json", "3.json"),
    }
    (throughput,) = (one for one in found if one.key == "throughput_rps")
    assert (throughput.apart, len(throughput.names)) == ("", 4)


def test_files_of_others_are_left_out_with_a_warning_and_a_broken_baseline_is_named(tmp_path: Path) -> None:
    for number in range(2):
        (tmp_path / f"{number}.json").write_text(accepted(number, 100.0))
    (tmp_path / "tsconfig.json").write_text("{\n  // a comment\n}")
    (tmp_path / "latin.json").write_bytes(b"\xff\xfe{")
    (tmp_path / "folder.json").mkdir()
    ended = tune("gate", "history", ".", cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    for name in ("tsconfig.json", "latin.json"):
        assert f"{name} is no baseline and is left out" in ended.stderr
    (tmp_path / "0.json").write_text(accepted(0, 100.0)[:500])
    with pytest.raises(BaselineError, match=r"0\.json: not JSON, so it was truncated"):
        of_folder(tmp_path)


def test_errors_and_labelled_items_have_a_course_in_points(tmp_path: Path) -> None:
    for number in range(14):
        errors, accuracy = (0, 0.98) if number < 7 else (90, 0.93)
        (tmp_path / f"{number:02d}.json").write_text(accepted(number, 100.0, errors=errors, accuracy=accuracy))
    found = {one.key: one for one in courses(of_folder(tmp_path).entries)}
    assert found["error_rate"].values == (0.0,) * 7 + (0.009,) * 7
    assert (found["error_rate"].steps, found["accuracy"].steps) == ((7,), (7,))
    assert found["error_rate"].changes() == [pytest.approx(0.009)]
    assert [level for _, _, level in found["accuracy"].levels()] == [pytest.approx(0.98), pytest.approx(0.93)]
    page = render("baselines", [found["error_rate"], found["accuracy"]])
    assert "Steps are found by E-divisive (Matteson and James" in page
    assert "+0.90 points at 07.json" in page
    assert "-5.00 points at 07.json" in page
    assert page.count("<svg") == 2
    assert "nan" not in page


def test_a_prediction_error_is_no_accuracy_in_the_history(tmp_path: Path) -> None:
    one = measurement(accuracy=3.0).workloads["steady"]
    assert one.accuracy is not None
    far = one.model_copy(update={"accuracy": one.accuracy.model_copy(update={"of": "prediction_error"})})
    for number in range(2):
        (tmp_path / f"{number}.json").write_text(accepted(number, 100.0, workloads={"steady": far}))
    found = {one.key: one for one in courses(of_folder(tmp_path).entries)}
    assert "accuracy" not in found
    assert found["prediction_error"].values == (3.0, 3.0)
    assert not found["prediction_error"].in_points


def test_what_a_load_generator_spoiled_is_left_out_of_the_history(tmp_path: Path) -> None:
    for number in range(3):
        (tmp_path / f"{number}.json").write_text(accepted(number, 100.0, **({"invalid": ["late"]} if number else {})))
    found = of_folder(tmp_path)
    assert [one.name for one in found.entries] == ["0.json"]
    assert found.unusable == [f"{number}.json: its gate was not valid: late; measure again" for number in (1, 2)]
    (tmp_path / "0.json").unlink()
    with pytest.raises(BaselineError, match=r"1\.json: its gate was not valid"):
        of_folder(tmp_path)


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
    entries = of_git(history / place).entries
    whens = [one.measurement.accepted.when for one in entries if one.measurement.accepted]
    assert whens == [f"2026-01-0{number} 12:00 UTC" for number in (1, 2, 3)]


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda text: text.replace('"by": "ada"', '"by": "bob"'), "was edited since it was written"),
        (lambda text: text[:300], "not JSON, so it was truncated or edited"),
        (lambda text: f"<<<<<<< ours\n{text}", "not JSON, so it was truncated or edited"),
        (lambda text: text.replace("baseline/1", "baseline/9"), "is of the schema paretune.baseline/9"),
    ],
)
def test_a_version_in_git_that_cannot_be_read_is_left_out_and_named(
    spoil: Callable[[str], str], why: str, history: Path
) -> None:
    file = history / "baseline.json"
    good = file.read_text()
    for text in (spoil(good), good):
        file.write_text(text)
        git(history, "commit", "-qam", "another")
    ended = tune("gate", "history", "baseline.json", "--git", cwd=history)
    assert ended.returncode == 0, ended.stderr
    commit = subprocess.run(
        ["git", "-C", str(history), "rev-parse", "--short", "HEAD~1"], capture_output=True, text=True, check=True
    ).stdout.strip()
    assert f"left out: {commit}:baseline.json: {why}" in " ".join(ended.stderr.split())
    assert len(of_git(file).entries) == 4


def test_git_with_nothing_that_can_be_read_is_an_error(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    (tmp_path / "baseline.json").write_text(accepted(0, 100.0)[:300])
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "broken")
    with pytest.raises(BaselineError, match=r":baseline\.json: not JSON, so it was truncated"):
        of_git(tmp_path / "baseline.json")


def test_two_revisions_are_checked_out_beside_one_another_and_gone_afterwards(history: Path) -> None:
    with checked_out(history / "study.yaml", ("v0", "HEAD")) as (old, new):
        assert (old.study.read_text(), new.study.read_text()) == ("study: version0\n", "study: version2\n")
        commits = [commit_of(one.study.parent) for one in (old, new)]
        new.study.write_text("study: another\n")
        assert commit_of(new.study.parent) == f"{commits[1]}, changed"
    assert not old.study.exists()
    assert [len(one) for one in commits] == [40, 40]
    assert [old.label, new.label] == [f"v0 ({commits[0][:12]})", f"HEAD ({commits[1][:12]})"]
    listed = subprocess.run(["git", "-C", str(history), "worktree", "list"], capture_output=True, text=True, check=True)
    assert len(listed.stdout.splitlines()) == 1


def test_git_has_baselines_that_were_renamed_or_taken_away_since_and_such_with_any_name(history: Path) -> None:
    (history / "baseline.json").rename(history / "zürich.json")
    git(history, "add", "-A")
    git(history, "commit", "-qm", "renamed")
    assert len(of_git(history).entries) == 4
    git(history, "rm", "-q", "zürich.json")
    git(history, "commit", "-qm", "taken away")
    assert len(of_git(history).entries) == 4


def test_a_revision_that_lacks_changes_of_the_checkout_says_so(history: Path) -> None:
    study = history / "study.yaml"
    (history / "notes.txt").write_text("in no commit, and no file of git's")
    assert without_changes(study, "HEAD") == ""
    study.write_text("study: changed\n")
    said = "HEAD is what is checked out here, but for the changes that are not committed: no side has these"
    assert without_changes(study, "HEAD") == said
    assert without_changes(study, "v2").startswith("v2 is what is checked out here"), "the same commit"
    assert without_changes(study, "v1") == ""


def test_a_folder_that_cannot_be_removed_costs_no_verdict(history: Path) -> None:
    with checked_out(history / "study.yaml", ("v0", "HEAD")) as (old, _):
        git(history, "worktree", "lock", str(old.study.parent))
        assert old.study.exists()


def test_git_that_trusts_no_checkout_of_another_user_tells_the_remedy(
    history: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    with (
        pytest.raises(RevisionError, match=r"dubious ownership .* git config --global --add safe\.directory"),
        checked_out(history / "study.yaml", ("v0", "HEAD")),
    ):
        pass


@pytest.mark.parametrize(
    ("revisions", "message"),
    [(("v7", "HEAD"), "v7: git rev-parse: "), (("v0", "no such"), "no such: git rev-parse")],
)
def test_a_revision_that_there_is_not_is_named(history: Path, revisions: tuple[str, str], message: str) -> None:
    with pytest.raises(RevisionError, match=message), checked_out(history / "study.yaml", revisions):
        pass


def test_a_commit_that_is_named_by_itself_is_called_that(history: Path) -> None:
    commit = commit_of(history)
    with checked_out(history / "study.yaml", (commit, commit[:8])) as (old, new):
        assert [old.label, new.label] == [commit, commit[:8]]


def test_of_a_folder_in_no_repository_no_commit_is_told(tmp_path: Path) -> None:
    assert commit_of(tmp_path) == ""


def test_a_study_in_no_repository_is_named(tmp_path: Path) -> None:
    with (
        pytest.raises(RevisionError, match=r"git rev-parse: .*not a git repository"),
        checked_out(tmp_path / "study.yaml", ("a", "b")),
    ):
        pass


def test_a_folder_without_baselines_is_named(tmp_path: Path) -> None:
    with pytest.raises(BaselineError, match="no baseline there"):
        of_folder(tmp_path)


def test_users_of_a_locustfile_are_no_offered_rate(tmp_path: Path) -> None:
    for number, users in enumerate([20, 20, 50, 50]):
        steady = measurement([70.0]).workloads["steady"]
        steady = steady.model_copy(update={"load": Load(mode="users", level=users)})
        (tmp_path / f"{number}.json").write_text(accepted(number, 70.0, workloads={"steady": steady}))
    found = courses(of_folder(tmp_path).entries)
    assert {one.place.load for one in found} == {"20 users", "50 users"}
