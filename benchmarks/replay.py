"""How soon does each sampler find the best? Searches replayed on a recorded landscape, with its noise.

`landscape-mlp.csv` was measured by landscape.py: every configuration of a small network on a real Triton, twice. A
replayed trial gets the mean of a configuration's two measurements, times noise as large as that between the two. As in
a run its window is SHORT_S, or LONG_S where the p99 is too near its bound to say; noise shrinks with the root of that.

    python benchmarks/replay.py [--rounds SEEDS] [--json PATH] [--docs] [SAMPLER ...]
"""

import argparse
import csv
import json
import math
import sys
import tempfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path

import mlp
import numpy as np
from tables import PAGE, markdown, write_section

from targets.base import Config
from tuner.applying import changed
from tuner.findings import Findings
from tuner.objective import pessimistic
from tuner.planning import Planner
from tuner.rank import worth
from tuner.results import BatchSize, Estimate, Generator, Load, Point, Server, Trial, Validity
from tuner.search import Search
from tuner.storage import open_storage
from tuner.study.load import load_study
from tuner.twin.simulation import simulation_of
from tuner.usage import Telemetry
from tuner.wiring import prepare

SEEDS = 30
TRIALS = 60
CLOSE = 0.95
LANDSCAPE = Path(__file__).parent / "landscape-mlp.csv"
SAMPLERS = ("random", "grid", "tpe", "gp", "twin")
BOUND_S = 0.010
SPACE = (
    "space={instances: [1, 2, 4], max_batch_size: [1, 8, 16, 32, 64], max_queue_delay: [0 us, 500 us, 2 ms, 5 ms], "
    "concurrency: [1, 4, 8, 16, 32, 64]}"
)
"""The grid that was recorded."""
RECORDED_S, SHORT_S, LONG_S = 0.3, 0.6, 3.0
"""Windows: of the recording, of a trial, of a trial whose verdict is not certain sooner."""
WARMUP_S = 0.3
APPLY_S = {"instances": 0.15, "max_batch_size": 1.5, "max_queue_delay": 1.5}
"""What a change takes on Triton's Python backend; of the load nothing."""
Z_99 = 2.6
"""Standard deviations from a bound at which a verdict is certain."""
Key = tuple[int, int, int, int]
_KEY = ("instances", "max_batch_size", "max_queue_delay_us", "concurrency")


@dataclass(frozen=True)
class Cell:
    """A configuration at a load, as it was recorded, the machine's drift taken out."""

    throughput_rps: float
    mean_s: float
    p99_s: float
    queue_s: float
    window_s: float
    batches: Mapping[int, tuple[int, float]]


@dataclass(frozen=True)
class Landscape:
    """All cells, and the standard deviation of one measurement's logarithm."""

    cells: Mapping[Key, Cell]
    noise: float
    p99_noise: float

    @property
    def best(self) -> float:
        """The largest throughput of a cell that meets the SLO."""
        return max(cell.throughput_rps for cell in self.cells.values() if cell.p99_s <= BOUND_S)


@dataclass(frozen=True)
class Replayed:
    """What one search came to.

    Attributes:
        sampler, seed: which.
        trials, seconds: until its best was close to the best of all; inf: never.
        reached: its best over the best of all, after TRIALS.
        ended: trials after which a run would have ended, sure that nothing better is left; TRIALS where it never was.
        reached_then: the same as `reached`, at that moment.
        error: median |ln(measured / predicted)|.
    """

    sampler: str
    seed: int
    trials: float
    seconds: float
    reached: float
    ended: int
    reached_then: float
    error: float


