"""Requests made of templates, answers judged and decoded, over HTTP and HTTPS."""

import json
import pickle
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import trustme

from targets.base import Context, Outcome, TargetError
from targets.command.address import Address
from targets.command.options import AnswerSpec, CommandOptions, RequestSpec
from targets.command.target import CommandTarget
from targets.command.wire import HttpWire
from tests.support.load_runs import closed, outcomes, plan, run
from workloads.requests import Dataset, Prompts

AT = Address("127.0.0.1", 9000)
DATASET = Dataset(
    {
        "X": np.arange(8, dtype=np.float32).reshape(2, 2, 2),
        "n": np.array([3, 4]),
        "text": np.array([b"caf\xc3\xa9", b'"quoted"']),
        "input-ids": np.array([["a"], ["b"]]),
    }
)


def wire(answer: dict[str, object] | None = None, **request: object) -> HttpWire:
    return HttpWire(RequestSpec.model_validate(request), AnswerSpec.model_validate(answer or {}))


def sent(made: HttpWire, index: int = 0, values: dict[str, object] | None = None) -> tuple[list[str], bytes]:
    """Return the lines of a request's head, and its body."""
    request = made.endpoint(DATASET, values or {}, AT, {"KEY": "secret"}).requests[index]
    head, _, body = request.partition(b"\r\n\r\n")
    return head.decode("latin-1").split("\r\n"), body


# -- requests --


def test_a_row_is_written_into_the_body_as_json() -> None:
    body = '{"x": {{ X | tojson }}, "n": {{ n }}, "t": {{ text | tojson }}, "i": {{ inputs["input-ids"] | tojson }}}'
    made = wire(path="/predict", body=body)
    made.check(DATASET, {})
    head, first = sent(made)
    assert head == [
        "POST /predict HTTP/1.1",
        "Host: 127.0.0.1:9000",
        "Content-Type: application/json",
        f"Content-Length: {len(first)}",
    ]
    assert json.loads(first) == {"x": [[0.0, 1.0], [2.0, 3.0]], "n": 3, "t": "café", "i": ["a"]}
    assert json.loads(sent(made, 1)[1])["t"] == '"quoted"'


def test_path_and_headers_are_templates_of_knobs_inputs_and_environment() -> None:
    made = wire(
        method="PUT",
        path="/v1/{{ mode }}/{{ text | urlencode }}?n={{ n }}",
        headers={"content-type": "text/plain", "Authorization": "Bearer {{ env.KEY }}", "X-Row": "{{ n }}"},
        body="{{ text }}",
    )
    assert made.secrets == {"KEY"}
    made.check(DATASET, {"mode": "fast"})
    head, body = sent(made, values={"mode": "fast"})
    assert head[0] == "PUT /v1/fast/caf%C3%A9?n=3 HTTP/1.1"
    assert {"content-type: text/plain", "Authorization: Bearer secret", "X-Row: 3"} <= set(head)
    assert body == "café".encode()


def test_a_request_without_a_body_has_none() -> None:
    head, body = sent(wire(method="GET", path="/items/{{ n }}"))
    assert (head, body) == (["GET /items/3 HTTP/1.1", "Host: 127.0.0.1:9000"], b"")


