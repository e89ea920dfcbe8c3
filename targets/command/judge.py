"""Judge answers in the load generator. Kept apart from the encoding: it imports nothing heavy."""

from targets.base import Outcome


def judge(ok: frozenset[int], contains: bytes, status: int, body: bytes) -> Outcome:
    """Judge an answer over HTTP.

    Args:
        ok: statuses of answers that are ok.
        contains: what has to stand in the body then; b"" asks for nothing.
        status: of the answer.
        body: of the answer.
    """
    if status not in ok:
        return Outcome.HTTP_ERROR
    return Outcome.OK if contains in body else Outcome.MALFORMED
