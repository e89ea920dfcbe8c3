"""Is the answer right, and how soon is it there? The same task for Paretune and for Triton Model Analyzer.

The task: a small network on a real Triton, p99 <= 10 ms, batches up to 64, up to 4 instances, a queue delay up to 5 ms,
up to 64 requests in flight. Each tool searches in its own way, one after the other, several times. Then wrk measures
every answer beside the front of an exhaustive grid (landscape-mlp.csv), in turn, all loaded side by side on one Triton.
The front, because a bound in milliseconds is another one on a machine of another speed: the best of the grid is the
fastest that keeps the bound on this machine, in these rounds.

    python benchmarks/search.py [--peers DIR] [--rounds N] [--tool NAME ...] [--json PATH] [--docs]

DIR holds `bin/model-analyzer` and `bin/perf_analyzer`; without it the peers are named as missing. What --json holds
already is kept, and judged again.
"""

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import mlp
import numpy as np
import psutil
import replay
import yaml
from ratios import Ratio, in_turn, ratio
from rounds import Round, pooled_p99_s, wrk
from tables import PAGE, markdown, write_section

from targets.base import Context, Endpoint
from targets.triton.installation import find_installation
from targets.triton.options import TritonOptions
from targets.triton.target import TritonTarget
from tuner.results import read_result
from workloads.datasets import load_npz

MIN_OF_GRID = 0.95
MAX_OF_QUICK = 0.2
MAX_OVERHEAD = 0.10
RUNS = 3
JUDGED = 12
"""Rounds of wrk for each answer."""
GRID = "best of the grid"
MODES = {"Model Analyzer quick": "quick", "Model Analyzer optuna": "optuna"}
OURS = "Paretune"


@dataclass(frozen=True)
class Answer:
    """What a run of a tool ended with.

    Attributes:
        tool: its name.
        wall_s: from start to answer.
        config: knobs of the server; {} when it found nothing.
        concurrency: requests in flight.
        claimed_rps: what it says of it.
        overhead: share of the time that was neither measuring nor the server's own: its start, its loads, its end;
            ours only.
        confirmed: whether it was certain in the end that the answer meets the SLO; ours only.
    """

    tool: str
    wall_s: float
    config: dict[str, float]
    concurrency: int
    claimed_rps: float
    overhead: float = 0.0
    confirmed: bool = False


@dataclass(frozen=True)
class Judged:
    """What wrk says of an answer.

    Attributes:
        of_grid: its throughput over that of the grid's best, both in the same rounds.
        rps: median of the rounds' throughput.
        p99_s: of all requests of all rounds, as Paretune takes it of all requests of a window.
    """

    of_grid: Ratio
    rps: float
    p99_s: float


