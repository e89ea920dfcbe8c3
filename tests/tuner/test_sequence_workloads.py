"""Sequences in a study: what fits together, what the engine is told of them, and what is refused with its line."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from tuner.load.plan import OpenLoop
from tuner.space import make_space
from tuner.study.load import load_study
from tuner.study.source import StudyError
from tuner.traffic import check_sequences, make_workloads
from tuner.workload import Workload

TENSORS = {"source": "tensors", "count": 100}
CLOSED, OPEN = {"process": "closed"}, {"process": "poisson", "rate": "50/s"}
TRITON = {"kind": "triton", "model": "m", "repository": "models"}


def made(folder: Path, target: dict[str, object] = TRITON, **keys: object) -> Workload:
    content = {
        "study": "turns",
        "target": target,
        "workloads": {"web": {"arrival": CLOSED, "requests": TENSORS, **keys}},
        "space": {"concurrency": [4]},
        "slo": {"p99": "10 ms"},
    }
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return make_workloads(load_study(path))[0]


def test_the_requests_are_cut_into_sequences_that_begin_in_an_order_of_the_seed(tmp_path: Path) -> None:
    workload = made(tmp_path, sequences={"length": 30})
    order = workload.sequence_order()
    assert order is not None
    assert sorted(zip(order.firsts, order.lengths, strict=True)) == [(0, 30), (30, 30), (60, 30), (90, 10)]
    assert workload.classes[0].dataset.sequences is workload.sequences  # type: ignore[union-attr]
    again = made(tmp_path, sequences={"length": 30}).sequence_order()
    assert again is not None
    assert again.firsts.tolist() == order.firsts.tolist()


def test_an_open_loop_has_as_many_requests_on_their_way_as_sequences_are_live(tmp_path: Path) -> None:
    workload = made(tmp_path, arrival=OPEN, sequences={"length": 5, "at_once": 7})
    loop = workload.loop(workload.at(None), 1.0)
    assert isinstance(loop, OpenLoop)
    assert loop.connections == 7


def test_the_streams_of_a_perf_analyzer_file_are_sequences(tmp_path: Path) -> None:
    streams = [[{"X": [1]}, {"X": [2]}], [{"X": [3]}]]
    (tmp_path / "data.json").write_text(json.dumps({"data": streams}))
    requests = {"source": "perf_analyzer", "path": "data.json"}
    workload = made(tmp_path, requests=requests, sequences={"first_id": 9})
    assert workload.sequences is not None
    assert (workload.sequences.lengths.tolist(), workload.sequences.first_id) == ([2, 1], 9)
    (tmp_path / "data.json").write_text(json.dumps({"data": streams[0]}))
    with pytest.raises(StudyError, match="has requests, but no streams of them; give a `length`"):
        made(tmp_path, requests=requests, sequences={})


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"sequences": {}}, "`sequences` need a `length`"),
        ({"sequences": {"length": 5, "at_once": 2}}, "`concurrency` says how many sequences are live"),
        ({"arrival": OPEN, "sequences": {"length": 5}}, "of an open loop need `at_once`"),
        ({"sequences": {"length": 5}, "repeats": {"share": "10%"}}, "and so does `repeats`"),
        ({"target": {"kind": "kserve", "url": "http://x:1", "model": "m"}, "sequences": {"length": 5}},
         "kserve knows no sequences of requests"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(keys: dict[str, object], message: str, tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=message):
        made(tmp_path, **keys)  # type: ignore[arg-type]


def test_live_sequences_need_a_connection_each(tmp_path: Path) -> None:
    workload = made(tmp_path, arrival=OPEN, connections=2, sequences={"length": 5, "at_once": 3})
    study = load_study(tmp_path / "study.yaml")
    with pytest.raises(StudyError, match="3 live sequences need a connection each, and there are 2"):
        check_sequences(study, [workload], make_space({}, (), study.source))


def test_a_concurrency_of_the_workloads_own_counts_before_that_of_the_space(tmp_path: Path) -> None:
    workload = replace(made(tmp_path, sequences={"length": 30}), concurrency=5)
    study = load_study(tmp_path / "study.yaml")
    with pytest.raises(StudyError, match="5 are to be live at once, and the requests make 4"):
        check_sequences(study, [workload], make_space({"concurrency": [2]}, (), study.source))


def test_workloads_that_ask_a_model_at_once_have_sequences_of_their_own(tmp_path: Path) -> None:
    one = replace(made(tmp_path, sequences={"length": 30}), model="tracker", concurrency=1)
    study = load_study(tmp_path / "study.yaml")
    assert one.sequences is not None
    other = replace(one, name="other")
    space = make_space({}, (), study.source)
    with pytest.raises(StudyError, match="sends tracker a sequence 1 at the same time; begin above its last one"):
        check_sequences(study, [one, other], space)
    check_sequences(study, [one, replace(other, sequences=replace(one.sequences, first_id=5))], space)
    check_sequences(study, [one, replace(other, model="another")], space)


def test_fewer_sequences_than_are_live_at_once_are_refused_with_the_line(tmp_path: Path) -> None:
    workload = made(tmp_path, sequences={"length": 30})
    study = load_study(tmp_path / "study.yaml")
    check_sequences(study, [workload], make_space({"concurrency": [4]}, (), study.source))
    with pytest.raises(StudyError, match=r"sequences: 64 are to be live at once, and the requests make 4"):
        check_sequences(study, [workload], make_space({"concurrency": [4, 64]}, (), study.source))
