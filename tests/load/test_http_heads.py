"""Reading the heads of HTTP/1.1 answers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuner.load.wire import http1
from tuner.load.wire.connection import MalformedAnswer
from tuner.load.wire.http1 import MAX_ANSWER_BYTES, MAX_HEAD_BYTES, Head, read_head

BODY = b'{"outputs": []}'


def answer(*headers: bytes, status: bytes = b"HTTP/1.1 200 OK", body: bytes = BODY) -> bytes:
    return b"\r\n".join([status, *headers]) + b"\r\n\r\n" + body


def head_of(data: bytes | bytearray) -> Head:
    head = read_head(data)
    assert head is not None, f"{data!r} holds a whole head"
    return head


def test_reads_status_and_lengths() -> None:
    data = answer(b"Content-Type: application/json", b"Content-Length: 15")
    assert read_head(data) == Head(
        status=200, body_start=len(data) - 15, length=15, chunked=False, keep_alive=True, events=False
    )


def test_the_body_need_not_be_there_yet() -> None:
    assert head_of(answer(b"Content-Length: 1000", body=b"")).length == 1000


def test_what_follows_the_head_does_not_matter() -> None:
    one = answer(b"Content-Length: 15")
    assert read_head(one + answer(b"Content-Length: 99")) == read_head(one)


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
    assert head_of(answer(b"Server: x", header, b"X-Last: 3")).length == 15


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
    assert head_of(answer(b"Content-Length: 15", status=line)).status == status


# How long the body is.


@pytest.mark.parametrize("header", [b"Transfer-Encoding: chunked", b"transfer-encoding:CHUNKED "])
def test_a_chunked_body_has_no_length(header: bytes) -> None:
    head = head_of(answer(header))
    assert (head.chunked, head.length, head.keep_alive) == (True, None, True)


@pytest.mark.parametrize("headers", [(), (b"X-Content-Length: 15",), (b"Connection: keep-alive",)])
def test_a_body_of_which_nothing_is_said_ends_with_the_connection(headers: tuple[bytes, ...]) -> None:
    head = head_of(answer(*headers))
    assert (head.chunked, head.length, head.keep_alive) == (False, None, False)


@pytest.mark.parametrize("status", [b"HTTP/1.1 204 No Content", b"HTTP/1.1 304 Not Modified", b"HTTP/1.1 100 Continue"])
@pytest.mark.parametrize("headers", [(), (b"Content-Length: 15",), (b"Transfer-Encoding: chunked",)])
def test_some_answers_never_have_a_body(status: bytes, headers: tuple[bytes, ...]) -> None:
    head = head_of(answer(*headers, status=status))
    assert (head.chunked, head.length, head.keep_alive) == (False, 0, True)


@pytest.mark.parametrize("headers", [(b"Content-Length: 15", b"Content-Length: 15")])
def test_a_length_may_be_repeated(headers: tuple[bytes, ...]) -> None:
    assert head_of(answer(*headers)).length == 15


@pytest.mark.parametrize(
    "headers",
    [
        (b"Content-Length: 15", b"Content-Length: 16"),
        (b"Content-Length: 15", b"Transfer-Encoding: chunked"),
        (b"Transfer-Encoding: chunked", b"Content-Length: 15"),
    ],
)
def test_two_lengths_are_refused(headers: tuple[bytes, ...]) -> None:
    with pytest.raises(MalformedAnswer, match="the length is given twice"):
        read_head(answer(*headers))


@pytest.mark.parametrize(
    "value", [b"", b"-5", b"+5", b"15x", b"1 5", b"15, 16", b"0x0f", b"1_5", b"\xd9\xa1\xd9\xa5", b"9" * 5000]
)
def test_what_is_no_length_is_refused(value: bytes) -> None:
    with pytest.raises(MalformedAnswer, match="not a length"):
        read_head(answer(b"Content-Length: " + value))


def test_an_answer_too_long_to_be_kept_is_refused_at_its_head() -> None:
    assert head_of(answer(b"Content-Length: %d" % MAX_ANSWER_BYTES)).length == MAX_ANSWER_BYTES
    with pytest.raises(MalformedAnswer, match=f"an answer of {MAX_ANSWER_BYTES + 1} bytes"):
        read_head(answer(b"Content-Length: %d" % (MAX_ANSWER_BYTES + 1)))


@pytest.mark.parametrize("encoding", [b"gzip, chunked", b"identity", b"", b"chunked, chunked"])
def test_another_transfer_encoding_is_refused(encoding: bytes) -> None:
    with pytest.raises(MalformedAnswer, match="is not understood"):
        read_head(answer(b"Transfer-Encoding: " + encoding))


# Streams of events.


@pytest.mark.parametrize("value", [b"text/event-stream", b"text/event-stream; charset=utf-8", b"Text/Event-Stream"])
def test_a_stream_of_events_is_known_by_its_type(value: bytes) -> None:
    assert head_of(answer(b"Content-Type: " + value, b"Transfer-Encoding: chunked")).events


@pytest.mark.parametrize("header", [b"Content-Type: application/json", b"X-Content-Type: text/event-stream", b"A: b"])
def test_anything_else_is_no_stream_of_events(header: bytes) -> None:
    assert not head_of(answer(header, b"Transfer-Encoding: chunked")).events


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
    assert head_of(answer(*headers, status=version + b" 200 OK")).keep_alive is kept


@pytest.mark.parametrize("value", [b"upgrade, close", b"TE,close"])
def test_close_may_stand_among_other_options(value: bytes) -> None:
    assert not head_of(answer(b"Content-Length: 15", b"Connection: " + value)).keep_alive


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


def test_a_head_that_is_too_long_is_malformed_even_when_it_comes_as_a_whole() -> None:
    with pytest.raises(MalformedAnswer, match="a head of"):
        read_head(answer(b"X: " + b"a" * MAX_HEAD_BYTES))


# Malformed.


@pytest.mark.parametrize("data", [b"\x16\x03\x01", b"SSH-2.0-x\r\n", b"H2", b"HTTP/2 200\r\n", b" HTTP/1.1", b"<html>"])
def test_something_else_is_noticed_at_its_first_bytes(data: bytes) -> None:
    with pytest.raises(MalformedAnswer, match=r"not the head of an HTTP/1\.1 answer"):
        read_head(data)


@pytest.mark.parametrize(
    "status",
    [b"HTTP/1.1 20 OK", b"HTTP/1.1 2000 OK", b"HTTP/1.1", b"HTTP/1.1 abc", b"HTTP/2.0 200 OK", b"HTTP/1.2 200 OK"],
)
def test_a_malformed_status_is_refused_every_time(status: bytes) -> None:
    for _ in range(2):
        with pytest.raises(MalformedAnswer, match=r"no HTTP/1\.1 status"):
            read_head(answer(b"Content-Length: 15", status=status))


def test_the_message_shows_what_came_and_no_more_of_it_than_needed() -> None:
    with pytest.raises(MalformedAnswer) as error:
        read_head(b"<html>" + b"x" * 10_000)
    assert "<html>" in str(error.value)
    assert len(str(error.value)) < 300


@given(st.integers(200, 599), st.integers(0, 10**9), st.booleans())
def test_every_head_is_read_as_it_was_written(status: int, length: int, close: bool) -> None:
    headers = [b"Content-Length: %d" % length, b"Connection: " + (b"close" if close else b"keep-alive")]
    data = answer(*headers, status=b"HTTP/1.1 %d X" % status, body=b"")
    for _ in range(2):
        head = head_of(data)
        assert (head.status, head.body_start, head.keep_alive) == (status, len(data), not close)
        assert head.length == (0 if status in (204, 304) else length)


def test_heads_that_change_all_the_time_do_not_fill_the_memory() -> None:
    for second in range(5_000):
        assert head_of(answer(b"Content-Length: 15", b"Date: %d" % second)).length == 15
    assert len(http1._remembered) <= 1024
