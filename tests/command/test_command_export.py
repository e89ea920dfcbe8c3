"""What the command target exports: a file of values, rendered files and a script, all of them used as they are."""

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from targets.base import Context, Export, ServerDied, TargetError
from targets.command.knobs import KnobSpec, parse_values, written
from targets.command.options import CommandOptions
from targets.command.target import CommandTarget
from targets.ports import free_port
from tests.support.command_targets import COMMAND, ROWS, MakeCommand

KNOBS: Mapping[str, object] = {
    "n": {"type": "int", "low": 1, "default": 1},
    "window": {"type": "duration", "default": "2 ms"},
    "mode": {"type": "choice", "choices": ["fast", "it's $HOME"], "default": "fast"},
}
SECRET = "not-for-anyone"


@pytest.fixture
def make(tmp_path: Path) -> Iterator[MakeCommand]:
    """Make targets whose study stands in the folder `study`; they are stopped at the end."""
    (tmp_path / "study").mkdir()
    made = []

    def make(**options: object) -> CommandTarget:
        values = {"command": [*COMMAND, "--number", "{{ n }}", "--text", "{{ mode }}"], "knobs": KNOBS, **options}
        context = Context(tmp_path / "study", tmp_path / "log.txt")
        made.append(CommandTarget(CommandOptions.model_validate(values), context))
        return made[-1]

    yield make
    for target in made:
        target.stop()


def write(export: Export, folder: Path) -> Path:
    for path, text in export.files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    return folder


@contextmanager
def running(folder: Path, port: int, **environment: str) -> Iterator[dict[str, Any]]:
    """Run an exported script from elsewhere; yield what its server says."""
    process = subprocess.Popen(
        ["sh", str(folder / "start.sh")], env={**os.environ, **environment}, cwd="/", start_new_session=True
    )
    try:
        yield asked(port)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def asked(port: int) -> dict[str, Any]:
    deadline = time.monotonic() + 20
    while True:
        connection = HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            connection.request("GET", "/")
            answer = json.loads(connection.getresponse().read())
            assert isinstance(answer, dict)
        except OSError:
            assert time.monotonic() < deadline, "the script starts the server"
            time.sleep(0.05)
        else:
            return answer
        finally:
            connection.close()


# -- the script --


def test_the_script_starts_the_server_with_the_values(make: MakeCommand, tmp_path: Path) -> None:
    target = make(env={"WINDOW": "{{ window | ms }}", "ODD": "a 'b' \"c\" `d` $E \\ \n f"})
    folder = write(target.export({"n": 3, "window": 0.0005, "mode": "it's $HOME"}), tmp_path / "out")
    port = free_port(None)
    with running(folder, port, PORT=str(port)) as said:
        assert said["arguments"] == ["--port", str(port), "--number", "3", "--text", "it's $HOME"]
        assert (said["env"]["WINDOW"], said["env"]["ODD"]) == ("0.5", "a 'b' \"c\" `d` $E \\ \n f")
        assert said["folder"] == str(tmp_path / "study")


def test_the_script_listens_on_the_studys_port_and_finds_files_and_folder(make: MakeCommand, tmp_path: Path) -> None:
    (tmp_path / "study" / "config.j2").write_text("port = {{ port }}, n = {{ n }}\n")
    port = free_port(None)
    target = make(
        command=[*COMMAND, "--config", "{{ files['conf/a.toml'] }}"], templates={"conf/a.toml": "config.j2"}, port=port
    )
    folder = write(target.export({"n": 4}), tmp_path / "out put")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    with running(folder, port, STUDY_FOLDER=str(elsewhere)) as said:
        assert said["config"] == f"port = {port}, n = 4\n"
        assert said["arguments"][-1] == str(folder / "conf" / "a.toml")
        assert said["folder"] == str(elsewhere)


def test_the_script_reads_well_and_the_diff_shows_what_changes(make: MakeCommand, tmp_path: Path) -> None:
    export = make(command=["./server", "--port", "{{ port }}", "--number", "{{ n }}"]).export({"n": 2})
    assert export.files[Path("start.sh")] == (
        "#!/bin/sh\n"
        "# Starts the server with: n 2, window 2 ms, mode fast.\n"
        "# PORT and STUDY_FOLDER can be set otherwise; the command runs in STUDY_FOLDER.\n"
        "PORT=${PORT:-8000}\n"
        f"STUDY_FOLDER=${{STUDY_FOLDER:-{tmp_path / 'study'}}}\n"
        'cd -- "$STUDY_FOLDER" || exit 1\n'
        "exec ./server \\\n"
        '  --port "$PORT" \\\n'
        "  --number 2\n"
    )
    before, after = (files[Path("start.sh")].splitlines() for files in (export.originals, export.files))
    changed = [new for old, new in zip(before, after, strict=True) if old != new]
    assert changed == ["# Starts the server with: n 2, window 2 ms, mode fast.", "  --number 2"]


