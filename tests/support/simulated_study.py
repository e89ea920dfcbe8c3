"""A study of the simulated server that takes seconds."""

import json
from pathlib import Path

import numpy as np

STUDY = """
study: queue
target: {kind: simulated, model: queue, repository: models}
workloads:
  steady:
    arrival: {process: closed}
    requests: {source: dataset, path: requests.npz}
space:
  max_batch_size: [1, 4, 16]
  instances: [1, 2]
  concurrency: [2, 8]
slo: {p90: 900 ms, error_rate: 10%}
objectives: [maximize throughput, minimize p99]
search: {sampler: random, budget: {trials: TRIALS, time: 5 min, certain: 100%}}
measure: {warmup: 0.1 s, max_warmup: 0.2 s, window: 0.2 s, max_window: 0.3 s, confidence: 90%}
confirm: {candidates: 1, redeployments: 2, max_redeployments: 2, rounds: 2, round: 0.2 s}
"""


GATE = """
gate:
  throughput: -20%
  p50: +20%
  concurrency: 4
  rounds: 3
  round: 150 ms
  redeployments: 5
  time: 9 s
"""
"""Five pairs of deployments: with three the intervals are so wide that a busy machine hides what is there."""
SLOW_MS = 40.0
"""Four times as long as before: no noise of a machine hides that."""


def write_gated_study(folder: Path) -> Path:
    """Write a study with a gate, of a server that takes 10 ms, into a folder; return the study's path."""
    study = write_simulated_study(folder)
    study.write_text(study.read_text().replace("p90: 900 ms", "p50: 900 ms") + GATE)
    slow_down(folder, 10.0)
    return study


def slow_down(folder: Path, fixed_ms: float = SLOW_MS) -> None:
    """Have the server of a study in a folder take so long for each batch."""
    queue = folder / "models" / "queue" / "queue.json"
    queue.write_text(json.dumps({**json.loads(queue.read_text()), "fixed_ms": fixed_ms}))


def write_simulated_study(folder: Path, trials: int = 2) -> Path:
    """Write the study, its model and its requests into a folder; return the study's path."""
    queue = {"max_batch_size": 1, "max_queue_delay_us": 0, "instances": 1, "fixed_ms": 4.0, "each_ms": 0.5}
    (folder / "models" / "queue").mkdir(parents=True)
    (folder / "models" / "queue" / "queue.json").write_text(json.dumps(queue))
    np.savez(folder / "requests.npz", INPUT=np.zeros((100, 4)))
    study = folder / "study.yaml"
    study.write_text(STUDY.replace("TRIALS", str(trials)))
    return study