def test_the_address_of_a_url_is_before_the_path() -> None:
    made = wire(path="/predict").endpoint(DATASET, {}, Address("::1", 80, prefix="/team"), {})
    assert made.requests[0].startswith(b"POST /team/predict HTTP/1.1\r\nHost: [::1]:80\r\n")
    assert (made.host, made.port) == ("::1", 80)


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"body": "{{ Y | tojson }}"}, r"target\.request\.body: `Y` is undefined; .*known here: X, env, input-ids, in"),
        ({"body": "{{ Xs }}"}, r"target\.request\.body: `Xs` is undefined; "),
        ({"path": "/{{ texts }}"}, r"target\.request\.path: `texts` is undefined; did you mean `text`\?"),
        ({"headers": {"A": "{{ m }}"}}, r"target\.request\.headers\.A: `m` is undefined"),
        ({"body": '{"x": {{ text }} }'}, r"target\.request\.body: not JSON, as `Content-Type` says .*filter `tojson`"),
        ({"body": "{{ n.x.y }}"}, r"target\.request\.body: .*has no attribute 'x'"),
        ({"body": "{\n{{ n / 0 }}\n}"}, r"target\.request\.body: line 2: ZeroDivisionError"),
        ({"path": "/{{ text }}"}, r"target\.request\.path: not a path: '/café'; the filter `urlencode` makes one"),
        ({"path": "{{ n }}"}, r"target\.request\.path: not a path: '3'"),
        ({"headers": {"A": "{{ 'a\\r\\nb: c' }}"}}, r"target\.request\.headers\.A: must be one line of plain text"),
        ({"body": "{{ mode }}{{ n }}"}, r"target\.request\.body: `n` is a knob and an input of the dataset; rename th"),
    ],
)
def test_a_request_that_does_not_fit_the_dataset_is_named(request_: dict[str, object], message: str) -> None:
    with pytest.raises(TargetError, match=message):
        wire(**request_).check(DATASET, {"mode": 1, **({"n": 2} if "rename" in message else {})})


def test_numbers_that_json_has_not_are_refused() -> None:
    with pytest.raises(TargetError, match=r"target\.request\.body: ValueError: Out of range float values"):
        wire(body="{{ X | tojson }}").check(Dataset({"X": np.array([[np.nan]])}), {})


def test_bytes_that_are_no_text_are_refused() -> None:
    with pytest.raises(TargetError, match="input 'X' holds bytes that are no text in UTF-8"):
        wire(body="{{ X | tojson }}").check(Dataset({"X": np.array([b"\xff"])}), {})


def test_prompts_are_refused(tmp_path: Path) -> None:
    target = CommandTarget(CommandOptions.model_validate({"command": ["x"]}), Context(tmp_path, tmp_path / "log.txt"))
    with pytest.raises(TargetError, match="this server takes tensors, not prompts"):
        target.check_requests(Prompts(["Hello"], np.array([4])))


# -- answers --


@pytest.mark.parametrize(
    ("answer", "status", "body", "outcome"),
    [
        ({}, 200, b"{}", Outcome.OK),
        ({}, 200, b"", Outcome.OK),
        ({}, 201, b"{}", Outcome.HTTP_ERROR),
        ({}, 500, b"", Outcome.HTTP_ERROR),
        ({"ok": 202}, 202, b"", Outcome.OK),
        ({"ok": [200, 404]}, 404, b"no", Outcome.OK),
        ({"contains": '"scores"'}, 200, b'{"scores": []}', Outcome.OK),
        ({"contains": '"scores"'}, 200, b'{"error": "busy"}', Outcome.MALFORMED),
        ({"contains": '"scores"'}, 503, b'{"scores": []}', Outcome.HTTP_ERROR),
    ],
)
def test_an_answer_is_judged_by_its_status_and_what_it_contains(
    answer: dict[str, object], status: int, body: bytes, outcome: Outcome
) -> None:
    judge = wire(answer).endpoint(DATASET, {}, AT, {}).judge
    assert pickle.loads(pickle.dumps(judge))(status, body) is outcome


