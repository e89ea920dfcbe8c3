"""What a study says of any server: legal or not, and where it is wrong."""

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from targets.command.options import CommandOptions
from tuner.study.load import load_study
from tuner.study.source import StudyError

WriteStudy = Callable[[dict[str, object]], Path]
COMMAND = ["python", "server.py", "{{ port }}"]
KSERVE = {"protocol": "kserve", "model": "digits"}
KNOBS = {
    "workers": {"type": "int", "low": 1, "high": 8, "default": 2},
    "window": {"type": "duration", "default": "1 ms"},
}


@pytest.fixture
def write(tmp_path: Path) -> WriteStudy:
    def write(target: dict[str, object]) -> Path:
        study = {
            "study": "any",
            "target": {"kind": "command", **target},
            "workloads": {
                "one": {"arrival": {"process": "closed"}, "requests": {"source": "dataset", "path": "x.npz"}}
            },
            "space": {"concurrency": 1},
            "slo": {},
        }
        path = tmp_path / "study.yaml"
        path.write_text(yaml.safe_dump(study, sort_keys=False))
        return path

    return write


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ({"command": "python server.py"}, "command: expected a list of arguments, like [python, server.py], but got"),
        ({"command": [*COMMAND, "{{ worker }}"]}, "command.3: `worker` is undefined; did you mean `workers`?"),
        ({"command": ["{{ zzz }}"]}, "command.0: `zzz` is undefined; known here: env, files, metrics_port, port, w"),
        ({"command": ["{{ port"]}, "command.0: unexpected end of template"),
        ({"command": ["{{ 1 | sevenfold }}"]}, "command.0: No filter named 'sevenfold'."),
        ({"command": ["{{ port + 1 }}"]}, "command.0: `port` stands alone here, as `{{ port }}`"),
        ({"command": ["{{ env.KEY | upper }}"]}, "command.0: a variable of the environment stands alone"),
        ({"command": ["{{ env['KEY'] }}"]}, "command.0: a variable of the environment stands alone"),
        ({"command": ["{% filter upper %}{{ env.KEY }}{% endfilter %}"]}, "command.0: a variable of the environment"),
        ({"command": ["{% set x = env %}{{ x.KEY }}"]}, "command.0: a variable of the environment stands alone"),
        ({"command": ["{{ env.PORT }}"]}, "command.0: `env.PORT` has a name that the exported start.sh uses itself"),
        ({"command": []}, "command: List should have at least 1 item"),
        ({}, "target: give `command`, to start the server, or `url`, to find one that runs already"),
        ({"command": COMMAND, "url": "http://h"}, "target: give `command`, to start the server, or `url`"),
        ({"command": COMMAND, "commands": []}, "commands: unknown key `commands`; did you mean `command`?"),
        ({"command": COMMAND, "env": {"A-B": "1"}}, "env.A-B: not the name of an environment variable: 'A-B'"),
        ({"command": COMMAND, "env": {"PORT": "1"}}, "env.PORT: the exported start.sh uses `PORT` itself"),
        ({"command": COMMAND, "env": {"A": "{{ x }}"}}, "env.A: `x` is undefined"),
        ({"command": COMMAND, "templates": {"../x": "t"}}, "templates.../x: expected the name of a file in the"),
        ({"command": COMMAND, "templates": {"start.sh": "t"}}, "templates.start.sh: the export writes a start.sh"),
        ({"command": COMMAND, "templates": {"knobs.yaml": "t"}}, "both have a knobs.yaml; rename one"),
        ({"command": COMMAND, "ready": {}}, "ready: give one of `url`, `port` and `log`, but got none"),
        ({"command": COMMAND, "ready": {"port": False}}, "ready: give one of `url`, `port` and `log`, but got none"),
        ({"command": COMMAND, "ready": {"url": "health"}}, "ready.url: expected a path, like `/health`"),
        ({"command": COMMAND, "ready": {"url": "/{{ workers }}"}}, "ready.url: `workers` is undefined"),
        ({"command": COMMAND, "request": {"method": "HEAD"}}, "request.method: answers to HEAD end with their head"),
        ({"command": COMMAND, "request": {"method": "CONNECT"}}, "request.method: answers to CONNECT end with their"),
        ({"command": COMMAND, "request": {"headers": {"Host": "x"}}}, "Host: Paretune writes `Host` itself"),
        ({"command": COMMAND, "request": {"headers": {"a b": "x"}}}, "a b: not the name of a header"),
        ({"command": COMMAND, "request": {"body": "{\n{{ x }\n}"}}, "request.body: line 2: unexpected '}'"),
        ({"command": COMMAND, "request": {"protocol": "tcp"}}, "request.protocol: Input should be 'http' or 'kserve'"),
        ({"command": COMMAND, "answer": {"ok": 99}}, "answer.ok: a status is a number from 200 to 599, but got 99"),
        ({"command": COMMAND, "statistics": {"requests": "a"}}, "`statistics.requests` needs `metrics_url`"),
        (
            {"command": COMMAND, "server_metrics": {"a": {"type": "gauge", "reading": "b"}}},
            "`server_metrics.a` needs `metrics_url`",
        ),
        (
            {"command": COMMAND, "metrics_url": "/m", "statistics": {"requests": "a b"}},
            "statistics.requests: expected a series like `requests_total`",
        ),
        (
            {"command": COMMAND, "metrics_url": "/m", "server_metrics": {"a": {"type": "ratio", "reading": "b"}}},
            "server_metrics.a: `per` is for `type: ratio`, and needed there; this is a ratio",
        ),
        ({"url": "localhost:80"}, "url: expected a URL like http://127.0.0.1:9000, but got 'localhost:80'"),
        (
            {"command": COMMAND, "request": KSERVE, "answer": {"ok": 201}},
            "target: `answer.ok` does nothing: `request.protocol: kserve` says what comes back; leave it out",
        ),
        ({"command": COMMAND, "request": KSERVE, "answer": {"contains": "x"}}, "`answer.contains` does nothing"),
        (
            {"command": COMMAND, "request": KSERVE, "answer": {"output": "x"}},
            "`answer.output` does nothing: `request.protocol: kserve` says what comes back; leave it out; the work",
        ),
        ({"url": "http://me:pw@h"}, "url: expected a URL without user and password, but got 'http://***@h'; `request"),
        ({"url": "http://h?key=pw"}, "url: expected a URL like http://127.0.0.1:9000, but got 'http://h?***'"),
        ({"command": COMMAND, "ready": {"url": "http://me:pw@h"}}, "ready.url: expected a URL without user and"),
        ({"command": COMMAND, "metrics_url": "http://me@h/m"}, "metrics_url: expected a URL without user and password"),
        ({"url": "http://h:99999"}, "url: Port out of range 0-65535"),
        ({"url": "http://h", "env": {"A": "1"}}, "`env` does nothing: a server found by `url` is not started here"),
        ({"url": "http://h", "ready": {"log": "x"}}, "`ready.log` needs `command`"),
        ({"url": "http://h", "metrics_url": "/{{ port }}"}, "of a server found by `url` are no templates"),
        ({"command": COMMAND, "ca": "x"}, "`ca` does nothing: `command` serves in the clear; leave it out"),
    ],
)  # fmt: skip
def test_an_error_names_its_place_and_the_remedy(target: dict[str, object], message: str, write: WriteStudy) -> None:
    knobs = {} if "url" in target else {"knobs": KNOBS}
    with pytest.raises(StudyError) as raised:
        load_study(write({**knobs, **target}))
    assert message in str(raised.value)
    assert "study.yaml:" in str(raised.value)