def main() -> int:
    """Run, judge, print; return 1 when a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", type=Path, help="folder of the peers' commands")
    parser.add_argument("--rounds", type=int, default=RUNS, help=f"runs of each tool (default: {RUNS})")
    parser.add_argument("--tool", action="append", choices=[OURS, *MODES], help="only these; may be repeated")
    parser.add_argument("--json", type=Path, metavar="PATH", help="where the answers are kept")
    parser.add_argument("--docs", action="store_true", help="write the table into docs/search.md")
    asked = parser.parse_args()
    answers = (
        [Answer(**one) for one in json.loads(asked.json.read_text())] if asked.json and asked.json.exists() else []
    )
    for _ in range(asked.rounds):
        for tool in asked.tool or (OURS, *MODES):
            if tool != OURS and asked.peers is None:
                print(f"{tool}: missing, name its folder with --peers", file=sys.stderr)
                continue
            with tempfile.TemporaryDirectory() as folder:
                run = ours if tool == OURS else partial(analyzer, tool, asked.peers.resolve())
                answers.append(run(Path(folder)))
            print(answers[-1], file=sys.stderr, flush=True)
            if asked.json:
                asked.json.write_text(json.dumps([asdict(one) for one in answers], indent=1) + "\n")
    everyone = [*grid_front(), *(one for one in answers if one.config)]
    best, judged = judge(everyone)
    nothing = [one for one in answers if not one.config]
    table, met = outcome(everyone, judged, best, nothing)
    print(table)
    if asked.docs:
        write_section("search", table, PAGE.parent / "search.md")
    print("met" if met else "missed")
    return 0 if met else 1


def ours(folder: Path) -> Answer:
    """Run the study as a user does."""
    study = mlp.write(folder)
    began = time.monotonic()
    command = [sys.executable, "-m", "tuner", str(study), "--out", str(folder / "run"), "--quiet"]
    compiled = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    with subprocess.Popen(command, cwd=folder, env=compiled, stdout=sys.stderr) as run:  # pip compiles what it installs
        stopped_s = stop_of(run, folder / "run" / "result.json")
    wall_s = time.monotonic() - began
    result = read_result(folder / "run")
    if result.best is None:
        return Answer(OURS, wall_s, {}, 0, 0.0)
    config = {name: float(value) for name, value in result.best.config.items() if isinstance(value, int | float)}
    claimed = result.best.metrics["steady"]["throughput_rps"].value
    overhead = 1 - (result.timing.measured_s + result.timing.applied_s + stopped_s) / wall_s
    confirmed = result.confirmation is not None and result.confirmation.verdict == "met"
    return Answer(OURS, wall_s, config, int(result.best.load.level), claimed, overhead, confirmed)


def stop_of(run: "subprocess.Popen[bytes]", result: Path) -> float:
    """Wait for a run, and return how long its server took to end once the result was there, in seconds.

    Nothing but a file's time is looked at while the run measures.
    """
    written_ns = 0
    while run.poll() is None:
        time.sleep(0.1)
        with suppress(FileNotFoundError, psutil.NoSuchProcess):
            if (newest_ns := result.stat().st_mtime_ns) == written_ns:
                continue
            written_ns, began = newest_ns, time.monotonic()
            if json.loads(result.read_text())["state"] != "done":
                continue
            for server in psutil.Process(run.pid).children(recursive=True):
                if server.name() == "tritonserver":
                    psutil.wait_procs([server])
                    return time.monotonic() - began
    return 0.0


def analyzer(tool: str, peers: Path, folder: Path) -> Answer:
    """Run Model Analyzer on the same model, within the same bounds."""
    mlp.write(folder)
    config = {
        "model_repository": str(folder / "models"),
        "profile_models": {
            "mlp": {
                "cpu_only": True,
                "constraints": {"perf_latency_p99": {"max": round(replay.BOUND_S * 1e3)}},
                "objectives": ["perf_throughput"],
            }
        },
        "run_config_search_mode": MODES[tool],
        "run_config_search_max_concurrency": 64,
        "run_config_search_max_model_batch_size": 64,
        "run_config_search_max_instance_count": 4,
        "triton_launch_mode": "local",
        "triton_server_path": str(_launcher(folder)),
        "perf_analyzer_path": str(peers / "bin/perf_analyzer"),
        "output_model_repository_path": str(folder / "variants"),
        "override_output_model_repository": True,
        "checkpoint_directory": str(folder / "checkpoints"),
        "export_path": str(folder / "export"),
        "gpus": [],
    }
    (folder / "export").mkdir()
    (folder / "analyzer.yaml").write_text(yaml.safe_dump(config))
    began = time.monotonic()
    with (folder / "log.txt").open("w") as log:
        command = [str(peers / "bin/model-analyzer"), "profile", "-f", str(folder / "analyzer.yaml")]
        ended = subprocess.run(command, cwd=folder, stdout=log, stderr=log, check=False)
    wall_s = time.monotonic() - began
    table = folder / "export/results/metrics-model-inference.csv"
    if not table.exists():
        print((folder / "log.txt").read_text()[-3000:], file=sys.stderr)
        raise SystemExit(f"{tool} ended with {ended.returncode} and without results")
    return _read_answer(tool, wall_s, table)


def _launcher(folder: Path) -> Path:
    """Write a command that starts the tritonserver of the wheel, as one that is installed starts."""
    installation = find_installation(None, folder)
    script = folder / "tritonserver"
    variables = [f'export {name}="{value}"' for name, value in installation.env.items()]
    script.write_text(
        "\n".join(["#!/bin/sh", *variables, f'exec {installation.executable} {" ".join(installation.flags)} "$@"', ""])
    )
    script.chmod(0o755)
    return script


def _read_answer(tool: str, wall_s: float, table: Path) -> Answer:
    """Return the fastest of Model Analyzer's measurements that satisfies the constraints."""
    with table.open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["Satisfies Constraints"] == "Yes"]
    if not rows:
        return Answer(tool, wall_s, {}, 0, 0.0)
    best = max(rows, key=lambda row: float(row["Throughput (infer/sec)"]))
    instances = int(best["Instance Group"].partition(":")[0])
    config = {"max_batch_size": int(best["Max Batch Size"]), "instances": instances, "max_queue_delay": 0.0}
    return Answer(tool, wall_s, config, int(best["Concurrency"]), float(best["Throughput (infer/sec)"]))


