"""Locust's process: `python -m tuner.load.users.process PIPE LIVE CALLS LOCUSTFILE` runs the plans of a pipe.

The locustfile is loaded as `locust -f LOCUSTFILE --headless` loads it, in its own folder. Only the modules of this
process import Locust, which changes the standard library under it.
"""

import sys
import time
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Any

from gevent import Greenlet, getcurrent, sleep, spawn
from gevent.queue import SimpleQueue
from gevent.socket import wait_read
from locust.runners import STATE_CLEANUP, STATE_INIT, STATE_STOPPED

from targets.scheduling import ask_for_short_slices
from tuner.load.child import settle_in
from tuner.load.plan import Plan, Rewindow, RunReport, UsersLoop
from tuner.load.self_watch import SelfWatch
from tuner.load.users.loading import loaded
from tuner.load.users.messages import LocustfileError
from tuner.load.users.open_calls import OpenCalls
from tuner.load.users.recording import Ended, Recording, told
from tuner.load.users.sessions import watch

_LOOK_S = 0.005
"""This often the process looks whether it is kept from its work, and whether the window has ended."""
_LATE_NS = 500_000_000
_ENDED = (STATE_CLEANUP, STATE_STOPPED)


class Driver:
    """A loaded locustfile that plans are run with.

    Args:
        path: of the file.
        live: file descriptor of shared memory for the rows.
        calls: where it is told what is on its way.

    Raises:
        LocustfileError: the file cannot be used.
    """

    def __init__(self, path: Path, live: int, calls: OpenCalls) -> None:
        self._path, self._live, self._calls = path, live, calls
        self._recording: Recording | None = None
        self._plan: Plan | None = None
        self._own: SelfWatch | None = None
        self._environment, self.about = loaded(path)
        self._own_host = self._environment.host
        events: Any = self._environment.events
        events.request.add_listener(self._on_request)
        events.user_error.add_listener(self._on_user_error)
        self._runner = self._environment.create_local_runner()
        events.init.fire(environment=self._environment, runner=self._runner, web_ui=None)
        watch(self._running)

    def run(self, plan: Plan) -> RunReport:
        """Run a plan to its end: until the users have done what they were about, or were ended.

        Raises:
            RuntimeError: the locustfile ended the test before its window.
        """
        load = plan.load
        assert isinstance(load, UsersLoop), "a locustfile's plan has users"
        self._plan, self._own = plan, SelfWatch(plan.window)
        recording = self._recording = Recording(plan, self._calls, self._live)
        self._environment.host = self._own_host if load.own_host else _host(plan)
        self._environment.stop_timeout = plan.timeout_ns / 1e9
        if time.monotonic_ns() > plan.start_ns + _LATE_NS:
            late_s = (time.monotonic_ns() - plan.start_ns) / 1e9
            raise RuntimeError(
                f"Locust's process was {late_s:.1f} s late for this measurement: it was started anew, or something "
                "else had its core"
            )
        _sleep_until(plan.start_ns)
        self._runner.update_state(STATE_INIT)
        self._runner.start(load.users, min(load.spawn_rate, load.users))
        spawning: Any = self._runner.spawning_greenlet
        spawning.link_exception(self._on_spawn_error)
        try:
            self._see_it_through(self._own)
        finally:
            self._runner.stop()
            self._recording = None
            recording.close(self._plan)
        return _report(recording, self._own, self.about.unused)

    def rewindow(self, window: Rewindow) -> None:
        """Give the running plan another window."""
        if self._recording is not None and self._plan is not None and self._own is not None:
            self._plan = window.of(self._plan)
            self._own.rewindow(self._plan.window)

    def _see_it_through(self, own: SelfWatch) -> None:
        """Wait for the end of the window; how late this is woken tells how long all users were kept waiting."""
        assert self._plan is not None, "there is one while it runs"
        while (now := time.monotonic_ns()) < self._plan.window[1]:
            due = min(now + round(_LOOK_S * 1e9), self._plan.window[1])
            _sleep_until(due)
            woken = time.monotonic_ns()
            own.busy(woken - due)
            if woken >= own.next_edge:
                own.at_edge(woken)
            if self._runner.state in _ENDED:
                raise RuntimeError(
                    f"{self._path.name} ended the test before the end of the measurement (StopTest or runner.quit()); "
                    "Paretune says when it ends"
                )

    def _running(self) -> tuple[Recording, Plan] | None:
        return None if self._recording is None or self._plan is None else (self._recording, self._plan)

    def _on_request(
        self,
        request_type: str,
        name: str,
        response_time: float,
        response_length: int = 0,
        exception: BaseException | str | None = None,
        response: Any = None,
        start_time: float | None = None,
        **_: object,
    ) -> None:
        if self._recording is None:
            return
        status = getattr(response, "status_code", 0)
        self._recording.ended(
            getcurrent(),
            Ended(
                method=str(request_type),
                name=str(name),
                took_ms=float(response_time or 0.0),
                size=int(response_length or 0),
                failure=exception or None,
                status=status if isinstance(status, int) else 0,
                started_s=start_time,
            ),
        )

    def _on_user_error(
        self,
        user_instance: object,  # noqa: ARG002 - Locust calls it by this name
        exception: BaseException,
        tb: TracebackType | None,
        **_: object,
    ) -> None:
        if self._recording is not None:
            self._recording.raised(getcurrent(), told(exception, self._path.parent, tb))

    def _on_spawn_error(self, failed: Greenlet) -> None:
        if self._recording is not None and failed.exception is not None:
            self._recording.raised(None, told(failed.exception, self._path.parent, failed.exc_info[2]))


