"""Configurations of the command target: made into arguments, variables and files, refused, started until ready."""

import os
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from targets.base import ConfigRefused, ServerHung, TargetError
from tests.support.command_targets import COMMAND, ROWS, MakeCommand, knob, log, said, started

# -- knobs become arguments, variables and files --


@pytest.mark.parametrize(
    ("spec", "value", "template", "argument"),
    [
        (knob("int", 1), 3, "{{ n }}", "3"),
        (knob("float", 0.5), 0.25, "{{ n }}", "0.25"),
        (knob("duration", "0 ms"), 0.0025, "{{ n | ms }}", "2.5"),
        (knob("duration", "0 ms"), 0.0003, "{{ n | us }}", "300"),
        (knob("duration", "0 ms"), 0.000001, "{{ n | s }}", "0.000001"),
        (knob("duration", "0 ms"), 0.003, "{{ (n * 1000) | int }}", "3"),
        (knob("bool", False), True, "{{ n | tojson }}", "true"),
        (knob("choice", "a", choices=["a", "b"]), "b", "mode={{ n }}", "mode=b"),
    ],
)
def test_a_knob_becomes_an_argument(
    spec: dict[str, object], value: Any, template: str, argument: str, make: MakeCommand
) -> None:
    target = started(make(command=[*COMMAND, "--text", template], knobs={"n": spec}))
    deployment = target.deploy({"n": value}, "one")
    assert said(deployment)["arguments"][2:] == ["--text", argument]
    assert deployment.config == {"n": value}


def test_a_knob_becomes_a_variable_and_a_value_in_a_file(make: MakeCommand, tmp_path: Path) -> None:
    (tmp_path / "config.j2").write_text("threads = {{ n }}\nport = {{ port }}\n{% if n > 2 %}many = true\n{% endif %}")
    target = started(
        make(
            command=[*COMMAND, "--config", "{{ files['conf/server.toml'] }}"],
            env={"THREADS": "{{ n }}", "CONFIG": "{{ files['conf/server.toml'] }}"},
            templates={"conf/server.toml": "config.j2"},
            knobs={"n": knob("int", 1)},
        )
    )
    deployment = target.deploy({"n": 4}, "one")
    answer = said(deployment)
    assert answer["env"]["THREADS"] == "4"
    assert answer["config"] == f"threads = 4\nport = {deployment.endpoint(ROWS).port}\nmany = true\n"
    folder = Path(answer["env"]["CONFIG"]).parents[1]
    assert folder.is_dir()
    deployment.retire()
    assert not folder.exists()


def test_an_argument_that_renders_to_nothing_is_left_out(make: MakeCommand) -> None:
    command = [*COMMAND, "{{ '--exact' if mode == 'exact' else '' }}", "--text", ""]
    target = started(make(command=command, knobs={"mode": knob("choice", "exact", choices=["exact", "fast"])}))
    assert said(target.deploy({"mode": "exact"}, "one"))["arguments"][2:] == ["--exact", "--text", ""]
    assert said(target.deploy({"mode": "fast"}, "two"))["arguments"][2:] == ["--text", ""]


def test_the_server_runs_in_the_studys_folder_on_its_cpus(make: MakeCommand, tmp_path: Path) -> None:
    cpu = max(os.sched_getaffinity(0))
    target = started(make(cpus=frozenset({cpu})))
    deployment = target.deploy({}, "one")
    assert said(deployment)["folder"] == str(tmp_path)
    assert os.sched_getaffinity(deployment.processes()[0]) == {cpu}
    assert target.environment()["server_executable"] == sys.executable


def test_what_the_configuration_does_not_say_is_as_the_user_has_it(make: MakeCommand, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("b: 20 ms\n")
    knobs = {"a": knob("int", 1), "b": knob("duration", "10 ms")}
    target = started(make(command=[*COMMAND, "--text", "{{ a }} {{ b | ms }}"], knobs=knobs, values="mine.yaml"))
    assert target.user_config() == {"a": 1, "b": 0.02}
    assert said(target.deploy({"a": 5}, "one"))["arguments"][-1] == "5 20"


# -- what is refused, and when --


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"n": 9}, r"`n` is 9, out of its range, 1 to 8"),
        ({"n": 1.5}, r"`n` is 1\.5, not a whole number"),
        ({"w": 2.0}, r"`w` is 2 s, out of its range, 1 ms to 1 s"),
        ({"mode": "slow"}, r"`mode` is 'slow', none of fast, exact"),
        ({"flag": 1}, r"`flag` is 1, not true or false"),
        ({"mod": 1}, r"`mod` is no knob of this study; did you mean `mode`\?"),
    ],
)
def test_a_value_that_is_not_legal_is_refused_before_anything_is_started(
    config: dict[str, Any], message: str, make: MakeCommand, tmp_path: Path
) -> None:
    knobs = {
        "n": knob("int", 1, low=1, high=8),
        "w": knob("duration", "1 ms", low="1 ms", high="1 s"),
        "mode": knob("choice", "fast", choices=["fast", "exact"]),
        "flag": knob("bool", True),
    }
    target = started(make(knobs=knobs))
    kept = target.deploy({}, "same")
    with pytest.raises(ConfigRefused, match=message):
        target.deploy(config, "same")
    assert said(kept)["method"] == "GET"
    assert log(tmp_path) == "", "the old deployment runs on, and no other one was started"


