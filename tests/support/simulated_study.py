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
slo: {p99: 900 ms, error_rate: 10%}
objectives: [maximize throughput, minimize p99]
search: {sampler: random, budget: {trials: TRIALS, time: 5 min, certain: 100%}}
measure: {warmup: 0.1 s, max_warmup: 0.2 s, window: 0.2 s, max_window: 0.3 s, confidence: 90%}
confirm: {candidates: 1, redeployments: 2, max_redeployments: 2, rounds: 2, round: 0.2 s}
"""


def write_simulated_study(folder: Path, trials: int = 2) -> Path:
    """Write the study, its model and its requests into a folder; return the study's path."""
    queue = {"max_batch_size": 1, "max_queue_delay_us": 0, "instances": 1, "fixed_ms": 4.0, "each_ms": 0.5}
    (folder / "models" / "queue").mkdir(parents=True)
    (folder / "models" / "queue" / "queue.json").write_text(json.dumps(queue))
    np.savez(folder / "requests.npz", INPUT=np.zeros((100, 4)))
    study = folder / "study.yaml"
    study.write_text(STUDY.replace("TRIALS", str(trials)))
    return study
