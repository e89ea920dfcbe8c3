"""Run a closed loop in a process of its own and say how much memory it took.

python -m tests.support.peak_memory JSON    JSON holds the arguments of `peak`; it prints what that returns
"""

import json
import subprocess
import sys
from pathlib import Path

from targets.base import Tls
from tests.support.load_runs import MS, ROOT, closed, count_tokens, judge, judge_stream, outcomes, plan, run

_LONGEST_NS = 60_000 * MS


def measured(port: int, folder: Path, path: str, **settings: object) -> dict[str, object]:
    """Return what `peak` returns in a process of its own."""
    arguments = json.dumps({"port": port, "folder": str(folder), "path": path, **settings})
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.peak_memory", arguments], cwd=ROOT, stdout=subprocess.PIPE, check=True
    )
    return json.loads(done.stdout)


def peak(
    port: int, folder: str, path: str, *, total: int = 1, streamed: bool = False, tls: bool = False
) -> dict[str, object]:
    """Ask for a path so many times, one by one.

    Returns:
        `outcomes`: names of those that occurred; `requests`, `events`: how many; `peak_mib`: what the run took at most.
    """
    answered = {"judge": judge_stream, "tokens": count_tokens} if streamed else {"judge": judge}
    made = plan(
        port,
        closed(1, total=total),
        Path(folder),
        [path],
        window_ns=_LONGEST_NS,
        timeout_ns=_LONGEST_NS,
        tls=Tls(verify=False) if tls else None,
        **answered,
    )
    before = _mib("VmRSS")
    _, records = run(made)
    return {
        "outcomes": sorted(outcome.name for outcome in outcomes(records)),
        "requests": len(records.rows),
        "events": len(records.events),
        "peak_mib": _mib("VmHWM") - before,
    }


def _mib(name: str) -> float:
    """Return a value of /proc/self/status; `resource.ru_maxrss` would be the parent's, if that had more."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) / 1024
    raise KeyError(name)


if __name__ == "__main__":
    print(json.dumps(peak(**json.loads(sys.argv[1]))))
