"""The null server: answers each request once, however it comes, and ends with whoever started it."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from targets.base import Outcome
from tuner.load import null_server
from tuner.load.null_server import ANSWER, REQUEST, NullServer, NullServerError, judge

POST = b"POST /infer HTTP/1.1\r\nHost: a\r\ncontent-LENGTH: 12\r\nX: y\r\n\r\nabc\r\n\r\ndefgh"


@pytest.fixture(scope="module")
def server() -> Iterator[NullServer]:
    with NullServer() as started:
        yield started


@pytest.fixture
def client(server: NullServer) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connected:
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield connected


def read(client: socket.socket, count: int) -> bytes:
    """Return as many bytes as that many answers have, and what else is there by then."""
    data = b""
    while len(data) < count * len(ANSWER):
        data += client.recv(1 << 20)
    return data


def silent(client: socket.socket) -> bool:
    """Whether nothing comes for a while."""
    client.settimeout(0.05)
    try:
        return not client.recv(1)
    except TimeoutError:
        return True
    finally:
        client.settimeout(10)


def refused(client: socket.socket, data: bytes) -> bool:
    """Whether the server ends the connection, while it reads or when it has read."""
    try:
        client.sendall(data)
        return not client.recv(1)
    except ConnectionError:
        return True


def gone(pid: int) -> bool:
    """Whether a process ends soon, as a busy machine has it."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        state = Path(f"/proc/{pid}/stat")
        if not state.exists() or state.read_text().rpartition(")")[2].split()[0] == "Z":
            return True
        time.sleep(0.01)
    return False


@pytest.mark.parametrize("request_", [REQUEST, POST])
def test_each_request_is_answered_once_when_it_is_repeated(client: socket.socket, request_: bytes) -> None:
    for _ in range(5):
        client.sendall(request_)
        assert read(client, 1) == ANSWER
    assert silent(client)


def test_requests_may_change_on_a_connection(client: socket.socket) -> None:
    for request in (REQUEST, POST, POST, REQUEST, POST):
        client.sendall(request)
        assert read(client, 1) == ANSWER


@pytest.mark.parametrize("requests", [[REQUEST] * 3, [POST] * 3, [REQUEST, POST, REQUEST, POST]])
def test_pipelined_requests_are_answered_each(client: socket.socket, requests: list[bytes]) -> None:
    for _ in range(3):
        client.sendall(b"".join(requests))
        assert read(client, len(requests)) == ANSWER * len(requests)
    assert silent(client)


def test_many_pipelined_requests_are_answered_before_the_client_reads(client: socket.socket) -> None:
    client.sendall(POST * 10_000)
    assert read(client, 10_000) == ANSWER * 10_000


@pytest.mark.parametrize("size", [1, 7, 40])
def test_a_request_may_come_in_pieces(client: socket.socket, size: int) -> None:
    data = POST + REQUEST + POST
    for start in range(0, len(data), size):
        client.sendall(data[start : start + size])
        time.sleep(0.001)
    assert read(client, 3) == ANSWER * 3
    assert silent(client)


def test_a_part_of_a_request_is_not_answered_even_if_it_looks_like_the_last_one(client: socket.socket) -> None:
    client.sendall(REQUEST)
    assert read(client, 1) == ANSWER
    client.sendall(b"PUT / HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % (2 * len(REQUEST)))
    for _ in range(2):
        assert silent(client)
        client.sendall(REQUEST)
    assert read(client, 1) == ANSWER
    assert silent(client)


def test_a_body_may_be_longer_than_one_read(client: socket.socket) -> None:
    large = b"POST / HTTP/1.1\r\nContent-Length: 3000000\r\n\r\n" + b"x" * 3_000_000
    for _ in range(2):
        client.sendall(large)
        assert read(client, 1) == ANSWER


def test_a_head_without_an_end_is_refused(client: socket.socket) -> None:
    assert refused(client, b"x" * 1_000_000)


def test_a_client_that_leaves_disturbs_no_other(server: NullServer, client: socket.socket) -> None:
    for part in (b"", REQUEST[:10], REQUEST):
        with socket.create_connection(("127.0.0.1", server.port)) as other:
            other.sendall(part)
    client.sendall(REQUEST)
    assert read(client, 1) == ANSWER


def test_the_judge_accepts_the_answer_and_no_other() -> None:
    assert ANSWER.endswith(b"\r\n\r\nok")
    assert judge(200, b"ok") is Outcome.OK
    assert judge(500, b"ok") is judge(200, b"no") is Outcome.HTTP_ERROR


def test_the_server_runs_on_the_cpus_given() -> None:
    cpus = frozenset({max(os.sched_getaffinity(0))})
    with NullServer(cpus) as server:
        assert os.sched_getaffinity(server.pid) == cpus


def test_closing_ends_the_process_and_may_be_done_twice() -> None:
    server = NullServer()
    server.close()
    assert not Path(f"/proc/{server.pid}").exists()
    server.close()


def test_the_server_ends_when_its_standard_input_closes() -> None:
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "tuner.load.null_server"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    assert int(process.stdout.readline()) > 0
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=60) == (b"", None)
    assert process.returncode == 0


def test_the_server_ends_with_a_tuner_that_is_killed() -> None:
    code = "import time; from tuner.load.null_server import NullServer; print(NullServer().pid); time.sleep(60)"
    tuner = subprocess.Popen([sys.executable, "-uc", code], stdout=subprocess.PIPE)
    assert tuner.stdout is not None
    server = int(tuner.stdout.readline())
    assert Path(f"/proc/{server}").exists()
    tuner.kill()
    tuner.communicate()
    assert gone(server)


def test_a_server_that_does_not_start_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(NullServerError, match="the null server ended with exit code 1"):
        NullServer()


def test_a_server_that_says_nothing_is_not_waited_for_long(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    mute = tmp_path / "mute"
    mute.write_text("#!/bin/sh\nexec sleep 60\n")
    mute.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(mute))
    monkeypatch.setattr(null_server, "_START_TIMEOUT_S", 0.1)
    with pytest.raises(NullServerError, match=r"did not start within 0\.1 s"):
        NullServer()
