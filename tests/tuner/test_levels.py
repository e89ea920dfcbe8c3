"""What a study that looks for the highest sustainable load may not say, refused at its line."""

from pathlib import Path

import numpy as np
import pytest

from tuner.study.load import load_study
from tuner.study.source import StudyError
from tuner.wiring import prepare

STUDY = """
study: climb
target: {kind: simulated, model: queue, repository: models}
workloads:
  steady:
    arrival: {process: closed}
    requests: {source: dataset, path: requests.npz}
load: {search: max_under_slo}
space:
  max_batch_size: [1, 4]
  concurrency: {low: 1, high: 32, scale: log2}
  instances: [1, 2]
slo: {p90: 150 ms}
objectives: [maximize throughput]
""".lstrip()
LEVELS = "concurrency: {low: 1, high: 32, scale: log2}"


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (
            "instances: [1, 2]",
            "instances: {values: [1, 2], when: concurrency >= 8}",
            "11: space.instances.when: with `load.search: max_under_slo` a condition cannot name the load",
        ),
        (
            LEVELS,
            "concurrency: {values: [1, 8], when: max_batch_size > 1}",
            "10: space.concurrency.when: with `load.search: max_under_slo` a load has no condition",
        ),
        (
            "slo:",
            "constraints: [instances <= concurrency]\nslo:",
            "12: constraints.0: with `load.search: max_under_slo` a constraint cannot name the load",
        ),
        (LEVELS, "concurrency: 4", "7: load.search: `max_under_slo` needs levels to choose from"),
    ],
)
def test_what_cannot_be_searched_is_refused_at_its_line(tmp_path: Path, old: str, new: str, expected: str) -> None:
    with pytest.raises(StudyError) as refused:
        prepared(tmp_path, STUDY.replace(old, new))
    assert str(refused.value).removeprefix(f"{tmp_path}/").startswith(f"study.yaml:{expected}")


OPEN = """
  web:
    arrival: {process: poisson, rate: 10/s}
    requests: {source: dataset, path: requests.npz}
load:"""


@pytest.mark.parametrize("rate", ["[10/s, 40/s]", "20/s"])
def test_workloads_with_loads_of_two_kinds_climb_beside_one_another(tmp_path: Path, rate: str) -> None:
    text = STUDY.replace("\nload:", OPEN).replace("  instances", f"  rate: {rate}\n  instances")
    prepared(tmp_path, text)


def test_the_first_objective_is_about_a_workload_that_climbs(tmp_path: Path) -> None:
    text = STUDY.replace("\nload:", OPEN).replace("[maximize throughput]", "[maximize web.throughput]")
    with pytest.raises(StudyError, match=r"10: load\.search: `max_under_slo` needs levels .* give `space\.rate`"):
        prepared(tmp_path, text)
    (tmp_path / "again").mkdir()
    prepared(tmp_path / "again", text.replace("  instances", "  rate: [10/s, 40/s]\n  instances"))


def test_a_condition_of_other_knobs_stands(tmp_path: Path) -> None:
    prepared(tmp_path, STUDY.replace("instances: [1, 2]", "instances: {values: [1, 2], when: max_batch_size > 1}"))


def test_where_loads_are_sampled_a_condition_may_name_one(tmp_path: Path) -> None:
    text = STUDY.replace("instances: [1, 2]", "instances: {values: [1, 2], when: concurrency >= 8}")
    prepared(tmp_path, text.replace("load: {search: max_under_slo}\n", ""))


BOUNDED = """
study: bounded
target: {kind: simulated, model: queue, repository: models}
workloads:
  steady:
    arrival: {process: poisson, rate: 400/s}
    mix:
      browse: {weight: 3, requests: {source: dataset, path: requests.npz}}
      pay: {weight: 1, requests: {source: dataset, path: requests.npz}, slo: {throughput_at_least: 90/s}}
space:
  max_batch_size: [1, 4]
slo: {p90: 150 ms, throughput_at_least: 300/s}
objectives: [minimize p90]
""".lstrip()
RATES = "  rate: [100/s, 200/s]\nslo:"


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (
            "300/s",
            "500/s",
            "11: slo.throughput_at_least: is 500/s, but the open loop `steady` offers 400/s, and no server answers "
            "more than it is asked; give a lower bound or a higher rate",
        ),
        ("300/s", "400/s", "11: slo.throughput_at_least: is 400/s, but the open loop `steady` offers 400/s"),
        (
            "slo: {p90",
            f"{RATES} {{p90",
            "12: slo.throughput_at_least: is 300/s, but the open loop `steady` offers at most",
        ),
        (
            "90/s",
            "110/s",
            "8: workloads.steady.mix.pay.slo.throughput_at_least: is 110/s, but the open loop `steady.pay` offers "
            "100/s",
        ),
        (
            "    mix:",
            "    slo: {throughput_at_least: 1000/s}\n    mix:",
            "6: workloads.steady.slo.throughput_at_least: is 1000/s, but the open loop `steady` offers 400/s",
        ),
    ],
)
def test_a_throughput_that_nobody_asks_a_server_for_is_refused_at_its_line(
    tmp_path: Path, old: str, new: str, expected: str
) -> None:
    with pytest.raises(StudyError) as refused:
        prepared(tmp_path, BOUNDED.replace(old, new))
    assert str(refused.value).removeprefix(f"{tmp_path}/").startswith(f"study.yaml:{expected}")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("300/s", "399/s"),
        ("slo: {p90", "  rate: [100/s, 800/s]\nslo: {p90"),
        ("objectives", "gate: {rate: 900/s}\nobjectives"),
        ("poisson, rate: 400/s", "closed"),
    ],
)
def test_a_throughput_that_is_offered_somewhere_may_be_asked_for(tmp_path: Path, old: str, new: str) -> None:
    text = BOUNDED.replace(old, new)
    prepared(tmp_path, text.replace("  max_batch", "  concurrency: 4\n  max_batch") if "closed" in new else text)


def prepared(folder: Path, text: str) -> None:
    (folder / "models" / "queue").mkdir(parents=True)
    (folder / "models" / "queue" / "queue.json").write_text('{"fixed_ms": 1.0, "each_ms": 0.1}')
    np.savez(folder / "requests.npz", INPUT=np.zeros((5, 4)))
    path = folder / "study.yaml"
    path.write_text(text)
    prepare(load_study(path), folder / "log.txt")