@pytest.mark.parametrize(
    ("knob", "message"),
    [
        ({"type": "int"}, "n.default: missing; add it"),
        ({"type": "number", "default": 1}, "n.type: Input should be 'int', 'float', 'duration', 'bool' or 'choice'"),
        ({"type": "int", "default": 1.5}, "n.default: expected a whole number, but got 1.5"),
        ({"type": "int", "default": True}, "n.default: expected a whole number, but got True"),
        ({"type": "float", "default": "1"}, "n.default: expected a number, but got '1'"),
        ({"type": "bool", "default": 1}, "n.default: expected true or false, but got 1"),
        ({"type": "duration", "default": 5}, "n.default: expected a duration with a unit, like `10 ms`"),
        ({"type": "duration", "default": "5 ms", "high": 3}, "n.high: expected a duration with a unit"),
        (
            {"type": "duration", "default": "5 ms", "high": "1 ms"},
            "n: `default` is 5 ms, out of its range, any to 1 ms",
        ),
        ({"type": "duration", "default": "5 ms", "unit": "ms"}, "n: a duration is written with its unit"),
        ({"type": "int", "default": 9, "low": 10}, "n: `default` is 9, out of its range, 10 to any"),
        ({"type": "int", "default": 1, "low": 3, "high": 2}, "n: `low <= high` must hold, but got low 3"),
        ({"type": "choice", "default": "a"}, "n: a knob of type `choice` needs `choices`"),
        ({"type": "choice", "default": "c", "choices": ["a", "b"]}, "n.default: 'c' is none of a, b"),
        (
            {"type": "choice", "default": "on", "choices": [True]},
            "n.choices: expected a name, but got True; put it in q",
        ),
        ({"type": "int", "default": 1, "choices": ["a"]}, "n.choices: only a knob of type `choice` has choices"),
        ({"type": "bool", "default": True, "low": 0}, "n.low: a knob of type `bool` has no `low`"),
        ({"type": "int", "default": 1, "doc": "two\nlines"}, "n.doc: "),
    ],
)
def test_a_knob_that_is_not_well_declared_is_refused(knob: dict[str, object], message: str, write: WriteStudy) -> None:
    with pytest.raises(StudyError) as raised:
        load_study(write({"command": COMMAND, "knobs": {"n": knob}}))
    assert f"target.knobs.{message}" in str(raised.value)


