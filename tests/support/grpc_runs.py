"""Runs of the load engine over gRPC, for tests."""

import json
import time
from pathlib import Path

import grpc

from targets.base import Endpoint, Grpc, Outcome
from tests.support.h2_peer import Client, Script, peer
from tests.support.load_runs import MS, closed, run
from tuner.load.plan import ClosedLoop, OpenLoop, Plan, RunReport
from tuner.records import Records

UNLIMITED = (("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1))


def accept(_status: int, _message: bytes) -> Outcome:
    """Judge every answer good."""
    return Outcome.OK


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


def all_once(where: Endpoint, folder: Path, concurrency: int = 1, **changes: object) -> tuple[RunReport, Records]:
    """Send every request of an endpoint once, in order."""
    count = len(where.requests)
    return run(plan(closed(concurrency, count, count), where, folder, **changes))


def by_request(records: Records) -> list[tuple[Outcome, int]]:
    """Return (outcome, code) of each request, in the order of the requests; each was sent once."""
    rows = records.rows.in_order_of("request")
    assert list(rows["request"]) == list(range(len(rows)))
    return [(Outcome(outcome), int(code)) for outcome, code in zip(rows["outcome"], rows["code"], strict=True)]


def each_outcome(records: Records) -> list[Outcome]:
    return [outcome for outcome, _ in by_request(records)]


def texts(report: RunReport) -> list[str]:
    return [failure.text for failure in report.failures]


def play(
    script: Script, folder: Path, requests: list[bytes], concurrency: int = 1, **changes: object
) -> tuple[RunReport, Records]:
    """Send every request once to a peer that follows a script, `concurrency` at a time on one connection."""
    streamed = {"tokens": changes.pop("tokens")} if "tokens" in changes else {}
    with peer(script) as port:
        where = endpoint(port, "/test/call", requests, concurrency, **streamed)
        return all_once(where, folder, concurrency, **({"timeout_ns": 10_000 * MS} | changes))


def connections(script: Script) -> tuple[Script, list[None]]:
    """Return a script that does the same and a list that grows with each connection."""
    made: list[None] = []

    def counted(client: Client) -> None:
        made.append(None)
        script(client)

    return counted, made


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
