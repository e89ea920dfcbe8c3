"""HTTP over TLS: who is trusted, and that it is read and written like the plain one."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import trustme

from targets.base import Outcome, Tls
from tests.support.load_runs import (
    MS,
    Server,
    answering,
    arrivals,
    closed,
    collected,
    count_tokens,
    get,
    judge_stream,
    open_files,
    outcomes,
    outcomes_by_request,
    plan,
    post,
    run,
    scripted_server,
)
from tests.support.peak_memory import measured
from tuner.load.poller import Poller
from tuner.records import latencies_s

OTHER_NAME = "models.example"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> tuple[trustme.CA, Path]:
    """Return a certificate authority and the file with its certificate."""
    made = trustme.CA()
    path = tmp_path_factory.mktemp("ca") / "ca.pem"
    made.cert_pem.write_to_path(str(path))
    return made, path


@pytest.fixture(scope="module")
def ca(authority: tuple[trustme.CA, Path]) -> Path:
    return authority[1]


def _serving(authority: trustme.CA, name: str, folder: Path) -> Iterator[Server]:
    path = folder / "server.pem"
    authority.issue_cert(name).private_key_and_cert_chain_pem.write_to_path(str(path))
    with scripted_server(path) as server:
        yield server


@pytest.fixture(scope="module")
def secure(authority: tuple[trustme.CA, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with a certificate for its address."""
    yield from _serving(authority[0], "127.0.0.1", tmp_path_factory.mktemp("server"))