# -- the file of values --


def test_values_are_changed_where_they_stand_and_comments_stay(make: MakeCommand, tmp_path: Path) -> None:
    text = "# ours\nn: 1   # one worker\n\nmode: fast\n"
    (tmp_path / "study" / "knobs.yaml").write_text(text)
    target = make(values="knobs.yaml")
    export = target.export({"n": 5, "window": 0.01})
    assert export.originals[Path("knobs.yaml")] == text
    assert export.files[Path("knobs.yaml")] == "# ours\nn: 5   # one worker\n\nmode: fast\nwindow: 10 ms\n"
    assert target.export(target.user_config()).files[Path("knobs.yaml")] == text


@pytest.mark.parametrize("text", ["{n: 1, mode: fast}\n", "n:\n  1\n", '"n": 1\n', "n: 1", "", "# nothing yet\n"])
def test_values_that_are_written_in_another_way_are_written_anew(text: str, make: MakeCommand, tmp_path: Path) -> None:
    (tmp_path / "study" / "knobs.yaml").write_text(text)
    target = make(values="knobs.yaml")
    wanted = {"n": 7, "window": 0.003, "mode": "it's $HOME"}
    (tmp_path / "study" / "knobs.yaml").write_text(target.export(wanted).files[Path("knobs.yaml")])
    assert make(values="knobs.yaml").user_config() == wanted


def test_values_from_elsewhere_are_exported_under_their_name(make: MakeCommand, tmp_path: Path) -> None:
    (tmp_path / "ours.yaml").write_text("n: 2\n")
    assert Path("ours.yaml") in make(values="../ours.yaml").export({}).files
    assert Path("knobs.yaml") in make().export({}).files


@pytest.mark.parametrize("seconds", [0.0, 1e-9, 2.5e-7, 0.0001, 0.0123456, 1.0, 90.0, 0.1 + 0.2, 1 / 3])
def test_a_duration_is_read_as_it_was_written(seconds: float) -> None:
    knob = KnobSpec.model_validate({"type": "duration", "default": "0 ms"}).knob("w")
    read = parse_values(f"w: {written(knob, seconds)}\n", Path("knobs.yaml"), {"w": knob})
    assert read["w"] == pytest.approx(seconds, rel=1e-11)


# -- verified --


def test_an_export_is_verified_on_another_port_than_it_says(make: MakeCommand, tmp_path: Path) -> None:
    (tmp_path / "study" / "config.j2").write_text("port = {{ port }}, n = {{ n }}\n")
    target = make(
        command=[*COMMAND, "--config", "{{ files['a.toml'] }}", "--metrics-port", "{{ metrics_port }}"],
        templates={"a.toml": "config.j2"},
    )
    target.start()
    export = target.export({"n": 4})
    assert export.files[Path("a.toml")] == "port = 8000, n = 4\n"
    with socket.create_server(("127.0.0.1", 0)):
        target.verify(export, ROWS)
    assert "--- export: start.sh" in (tmp_path / "log.txt").read_text()


@pytest.mark.parametrize(
    ("path", "text", "message"),
    [
        ("a.toml", "port = 8000, n = 5\n", r"a\.toml: the export does not say what its template makes of"),
        ("start.sh", "#!/bin/sh\nexit 4\n", "the server ended with exit code 4 before it was ready"),
        ("knobs.yaml", "n: 0\n", r"knobs\.yaml: `n` is 0, out of its range, 1 to any"),
        ("knobs.yaml", "n: 2\n", "the export does not say"),
    ],
)
def test_an_export_that_was_changed_is_not_verified(
    path: str, text: str, message: str, make: MakeCommand, tmp_path: Path
) -> None:
    (tmp_path / "study" / "config.j2").write_text("port = {{ port }}, n = {{ n }}\n")
    target = make(command=[*COMMAND, "--config", "{{ files['a.toml'] }}"], templates={"a.toml": "config.j2"})
    target.start()
    export = target.export({"n": 4})
    with pytest.raises(TargetError, match=message):
        target.verify(replace(export, files={**export.files, Path(path): text}), ROWS)


