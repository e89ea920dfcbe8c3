"""What does shared memory save?

Two copies of a model that sums an input of 1 MiB, in the Python backend of a real Triton each, are asked in turn by the
load generator: one gets its inputs in the requests, the other one through POSIX shared memory, over HTTP and over gRPC.

    python benchmarks/transports.py [--rounds N] [--json PATH] [--docs]
"""

import json
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import options
from ratios import Ratio, at_least, in_turn, ratio
from rounds import Round, ours
from tables import markdown, write_section

from targets.base import Context, Endpoint
from targets.triton.options import TritonOptions
from targets.triton.target import TritonTarget
from tuner.load.generator import Generator
from workloads.requests import Dataset

ROUNDS, WINDOW_S = 20, 0.4
VALUES, REQUESTS, IN_FLIGHT = 2**18, 16, 4
BAR = 1.0
"""Requests per second through shared memory, over those with inputs in the request."""
SIDES: tuple[Literal["shared_memory", "binary"], ...] = ("shared_memory", "binary")
PROTOCOLS: tuple[Literal["http", "grpc"], ...] = ("http", "grpc")
CONFIG = f"""\
name: "sum"
backend: "python"
max_batch_size: 0
input [ {{ name: "X" data_type: TYPE_FP32 dims: [ {VALUES} ] }} ]
output [ {{ name: "SUM" data_type: TYPE_FP32 dims: [ 1 ] }} ]
instance_group [ {{ count: 1 kind: KIND_CPU }} ]
"""
MODEL = '''\
"""Sums its input."""

import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def execute(self, requests):
        return [self.answer(pb_utils.get_input_tensor_by_name(request, "X").as_numpy()) for request in requests]

    def answer(self, values):
        return pb_utils.InferenceResponse([pb_utils.Tensor("SUM", values.sum(keepdims=True))])
'''


def main() -> int:
    """Return 1 when a bar is missed."""
    given = options.parse(__doc__, ROUNDS, "of each side, for each protocol")
    generator_cpu, server_cpu = (sorted(os.sched_getaffinity(0)) * 2)[:2]
    found = {}
    with tempfile.TemporaryDirectory() as folder, Generator(frozenset({generator_cpu})) as generator:
        scratch = Path(folder)
        repository = write_model(scratch / "models")
        for protocol in PROTOCOLS:
            with ExitStack() as stack:
                rounds: dict[str, list[Round]] = {side: [] for side in SIDES}
                endpoints = {
                    side: stack.enter_context(served(repository, protocol, side, scratch, server_cpu)) for side in SIDES
                }
                turns = [partial(_keep, rounds[side], generator, endpoints[side], scratch) for side in SIDES]
                in_turn(turns, lambda: False, 3600, given.rounds)
                found[protocol] = rounds
    ratios = {protocol: rates(rounds) for protocol, rounds in found.items()}
    table = table_of(found, ratios)
    print(table)
    if given.docs:
        write_section("transports", table)
    if given.json:
        numbers = {
            protocol: {side: [asdict(one) for one in made] for side, made in found[protocol].items()}
            for protocol in found
        }
        given.json.write_text(json.dumps(numbers, indent=1) + "\n")
    return 0 if all(at_least(one, BAR) for one in ratios.values()) else 1


def write_model(repository: Path) -> Path:
    """Write the model; return the repository."""
    version = repository / "sum" / "1"
    version.mkdir(parents=True)
    (version / "model.py").write_text(MODEL)
    (version.parent / "config.pbtxt").write_text(CONFIG)
    return repository


@contextmanager
def served(
    repository: Path,
    protocol: Literal["http", "grpc"],
    tensors: Literal["shared_memory", "binary"],
    scratch: Path,
    cpu: int,
) -> Iterator[Endpoint]:
    """Start Triton with the model; yield where and how it is asked."""
    made = TritonOptions(model="sum", repository=repository, protocol=protocol, tensors=tensors)
    target = TritonTarget(made, Context(scratch, scratch / f"{protocol}-{tensors}.log", frozenset({cpu})))
    rng = np.random.default_rng(0)
    try:
        target.start()
        deployment = target.deploy({}, "bench")
        yield deployment.endpoint(Dataset({"X": rng.random((REQUESTS, VALUES), np.float32)}))
    finally:
        target.stop()


def _keep(rounds: list[Round], generator: Generator, endpoint: Endpoint, scratch: Path) -> None:
    rounds.append(ours(generator, endpoint, IN_FLIGHT, scratch, WINDOW_S))


def rates(rounds: dict[str, list[Round]]) -> Ratio:
    """Return requests per second through shared memory over those without."""
    shared, inline = ([one.rps for one in rounds[side]] for side in SIDES)
    return ratio(shared, inline)


def table_of(found: dict[str, dict[str, list[Round]]], ratios: dict[str, Ratio]) -> str:
    """Return the documentation's tables."""
    bars = [
        [f"{protocol}: req/s, shared memory / inline", one, f">= {BAR:g}", "yes" if at_least(one, BAR) else "**no**"]
        for protocol, one in ratios.items()
    ]
    lines = [
        [protocol, side.replace("_", " ").replace("binary", "inline"), *_medians(made)]
        for protocol, sides in found.items()
        for side, made in sides.items()
    ]
    columns = ["protocol", "inputs", "req/s", "p50, ms", "p99, ms", "the generator's CPU/request, us", "rounds"]
    return f"{markdown(['what', 'measured', 'bar', 'met'], bars)}\n\n{markdown(columns, lines)}"


def _medians(rounds: list[Round]) -> list[str]:
    rps, p50_s, p99_s, cpu_s = (
        float(np.median([getattr(one, name) for one in rounds])) for name in ("rps", "p50_s", "p99_s", "cpu_s")
    )
    return [f"{rps:,.0f}", f"{p50_s * 1e3:.2f}", f"{p99_s * 1e3:.2f}", f"{cpu_s * 1e6:.0f}", str(len(rounds))]


if __name__ == "__main__":
    sys.exit(main())
