"""What is the same traffic, and who is asked: by content, not by where files stand, and as earlier versions told it."""

from pathlib import Path

import pytest

from targets.registry import options_of
from tests.gate.gate_builders import HOST, measurement
from tuner.gate import hosts
from tuner.gate.document import Measurement
from tuner.gate.history import Entry, courses
from tuner.gate.hosts import HostsDiffer, Setting
from tuner.gate.traffic import asked, earlier_hash, traffic_hash
from tuner.study.locustfile import LocustSpec
from tuner.study.traffic import WorkloadSpec

CLOSED = {"process": "closed"}


def workload(path: str, **fields: object) -> WorkloadSpec:
    """A closed loop over a dataset."""
    requests = {"source": "dataset", "path": path}
    return WorkloadSpec.model_validate({"arrival": CLOSED, "requests": requests, **fields})


def test_the_content_of_a_file_counts_and_not_where_it_stands(tmp_path: Path) -> None:
    (tmp_path / "A").mkdir()
    (tmp_path / "B").mkdir()
    (tmp_path / "A" / "test.npz").write_bytes(b"rows")
    here = traffic_hash(workload("test.npz"), (tmp_path / "A").joinpath)
    assert traffic_hash(workload("../A/test.npz"), (tmp_path / "B").joinpath) == here
    (tmp_path / "A" / "test.npz").write_bytes(b"other rows")
    assert traffic_hash(workload("test.npz"), (tmp_path / "A").joinpath) != here


def test_the_files_of_a_folder_and_its_labels_count_and_hidden_ones_do_not(tmp_path: Path) -> None:
    images = tmp_path / "images"
    images.mkdir()
    told = []
    for name, content in (
        ("cat.png", b"a cat"),
        (".DS_Store", b"of the desktop"),
        ("cat.png", b"another cat"),
        ("dog.png", b"a dog"),
        ("labels.csv", b"cat.png,1"),
    ):
        (images / name).write_bytes(content)
        told.append(traffic_hash(workload("images"), tmp_path.joinpath))
    assert told[0] == told[1]
    assert len(set(told)) == 4


def test_a_default_that_is_written_down_changes_nothing_and_another_value_does(tmp_path: Path) -> None:
    """The values are the defaults of today. One that changes some day sends something else, and has to be told."""
    (tmp_path / "x.npz").write_bytes(b"rows")
    bare = traffic_hash(workload("x.npz"), tmp_path.joinpath)
    written = {"arrival": {**CLOSED, "think_time": "0 s", "ramp_up": "0 s"}, "timeout": "2 s", "keep_alive": True}
    assert traffic_hash(workload("x.npz", **written), tmp_path.joinpath) == bare
    for fields in ({"timeout": "3 s"}, {"keep_alive": False}, {"arrival": {**CLOSED, "think_time": "1 ms"}}):
        assert traffic_hash(workload("x.npz", **fields), tmp_path.joinpath) != bare


def test_bounds_change_nothing_in_classes_and_of_a_locustfile_either(tmp_path: Path) -> None:
    (tmp_path / "x.npz").write_bytes(b"rows")
    (tmp_path / "users.py").write_text("# users")
    one = {"requests": {"source": "dataset", "path": "x.npz"}}
    mixes = [
        WorkloadSpec.model_validate({"arrival": CLOSED, "mix": {"often": {"weight": 3, **one, **slo}, "rare": one}})
        for slo in ({}, {"slo": {"p99": "5 ms"}})
    ]
    users = [
        LocustSpec.model_validate({"locustfile": "users.py", "classes": {"search": slo}})
        for slo in ({}, {"slo": {"p99": "5 ms"}})
    ]
    for pair in (mixes, users):
        assert len({traffic_hash(made, tmp_path.joinpath) for made in pair}) == 1
        assert len({earlier_hash(made, []) for made in pair}) == 1


def test_a_workload_is_told_as_the_baselines_of_earlier_versions_have_it(tmp_path: Path) -> None:
    """A hash of version 0.1.0. Where it changes, stored baselines become useless: see `earlier_hash`."""
    (tmp_path / "t.npz").write_bytes(b"x")
    assert earlier_hash(workload("t.npz"), [tmp_path / "t.npz"]) == "7a1d3c19e14a"


def earlier(**fields: object) -> Measurement:
    """A measurement as an earlier version wrote it."""
    host = {name: told for name, told in HOST.items() if name not in ("place", "protocol", "model")}
    return measurement(**{"host": host, "traffic": {"steady": "0ld"}, **fields})


def today(**fields: object) -> Measurement:
    return measurement(**{"traffic": {"steady": "abc"}, "earlier_traffic": {"steady": "0ld"}, **fields})


def test_a_baseline_of_an_earlier_version_is_compared_by_what_it_tells() -> None:
    for old, new in ((earlier(), today()), (today(), earlier())):
        (note,) = hosts.check(Setting.of(old), Setting.of(new), [])
        assert note == "place, protocol, model: not compared, an earlier version of Paretune did not tell"
    assert hosts.check(Setting.of(earlier()), Setting.of(earlier()), []) == []
    with pytest.raises(HostsDiffer, match="steady sends something else"):
        hosts.check(Setting.of(earlier()), Setting.of(today(earlier_traffic={"steady": "other"})), [])


def test_two_measurements_of_today_are_not_compared_by_what_earlier_versions_saw() -> None:
    assert hosts.check(Setting.of(today()), Setting.of(today(earlier_traffic={"steady": "path"})), []) == []
    with pytest.raises(HostsDiffer, match="steady sends something else"):
        hosts.check(Setting.of(today()), Setting.of(today(traffic={"steady": "abd"})), [])


def test_a_course_goes_on_over_a_new_version_of_paretune() -> None:
    series = [
        earlier(),
        earlier(),
        today(),
        today(),
        today(traffic={"steady": "abd"}),
        today(traffic={"steady": "abd"}),
    ]
    found = courses([Entry(str(number), one) for number, one in enumerate(series)])
    assert {one.apart: one.names for one in found if one.key == "throughput_rps"} == {
        "requests abc": ("0", "1", "2", "3"),
        "requests abd": ("4", "5"),
    }


@pytest.mark.parametrize(
    ("target", "place", "protocol", "model"),
    [
        ({"kind": "simulated", "model": "queue", "repository": "m"}, "this host", "http", "queue"),
        ({"kind": "triton", "model": "m", "repository": "m", "protocol": "grpc"}, "this host", "grpc", "m"),
        (
            {"kind": "triton", "model": "m", "launch": "remote", "url": "http://gpu:8000/"},
            "http://gpu:8000", "http", "m",
        ),
        ({"kind": "kserve", "model": "m", "url": "grpc://gpu:8001"}, "grpc://gpu:8001", "grpc", "m"),
        ({"kind": "openai", "model": "a/b", "url": "http://gpu:80/v1"}, "http://gpu:80", "http", "a/b"),
        ({"kind": "triton", "repository": "m", "models": {"b": {}, "a": {}}}, "this host", "http", "a, b"),
        ({"kind": "vllm", "model": "/models/llama"}, "this host", "http", "llama"),
        ({"kind": "command", "command": ["serve"], "request": {"path": "/"}}, "this host", "http", "unknown"),
    ],
)  # fmt: skip
def test_who_is_asked_is_a_fact(target: dict[str, object], place: str, protocol: str, model: str) -> None:
    options = options_of(str(target["kind"])).model_validate(target)
    assert asked(options, {}) == {"place": place, "protocol": protocol, "model": model}
