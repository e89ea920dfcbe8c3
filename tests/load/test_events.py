"""Reading server-sent events."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.load_runs import cut
from tuner.load.wire.connection import MalformedAnswer
from tuner.load.wire.events import MAX_EVENT_BYTES, EventParser

LINES = st.sampled_from(
    [b"data: a", b"data:b", b"data:  c", b"data", b"data:", b": comment", b":", b"event: x", b"datax: y", b"", b""]
)
STREAMS = st.lists(st.tuples(LINES, st.sampled_from([b"\n", b"\r\n", b"\r"])), max_size=30)


def parsed(pieces: list[bytes]) -> list[bytes]:
    parser = EventParser()
    return [event for piece in pieces for event in parser.feed(piece)]


def as_specified(lines: list[bytes]) -> list[bytes]:
    """Follow the specification, line by line."""
    events, data = [], []
    for line in lines:
        name, _, value = line.partition(b":")
        if name == b"data":
            data.append(value.removeprefix(b" "))
        elif not line and data:
            events.append(b"\n".join(data))
            data = []
    return events


def stream_of(ended: list[tuple[bytes, bytes]]) -> tuple[bytes, list[bytes]]:
    """Return the bytes of lines and the lines as a reader sees them: CR and LF of neighbours become one line end."""
    stream = b"".join(line + end for line, end in ended)
    return stream, stream.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")[:-1]


@given(STREAMS)
def test_events_are_those_of_the_specification(ended: list[tuple[bytes, bytes]]) -> None:
    stream, lines = stream_of(ended)
    assert parsed([stream]) == as_specified(lines)


@given(STREAMS, st.lists(st.integers(0, 400)))
def test_events_are_the_same_wherever_the_bytes_are_cut(ended: list[tuple[bytes, bytes]], places: list[int]) -> None:
    stream, lines = stream_of(ended)
    assert parsed(cut(stream, places)) == as_specified(lines)


@given(STREAMS)
def test_events_are_the_same_byte_by_byte(ended: list[tuple[bytes, bytes]]) -> None:
    stream, lines = stream_of(ended)
    assert parsed([bytes([byte]) for byte in stream]) == as_specified(lines)


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_an_event_is_there_with_its_empty_line_and_waits_for_nothing_more(end: bytes) -> None:
    parser = EventParser()
    assert parser.feed(b"data: a" + end) == []
    assert parser.feed(end[:1]) == [b"a"]
    assert parser.feed(end[1:] + b"data: b" + end + end) == [b"b"]


def test_an_event_without_its_empty_line_does_not_count() -> None:
    assert parsed([b"data: a\n\ndata: b\n"]) == [b"a"]


def test_an_event_without_data_does_not_count() -> None:
    assert parsed([b"event: ping\n\n: nothing\n\nid: 5\n\n"]) == []


def test_data_of_several_lines_is_joined() -> None:
    assert parsed([b"data: a\nid: 1\ndata: b\n\n"]) == [b"a\nb"]


def test_a_byte_order_mark_at_the_beginning_is_passed_over() -> None:
    assert parsed([b"\xef\xbb\xbfdata: a\n\ndata: b\n\n"]) == [b"a", b"b"]


def test_an_event_too_long_to_be_kept_is_refused() -> None:
    parser = EventParser()
    half = b"x" * (MAX_EVENT_BYTES // 2)
    assert parser.feed(half) + parser.feed(half) == []
    with pytest.raises(MalformedAnswer, match=f"longer than {MAX_EVENT_BYTES} bytes"):
        parser.feed(b"x")


def test_a_long_event_in_many_pieces_takes_time_in_proportion() -> None:
    def time_of(pieces: int) -> float:
        parser = EventParser()
        began = time.process_time()
        for _ in range(pieces):
            parser.feed(b"x" * 256)
        return time.process_time() - began

    time_of(1_000)
    few, many = min(time_of(1_000) for _ in range(3)), min(time_of(16_000) for _ in range(3))
    assert many < 16 * 8 * few, f"16 times as much took {many / few:.0f} times as long"
