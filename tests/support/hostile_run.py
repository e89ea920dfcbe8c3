"""A real run of the simulated server whose model has a name that would be a script if a page took it for HTML."""

import json
from pathlib import Path

import numpy as np

from tests.support.tune import tune
from tuner.results import read_result

MODEL = "<img src=x onerror=alert(1)>"
STUDY = f"""
# </script><script>document.title = "broken"</script>
study: queue
target:
  kind: simulated
  model: "{MODEL}"
  repository: models
  variants: {{slow: {{}}, fast: {{fixed_ms: 2.0}}}}
workloads:
  steady:
    arrival: {{process: closed}}
    requests: {{source: dataset, path: requests.npz}}
  web:
    arrival: {{process: poisson, rate: 40/s}}
    requests: {{source: dataset, path: requests.npz}}
space: {{instances: [1, 2], precision: [slow, fast], concurrency: [2, 6]}}
slo: {{p90: 900 ms, error_rate: 10%}}
objectives: [maximize throughput, minimize p99]
search:
  sampler: random
  start: [{{precision: fast, instances: 2}}]
  budget: {{trials: 3, time: 5 min, certain: 100%}}
  seed: 1
measure: {{warmup: 0.1 s, max_warmup: 0.2 s, window: 0.2 s, max_window: 0.3 s, confidence: 90%}}
confirm: {{candidates: 1, redeployments: 4, max_redeployments: 4, rounds: 2, round: 0.2 s}}
report: {{price: $1.20/h}}
"""
DECIDED = (0, 5)
"""So short a confirmation may leave an SLO undecided."""


def hostile_run(folder: Path) -> Path:
    """Tune it in a folder; return the run's directory. The variant `fast` is about five times as fast as the user's."""
    queue = {"max_batch_size": 1, "max_queue_delay_us": 0, "instances": 1, "fixed_ms": 10.0, "each_ms": 0.2}
    (folder / "models" / MODEL).mkdir(parents=True)
    (folder / "models" / MODEL / "queue.json").write_text(json.dumps(queue))
    np.savez(folder / "requests.npz", INPUT=np.zeros((100, 4)), labels=np.arange(100) % 10)
    (folder / "queue.yaml").write_text(STUDY)
    ended = tune("queue.yaml", "--quiet", cwd=folder)
    assert ended.returncode in DECIDED, ended.stdout + ended.stderr
    run = folder / "runs" / "queue" / "latest"
    best = read_result(run).best
    assert best is not None, ended.stdout  # what pages of it are asked for; whoever asks again gets another run
    assert best.config["precision"] == "fast", ended.stdout
    return run
