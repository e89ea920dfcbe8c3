"""A study's workloads made ready: every process and source, what is wrong with them, and what the engine is told."""

from pathlib import Path

import numpy as np
import pytest
import yaml

from tests.support.load_runs import MS
from tuner.load.plan import ClosedLoop, OpenLoop
from tuner.stopping import Pace
from tuner.study.load import load_study
from tuner.study.source import StudyError
from tuner.traffic import make_workloads
from tuner.workload import Workload
from workloads.arrivals import Arrivals, Bursty, Constant, Gamma, Jittered, Poisson
from workloads.modulated import MarkovModulated, Profile
from workloads.replay import Replay, Superposition
from workloads.requests import Prompts
from workloads.tensors import Drawn

PART = {"process": "poisson", "rate": "30/s"}
PROMPTS = {"source": "synthetic", "input_tokens": 5, "output_tokens": 8, "count": 20, "fresh": False}
TRACE = "timestamp,input_tokens,output_tokens\n" + "".join(
    f"{at},{10 * (row + 1)},{row + 1}\n" for row, at in enumerate((0, 0.2, 0.3, 1.1, 1.9))
)


def made(folder: Path, arrival: dict[str, object], requests: object = None, **keys: object) -> Workload:
    """Return the workload of a study with this arrival process, these requests, and further keys."""
    (folder / "trace.csv").write_text(TRACE)
    study = {
        "study": "traffic",
        "target": {"kind": "kserve", "url": "http://127.0.0.1:8000", "model": "some"},
        "workloads": {
            "web": {"arrival": arrival, **({} if "mix" in keys else {"requests": requests or PROMPTS}), **keys}
        },
        "space": {"concurrency": [1]},
        "slo": {"p99": "10 ms"},
        "measure": {"max_window": "10 s"},
    }
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump(study, sort_keys=False))
    return make_workloads(load_study(path))[0]


def made_of_mix(folder: Path, mix: dict[str, object]) -> Workload:
    """Return the workload of a closed loop of a mix."""
    return made(folder, {"process": "closed"}, mix=mix)


def datasets(folder: Path) -> None:
    """Write a dataset of each form, with labels (`some`) and without (`bare`)."""
    rows = np.zeros((2, 3), np.float32)
    np.savez(folder / "bare.npz", X=rows)
    np.savez(folder / "some.npz", X=rows, labels=np.zeros(2, np.int64))
    np.save(folder / "X.npy", rows)
    (folder / "bare.jsonl").write_text('{"X": [1]}\n')
    (folder / "some.jsonl").write_text('{"X": [1], "labels": 0}\n')
    for name in ("bare", "some"):
        (folder / name).mkdir()
        np.save(folder / name / "one.npy", rows[0])
    (folder / "some" / "labels.csv").write_text("one.npy,0\n")


def refusal(folder: Path, arrival: dict[str, object], requests: object = None, **keys: object) -> str:
    with pytest.raises(StudyError) as caught:
        made(folder, arrival, requests, **keys)
    return str(caught.value)


def open_loop(workload: Workload, duration_s: float = 4.0) -> OpenLoop:
    loop = workload.loop(workload.at(None), duration_s)
    assert isinstance(loop, OpenLoop)
    return loop


def closed_loop(workload: Workload, concurrency: int) -> ClosedLoop:
    loop = workload.loop(workload.at(concurrency), 2.0)
    assert isinstance(loop, ClosedLoop)
    return loop


@pytest.mark.parametrize(
    ("arrival", "kind", "rate_rps"),
    [
        ({"process": "constant", "rate": "50/s"}, Constant, 50),
        ({"process": "jittered", "rate": "50/s", "jitter": "20%"}, Jittered, 50),
        ({"process": "poisson", "rate": "50/s"}, Poisson, 50),
        ({"process": "gamma", "rate": "50/s", "cv": 2}, Gamma, 50),
        ({"process": "bursty", "burst_size": 5, "pause": "100 ms"}, Bursty, 50),
        (
            {"process": "mmpp", "states": [{"rate": "0/s", "dwell": "50 ms"}, {"rate": "100/s", "dwell": "50 ms"}]},
            MarkovModulated,
            50,
        ),
        ({"process": "ramp", "first": "0/s", "last": "100/s", "over": "2 s"}, Profile, 50),
        ({"process": "steps", "rates": ["0/s", "100/s"], "each": "2 s"}, Profile, 50),
        ({"process": "sinusoid", "rate": "50/s", "period": "2 s"}, Profile, 50),
        ({"process": "spike", "rate": "40/s", "peak": "140/s", "length": "200 ms", "every": "2 s"}, Profile, 50),
        ({"process": "trace", "path": "trace.csv"}, Replay, 5 / 1.9 * 4 / 5),
        ({"process": "trace", "path": "trace.csv", "mean_rate": "50/s"}, Replay, 50),
        ({"process": "trace", "path": "trace.csv", "start": "200 ms", "duration": "1 s"}, Replay, 3),
        (
            {
                "process": "sum",
                "parts": [{"process": "constant", "rate": "20/s"}, PART],
            },
            Superposition,
            50,
        ),
    ],
    ids=lambda value: value.get("process") if isinstance(value, dict) else "",
)
def test_every_process_is_built(
    tmp_path: Path, arrival: dict[str, object], kind: type[Arrivals], rate_rps: float
) -> None:
    workload = made(tmp_path, arrival)
    assert isinstance(workload.arrivals, kind)
    assert workload.arrivals.mean_rate_rps == pytest.approx(rate_rps)
    assert len(open_loop(workload).schedule) > 0


