"""The simulated server as a client meets it, and the load engine's clock against the queue's arithmetic."""

import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
import pytest
from numpy.typing import NDArray

from targets.base import Outcome
from targets.simulated.model import Batching, Service, serve, serve_batches
from tests.support.load_runs import MS, arrivals, outcomes, plan, run
from tests.support.simulated_servers import ask, deploy, simulated_server, statistics
from tuner.load.plan import OpenLoop

DETERMINISTIC = {"kind": "deterministic", "mean_s": 0.0001, "cv": 1.0}
BATCHING = {"max_size": 2, "max_delay_s": 0.0, "fixed_s": 0.0001, "each_s": 0.0}
CLOCK_NS = 1_000


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with simulated_server() as found:
        yield found


def infer(alias: str, body: bytes = b"input", **headers: object) -> bytes:
    """Return an inference request; `_` in a header's name stands for `-`."""
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    head = f"POST /deployments/{alias}/infer HTTP/1.1\r\nHost: localhost\r\n{lines}Content-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def answers_to(port: int, data: list[bytes], count: int) -> list[tuple[int, dict[str, object]]]:
    """Send pieces of data on one connection and return the first `count` answers."""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as client, client.makefile("rb") as file:
        for piece in data:
            client.sendall(piece)
        return [read_answer(file) for _ in range(count)]


def read_answer(file: object) -> tuple[int, dict[str, object]]:
    status = int(file.readline().split()[1])
    headers = dict(line.decode().strip().split(": ") for line in iter(file.readline, b"\r\n"))
    return status, json.loads(file.read(int(headers["Content-Length"])))


def joined(port: int, alias: str, count: int) -> None:
    """Wait until so many requests have joined a deployment's queue."""
    while statistics(port, alias)["joined"] != count:
        time.sleep(0.005)


# -- the control API --


def test_a_deployment_is_read_back_as_it_was_made(port: int) -> None:
    spec = {
        "servers": 3,
        "service": None,
        "seed": 0,
        "batching": {"max_size": 8, "max_delay_s": 0.0005, "fixed_s": 0.002, "each_s": 0.0001},
    }
    assert ask(port, "PUT", "/deployments/one", spec) == (200, spec)
    assert ask(port, "GET", "/deployments/one") == (200, spec)
    assert "one" in ask(port, "GET", "/deployments")[1]["deployments"]
    assert ask(port, "DELETE", "/deployments/one") == (200, {"removed": "one"})
    assert ask(port, "GET", "/deployments/one")[0] == 404


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({}, "give one of `service` and `batching`"),
        (
            {"service": DETERMINISTIC, "batching": {"max_size": 1, "max_delay_s": 0, "fixed_s": 1, "each_s": 0}},
            "one of",
        ),
        ({"service": {"kind": "uniform", "mean_s": 1.0}}, "service is deterministic, exponential or lognormal"),
        ({"service": {"kind": "exponential", "mean_s": -1.0}}, "`mean_s > 0`"),
        ({"batching": {**BATCHING, "max_size": 0}}, "`max_size >= 1`"),
        ({"batching": {**BATCHING, "max_size": 10**6}}, "65536 at most"),
        ({"batching": {**BATCHING, "max_delay_s": float("inf")}}, "finite number"),
        ({"service": DETERMINISTIC, "servers": 0}, "servers: Input should be greater than or equal to 1, but got 0"),
        ({"service": DETERMINISTIC, "server": 1}, "server: Extra inputs"),
        ({"service": {**DETERMINISTIC, "mean": 1}}, "service.mean: "),
    ],
)
def test_a_deployment_that_makes_no_sense_is_refused(port: int, spec: object, message: str) -> None:
    status, found = ask(port, "PUT", "/deployments/bad", spec)
    assert (status, message in str(found["error"])) == (400, True), found
    assert ask(port, "GET", "/deployments/bad")[0] == 404


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/"), ("POST", "/ready"), ("PUT", "/deployments/"), ("GET", "/deployments/nobody/stats")],
)
def test_what_is_not_there_is_not_found(port: int, method: str, path: str) -> None:
    assert ask(port, method, path)[0] == 404


