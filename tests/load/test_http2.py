"""HTTP/2's frames and header blocks, whatever their bytes and however they are cut."""

import struct

import pytest
from hpack import Decoder, Encoder
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.load_runs import cut
from tuner.load.wire import http2
from tuner.load.wire.connection import MalformedAnswer

relaxed = settings(deadline=None, max_examples=80)
KINDS = st.sampled_from([0, 2, 3, 4, 6, 7, 8, 0x42, 0xFF])
FRAMES = st.lists(st.tuples(KINDS, st.integers(0, 255), st.integers(0, http2.MAX_STREAM_ID), st.binary(max_size=40)))
NAMES, VALUES = (
    st.sampled_from(["a", "grpc-status", ":status", "x-long-name"]),
    st.sampled_from(["", "0", "200", "v" * 90]),
)
FIELDS = st.lists(st.tuples(NAMES, VALUES), max_size=6)
TABLE_SIZES = st.sampled_from([0, 40, 100, 4096])
GRPCIO_FIRST, GRPCIO_AGAIN = b"\x40\x0bgrpc-status\x010\x00\x0cgrpc-message\x00", b"\xbe\x00\x0cgrpc-message\x00"
"""Trailers as servers in Python send them: the message is never put into the table."""


def fed(reader: http2.FrameReader, parts: list[bytes]) -> list[http2.Frame]:
    return [frame for part in parts for frame in reader.feed(part)]


# -- frames --


@relaxed
@given(FRAMES, st.lists(st.integers(0, 2000), max_size=10))
def test_frames_come_out_as_they_went_in_wherever_they_are_cut(frames: list[http2.Frame], cuts: list[int]) -> None:
    data = b"".join(http2.frame(*frame) for frame in frames)
    assert fed(http2.FrameReader(), cut(data, cuts)) == frames


def test_frames_cut_at_every_byte_come_out_as_they_went_in() -> None:
    frames = [(http2.DATA, 1, 3, b"abc"), (http2.PING, 0, 0, b"12345678"), (http2.DATA, 0, 5, b"")]
    data = b"".join(http2.frame(*frame) for frame in frames)
    assert fed(http2.FrameReader(), [data[at : at + 1] for at in range(len(data))]) == frames


@relaxed
@given(st.binary(max_size=400), st.integers(1, 50))
def test_any_bytes_give_frames_or_are_malformed(data: bytes, step: int) -> None:
    try:
        fed(http2.FrameReader(), [data[at : at + step] for at in range(0, len(data), step)])
    except MalformedAnswer:
        return


@pytest.mark.parametrize("answer", [b"HTTP/1.1 400 Bad Request\r\n", b"\x15\x03\x03\x00\x02\x02\x46 and so on"])
def test_what_is_no_http2_is_shown(answer: bytes) -> None:
    with pytest.raises(MalformedAnswer, match="not HTTP/2"):
        fed(http2.FrameReader(), [answer])


def test_a_frame_of_the_largest_size_is_taken_and_no_larger_one() -> None:
    largest = http2.frame(http2.DATA, 0, 1, bytes(http2.DEFAULT_FRAME))
    assert len(fed(http2.FrameReader(), [largest])) == 1
    with pytest.raises(MalformedAnswer):
        fed(http2.FrameReader(), [http2.frame(http2.DATA, 0, 1, bytes(http2.DEFAULT_FRAME + 1))])


def test_the_reserved_bit_of_a_stream_is_passed_over() -> None:
    assert fed(http2.FrameReader(), [struct.pack(">IBI", 0, 0, 1 << 31 | 7)]) == [(http2.DATA, 0, 7, b"")]


def test_padding_is_taken_off() -> None:
    assert http2.content(http2.PADDED, b"\x03content\0\0\0") == b"content"
    assert http2.content(http2.PADDED, b"\x00content") == b"content"
    assert http2.content(http2.PADDED, b"\x03\0\0\0") == b""
    assert http2.content(0, b"\x03content") == b"\x03content"


@pytest.mark.parametrize("payload", [b"", b"\x01", b"\x05abc", b"\xff" * 255])
def test_more_padding_than_payload_is_malformed(payload: bytes) -> None:
    with pytest.raises(MalformedAnswer):
        http2.content(http2.PADDED, payload)


def test_settings_are_read_in_order() -> None:
    payload = struct.pack(">HIHI", 4, 100, 5, 20_000)
    assert list(http2.settings_of(payload)) == [(http2.INITIAL_WINDOW_SIZE, 100), (http2.MAX_FRAME_SIZE, 20_000)]


@pytest.mark.parametrize("payload", [b"1", b"1234567", struct.pack(">HI", 5, 16_383), struct.pack(">HI", 4, 1 << 31)])
def test_settings_that_are_none_are_malformed(payload: bytes) -> None:
    with pytest.raises(MalformedAnswer):
        list(http2.settings_of(payload))


def test_a_client_opens_with_the_preface_its_settings_and_a_wide_window() -> None:
    assert http2.opening().startswith(http2.PREFACE)
    settings, window = fed(http2.FrameReader(), [http2.opening().removeprefix(http2.PREFACE)])
    assert dict(http2.settings_of(settings[3])) == {
        http2.ENABLE_PUSH: 0,
        http2.INITIAL_WINDOW_SIZE: http2.RECEIVE_WINDOW,
    }
    assert http2.DEFAULT_WINDOW + http2.word(window[3]) == http2.RECEIVE_WINDOW


