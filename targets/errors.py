"""What goes wrong with a target, by whom it concerns: one configuration, one model, the server, or all of it."""

from collections.abc import Sequence


class TargetError(Exception):
    """The target cannot be used. The message says what failed, with which value, and the remedy."""


class ConfigRefused(TargetError):
    """The server refused a configuration, or would; it is an observation about that configuration.

    Attributes:
        knobs: whose values are the reason, where that is known.
        parts: each of the reasons, where there are several.
    """

    def __init__(self, message: str, knobs: Sequence[str] = (), parts: "Sequence[ConfigRefused]" = ()) -> None:
        super().__init__(message)
        self.knobs, self.parts = tuple(knobs), tuple(parts)


class Unfit(TargetError):
    """A model does not take the requests, or does not answer what the study asks it for.

    Of a deployment it is an observation about its configuration, whose variant may be another model; the server and
    the others are not concerned. Before anything is deployed it means that the study does not fit its own model.
    """


class ServerDied(TargetError):
    """The server ended or stopped answering; it has to be started again before the next deployment."""


class ServerHung(ServerDied):
    """The server's process is there, but it does not answer."""