def main() -> int:
    """Replay and print a table; return 1 when the twin is not the first to come close."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("samplers", nargs="*", default=SAMPLERS, metavar="SAMPLER")
    parser.add_argument("--rounds", type=int, default=SEEDS, help=f"seeds (default: {SEEDS})")
    parser.add_argument("--json", type=Path, metavar="PATH", help="write the numbers there too")
    parser.add_argument("--docs", action="store_true", help="write the table into docs/search.md")
    asked = parser.parse_args()
    landscape = read(LANDSCAPE)
    found = []
    for sampler in asked.samplers:
        if sampler == "gp" and find_spec("torch") is None:
            print("gp: not measured, PyTorch is not installed", file=sys.stderr)
            continue
        found += [replay(sampler, seed, landscape) for seed in range(asked.rounds)]
        print(row(sampler, found), file=sys.stderr, flush=True)
    samplers = list(dict.fromkeys(one.sampler for one in found))
    columns = (
        "sampler",
        "trials to 95% of the best",
        "seconds",
        "searches that came so close",
        f"best after {TRIALS}",
        "sure to be done",
    )
    table = markdown(columns, [row(sampler, found) for sampler in samplers])
    print(table)
    if asked.json:
        asked.json.write_text(json.dumps([asdict(one) for one in found], indent=1) + "\n")
    if asked.docs:
        write_section("replay", table, PAGE.parent / "search.md")
    seconds = {name: float(np.median([one.seconds for one in found if one.sampler == name])) for name in samplers}
    return 0 if min(seconds, key=lambda name: seconds[name]) == "twin" else 1


def row(sampler: str, found: Sequence[Replayed]) -> list[object]:
    """Return a line of the table: medians and, in brackets, 10th and 90th percentiles."""
    mine = [one for one in found if one.sampler == sampler]
    trials, seconds, reached = (
        np.quantile([getattr(one, name) for one in mine], (0.5, 0.1, 0.9), method="lower")
        for name in ("trials", "seconds", "reached")
    )
    close = sum(math.isfinite(one.trials) for one in mine)
    ended, then = (np.median([getattr(one, name) for one in mine]) for name in ("ended", "reached_then"))
    return [
        sampler,
        f"{trials[0]:.0f} [{trials[1]:.0f}, {trials[2]:.0f}]",
        f"{seconds[0]:.0f} [{seconds[1]:.0f}, {seconds[2]:.0f}]",
        f"{close} of {len(mine)}",
        f"{reached[0]:.0%} [{reached[1]:.0%}, {reached[2]:.0%}]",
        f"after {ended:.0f}, at {then:.0%}" if ended < TRIALS else "",
    ]


def read(path: Path) -> Landscape:
    """Read a recorded landscape, relative to the reference that was measured beside each configuration."""
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    usual = float(np.median([float(one["reference_rps"]) for one in rows]))
    passes: dict[Key, list[Cell]] = defaultdict(list)
    for one in rows:
        speed = float(one["reference_rps"]) / usual
        instances, batch, delay_us, level = (int(one[name]) for name in _KEY)
        passes[instances, batch, delay_us, level].append(
            Cell(
                throughput_rps=float(one["throughput_rps"]) / speed,
                mean_s=float(one["latency_mean_us"]) * speed / 1e6,
                p99_s=float(one["latency_p99_us"]) * speed / 1e6,
                queue_s=float(one["queue_mean_us"]) * speed / 1e6,
                window_s=RECORDED_S * speed,
                batches=_batches(one["executed_batches"], speed),
            )
        )
    cells = {key: _mean(found) for key, found in passes.items()}
    noise, p99_noise = (_noise(passes, name) for name in ("throughput_rps", "p99_s"))
    return Landscape(cells, noise, p99_noise)


def _batches(text: str, speed: float) -> dict[int, tuple[int, float]]:
    found = {}
    for one in filter(None, text.split(";")):
        size, _, rest = one.partition(":")
        count, _, micros = rest.removesuffix("us").partition("x")
        found[int(size)] = (int(count), float(micros) * speed / 1e6)
    return found


def _mean(found: Sequence[Cell]) -> Cell:
    """Return the geometric mean of measurements; executed batches and the windows are added up."""
    together: dict[int, tuple[int, float]] = {}
    for one in found:
        for size, (count, seconds) in one.batches.items():
            before, total = together.get(size, (0, 0.0))
            together[size] = (before + count, total + count * seconds)
    means = [math.exp(np.mean([math.log(getattr(one, name)) for one in found])) for name in _FIGURES]
    window_s = sum(one.window_s for one in found)
    return Cell(*means, window_s, {size: (count, total / count) for size, (count, total) in together.items()})


_FIGURES = ("throughput_rps", "mean_s", "p99_s", "queue_s")


def _noise(passes: Mapping[Key, Sequence[Cell]], name: str) -> float:
    """Return the standard deviation of a measurement's logarithm, from the differences between the two passes."""
    differences = [math.log(getattr(one, name) / getattr(other, name)) for one, other in passes.values()]
    return float(np.std(differences)) / math.sqrt(2)


