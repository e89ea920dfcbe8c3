"""The page of the command target says what is so."""

import re
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from targets.base import ConfigRefused, TargetError
from targets.command.options import CommandOptions
from tests.support import window_server
from tests.support.command_page import blocks, write_study
from tuner.study.load import load_study
from tuner.study.source import StudyError
from tuner.wiring import prepare


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:/bin:/usr/bin")
    return write_study(tmp_path)


def test_the_server_of_the_page_is_the_one_of_the_tests() -> None:
    assert blocks("python") == [Path(window_server.__file__).read_text()]


def test_the_study_of_the_page_is_ready_to_run(study: Path, tmp_path: Path) -> None:
    prepared = prepare(load_study(study), tmp_path / "log.txt")
    assert prepared.target.user_config() == {"workers": 1, "window": 0.0}
    assert [metric.name for metric in prepared.target.metrics()] == ["queue_depth"]


@pytest.mark.parametrize("fragment", [block for block in blocks("yml") if not block.startswith("study:")])
def test_a_fragment_of_the_page_is_valid(fragment: str) -> None:
    given: dict[str, Any] = yaml.safe_load(fragment)
    server = {} if "url" in given or "command" in given else {"command": ["./server", "{{ port }}"]}
    metrics = {"metrics_url": "/metrics"} if "statistics" in given else {}
    CommandOptions.model_validate({**server, **metrics, **given})


SHOWN = [line for block in blocks("text") for line in block.splitlines()]


def given(study: Path, before: str, after: str) -> str:
    """Return the error that a change of the study gives, without its line: editing the page moves it."""
    text = study.read_text()
    assert before in text
    study.write_text(text.replace(before, after))
    try:
        target = prepare(load_study(study), study.with_name("log.txt")).target
        try:
            target.start()
            target.deploy({**target.user_config(), **({"workers": 0} if after == "low: 0" else {})}, "x").statistics()()
        finally:
            target.stop()
    except (StudyError, TargetError) as error:
        return unnumbered(str(error).replace(f"{study.parent}/", ""))
    raise AssertionError("no error")


def unnumbered(message: str) -> str:
    return re.sub(r"\.yaml:\d+:", ".yaml:", message)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("{{ window | ms }}", "{{ windw | ms }}"),
        ('--port, "{{ port }}"', '--port, "{{ port + 1 }}"'),
        ("{url: /health}", "{url: /health, log: listening}"),
        ("{{ X | tojson }}", "{{ Y | tojson }}"),
        ("[python, server.py", "[pyton, server.py"),
        ("requests: window_requests_total", "requests: window_request"),
        ("low: 1, high: 64", "low: 0"),
    ],
)
def test_an_error_on_the_page_is_the_one_that_is_given(before: str, after: str, study: Path) -> None:
    assert given(study, before, after) in map(unnumbered, SHOWN)


def test_the_error_of_a_template_on_the_page_is_the_one_that_is_given(study: Path) -> None:
    (study.parent / "server.toml.j2").write_text("[server]\nthreads = {{ thread }}\n")
    knob = "threads: {type: int, default: 1}\n    workers:"
    study.write_text(study.read_text().replace("    workers:", f"    {knob}", 1))
    assert given(study, "  knobs:\n", "  templates: {server.toml: server.toml.j2}\n  knobs:\n") in SHOWN


def test_a_refused_configuration_is_told_apart_from_an_error(study: Path, tmp_path: Path) -> None:
    study.write_text(study.read_text().replace("low: 1, high: 64", "low: 0"))
    target = prepare(load_study(study), tmp_path / "log.txt").target
    target.start()
    with pytest.raises(ConfigRefused, match="--workers must be at least 1, but is 0"):
        target.deploy({"workers": 0}, "x")
    target.stop()
