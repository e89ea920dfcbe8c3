"""Traces read from files: when requests came, and how large they were.

Formats, told apart by their content unless the study names one:

- `csv`: a header, then a row a request. The time is in `timestamp` or `time`, a number or an ISO 8601 date; sizes in
  `input_tokens` and `output_tokens`. The Azure LLM inference trace (TIMESTAMP, ContextTokens, GeneratedTokens;
  https://github.com/Azure/AzurePublicDataset) is one of these.
- `jsonl`: an object a request with the same names. Mooncake traces (`timestamp` in ms, `input_length`, `output_length`;
  https://github.com/kvcache-ai/Mooncake) are some of these.
- `intervals`: perf_analyzer's `--request-intervals`: a number a line, the microseconds between a request and the next.
"""

import csv
import io
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workloads.datasets import objects
from workloads.replay import Replay
from workloads.requests import RequestSourceError

FORMATS = ("csv", "jsonl", "intervals")
UNITS_S: Mapping[str, float] = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}
_TIMES = ("timestamp", "time", "arrival_time", "arrived_at")
_INPUTS = ("input_tokens", "input_length", "contexttokens", "prompt_tokens")
_OUTPUTS = ("output_tokens", "output_length", "generatedtokens", "completion_tokens")
_ROUNDING = 1e-9
_MOST_TOKENS = 2**40
_FRACTION = re.compile(r"(\.\d{6})\d+")


@dataclass(frozen=True)
class Trace:
    """What was recorded of requests, in the order of time.

    Attributes:
        times_s: float64 [n], seconds from the first of them.
        span_s: length of the trace, in seconds.
        input_tokens: int64 [n], None where it was not recorded.
        output_tokens: int64 [n], None where it was not recorded.
    """

    times_s: NDArray[np.float64]
    span_s: float
    input_tokens: NDArray[np.int64] | None = None
    output_tokens: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.times_s)

    def arrivals(self) -> Replay:
        """Return the requests' times as an arrival process."""
        return Replay(self.times_s, self.span_s)

    def cut(self, start_s: float, length_s: float | None) -> "Trace":
        """Return the piece [start, start + length) of the trace; its times count from the start of the piece.

        Raises:
            ValueError: nothing came in it, or it goes beyond the trace.
        """
        length_s = self.span_s - start_s if length_s is None else length_s
        if length_s > 0 and start_s + length_s > self.span_s * (1 + _ROUNDING):
            raise ValueError(
                f"the trace is {self.span_s:g} s long, but {length_s:g} s from {start_s:g} s on are asked for"
            )
        inside = (self.times_s >= start_s) & (self.times_s < start_s + length_s)
        if length_s <= 0 or not inside.any():
            raise ValueError(f"no request came between {start_s:g} s and {start_s + length_s:g} s of the trace")
        return Trace(
            self.times_s[inside] - start_s,
            length_s,
            None if self.input_tokens is None else self.input_tokens[inside],
            None if self.output_tokens is None else self.output_tokens[inside],
        )


