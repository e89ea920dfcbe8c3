"""The generator's process: `python -m tuner.load.worker PIPE LIVE` runs the plans that come over a pipe."""

import gc
import os
import sys
from multiprocessing.connection import Connection

from targets.scheduling import ask_for_short_slices
from tuner.load import engine
from tuner.load.child import settle_in
from tuner.load.plan import Plan


def main() -> None:
    """Answer each plan with its report, or with the error that kept it from running."""
    settle_in()
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


if __name__ == "__main__":
    main()
