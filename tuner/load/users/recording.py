"""Locust's events as rows of records.

Locust tells of a request when it has ended: when it began, on the wall clock, and how long it took, on the monotonic
one. A row's latency is what Locust measured. Where it stands on the monotonic clock is known from the moment its
session was asked for it; of other clients from the wall clock.
"""

import time
from collections.abc import Hashable
from dataclasses import dataclass
from pathlib import Path
from traceback import extract_tb
from types import TracebackType

from targets.base import Outcome
from tuner.load.plan import NAMES, Failure, Named, Plan, Raised, UsersLoop
from tuner.load.users.open_calls import OpenCalls
from tuner.records import RecordsWriter

_NEAR_NS = 20_000_000
"""An event and the call of a session are of one request if they began within so short a time."""
_REMEMBERED = 8
"""Calls of a user that are remembered until their event comes."""
_LONGEST_TEXT = 300
_FIRST_ERROR_STATUS = 400


@dataclass(frozen=True)
class Ended:
    """A request that ended, as Locust's event has it.

    Attributes:
        method: or type.
        name: of it.
        took_ms: response time.
        size: of the answer, in bytes.
        failure: why it is counted as failed; None: it is not.
        status: of HTTP; 0: there is none.
        started_s: when it began, on the wall clock; None: the client does not say.
    """

    method: str
    name: str
    took_ms: float
    size: int
    failure: BaseException | str | None
    status: int
    started_s: float | None


class Recording:
    """The rows of one run.

    Args:
        plan: of the run; its load is of users.
        calls: where it is told what is on its way.
        live: file descriptor of shared memory for the rows.
    """

    def __init__(self, plan: Plan, calls: OpenCalls, live: int | None = None) -> None:
        assert isinstance(plan.load, UsersLoop), "a locustfile's plan has users"
        self.rows = RecordsWriter(plan.records_path, plan.worker, live)
        self._calls = calls
        calls.clear()
        self._class_of = {name: index for index, names in enumerate(plan.load.classes) for name in names}
        self._others = len(plan.load.classes)
        self._counts = [0] * (self._others + 1)
        self._numbers: dict[tuple[str, str], int] = {}
        self._begun: dict[Hashable, list[int]] = {}
        self._failed: set[Hashable] = set()
        self._failures: dict[tuple[Outcome, int], str] = {}
        self._raised: dict[str, tuple[int, int]] = {}

    def begin(self, user: Hashable) -> tuple[int, int]:
        """Take note that a user's session is asked for a request; return its slot and the time, in ns."""
        now = time.monotonic_ns()
        begun = self._begun.setdefault(user, [])
        begun.append(now)
        del begun[:-_REMEMBERED]
        return self._calls.begin(now), now

    def leave(self, slot: int) -> None:
        """Take note that the session is done with it."""
        self._calls.end(slot)

    def ended(self, user: Hashable, one: Ended) -> None:
        """Record a request that ended."""
        now, took = time.monotonic_ns(), max(0, round(one.took_ms * 1e6))
        expected = now - took if one.started_s is None else now - time.time_ns() + round(one.started_s * 1e9)
        sent = min(self._sent(user, expected), now - took)
        outcome, code = _outcome(one.failure, one.status)
        if outcome is Outcome.OK:
            self._failed.discard(user)
        else:
            self._failed.add(user)
            self._failures.setdefault((outcome, code), str(one.failure)[:_LONGEST_TEXT])
        self._append(one.method, one.name, (sent, sent, sent, 0, sent + took), one.size, code, outcome)

    def cut_off(self, begun_ns: int, end_ns: int, method: str, name: str) -> None:
        """Record a request whose user was ended before the answer came.

        One that began after the end of the load is none of it: Locust ends a user that waits as it is about to go on.
        """
        if begun_ns >= end_ns:
            return
        self._failures.setdefault((Outcome.TIMEOUT, 0), "no answer in time after the end of the load")
        times = (begun_ns, begun_ns, begun_ns, 0, time.monotonic_ns())
        self._append(method, name, times, 0, 0, Outcome.TIMEOUT)

    def raised(self, user: Hashable | None, text: str) -> None:
        """Take note of an exception that a user's task raised; of no user: one that kept users from beginning."""
        count, unprovoked = self._raised.get(text, (0, 0))
        self._raised[text] = count + 1, unprovoked + (user not in self._failed)

    def close(self, plan: Plan) -> None:
        """Write the file."""
        self.rows.close(plan.window, plan.class_of if plan.classes else None)

    def named(self) -> tuple[Named, ...]:
        """Return what was asked for."""
        return tuple(Named(number, *name) for name, number in self._numbers.items())

    def failures(self) -> tuple[Failure, ...]:
        """Return the first failure of each kind."""
        return tuple(Failure(*kind, text) for kind, text in self._failures.items())

    def all_raised(self) -> tuple[Raised, ...]:
        """Return the exceptions, the most frequent first."""
        found = [Raised(text, *counts) for text, counts in self._raised.items()]
        return tuple(sorted(found, key=lambda one: -one.count))

    def _append(
        self, method: str, name: str, times: tuple[int, int, int, int, int], size: int, code: int, outcome: Outcome
    ) -> None:
        self.rows.append(times, (0, size), self._number(method, name), code, outcome)

    def _sent(self, user: Hashable, expected_ns: int) -> int:
        """Return when a request was sent that is told to have begun about then."""
        begun = self._begun.get(user, [])
        nearest = min(begun, key=lambda one: abs(one - expected_ns), default=None)
        if nearest is None or abs(nearest - expected_ns) > _NEAR_NS:
            self._calls.miss()
            return expected_ns
        begun.remove(nearest)
        return nearest

    def _number(self, method: str, name: str) -> int:
        """Return the number of a request: those of a class stand together."""
        number = self._numbers.get((method, name))
        if number is None:
            of_class = self._class_of.get(f"{method} {name}", self._class_of.get(name, self._others))
            number = of_class * NAMES + min(self._counts[of_class], NAMES - 1)
            self._counts[of_class] += 1
            self._numbers[method, name] = number
        return number


def _outcome(failure: BaseException | str | None, status: int) -> tuple[Outcome, int]:
    """Return how a request ended, and with which status or errno."""
    if failure is None:
        return Outcome.OK, status
    if status >= _FIRST_ERROR_STATUS:
        return Outcome.HTTP_ERROR, status
    if status:  # it was answered, and the locustfile does not take the answer
        return Outcome.MALFORMED, status
    if "Timeout" in type(failure).__name__ or isinstance(failure, TimeoutError):
        return Outcome.TIMEOUT, 0
    if isinstance(failure, OSError):
        return Outcome.CONNECTION_ERROR, failure.errno or 0
    return Outcome.MALFORMED, 0


def told(error: BaseException, folder: Path, trace: TracebackType | None = None) -> str:
    """Say what was raised, and where in the files of a folder."""
    said = f"{type(error).__name__}: {error}"[:_LONGEST_TEXT].rstrip(": ")
    if isinstance(error, SyntaxError) and error.filename:
        return f"{Path(error.filename).name}:{error.lineno}: {type(error).__name__}: {error.msg}"
    frames = extract_tb(trace if trace is not None else error.__traceback__)
    own = [one for one in frames if Path(one.filename).is_relative_to(folder)]
    if not (found := own or frames):
        return said
    where = found[-1]
    inside = f" in {where.name}" if where.name != "<module>" else ""
    return f"{Path(where.filename).name}:{where.lineno}:{inside} {said}"
