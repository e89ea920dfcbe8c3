"""Run a closed loop in a process of its own and say how much memory it took.

python -m tests.support.peak_memory PORT FOLDER CONCURRENCY TOTAL TIMES PATH [streamed]

It sends TOTAL requests of PATH, TIMES runs, and prints JSON: {"outcomes": [...], "peak_mib": ..., "grown_mib": ...,
"events": ...}; `peak_mib` is above what the process had before the first run, `grown_mib` what it has more after the
last run than after the first.
"""

import json
import subprocess
import sys
import time
from pathlib import Path

from tests.support.load_runs import MS, ROOT, closed, count_tokens, judge, judge_stream, outcomes, plan, run

_LONGEST_S = 60


def measured(
    port: int, folder: Path, path: str, *, concurrency: int = 1, total: int = 1, times: int = 1, streamed: bool = False
) -> dict[str, object]:
    """Run this module and return what it prints."""
    command = [sys.executable, "-m", "tests.support.peak_memory", str(port), str(folder), str(concurrency), str(total)]
    command += [str(times), path, *(["streamed"] if streamed else [])]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout)


def main() -> None:
    """Run and print."""
    port, folder, concurrency, total, times, path, *streamed = sys.argv[1:]
    load = closed(int(concurrency), total=int(total))
    answered = {"judge": judge_stream, "tokens": count_tokens} if streamed else {"judge": judge}
    before, after = _mib("VmRSS"), []
    for _ in range(int(times)):
        start_ns = time.monotonic_ns() + 50 * MS
        made = plan(
            int(port),
            load,
            Path(folder),
            [path],
            start_ns=start_ns,
            window_ns=_LONGEST_S * 1_000 * MS,
            timeout_ns=_LONGEST_S * 1_000 * MS,
            **answered,
        )
        _, records = run(made)
        after.append(_mib("VmRSS"))
    print(
        json.dumps(
            {
                "outcomes": sorted(outcome.name for outcome in outcomes(records)),
                "requests": len(records.rows),
                "events": len(records.events),
                "peak_mib": _mib("VmHWM") - before,
                "grown_mib": after[-1] - after[0],
            }
        )
    )


def _mib(name: str) -> float:
    """Return a value of /proc/self/status; `resource.ru_maxrss` would be the parent's, if that had more."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) / 1024
    raise KeyError(name)


if __name__ == "__main__":
    main()
