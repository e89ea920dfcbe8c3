"""A study whose workloads have loads of different kinds, on the simulated server, as a user runs it."""

import pytest

from tests.support.simulated_study import write_simulated_study
from tests.support.tune import tune
from tuner.results import Result, read_result

pytestmark = pytest.mark.long

WEB = """  web:
    arrival: {process: constant, rate: 20/s}
    requests: {source: dataset, path: requests.npz}
"""


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Result:
    """The server answers whatever it is offered: more than the baseline does at the same rate is no gain."""
    folder = tmp_path_factory.mktemp("kinds")
    study = write_simulated_study(folder)
    text = study.read_text().replace("space:\n", f"{WEB}space:\n  rate: [20/s, 80/s]\n").replace("900 ms", "9 s")
    text = text.replace("[maximize throughput, minimize p99]", "[maximize web.throughput]")
    text = text.replace("sampler: random,", "sampler: random, start: [{max_batch_size: 16, rate: 80/s}],")
    text = text.replace("trials: 2", "trials: 1").replace("round: 0.2 s", "round: 0.5 s")
    study.write_text(text)
    ended = tune("study.yaml", cwd=folder)
    assert ended.returncode in (0, 5), ended.stdout + ended.stderr
    return read_result(folder / "runs" / "queue" / "latest")


def test_the_baseline_counts_at_each_of_its_loads(found: Result) -> None:
    measured = [(one.workload, one.load.level) for one in found.trial(0).points]
    assert sorted(measured) == [("steady", 2), ("steady", 8), ("web", 20), ("web", 80)]
    assert found.baseline is not None
    assert found.baseline.loads["web"].level == 80


def test_a_candidate_is_compared_with_the_baseline_under_the_same_load(found: Result) -> None:
    made = found.confirmation
    assert made is not None
    assert made.candidate.trial == 1
    offered = [side.metrics["web"]["offered_rps"].value for side in (made.candidate, made.baseline)]
    assert offered == pytest.approx([80, 80], rel=0.15)
    assert made.gains["throughput_rps"].value < 2, "four times as much was offered as at the baseline's lowest rate"
