"""Draw the pictures of docs/measurement.md from real runs: the digits model on a real Triton.

    python benchmarks/pictures.py [--to DIR]

Needs matplotlib (extra `docs`).
"""

import argparse
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from matplotlib import pyplot as plt

from studies import __file__ as studies_file
from tuner import head_to_head, stats
from tuner.confirm import Rounds, redeploy_and_measure
from tuner.instruments import started
from tuner.records import latencies_s
from tuner.runs import Run
from tuner.slo import Slo
from tuner.stopping import Aims, Pace
from tuner.study.load import load_study
from tuner.trials import Trier
from tuner.wiring import prepare

DOCS = Path(__file__).parent.parent / "docs"
SETTINGS = ("space={max_batch_size: 8, precision: int8, concurrency: 16}",)
BOUND_S = 0.010
BLUE, ORANGE, GREY = "#0072B2", "#E69F00", "#8a8f98"


def main() -> None:
    """Measure and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--to", type=Path, default=DOCS, metavar="DIR", help="where to (default: docs)")
    folder = parser.parse_args().to
    with _digits() as (trier, one):
        deployment = trier.target.deploy(dict(one.config), "picture")
        workload = trier.workloads[0]
        load = one.loads[workload.name]
        aims = Aims(Slo({"p99": BOUND_S}), "throughput", (), (), 0.05, 0.99)
        pace = Pace(0.3, 1.5, 0.3, 3.0)
        draw_measurement(trier.measure(deployment, workload, load, pace, aims), pace, folder / "measurement.png")
        draw_intervals(trier.measure(deployment, workload, load, Pace.fixed(0.3, 10.0)), folder / "intervals.png")
        deployment.retire()
        gathered = (Rounds(), Rounds())
        redeploy_and_measure(trier, (one, one), gathered, {workload.name: 100}, 0.1)
        draw_rounds(gathered, workload.name, folder / "rounds.png")


def draw_measurement(run: Run, pace: Pace, path: Path) -> None:
    """Draw the latency of every request over time, with warm-up, window and looks."""
    rows = run.records.rows.in_order_of("intended_ns")
    (start_ns, end_ns), first_ns = run.records.windows_ns[0], int(rows["intended_ns"][0])
    figure, axes = plt.subplots(figsize=(8, 3.2))
    axes.plot((rows["intended_ns"] - first_ns) / 1e9, latencies_s(rows) * 1e3, ".", color=BLUE, markersize=1.5)
    start_s, end_s = (start_ns - first_ns) / 1e9, (end_ns - first_ns) / 1e9
    axes.axvspan(0, start_s, color=GREY, alpha=0.25, lw=0, label="warm-up, not counted")
    for number, length_s in enumerate(length for length in pace.looks_s() if start_s + length <= end_s + 1e-3):
        axes.axvline(start_s + length_s, color=ORANGE, lw=1, ls="--", label="looks" if number == 0 else None)
    axes.axvline(end_s, color="black", lw=1, label="end of the window")
    axes.axhline(BOUND_S * 1e3, color=ORANGE, lw=1.5, label="p99 bound")
    axes.set(xlabel="time, s", ylabel="latency, ms", yscale="log")
    _save(figure, path)


def draw_intervals(run: Run, path: Path) -> None:
    """Draw how the interval of the p99 narrows with the length of the window."""
    rows = run.records.in_window()
    latencies, times_s = latencies_s(rows), (rows["intended_ns"] - run.records.windows_ns[0][0]) / 1e9
    lengths = np.geomspace(0.05, times_s[-1], 40)
    found = [stats.percentile(stats.Ordered.of(latencies[times_s < length]), 0.99) for length in lengths]
    low, high, value = (np.array([getattr(one, name) for one in found]) * 1e3 for name in ("low", "high", "value"))
    bounded = np.isfinite(low) & np.isfinite(high)
    figure, axes = plt.subplots(figsize=(8, 3.2))
    label = "95% interval of the p99, where it has bounds"
    axes.fill_between(lengths, low, high, where=bounded, color=BLUE, alpha=0.25, label=label)
    axes.plot(lengths, value, ".-", color=BLUE, label="p99 of the window so far")
    axes.set(xlabel="length of the window, s", ylabel="p99, ms", xscale="log")
    _save(figure, path)


def draw_rounds(gathered: tuple[Rounds, Rounds], workload: str, path: Path) -> None:
    """Draw the throughput of two deployments of one configuration, round by round, and the ratio of each pair."""
    sides = [np.array([_throughput(run) for run in runs.runs[workload][0]]) for runs in gathered]
    figure, (above, below) = plt.subplots(2, sharex=True, figsize=(8, 4.2), height_ratios=(2, 1))
    for name, side, colour in zip("AB", sides, (BLUE, ORANGE), strict=True):
        above.plot(side, ".-", color=colour, lw=0.8, label=f"deployment {name}")
    above.set(ylabel="requests/s in a round")
    below.plot(sides[0] / sides[1], ".", color="black", label="ratio of the pair, A / B")
    below.axhline(1, color=GREY, lw=1)
    below.set(xlabel="pair of rounds of 0.1 s", ylabel="A / B")
    above.legend(loc="best", fontsize="small")
    _save(figure, path)


def _throughput(run: Run) -> float:
    return stats.rate(run.records.completed_ns(), run.records.windows_ns).value


@contextmanager
def _digits() -> Iterator[tuple[Trier, head_to_head.Contender]]:
    study = load_study(Path(studies_file).parent / "digits.yaml", SETTINGS)
    with tempfile.TemporaryDirectory() as folder:
        prepared = prepare(study, Path(folder) / "log.txt")
        with started(prepared, Path(folder)) as bench:
            bench.trier.workloads = prepared.workloads[:1]
            user = prepared.target.user_config()
            yield bench.trier, head_to_head.contender(0, user, prepared.space, prepared.workloads[:1])


def _save(figure: plt.Figure, path: Path) -> None:
    figure.axes[-1].legend(loc="best", fontsize="small")
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    print(path)


if __name__ == "__main__":
    main()
