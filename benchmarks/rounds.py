"""One round of load by each generator against the same server: ours, wrk, perf_analyzer, Locust."""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import dedent

import numpy as np
import psutil

from targets.base import Endpoint
from tuner.load.generator import Generator
from tuner.load.plan import ClosedLoop, Plan
from tuner.metrics import generator_report, summarise
from tuner.slo import Slo

WARMUP_S, WINDOW_S = 0.3, 1.0
_SETTLED_S, _WATCHED_S = 0.2, 0.6
_PATIENCE_S = 30.0
_UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0}
_EVERY_LATENCY = """
function done(summary, latency, requests)
  print(string.format("lasted %d", summary.duration))
  print(string.format("answered %d", summary.requests))
  for index = 1, #latency do print(string.format("took %d us: %d", latency(index))) end
end
"""
"""What makes wrk print how many requests took how long: percentiles of several rounds cannot be averaged."""


@dataclass(frozen=True)
class Round:
    """What one generator measured and cost.

    Attributes:
        rps: requests answered per second, by the generator's own account.
        p50_s, p99_s: latency, by its own account.
        cpu_s: CPU time of its processes per request.
        rss_bytes: its peak resident memory.
        issue_delay_p99_s: ours only.
        cpu_share: of a core, ours only.
        latencies_s: how many requests took how long, wrk's only.
    """

    rps: float
    p50_s: float
    p99_s: float
    cpu_s: float
    rss_bytes: int
    issue_delay_p99_s: float = 0.0
    cpu_share: float = 0.0
    latencies_s: Mapping[float, int] = field(default_factory=dict)


class Missing(Exception):
    """A peer that is not installed."""


def ours(
    generator: Generator, endpoint: Endpoint, concurrency: int, scratch: Path, window_s: float = WINDOW_S
) -> Round:
    """Run one round of a closed loop."""
    plan = Plan(
        endpoint=endpoint,
        load=ClosedLoop(concurrency, np.arange(len(endpoint.requests), dtype=np.int32)),
        start_ns=time.monotonic_ns() + 30_000_000,
        warmup_ns=round(WARMUP_S * 1e9),
        window_ns=round(window_s * 1e9),
        timeout_ns=2_000_000_000,
        records_path=scratch / "round.bin",
    )
    return measured(generator, plan)


def measured(generator: Generator, plan: Plan) -> Round:
    """Run a plan and sum it up; every request must be answered ok."""
    run = generator.run(plan)
    metrics = summarise(run.records, Slo({}))
    failed = metrics["error_rate"].value
    if failed:
        raise RuntimeError(f"{failed:.2%} of the requests failed: {run.report.failures}")
    rps = metrics["throughput_rps"].value
    report = generator_report(run.records, run.report)
    return Round(
        rps=rps,
        p50_s=metrics["latency_p50_s"].value,
        p99_s=metrics["latency_p99_s"].value,
        cpu_s=run.report.cpu_share / rps,
        rss_bytes=sum(_peak_rss(pid) for pid in generator.pids),
        issue_delay_p99_s=report.issue_delay_p99_s,
        cpu_share=run.report.cpu_share,
    )


def wrk(
    endpoint: Endpoint, concurrency: int, cpu: int, scratch: Path, *, every_latency: bool = False, seconds: int = 1
) -> Round:
    """Run wrk, one thread, posting the endpoint's requests in turn.

    Args:
        endpoint: what is asked.
        concurrency: requests in flight.
        cpu: the CPU it is pinned to.
        scratch: folder for its script.
        every_latency: have it print how many requests took how long, which takes it CPU time.
        seconds: how long; one is its shortest time.

    Raises:
        Missing: it is not installed (Debian: `apt-get install wrk`).
    """
    executable = _found("wrk")
    script = scratch / "post.lua"
    script.write_text(_lua(endpoint, scratch) + (_EVERY_LATENCY if every_latency else ""))
    url = f"http://{endpoint.host}:{endpoint.port}/"
    command = [executable, "-t1", f"-c{concurrency}", f"-d{seconds}s", "--latency", "-s", str(script), url]
    text, cpu_s, rss = _accounted(command, cpu)
    requests = int(_number(r"(\d+) requests in", text))
    if "Socket errors" in text or "Non-2xx" in text:
        raise RuntimeError(f"wrk saw failures: {text}")
    return Round(
        rps=_number(r"Requests/sec:\s+([\d.]+)", text),
        p50_s=_duration(r"50%\s+([\d.]+)(us|ms|s)", text),
        p99_s=_duration(r"99%\s+([\d.]+)(us|ms|s)", text),
        cpu_s=cpu_s / requests,
        rss_bytes=rss,
        latencies_s=_latencies(text, concurrency) if every_latency else {},
    )


