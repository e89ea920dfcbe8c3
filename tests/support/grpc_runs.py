"""Runs of the load engine over gRPC, for tests."""

import json
import time
from pathlib import Path

import grpc
import numpy as np

from targets.base import Endpoint, Grpc, Outcome
from tuner.load import engine
from tuner.load.plan import ClosedLoop, OpenLoop, Plan, RunReport
from tuner.records import Records, read_records

MS = 1_000_000
UNLIMITED = (("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1))


def accept(_status: int, _message: bytes) -> Outcome:
    """Judge every answer good."""
    return Outcome.OK


def closed(concurrency: int, requests: int = 1, total: int | None = None, think_ms: int = 0) -> ClosedLoop:
    return ClosedLoop(concurrency, np.arange(requests, dtype=np.int32), think_ms * MS, total)


def endpoint(port: int, path: str, requests: list[bytes], streams: int = 6, **changes: object) -> Endpoint:
    values = {"judge": accept, "grpc": Grpc(path, streams_per_connection=streams)} | changes
    return Endpoint("127.0.0.1", port, tuple(requests), **values)


def plan(load: ClosedLoop | OpenLoop, where: Endpoint, folder: Path, **changes: object) -> Plan:
    """Return a plan that ends by itself: a closed loop with a total, or within its window of 300 ms."""
    values = {
        "start_ns": time.monotonic_ns() + 20 * MS,
        "warmup_ns": 0,
        "window_ns": (50_000 if isinstance(load, ClosedLoop) and load.total else 300) * MS,
        "timeout_ns": 20_000 * MS,
        "records_path": folder / "records.bin",
    } | changes
    return Plan(endpoint=where, load=load, **values)


def run(made: Plan) -> tuple[RunReport, Records]:
    report = engine.run(made)
    return report, read_records(made.records_path, made.window)


def all_once(where: Endpoint, folder: Path, concurrency: int = 1, **changes: object) -> tuple[RunReport, Records]:
    """Send every request of an endpoint once, in order."""
    count = len(where.requests)
    return run(plan(closed(concurrency, count, count), where, folder, **changes))


def by_request(records: Records) -> list[tuple[Outcome, int]]:
    """Return (outcome, code) of each request, in the order of the requests; each was sent once."""
    rows = records.rows.in_order_of("request")
    assert list(rows["request"]) == list(range(len(rows)))
    return [(Outcome(outcome), int(code)) for outcome, code in zip(rows["outcome"], rows["code"], strict=True)]


def outcomes(records: Records) -> list[Outcome]:
    return [outcome for outcome, _ in by_request(records)]


def texts(report: RunReport) -> list[str]:
    return [failure.text for failure in report.failures]


def reference(port: int, path: str, request: bytes) -> bytes:
    """Return what grpcio's own client gets.

    Raises:
        grpc.RpcError: the call fails.
    """
    with grpc.insecure_channel(f"127.0.0.1:{port}", options=UNLIMITED) as channel:
        return channel.unary_unary(path)(request, timeout=20)


def server_log(port: int) -> dict[str, object]:
    """Return the `Log` of a tests.support.grpc_server."""
    return json.loads(reference(port, "/test/log", b""))


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))
