"""Locust's events become rows: latencies as Locust measured them, requests by class, failures by kind."""

import os
import time
from pathlib import Path

import numpy as np
import pytest

from targets.base import Endpoint, Outcome
from tuner.live_rows import shared_memory
from tuner.load.plan import NAMES, ClassPlan, Plan, UsersLoop
from tuner.load.users import open_calls
from tuner.load.users.messages import unjudged
from tuner.load.users.open_calls import OpenCalls
from tuner.load.users.recording import Ended, Recording, told
from tuner.records import Records, read_records

MS = 1_000_000
CLASSES = (("/search", "POST /pay"), ("/home",))


def plan(path: Path) -> Plan:
    return Plan(
        endpoint=Endpoint("127.0.0.1", 1, (), unjudged),
        load=UsersLoop(2, 10.0, CLASSES),
        start_ns=time.monotonic_ns(),
        warmup_ns=0,
        window_ns=10_000 * MS,
        timeout_ns=1000 * MS,
        records_path=path / "rows.bin",
        classes=tuple(ClassPlan(index * NAMES, 1000 * MS) for index in range(3)),
    )


class Run:
    """A recording with its shared memory."""

    def __init__(self, folder: Path) -> None:
        self.plan, self.fd = plan(folder), shared_memory()
        self.recording = Recording(self.plan, OpenCalls(self.fd))

    def end(self, name: str = "/home", took_ms: float = 5.0, user: str = "ann", **given: object) -> None:
        fields = {"method": "GET", "size": 7, "failure": None, "status": 200, "started_s": None, **given}
        self.recording.ended(user, Ended(name=name, took_ms=took_ms, **fields))  # type: ignore[arg-type]

    def records(self) -> Records:
        self.recording.close(self.plan)
        return read_records(self.plan.records_path, self.plan.window)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path)


def test_a_latency_is_what_locust_measured(run: Run) -> None:
    slot, begun_ns = run.recording.begin("ann")
    time.sleep(0.01)
    run.end(took_ms=7.25, started_s=time.time() - 0.01)
    run.recording.leave(slot)
    columns = run.records().columns
    assert columns["done_ns"] - columns["intended_ns"] == [7_250_000]
    assert columns["intended_ns"] == [begun_ns]
    assert columns["sent_ns"] == columns["intended_ns"]
    assert (columns["bytes_in"], columns["code"]) == ([7], [200])


def test_requests_are_of_the_class_that_names_them_and_the_others_of_the_last(run: Run) -> None:
    for method, name in (("GET", "/search"), ("POST", "/pay"), ("GET", "/pay"), ("GET", "/home"), ("GET", "/search")):
        run.end(name, method=method)
    records = run.records()
    assert records.columns["class"].tolist() == [0, 0, 2, 1, 0]
    assert [(one.request, one.method, one.name) for one in run.recording.named()] == [
        (0, "GET", "/search"),
        (1, "POST", "/pay"),
        (2 * NAMES, "GET", "/pay"),
        (NAMES, "GET", "/home"),
    ]


@pytest.mark.parametrize(
    ("failure", "status", "outcome", "code"),
    [
        (None, 200, Outcome.OK, 200),
        (None, 404, Outcome.OK, 404),
        (RuntimeError("Bad Gateway"), 502, Outcome.HTTP_ERROR, 502),
        (RuntimeError("not what was asked for"), 200, Outcome.MALFORMED, 200),
        (ConnectionRefusedError(111, "refused"), 0, Outcome.CONNECTION_ERROR, 111),
        (TimeoutError("timed out"), 0, Outcome.TIMEOUT, 0),
        ("a text", 0, Outcome.MALFORMED, 0),
    ],
)
def test_a_failure_is_told_by_its_kind(run: Run, failure: object, status: int, outcome: Outcome, code: int) -> None:
    run.end(failure=failure, status=status)
    columns = run.records().columns
    assert (columns["outcome"].tolist(), columns["code"].tolist()) == ([outcome], [code])
    assert [one.text for one in run.recording.failures()] == ([str(failure)] if failure else [])


def test_what_is_on_its_way_can_be_seen_from_outside(run: Run) -> None:
    first, begun_ns = run.recording.begin("ann")
    second, later_ns = run.recording.begin("bob")
    assert sorted(found(run)) == [begun_ns, later_ns]
    run.recording.leave(first)
    assert found(run) == [later_ns]
    run.recording.leave(second)
    assert found(run) == []


def found(run: Run) -> list[int]:
    seen = open_calls.read(run.fd)
    assert seen is not None
    return seen.tolist()


def test_of_a_client_that_is_not_watched_nobody_says_what_is_on_its_way(run: Run) -> None:
    run.end(started_s=time.time() - 0.005)
    assert open_calls.read(run.fd) is None
    Recording(run.plan, OpenCalls(run.fd))
    assert np.array_equal(open_calls.read(run.fd), [])


def test_before_the_process_has_begun_nothing_is_on_its_way() -> None:
    fd = shared_memory()
    assert np.array_equal(open_calls.read(fd), [])
    os.close(fd)


def test_a_user_that_is_ended_without_an_answer_has_timed_out(run: Run) -> None:
    _, begun_ns = run.recording.begin("ann")
    run.recording.cut_off(begun_ns, begun_ns + 1, "GET", "/home")
    run.recording.cut_off(begun_ns + 2, begun_ns + 1, "GET", "/home")
    columns = run.records().columns
    assert columns["outcome"].tolist() == [Outcome.TIMEOUT]
    assert columns["intended_ns"].tolist() == [begun_ns]


def test_an_exception_is_a_tasks_own_unless_a_request_of_its_user_failed_before_it(run: Run) -> None:
    run.end(user="ann", failure=RuntimeError("down"), status=503)
    run.end(user="bob")
    for user in ("ann", "bob", "carl"):
        run.recording.raised(user, "shop.py:7: in buy KeyError: 'id'")
    (found,) = run.recording.all_raised()
    assert (found.count, found.unprovoked) == (3, 2)


def test_an_exception_is_told_with_its_place_in_the_users_own_file(tmp_path: Path) -> None:
    path = tmp_path / "shop.py"
    path.write_text("import json\n\ndef buy():\n    json.loads('{')\n")
    names: dict[str, object] = {}
    exec(compile(path.read_text(), str(path), "exec"), names)
    with pytest.raises(ValueError, match="Expecting") as raised:
        names["buy"]()  # type: ignore[operator]
    assert told(raised.value, tmp_path).startswith("shop.py:4: in buy JSONDecodeError: Expecting property name")