def _host(plan: Plan) -> str:
    at = plan.endpoint
    return f"{'http' if at.tls is None else 'https'}://{f'[{at.host}]' if ':' in at.host else at.host}:{at.port}"


def _report(recording: Recording, own: SelfWatch, notes: tuple[str, ...]) -> RunReport:
    return RunReport(
        requests=recording.rows.count,
        cpu_share=own.cpu_share(),
        kept_share=own.kept_share(),
        held_back_share=own.held_back_share(),
        stalls=own.stalls,
        longest_stall_s=own.longest_ns / 1e9,
        queue_max=0,
        waiting_max=0,
        failures=recording.failures(),
        locust=True,
        named=recording.named(),
        raised=recording.all_raised(),
        notes=notes,
    )


def _sleep_until(at_ns: int) -> None:
    if (left := at_ns - time.monotonic_ns()) > 0:
        sleep(left / 1e9)


def main() -> None:
    """Answer each plan with its report, or with the error that kept it from running."""
    settle_in()
    ask_for_short_slices()
    pipe: Connection = Connection(int(sys.argv[1]))
    live, calls, path = int(sys.argv[2]), OpenCalls(int(sys.argv[3])), Path(sys.argv[4])
    try:
        driver = Driver(path, live, calls)
    except LocustfileError as error:
        pipe.send(error)
        return
    pipe.send(driver.about)
    plans: SimpleQueue[Plan | None] = SimpleQueue()
    spawn(_listen, pipe, driver, plans)
    while (plan := plans.get()) is not None:
        try:
            pipe.send(driver.run(plan))
        except Exception as error:
            pipe.send(RuntimeError(f"{type(error).__name__}: {error}" if not str(error) else str(error)))


def _listen(pipe: Connection, driver: Driver, plans: "SimpleQueue[Plan | None]") -> None:
    """Pass on what comes over the pipe; its end is that of the process."""
    while True:
        wait_read(pipe.fileno())
        try:
            message = pipe.recv()
        except EOFError:
            plans.put(None)
            return
        if isinstance(message, Rewindow):
            driver.rewindow(message)
        elif isinstance(message, Plan):
            plans.put(message)


if __name__ == "__main__":
    main()