def grid_front() -> list[Answer]:
    """Return the cells of the recorded grid that keep the bound there, and that no other beats in both objectives."""
    landscape = replay.read(replay.LANDSCAPE)
    cells = landscape.cells
    fine = [key for key, cell in cells.items() if cell.p99_s <= replay.BOUND_S]
    front = [
        key
        for key in fine
        if not any(
            other.throughput_rps > cells[key].throughput_rps and other.p99_s < cells[key].p99_s
            for other in cells.values()
        )
    ]
    return [
        Answer(
            GRID,
            0.0,
            {"instances": instances, "max_batch_size": batch, "max_queue_delay": delay_us / 1e6},
            in_flight,
            cells[instances, batch, delay_us, in_flight].throughput_rps,
        )
        for instances, batch, delay_us, in_flight in front
    ]


def judge(answers: Sequence[Answer]) -> tuple[int, list[Judged]]:
    """Measure answers by wrk, in turn; return which is the best of the grid's, and all of them beside that one."""
    cpus = (sorted(os.sched_getaffinity(0)) * 2)[:2]
    rounds: list[list[Round]] = [[] for _ in answers]
    with tempfile.TemporaryDirectory() as folder, deployed(answers, Path(folder), cpus[1]) as endpoints:

        def measure(index: int) -> None:
            level = answers[index].concurrency
            rounds[index].append(wrk(endpoints[index], level, cpus[0], Path(folder), every_latency=True))

        sides = [partial(measure, index) for index in range(len(answers))]
        in_turn(sides, lambda: False, float("inf"), 1)
        for mine in rounds:
            mine.clear()  # the first requests of a deployment find nothing ready
        in_turn(sides, lambda: False, float("inf"), JUDGED)
    rps = [float(np.median([one.rps for one in mine])) for mine in rounds]
    p99_s = [pooled_p99_s(mine) for mine in rounds]
    grid = [index for index, one in enumerate(answers) if one.tool == GRID]
    within = [index for index in grid if p99_s[index] <= replay.BOUND_S]
    best = max(within, key=lambda index: rps[index]) if within else min(grid, key=lambda index: p99_s[index])
    beside = [one.rps for one in rounds[best]]
    return best, [
        Judged(ratio([one.rps for one in mine], beside), rps[index], p99_s[index]) for index, mine in enumerate(rounds)
    ]


@contextmanager
def deployed(answers: Sequence[Answer], scratch: Path, cpu: int) -> Iterator[list[Endpoint]]:
    """Load every answer on one Triton, each under a name of its own."""
    study = mlp.write(scratch)
    target = TritonTarget(
        TritonOptions(model="mlp", repository=study.parent / "models"),
        Context(scratch, scratch / "triton.log", frozenset({cpu})),
    )
    try:
        target.start()
        requests = load_npz(study.parent / "requests.npz", "labels")
        own = target.user_config()
        yield [
            target.deploy({**own, **_whole(one.config)}, f"answer{index}").endpoint(requests)
            for index, one in enumerate(answers)
        ]
    finally:
        target.stop()


