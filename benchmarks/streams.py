"""Streams of tokens whose send times are known, read by the load generator."""

import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from targets.base import Endpoint, Outcome
from targets.openai.judge import judge, read_event
from tuner.load.generator import Generator
from tuner.load.plan import ClosedLoop, Plan
from tuner.records import Records


@dataclass(frozen=True)
class Streamed:
    """Tokens of all streams, ordered by stream and then by time.

    Attributes:
        stream: int64 [tokens], which stream a token is of.
        sent_ns: int64 [tokens], when the server sent it, on the monotonic clock.
        read_ns: int64 [tokens], when the generator read it, on the same clock.
        records: of the generator.
        cpu_share: of the generator, of one core.
    """

    stream: NDArray[np.int64]
    sent_ns: NDArray[np.int64]
    read_ns: NDArray[np.int64]
    records: Records
    cpu_share: float


def streamed(
    generator: Generator, streams: int, tokens: int, period_ms: float, server_cpu: int, scratch: Path
) -> Streamed:
    """Have so many streams at once, of so many tokens each, one every `period_ms`.

    Raises:
        RuntimeError: a stream failed, or not every token that was sent was read.
    """
    log = scratch / "sent.npy"
    command = ["taskset", "-c", str(server_cpu), sys.executable, str(Path(__file__).with_name("stream_server.py"))]
    command += [str(tokens), str(period_ms), str(log)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        port = int(server.stdout.readline())
        requests = tuple(f"GET /{index} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode() for index in range(streams))
        plan = Plan(
            endpoint=Endpoint("127.0.0.1", port, requests, judge, tokens=read_event),
            load=ClosedLoop(streams, np.arange(streams, dtype=np.int32), total=streams),
            start_ns=time.monotonic_ns() + 1_000_000_000,
            warmup_ns=0,
            window_ns=round(tokens * period_ms * 1e6),
            timeout_ns=60_000_000_000,
            records_path=scratch / "round.bin",
        )
        run = generator.run(plan)
        server.communicate()
    if failed := int(np.sum(run.records.rows["outcome"] != Outcome.OK)):
        raise RuntimeError(f"{failed} of {streams} streams failed: {run.report.failures}")
    sent = np.load(log)
    sent = sent[np.lexsort((sent[:, 1], sent[:, 0]))]
    events = run.records.events[run.records.events["tokens"] > 0]
    stream = run.records.rows["request"][events["row"]].astype(np.int64)
    order = np.lexsort((events["at_ns"], stream))
    if not np.array_equal(stream[order], sent[:, 0]):
        raise RuntimeError(f"{len(sent)} tokens were sent, but {len(stream)} read")
    return Streamed(stream[order], sent[:, 2], events["at_ns"][order], run.records, run.report.cpu_share)
