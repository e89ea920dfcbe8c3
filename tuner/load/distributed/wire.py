"""What travels between master and agents as bytes: plans there, reports and rows back.

A plan is a pickle: whoever unpickles it runs what it says. An agent does so only with what carries the seal of a master
that proved the token. Nothing that an agent sends is ever unpickled.
"""

import pickle
import struct
from collections.abc import Mapping
from dataclasses import fields, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from targets.base import Endpoint, Outcome
from tuner.load.generator import GeneratorError
from tuner.load.plan import Failure, Plan, RunReport
from tuner.records import EVENT, ROW, Records

CHUNK_BYTES = 1 << 20
"""Most bytes of one message: what is larger goes in parts, so that a heartbeat never waits long behind it."""
TIMES = ("intended_ns", "ready_ns", "sent_ns", "first_ns", "done_ns", "last_ns")
_ANSWER = struct.Struct("<iI")
_NUMBERS = [one.name for one in fields(RunReport) if one.type in (int, float)]


def packed_endpoint(endpoint: Endpoint) -> tuple[str, bytes]:
    """Return an endpoint with its requests as bytes, and the name that they go by: a digest.

    The certificates that it trusts go along: their file is on this host.

    Raises:
        GeneratorError: that file cannot be read.
    """
    data = pickle.dumps(_with_certificates(endpoint), pickle.HIGHEST_PROTOCOL)
    return sha256(data).hexdigest(), data


def _with_certificates(endpoint: Endpoint) -> Endpoint:
    tls = endpoint.tls
    if tls is None or tls.ca is None:
        return endpoint
    try:
        text = tls.ca.read_text(encoding="ascii", errors="ignore")  # certificates are ASCII, the words between need not
    except OSError as error:
        raise GeneratorError(f"the certificates to trust cannot be read: {tls.ca}: {error.strerror}") from None
    return replace(endpoint, tls=replace(tls, ca=None, authorities=text))


def packed_plan(plan: Plan) -> bytes:
    """Return a plan without its endpoint as bytes."""
    bare = Endpoint(plan.endpoint.host, plan.endpoint.port, (), plan.endpoint.judge)
    return pickle.dumps(replace(plan, endpoint=bare, records_path=Path()), pickle.HIGHEST_PROTOCOL)


def unpacked_plan(plan: bytes, endpoint: bytes, records_path: Path) -> Plan:
    """Return a plan with its endpoint; to be called only with bytes whose seal was checked.

    Raises:
        TypeError: they are something else.
        ImportError, AttributeError: the target's judge is not installed here.
    """
    made, where = pickle.loads(plan), pickle.loads(endpoint)  # noqa: S301 - sealed by a master that proved the token
    if not (isinstance(made, Plan) and isinstance(where, Endpoint)):
        raise TypeError(f"a plan and an endpoint were expected, but got {type(made)} and {type(where)}")
    return replace(made, endpoint=where, records_path=records_path)


def plain_report(report: RunReport) -> dict[str, Any]:
    """Return a report as plain values, its answers left out."""
    numbers = {name: getattr(report, name) for name in _NUMBERS}
    return {**numbers, "failures": [[int(one.outcome), one.code, one.text] for one in report.failures]}


def report_of(plain: Mapping[str, Any], answers: bytes) -> RunReport:
    """Return the report that plain values say.

    Raises:
        KeyError, ValueError, TypeError: they say none.
    """
    failures = tuple(Failure(Outcome(outcome), int(code), str(text)) for outcome, code, text in plain["failures"])
    return RunReport(
        requests=int(plain["requests"]),
        cpu_share=float(plain["cpu_share"]),
        stalls=int(plain["stalls"]),
        longest_stall_s=float(plain["longest_stall_s"]),
        queue_max=int(plain["queue_max"]),
        waiting_max=int(plain["waiting_max"]),
        spare_s=float(plain["spare_s"]),
        kept_share=float(plain["kept_share"]),
        held_back_share=float(plain["held_back_share"]),
        failures=failures,
        answers=unpacked_answers(answers),
    )


def packed_answers(answers: tuple[tuple[int, bytes], ...]) -> bytes:
    """Return answers by their request index as bytes."""
    return b"".join(_ANSWER.pack(request, len(answer)) + answer for request, answer in answers)


def unpacked_answers(data: bytes) -> tuple[tuple[int, bytes], ...]:
    """Return what `packed_answers` packed.

    Raises:
        ValueError: it is cut off.
    """
    found, at = [], 0
    while at < len(data):
        if at + _ANSWER.size > len(data):
            raise ValueError("an answer that is cut off")
        request, length = _ANSWER.unpack_from(data, at)
        at += _ANSWER.size
        if at + length > len(data):
            raise ValueError("an answer that is cut off")
        found.append((request, data[at : at + length]))
        at += length
    return tuple(found)


def packed_rows(records: Records) -> bytes:
    """Return the rows of records as they stand in memory: dtype ROW, one after the other."""
    rows = np.empty(len(records.rows), ROW)
    for name in ROW.names or ():
        rows[name] = records.columns[name]
    return rows.tobytes()


def unpacked_records(
    rows: bytes, events: bytes, shift_ns: int, first_worker: int, window_ns: tuple[int, int]
) -> Records:
    """Return what an agent recorded, on the clock of this host.

    Args:
        rows: of dtype ROW.
        events: of dtype EVENT.
        shift_ns: from the agent's clock to this one.
        first_worker: what its first process is numbered here.
        window_ns: the measuring window on this clock.

    Raises:
        ValueError: no whole number of rows.
    """
    found = np.frombuffer(rows, ROW)
    columns = {name: np.ascontiguousarray(found[name]) for name in ROW.names or ()}
    for name in TIMES:
        columns[name] = _shifted(columns[name], shift_ns)
    columns["worker"] = columns["worker"] + np.int16(first_worker)
    streamed = np.frombuffer(events, EVENT).copy()
    streamed["at_ns"] += shift_ns
    return Records(columns, [window_ns], streamed)


def shifted_rows(rows: bytes, shift_ns: int) -> NDArray[np.void]:
    """Return rows of a plan that still runs, on the clock of this host, array [n] of dtype ROW."""
    found = np.frombuffer(rows, ROW).copy()
    for name in TIMES:
        found[name] = _shifted(found[name], shift_ns)
    return found


def _shifted(times_ns: NDArray[np.int64], shift_ns: int) -> NDArray[np.int64]:
    """Return times on another clock; 0 is no time and stays."""
    return np.where(times_ns == 0, 0, times_ns + shift_ns)
