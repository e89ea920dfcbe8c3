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
        longest_wait_s: that a user was found to wait between two tasks; 0.0: none, or it is not known beforehand.
        unused: what it says, or Locust's configuration beside it, that Paretune does not do, a line each.
    """

    users: tuple[tuple[str, str | None], ...]
    longest_wait_s: float = 0.0
    unused: tuple[str, ...] = ()


def unjudged(status: int, body: bytes) -> Outcome:  # noqa: ARG001 - a judge is called with them
    """Take every answer: what a locustfile's users get is judged by Locust."""
    return Outcome.OK
