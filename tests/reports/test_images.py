"""Charts as files, drawn by a real browser; what is missing is named with its remedy."""

import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from reports import images
from reports.charts.drawing import Picture, one
from reports.charts.front import front_chart
from tests.tuner import result_builders as builders
from tests.tuner.result_builders import estimate
from tuner import cli
from tuner.cli.frame import BAD_USAGE
from tuner.results import Result, to_json


def result() -> Result:
    found = builders.point(level=4, throughput=100.0, p99=0.005)
    metrics = {**found.metrics, "latency_p50_s": estimate(0.002), "error_rate": estimate(0.0)}
    return builders.result(builders.trial(0, found.model_copy(update={"metrics": metrics})))


@pytest.fixture
def run(tmp_path: Path) -> Path:
    (tmp_path / "result.json").write_text(to_json(result()))
    return tmp_path


def test_every_chart_of_a_run_becomes_a_file(run: Path) -> None:
    """The command is that of docs/report.md."""
    made = CliRunner().invoke(cli.app, ["report", str(run), "--images", "svg"])
    assert made.exit_code == 0, made.output
    text = (run / "images" / "front.svg").read_text()
    assert "steady: throughput, per second" in text
    assert "your configuration" in text
    assert "front.svg" in made.stdout


def test_a_png_has_twice_the_pixels_of_the_page(tmp_path: Path) -> None:
    (path,) = images.write_images([front_chart(result())], tmp_path / "new", "png")
    head = path.read_bytes()[:24]
    assert head[:8] == b"\x89PNG\r\n\x1a\n"
    assert [int.from_bytes(head[at : at + 4], "big") for at in (16, 20)] == [2080, 960]


@pytest.mark.parametrize(
    ("browser", "said"), [("/does/not/exist", "there is none; install it"), ("/bin/false", "it did not draw them")]
)
def test_a_browser_that_is_missing_or_fails_is_named_with_the_remedy(
    run: Path, browser: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BROWSER_PATH", browser)
    made = CliRunner().invoke(cli.app, ["report", str(run), "--images", "png"])
    assert made.exit_code == BAD_USAGE
    assert said in made.output
    assert "BROWSER_PATH" in made.output


def test_without_kaleido_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "kaleido", None)
    with pytest.raises(images.NoImages, match=r"pip install 'paretune\[images\]'"):
        images.write_images([one("x", Picture([], {}, ""))], tmp_path, "png")