@pytest.fixture(scope="module")
def misnamed(authority: tuple[trustme.CA, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with a certificate for another name."""
    yield from _serving(authority[0], OTHER_NAME, tmp_path_factory.mktemp("misnamed"))


# Who is trusted.


def test_a_server_whose_authority_is_trusted_is_served(
    secure: Server, ca: Path, tmp_path: Path, poller: Poller
) -> None:
    report, records = run(plan(secure.port, closed(4, total=40), tmp_path, ["/ok"], tls=Tls(ca)), poller)
    assert outcomes(records) == {Outcome.OK}, report.failures
    assert len(records.rows) == 40


def test_an_untrusted_certificate_is_refused(secure: Server, tmp_path: Path, poller: Poller) -> None:
    made = plan(secure.port, arrivals(list(range(0, 100, 10)), 2), tmp_path, ["/ok"], tls=Tls())
    report, records = run(made, poller)
    assert outcomes(records) == {Outcome.CONNECTION_ERROR}
    assert len(records.rows) == 10
    assert np.all(np.isinf(latencies_s(records.rows)))
    (failure,) = report.failures
    assert (failure.outcome, failure.code) == (Outcome.CONNECTION_ERROR, 0)
    assert "certificate verify failed: unable to get local issuer certificate" in failure.text


def test_an_untrusted_certificate_is_accepted_when_asked_to(secure: Server, tmp_path: Path) -> None:
    _, records = run(plan(secure.port, closed(2, total=10), tmp_path, ["/ok"], tls=Tls(verify=False)))
    assert outcomes(records) == {Outcome.OK}


def test_a_certificate_for_another_name_is_refused(misnamed: Server, ca: Path, tmp_path: Path) -> None:
    report, records = run(plan(misnamed.port, arrivals([0, 10], 2), tmp_path, ["/ok"], tls=Tls(ca)))
    assert outcomes(records) == {Outcome.CONNECTION_ERROR}
    assert "certificate is not valid for '127.0.0.1'" in report.failures[0].text


@pytest.mark.parametrize(
    ("port_of", "name"), [("misnamed", OTHER_NAME), ("secure", "127.0.0.1")], ids=["another", "its own"]
)
def test_a_certificate_is_accepted_under_the_name_it_is_expected_to_have(
    port_of: str, name: str, ca: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    port = request.getfixturevalue(port_of).port
    _, records = run(plan(port, closed(2, total=10), tmp_path, ["/ok"], tls=Tls(ca, server_name=name)))
    assert outcomes(records) == {Outcome.OK}


def test_a_file_of_trusted_certificates_that_cannot_be_read_ends_the_run(secure: Server, tmp_path: Path) -> None:
    for path, message in ((tmp_path / "missing.pem", "No such file"), (tmp_path, "directory|lib")):
        with pytest.raises(OSError, match=message):
            run(plan(secure.port, closed(1, total=1), tmp_path, ["/ok"], tls=Tls(path)))


# One side speaks TLS, the other does not.


def test_tls_to_a_plain_server_fails_and_ends(shared_server: Server, ca: Path, tmp_path: Path, poller: Poller) -> None:
    """The plain server waits for the end of a request that never comes: the handshake times out."""
    made = plan(
        shared_server.port,
        arrivals([0, 10, 20], 2),
        tmp_path,
        ["/ok"],
        tls=Tls(ca),
        window_ns=1_000 * MS,
        timeout_ns=300 * MS,
    )
    report, records = run(made, poller)
    assert outcomes(records) == {Outcome.TIMEOUT}
    assert len(records.rows) == 3
    assert report.failures[0].text == "the connection did not open in time"


def test_tls_to_a_server_that_answers_in_the_clear_fails(tmp_path: Path, ca: Path, poller: Poller) -> None:
    with answering([b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"]) as port:
        report, records = run(plan(port, arrivals([0, 10, 20], 2), tmp_path, ["/ok"], tls=Tls(ca)), poller)
    assert outcomes(records) == {Outcome.CONNECTION_ERROR}
    assert len(records.rows) == 3
    assert "wrong version number" in report.failures[0].text


def test_a_server_that_closes_before_the_handshake_fails(
    shared_server: Server, tmp_path: Path, ca: Path, poller: Poller
) -> None:
    made = plan(shared_server.slamming_port, arrivals([0, 10, 20], 2), tmp_path, ["/ok"], tls=Tls(ca))
    _, records = run(made, poller)
    assert outcomes(records) == {Outcome.CONNECTION_ERROR}
    assert len(records.rows) == 3


def test_a_plain_request_to_a_tls_port_fails_and_ends(secure: Server, tmp_path: Path, poller: Poller) -> None:
    made = plan(secure.port, arrivals([0, 10, 20], 2), tmp_path, ["/ok"], timeout_ns=500 * MS)
    _, records = run(made, poller)
    assert outcomes(records) <= {Outcome.MALFORMED, Outcome.CONNECTION_ERROR, Outcome.TIMEOUT}
    assert len(records.rows) == 3


# Reading and writing.


@pytest.mark.parametrize(
    "path", ["/big", "/chunked", "/chunked-drip", "/until-close", "/close", "/drip", "/no-content", "/interim-apart"]
)
@pytest.mark.parametrize("keep_alive", [True, False], ids=["keep-alive", "new connections"])
def test_answers_are_the_same_as_in_the_clear(
    secure: Server, port: int, ca: Path, tmp_path: Path, path: str, keep_alive: bool
) -> None:
    bodies = []
    for to, tls in ((port, None), (secure.port, Tls(ca))):
        made = plan(to, closed(2, total=4), tmp_path, [path], tls=tls, keep_answers=True, keep_alive=keep_alive)
        report, records = run(made)
        assert outcomes(records) == {Outcome.OK}, report.failures
        bodies.append([answer for _, answer in report.answers])
    assert bodies[0] == bodies[1]


@pytest.mark.parametrize(
    ("path", "outcome"),
    [
        ("/error", Outcome.HTTP_ERROR),
        ("/half", Outcome.CONNECTION_ERROR),
        ("/drop", Outcome.CONNECTION_ERROR),
        ("/chunk-cut", Outcome.CONNECTION_ERROR),
        ("/garbage", Outcome.MALFORMED),
        ("/long", Outcome.MALFORMED),
        ("/endless-head", Outcome.MALFORMED),
        ("/nothing", Outcome.TIMEOUT),
    ],
)
def test_a_failing_request_among_good_ones_fails_alone(
    secure: Server, ca: Path, tmp_path: Path, path: str, outcome: Outcome, poller: Poller
) -> None:
    paths = ["/ok", "/chunked", path]
    patience = 400 * MS if outcome is Outcome.TIMEOUT else 10_000 * MS
    _, records = run(plan(secure.port, closed(2, 3, 18), tmp_path, paths, tls=Tls(ca), timeout_ns=patience), poller)
    assert outcomes_by_request(records) == {0: {Outcome.OK}, 1: {Outcome.OK}, 2: {outcome}}


def test_a_large_request_arrives_as_it_was(secure: Server, ca: Path, tmp_path: Path, poller: Poller) -> None:
    requests = [post("/ok", bytes([index]) * (8 << 20)) for index in range(2)]
    report, records = run(plan(secure.port, closed(2, 2, 6), tmp_path, requests, tls=Tls(ca)), poller)
    assert outcomes(records) == {Outcome.OK}, report.failures


def test_an_answer_that_comes_before_the_request_was_sent_ends_it(secure: Server, ca: Path, tmp_path: Path) -> None:
    requests = [post("/too-large", b"x" * (32 << 20)), get("/ok")]
    _, records = run(plan(secure.port, closed(2, 2, 8), tmp_path, requests, tls=Tls(ca)))
    assert outcomes_by_request(records) == {0: {Outcome.HTTP_ERROR}, 1: {Outcome.OK}}


def test_huge_answers_are_read_in_bounded_memory(secure: Server, tmp_path: Path) -> None:
    measure = measured(secure.port, tmp_path, "/huge?100", total=3, tls=True)
    assert measure["outcomes"] == ["OK"]
    assert measure["peak_mib"] < 400


@pytest.mark.parametrize("form", ["every=2", "cuts=5", "eol=cr", "framing=close"])
def test_events_are_read_as_in_the_clear(secure: Server, ca: Path, tmp_path: Path, form: str, poller: Poller) -> None:
    changes = {"tls": Tls(ca), "judge": judge_stream, "tokens": count_tokens}
    _, records = run(plan(secure.port, closed(2, total=6), tmp_path, [f"/events?{form}"], **changes), poller)
    assert outcomes(records) == {Outcome.OK}
    assert records.columns["tokens"].tolist() == [5] * 6
    assert len(records.events) == 36


# Connections.


def test_the_handshake_is_back_pressure_and_not_the_generators_delay(secure: Server, ca: Path, tmp_path: Path) -> None:
    _, records = run(plan(secure.port, closed(1, total=20), tmp_path, ["/ok"], tls=Tls(ca), keep_alive=False))
    rows = records.rows
    assert outcomes(records) == {Outcome.OK}
    opening, delay = (rows["ready_ns"] - rows["intended_ns"]) / MS, (rows["sent_ns"] - rows["ready_ns"]) / MS
    assert opening.min() > 0
    assert np.median(delay) < np.median(opening), f"{np.median(delay)} ms, {np.median(opening)} ms"


def test_a_run_leaves_neither_files_nor_garbage(
    secure: Server, ca: Path, files_before: list[str], tmp_path: Path, poller: Poller
) -> None:
    paths = ["/ok", "/garbage", "/half", "/drop"]
    with collected() as objects:
        run(plan(secure.port, closed(4, 4, 200), tmp_path, paths, tls=Tls(ca), keep_alive=False), poller)
    assert open_files() == files_before
    assert sum(objects) < 100, "more than 200 would be some for each request"
