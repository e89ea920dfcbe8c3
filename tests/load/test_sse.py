"""Answers streamed as server-sent events: the time of each, the first token, the end."""

import json
from pathlib import Path

import numpy as np
import pytest

from targets.base import Outcome
from tests.support.load_runs import (
    MS,
    arrivals,
    closed,
    count_tokens,
    judge_stream,
    outcomes,
    outcomes_by_request,
    plan,
    run,
)
from tests.support.peak_memory import measured
from tuner.load.plan import ClosedLoop, OpenLoop, RunReport
from tuner.load.poller import Poller
from tuner.records import Records

_sent_ns: list[int] = []
"""When the server sent each event that `_note_and_count` saw, in the order of reading."""


def _note_and_count(data: bytes) -> int:
    if data != b"[DONE]":
        _sent_ns.append(json.loads(data)["at"])
    return count_tokens(data)


def stream(
    port: int,
    load: ClosedLoop | OpenLoop,
    folder: Path,
    paths: list[str],
    poller: Poller | None = None,
    **changes: object,
) -> tuple[RunReport, Records]:
    values = {"judge": judge_stream, "tokens": count_tokens, "timeout_ns": 10_000 * MS} | changes
    return run(plan(port, load, folder, paths, **values), poller)


def events_of(records: Records, row: int) -> np.ndarray:
    return records.events[records.events["row"] == row]


# Whatever the stream looks like.

FORMS = {
    "one by one": "every=2",
    "all at once": "",
    "several in one packet": "per_send=3&every=2",
    "one over several packets": "cuts=4",
    "byte by byte": "cuts=1000&count=1",
    "CRLF": "eol=crlf&every=2",
    "CR": "eol=cr&every=2",
    "CRLF, over several packets": "eol=crlf&cuts=7",
    "CR, over several packets": "eol=cr&cuts=7",
    "comments and other fields": "noise=1",
    "comments and other fields, CRLF": "noise=1&eol=crlf&cuts=3",
    "data of several lines": "lines=1",
    "until the connection ends": "framing=close&every=2",
    "none before the last": "count=0",
}


@pytest.mark.parametrize("query", FORMS.values(), ids=FORMS)
def test_every_event_is_recorded_and_its_tokens_counted(port: int, tmp_path: Path, query: str, poller: Poller) -> None:
    report, records = stream(port, closed(2, total=6), tmp_path, [f"/events?{query}"], poller)
    count = dict(part.split("=") for part in query.split("&") if part).get("count", "5")
    assert outcomes(records) == {Outcome.OK}, report.failures
    assert records.columns["tokens"].tolist() == [int(count)] * 6
    for row in range(6):
        assert events_of(records, row)["tokens"].tolist() == [1] * int(count) + [0], "the last is [DONE]"


@pytest.mark.parametrize("query", ["eol=lf", "eol=crlf", "eol=cr", "framing=close"])
def test_an_event_is_read_when_it_was_sent_and_not_when_the_next_one_came(
    port: int, tmp_path: Path, query: str, poller: Poller
) -> None:
    _sent_ns.clear()
    path = f"/events?every=60&count=10&{query}"
    _, records = stream(port, closed(1, total=2), tmp_path, [path], poller, tokens=_note_and_count)
    tokens = records.events[records.events["tokens"] > 0]
    delays_ms = (tokens["at_ns"] - np.array(_sent_ns)) / MS
    assert len(delays_ms) == 20
    assert delays_ms.min() >= 0
    assert np.median(delays_ms) < 30, f"{np.median(delays_ms)} ms"


def test_times_of_a_stream_are_in_their_order(port: int, tmp_path: Path) -> None:
    _, records = stream(port, closed(3, total=12), tmp_path, ["/events?every=2&count=10"])
    for row in range(12):
        at_ns = events_of(records, row)["at_ns"]
        assert np.all(np.diff(at_ns) >= 0)
        assert records.columns["first_ns"][row] == at_ns[0]
        assert records.columns["sent_ns"][row] <= at_ns[0]
        assert records.columns["done_ns"][row] >= at_ns[-1]


# The first token.


def test_the_first_token_is_not_the_head_of_the_answer(port: int, tmp_path: Path, poller: Poller) -> None:
    """The head comes at once, the first event 100 ms later."""
    _, records = stream(port, closed(1, total=2), tmp_path, ["/events?first=100"], poller)
    waited_ms = (records.columns["first_ns"] - records.columns["sent_ns"]) / MS
    assert waited_ms.min() >= 100


def test_the_first_token_is_not_an_event_without_one(port: int, tmp_path: Path) -> None:
    """The first event says who speaks, as those of chat completions do."""
    _, records = stream(port, closed(1, total=2), tmp_path, ["/events?every=30&count=5"], tokens=_from_the_third_on())
    for row in range(2):
        events = events_of(records, row)
        assert events["tokens"].tolist() == [0, 0, 1, 1, 1, 0]
        assert records.columns["first_ns"][row] == events["at_ns"][2]
        assert records.columns["tokens"][row] == 3


def _from_the_third_on() -> object:
    seen = {"events": 0}

    def count(data: bytes) -> int:
        seen["events"] = 0 if data == b"[DONE]" else seen["events"] + 1
        return int(seen["events"] > 2)

    return count


