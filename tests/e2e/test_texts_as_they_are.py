"""What comes from elsewhere, like reasons, names and messages, stands in the terminal as it is: rich has a markup."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.tuner.result_builders import best, estimate, result, trial
from tuner import cli, doctor
from tuner.results import KnobInfo, Result, to_json
from tuner.terminal import note

ROOT = Path(__file__).parents[2]
HOSTILE = "[fp16] is no type of [/models/x], model.py:100: [red]no[/red] :x:"
"""Tags that are none, one that closes nothing, tags of rich, and two names of its pictures."""


def stored(folder: Path, found: Result) -> Path:
    """Write a run with a result into a folder."""
    folder.mkdir()
    (folder / "result.json").write_text(to_json(found))
    return folder


def said(*arguments: object, code: int = 0) -> tuple[str, str]:
    """Return stdout and stderr of a command on a wide terminal."""
    ended = CliRunner().invoke(cli.app, [*map(str, arguments)], env={"COLUMNS": "300"})
    assert ended.exit_code == code, ended.output
    return ended.stdout, ended.stderr


def test_a_reason_and_a_configuration_are_shown_as_they_are(tmp_path: Path) -> None:
    refused = trial(1, config={"precision": "[int8]"}, state="refused").model_copy(update={"reason": HOSTILE})
    knob = KnobInfo(name="precision", unit="", applied="reload", doc="", values=["[int8]"])
    run = stored(tmp_path / "run", result(refused).model_copy(update={"knobs": [knob]}))
    for arguments in ((), ("--trial", 1)):
        shown, _ = said("show", run, *arguments)
        assert HOSTILE in shown
        assert "[int8]" in shown


def test_a_workload_and_a_verdict_are_shown_as_they_are(tmp_path: Path) -> None:
    runs = []
    for name, value in (("fast", 200.0), ("slow", 100.0)):
        measured = {"[/web]": {"throughput_rps": estimate(value, value - 1, value + 1)}}
        found = result(trial(1)).model_copy(update={"best": best(1).model_copy(update={"metrics": measured})})
        runs.append(stored(tmp_path / name, found))
    shown, _ = said("compare", *runs)
    (row,) = (line.split() for line in shown.splitlines() if "throughput" in line)
    assert row[0] == "[/web]"
    assert row[-1] == "better"


def test_a_remedy_of_the_doctor_is_shown_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    remedy = "install one with: pip install 'paretune[triton]'"
    monkeypatch.setattr(doctor, "examine", lambda **_: [{"what": "target x", "works": "no", "detail": remedy}])
    assert remedy in said("doctor", code=3)[0]


def test_an_error_in_line_100_names_the_line(small_study: Callable[..., Path]) -> None:
    study = small_study(slo={"p99": "fast"})
    lines = study.read_text().splitlines()
    study.write_text("#\n" * (99 - lines.index("  p99: fast")) + study.read_text())
    assert "study.yaml:100: slo.p99: " in said("run", study, code=2)[1]


def test_a_remark_is_shown_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    note(HOSTILE)
    assert capsys.readouterr().err == f"{HOSTILE}\n"


def test_every_console_is_made_where_nothing_is_taken_for_markup() -> None:
    folders = [ROOT / name for name in ("tuner", "reports", "targets", "workloads")]
    sources = [path for folder in folders for path in folder.rglob("*.py")]
    assert [path.name for path in sources if re.search(r"\bConsole\(", path.read_text())] == ["terminal.py"]