@pytest.mark.parametrize("name", ["port", "env", "files", "concurrency", "rate", "max-size", "2nd"])
def test_a_knobs_name_is_a_variable_that_means_nothing_else(name: str, write: WriteStudy) -> None:
    with pytest.raises(StudyError, match=rf"target\.knobs\.{name}: .*`?{name}`?"):
        load_study(write({"command": COMMAND, "knobs": {name: KNOBS["workers"]}}))


def test_numbers_in_an_argument_list_are_arguments() -> None:
    options = CommandOptions.model_validate({"command": ["server", "--port", 9000, "--ratio", 0.5]})
    assert options.command == ["server", "--port", "9000", "--ratio", "0.5"]


def test_a_run_is_not_resumed_once_what_the_server_reads_has_changed() -> None:
    options = CommandOptions.model_validate(
        {
            "command": ["python", "server.py", "--config=x.toml", "{{ port }}", "."],
            "templates": {"a.toml": "a.j2"},
            "reads": ["model"],
            "values": "knobs.yaml",
        }
    )
    assert set(map(str, options.files())) == {"server.py", "a.j2", "model", "knobs.yaml"}


def test_a_metric_of_the_server_can_be_an_objective_and_have_a_bound(write: WriteStudy) -> None:
    metrics = {
        "depth": {"type": "gauge", "reading": "q", "better": "less"},
        "wait": {"type": "rate", "reading": "w", "unit": "s"},
    }
    path = write({"command": COMMAND, "metrics_url": "/metrics", "server_metrics": metrics})
    changed = ("objectives=[minimize depth]", "slo={wait: 5 ms, depth: 3}")
    assert load_study(path, changed).spec.slo.bounds() == {"wait": 0.005, "depth": 3.0}
    with pytest.raises(StudyError, match="expected `maximize"):
        load_study(path, ["objectives=[minimize wait]"])
