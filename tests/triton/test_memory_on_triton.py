"""Bounds on memory where a server has several models loaded, with the real server."""

from pathlib import Path

import numpy as np
import pytest

from tests.conftest import MakeTriton
from tests.support.triton_models import SUM, write_model
from tuner.accuracy.variants import Accuracies
from tuner.confirm import Contender, Rounds, redeploy_and_measure, side
from tuner.load.generator import Generator
from tuner.measure import Meter
from tuner.objective import parse_goals
from tuner.request_class import RequestClass
from tuner.slo import Slo
from tuner.stopping import Pace
from tuner.telemetry.nvml import Gpus
from tuner.telemetry.sampler import Sampler
from tuner.trials import Trier
from tuner.workload import Workload
from workloads.requests import Dataset

pytestmark = pytest.mark.long

HELD_BYTES = 200_000_000
HELD = f"""

    def initialize(self, args):
        self.held = b"x" * {HELD_BYTES}
"""


def test_a_bound_that_one_keeps_and_two_together_do_not_is_met(make_triton: MakeTriton, tmp_path: Path) -> None:
    repository = write_model(tmp_path / "models", "sum", (SUM[0], SUM[1] + HELD))
    target = make_triton(model="sum", repository=repository, variants={})
    target.start()
    requests = RequestClass(Dataset({"X": np.ones((8, 16), np.float32)}), 5.0)
    steady = Workload("steady", (requests,), None, 8, keep_alive=True, seed=0)
    goals, bounds = parse_goals(["maximize throughput"], "steady"), dict[str, float]()
    with Generator() as generator:
        meter = Meter(generator, Sampler(Gpus()), {"steady": Slo(bounds)}, tmp_path, asked=frozenset({"server_rss"}))
        trier = Trier(target, meter, [steady], Accuracies(), Pace.fixed(0.1, 0.5), goals, 0.5, 0.99, tmp_path)
        config, load = target.user_config(), steady.at(4.0)
        deployed = trier.deploy(config, "candidate")
        used = trier.measure(deployed, steady, load, trier.pace).used.rss_bytes
        deployed.retire()
        assert used is not None
        assert used > HELD_BYTES
        bounds["server_rss"] = used + HELD_BYTES / 2
        pair = [Contender(number, config, {"steady": load}) for number in range(2)]
        gathered = [Rounds(), Rounds()]
        said = redeploy_and_measure(trier, pair, gathered, {"steady": 2}, 0.5)
        sides = [side(trier, one, runs, 0.01) for one, runs in zip(pair, gathered, strict=True)]
    assert said == "they are on one server, and server_rss would be of everything that it has loaded"
    assert [one.verdicts["steady"]["server_rss"] for one in sides] == ["met", "met"]
