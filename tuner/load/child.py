"""What every process of a load generator does first."""

import ctypes
import resource
import signal
import sys
from contextlib import suppress

_PR_SET_PDEATHSIG = 1


def settle_in() -> None:
    """Leave interrupts to the tuner, end with it, and have room for many connections."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the tuner decides when to end
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    _allow_many_connections()


def _allow_many_connections() -> None:
    """Raise the limit of open files to what this user may have."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):  # macOS calls its limit unlimited and then refuses it
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
