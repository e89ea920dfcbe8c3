"""By how much does a spin in the digits model lower its capacity, by wrk?

One real Triton, one copy of the model, 16 requests in flight kept by wrk. In each execution the model works on for a
share of the time that the cycle before took without that, as the slower model of gate_on_triton.py does, in every other
tenth of a second by the clock. So both are measured on the same deployment, one right beside the other, and nothing of
what Paretune measures goes into it. Each round is a deployment.

    python benchmarks/slower_model.py [--rounds N] [--json PATH] [--docs]
"""

import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np
import options
from rounds import wrk
from tables import markdown, write_section
from triton_server import MODELS, digits

SHARE = 5 / 95
"""Of the cycle: what lowers the capacity by 5% where batches stay as they are, and, as this script finds, here."""
CONCURRENCY, SECONDS, ROUNDS = 16, 60, 7
PERIOD_NS, SETTLED_NS = 100_000_000, 20_000_000
HEAD = "        images = ["
PAGE = Path(__file__).parent.parent / "docs" / "gate.md"
_SPIN = """
        now = time.perf_counter_ns()
        cycle = min(now - getattr(self, "began", now) - getattr(self, "spun", 0), 20_000_000)
        self.began, self.spun = now, round(max(0, cycle) * {share})
        while time.perf_counter_ns() - now < self.spun:
            pass
"""
_NOTED = """
        if not hasattr(self, "log"):
            self.log = open({path!r}, "ab")
        self.log.write(now.to_bytes(8, "little") + len(requests).to_bytes(8, "little"))
"""


def slow_down(model: Path, share: float | str, noted: str = "") -> None:
    """Have a copy of the digits model work on for a share of each cycle, in every execution.

    Args:
        model: its model.py, changed in place.
        share: of the time that the cycle before took without that: a number, or Python that gives one from `now`.
        noted: what else it does then.
    """
    text = model.read_text()
    assert HEAD in text
    model.write_text("import time\n" + text.replace(HEAD, _SPIN.format(share=share).lstrip("\n") + noted + HEAD))


def main() -> int:
    """Measure, and show what the spin costs."""
    given = options.parse(__doc__, ROUNDS, f"deployments, of {SECONDS} s each", "docs/gate.md")
    losses = []
    for _ in range(given.rounds):
        losses.append(deployment())
        print(len(losses), f"{losses[-1]:.2%}", flush=True)
    if given.json:
        given.json.write_text(json.dumps({"share": SHARE, "losses": losses}, indent=1) + "\n")
    told = [f"{SHARE:.1%}", len(losses), f"{np.mean(losses):.1%}", f"{min(losses):.1%} to {max(losses):.1%}"]
    table = markdown(["share of the cycle", "deployments", "capacity lost, mean", "of each"], [told])
    print(table)
    if given.docs:
        write_section("slower_model", table, PAGE)
    return 0


def deployment() -> float:
    """Return by how much the spin lowers the throughput, on a server of its own."""
    cpus = (sorted(os.sched_getaffinity(0)) * 2)[:2]
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        models = shutil.copytree(MODELS, scratch / "models")
        log = scratch / "executed.bin"
        share = f"(now // {PERIOD_NS} % 2 * {SHARE})"
        slow_down(models / "digits" / "1" / "model.py", share, _NOTED.format(path=str(log)))
        with digits("http", CONCURRENCY, scratch, cpus[1], models, 0.0) as (endpoint, _, _):
            wrk(endpoint, CONCURRENCY, cpus[0], scratch, seconds=2)  # the first requests find nothing ready
            log.write_bytes(b"")
            wrk(endpoint, CONCURRENCY, cpus[0], scratch, seconds=SECONDS)
        executed = np.fromfile(log, dtype="<u8")
    return loss(executed[: len(executed) // 2 * 2].reshape(-1, 2).astype(np.int64))


def loss(executed: np.ndarray) -> float:
    """Return 1 - exp(mean log ratio) of each slower period's requests to the geometric mean of the two beside it.

    To their mean it would be biased: a logarithm of noise is negative in the mean, less so that of a mean of two.

    Args:
        executed: when each execution began, in nanoseconds, and how many requests it answered.
    """
    began, requests = executed.T
    period = began // PERIOD_NS
    settled = began % PERIOD_NS >= SETTLED_NS
    first = period.min()
    answered = np.bincount((period - first)[settled], weights=requests[settled])
    slower = np.arange(3 - first % 2, len(answered) - 2, 2)  # those whose number is odd, without the ends
    logs = np.log(answered)
    return float(1 - np.exp((logs[slower] - (logs[slower - 1] + logs[slower + 1]) / 2).mean()))


if __name__ == "__main__":
    sys.exit(main())