@pytest.mark.parametrize(
    ("arrival", "place", "message"),
    [
        ({"process": "gamma", "rate": "50/s", "cv": 0}, "arrival.cv", "greater than 0"),
        ({"process": "spike", "rate": "1/s", "peak": "9/s", "length": "2 s", "every": "1 s"}, "arrival", "longer than"),
        ({"process": "steps", "rates": ["0/s", "0/s"], "each": "1 s"}, "arrival", "some of them above 0"),
        ({"process": "trace", "path": "nowhere.csv"}, "arrival.path", "nowhere.csv: no such file"),
        ({"process": "trace", "path": "trace.csv", "start": "1 h"}, "arrival", "no request came between 3600 s and"),
        ({"process": "sinusoid", "rate": "5/s", "period": "1 h"}, "arrival", "takes 3,600 s to show its shape"),
        ({"process": "gamma", "rate": "1/s", "cv": 3}, "arrival", "give a `measure.max_window` of 225 s or more"),
        ({"process": "sum", "parts": [{"process": "constant", "rate": "20/s"}]}, "arrival.parts", "at least 2 items"),
        ({"process": "sum", "parts": [{"process": "closed"}] * 2}, "arrival.parts.0", "must be one of 'constant'"),
        ({"process": "wave"}, "arrival", "`process` must be one of 'closed', 'constant', 'jittered'"),
        ({"process": "closed", "think_time": {"distribution": "pareto"}}, "arrival.think_time", "exponential|uniform"),
        (
            {"process": "closed", "think_time": {"distribution": "uniform", "low": "2 s", "high": "1 s"}},
            "arrival.think_time",
            "`0 <= low <= high` must hold",
        ),
    ],
    ids=str,
)
def test_what_is_wrong_with_a_process_points_at_its_line(
    tmp_path: Path, arrival: dict[str, object], place: str, message: str
) -> None:
    said = refusal(tmp_path, arrival)
    assert said.startswith(f"{tmp_path / 'study.yaml'}:")
    assert f" workloads.web.{place}: " in said
    assert message in said


def test_slots_begin_one_after_the_other_and_the_window_after_all_of_them(tmp_path: Path) -> None:
    workload = made(tmp_path, {"process": "closed", "ramp_up": "800 ms"})
    loop = closed_loop(workload, 4)
    assert loop.first_due_ns().tolist() == [0, 200 * MS, 400 * MS, 600 * MS]
    pace = workload.paced(workload.at(4), Pace(0.3, 0.5, 1.0, 3.0))
    assert (pace.warmup_s, pace.longest_warmup_s) == (0.8, 0.8)
    shards = [loop.shard(index, 2) for index in range(2)]
    assert [shard.first_due_ns().tolist() for shard in shards] == [[0, 400 * MS], [200 * MS, 600 * MS]]


def test_think_times_are_drawn(tmp_path: Path) -> None:
    workload = made(tmp_path, {"process": "closed", "think_time": {"distribution": "exponential", "mean": "20 ms"}})
    drawn = closed_loop(workload, 1).think_ns
    assert drawn.mean() == pytest.approx(20 * MS, rel=0.05)
    assert len(np.unique(drawn)) > 4_000
    again = closed_loop(made(tmp_path, {"process": "closed", "think_time": "20 ms"}), 1).think_ns
    assert again.tolist() == [20 * MS]


@pytest.mark.parametrize(
    ("arrival", "window_s"),
    [
        ({"process": "poisson", "rate": "50/s"}, 0.3),
        ({"process": "sinusoid", "rate": "50/s", "period": "2 s"}, 2.0),
        ({"process": "gamma", "rate": "100/s", "cv": 2}, 1.0),
        (
            {"process": "mmpp", "states": [{"rate": "9/s", "dwell": "50 ms"}, {"rate": "1/s", "dwell": "100 ms"}]},
            1.5,
        ),
    ],
    ids=lambda value: value.get("process") if isinstance(value, dict) else "",
)
def test_the_shortest_window_shows_the_shape(tmp_path: Path, arrival: dict[str, object], window_s: float) -> None:
    workload = made(tmp_path, arrival)
    assert workload.paced(workload.at(None), Pace(0.3, 1.5, 0.3, 3.0)).window_s == pytest.approx(window_s)


