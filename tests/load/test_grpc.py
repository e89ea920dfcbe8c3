"""gRPC calls of the load engine, held against a real grpcio server and grpcio's own client."""

import hashlib
import json
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import numpy as np
import pytest
import trustme

from targets.base import Grpc, Outcome, Tls
from targets.triton.judge import judge_grpc
from tests.support.grpc_runs import all_once, by_request, each_outcome, endpoint, plan, reference, server_log, texts
from tests.support.grpc_server import STAMP, pattern, serving
from tests.support.load_runs import MS, arrivals, closed, open_files, run
from tuner.load.generator import Generator
from tuner.records import latencies_s

MIB = 1 << 20


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """A server that remembers nothing that matters."""
    with serving() as (port, _):
        yield port


@pytest.fixture
def fresh() -> Iterator[int]:
    """A server whose log is empty."""
    with serving() as (port, _):
        yield port


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def secured(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    folder = tmp_path_factory.mktemp("tls")
    pair = authority.issue_cert("localhost", "model.example")
    pair.cert_chain_pems[0].write_to_path(folder / "cert.pem")
    pair.private_key_pem.write_to_path(folder / "key.pem")
    with serving(tls=(folder / "cert.pem", folder / "key.pem")) as (port, _):
        yield port


@pytest.fixture
def trusted(authority: trustme.CA, tmp_path: Path) -> Path:
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    return tmp_path / "ca.pem"


# -- answers --


def test_answers_are_byte_for_byte_what_grpcios_client_gets(port: int, tmp_path: Path) -> None:
    messages = [pattern(size) for size in (0, 1, 5, 16_379, 16_380, 16_384, 65_535, 65_536, 300_000)]
    report, _ = all_once(endpoint(port, "/test/echo", messages), tmp_path, 3, keep_answers=True)
    answers = dict(report.answers)
    assert [answers[index] for index in range(len(messages))] == [
        reference(port, "/test/echo", message) for message in messages
    ]


def test_many_calls_at_once_get_each_their_own_answer(port: int, tmp_path: Path) -> None:
    messages = [b"%d" % index * (index % 7) for index in range(500)]
    report, _ = all_once(endpoint(port, "/test/echo", messages), tmp_path, 16, keep_answers=True)
    assert sorted(report.answers) == list(enumerate(messages))


def test_an_answer_of_100_mib_is_read_whole(port: int, tmp_path: Path) -> None:
    report, records = all_once(endpoint(port, "/test/size", [b"%d" % (100 * MIB)]), tmp_path, keep_answers=True)
    assert report.answers[0][1] == pattern(100 * MIB)
    assert records.rows["bytes_in"][0] == 100 * MIB + 5


def test_many_large_answers_come_at_once(port: int, tmp_path: Path) -> None:
    sizes = [MIB + index for index in range(24)]
    where = endpoint(port, "/test/size", [b"%d" % size for size in sizes])
    report, _ = all_once(where, tmp_path, 12, keep_answers=True)
    assert {index: len(answer) for index, answer in report.answers} == dict(enumerate(sizes))
    assert all(answer == pattern(len(answer)) for _, answer in report.answers)


@pytest.mark.parametrize(("sizes", "concurrency"), [([20 * MIB], 1), ([MIB] * 24, 12), ([1, 5 * MIB, 2, 3] * 4, 6)])
def test_large_requests_arrive_as_they_were(sizes: list[int], concurrency: int, port: int, tmp_path: Path) -> None:
    messages = [pattern(size + index) for index, size in enumerate(sizes)]
    report, _ = all_once(endpoint(port, "/test/digest", messages), tmp_path, concurrency, keep_answers=True)
    assert dict(report.answers) == {index: hashlib.sha256(one).digest() for index, one in enumerate(messages)}


def test_large_messages_go_both_ways_at_once(port: int, tmp_path: Path) -> None:
    messages = [pattern(2 * MIB + index) for index in range(8)]
    report, _ = all_once(endpoint(port, "/test/echo", messages), tmp_path, 8, keep_answers=True)
    assert dict(report.answers) == dict(enumerate(messages))


def test_metadata_arrives_with_every_call(port: int, tmp_path: Path) -> None:
    sent = (("x-model", "digits"), ("x-repeated", "one"), ("x-repeated", "two"), ("x-long", "v" * 3000))
    where = endpoint(port, "/test/metadata", [b""] * 5, grpc=Grpc("/test/metadata", sent))
    report, _ = all_once(where, tmp_path, keep_answers=True)
    for _, answer in report.answers:
        assert [tuple(pair) for pair in json.loads(answer) if pair[0].startswith("x-")] == list(sent)


def test_trailing_metadata_too_long_for_a_frame_and_new_in_each_answer_is_read(port: int, tmp_path: Path) -> None:
    where = endpoint(port, "/test/trailers", [b"%d 60" % count for count in (0, 1, 50, 400, 500, 400, 50, 1, 0)])
    _, records = all_once(where, tmp_path, 3)
    assert each_outcome(records) == [Outcome.OK] * 9


def test_the_times_of_a_call_are_in_order_whether_it_waited_for_another_or_not(port: int, tmp_path: Path) -> None:
    where = endpoint(port, "/test/sleep", [b"1"] * 50, 2)
    _, alone = run(plan(arrivals([0, 50, 100, 150, 200], 4), where, tmp_path))
    _, packed = all_once(where, tmp_path, 4)
    for rows in (alone.rows, packed.rows):
        times = np.array([rows[name] for name in ("intended_ns", "ready_ns", "sent_ns", "first_ns", "done_ns")])
        assert np.all(np.diff(times, axis=0) >= 0)
        assert np.all(rows["done_ns"] - rows["sent_ns"] >= MS)
    assert (len(alone.rows), len(packed.rows)) == (5, 50)


# -- failures --


def test_each_status_is_counted_under_its_code(port: int, tmp_path: Path) -> None:
    where = endpoint(port, "/test/abort", [b"%d no" % code for code in range(17)])
    _, records = all_once(where, tmp_path)
    expected = [(Outcome.GRPC_ERROR, code) for code in range(17)]
    expected[0], expected[4] = (Outcome.OK, 0), (Outcome.TIMEOUT, 4)
    assert by_request(records) == expected


@pytest.mark.parametrize("message", ["plain", "größer als 100% ☃\nnext line", "%41 is not A", ""])
def test_a_failures_text_is_the_servers_own(message: str, port: int, tmp_path: Path) -> None:
    request = f"9 {message}".encode()
    report, _ = all_once(endpoint(port, "/test/abort", [request]), tmp_path)
    with pytest.raises(grpc.RpcError) as caught:
        reference(port, "/test/abort", request)
    assert texts(report) == [message] == [caught.value.details()]


def test_a_method_that_does_not_exist_is_unimplemented(port: int, tmp_path: Path) -> None:
    _, records = all_once(endpoint(port, "/test/missing", [b""]), tmp_path)
    assert by_request(records) == [(Outcome.GRPC_ERROR, grpc.StatusCode.UNIMPLEMENTED.value[0])]


def test_calls_without_an_answer_time_out_and_the_server_is_told(fresh: int, tmp_path: Path) -> None:
    _, records = all_once(endpoint(fresh, "/test/nothing", [b""] * 4), tmp_path, 4, timeout_ns=1_000 * MS)
    assert each_outcome(records) == [Outcome.TIMEOUT] * 4
    wait_until(lambda: server_log(fresh)["cancelled"] == 4)
    assert all(0 < seconds <= 1 for seconds in server_log(fresh)["deadlines_s"])


def test_a_call_that_times_out_leaves_the_others_on_its_connection_alone(fresh: int, tmp_path: Path) -> None:
    requests = [b"60000 late", *(b"1 %d" % index for index in range(40))]
    _, records = all_once(endpoint(fresh, "/test/sleep", requests), tmp_path, 2, timeout_ns=3_000 * MS)
    assert each_outcome(records) == [Outcome.TIMEOUT] + [Outcome.OK] * 40
    assert len(server_log(fresh)["peers"]) == 1


def test_a_server_that_is_not_there_gives_connection_errors_and_an_end(tmp_path: Path) -> None:
    _, records = all_once(endpoint(1, "/test/echo", [b""] * 4), tmp_path, 4)
    assert each_outcome(records) == [Outcome.CONNECTION_ERROR] * 4


def test_a_server_killed_in_the_middle_fails_the_rest_and_ends_the_run(tmp_path: Path) -> None:
    with serving() as (port, process):
        killer = threading.Thread(target=kill_after, args=(port, process, 30))
        killer.start()
        where = endpoint(port, "/test/sleep", [b"5 %d" % index for index in range(150)])
        _, records = all_once(where, tmp_path, 8)
        killer.join()
    counts = Counter(each_outcome(records))
    assert counts[Outcome.OK] >= 20
    assert counts[Outcome.CONNECTION_ERROR] == 150 - counts[Outcome.OK] > 0


def kill_after(port: int, process: subprocess.Popen[str], calls: int) -> None:
    wait_until(lambda: len(server_log(port)["taken"]) >= calls)
    process.kill()


def test_no_file_descriptor_is_left_open(port: int, tmp_path: Path) -> None:
    before = len(open_files())
    all_once(endpoint(port, "/test/echo", [b"x"] * 20), tmp_path, 8, timeout_ns=5_000 * MS)
    all_once(endpoint(port, "/test/nothing", [b""] * 4), tmp_path, 4, timeout_ns=50 * MS)
    all_once(endpoint(1, "/test/echo", [b""] * 4), tmp_path, 4)
    assert len(open_files()) <= before


# -- streams --


def test_every_message_of_a_stream_is_an_event_with_its_time(port: int, tmp_path: Path) -> None:
    stamps: list[int] = []

    def one_token(message: bytes) -> int:
        stamps.append(STAMP.unpack(message)[0])
        return 1

    _, records = all_once(endpoint(port, "/test/stream", [b"20 5"] * 3, tokens=one_token), tmp_path)
    rows, events = records.rows, records.events
    assert list(rows["outcome"]) == [Outcome.OK] * 3
    assert list(rows["tokens"]) == [20] * 3
    assert list(events["row"]) == [0] * 20 + [1] * 20 + [2] * 20
    assert np.all(events["at_ns"] >= np.array(stamps))
    assert np.all(np.diff(events["at_ns"]) >= 0)
    assert list(rows["first_ns"]) == list(events["at_ns"][::20])
    assert np.all(rows["done_ns"] >= events["at_ns"][19::20])


def test_the_first_token_is_not_the_first_message_when_that_carries_none(port: int, tmp_path: Path) -> None:
    tokens = iter([0, 0, 2, 3])
    where = endpoint(port, "/test/stream", [b"4 5"], tokens=lambda _: next(tokens))
    _, records = all_once(where, tmp_path)
    assert list(records.events["tokens"]) == [0, 0, 2, 3]
    assert records.rows["tokens"][0] == 5
    assert records.rows["first_ns"][0] == records.events["at_ns"][2]


def test_streams_side_by_side_keep_their_events_apart(port: int, tmp_path: Path) -> None:
    requests = [b"%d 2" % count for count in range(12)]
    _, records = all_once(endpoint(port, "/test/stream", requests, tokens=lambda _: 1), tmp_path, 12)
    assert each_outcome(records) == [Outcome.OK] * 12
    assert list(records.rows.in_order_of("request")["tokens"]) == list(range(12))
    counts = Counter(records.rows["request"][row] for row in records.events["row"])
    assert counts == {count: count for count in range(1, 12)}


def test_a_stream_that_breaks_off_fails_and_keeps_its_events(port: int, tmp_path: Path) -> None:
    where = endpoint(port, "/test/broken-stream", [b"5"] * 2, tokens=lambda _: 1)
    report, records = all_once(where, tmp_path)
    assert by_request(records) == [(Outcome.GRPC_ERROR, grpc.StatusCode.INTERNAL.value[0])] * 2
    assert list(records.rows["tokens"]) == [5, 5]
    assert texts(report) == ["broken off"]


def test_a_stream_that_takes_too_long_is_given_up_and_keeps_its_events(fresh: int, tmp_path: Path) -> None:
    where = endpoint(fresh, "/test/stream", [b"100000 20"], tokens=lambda _: 1)
    _, records = all_once(where, tmp_path, timeout_ns=1_000 * MS)
    assert each_outcome(records) == [Outcome.TIMEOUT]
    assert len(records.events) == records.rows["tokens"][0] > 0
    wait_until(lambda: server_log(fresh)["cancelled"] == 1)


# -- how many at once --


@pytest.mark.parametrize(("concurrency", "streams", "connections"), [(1, 6, 1), (6, 6, 1), (7, 3, 3), (5, 1, 5)])
def test_a_closed_loop_keeps_its_concurrency_over_as_few_connections_as_allowed(
    concurrency: int, streams: int, connections: int, fresh: int, tmp_path: Path
) -> None:
    where = endpoint(fresh, "/test/sleep", [b"20"], streams)
    _, records = run(plan(closed(concurrency, total=6 * concurrency), where, tmp_path))
    seen = server_log(fresh)
    assert seen["most_busy"] == concurrency
    assert len(seen["peers"]) == connections
    assert set(records.rows["outcome"]) == {Outcome.OK}


def test_calls_due_while_all_streams_are_taken_wait_for_one(fresh: int, tmp_path: Path) -> None:
    _, records = run(plan(arrivals([0] * 20, 5), endpoint(fresh, "/test/sleep", [b"20"], 3), tmp_path))
    assert server_log(fresh)["most_busy"] == 5
    assert set(records.rows["outcome"]) == {Outcome.OK}
    assert int((records.rows["ready_ns"] > records.rows["intended_ns"]).sum()) >= 15


def test_a_server_that_allows_fewer_streams_gets_more_connections(tmp_path: Path) -> None:
    with serving("grpc.max_concurrent_streams=2") as (port, _):
        _, records = run(plan(closed(6, total=120), endpoint(port, "/test/sleep", [b"20"]), tmp_path))
        seen = server_log(port)
    assert set(records.rows["outcome"]) == {Outcome.OK}
    assert seen["most_busy"] == 6
    assert len(seen["peers"]) == 3


def test_every_call_is_sent_once_while_connections_are_sent_away(tmp_path: Path) -> None:
    with serving("grpc.max_connection_age_ms=80") as (port, _):
        where = endpoint(port, "/test/sleep", [b"7 %d" % index for index in range(600)])
        _, records = all_once(where, tmp_path, 8)
        seen = server_log(port)
    ended = each_outcome(records)
    assert set(ended) <= {Outcome.OK, Outcome.CONNECTION_ERROR}
    assert len(seen["peers"]) > 3
    assert Counter(seen["taken"]) == Counter(
        where.requests[index].decode() for index, outcome in enumerate(ended) if outcome is Outcome.OK
    )


def test_pings_of_the_server_are_answered(tmp_path: Path) -> None:
    with serving("grpc.keepalive_time_ms=50", "grpc.keepalive_timeout_ms=1000") as (port, _):
        _, records = all_once(endpoint(port, "/test/sleep", [b"2500"]), tmp_path)
        assert each_outcome(records) == [Outcome.OK]
        assert len(server_log(port)["peers"]) == 1


# -- TLS --


def test_calls_go_over_tls_both_ways(secured: int, trusted: Path, tmp_path: Path) -> None:
    messages = [pattern(size) for size in (0, 10, 70_000, 3 * MIB)] * 3
    where = endpoint(secured, "/test/echo", messages, tls=Tls(trusted, server_name="model.example"))
    report, _ = all_once(where, tmp_path, 4, keep_answers=True)
    assert dict(report.answers) == dict(enumerate(messages))


def test_a_certificate_for_another_name_is_refused(secured: int, trusted: Path, tmp_path: Path) -> None:
    report, records = all_once(endpoint(secured, "/test/echo", [b"x"], tls=Tls(trusted)), tmp_path)
    assert each_outcome(records) == [Outcome.CONNECTION_ERROR]
    assert "certificate" in texts(report)[0]


def test_a_certificate_that_nobody_trusts_is_refused_unless_that_is_asked_for(secured: int, tmp_path: Path) -> None:
    _, strict = all_once(endpoint(secured, "/test/echo", [b"x"], tls=Tls()), tmp_path)
    assert each_outcome(strict) == [Outcome.CONNECTION_ERROR]
    _, lax = all_once(endpoint(secured, "/test/echo", [b"x"], tls=Tls(verify=False)), tmp_path)
    assert each_outcome(lax) == [Outcome.OK]


def test_the_clear_is_no_use_against_tls(secured: int, tmp_path: Path) -> None:
    _, records = all_once(endpoint(secured, "/test/echo", [b"x"] * 3), tmp_path, timeout_ns=2_000 * MS)
    assert set(each_outcome(records)) <= {Outcome.CONNECTION_ERROR, Outcome.MALFORMED}


# -- in the generator's process --


def test_the_generator_makes_grpc_calls_in_a_process_of_its_own(port: int, tmp_path: Path) -> None:
    where = endpoint(port, "/test/echo", [b"hello"], judge=judge_grpc)
    with Generator() as generator:
        made = generator.run(plan(closed(4, total=100), where, tmp_path, keep_answers=True))
    assert made.report.answers == ((0, b"hello"),) * 100
    assert np.all(np.isfinite(latencies_s(made.records.rows)))


def wait_until(condition: Callable[[], bool], patience_s: float = 20.0) -> None:
    until = time.monotonic() + patience_s
    while not condition():
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.01)
