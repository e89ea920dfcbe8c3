"""What Locust's process tells beside the reports of its runs."""

from dataclasses import dataclass

from targets.base import Outcome


class LocustfileError(Exception):
    """A locustfile that cannot be used; the message says where and why."""


@dataclass(frozen=True)
class Locustfile:
    """What a locustfile has.

    Attributes:
        users: (name, host of its own or None) of each class of users.
        shapes: names of its load shapes.
        longest_wait_s: that a user was found to wait between two tasks; 0.0: none, or it is not known beforehand.
    """

    users: tuple[tuple[str, str | None], ...]
    shapes: tuple[str, ...]
    longest_wait_s: float = 0.0


def unjudged(status: int, body: bytes) -> Outcome:  # noqa: ARG001 - a judge is called with them
    """Take every answer: what a locustfile's users get is judged by Locust."""
    return Outcome.OK
