"""Judge answers of the Open Inference Protocol in the load generator. Apart from the encoding: nothing heavy here."""

from targets.base import Outcome

HEADER_LENGTH = b"inference-header-content-length"


def judge(status: int, body: bytes) -> Outcome:
    """Over HTTP a server answers 200 with tensors, and anything else with an error."""
    if status != 200:
        return Outcome.HTTP_ERROR
    return Outcome.OK if body else Outcome.MALFORMED


def judge_grpc(_status: int, message: bytes) -> Outcome:
    """A server answers with the model's name at least; a call that failed is not asked about."""
    return Outcome.OK if message else Outcome.MALFORMED


def header_value(head: bytes, name: bytes) -> bytes | None:
    """Return a header's value from a response head, None when it is absent."""
    for line in head.split(b"\r\n")[1:]:
        key, _, value = line.partition(b":")
        if key.strip().lower() == name:
            return value.strip()
    return None