def test_a_script_that_starts_something_else_is_not_verified(make: MakeCommand) -> None:
    target = make()
    target.start()
    export = target.export({"n": 4})
    changed = export.files[Path("start.sh")].replace("--number 4", "--number 5")
    with pytest.raises(TargetError, match=r"no process of the server has the arguments .*--number 4"):
        target.verify(replace(export, files={**export.files, Path("start.sh"): changed}), ROWS)


def test_an_export_whose_server_does_not_answer_as_it_should_is_not_verified(make: MakeCommand) -> None:
    target = make(request={"path": "/missing"})
    target.start()
    with pytest.raises(TargetError, match="a request to the server failed: HTTP 404"):
        target.verify(target.export({}), ROWS)


# -- secrets --


@pytest.fixture
def secretive(make: MakeCommand, monkeypatch: pytest.MonkeyPatch) -> CommandTarget:
    monkeypatch.setenv("API_KEY", SECRET)
    return make(
        command=[*COMMAND, "--text", "key={{ env.API_KEY }}", "--number", "{{ mode }}"],
        env={"KEY": "Bearer {{ env.API_KEY }}", "API_KEY": "other"},
        request={"headers": {"Authorization": "{{ env.API_KEY }}"}},
        knobs={"mode": {"type": "choice", "choices": ["1", SECRET], "default": "1"}},
    )


def test_a_secret_reaches_the_server_and_the_requests_and_no_file(secretive: CommandTarget, tmp_path: Path) -> None:
    secretive.start()
    deployment = secretive.deploy({}, "one")
    endpoint = deployment.endpoint(ROWS)
    said = asked(endpoint.port)
    assert (said["arguments"][3], said["env"]["KEY"]) == (f"key={SECRET}", f"Bearer {SECRET}")
    assert f"Authorization: {SECRET}".encode() in endpoint.requests[0]
    export = secretive.export({})
    secretive.verify(export, ROWS)
    secretive.stop()
    assert '--text key="${API_KEY:?}"' in export.files[Path("start.sh")]
    written_down = [*export.files.values(), *export.originals.values(), (tmp_path / "log.txt").read_text()]
    assert not [text for text in written_down if SECRET in text]
    assert SECRET not in str(secretive.environment())


def test_the_script_takes_a_secret_from_its_own_environment_or_ends(secretive: CommandTarget, tmp_path: Path) -> None:
    folder = write(secretive.export({}), tmp_path / "out")
    port = free_port(None)
    with running(folder, port, PORT=str(port), API_KEY="mine") as said:
        assert (said["arguments"][3], said["env"]["KEY"]) == ("key=mine", "Bearer mine")
        assert said["env"]["API_KEY"] == "other"
    environment = {name: value for name, value in os.environ.items() if name != "API_KEY"}
    ended = subprocess.run(
        ["sh", str(folder / "start.sh")], env=environment, capture_output=True, text=True, check=False
    )
    assert ended.returncode != 0
    assert "API_KEY" in ended.stderr


def test_a_secret_in_the_servers_last_words_is_taken_out(secretive: CommandTarget) -> None:
    secretive.start()
    with pytest.raises(TargetError, match=r"invalid float value: '\$API_KEY'") as raised:
        secretive.deploy({"mode": SECRET}, "one")
    assert SECRET not in str(raised.value)
    assert not isinstance(raised.value, ServerDied)


def test_a_secret_that_the_study_itself_has_is_in_no_log(make: MakeCommand, tmp_path: Path) -> None:
    target = make(command=[*COMMAND, "--text", f"token={SECRET}"], env={"THE_KEY": SECRET})
    target.start()
    assert asked(target.deploy({}, "one").endpoint(ROWS).port)["arguments"][3] == f"token={SECRET}"
    target.stop()
    log = (tmp_path / "log.txt").read_text()
    assert "--text token=***" in log.replace("'", "")
    assert SECRET not in log


def test_a_secret_that_is_not_set_is_named_at_the_start(
    secretive: CommandTarget, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("API_KEY")
    secretive.export({})
    with pytest.raises(
        TargetError, match=r"environment variable API_KEY, which the study uses as `env\.API_KEY`, is no"
    ):
        secretive.start()
