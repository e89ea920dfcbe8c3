"""The tuner's end of the load generator: a process of its own that is handed plans and hands back reports."""

import os
import subprocess
import sys
from multiprocessing.connection import Pipe
from types import TracebackType

from tuner.load.plan import Plan, RunReport

_START_TIMEOUT_S = 30.0
_MARGIN_S = 30.0


class GeneratorError(Exception):
    """The generator could not run a plan: its process ended or this host ran out of something."""


class Generator:
    """A load generator's process; it inherits the CPUs given and is started anew when it is lost.

    Raises:
        GeneratorError: the process does not start.
    """

    def __init__(self, cpus: frozenset[int] | None = None) -> None:
        self._cpus = cpus
        self._start()

    def _start(self) -> None:
        self._pipe, theirs = Pipe()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "tuner.load.worker", str(theirs.fileno())], pass_fds=[theirs.fileno()]
            )
        if not self._pipe.poll(_START_TIMEOUT_S):
            self.close()
            raise GeneratorError(f"the load generator did not start within {_START_TIMEOUT_S:g} s")
        self._receive()
        if self._cpus:
            os.sched_setaffinity(self._process.pid, self._cpus)

    @property
    def pid(self) -> int:
        """Process id of the generator."""
        return self._process.pid

    def begin(self, plan: Plan) -> None:
        """Hand over a plan; it starts at its own time."""
        if self._process.poll() is not None:
            self._start()
        self._plan = plan
        self._pipe.send(plan)

    def finish(self) -> RunReport:
        """Wait for the report of the plan handed over.

        Raises:
            GeneratorError: the process ended, hangs, or could not run the plan.
        """
        plan = self._plan
        longest_s = (plan.warmup_ns + plan.window_ns + 2 * plan.timeout_ns) / 1e9 + _MARGIN_S
        if not self._pipe.poll(longest_s):
            self.close()
            raise GeneratorError(f"the load generator did not finish a plan within {longest_s:.0f} s")
        report = self._receive()
        if isinstance(report, RunReport):
            return report
        raise GeneratorError(f"the load generator could not run: {report}")

    def _receive(self) -> object:
        try:
            return self._pipe.recv()
        except (EOFError, ConnectionResetError):
            code = self._process.wait()
            raise GeneratorError(f"the load generator's process ended with exit code {code}") from None

    def run(self, plan: Plan) -> RunReport:
        """Run a plan and wait for its report."""
        self.begin(plan)
        return self.finish()

    def close(self) -> None:
        """End the process; safe to call twice."""
        self._pipe.close()
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()

    def __enter__(self) -> "Generator":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
