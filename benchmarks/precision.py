"""What does INT8 gain, and what does it cost?

The models of studies/digits.yaml and studies/language.yaml on a real Triton over HTTP, as FP32 and as INT8, both loaded
at once. Speed: a closed loop of IN_FLIGHT requests against the one and the other in turn (A B B A). Answers: every
labelled item is sent to both, as a run does it. The accuracies have to be the constraint that they are meant to be: a
loose bound on `accuracy_drop` admits INT8 of both models, a tight one refuses that of the language model.

    python benchmarks/precision.py [--rounds N] [--json PATH] [--docs]
"""

import json
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import options
from ratios import Ratio, at_least, in_turn, ratio, tight
from rounds import Round, ours
from tables import markdown, write_section
from triton_server import STUDIES

from targets.base import Context, Deployment
from targets.triton.options import TritonOptions
from targets.triton.target import TritonTarget
from tuner.accuracy.asking import outputs_of
from tuner.accuracy.scored import scorings_of
from tuner.accuracy.scoring import TopK
from tuner.accuracy.variants import Accuracies
from tuner.load.generator import Generator
from tuner.metrics import violations
from tuner.request_class import RequestClass
from tuner.results import Estimate
from tuner.verdicts import slo_verdicts
from tuner.workload import Workload
from workloads.datasets import load_dataset
from workloads.requests import Requests

FASTER = 1.1
"""INT8 answers at least so many times as many requests per second as FP32."""
LOOSE, TIGHT = 0.03, 0.005
"""Bounds on `accuracy_drop`."""
REFUSED = ("language",)
"""The models whose INT8 the tight bound refuses."""
MODELS = {"digits": "test.npz", "language": "test.jsonl"}
FILES = {"fp32": "model.onnx", "int8": "model.int8.onnx"}
IN_FLIGHT = 16
CONFIG = {"max_batch_size": IN_FLIGHT, "max_queue_delay": 0.0, "instances": 1}
ENOUGH = 0.02
"""Half of the interval of the ratio of speeds when the rounds end."""
SECONDS = 90.0

Answers = dict[str, dict[str, Estimate]]
"""Variant -> metric key -> estimate."""


@dataclass(frozen=True)
class Found:
    """What was found of a model.

    Attributes:
        faster: throughput of INT8 over that of FP32.
        rps: of FP32 and of INT8, in requests per second.
        answers: how right the answers of both are, and how they differ.
    """

    faster: Ratio
    rps: tuple[float, float]
    answers: Answers

    @property
    def int8(self) -> dict[str, Estimate]:
        """What is known of the answers of INT8."""
        return self.answers["int8"]

    def admitted(self, bound: float) -> bool:
        """Whether a search may propose INT8 under a bound on `accuracy_drop`."""
        return violations(self.int8, {"accuracy_drop": bound})["accuracy_drop"] <= 0

    def verdict(self, bound: float) -> str:
        """Return what a search makes of INT8 under a bound, and how certain that is."""
        (certain,) = slo_verdicts(self.int8, {"accuracy_drop": bound}).values()
        return f"{'admitted' if self.admitted(bound) else 'refused'} ({certain})"


def main() -> int:
    """Return 1 when a bar is missed."""
    given = options.parse(__doc__, None, "pairs of rounds at most, for each model")
    generator_cpu, server_cpu = (sorted(os.sched_getaffinity(0)) * 2)[:2]
    os.sched_setaffinity(0, {generator_cpu})
    with tempfile.TemporaryDirectory() as folder, Generator(frozenset({generator_cpu})) as generator:
        found = {model: measured(model, generator, Path(folder), server_cpu, given.rounds) for model in MODELS}
    table = markdown(
        ["model", *("FP32, req/s", "INT8, req/s", "INT8 / FP32", "bar", "met")],
        [
            [name, *(f"{one:,.0f}" for one in made.rps), made.faster, f">= {FASTER:g}", _yes(fast(made))]
            for name, made in found.items()
        ],
    )
    answers = markdown(
        ["model", "accuracy, FP32", "accuracy, INT8", "accuracy_drop", "largest difference", "mean difference"]
        + [f"accuracy_drop: {bound:.1%}" for bound in (LOOSE, TIGHT)]
        + ["met"],
        [_row(name, made) for name, made in found.items()],
    )
    print(table, answers, sep="\n\n")
    met = all(fast(made) and constrained(name, made) for name, made in found.items())
    if given.json:
        given.json.write_text(json.dumps({name: _plain(made) for name, made in found.items()}, indent=1) + "\n")
    if given.docs:
        write_section("precision", f"{table}\n\n{answers}")
    print("met" if met else "missed")
    return 0 if met else 1