def _latencies(text: str, concurrency: int) -> dict[float, int]:
    """Return how many requests took how long, in seconds, from what wrk printed, without those it made up.

    For every latency of twice the mean or more wrk counts further ones, shorter by that mean each, down to it: what it
    takes for omitted (src/stats.c, stats_correct). Nothing is omitted from a closed loop: they are taken out.
    """
    duration_us, requests = (int(_number(rf"^{name} (\d+)$", text)) for name in ("lasted", "answered"))
    expected = duration_us // (requests // concurrency)
    counted = {int(us): int(count) for us, count in re.findall(r"^took (\d+) us: (\d+)$", text, re.MULTILINE)}
    sent = {us: count - (counted.get(us + expected, 0) if us > expected else 0) for us, count in counted.items()}
    if sum(sent.values()) != requests:
        raise RuntimeError(f"wrk answered {requests} requests and told of {sum(sent.values())} latencies")
    return {us / 1e6: count for us, count in sent.items() if count}


def pooled_p99_s(rounds: Iterable[Round]) -> float:
    """Return the p99 of all requests of several rounds of wrk: the latency that at most 1% of them exceed."""
    taken: Counter[float] = Counter()
    for one in rounds:
        taken.update(one.latencies_s)
    return _quantile(sorted(taken.items()), 0.99)


def perf_analyzer(
    url: str, model: str, protocol: str, concurrency: int, cpu: int, counted: Callable[[], int], executable: str
) -> Round:
    """Run perf_analyzer for three windows of 1 s, asynchronous.

    Args:
        url: HOST:PORT of the protocol.
        model: name of the loaded model.
        protocol: `http` or `grpc`.
        concurrency: requests in flight.
        cpu: the CPU it is pinned to.
        counted: requests that the server has answered so far.
        executable: its path.
    """
    command = [executable, "-m", model, "-u", url, "-i", protocol, "--async", f"--concurrency-range={concurrency}"]
    command += ["--measurement-interval=1000", "--stability-percentage=999", "--max-trials=3"]
    text, cpu_s, rss, _ = _watched(command, cpu, counted)
    return Round(
        rps=_number(r"Throughput: ([\d.]+) infer/sec", text),
        p50_s=_number(r"p50 latency: (\d+) usec", text) / 1e6,
        p99_s=_number(r"p99 latency: (\d+) usec", text) / 1e6,
        cpu_s=cpu_s,
        rss_bytes=rss,
    )


def locust(
    endpoint: Endpoint, concurrency: int, cpu: int, counted: Callable[[], int], executable: str, scratch: Path
) -> Round:
    """Run Locust's FastHttpUser for 3 s, as many users as requests in flight, without waiting between requests."""
    head, _, body = endpoint.requests[0].partition(b"\r\n\r\n")
    (scratch / "body.bin").write_bytes(body)
    path = head.split(b" ")[1].decode()
    headers = dict(line.decode().split(": ", 1) for line in head.split(b"\r\n")[1:])
    headers.pop("Content-Length", None)
    file = scratch / "locustfile.py"
    file.write_text(
        dedent(f"""
            from pathlib import Path
            from locust import FastHttpUser, task

            BODY = Path({str(scratch / "body.bin")!r}).read_bytes()
            HEADERS = {headers!r}

            class User(FastHttpUser):
                @task
                def infer(self):
                    self.client.post({path!r}, data=BODY, headers=HEADERS)
        """)
    )
    command = [executable, "-f", str(file), "--headless", "-u", str(concurrency), "-r", "1000", "-t", "3s"]
    command += ["--json", "--only-summary", "-H", f"http://{endpoint.host}:{endpoint.port}", "--loglevel", "ERROR"]
    text, cpu_s, rss, rps = _watched(command, cpu, counted)
    (stats,), _ = json.JSONDecoder().raw_decode(text[text.index("[\n") :])
    times = sorted((float(time_ms), count) for time_ms, count in stats["response_times"].items())
    return Round(rps, _quantile(times, 0.5) / 1e3, _quantile(times, 0.99) / 1e3, cpu_s, rss)


