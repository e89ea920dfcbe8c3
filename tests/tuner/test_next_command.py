"""The last line of a run: what to do next, as a command that can be pasted."""

import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from reports import html
from tests.support.written_run import written_run
from tests.tuner.result_builders import best, result, trial
from tuner.cli.running import show
from tuner.cli.writing import write_reports
from tuner.exporting import prepared_again
from tuner.results import Closest, Result, read_result
from tuner.run_info import SearchInfo
from tuner.rundir import RunDirectory

WriteStudy = Callable[..., Path]


@pytest.fixture
def run(small_study: WriteStudy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run in a folder with a blank, whose best configuration can be written into the user's own file."""
    monkeypatch.chdir(tmp_path)
    return written_run(small_study(), tmp_path / "my run", {"max_batch_size": 4})


def last_line(found: Result, run: Path, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """Return the words of the last line that a run prints."""
    show(found, RunDirectory(run), None, as_json=False)
    return shlex.split(capsys.readouterr().out.splitlines()[-1])


def test_the_command_is_the_one_of_the_report_and_is_quoted(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = read_result(run)
    assert last_line(found, run, capsys) == ["apply", "tune", "export", "my run", "--apply"]
    directory = RunDirectory(run)
    write_reports(found, directory, prepared_again(found, directory))
    assert "<code>tune export &#39;my run&#39; --apply</code>" in (run / "report.html").read_text()
    shutil.rmtree(run.parent / "models" / "digits")
    assert last_line(found, run, capsys) == ["apply", "tune", "export", "my run", "--to", "YOUR_FOLDER"]


def test_where_nothing_is_to_be_applied_the_next_look_is_named(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = read_result(run)
    opened = ["next", "tune", "open", "my run"]
    kept = best(0).model_copy(update={"export": "best"})
    assert last_line(found.model_copy(update={"best": kept}), run, capsys) == opened
    missed = found.model_copy(update={"best": None, "exit_code": 4})
    assert last_line(missed, run, capsys) == opened
    closest = Closest(trial=1, point=0, missed={"steady.p99": 0.5})
    shown = ["next", "tune", "show", "my run", "--trial", "1"]
    assert last_line(missed.model_copy(update={"closest": closest}), run, capsys) == shown


@pytest.mark.parametrize(("wall_s", "enough"), [(2.0, "600 s"), (400.2, "801 s")])
def test_a_run_that_had_no_time_to_try_anything_gets_more(
    wall_s: float, enough: str, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = read_result(run)
    search = SearchInfo(sampler="twin", reason="", ended="time")
    sets = ["slo.p90=200 ms", "search.budget.time=5 min"]
    changes = {
        "study": found.study.model_copy(update={"overrides": sets}),
        "search": search,
        "trials": found.trials[:1],
        "best": None,
        "timing": found.timing.model_copy(update={"wall_s": wall_s}),
    }
    said = last_line(found.model_copy(update=changes), run, capsys)
    given = ["--set", "slo.p90=200 ms", "--set", f"search.budget.time={enough}"]
    assert said == ["next", "tune", "study.yaml", *given, "--fresh"]


def test_of_the_users_own_configuration_the_page_names_no_command_either() -> None:
    one = result(trial(0)).model_copy(update={"best": best(0).model_copy(update={"export": "best"})})
    assert html.apply_command(one, html.Place("runs/a", "s.yaml", own_files=True)) == ""
