"""How long does a proposal take after 1,000 trials, and how long does resuming such a study?

The trials are answers of arithmetic (a batching queue in virtual time), kept in SQLite as a run keeps them. A proposal
is what the planner does for one: what the search remembers, the twin's forecasts, the sampler. Storing and ranking the
trial, and writing the result, are not in it.

    python benchmarks/asks.py [--rounds TRIALS] [--json PATH] [--docs]
"""

import json
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path

import mlp
import numpy as np
import options
from replay import Cell, Landscape, make_point, make_trial
from tables import PAGE, markdown, write_section

from targets.base import Config
from targets.simulated.many import Queues, closed_loops, linear
from tuner.findings import Findings
from tuner.planning import Planner
from tuner.rank import worth
from tuner.results import Trial
from tuner.search import Search
from tuner.storage import open_storage
from tuner.study.load import load_study
from tuner.twin.simulation import simulation_of
from tuner.wiring import Prepared, prepare

TRIALS = 1000
MOST_ASK_S = 0.1
MOST_RESUME_S = 2.0
HANDLING_S = 2e-5
ASKED = 20
SAMPLERS = ("twin", "tpe", "gp", "nsga2", "qmc", "random", "grid")
SPACE = (
    "space={max_batch_size: {low: 1, high: 64, scale: log2}, "
    "max_queue_delay: {low: 0 us, high: 5500 us, step: 500 us}, "
    "instances: {low: 1, high: 8}, concurrency: {low: 1, high: 64, scale: log2}}"
)


@dataclass(frozen=True)
class Row:
    """What a sampler took: seconds of a proposal (median and longest of the last), and of a resume."""

    sampler: str
    ask_s: float
    longest_s: float
    resume_s: float

    def fine(self) -> bool:
        """Whether the bars are met."""
        return self.ask_s <= MOST_ASK_S and self.resume_s <= MOST_RESUME_S


def main() -> int:
    """Return 1 when a bar is missed."""
    given = options.parse(__doc__, TRIALS, "trials", "docs/search.md")
    rows = []
    for sampler in SAMPLERS:
        if sampler == "gp" and find_spec("torch") is None:
            print("gp: not measured, PyTorch is not installed", file=sys.stderr)
            continue
        with tempfile.TemporaryDirectory() as folder:
            rows.append(measured(sampler, Path(folder), given.rounds))
        print(rows[-1], "" if rows[-1].fine() else "  missed", flush=True)
    met = all(row.fine() for row in rows)
    if given.json:
        given.json.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")
    if given.docs:
        columns = (
            "sampler",
            "a proposal",
            "the longest of 20",
            "resume",
            f"asked: {MOST_ASK_S:g} s, {MOST_RESUME_S:g} s",
        )
        lines = [
            [row.sampler, *(f"{seconds * 1e3:,.0f} ms" for seconds in (row.ask_s, row.longest_s, row.resume_s)),
             "met" if row.fine() else "**missed**"]
            for row in rows
        ]  # fmt: skip
        write_section("asks", markdown(columns, lines), PAGE.with_name("search.md"))
    print("met" if met else "missed")
    return 0 if met else 1


def measured(sampler: str, folder: Path, count: int) -> Row:
    """Make so many trials, then time proposals and a resume."""
    study = load_study(mlp.write(folder), [SPACE, f"search.sampler={sampler}"])
    prepared = prepare(study, folder / "log.txt")
    planner = opened(prepared, folder, sampler, [])
    rng = np.random.default_rng(0)
    user = prepared.target.user_config()
    baseline = [answered(0, {**user, "concurrency": level}, rng).points[0] for level in (1, 8, 64)]
    planner.found.trials.append(make_trial(0, user, baseline, 0.0))
    taken = []
    for number in range(count + ASKED):
        began = time.perf_counter()
        made = planner.next() if number >= count else ask_quickly(planner)
        taken.append(time.perf_counter() - began)
        assert made is not None, "the space has more configurations"
        proposal, predicted = made
        trial = answered(proposal.number, {**user, **proposal.config}, rng).model_copy(update={"predicted": predicted})
        planner.search.tell(trial, worth(trial, planner.found.names, prepared.goals))
        planner.found.trials.append(trial)
    began = time.perf_counter()
    again = opened(prepared, folder, sampler, planner.found.trials[:1])
    again.found.trials += again.search.trials()
    resume_s = time.perf_counter() - began
    assert len(again.found.trials) == count + ASKED + 1
    last = taken[count:]
    return Row(sampler, float(np.median(last)), max(last), resume_s)


def ask_quickly(planner: Planner) -> tuple:
    """Return any untried configuration: how the trials came about does not matter here."""
    rng = np.random.default_rng(len(planner.found.trials))
    while True:
        config = {one.name: one.values[int(rng.integers(len(one.values)))] for one in planner.search.space}
        if planner.search.first_new([config]) is not None:
            return planner.search.ask(config), {}


def opened(prepared: Prepared, folder: Path, sampler: str, trials: list[Trial]) -> Planner:
    """Open the study as a run does."""
    study, goals, space = prepared.study, prepared.goals, prepared.space
    search = Search(open_storage("sqlite", folder), space, goals, sampler, 0)
    found = Findings(study, space, prepared.workloads, goals, trials)
    twin = simulation_of(prepared).twin if sampler == "twin" else None
    return Planner(search, found, space, goals[0], twin, study.spec.measure.tolerance)


def answered(number: int, config: Config, rng: np.random.Generator) -> Trial:
    """Return what a trial of a server of one core would show."""
    batch, instances, level = (int(config[name]) for name in ("max_batch_size", "instances", "concurrency"))
    one, fixed_s, each_s = np.ones(1), 6e-4 * instances, 6e-5 * instances
    queue = Queues(
        np.array([batch]),
        float(config["max_queue_delay"]) * one,
        np.array([instances]),
        linear(fixed_s * one, each_s * one, batch),
        HANDLING_S * one,
        4e-4 * one,
        HANDLING_S * instances * one,
    )
    found = closed_loops(queue, np.array([level]))
    sizes = {size: (50, fixed_s + each_s * size) for size in {1, min(batch, level)}}
    busy_s = sum(count * (seconds / instances + HANDLING_S * size) for size, (count, seconds) in sizes.items())
    mean_s, p99_s = float(found.mean_s[0]), float(found.percentile(0.99)[0])
    cell = Cell(float(found.throughput_rps[0]), mean_s, p99_s, 1e-4, busy_s, sizes)
    point = make_point(level, cell, Landscape({}, 0.03, 0.05), rng)
    return make_trial(number, config, [point], 0.0)


if __name__ == "__main__":
    sys.exit(main())