def replay(sampler: str, seed: int, landscape: Landscape) -> Replayed:
    """Search the landscape as a run searches a server: your configuration at every load first."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as name:
        folder = Path(name)
        study = load_study(mlp.write(folder), [SPACE, f"search.sampler={sampler}", f"search.seed={seed}"])
        prepared = prepare(study, folder / "log.txt")
        goals, space = prepared.goals, prepared.space
        search = Search(open_storage("sqlite", folder), space, goals, sampler, seed)
        user = prepared.target.user_config()
        found = Findings(study, space, prepared.workloads, goals)
        twin = simulation_of(prepared).twin if sampler == "twin" else None
        planner = Planner(search, found, space, goals[0], twin, study.spec.measure.tolerance)
        rng = np.random.default_rng([seed, 1])
        levels = [int(level) for level in space.levels("concurrency")]
        points = [_point({**user, "concurrency": level}, landscape, rng) for level in levels]
        found.trials.append(make_trial(0, user, points, 0.0))
        search.skip(space.at_every_load(user))
        seconds, close = found.trials[0].wall_s, (math.inf, math.inf)
        ended: tuple[int, float] | None = None
        for _ in range(TRIALS):
            if _reached(found, landscape) >= CLOSE and math.isinf(close[0]):
                close = (len(found.trials) - 1, seconds)
            made = planner.next()
            if made is None:
                break
            if ended is None and planner.certain(study.spec.search.budget.certain):
                ended = (len(found.trials) - 1, _reached(found, landscape))
            proposal, predicted = made
            config = {**user, **proposal.config}
            apply_s = max((APPLY_S[one] for one in changed(found.trials[-1].config, config)), default=0.0)
            trial = make_trial(proposal.number, config, [_point(config, landscape, rng)], apply_s)
            trial = trial.model_copy(update={"predicted": predicted})
            seconds += trial.wall_s
            search.tell(trial, worth(trial, found.names, goals) or pessimistic(goals, ()))
            found.trials.append(trial)
        errors = planner.prediction_errors()
        error = float(np.median(errors)) if errors else math.nan
        reached = _reached(found, landscape)
        return Replayed(sampler, seed, *close, reached, *(ended or (TRIALS, reached)), error)


def _reached(found: Findings, landscape: Landscape) -> float:
    """Return the true throughput of the search's best over that of the best of all; 0 where it misses the SLO."""
    ranked = found.ranked()
    if not ranked:
        return 0.0
    best = ranked[0]
    cell = landscape.cells[_key({**best.trial.config, "concurrency": best.trial.points[best.point].load.level})]
    return cell.throughput_rps / landscape.best if cell.p99_s <= BOUND_S else 0.0


def _key(config: Config) -> Key:
    instances, batch, level = (int(config[name]) for name in ("instances", "max_batch_size", "concurrency"))
    delay_us = round(float(config["max_queue_delay"]) * 1e6) if batch > 1 else 0
    return instances, batch, delay_us, level


def _point(config: Config, landscape: Landscape, rng: np.random.Generator) -> Point:
    return make_point(float(config["concurrency"]), landscape.cells[_key(config)], landscape, rng)


def make_point(level: float, cell: Cell, landscape: Landscape, rng: np.random.Generator) -> Point:
    """Return a cell as a measurement with the landscape's noise would show it."""
    z = rng.standard_normal(2)
    window_s = SHORT_S
    noise, p99_noise = (one * math.sqrt(RECORDED_S / window_s) for one in (landscape.noise, landscape.p99_noise))
    if abs(math.log(cell.p99_s / BOUND_S) + p99_noise * z[1]) < Z_99 * p99_noise:
        window_s = LONG_S
        noise, p99_noise = (one * math.sqrt(RECORDED_S / window_s) for one in (landscape.noise, landscape.p99_noise))
    factor, p99_s = math.exp(noise * z[0]), cell.p99_s * math.exp(p99_noise * z[1])
    batches = [BatchSize(size=size, count=n, compute_mean_s=s) for size, (n, s) in sorted(cell.batches.items())]
    return Point(
        workload="steady",
        load=Load(mode="closed", level=level),
        warmup_s=WARMUP_S,
        window_s=window_s,
        metrics={
            "throughput_rps": _estimate(cell.throughput_rps * factor, noise),
            "goodput_rps": _estimate(cell.throughput_rps * factor, noise),
            "latency_mean_s": _estimate(cell.mean_s / factor, noise),
            "latency_p99_s": _estimate(p99_s, p99_noise),
        },
        outcomes={"ok": 1000},
        violations={"p99": p99_s / BOUND_S - 1},
        server=Server(
            window_s=cell.window_s,
            requests=1000,
            failures=0,
            executions=sum(one.count for one in batches),
            mean_s={"queue": cell.queue_s},
            batch_sizes=batches,
        ),
        telemetry=Telemetry(),
        generator=Generator(issue_delay_p50_s=1e-5, issue_delay_p99_s=1e-4, cpu_share=0.2),
        validity=Validity(valid=True),
        records=None,
    )


def _estimate(value: float, noise: float) -> Estimate:
    spread = math.exp(1.96 * noise)
    return Estimate(value=value, low=value / spread, high=value * spread, n=1000)


def make_trial(number: int, config: Config, points: Sequence[Point], apply_s: float) -> Trial:
    """Return a complete trial of such measurements."""
    wall_s = apply_s + sum(point.warmup_s + point.window_s for point in points)
    return Trial(
        number=number, config=dict(config), state="complete", points=list(points), apply_s=apply_s, wall_s=wall_s
    )


if __name__ == "__main__":
    sys.exit(main())
