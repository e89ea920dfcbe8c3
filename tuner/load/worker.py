"""The generator's process: `python -m tuner.load.worker PIPE LIVE` runs the plans that come over a pipe."""

import ctypes
import gc
import os
import resource
import signal
import sys
from contextlib import suppress
from multiprocessing.connection import Connection

from targets.scheduling import ask_for_short_slices
from tuner.load import engine
from tuner.load.plan import Plan

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Answer each plan with its report, or with the error that kept it from running."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the tuner decides when to end
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    _allow_many_connections()
    ask_for_short_slices()
    pipe: Connection = Connection(int(sys.argv[1]))
    live = int(sys.argv[2])
    pipe.send(os.getpid())
    gc.freeze()
    while True:
        try:
            message = pipe.recv()
            if isinstance(message, Plan):  # a new window may come when the plan has just ended
                pipe.send(engine.run(message, control=pipe, live=live))
        except EOFError:
            return
        except Exception as error:
            pipe.send(error)


def _allow_many_connections() -> None:
    """Raise the limit of open files to what this user may have."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):  # macOS calls its limit unlimited and then refuses it
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


if __name__ == "__main__":
    main()
