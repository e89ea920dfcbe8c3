"""`tune preview` as a user runs it."""

from pathlib import Path

from tests.support.tune import tune

ROOT = Path(__file__).parents[2]
DIGITS = ROOT / "studies" / "digits.yaml"


def test_shows_every_workload_of_a_study(tmp_path: Path) -> None:
    ended = tune("preview", DIGITS, cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.splitlines()[0] == "steady"
    assert "answers decide when requests are sent" in ended.stdout
    assert "bursty (burst_size 10, pause 20 ms)" in ended.stdout
    assert "500/s" in ended.stdout
    assert list(tmp_path.iterdir()) == [], "nothing is left behind"


def test_writes_a_page(tmp_path: Path) -> None:
    ended = tune("preview", DIGITS, "--workload", "bursty", "--time", "2 s", "--html", "traffic.html", cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert "steady" not in ended.stdout
    assert "2 s, 1,000 requests" in ended.stdout
    page = (tmp_path / "traffic.html").read_text()
    assert page.count('class="chart"') == 3
    assert "1,000/s" in page, "the peak in 10 ms"


def test_an_unknown_workload_and_a_time_without_unit_are_named(tmp_path: Path) -> None:
    ended = tune("preview", DIGITS, "--workload", "web", cwd=tmp_path)
    assert ended.returncode == 2
    assert "has no workload 'web'; it has steady, bursty" in ended.stderr
    ended = tune("preview", DIGITS, "--time", "5", cwd=tmp_path)
    assert ended.returncode == 2
    assert "--time: expected a duration with a unit" in ended.stderr


def test_a_trace_that_is_malformed_points_at_its_line(tmp_path: Path) -> None:
    (tmp_path / "trace.csv").write_text("time\n1\n2\nlater\n")
    study = DIGITS.read_text().replace(
        "{process: bursty, burst_size: 10, pause: 20 ms}", "{process: trace, path: trace.csv}"
    )
    (tmp_path / "study.yaml").write_text(study.replace("path: digits", f"path: {DIGITS.parent}/digits"))
    ended = tune("preview", "study.yaml", cwd=tmp_path)
    assert ended.returncode == 2
    assert "workloads.bursty.arrival.path" in ended.stderr
    assert "trace.csv:4: time: expected a number or a date" in ended.stderr
