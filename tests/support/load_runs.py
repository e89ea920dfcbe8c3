"""What the tests of the load engine share: a scripted server, plans against it, and what came of them."""

import gc
import json
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from targets.base import Endpoint, Outcome
from tuner.load import engine
from tuner.load.plan import ClosedLoop, OpenLoop, Plan, RunReport, always
from tuner.load.poller import Poller
from tuner.records import WINDOW, Records, read_records
from workloads.schedule import Schedule

MS = 1_000_000
ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Server:
    """A scripted server's ports.

    Attributes:
        port: it answers.
        slamming_port: it accepts connections and closes them.
    """

    port: int
    slamming_port: int

    def saw(self) -> dict[str, object]:
        """Return the server's log; not for a server with TLS."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/log") as answer:
            return json.loads(answer.read())


@contextmanager
def scripted_server(certificate: Path | None = None) -> Iterator[Server]:
    """Run a scripted server in a process of its own."""
    command = [sys.executable, "-m", "tests.support.scripted_server", *([str(certificate)] if certificate else [])]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert process.stdout is not None
    try:
        port, slamming_port = process.stdout.readline().split()
        yield Server(int(port), int(slamming_port))
    finally:
        process.kill()
        process.communicate()


@contextmanager
def answering(script: list[bytes | float]) -> Iterator[int]:
    """Serve connections, one after another: pieces of an answer and pauses in seconds, once a request came."""

    def serve() -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                with connection:
                    connection.recv(1 << 16)
                    for step in script:
                        if isinstance(step, float):
                            time.sleep(step)
                        else:
                            connection.sendall(step)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


@contextmanager
def deaf_server() -> Iterator[int]:
    """Listen on a port without accepting: its queue is full, further connections are not answered."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(4):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        time.sleep(0.1)
        yield listener.getsockname()[1]


def get(path: str) -> bytes:
    """Return a request without a body."""
    return f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()


def post(path: str, body: bytes) -> bytes:
    """Return a request with a body."""
    return f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


def judge(status: int, body: bytes) -> Outcome:
    """Accept every success, even an empty one."""
    del body
    return Outcome.OK if 200 <= status < 300 else Outcome.HTTP_ERROR


def count_tokens(data: bytes) -> int:
    """Count the tokens of an event of `/events`."""
    return 0 if data == b"[DONE]" else int(json.loads(data)["tokens"])


def judge_stream(status: int, last: bytes) -> Outcome:
    """Accept a stream that came to its end."""
    if status != 200:
        return Outcome.HTTP_ERROR
    return Outcome.OK if last == b"[DONE]" else Outcome.MALFORMED


def closed(concurrency: int, requests: int = 1, total: int | None = None, think_ms: int = 0) -> ClosedLoop:
    """Return a closed loop that sends the requests in turn."""
    return ClosedLoop(concurrency, np.arange(requests, dtype=np.int32), always(think_ms * MS), total)


def ends_behind_window(records: Records, slots: int) -> bool:
    """Whether a closed loop ended with the requests of its one window: what was due later is what was on its way."""
    rows, ((_, end_ns),) = records.rows, records.windows_ns
    over_ns = max(end_ns, rows["done_ns"][rows["phase"] == WINDOW].max())
    return bool(np.sum(rows["intended_ns"] > over_ns) <= 2 * slots)


def arrivals(offsets_ms: list[float], connections: int, requests: list[int] | None = None) -> OpenLoop:
    """Return an open loop with these arrivals, of request 0 if not said otherwise."""
    offsets = (np.array(offsets_ms, float) * MS).astype(np.int64)
    return OpenLoop(Schedule(offsets, np.array(requests or [0] * len(offsets), np.int32)), connections)


def plan(port: int, load: ClosedLoop | OpenLoop, folder: Path, requests: list[str | bytes], **changes: object) -> Plan:
    """Return a plan that asks for paths (or sends the bytes given); keywords are fields of the plan or the endpoint."""
    endpoint = {name: changes.pop(name) for name in ("judge", "tls", "tokens", "host") if name in changes}
    values = {
        "start_ns": time.monotonic_ns() + 20 * MS,
        "warmup_ns": 0,
        "window_ns": (20_000 if isinstance(load, ClosedLoop) and load.total else 300) * MS,
        "timeout_ns": 10_000 * MS,
        "records_path": folder / "records.bin",
    } | changes
    sent = tuple(get(one) if isinstance(one, str) else one for one in requests)
    endpoint = {"host": "127.0.0.1", "judge": judge} | endpoint
    return Plan(endpoint=Endpoint(port=port, requests=sent, **endpoint), load=load, **values)


def run(made: Plan, poller: Poller | None = None) -> tuple[RunReport, Records]:
    """Run a plan here and read what it recorded."""
    report = engine.run(made, poller)
    return report, read_records(made.records_path, made.window)


def outcomes(records: Records) -> set[Outcome]:
    """Return the ways in which requests ended."""
    return {Outcome(value) for value in records.columns["outcome"]}


def outcomes_by_request(records: Records) -> dict[int, set[Outcome]]:
    """Return request -> the ways in which it ended."""
    found: dict[int, set[Outcome]] = {}
    for request, outcome in zip(records.columns["request"].tolist(), records.columns["outcome"].tolist(), strict=True):
        found.setdefault(request, set()).add(Outcome(outcome))
    return found


def cut(data: bytes, places: list[int]) -> list[bytes]:
    """Cut bytes at those of the places that lie in them."""
    edges = sorted({0, len(data), *(place for place in places if place < len(data))})
    return [data[start:end] for start, end in pairwise(edges)]


def open_files() -> list[str]:
    """Return what this process has open."""
    found = []
    for link in Path("/proc/self/fd").iterdir():
        try:
            found.append(str(link.readlink()))
        except FileNotFoundError:  # the folder itself
            continue
    return sorted(found)


@contextmanager
def collected() -> Iterator[list[int]]:
    """Yield a list that will hold how many objects the garbage collector found in the block, and at its end."""
    objects: list[int] = []

    def note(phase: str, found: dict[str, int]) -> None:
        if phase == "stop":
            objects.append(found["collected"])

    gc.collect()
    gc.callbacks.append(note)
    try:
        yield objects
        gc.collect()
    finally:
        gc.callbacks.remove(note)
