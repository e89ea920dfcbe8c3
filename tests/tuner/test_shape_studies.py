"""The ready studies, one for each shape of traffic: all on the same model with the same mean rate."""

from pathlib import Path

import pytest

from tests.test_docs import PROCESSES
from tuner.previewing import previews
from tuner.study.load import Study, load_study
from tuner.wiring import prepare

SHAPES = Path(__file__).parents[2] / "studies" / "shapes"
STUDIES = sorted(SHAPES.glob("*.yaml"))


def process_of(study: Study) -> str:
    (workload,) = study.spec.workloads.values()
    return workload.arrival.process


def test_every_open_process_has_a_study() -> None:
    processes = {one.model_fields["process"].annotation.__args__[0] for one in PROCESSES}  # type: ignore[union-attr]
    assert {process_of(load_study(path)) for path in STUDIES} == processes - {"closed"}


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_a_shape_has_the_mean_rate_of_the_others_and_can_be_measured(path: Path, tmp_path: Path) -> None:
    study = load_study(path)
    prepared = prepare(study, tmp_path / "log.txt")
    (workload,) = prepared.workloads
    assert workload.name == path.stem == process_of(study)
    assert workload.arrivals is not None
    assert workload.arrivals.mean_rate_rps == pytest.approx(300)
    (told,) = previews(workload, study, 40.0)
    assert told.mean_rate_rps == pytest.approx(300, rel=0.15)
    assert workload.at(None).level == workload.arrivals.mean_rate_rps