def test_an_inference_for_nobody_names_who_is_there(port: int) -> None:
    deploy(port, "somebody", service=DETERMINISTIC)
    status, found = ask(port, "POST", "/deployments/nobody/infer", {})
    assert status == 404
    assert "no deployment 'nobody'; there are: " in str(found["error"])
    assert "somebody" in str(found["error"])


def test_a_removed_deployment_still_answers_what_is_in_service_and_fails_what_waits(port: int) -> None:
    deploy(port, "leaving", service=DETERMINISTIC)
    with ExitStack() as stack:
        clients = []
        for number in range(3):
            client = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=60))
            client.sendall(infer("leaving", Service_Time_Ns=1_000 * MS))
            clients.append(stack.enter_context(client.makefile("rb")))
            joined(port, "leaving", number + 1)
        assert ask(port, "DELETE", "/deployments/leaving")[0] == 200
        found = [read_answer(client) for client in clients]
    assert [status for status, _ in found] == [200, 503, 503]
    assert found[2][1] == {"error": "deployment 'leaving' was removed"}


# -- requests --


def test_requests_on_one_connection_are_answered_in_turn(port: int) -> None:
    deploy(port, "turns", service=DETERMINISTIC, servers=4)
    found = answers_to(port, [b"".join(infer("turns", Class=number) for number in range(20))], 20)
    assert [(status, body["class"]) for status, body in found] == [(200, number) for number in range(20)]


def test_a_request_in_pieces_joins_when_its_last_byte_is_there(port: int) -> None:
    deploy(port, "pieces", service=DETERMINISTIC)
    request = infer("pieces", b"x" * 300_000, Class=-7)
    with socket.create_connection(("127.0.0.1", port), timeout=60) as client, client.makefile("rb") as file:
        for piece in (request[:20], request[20:200], request[200:-1]):
            client.sendall(piece)
            assert ask(port, "GET", "/ready")[0] == 200
        assert statistics(port, "pieces")["joined"] == 0
        before = time.monotonic_ns()
        client.sendall(request[-1:])
        status, body = read_answer(file)
    assert (status, body["class"]) == (200, -7)
    assert int(str(body["arrived_ns"])) >= before


def test_a_connection_ends_with_the_answer_if_the_client_says_so(port: int) -> None:
    deploy(port, "closing", service=DETERMINISTIC)
    with socket.create_connection(("127.0.0.1", port), timeout=60) as client, client.makefile("rb") as file:
        client.sendall(infer("closing", Connection="close"))
        assert read_answer(file)[0] == 200
        assert file.read() == b""


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"HELO there\r\n\r\n", "not the first line of an HTTP/1.1 request"),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", "a body needs a Content-Length"),
        (b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", "a body needs a Content-Length"),
        (b"GET /" + b"x" * 70_000, "without the end of a head"),
    ],
)
def test_what_is_no_request_is_answered_so_and_ends_the_connection(port: int, data: bytes, message: str) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=60) as client, client.makefile("rb") as file:
        client.sendall(data)
        status, body = read_answer(file)
        assert file.read() == b""
    assert (status, message in str(body["error"])) == (400, True), body


@pytest.mark.parametrize(
    ("headers", "message"),
    [
        ({"Service-Time-Ns": "soon"}, "Service-Time-Ns is a whole number of nanoseconds, not 'soon'"),
        ({"Service-Time-Ns": "-5"}, "Service-Time-Ns is a whole number"),
        ({"Class": "cat"}, "'cat'"),
    ],
)
def test_a_request_that_carries_nonsense_fails_and_is_counted(port: int, headers: dict[str, str], message: str) -> None:
    deploy(port, "strict", service=DETERMINISTIC)
    status, found = ask(port, "POST", "/deployments/strict/infer", {}, **headers)
    assert (status, message in str(found["error"])) == (400, True), found
    counted = statistics(port, "strict")
    assert (counted["failures"], counted["joined"]) == (1, 0)


