"""Traces read from files, in each of their formats; malformed lines are named."""

from pathlib import Path

import numpy as np
import pytest

from workloads.requests import RequestSourceError
from workloads.traces import Trace, load_trace

AZURE = """TIMESTAMP,ContextTokens,GeneratedTokens
2023-11-16 18:15:46.6805900,374,44
2023-11-16 18:15:50.9951690,396,109
2023-11-16 18:15:51.2225670,879,55
"""
MOONCAKE = """{"timestamp": 0, "input_length": 6755, "output_length": 500, "hash_ids": [0, 1]}
{"timestamp": 3000, "input_length": 7319, "output_length": 490, "hash_ids": [0, 14]}
{"timestamp": 3000, "input_length": 7234, "output_length": 794, "hash_ids": [0]}
"""


def read(folder: Path, text: str, **options: str) -> Trace:
    path = folder / "trace"
    path.write_text(text)
    return load_trace(path, options.get("unit"), options.get("file_format"))


def test_reads_the_azure_inference_trace(tmp_path: Path) -> None:
    trace = read(tmp_path, AZURE)
    assert trace.times_s.tolist() == pytest.approx([0.0, 4.314579, 4.541977], abs=1e-6)
    assert trace.input_tokens is not None
    assert trace.output_tokens is not None
    assert trace.input_tokens.tolist() == [374, 396, 879]
    assert trace.output_tokens.tolist() == [44, 109, 55]
    assert trace.span_s == pytest.approx(4.541977 * 3 / 2, abs=1e-5)


def test_reads_a_mooncake_trace_in_milliseconds(tmp_path: Path) -> None:
    trace = read(tmp_path, MOONCAKE)
    assert trace.times_s.tolist() == [0.0, 3.0, 3.0]
    assert trace.input_tokens is not None
    assert trace.input_tokens.tolist() == [6755, 7319, 7234]


def test_reads_the_intervals_of_perf_analyzer(tmp_path: Path) -> None:
    """A line is the microseconds from a request to the next; at the end it begins again."""
    trace = read(tmp_path, "100\n250\n\n50\n")
    assert trace.times_s.tolist() == pytest.approx([0.0, 100e-6, 350e-6])
    assert trace.span_s == pytest.approx(400e-6)
    offsets = trace.arrivals().offsets_ns(800e-6, np.random.default_rng(0))
    assert offsets.tolist() == [0, 100_000, 350_000, 400_000, 500_000, 750_000]


def test_intervals_of_zero_at_the_end_lose_no_request(tmp_path: Path) -> None:
    """The last requests come together with the first of the next round."""
    trace = read(tmp_path, "50000\n0\n0\n").cut(0, None)
    assert trace.times_s.tolist() == [0, 0, 0]
    assert len(trace.arrivals().offsets_ns(1.0, np.random.default_rng(0))) == 60


def test_reads_times_alone(tmp_path: Path) -> None:
    trace = read(tmp_path, "time,who\n10.5,a\n10.0,b\n11.5,c\n")
    assert trace.times_s.tolist() == [0.0, 0.5, 1.5]
    assert trace.input_tokens is None
    assert trace.output_tokens is None


def test_sizes_stay_with_their_times(tmp_path: Path) -> None:
    trace = read(tmp_path, "timestamp,input_tokens\n2,20\n1,10\n3,30\n")
    assert trace.input_tokens is not None
    assert trace.input_tokens.tolist() == [10, 20, 30]


def test_takes_another_unit(tmp_path: Path) -> None:
    assert read(tmp_path, "time\n1000\n3000\n", unit="ms").times_s.tolist() == [0.0, 2.0]
    assert read(tmp_path, "5\n5\n", unit="ms").span_s == pytest.approx(0.01)


def test_takes_the_format_that_is_named(tmp_path: Path) -> None:
    with pytest.raises(RequestSourceError, match=r"trace:1: expected the time to the next request"):
        read(tmp_path, AZURE, file_format="intervals")


def test_a_piece_of_a_trace_counts_from_its_start(tmp_path: Path) -> None:
    piece = read(tmp_path, "timestamp,output_tokens\n0,1\n1,2\n2.5,3\n4,4\n").cut(1.0, 2.0)
    assert piece.times_s.tolist() == [0.0, 1.5]
    assert piece.span_s == 2.0
    assert piece.output_tokens is not None
    assert piece.output_tokens.tolist() == [2, 3]
    with pytest.raises(ValueError, match=r"the trace is 5\.33333 s long, but 9 s from 1 s on are asked for"):
        read(tmp_path, "time\n0\n1\n2.5\n4\n").cut(1.0, 9.0)
    with pytest.raises(ValueError, match=r"no request came between 1\.2 s and 1\.3 s"):
        read(tmp_path, "time\n0\n1\n2.5\n").cut(1.2, 0.1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no requests; expected a line for each"),
        ("100\nfast\n", "trace:2: expected the time to the next request, a number >= 0"),
        ("100\n-5\n", "trace:2: expected the time to the next request"),
        ("0\n0\n", "some of them above 0"),
        ("when,x\n1,2\n", "trace:2: expected the time in 'timestamp' or 'time'; there is 'when', 'x'"),
        ("time,x\n1,2\n1\n", "trace:3: expected 2 values, as the header has, but got 1"),
        ("time\n1\nsoon\n", "trace:3: time: expected a number or a date like .*, but got 'soon'"),
        ("time\n1\nnan\n", "trace:3: time: expected a number or a date"),
        ("time,input_tokens\n1,4\n2,4.5\n", "trace:3: input_tokens: expected a whole number of tokens, but got '4.5'"),
        ("time,output_tokens\n1,4\n2,-1\n", "trace:3: output_tokens: expected a whole number of tokens"),
        ('{"timestamp": 1}\n{"timestamp": 2', "trace:2: not JSON"),
        ('{"timestamp": 1}\n[2]', "trace:2: expected an object"),
        ('{"timestamp": 1}\n{"time": 2}', "trace:2: timestamp: expected a number or a date like .*, but got None"),
        ("time\n1\n", "needs two arrivals at different times, but has 1"),
    ],
)
def test_a_malformed_trace_says_where_and_what_was_expected(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(RequestSourceError, match=message):
        read(tmp_path, text)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(RequestSourceError, match="nowhere: no such file"):
        load_trace(tmp_path / "nowhere")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(RequestSourceError, match="binary: cannot be read"):
        load_trace(tmp_path / "binary")