def test_a_stream_without_tokens_has_no_first_one(port: int, tmp_path: Path) -> None:
    _, records = stream(port, closed(1, total=2), tmp_path, ["/events?every=5"], tokens=len_of_nothing)
    assert records.columns["first_ns"].tolist() == [0, 0]
    assert records.columns["tokens"].tolist() == [0, 0]
    assert len(records.events) == 12


def len_of_nothing(data: bytes) -> int:
    del data
    return 0


# Streams that go wrong.


@pytest.mark.parametrize(
    ("path", "outcome", "code", "text", "tokens"),
    [
        ("/events?cut_after=3", Outcome.CONNECTION_ERROR, 104, "closed in the middle of an answer", 3),
        ("/events?cut_after=3&framing=close", Outcome.MALFORMED, 200, '"tokens": 1', 3),
        ("/events?done=0", Outcome.MALFORMED, 200, '"tokens": 1', 5),
        ("/events?first=3600000", Outcome.TIMEOUT, 0, "no answer within 0.3 s", 0),
        ("/events?every=20&count=100000", Outcome.TIMEOUT, 0, "no answer within 0.3 s", None),
        ("/error-stream", Outcome.HTTP_ERROR, 503, '{"error": "overloaded"}', 0),
        ("/ok", Outcome.MALFORMED, 200, "ok", 0),
    ],
)
def test_a_stream_that_goes_wrong_fails_and_keeps_what_came(
    port: int, tmp_path: Path, path: str, outcome: Outcome, code: int, text: str, tokens: int | None, poller: Poller
) -> None:
    patience = 300 * MS if outcome is Outcome.TIMEOUT else 10_000 * MS
    report, records = stream(port, closed(2, total=4), tmp_path, [path], poller, timeout_ns=patience)
    assert outcomes(records) == {outcome}
    assert set(records.columns["code"]) == {code}
    assert text in report.failures[0].text
    assert tokens is None or set(records.columns["tokens"]) == {tokens}
    for row, of_row in enumerate(records.columns["tokens"]):
        assert events_of(records, row)["tokens"].sum() == of_row


def test_a_stream_that_goes_wrong_does_so_alone(port: int, tmp_path: Path) -> None:
    paths = ["/events?every=1", "/events?cut_after=2", "/error-stream", "/events?done=0"]
    _, records = stream(port, closed(3, 4, 48), tmp_path, paths)
    assert outcomes_by_request(records) == {
        0: {Outcome.OK},
        1: {Outcome.CONNECTION_ERROR},
        2: {Outcome.HTTP_ERROR},
        3: {Outcome.MALFORMED},
    }


def _raises(data: bytes) -> int:
    return 1 if data == b"[DONE]" else json.loads(data)["usage"]["tokens"]


def _absurd(data: bytes) -> int:
    return 0 if data == b"[DONE]" else 1 << 30


def _negative(data: bytes) -> int:
    return 0 if data == b"[DONE]" else -1


def _fraction(data: bytes) -> int:
    return 0 if data == b"[DONE]" else 0.5  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("tokens", "text"),
    [(_raises, "KeyError('usage')"), (_absurd, "tokens"), (_negative, "error("), (_fraction, "error(")],
)
def test_events_whose_tokens_cannot_be_counted_are_malformed_and_the_run_goes_on(
    port: int, tmp_path: Path, tokens: object, text: str
) -> None:
    report, records = stream(port, closed(2, 2, 20), tmp_path, ["/events", "/events?count=0"], tokens=tokens)
    assert len(records.rows) == 20
    assert outcomes_by_request(records) == {0: {Outcome.MALFORMED}, 1: {Outcome.OK}}
    assert text in report.failures[0].text


# Many.


def test_many_streams_at_once_are_kept_apart(port: int, tmp_path: Path, poller: Poller) -> None:
    """Each of 40 streams in flight has a number of events of its own."""
    paths = [f"/events?every=3&count={count}" for count in range(1, 41)]
    _, records = stream(port, closed(40, 40, 80), tmp_path, paths, poller)
    assert outcomes(records) == {Outcome.OK}
    assert np.array_equal(records.columns["tokens"], records.columns["request"] + 1)
    assert np.array_equal(np.bincount(records.events["row"]), records.columns["tokens"] + 1)


def test_requests_that_were_never_sent_have_no_events(port: int, tmp_path: Path) -> None:
    load = arrivals([0] * 5, 1)
    made = {"window_ns": 50 * MS, "timeout_ns": 300 * MS}
    _, records = stream(port, load, tmp_path, ["/events?every=10&count=100000"], **made)
    timed_out, dropped = (records.columns["outcome"] == kind for kind in (Outcome.TIMEOUT, Outcome.DROPPED))
    assert int(timed_out.sum() + dropped.sum()) == 5
    assert set(records.events["row"]) == set(np.flatnonzero(timed_out))


@pytest.mark.parametrize("form", ["per_send=500", "per_send=500&framing=close&eol=crlf"])
def test_a_long_stream_takes_no_memory_but_its_table_of_events(port: int, tmp_path: Path, form: str) -> None:
    """200,000 events of 300 bytes are 60 MB; the table of their times is 3.2 MB, captured into 4 MiB."""
    measure = measured(port, tmp_path, f"/events?count=200000&pad=250&{form}", streamed=True)
    assert measure["outcomes"] == ["OK"]
    assert measure["events"] == 200_001
    assert measure["peak_mib"] < 4 + 3.2 + 12, f"{measure['peak_mib']} MiB"