def test_a_service_time_is_refused_where_batches_have_their_own(port: int) -> None:
    deploy(port, "batches", batching=BATCHING)
    status, found = ask(port, "POST", "/deployments/batches/infer", {}, Service_Time_Ns="5")
    assert (status, "batches have their own service times" in str(found["error"])) == (400, True)


def test_a_client_that_leaves_is_served_all_the_same(port: int) -> None:
    deploy(port, "left", service=DETERMINISTIC)
    with socket.create_connection(("127.0.0.1", port), timeout=60) as client:
        client.sendall(infer("left", Service_Time_Ns=50 * MS))
        joined(port, "left", 1)
    (found,) = answers_to(port, [infer("left")], 1)
    assert found[0] == 200
    assert statistics(port, "left")["requests"] == 2


def test_a_deployment_draws_the_service_times_of_its_seed(port: int) -> None:
    deploy(port, "drawn", service={"kind": "lognormal", "mean_s": 0.0005, "cv": 0.5}, seed=11)
    found = answers_to(port, [infer("drawn")] * 8, 8)
    served = [int(str(body["done_ns"])) - int(str(body["started_ns"])) for _, body in found]
    drawn = Service("lognormal", 0.0005, 0.5).draw(8, np.random.default_rng(11))
    assert served == np.rint(drawn * 1e9).astype(int).tolist()


def test_a_client_that_is_slow_to_read_gets_its_whole_answer_and_holds_up_nobody() -> None:
    aliases = [f"{number}{'x' * 50_000}" for number in range(300)]  # listed, more than the kernel keeps for a socket
    with simulated_server() as port, socket.socket() as client:
        for alias in aliases:
            deploy(port, alias, service=DETERMINISTIC)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.settimeout(60)
        client.connect(("127.0.0.1", port))
        client.sendall(b"GET /deployments HTTP/1.1\r\n\r\nGET /ready HTTP/1.1\r\n\r\n")
        deploy(port, "quick", service=DETERMINISTIC)
        assert ask(port, "POST", "/deployments/quick/infer", {})[0] == 200
        with client.makefile("rb") as file:
            assert set(aliases) <= set(read_answer(file)[1]["deployments"])
            assert read_answer(file) == (200, {"ready": True})


