"""The chunked transfer encoding, undone."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.load_runs import cut
from tuner.load.wire.connection import MalformedAnswer
from tuner.load.wire.http1 import MAX_HEAD_BYTES, _Chunks

EXTENSIONS = st.sampled_from([b"", b";a", b';a="b;c"', b" ; a=1"])
LINE_ENDS = st.sampled_from([b"\r\n", b"\n"])


@st.composite
def encodings(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """Return content and one of the ways to encode it."""
    pieces = draw(st.lists(st.binary(min_size=1, max_size=40), max_size=5))
    trailers = draw(st.lists(st.sampled_from([b"X-Sum: 1", b"A:"]), max_size=2))
    form = draw(st.sampled_from([b"%x", b"%X", b"%04x"]))
    encoded = b"".join(
        form % len(piece) + draw(EXTENSIONS) + draw(LINE_ENDS) + piece + draw(LINE_ENDS) for piece in pieces
    )
    return b"".join(pieces), b"\r\n".join([encoded + b"0", *trailers, b"", b""])


def decoded(pieces: list[bytes]) -> tuple[bytes, bool]:
    chunks = _Chunks()
    content = b"".join(part for piece in pieces for part in chunks.feed(piece))
    return content, chunks.complete


@given(encodings(), st.lists(st.integers(0, 300)))
def test_the_content_is_the_same_wherever_the_bytes_are_cut(encoding: tuple[bytes, bytes], places: list[int]) -> None:
    content, encoded = encoding
    assert decoded(cut(encoded, places)) == (content, True)


@given(encodings())
def test_the_content_is_the_same_byte_by_byte(encoding: tuple[bytes, bytes]) -> None:
    content, encoded = encoding
    assert decoded([bytes([byte]) for byte in encoded]) == (content, True)


@given(encodings(), st.integers(1, 300))
def test_it_is_complete_with_its_last_byte_and_not_before(encoding: tuple[bytes, bytes], missing: int) -> None:
    content, encoded = encoding
    begun, complete = decoded([encoded[:-missing]])
    assert not complete
    assert content.startswith(begun)


@pytest.mark.parametrize(
    ("encoded", "message"),
    [
        (b"3\r\nhello\r\n0\r\n\r\n", "a chunk is longer than its size: b'lo'"),
        (b"7\r\nhello\r\n0\r\n\r\n", "a chunk is longer than its size: b'0'"),
        (b"5\r\nhello\r\n0\r\n\r\nHTTP", "bytes after the last chunk"),
        (b"\r\n0\r\n\r\n", "not a chunk's size: b''"),
        (b"xyz\r\n", "not a chunk's size: b'xyz'"),
        (b"0x5\r\nhello\r\n", "not a chunk's size: b'0x5'"),
        (b"-5\r\nhello\r\n", "not a chunk's size: b'-5'"),
        (b"5 5\r\nhello\r\n", "not a chunk's size: b'5 5'"),
        (b"f" * 17 + b"\r\n", "not a chunk's size: b'fffffffffffffffff'"),
    ],
)
@pytest.mark.parametrize("whole", [True, False], ids=["whole", "byte by byte"])
def test_a_wrong_encoding_is_refused(encoded: bytes, message: str, whole: bool) -> None:
    with pytest.raises(MalformedAnswer, match=re.escape(message)):
        decoded([encoded] if whole else [bytes([byte]) for byte in encoded])


def test_a_size_that_never_ends_is_refused() -> None:
    with pytest.raises(MalformedAnswer, match="does not end"):
        decoded([b"5;" + b"x" * MAX_HEAD_BYTES])
