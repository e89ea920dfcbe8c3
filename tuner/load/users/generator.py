"""The tuner's end of Locust's process: a load generator whose plans are of users of a locustfile."""

import os
import subprocess
import sys
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tuner.live_rows import shared_memory
from tuner.load.generator import Generator, GeneratorError, Worker
from tuner.load.plan import RunReport
from tuner.load.users import open_calls
from tuner.load.users.messages import Locustfile, LocustfileError

MISSING = "a locustfile is run by Locust, which is not installed: pip install 'paretune[locust]'"


def users_generator(path: Path, cpus: frozenset[int] | None, log: Path) -> Generator:
    """Start a generator of a locustfile's load; `ready` has to be called before the first plan.

    Args:
        path: of the locustfile.
        cpus: that its process runs on; None: any.
        log: what Locust and the locustfile print is appended to it.
    """
    return Generator(cpus, wait=False, start=partial(LocustWorker, path, log))


def look_into(path: Path) -> Locustfile:
    """Load a locustfile in a process of its own, and return what it has.

    Raises:
        LocustfileError: it cannot be used, or Locust is not installed.
    """
    if find_spec("locust") is None:
        raise LocustfileError(MISSING)
    worker = LocustWorker(path, Path(os.devnull), None)
    try:
        worker.ready()
    except GeneratorError as error:
        raise LocustfileError(f"Locust does not start with it: {error}") from None
    finally:
        worker.close()
    assert worker.about is not None, "it said what it has"
    return worker.about


class LocustWorker(Worker):
    """Locust's process.

    Args:
        path: of the locustfile.
        log: what is printed is appended to it.
        cpus: that it is to run on; None: any.

    Attributes:
        about: what the locustfile has; None before it is ready.
    """

    about: Locustfile | None = None

    def __init__(self, path: Path, log: Path, cpus: frozenset[int] | None) -> None:
        self._path, self._log = path, log
        self._calls = shared_memory()
        try:
            super().__init__(cpus)
        except BaseException:
            self._give_back()
            raise

    def _launch(self, pipe: int) -> "subprocess.Popen[bytes]":
        shared = [pipe, self.live.fd, self._calls]
        with self._log.open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-P", "-m", "tuner.load.users.process", *map(str, shared), str(self._path)],
                pass_fds=shared,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def _greeted(self, message: object) -> None:
        if isinstance(message, LocustfileError):
            raise message
        assert isinstance(message, Locustfile), "it says what the locustfile has, or why it cannot"
        self.about = message

    def finish(self) -> RunReport:
        """Wait for the end of the plan.

        Raises:
            GeneratorError: it could not be run, or no request was made.
        """
        report = super().finish()
        if report.requests:
            return report
        if report.raised:
            raise GeneratorError(f"{self._path.name} made no request: {report.raised[0].text}")
        loaded_s = (self.plan.warmup_ns + self.plan.window_ns) / 1e9
        raise GeneratorError(
            f"{self._path.name} made no request in {loaded_s:.3g} s: its users wait longer than that; raise "
            "`measure.window` and `confirm.round`, or shorten their wait_time"
        )

    def on_their_way(self) -> NDArray[np.int64] | None:
        """Return when the requests that have not ended were sent; None where its clients do not tell."""
        return open_calls.read(self._calls)

    def close(self) -> None:
        """End the process and give its memory back."""
        super().close()
        self._give_back()

    def _give_back(self) -> None:
        if self._calls >= 0:
            os.close(self._calls)
            self._calls = -1