def test_the_server_ends_with_the_process_that_started_it(tmp_path: Path) -> None:
    program = (
        "import signal, subprocess, sys\n"
        "subprocess.Popen([sys.executable, '-P', '-m', 'targets.simulated.server', '--announce', 'port'])\n"
        "signal.pause()\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, cwd=tmp_path)
    try:
        while not (tmp_path / "port").exists():
            time.sleep(0.01)
        (server,) = psutil.Process(parent.pid).children()
        parent.kill()
        parent.wait()
        server.wait(60)  # its standard input is still open here
    finally:
        parent.kill()
        parent.communicate()


def test_the_server_sleeps_until_shortly_before_an_answer_is_due() -> None:
    others = psutil.Process().children()
    with simulated_server() as port:
        (server,) = set(psutil.Process().children()) - set(others)
        deploy(port, "slow", service=DETERMINISTIC)
        before_s = sum(server.cpu_times()[:2])
        assert ask(port, "POST", "/deployments/slow/infer", {}, Service_Time_Ns=1_000 * MS)[0] == 200
        assert sum(server.cpu_times()[:2]) - before_s < 0.3


# -- the instrument and the arithmetic --


@dataclass(frozen=True)
class Driven:
    """What load engine and server say of the same requests; times in ns from the start of the load.

    Attributes:
        sent, done: the load engine.
        arrived, started, ended, batch: the server.
    """

    sent: NDArray[np.int64]
    done: NDArray[np.int64]
    arrived: NDArray[np.int64]
    started: NDArray[np.int64]
    ended: NDArray[np.int64]
    batch: NDArray[np.int64]


def driven(port: int, load: OpenLoop, requests: list[bytes], folder: Path) -> tuple[Driven, NDArray[np.int64]]:
    """Drive each request once; return what is said of them in the order in which they came, and that order."""
    made = plan(port, load, folder, list(requests), window_ns=20_000 * MS, timeout_ns=60_000 * MS, keep_answers=True)
    report, records = run(made)
    assert outcomes(records) == {Outcome.OK}
    assert len(report.answers) == len(records.rows) == len(requests)
    bodies = [json.loads(text.partition(b"\r\n\r\n")[2]) for _, text in sorted(report.answers)]
    said = {
        name: np.array([body[name] for body in bodies]) for name in ("arrived_ns", "started_ns", "done_ns", "batch")
    }
    came = np.argsort(said["arrived_ns"], kind="stable")
    by_request = np.argsort(records.columns["request"])

    def engines(name: str) -> NDArray[np.int64]:
        return records.columns[name][by_request][came] - made.start_ns

    def servers(name: str) -> NDArray[np.int64]:
        return said[name][came] - made.start_ns

    return Driven(
        sent=engines("sent_ns"),
        done=engines("done_ns"),
        arrived=servers("arrived_ns"),
        started=servers("started_ns"),
        ended=servers("done_ns"),
        batch=said["batch"][came],
    ), came


@pytest.mark.parametrize("servers", [1, 3])
@pytest.mark.parametrize("kind", ["deterministic", "exponential"])
def test_the_load_engine_measures_no_less_than_the_queue_takes(
    kind: str, servers: int, port: int, tmp_path: Path
) -> None:
    """It holds on any machine: delays of either side make a request join later, and so its answer come later.

    Where requests overtake each other on their way, the simulation takes them in the order in which they came, none
    before those that it followed were sent.
    """
    rng = np.random.default_rng(8)
    n = 300
    services = np.rint(Service(kind, 0.005).draw(n, rng) * 1e9).astype(np.int64)
    offsets_ms = np.cumsum(rng.exponential(5 / 0.8 / servers, n))
    deploy(port, "queue", service=DETERMINISTIC, servers=servers)
    requests = [infer("queue", Service_Time_Ns=service) for service in services.tolist()]
    found, came = driven(port, arrivals(offsets_ms.tolist(), n, list(range(n))), requests, tmp_path)
    served = services[came].astype(float)

    exact = serve(found.arrived.astype(float), served, servers)
    assert found.started.tolist() == exact.start_s.tolist()
    assert found.ended.tolist() == exact.done_s.tolist()

    assert np.all(found.arrived >= found.sent - CLOCK_NS)
    assert np.all(found.done >= found.ended - CLOCK_NS)

    joined_at_best = np.maximum.accumulate(found.sent)
    simulated = serve(joined_at_best.astype(float), served, servers)
    assert np.all(found.done - found.sent >= simulated.done_s - found.sent - CLOCK_NS)


def test_bursts_are_served_in_the_batches_of_the_simulation(port: int, tmp_path: Path) -> None:
    batching = Batching(max_size=8, max_delay_s=2.0, fixed_s=0.005, each_s=0.001)
    in_ns = Batching(max_size=8, max_delay_s=2e9, fixed_s=5e6, each_s=1e6)
    deploy(port, "bursts", batching=vars(batching))
    offsets_ms = [0.0] * 8 + [200.0] * 16 + [400.0] * 3
    n = len(offsets_ms)
    load = arrivals(offsets_ms, n, list(range(n)))
    found, _ = driven(port, load, [infer("bursts")] * n, tmp_path)

    planned = serve_batches(np.sort(found.sent).astype(float), in_ns)
    assert found.batch.tolist() == planned.batch.tolist() == [8] * 24 + [3] * 3
    counted = statistics(port, "bursts")
    assert counted["batches"] == {"8": [3, 39 * MS], "3": [1, 8 * MS]}
    assert (counted["joined"], counted["requests"], counted["executions"]) == (27, 27, 4)

    exact = serve_batches(found.arrived.astype(float), in_ns)
    assert found.started.tolist() == exact.start_s.tolist()
    assert found.ended.tolist() == exact.done_s.tolist()
    assert counted["queue_ns"] == int(np.sum(found.started - found.arrived))
    assert counted["compute_ns"] == int(np.sum(found.ended - found.started))
