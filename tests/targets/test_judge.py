"""Judging Triton's answers in the load generator."""

import subprocess
import sys

import pytest

from targets.base import Outcome
from targets.triton.judge import HEADER_LENGTH, header_value, judge, judge_grpc

HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nInference-Header-Content-Length:  123 \r\n"
    b"Content-Length: 163\r\nX-Url: http://host:80/a"
)


def test_an_answer_with_tensors_is_ok() -> None:
    assert judge(200, b'{"outputs": []}') is Outcome.OK


def test_an_empty_answer_is_malformed() -> None:
    assert judge(200, b"") is Outcome.MALFORMED


@pytest.mark.parametrize("status", [201, 204, 301, 400, 404, 429, 500, 503])
@pytest.mark.parametrize("body", [b"", b'{"error": "no"}'])
def test_any_other_status_is_an_error(status: int, body: bytes) -> None:
    assert judge(status, body) is Outcome.HTTP_ERROR


def test_a_grpc_message_is_ok() -> None:
    assert judge_grpc(0, b"\n\x06digits") is Outcome.OK


def test_an_empty_grpc_message_is_malformed() -> None:
    assert judge_grpc(0, b"") is Outcome.MALFORMED


def test_judging_loads_no_client_library() -> None:
    program = (
        "import sys, targets.triton.judge\n"
        "sys.exit(bool({'grpc', 'google', 'tritonclient'} & {name.partition('.')[0] for name in sys.modules}))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_finds_a_header_whatever_its_case_and_blanks() -> None:
    assert header_value(HEAD, HEADER_LENGTH) == b"123"


def test_a_header_keeps_the_colons_of_its_value() -> None:
    assert header_value(HEAD, b"x-url") == b"http://host:80/a"


def test_an_absent_header_is_none() -> None:
    assert header_value(HEAD, b"retry-after") is None


def test_the_name_must_match_as_a_whole() -> None:
    assert header_value(b"HTTP/1.1 200 OK\r\nContent-Length: 163", b"length") is None


def test_the_status_line_is_no_header() -> None:
    assert header_value(b"content-length: 5\r\nA: b", b"content-length") is None
