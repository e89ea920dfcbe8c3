"""A gRPC server that goes away (GOAWAY): the calls that it has not looked at go to another connection."""

import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from targets.base import Outcome
from tests.support import h2_peer
from tests.support.grpc_runs import all_once, connections, each_outcome, endpoint, plan, play, texts
from tests.support.h2_peer import OK_HEADERS, Call, Client, Script, answering, data, goaway, message_of, peer
from tests.support.load_runs import MS, arrivals, closed, run
from tuner.load.sequences import SequenceOrder
from tuner.load.wire import http2


def first_then(first: Script, others: Script) -> Script:
    """Return a script that does one thing on the first connection and another on those after it."""
    scripts = [first]

    def script(client: Client) -> None:
        (scripts.pop() if scripts else others)(client)

    return script


def go_away_at_once(client: Client) -> None:
    """Look at no call."""
    client.greet()
    client.next_call()
    client.send(goaway(0, 0, b"max_age"))
    client.until_it_leaves()


def never_greet(client: Client) -> None:
    client.until_it_leaves()


@pytest.mark.parametrize("tokens", [None, len], ids=["unary", "streamed"])
def test_calls_taken_finish_and_the_others_go_to_another_connection(
    tokens: Callable[[bytes], int] | None, tmp_path: Path
) -> None:
    went: list[int] = []
    others_served = threading.Semaphore(0)

    def first(client: Client) -> None:
        client.greet()
        taken, *_ = client.next_calls(3)
        went.append(time.monotonic_ns())
        client.send(goaway(taken.stream, 11, b"too_many_pings"))
        for _ in range(2):
            assert others_served.acquire(timeout=10)
        assert len(made) == 2, "one connection has the places of both"
        client.send(client.answer(taken.stream, taken.message))
        client.until_it_leaves()

    def answer(client: Client, call: Call) -> None:
        h2_peer.echo(client, call)
        others_served.release()

    script, made = connections(first_then(first, answering(answer)))
    messages = [b"0", b"1", b"2", b"3", b"4"]
    report, records = play(script, tmp_path, messages, 3, tokens=tokens, keep_answers=True)
    assert each_outcome(records) == [Outcome.OK] * 5
    assert sorted(report.answers) == list(enumerate(messages))
    rows = records.rows.in_order_of("request")
    for row in (1, 2):
        assert 0 < rows["intended_ns"][row] <= rows["sent_ns"][row] < went[0] < rows["done_ns"][row], "its times run on"


def test_a_call_goes_to_a_connection_that_is_free_and_no_other_is_opened(tmp_path: Path) -> None:
    first = threading.Lock()

    def answer(client: Client, call: Call) -> None:
        if first.acquire(blocking=False):
            client.send(goaway(0))
        else:
            h2_peer.echo(client, call)

    script, made = connections(answering(answer))
    with peer(script) as port:
        where = endpoint(port, "/test/call", [b"x"], streams=1)
        late_enough = arrivals([0, 1_500], 2)  # the first is back by then, however slowly the engine started
        _, records = run(plan(late_enough, where, tmp_path, window_ns=2_000 * MS))
    assert list(records.rows["outcome"]) == [Outcome.OK] * 2
    assert len(made) == 2


def test_a_sequence_keeps_its_order(tmp_path: Path) -> None:
    seen: list[bytes] = []

    def answer(client: Client, call: Call) -> None:
        seen.append(call.message)
        h2_peer.echo(client, call)

    with peer(first_then(go_away_at_once, answering(answer))) as port:
        where = endpoint(port, "/test/call", [b"0", b"1", b"2"])
        sequences = SequenceOrder(np.array([0]), np.array([3]))
        _, records = run(plan(closed(1, 1, 3), where, tmp_path, sequences=sequences))
    assert list(records.rows["outcome"]) == [Outcome.OK] * 3
    assert seen == [b"0", b"1", b"2"]


def test_a_call_that_no_connection_looks_at_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tuner.load.wire.grpc.REFUSAL_PATIENCE_NS", 100 * MS)
    script, made = connections(go_away_at_once)
    report, records = play(script, tmp_path, [b"x", b"y"], 2)
    assert each_outcome(records) == [Outcome.CONNECTION_ERROR] * 2
    assert texts(report) == ["the server went away (HTTP/2 error 0) max_age"]
    assert len(made) > 2


def test_a_call_fails_with_the_connection_that_it_waits_for(tmp_path: Path) -> None:
    _, records = play(first_then(go_away_at_once, lambda _: None), tmp_path, [b"x"])
    assert each_outcome(records) == [Outcome.CONNECTION_ERROR]
    assert records.rows["sent_ns"][0] > 0


def test_the_timeout_of_a_call_runs_while_it_waits_for_a_connection(tmp_path: Path) -> None:
    report, records = play(first_then(go_away_at_once, never_greet), tmp_path, [b"x"], timeout_ns=300 * MS)
    assert each_outcome(records) == [Outcome.TIMEOUT]
    assert texts(report) == ["no answer within 0.3 s"]


def test_the_timeout_runs_while_the_connection_that_goes_away_has_a_call_still(tmp_path: Path) -> None:
    """No place is free but that of the call itself, and the connection for it never opens."""

    def first(client: Client) -> None:
        client.greet()
        slow, _ = client.next_calls(2)
        client.send(goaway(slow.stream))
        client.until_it_leaves()

    _, records = play(first_then(first, never_greet), tmp_path, [b"x", b"y"], 2, timeout_ns=300 * MS)
    assert each_outcome(records) == [Outcome.TIMEOUT] * 2
    assert (records.rows["sent_ns"] > 0).all()


def test_a_call_that_was_answered_in_part_is_not_sent_again(tmp_path: Path) -> None:
    """Whatever the server says: its tokens would count twice."""

    def first(client: Client) -> None:
        client.greet()
        stream = client.next_call().stream
        client.send(client.headers(stream, OK_HEADERS), data(stream, message_of(b"abc")), goaway(0))
        client.until_it_leaves()

    _, records = play(first_then(first, answering(h2_peer.echo)), tmp_path, [b"x"], tokens=len)
    assert each_outcome(records) == [Outcome.CONNECTION_ERROR]
    assert list(records.rows["tokens"]) == [3]


def test_a_call_refused_on_a_connection_that_goes_away_is_sent_over_another(tmp_path: Path) -> None:
    def first(client: Client) -> None:
        client.greet()
        taken, refused = client.next_calls(2)
        client.send(goaway(refused.stream), client.reset(refused.stream, http2.REFUSED_STREAM))
        client.send(client.answer(taken.stream, b"x"))
        client.until_it_leaves()

    with peer(first_then(first, answering(h2_peer.echo))) as port:
        _, records = all_once(endpoint(port, "/test/call", [b"x"] * 4, 2), tmp_path, 2)
    assert each_outcome(records) == [Outcome.OK] * 4