def test_a_configuration_that_no_template_can_be_filled_with_is_refused(make: MakeCommand) -> None:
    target = started(make(command=[*COMMAND, "--text", "{{ 10 // n }}"], knobs={"n": knob("int", 1)}))
    kept = target.deploy({}, "same")
    with pytest.raises(ConfigRefused, match=r"target\.command\.5: ZeroDivisionError: "):
        target.deploy({"n": 0}, "same")
    assert said(kept)["arguments"][-1] == "10"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a = 1\nb = {{ n\n", r"config\.j2:\d: .*expected"),
        ("a = 1\n\nb = {{ m }}\n", r"config\.j2:3: `m` is undefined; known here: metrics_port, n, port"),
        ("a = {{ env.KEY }}", r"config\.j2:1: `env` is not for this template: the file would hold the value"),
        ("a = {{ files['x'] }}", r"config\.j2:1: `files` is not for this template: files stand side by side"),
        ("a = 1\nb = {{ n / 0 }}", r"config\.j2:2: ZeroDivisionError"),
        ("a = 1\nb = {{ n.real.x.y }}", r"config\.j2:2: .* has no attribute 'x'"),
        ("a = {{ n.__class__.__mro__ }}", r"config\.j2:1: access to attribute '__class__' of 'int' object is unsafe"),
    ],
)
def test_a_template_that_cannot_be_used_is_named_with_its_line(
    text: str, message: str, make: MakeCommand, tmp_path: Path
) -> None:
    (tmp_path / "config.j2").write_text(text)
    with pytest.raises(TargetError, match=message):
        make(templates={"x": "config.j2"}, knobs={"n": knob("int", 1)})


def test_files_that_are_not_there_are_named(make: MakeCommand) -> None:
    with pytest.raises(TargetError, match=r"target\.templates: .*/config\.j2: no such file"):
        make(templates={"x": "config.j2"})
    with pytest.raises(TargetError, match=r"target\.values: .*/mine\.yaml: no such file; make it"):
        make(values="mine.yaml")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("n: [", r"mine\.yaml:3: not YAML: "),
        (
            "n: 2024-02-30",
            r"mine\.yaml:1: not YAML: '2024-02-30' is written like a value of type `timestamp` and is none",
        ),
        ("[1]", r"mine\.yaml: expected a mapping of knobs to values, but got \[1\]"),
        ("m: 1", r"mine\.yaml: `m` is no knob of this study; known: n"),
        ("n: many", r"mine\.yaml: n: expected a whole number, but got 'many'"),
        ("n: 9", r"mine\.yaml: `n` is 9, out of its range, 1 to 8"),
    ],
)
def test_a_file_of_values_that_cannot_be_used_is_named(
    text: str, message: str, make: MakeCommand, tmp_path: Path
) -> None:
    (tmp_path / "mine.yaml").write_text(f"# mine\n{text}\n" if text == "n: [" else text)
    with pytest.raises(TargetError, match=message):
        make(values="mine.yaml", knobs={"n": knob("int", 1, low=1, high=8)})


@pytest.mark.parametrize(
    ("program", "message"),
    [
        (
            "no-such-server",
            r"target\.command\.0: there is no program 'no-such-server'; install it, or write ./no-such-s",
        ),
        ("./server.sh", r"target\.command\.0: there is no program './server\.sh'; give the path of an executable file"),
        ("{{ '' }}", r"target\.command\.0: renders to nothing; it has to be the program that is started"),
    ],
)
def test_a_program_that_is_not_there_is_an_error_of_the_start(
    program: str, message: str, make: MakeCommand, tmp_path: Path
) -> None:
    (tmp_path / "server.sh").write_text("#!/bin/sh\n")  # not executable
    with pytest.raises(TargetError, match=message):
        make(command=[program]).start()


def test_nothing_is_deployed_before_the_start(make: MakeCommand) -> None:
    target = make()
    assert not target.alive()
    with pytest.raises(TargetError, match="the target was not started"):
        target.deploy({}, "one")


# -- readiness --


@pytest.mark.parametrize("ready", [{"url": "/anything"}, {"port": True}, {"log": "listening on"}, None])
def test_a_server_is_ready_when_the_study_says_so(ready: dict[str, object] | None, make: MakeCommand) -> None:
    given = {} if ready is None else {"ready": ready}
    target = started(make(command=[*COMMAND, "--wait", "0.5"], **given))
    assert said(target.deploy({}, "one"))["method"] == "GET"
    assert target.alive()


@pytest.mark.parametrize("ready", [{"url": "/missing"}, {"log": "never written"}])
def test_a_server_that_does_not_get_ready_hangs_and_is_ended(ready: dict[str, object], make: MakeCommand) -> None:
    before = set(psutil.Process().children(recursive=True))
    target = started(make(ready=ready, apply_timeout="1 s"))
    with pytest.raises(ServerHung, match=r"the server was not ready within 1 s: starting; listening on \d+"):
        target.deploy({}, "one")
    assert set(psutil.Process().children(recursive=True)) <= before


def test_a_server_that_ends_before_it_is_ready_has_refused_and_its_last_words_are_told(
    make: MakeCommand, tmp_path: Path
) -> None:
    target = started(
        make(command=[*COMMAND, "--number", "{{ n }}"], knobs={"n": knob("choice", "1", choices=["1", "x"])})
    )
    kept = target.deploy({}, "kept")
    with pytest.raises(ConfigRefused, match=r"ended with exit code 2 .*argument --number: invalid float value: 'x'"):
        target.deploy({"n": "x"}, "bad")
    assert said(kept)["arguments"][-1] == "1"
    assert "--- bad: " in log(tmp_path)
    assert "listening" not in log(tmp_path), "each deployment has a log of its own while it runs"


def test_a_server_that_says_nothing_is_told_apart(make: MakeCommand) -> None:
    target = started(make(command=["sh", "-c", "exit 3"]))
    with pytest.raises(ConfigRefused, match=r"exit code 3 before it was ready; it wrote nothing; the log: .*log\.txt"):
        target.deploy({}, "one")
