"""Read the answers of ModelStreamInfer in the load generator. Apart from the encoding: nothing heavy here.

A few fields of a message are wanted, so they are read as they lie: protobuf's encoding is a sequence of numbered
fields (https://protobuf.dev/programming-guides/encoding/). Numbers of the fields:
https://github.com/triton-inference-server/common/blob/main/protobuf/grpc_service.proto
"""

from collections.abc import Iterator

from targets.base import Outcome, Piece

FINAL = b"triton_final_response"
_ERROR, _RESPONSE = 1, 2
"""Of ModelStreamInferResponse."""
_PARAMETERS, _OUTPUTS = 4, 5
"""Of ModelInferResponse."""
_KEY, _VALUE, _BOOL = 1, 2, 1
"""Of a parameter, and of its value."""
_FIXED = {1: 8, 5: 4}
"""Wire type -> bytes, of numbers that are not varints."""


def read_answer(message: bytes) -> int | Piece:
    """Return 1 for an answer with outputs, 0 for one that only says that it is the last.

    Raises:
        ValueError: it is no such message.
    """
    response = b""
    for number, value in _fields(message):
        if number == _ERROR and value and isinstance(value, bytes):
            return Piece(0, failed=True, reason=value)
        if number == _RESPONSE and isinstance(value, bytes):
            response = value
    return int(any(number == _OUTPUTS for number, _ in _fields(response)))


def judge(_status: int, last: bytes) -> Outcome:
    """A request is answered when the last message says that it is the final one."""
    for number, response in _fields(last):
        if number == _RESPONSE and isinstance(response, bytes) and any(map(_is_final, _fields(response))):
            return Outcome.OK
    return Outcome.MALFORMED


def _is_final(found: tuple[int, int | bytes]) -> bool:
    number, parameter = found
    if number != _PARAMETERS or not isinstance(parameter, bytes):
        return False
    entry = dict(_fields(parameter))
    value = entry.get(_VALUE)
    return entry.get(_KEY) == FINAL and isinstance(value, bytes) and bool(dict(_fields(value)).get(_BOOL))


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yield (number, value) of each field: a varint as a number, everything else as bytes."""
    at, end = 0, len(message)
    while at < end:
        tag, at = _varint(message, at)
        kind = tag & 7
        if kind == 0:
            value, at = _varint(message, at)
            yield tag >> 3, value
            continue
        if kind == 2:
            size, at = _varint(message, at)
        elif kind in _FIXED:
            size = _FIXED[kind]
        else:
            raise ValueError(f"no field of protobuf: tag {tag} at byte {at}")
        if at + size > end:
            raise ValueError(f"a field of {size} bytes in a message that has {end - at} left")
        yield tag >> 3, message[at : at + size]
        at += size


def _varint(message: bytes, at: int) -> tuple[int, int]:
    """Return the number that begins at a byte, and where it ends."""
    value = shift = 0
    while True:
        if at >= len(message) or shift > 63:
            raise ValueError("a number that does not end")
        byte = message[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7