def _whole(config: dict[str, float]) -> dict[str, float]:
    server = {name: value for name, value in config.items() if name != "concurrency"}
    return {name: value if name == "max_queue_delay" else int(value) for name, value in server.items()}


def outcome(
    everyone: Sequence[Answer], judged: Sequence[Judged], best: int, nothing: Sequence[Answer]
) -> tuple[str, bool]:
    """Return the table, and whether the bars are met.

    Args:
        everyone: the grid's front and the answers.
        judged: each of them.
        best: which one is the best of the grid.
        nothing: runs that found nothing.
    """
    found = [(one, own) for one, own in zip(everyone, judged, strict=True) if one.tool != GRID]
    lines = [[GRID, "", "", _said(everyone[best]), "1", f"{judged[best].rps:,.0f}", _ms(judged[best].p99_s)]]
    medians, p99_s = {}, float("inf")
    for tool in dict.fromkeys(one.tool for one in (*everyone, *nothing) if one.tool != GRID):
        runs = [one for one in (*everyone, *nothing) if one.tool == tool]
        mine = sorted((own for one, own in found if one.tool == tool), key=lambda own: own.of_grid.median)
        wall_s = float(np.median([one.wall_s for one in runs]))
        middle = mine[(len(runs) - 1) // 2 - (len(runs) - len(mine))] if 2 * len(mine) > len(runs) else None
        p99_s = middle.p99_s if tool == OURS and middle else p99_s
        medians[tool] = (wall_s, middle.of_grid.median if middle else 0.0)
        configs = "; ".join(dict.fromkeys(_said(one) for one in runs))
        figures = (str(middle.of_grid), f"{middle.rps:,.0f}", _ms(middle.p99_s)) if middle else ("nothing", "", "")
        confirmed = f", {sum(one.confirmed for one in runs)} confirmed" if tool == OURS else ""
        lines.append([tool, f"{len(runs)}{confirmed}", f"{wall_s:.0f} s", configs, *figures])
    columns = ["tool", "runs", "time to the answer", "answers", "throughput / best of the grid", "req/s", "p99"]
    overhead = float(np.median([one.overhead for one in (*everyone, *nothing) if one.tool == OURS] or [1.0]))
    quick_s = medians.get("Model Analyzer quick", (float("nan"), 0.0))[0]
    mine_s, of_grid = medians.get(OURS, (float("inf"), 0.0))
    fast, soon, lean = of_grid >= MIN_OF_GRID, mine_s <= MAX_OF_QUICK * quick_s, overhead <= MAX_OVERHEAD
    within = p99_s <= replay.BOUND_S
    bars = [
        ["throughput of the answer / best of the grid, by wrk", f"{of_grid:.3f}", f">= {MIN_OF_GRID}", _yes(fast)],
        ["p99 of the answer, by wrk", _ms(p99_s), f"<= {_ms(replay.BOUND_S)}", _yes(within)],
        ["time / Model Analyzer quick", f"{mine_s / quick_s:.2f}", f"<= {MAX_OF_QUICK}", _yes(soon)],
        ["neither measuring nor the server's own", f"{overhead:.1%}", f"<= {MAX_OVERHEAD:.0%}", _yes(lean)],
    ]
    text = markdown(columns, lines) + "\n\n" + markdown(["bar", "measured", "asked", "met"], bars)
    return text, fast and within and soon and lean


def _ms(seconds: float) -> str:
    return f"{seconds * 1e3:.1f} ms"


def _yes(met: bool) -> str:
    return "yes" if met else "**no**"


def _said(one: Answer) -> str:
    if not one.config:
        return "nothing"
    batch, instances, delay_ms = (
        one.config.get(name, 0.0) for name in ("max_batch_size", "instances", "max_queue_delay")
    )
    return f"batch {batch:.0f}, delay {delay_ms * 1e3:g} ms, instances {instances:.0f}, {one.concurrency} in flight"


if __name__ == "__main__":
    sys.exit(main())