def test_windows_hold_whole_periods(tmp_path: Path) -> None:
    workload = made(tmp_path, {"process": "sinusoid", "rate": "50/s", "period": "2 s"})
    load = workload.at(None)
    assert workload.fitted(load, 0.3, 5.1) == (2.0, 4.0)
    assert workload.fitted(load, 0.3, 5.1, 5.0) == (2.0, 6.0), "not below the shortest"
    assert workload.edge_s(load, 2.5) == 4.0


LENGTHS_FROM = {"source": "synthetic", "fresh": False, "lengths_from": {"path": "trace.csv"}}


def test_a_replayed_request_has_its_own_size(tmp_path: Path) -> None:
    workload = made(tmp_path, {"process": "trace", "path": "trace.csv"}, LENGTHS_FROM)
    assert isinstance(workload.classes[0].dataset, Prompts)
    schedule = open_loop(workload, 4.0).schedule
    sent = [len(str(workload.classes[0].dataset.texts[request]).split()) for request in schedule.requests]
    assert sent[:7] == [10, 20, 30, 40, 50, 10, 20]
    assert workload.classes[0].dataset.output_tokens[schedule.requests][:5].tolist() == [1, 2, 3, 4, 5]


def test_sizes_stay_together_when_the_times_are_others(tmp_path: Path) -> None:
    workload = made(tmp_path, {"process": "poisson", "rate": "50/s"}, LENGTHS_FROM)
    prompts = workload.classes[0].dataset
    assert isinstance(prompts, Prompts)
    pairs = {
        (len(str(text).split()), int(tokens)) for text, tokens in zip(prompts.texts, prompts.output_tokens, strict=True)
    }
    assert pairs == {(10, 1), (20, 2), (30, 3), (40, 4), (50, 5)}
    assert open_loop(workload).schedule.requests[:5].tolist() != [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("requests", "place", "message"),
    [
        ({"source": "synthetic", "input_tokens": 5}, "requests", "give `input_tokens` and `output_tokens`, or"),
        ({**LENGTHS_FROM, "input_tokens": 5}, "requests", "`lengths_from` gives the lengths; leave `input_tokens` out"),
        (
            {"source": "synthetic", "lengths_from": {"path": "times.csv"}},
            "requests.lengths_from.path",
            "does not say how many input tokens",
        ),
        (
            {**PROMPTS, "input_tokens": {"distribution": "histogram", "values": [1, 2], "weights": [1]}},
            "requests.input_tokens",
            "`weights` must be one for each of the 2 `values`",
        ),
        (
            {**PROMPTS, "form": "ids", "token_ids": {"low": 5, "high": 9}, "fresh": True},
            "requests",
            "cannot be told apart by their beginning",
        ),
        (
            {**PROMPTS, "token_ids": {"low": 5, "high": 900}},
            "requests.token_ids",
            "made of words with `form: text`; take `token_ids` out, or give `form: ids`",
        ),
        ({"source": "perf_analyzer", "path": "data.json"}, "requests.path", "data.json: no such file"),
        ({"source": "tensors", "values": {"X": [2, 1]}}, "requests.values.X", "must not be above the second"),
        (
            {"source": "tensors", "lengths": {"n": {"distribution": "uniform", "low": 3, "high": 2}}},
            "requests.lengths.n",
            "low 3 and high 2",
        ),
    ],
    ids=str,
)
def test_what_is_wrong_with_a_source_points_at_its_line(
    tmp_path: Path, requests: object, place: str, message: str
) -> None:
    (tmp_path / "times.csv").write_text("time\n1\n2\n")
    said = refusal(tmp_path, {"process": "poisson", "rate": "50/s"}, requests)
    assert f" workloads.web.{place}: " in said
    assert message in said


def test_connections_of_a_closed_loop_are_refused_at_their_line(tmp_path: Path) -> None:
    said = refusal(tmp_path, {"process": "closed"}, connections=8)
    line = (tmp_path / "study.yaml").read_text().splitlines().index("    connections: 8") + 1
    assert said.startswith(f"{tmp_path / 'study.yaml'}:{line}: workloads.web.connections: is 8")
    assert "take `connections` out" in said
    assert made(tmp_path, {"process": "constant", "rate": "50/s"}, connections=8).connections == 8


TOP_1 = {"kind": "top_k"}


