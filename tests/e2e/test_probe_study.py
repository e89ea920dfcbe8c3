"""A study whose first workload has no level in the space, on a real Triton: its first proposals are probes."""

from pathlib import Path

import pytest
import yaml

from tests.conftest import DIGITS
from tests.support.tune import tune
from tuner.results import read_result

pytestmark = pytest.mark.long

REQUESTS = {"source": "dataset", "path": str(DIGITS / "test.npz")}
STUDY = {
    "study": "probes",
    "target": {"kind": "triton", "model": "digits", "repository": str(DIGITS / "models")},
    "workloads": {
        "shop": {"arrival": {"process": "poisson", "rate": "60/s"}, "requests": REQUESTS, "timeout": "20 s"},
        "batch": {"arrival": {"process": "closed"}, "requests": REQUESTS, "timeout": "20 s"},
    },
    "space": {"max_batch_size": [4, 8, 16], "max_queue_delay": ["0 us", "1 ms", "2 ms"], "concurrency": [2]},
    "slo": {"p50": "10 s", "error_rate": "50%"},
    "objectives": ["minimize p50"],
    "search": {"sampler": "tpe", "seed": 3, "budget": {"trials": 1, "time": "5 min"}},
    "measure": {"warmup": "50 ms", "max_warmup": "50 ms", "window": "200 ms", "max_window": "300 ms"},
    "confirm": {"candidates": 1, "redeployments": 2, "max_redeployments": 2, "rounds": 2, "round": "0.2 s"},
}


def test_the_first_proposal_moves_one_knob_of_yours(tmp_path: Path) -> None:
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(STUDY, sort_keys=False))
    ended = tune("study.yaml", "--out", "out", cwd=tmp_path)
    assert ended.returncode in (0, 5), ended.stderr
    own, first = read_result(tmp_path / "out").trials
    assert first.config == {**own.config, "max_batch_size": first.config["max_batch_size"], "concurrency": 2}
    assert first.config["max_batch_size"] in (4, 16)