def fast(made: Found) -> bool:
    """Whether the bar of the speed is met."""
    return at_least(made.faster, FASTER)


def constrained(name: str, made: Found) -> bool:
    """Whether the bounds admit and refuse INT8 as they should."""
    return made.admitted(LOOSE) and (name not in REFUSED or not made.admitted(TIGHT))


def measured(model: str, generator: Generator, scratch: Path, cpu: int, rounds: int | None) -> Found:
    """Measure both precisions of a model."""
    requests = load_dataset(STUDIES / model / MODELS[model])
    with both(model, scratch, cpu) as deployments:
        rps: dict[str, list[float]] = {name: [] for name in FILES}

        def one_round(name: str) -> None:
            made: Round = ours(generator, deployments[name].endpoint(requests), IN_FLIGHT, scratch)
            rps[name].append(made.rps)

        in_turn(
            [partial(one_round, name) for name in FILES],
            lambda: tight(ratio(rps["int8"], rps["fp32"]), ENOUGH),
            SECONDS,
            rounds,
        )
        found = answered(requests, generator, scratch, deployments)
    middle = tuple(sorted(values)[len(values) // 2] for values in rps.values())
    return Found(ratio(rps["int8"], rps["fp32"]), (middle[0], middle[1]), found)


def answered(requests: Requests, generator: Generator, scratch: Path, deployments: dict[str, Deployment]) -> Answers:
    """Send every labelled item to both precisions."""
    one = Workload("all", (RequestClass(requests, 10.0, scoring=TopK()),), None, 1, keep_alive=True, seed=0)
    known = Accuracies(scorings_of([one]), compares=True, reference="fp32")
    for name in FILES:
        served = deployments[name]
        known.learn(
            name, [one], lambda of, part, items, at=served: outputs_of(generator, scratch, at, part, items, of.name)
        )
    return {name: known.metrics(name, "all") for name in FILES}


@contextmanager
def both(model: str, scratch: Path, cpu: int) -> Iterator[dict[str, Deployment]]:
    """Start Triton with a model and load both of its precisions."""
    variants = {name: {"parameters": {"model_file": file}} for name, file in FILES.items()}
    made = TritonOptions(model=model, repository=STUDIES / model / "models", variants=variants)
    target = TritonTarget(made, Context(scratch, scratch / f"{model}.log", frozenset({cpu})))
    with ExitStack() as stack:
        stack.callback(target.stop)
        target.start()
        yield {name: target.deploy({**target.user_config(), **CONFIG, "precision": name}, name) for name in FILES}


def _row(name: str, made: Found) -> list[object]:
    drop = made.int8["accuracy_drop"]
    return [
        name,
        *(_share(made.answers[precision]["accuracy"]) for precision in FILES),
        _share(drop),
        f"{made.int8['answer_difference_max'].value:.3g}",
        f"{made.int8['answer_difference_mean'].value:.3g}",
        made.verdict(LOOSE),
        made.verdict(TIGHT),
        _yes(constrained(name, made)),
    ]


def _share(one: Estimate) -> str:
    return f"{one.value:.2%} [{one.low:.2%}, {one.high:.2%}]"


def _plain(made: Found) -> dict[str, object]:
    answers = {
        name: {key: one.model_dump(mode="json") for key, one in by_key.items()} for name, by_key in made.answers.items()
    }
    return {"faster": asdict(made.faster), "rps": made.rps, "answers": answers}


def _yes(met: bool) -> str:
    return "yes" if met else "**no**"


if __name__ == "__main__":
    sys.exit(main())