@pytest.mark.parametrize(
    ("path", "keys", "message"),
    [
        ("bare.npz", {"labels": "labels"}, "labels: bare.npz has no 'labels'; name what it has, or take it out"),
        ("bare.npz", {"accuracy": TOP_1}, "accuracy: bare.npz has no labels (under 'labels') that answers"),
        ("some.npz", {"labels": "classes"}, "labels: some.npz has no 'classes'; name what it has"),
        ("some.npz", {"input": "X"}, "input: some.npz names its inputs itself; take it out"),
        ("bare.jsonl", {"labels": "y"}, "labels: bare.jsonl has no 'y'; name what it has"),
        ("bare.jsonl", {"accuracy": TOP_1}, "accuracy: bare.jsonl has no labels (under 'labels') that answers"),
        ("some.jsonl", {"input": "X"}, "input: some.jsonl names its inputs itself; take it out"),
        ("X.npy", {"labels": "labels"}, "labels: X.npy has no keys to name; take it out, labels stand in an .npz"),
        ("X.npy", {"accuracy": TOP_1}, "accuracy: X.npy has no labels (as an .npy file never has) that answers"),
        ("bare", {"labels": "labels"}, "labels: bare has no keys to name; take it out, labels stand in labels.csv"),
        ("bare", {"accuracy": TOP_1}, "accuracy: bare has no labels (in labels.csv) that answers"),
    ],
)
def test_a_key_that_the_dataset_has_no_use_for_is_refused_at_its_line(
    tmp_path: Path, path: str, keys: dict[str, object], message: str
) -> None:
    datasets(tmp_path)
    said = refusal(tmp_path, {"process": "closed"}, {"source": "dataset", "path": path, **keys})
    lines = (tmp_path / "study.yaml").read_text().splitlines()
    at = next(number for number, line in enumerate(lines, 1) if line.strip().startswith(f"{next(iter(keys))}:"))
    assert f"study.yaml:{at}: workloads.web.requests.{message}" in said


@pytest.mark.parametrize(
    ("path", "keys"),
    [
        ("bare.npz", {}),
        ("some.npz", {"labels": "labels", "accuracy": TOP_1}),
        ("some.jsonl", {"labels": "labels", "accuracy": TOP_1}),
        ("X.npy", {"input": "Y"}),
        ("some", {"input": "X", "accuracy": TOP_1}),
    ],
)
def test_a_key_that_the_dataset_has_a_use_for_is_taken(tmp_path: Path, path: str, keys: dict[str, object]) -> None:
    datasets(tmp_path)
    dataset = made(tmp_path, {"process": "closed"}, {"source": "dataset", "path": path, **keys}).classes[0].dataset
    assert (dataset.labels is not None) is ("accuracy" in keys)


def test_a_key_without_use_is_found_beside_a_workload_that_leaves_it_out(tmp_path: Path) -> None:
    """Both have the same requests, which are read once."""
    datasets(tmp_path)
    bare = {"requests": {"source": "dataset", "path": "bare.npz"}}
    keyed = {"requests": {**bare["requests"], "labels": "labels"}}
    with pytest.raises(StudyError, match=r"workloads\.web\.mix\.two\.requests\.labels: bare\.npz has no 'labels'"):
        made_of_mix(tmp_path, {"one": bare, "two": keyed})


def test_a_share_of_the_requests_is_sent_again(tmp_path: Path) -> None:
    requests = {**PROMPTS, "count": 5_000}
    workload = made(tmp_path, {"process": "constant", "rate": "1000/s"}, requests, repeats={"share": "30%"})
    sent = open_loop(workload, 3.0).schedule.requests
    assert 1 - len(np.unique(sent)) / len(sent) == pytest.approx(0.3, abs=0.04)


def test_fresh_tensors_are_others_each_time(tmp_path: Path) -> None:
    arrival = {"process": "constant", "rate": "10/s"}
    fresh = made(tmp_path, arrival, {"source": "tensors", "fresh": True})
    assert isinstance(fresh.classes[0].dataset, Drawn)
    one = fresh.classes[0].requests()
    assert isinstance(one, Drawn)
    assert one.seed == fresh.classes[0].dataset.seed, "the sizes stay"
    assert one.values_seed is not None
    kept = made(tmp_path, arrival, {"source": "tensors"})
    assert kept.classes[0].requests() is kept.classes[0].dataset


def test_a_trace_is_a_file_of_the_study(tmp_path: Path) -> None:
    """A run is not resumed once its trace has changed."""
    made(tmp_path, {"process": "sum", "parts": [{"process": "trace", "path": "trace.csv"}] * 2}, LENGTHS_FROM)
    before = load_study(tmp_path / "study.yaml").fingerprint()
    (tmp_path / "trace.csv").write_text(TRACE + "2.5,1,1\n")
    assert load_study(tmp_path / "study.yaml").fingerprint() != before