def find(name: str, folder: Path | None) -> str:
    """Return a peer's path.

    Raises:
        Missing: it is neither in the folder nor on PATH.
    """
    if folder is not None and (folder / name).exists():
        return str(folder / name)
    return _found(name)


def _found(name: str) -> str:
    if (path := shutil.which(name)) is None:
        raise Missing(name)
    return path


def _lua(endpoint: Endpoint, scratch: Path) -> str:
    """Return a wrk script that sends the endpoint's first request's head and body."""
    head, _, body = endpoint.requests[0].partition(b"\r\n\r\n")
    (scratch / "body.bin").write_bytes(body)
    method, path, _ = head.split(b"\r\n")[0].decode().split(" ")
    headers = [line.decode().split(": ", 1) for line in head.split(b"\r\n")[1:]]
    lines = [f'wrk.headers["{name}"] = "{value}"' for name, value in headers if name != "Content-Length"]
    read = f'local f = io.open("{scratch / "body.bin"}", "rb"); wrk.body = f:read("*a"); f:close()' if body else ""
    return "\n".join([f'wrk.method = "{method}"', f'wrk.path = "{path}"', read, *lines, ""])


def _accounted(command: Sequence[str], cpu: int) -> tuple[str, float, int]:
    """Run a command to its end; return its output, its CPU seconds and its peak resident memory."""
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(["taskset", "-c", str(cpu), *command], stdout=output, stderr=subprocess.STDOUT)
        _, _, usage = os.wait4(process.pid, 0)
        process.returncode = 0
        output.seek(0)
        return output.read(), usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024


def _watched(command: Sequence[str], cpu: int, counted: Callable[[], int]) -> tuple[str, float, int, float]:
    """Run a generator that takes long to start; look at it and at the server for a while in the middle of its load.

    Returns:
        Its output, its CPU seconds per request the server answered, its peak resident memory, and those requests per
        second.
    """
    start = counted()
    with (
        tempfile.TemporaryFile("w+") as output,
        subprocess.Popen(["taskset", "-c", str(cpu), *command], stdout=output, stderr=subprocess.STDOUT) as process,
    ):
        deadline = time.monotonic() + _PATIENCE_S
        while counted() < start + 50 and time.monotonic() < deadline and process.poll() is None:
            time.sleep(0.05)
        time.sleep(_SETTLED_S)
        requests, cpu_s, at = counted(), _cpu_s(process.pid), time.monotonic()
        time.sleep(_WATCHED_S)
        requests, cpu_s, seconds = counted() - requests, _cpu_s(process.pid) - cpu_s, time.monotonic() - at
        rss = _peak_rss(process.pid)
        process.wait(120)
        output.seek(0)
        text = output.read()
    if not requests:
        raise RuntimeError(f"{command[0]} sent nothing: {text}")
    return text, cpu_s / requests, rss, requests / seconds


def _cpu_s(pid: int) -> float:
    """Return the CPU time of a process with its children and threads, from the scheduler, exact to nanoseconds."""
    total = 0
    for one in (pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))):
        for task in Path(f"/proc/{one}/task").iterdir():
            total += int((task / "schedstat").read_text().split()[0])
    return total / 1e9


def _peak_rss(pid: int) -> int:
    return int(_number(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())) * 1024


def _number(pattern: str, text: str) -> float:
    if (found := re.search(pattern, text, re.MULTILINE)) is None:
        sys.stderr.write(text)
        raise RuntimeError(f"no {pattern!r} in the output above")
    return float(found[1])


def _duration(pattern: str, text: str) -> float:
    found = re.search(pattern, text)
    assert found is not None, f"no {pattern!r} in {text}"
    return float(found[1]) * _UNITS[found[2]]


def _quantile(times: Sequence[tuple[float, int]], fraction: float) -> float:
    wanted = fraction * sum(count for _, count in times)
    for value, count in times:
        wanted -= count
        if wanted <= 0:
            return value
    return times[-1][0]
