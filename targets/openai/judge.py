"""Judge streams of OpenAI's API in the load generator. Kept apart from the encoding: it imports nothing heavy."""

import json

from targets.base import Outcome, Piece

DONE = b"[DONE]"
_TEXTS = ("content", "reasoning_content", "reasoning", "tool_calls", "function_call")


def judge(status: int, last: bytes) -> Outcome:
    """Judge a streamed answer by its last event: it is complete when that is `[DONE]`."""
    if status != 200:
        return Outcome.HTTP_ERROR
    return Outcome.OK if last.strip() == DONE else Outcome.MALFORMED


def read_event(data: bytes) -> int | Piece:
    """Return the tokens that an event of the stream carries, and what it says of their number.

    An event that has text carries one token, unless its usage block tells how many there are by now. The event at the
    end that has nothing but the usage block carries none.

    Raises:
        ValueError: it is no JSON object.
    """
    if data.strip() == DONE:
        return 0
    event = json.loads(data)
    if not isinstance(event, dict):
        raise ValueError(f"expected a JSON object, but got {data[:40]!r}")
    if event.get("error") is not None or event.get("object") == "error":
        return Piece(0, None, failed=True)
    usage, choices = event.get("usage"), event.get("choices")
    total = usage.get("completion_tokens") if isinstance(usage, dict) else None
    if not choices:
        return Piece(0, total)
    if total is not None:
        return Piece(1, total)
    return Piece(int(any(map(_has_text, choices))))


def _has_text(choice: dict[str, object]) -> bool:
    if choice.get("text"):
        return True
    delta = choice.get("delta")
    return isinstance(delta, dict) and any(delta.get(name) for name in _TEXTS)