# -- header blocks over several frames --


@pytest.mark.parametrize("size", [0, 1, 16_384, 16_385, 32_768, 100_000])
def test_a_header_block_is_split_and_put_together_again(size: int) -> None:
    block = bytes(range(256)) * (size // 256 + 1)
    frames = http2.headers(7, block[:size])
    assert fed(http2.FrameReader(), [frames]) == [(http2.HEADERS, http2.END_HEADERS, 7, block[:size])]


def test_padding_and_priority_of_a_split_header_block_are_taken_off() -> None:
    flags = http2.PADDED | http2.PRIORITISED | http2.END_STREAM
    first = http2.frame(http2.HEADERS, flags, 1, b"\x02" + b"PRIOR" + b"ab" + b"\0\0")
    rest = http2.frame(http2.CONTINUATION, 0, 1, b"cd") + http2.frame(http2.CONTINUATION, http2.END_HEADERS, 1, b"ef")
    assert fed(http2.FrameReader(), [first + rest]) == [
        (http2.HEADERS, http2.END_STREAM | http2.END_HEADERS, 1, b"abcdef")
    ]


# -- decoding --


@relaxed
@given(st.lists(st.tuples(FIELDS, st.one_of(st.none(), TABLE_SIZES), st.booleans()), max_size=12))
def test_blocks_that_are_remembered_mean_what_they_would_if_they_were_decoded(
    answers: list[tuple[list[tuple[str, str]], int | None, bool]],
) -> None:
    """Blocks of an encoder that resizes its table and keeps headers out of it, each block read by both."""
    encoder, decoder, reader = Encoder(), Decoder(), http2.HeaderReader()
    for fields, size, kept_out in answers * 2:
        if size is not None:
            encoder.header_table_size = size
        block = encoder.encode([(*field, kept_out) for field in fields])
        assert reader.read(block) == dict(decoder.decode(block))


def test_trailers_that_servers_repeat_are_decoded_once() -> None:
    reader = http2.HeaderReader()
    assert reader.read(GRPCIO_FIRST) == reader.read(GRPCIO_AGAIN) == {"grpc-status": "0", "grpc-message": ""}
    assert reader.read(GRPCIO_AGAIN) is reader.read(GRPCIO_AGAIN)


def test_a_block_means_something_else_once_another_entry_took_the_place_of_its_own() -> None:
    encoder, reader = Encoder(), http2.HeaderReader()
    encoder.header_table_size = 40
    for value in ("0", "0", "1", "1"):
        assert reader.read(encoder.encode([("a", value)])) == {"a": value}


def test_what_is_remembered_does_not_grow_without_end() -> None:
    reader = http2.HeaderReader()
    for number in range(2000):
        reader.read(b"\x00\x01x\x04%04d" % number)
    assert len(reader._remembered) <= 256
    assert reader.read(b"\x00\x01x\x040000") == {"x": "0000"}


@relaxed
@given(st.binary(max_size=60))
def test_any_block_is_read_or_malformed(block: bytes) -> None:
    reader = http2.HeaderReader()
    try:
        reader.read(block)
    except MalformedAnswer:
        return


def test_headers_need_not_be_utf_8() -> None:
    assert http2.HeaderReader().read(b"\x00\x01x\x02\xff\xfe\x88") == {"x": "\ufffd\ufffd", ":status": "200"}


# -- encoding --


@relaxed
@given(
    st.lists(st.tuples(NAMES, st.sampled_from(["", "x", "y" * 2000, "z" * 5000])), max_size=8),
    st.lists(
        st.tuples(st.integers(0, 3), st.lists(st.sampled_from([0, 50, 2500, 4096, 1 << 20]), max_size=3)), max_size=6
    ),
)
def test_every_block_says_the_same_whatever_becomes_of_the_table(
    fields: list[tuple[str, str]], story: list[tuple[int, list[int]]]
) -> None:
    writer, decoder = http2.HeaderWriter(fields), Decoder()
    for blocks, sizes in [*story, (12, [])]:
        for size in sizes:
            writer.resize(size)
            decoder.max_allowed_table_size = min(size, 4096)
        for _ in range(blocks):
            assert list(decoder.decode(writer.block())) == fields
    assert writer.block() is writer.block()


def test_a_table_that_was_emptied_and_made_larger_again_is_announced_as_both() -> None:
    writer = http2.HeaderWriter([("x", "y")])
    assert writer.block() != writer.block() == b"\xbe"
    for size in (100, 0, 200, 4096):
        writer.resize(size)
    assert writer.block().startswith(b"\x20\x3f\xe1\x1f\x40")  # RFC 7541, 6.3: 0, then 4096; 6.2.1: a new entry


def test_headers_that_repeat_cost_a_byte_each_from_the_second_time_on() -> None:
    fields = [(":method", "POST"), (":path", "/a/b"), ("te", "trailers"), ("x-model", "digits")]
    writer = http2.HeaderWriter(fields)
    assert len(writer.block()) > 20
    assert len(writer.block()) == len(fields)