def test_judging_loads_no_template_and_no_metrics_library() -> None:
    program = (
        "import sys, targets.command.judge; print({'jinja2', 'prometheus_client', 'yaml', 'psutil'} & {*sys.modules})"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "set()"


@pytest.mark.parametrize(
    ("output", "body", "found"),
    [
        ("scores", '{"scores": [0.1, 0.9]}', {"scores": [0.1, 0.9]}),
        ("class", '{"class": 7}', {"class": [7]}),
        ("data.0.scores", '{"data": [{"scores": [1, 2]}]}', {"data.0.scores": [1, 2]}),
        ("/data/0/a~1b", '{"data": [{"a/b": [1, 2]}]}', {"/data/0/a~1b": [1, 2]}),
        ("a.b", '{"a.b": 3}', {"a.b": [3]}),
        (None, '{"scores": [1, 2], "took": 0.5, "model": "m"}', {"scores": [1, 2], "took": [0.5]}),
        (None, "[[0.5, 0.25]]", {"answer": [[0.5, 0.25]]}),
    ],
)
def test_an_output_is_found_in_the_answer(output: str | None, body: str, found: dict[str, object]) -> None:
    outputs = wire({} if output is None else {"output": output}).decode(f"HTTP/1.1 200 OK\r\n\r\n{body}".encode())
    assert {name: array.tolist() for name, array in outputs.items()} == found


@pytest.mark.parametrize(
    ("output", "body", "message"),
    [
        ("score", '{"scores": [1]}', r"target\.answer\.output: no 'score' of 'score' in the answer; there is: scores"),
        ("a.1", '{"a": [1]}', r"target\.answer\.output: no '1' of 'a\.1' in the answer; there is: \[1\]"),
        ("a", '{"a": "cat"}', r"target\.answer\.output: 'a' is no number and no list of numbers, but 'cat'"),
        ("a", '{"a": [[1], [2, 3]]}', r"target\.answer\.output: 'a' is no number and no list of numbers"),
        ("a", '{"a": []}', r"target\.answer\.output: 'a' is no number and no list of numbers"),
        (None, '{"a": "cat"}', r"target\.answer\.output: the answer has no number or list; it has a"),
        (None, "<html>", r"target\.answer: an answer is no JSON .*<html>"),
    ],
)
def test_an_output_that_is_not_there_is_named_with_what_there_is(output: str | None, body: str, message: str) -> None:
    with pytest.raises(TargetError, match=message):
        wire({} if output is None else {"output": output}).decode(b"HTTP/1.1 200 OK\r\n\r\n" + body.encode())


# -- HTTPS --


class Secure(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        text = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(200 if self.path in ("/team/predict", "/team/health") else 404)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    do_GET = do_POST  # noqa: N815 - the library's name

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def secure(tmp_path: Path) -> Iterator[int]:
    """The port of a server over HTTPS; `ca.pem` is the certificate to trust."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with ThreadingHTTPServer(("127.0.0.1", 0), Secure) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def found(port: int, folder: Path, **options: object) -> CommandTarget:
    values = {
        "url": f"https://127.0.0.1:{port}/team/",
        "ready": {"url": "/health"},
        "request": {"path": "/predict", "body": "{{ n }}"},
        "apply_timeout": "200 ms",
        **options,
    }
    return CommandTarget(CommandOptions.model_validate(values), Context(folder, folder / "log.txt"))


def test_a_server_over_https_is_asked_and_loaded(secure: int, tmp_path: Path) -> None:
    target = found(secure, tmp_path, ca="ca.pem")
    target.start()
    endpoint = target.deploy({}, "one").endpoint(DATASET)
    settings = {"judge": endpoint.judge, "tls": endpoint.tls}
    _, records = run(plan(endpoint.port, closed(2, 2, total=4), tmp_path, list(endpoint.requests), **settings))
    assert outcomes(records) == {Outcome.OK}


def test_a_certificate_that_is_not_trusted_is_refused_unless_the_study_says_otherwise(
    secure: int, tmp_path: Path
) -> None:
    with pytest.raises(TargetError, match=r"target\.url: https://127.* was not ready within 0\.2 s"):
        found(secure, tmp_path).start()
    found(secure, tmp_path, verify=False).start()
    with pytest.raises(TargetError, match=r"target\.ca: .*no\.pem: no such file"):
        found(secure, tmp_path, ca="no.pem")
