"""What does sampling cost beside a measurement?

A fresh process samples a server of several processes, the host and two GPUs, as it does in a window. The GPUs are
those of the tests' stand-in for NVML, which answers at once: what a driver takes for an answer is not in the figures,
and is spent in the kernel or asleep. A server of another process gives as long a text of its own metrics as Triton with
ten models does, which is read once a second where the way says so. The bar is on the share of a core, at the default
period.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from options import parse
from tables import machine, markdown, write_section

from targets.ports import HOST, free_port, is_free
from tuner.telemetry.sampler import PERIOD_S

MAX_SHARE = 0.01
ROUND_S = 5.0
PROCESSES = 6
MODELS, NUMBERS = 10, 20
STUB = Path(__file__).parent.parent / "tests" / "support" / "nvml_stub.c"
FIELDS = {
    "name": "Stub",
    "utilization": 50,
    "memory_utilization": 5,
    "memory_used": 1 << 30,
    "power": 70000,
    "energy": "@70000",
    "sm_clock": 1400,
    "memory_clock": 800,
    "temperature": 60,
    "reasons": 4,
    "pcie_rx": 2048,
    "pcie_tx": 1024,
    "processes": "1:1000000,2:1000000",
}
PROGRAM = """
import json, os, sys, time
from functools import partial
from targets.base import Exposed
from targets.kserve.control import HttpControl
from targets.kserve.wire import Site
from targets.prometheus import told
from tuner.telemetry.nvml import Gpus
from tuner.telemetry.sampler import Sampler
from tuner.telemetry.summary import told as told_of
class Deployed:
    def exposed(self):
        return Exposed(partial(HttpControl(Site("127.0.0.1", int(port))).get, "/metrics"), told)
period_s, seconds, port, *processes = map(float, sys.argv[1:])
sampler = Sampler(Gpus(), period_s, 1.0 if port else None)
began = os.times()
sampler.start([int(one) for one in processes], Deployed())
time.sleep(seconds)
series = sampler.stop()
ended = os.times()
series, used = told_of(series)
whole = (ended.user + ended.system - began.user - began.system) / series.seconds
fields = sum(len(fields) for _, fields in series.devices)
print(json.dumps({"share": used.sampler_cpu_share, "whole": whole, "samples": used.samples,
                  "gpus": len(used.gpu), "metrics": len(used.server_metrics), "fields": fields}))
"""


@dataclass(frozen=True)
class Cost:
    """What sampling took in one round.

    Attributes:
        name: of the round: period, and whether there were GPUs.
        share: CPU of the sampling thread, of one core.
        whole: CPU of the whole process, of one core.
        samples: how many were taken.
    """

    name: str
    share: float
    whole: float
    samples: int


def compiled(folder: Path) -> dict[str, str]:
    """Compile the stand-in for NVML; return the environment in which it is found."""
    subprocess.run(["cc", "-O2", "-shared", "-fPIC", "-o", folder / "libnvidia-ml.so.1", STUB], check=True)
    lines = [f"{gpu} {name} {value}" for gpu in (0, 1) for name, value in FIELDS.items()]
    (folder / "script.txt").write_text("\n".join(["- count 2", *lines]) + "\n")
    return {"LD_LIBRARY_PATH": str(folder), "STUB_NVML": str(folder / "script.txt")}


@contextmanager
def serving(folder: Path) -> Iterator[int]:
    """Serve a text of metrics at /metrics; yield the port."""
    (folder / "metrics").write_text(
        "".join(
            f'nv_number_{number}{{model="model{model}",version="1"}} {number}\n'
            for number in range(NUMBERS)
            for model in range(MODELS)
        )
    )
    port = free_port(None)
    command = [sys.executable, "-m", "http.server", str(port), "--bind", HOST, "--directory", folder]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while is_free(port):
            time.sleep(0.05)
        yield port
    finally:
        server.terminate()
        server.wait()


def sampled(name: str, period_s: float, port: int, processes: list[int], environment: dict[str, str]) -> Cost:
    """Sample for a round in a fresh process; with metrics of the server where there is a port of them."""
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM, *map(str, (period_s, ROUND_S, port, *processes))],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    found = json.loads(ended.stdout)
    expected = 0 if not environment else 2
    if found["gpus"] != expected:
        raise SystemExit(f"expected {expected} GPUs of the stand-in for NVML, but found {found['gpus']}")
    if bool(port) != bool(found["metrics"]):
        raise SystemExit(f"expected metrics of the server: {bool(port)}, but found {found['metrics']}")
    return Cost(name, found["share"], found["whole"], found["samples"])


def measure(rounds: int) -> list[Cost]:
    """Return the cost of each round: with GPUs at the default period, without, with metrics, and twice as often."""
    ways = [
        ("two GPUs", PERIOD_S, True, False),
        ("no GPU", PERIOD_S, False, False),
        ("two GPUs, metrics at 1 Hz", PERIOD_S, True, True),
        ("two GPUs, 20 Hz", PERIOD_S / 2, True, False),
    ]
    idle = [
        subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
        for _ in range(PROCESSES)
    ]
    try:
        time.sleep(1.0)
        with tempfile.TemporaryDirectory(prefix="paretune-benchmark-") as folder, serving(Path(folder)) as port:
            stub = compiled(Path(folder))
            return [
                sampled(name, period_s, port if metrics else 0, [one.pid for one in idle], stub if gpus else {})
                for _ in range(rounds)
                for name, period_s, gpus, metrics in ways
            ]
    finally:
        for one in idle:
            one.communicate()


def main() -> int:
    """Return 1 when a round at the default period missed the bar."""
    options = parse(__doc__, 3, "rounds of each way")
    costs = measure(options.rounds)
    columns = ("10 Hz, a server of 6 processes", "samples", "sampling thread, % of a core", "process, % of a core")
    rows = [(one.name, one.samples, f"{one.share:.2%}", f"{one.whole:.2%}") for one in costs]
    print(machine())
    for row in [columns, *rows]:
        print("".join(f"{cell!s:<34}" for cell in row))
    met = all(one.share <= MAX_SHARE for one in costs if "20 Hz" not in one.name)
    if options.json:
        found = {"rounds": [asdict(one) for one in costs], "bars": {"share": MAX_SHARE}, "met": met}
        options.json.write_text(json.dumps(found, indent=1) + "\n")
    if options.docs:
        bar = ("bar, at 10 Hz", "", f"{MAX_SHARE:.0%}", "")
        write_section("telemetry", markdown(columns, [*rows, bar]))
    print("met" if met else "missed")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
