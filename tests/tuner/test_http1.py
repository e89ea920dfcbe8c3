"""Reading the heads of HTTP/1.1 answers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tuner.load.http1 import MAX_HEAD_BYTES, Head, MalformedAnswer, read_head

BODY = b'{"outputs": []}'


def answer(*headers: bytes, status: bytes = b"HTTP/1.1 200 OK", body: bytes = BODY) -> bytes:
    return b"\r\n".join([status, *headers]) + b"\r\n\r\n" + body


def test_reads_status_and_lengths() -> None:
    data = answer(b"Content-Type: application/json", b"Content-Length: 15")
    assert read_head(data) == Head(200, len(data) - 15, len(data), True)


def test_the_body_need_not_be_there_yet() -> None:
    head = read_head(answer(b"Content-Length: 1000", body=b""))
    assert head is not None
    assert head.total == head.body_start + 1000


def test_what_follows_the_answer_does_not_matter() -> None:
    one = answer(b"Content-Length: 15")
    head = read_head(one + answer(b"Content-Length: 99"))
    assert head is not None
    assert head.total == len(one)


def test_reads_a_bytearray() -> None:
    assert read_head(bytearray(answer(b"Content-Length: 15"))) == read_head(answer(b"Content-Length: 15"))


@pytest.mark.parametrize(
    "header",
    [
        b"Content-Length: 15",
        b"content-length:15",
        b"CONTENT-LENGTH:  15",
        b"Content-Length: 15  ",
        b"Content-Length:\t15",
    ],
)
def test_the_length_may_be_spelt_in_any_way(header: bytes) -> None:
    data = answer(b"Server: x", header, b"X-Last: 3")
    head = read_head(data)
    assert head is not None
    assert head.total == len(data)


@pytest.mark.parametrize(
    ("line", "status"),
    [
        (b"HTTP/1.1 200 OK", 200),
        (b"HTTP/1.1 503 Service Unavailable", 503),
        (b"HTTP/1.1 400 ", 400),
        (b"HTTP/1.1 404", 404),
        (b"HTTP/1.0 500 No", 500),
    ],
)
def test_reads_every_status(line: bytes, status: int) -> None:
    head = read_head(answer(b"Content-Length: 15", status=line))
    assert head is not None
    assert head.status == status


# Keeping the connection open.


@pytest.mark.parametrize(
    ("version", "header", "kept"),
    [
        (b"HTTP/1.1", b"X: y", True),
        (b"HTTP/1.1", b"Connection: keep-alive", True),
        (b"HTTP/1.1", b"Connection: close", False),
        (b"HTTP/1.1", b"connection:CLOSE", False),
        (b"HTTP/1.1", b"Connection: Close ", False),
        (b"HTTP/1.1", b"X-Connection: close", True),
        (b"HTTP/1.0", b"X: y", False),
        (b"HTTP/1.0", b"Connection: keep-alive", True),
        (b"HTTP/1.0", b"Connection: Keep-Alive", True),
        (b"HTTP/1.0", b"Connection: close", False),
    ],
)
@pytest.mark.parametrize("first", [True, False], ids=["first", "last"])
def test_the_connection_is_kept_as_the_head_says(version: bytes, header: bytes, kept: bool, first: bool) -> None:
    headers = [header, b"Content-Length: 15"] if first else [b"Content-Length: 15", header]
    head = read_head(answer(*headers, status=version + b" 200 OK"))
    assert head is not None
    assert head.keep_alive is kept


@pytest.mark.parametrize("value", [b"upgrade, close", b"TE,close"])
def test_close_may_stand_among_other_options(value: bytes) -> None:
    head = read_head(answer(b"Content-Length: 15", b"Connection: " + value))
    assert head is not None
    assert not head.keep_alive


# Not complete yet.


@given(st.integers(0, 200))
def test_an_incomplete_head_is_waited_for(length: int) -> None:
    data = answer(b"Content-Type: application/json", b"Content-Length: 15", body=b"")
    assert (read_head(data[:length]) is None) == (length < len(data))


def test_a_head_that_never_ends_is_malformed() -> None:
    filler = b"HTTP/1.1 200 OK\r\nX: "
    assert read_head(filler + b"a" * (MAX_HEAD_BYTES - len(filler))) is None
    with pytest.raises(MalformedAnswer, match="not the head"):
        read_head(filler + b"a" * MAX_HEAD_BYTES)


# Malformed.


@pytest.mark.parametrize("data", [b"\x16\x03\x01", b"SSH-2.0-x\r\n", b"H2", b"HTTP/2 200\r\n", b" HTTP/1.1", b"<html>"])
def test_something_else_is_noticed_at_its_first_bytes(data: bytes) -> None:
    with pytest.raises(MalformedAnswer, match=r"not the head of an HTTP/1\.1 answer"):
        read_head(data)


@pytest.mark.parametrize(
    "status",
    [b"HTTP/1.1 20 OK", b"HTTP/1.1 2000 OK", b"HTTP/1.1", b"HTTP/1.1 abc", b"HTTP/2.0 200 OK", b"HTTP/1.2 200 OK"],
)
def test_a_malformed_status_is_refused(status: bytes) -> None:
    with pytest.raises(MalformedAnswer, match=r"no HTTP/1\.1 status"):
        read_head(answer(b"Content-Length: 15", status=status))


@pytest.mark.parametrize(
    "header",
    [
        b"Transfer-Encoding: chunked",
        b"Content-Length: ",
        b"Content-Length: -5",
        b"Content-Length: 15x",
        b"Content-Length: 1 5",
        b"X-Content-Length: 15",
    ],
)
def test_an_answer_without_a_known_length_is_refused(header: bytes) -> None:
    with pytest.raises(MalformedAnswer, match="no Content-Length"):
        read_head(answer(header))


def test_the_same_refusal_comes_every_time() -> None:
    for _ in range(2):
        with pytest.raises(MalformedAnswer):
            read_head(answer(b"Transfer-Encoding: chunked"))


def test_the_message_shows_what_came_and_no_more_of_it_than_needed() -> None:
    with pytest.raises(MalformedAnswer) as error:
        read_head(b"<html>" + b"x" * 10_000)
    assert "<html>" in str(error.value)
    assert len(str(error.value)) < 300


@given(st.integers(100, 599), st.integers(0, 10**9), st.booleans())
def test_every_head_is_read_as_it_was_written(status: int, length: int, close: bool) -> None:
    headers = [b"Content-Length: %d" % length, b"Connection: " + (b"close" if close else b"keep-alive")]
    data = answer(*headers, status=b"HTTP/1.1 %d X" % status, body=b"")
    for _ in range(2):
        assert read_head(data) == Head(status, len(data), len(data) + length, not close)