def load_trace(path: Path, unit: str | None = None, file_format: str | None = None) -> Trace:
    """Read a trace; lines in any order of time, except for intervals.

    Args:
        path: the file.
        unit: of times that are numbers: `s`, `ms`, `us`, `ns`; None: s in CSV, ms in JSONL, us for intervals.
        file_format: one of FORMATS; None: by the content.

    Raises:
        RequestSourceError: the file cannot be read, or a line is not as expected; with its number.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise RequestSourceError(f"{path}: no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise RequestSourceError(f"{path}: cannot be read: {error}") from None
    found = file_format or _format_of(text)
    if found == "intervals":
        return _intervals(path, text, UNITS_S[unit or "us"])
    rows = list(_csv_rows(path, text) if found == "csv" else _json_rows(path, text))
    return _trace(path, rows, UNITS_S[unit or ("s" if found == "csv" else "ms")])


def _format_of(text: str) -> str:
    first = next((line.strip() for line in text.splitlines() if line.strip()), "")
    if first.startswith("{"):
        return "jsonl"
    return "intervals" if _number(first) is not None else "csv"


def _intervals(path: Path, text: str, unit_s: float) -> Trace:
    intervals = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        value = _number(line)
        if value is None or value < 0:
            raise RequestSourceError(
                f"{path}:{number}: expected the time to the next request, a number >= 0 (of microseconds unless the "
                f"study gives a `unit`), but got {line.strip()[:40]!r}"
            )
        intervals.append(value * unit_s)
    if not sum(intervals) > 0:
        raise RequestSourceError(f"{path}: expected intervals, one a line, some of them above 0")
    ends = np.cumsum(intervals)
    times = np.concatenate([[0.0], ends[:-1]])
    # Intervals of 0 at the end: what follows them comes together with the first of the next round.
    return Trace(np.sort(np.where(times < ends[-1], times, 0.0)), float(ends[-1]))


Row = tuple[int, Mapping[str, object]]


def _csv_rows(path: Path, text: str) -> Iterator[Row]:
    reader = csv.reader(io.StringIO(text))
    header = [name.strip().lower() for name in next(reader, [])]
    for values in _lines(path, reader):
        if not values or values == [""]:
            continue
        if len(values) != len(header):
            raise RequestSourceError(
                f"{path}:{reader.line_num}: expected {len(header)} values, as the header has, but got {len(values)}"
            )
        yield reader.line_num, dict(zip(header, values, strict=True))


def _lines(path: Path, reader: Any) -> Iterator[list[str]]:
    try:
        yield from reader
    except csv.Error as error:
        raise RequestSourceError(f"{path}:{reader.line_num}: not CSV: {error}") from None


def _json_rows(path: Path, text: str) -> Iterator[Row]:
    for number, data in objects(path, text):
        yield number, {str(name).lower(): value for name, value in data.items()}


def _trace(path: Path, rows: list[Row], unit_s: float) -> Trace:
    if not rows:
        raise RequestSourceError(f"{path}: no requests; expected a line for each")
    known = rows[0][1]
    time_key = next((name for name in _TIMES if name in known), None)
    if time_key is None:
        raise RequestSourceError(
            f"{path}:{rows[0][0]}: expected the time in {' or '.join(map(repr, _TIMES[:2]))}; "
            f"there is {', '.join(map(repr, known)) or 'nothing'}"
        )
    times = np.array([_time(path, number, time_key, row, unit_s) for number, row in rows])
    sizes = [_sizes(path, rows, names) for names in (_INPUTS, _OUTPUTS)]
    order = np.argsort(times, kind="stable")
    try:
        replay = Replay.of(times)
    except ValueError as error:
        raise RequestSourceError(f"{path}: {error}") from None
    inputs, outputs = (None if one is None else one[order] for one in sizes)
    return Trace(replay.times_s, replay.span_s, inputs, outputs)


def _time(path: Path, number: int, key: str, row: Mapping[str, object], unit_s: float) -> float:
    value = row.get(key)
    found = _number(value)
    if found is not None:
        return found * unit_s
    try:
        moment = datetime.fromisoformat(_FRACTION.sub(r"\1", str(value).strip()))
    except ValueError:
        raise RequestSourceError(
            f"{path}:{number}: {key}: expected a number or a date like 2024-05-10 00:00:00.009930, but got {value!r}"
        ) from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _sizes(path: Path, rows: list[Row], names: tuple[str, ...]) -> NDArray[np.int64] | None:
    key = next((name for name in names if name in rows[0][1]), None)
    if key is None:
        return None
    found = []
    for number, row in rows:
        value = _number(row.get(key))
        if value is None or not 0 <= value <= _MOST_TOKENS or value != int(value):
            raise RequestSourceError(
                f"{path}:{number}: {key}: expected a whole number of tokens, but got {row.get(key)!r}"
            )
        found.append(int(value))
    return np.array(found, np.int64)


def _number(value: object) -> float | None:
    """Return a finite number, from a text too; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        found = float(value)
    except (ValueError, OverflowError):
        return None
    return found if np.isfinite(found) else None
