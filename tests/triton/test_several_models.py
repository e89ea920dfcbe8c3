"""Two models on one real Triton, measured at once: they share a device, so the one is slower beside the other."""

import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from targets.base import ConfigRefused, ServesSeveral, TargetError
from targets.exports import Reloading, VerifiesCopy
from targets.triton.flags import FILE
from targets.triton.rules import CACHE_BYTES
from targets.triton.several import SeveralTriton
from tests.support.foreign_triton import foreign_triton
from tests.support.load_runs import ends_behind_window
from tests.support.triton_models import guest, owner, write_model
from tests.support.tune import tune
from tuner.cli.frame import NOT_VALID
from tuner.instruments import Bench, started
from tuner.offered import Offered, of_model
from tuner.provenance import marked
from tuner.runs import Run
from tuner.serving import first_requests, verify
from tuner.stopping import Pace
from tuner.study.load import load_study
from tuner.wiring import Prepared, prepare
from tuner.writing import copy_all, write_all

pytestmark = pytest.mark.long

STUDY = """
study: pair
target:
  kind: triton
  repository: models
  models: {light: {}, heavy: {}}
workloads:
  shop:
    model: light
    arrival: {process: closed, concurrency: 2}
    requests: {source: tensors, count: 5}
  chat:
    model: heavy
    arrival: {process: closed, concurrency: 2}
    requests: {source: tensors, count: 5}
    timeout: 10 s
    slo: {p50: 10 s}
space:
  models:
    light: {instances: [1, 2], response_cache: [false]}
    heavy: {max_batch_size: [1, 2]}
  http_thread_count: [4, 8]
slo: {p50: 1 s}
objectives: [maximize total_throughput]
measure: {warmup: 0.2 s, max_warmup: 0.3 s, window: 0.3 s, max_window: 1.5 s}
isolation: none
"""
ALONE_S, BESIDE_S, HEAVY_S = 0.002, 0.1, 0.05
PACE = Pace.fixed(0.2, 1.2)
OURS = {"light.instances": 2, "heavy.max_batch_size": 2}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    folder = tmp_path_factory.mktemp("several")
    write_model(folder / "models", "light", guest(ALONE_S, BESIDE_S, folder / "device"))
    write_model(folder / "models", "heavy", owner(HEAVY_S, folder / "device"), "# slow\n")
    (folder / "study.yaml").write_text(STUDY)
    return prepare(load_study(folder / "study.yaml"), folder / "log.txt")


@pytest.fixture(scope="module")
def bench(prepared: Prepared, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    run = tmp_path_factory.mktemp("run")
    (run / "records").mkdir()
    with started(prepared, run) as made:
        yield made


@dataclass(frozen=True)
class Measured:
    """What the same deployment gave: light alone, then both at once."""

    alone: Run
    shop: Run
    chat: Run


@pytest.fixture(scope="module")
def measured(bench: Bench) -> Measured:
    trier = bench.trier
    deployment = trier.deploy(trier.target.user_config(), "measured")
    both = [Offered(one, one.at(None)) for one in trier.workloads]
    (alone,) = trier.measure_at_once(deployment, both[:1], PACE)
    shop, chat = trier.measure_at_once(deployment, both, PACE)
    trier.retire(deployment)
    return Measured(alone, shop, chat)


def p50_s(run: Run) -> float:
    rows = run.records.in_window()
    return float(np.median(rows["done_ns"] - rows["intended_ns"])) / 1e9


def test_a_model_is_slower_beside_one_that_has_their_device_most_of_the_time(measured: Measured) -> None:
    assert p50_s(measured.shop) > 2 * p50_s(measured.alone)


def test_both_loads_begin_before_their_common_window_and_go_on_to_its_end(measured: Measured) -> None:
    assert measured.shop.records.windows_ns == measured.chat.records.windows_ns
    ((start_ns, end_ns),) = measured.shop.records.windows_ns
    assert (end_ns - start_ns) / 1e9 == pytest.approx(PACE.window_s)
    for run in (measured.shop, measured.chat):
        rows = run.records.rows
        assert rows["intended_ns"].min() < start_ns, "the load was there before the window"
        assert rows["done_ns"].max() >= end_ns, "requests were on their way at its end"
        assert ends_behind_window(run.records, 2)


def test_each_workload_has_the_statistics_of_its_model_and_the_total_is_of_both(
    bench: Bench, measured: Measured
) -> None:
    found = {name: bench.trier.meter.summary(getattr(measured, name), name) for name in ("shop", "chat")}
    for name in found:
        run = getattr(measured, name)
        # the readings are a little beside the window's edges, on a busy machine more than a little
        answered = len(run.records.in_window()) * run.server.window_s / run.records.window_s
        assert run.server.requests == pytest.approx(answered, rel=0.2, abs=4)
        total = sum(one["throughput_rps"].value for one in found.values())
        assert found[name]["total_throughput_rps"].value == pytest.approx(total)
    assert found["shop"]["throughput_rps"].value != found["chat"]["throughput_rps"].value
    assert "total_throughput_rps" not in bench.trier.meter.summary(measured.alone, "shop")


def test_a_trial_has_a_point_of_each_workload_in_one_window(bench: Bench) -> None:
    trial = bench.trier.attempt(1, {**bench.trier.target.user_config(), **OURS}, [])
    assert trial.state == "complete", trial.reason
    assert [(one.workload, one.window, one.load.level) for one in trial.points] == [("shop", 0, 2), ("chat", 0, 2)]
    assert {(one.window_s, one.warmup_s) for one in trial.points} == {
        (trial.points[0].window_s, trial.points[0].warmup_s)
    }
    assert [list(one.verdicts) for one in trial.points] == [["p50"], ["p50"]]
    assert all(over < 0 for one in trial.points for over in one.violations.values())
    assert all((bench.trier.run_path / str(one.records)).exists() for one in trial.points)


def test_what_is_refused_for_a_model_names_it_and_leaves_nothing_loaded(bench: Bench) -> None:
    target = bench.trier.target
    with pytest.raises(ConfigRefused, match=r"^heavy: ") as refused:
        target.deploy({**target.user_config(), "heavy.max_batch_size": -1}, "refused")
    assert refused.value.knobs == ("heavy.max_batch_size",)
    again = target.deploy(target.user_config(), "refused")
    assert of_model(again, bench.trier.workloads[1]).statistics()().requests == 0
    again.retire()


def test_an_export_is_loaded_as_a_whole_and_asked_model_by_model(bench: Bench, prepared: Prepared) -> None:
    export = prepared.target.export({**prepared.target.user_config(), **OURS, "http_thread_count": 4})
    assert [str(path) for path in export.files] == [
        "light/config.pbtxt",
        "server-flags.txt",
        "heavy/config.pbtxt",
    ]
    texts = {path.parent.name: text for path, text in export.files.items()}
    assert "count: 2" in texts["light"]
    assert "max_batch_size: 2" in texts["heavy"]
    assert texts["heavy"].endswith("# slow\n"), "what stands in the user's file stays"
    assert [flag for flag in export.flags if flag.startswith("--load-model")] == [
        "--load-model=light",
        "--load-model=heavy",
    ]
    mark = prepared.target._first._log.path.read_text().count("successfully loaded 'heavy'")  # type: ignore[attr-defined]
    verify(prepared.target, export, bench.trier.workloads)
    log = prepared.target._first._log.path.read_text()  # type: ignore[attr-defined]
    assert log.count("successfully loaded 'heavy'") == mark + 1


def test_a_copied_repository_is_loaded_as_a_whole_and_asked_model_by_model(prepared: Prepared, tmp_path: Path) -> None:
    export = prepared.target.export({**prepared.target.user_config(), **OURS, "http_thread_count": 4})
    assert isinstance(prepared.target, VerifiesCopy)
    copy_all(export, tmp_path, link=False)
    write_all({tmp_path / path: text for path, text in export.files.items()})
    log = prepared.target._first._log  # type: ignore[attr-defined]
    mark = log.mark()
    prepared.target.verify_copy(tmp_path, export, first_requests(prepared.workloads))
    assert all(f"successfully loaded '{name}'" in log.text_since(mark) for name in ("light", "heavy"))


def test_what_a_server_refuses_of_one_model_is_undone_for_those_before_it(prepared: Prepared, tmp_path: Path) -> None:
    target = prepared.target
    assert isinstance(target, Reloading)
    shutil.copytree(prepared.study.source.path.parent / "models", tmp_path / "models")
    with foreign_triton(tmp_path, "explicit", ["--load-model=light"], model="heavy") as server:
        before = {name: server.config(name) for name in ("light", "heavy")}

        def write(files: Mapping[Path, str]) -> None:
            for path, text in files.items():
                (tmp_path / "models" / path).write_text(text)

        made = target.export({**target.user_config(), **OURS})
        spoiled = {Path("heavy/config.pbtxt"): "version_policy { specific { versions: 9 } }\n"}
        files = {path: text + spoiled.get(path, "") for path, text in made.files.items() if path.name == "config.pbtxt"}
        assert [path.parent.name for path in files] == ["light", "heavy"]
        write(files)
        with pytest.raises(ConfigRefused, match="the server refused"):
            target.reload(replace(made, files=files), server.url)
        assert {name: server.config(name) for name in before} == before
        assert all(server.client.is_model_ready(name) for name in before)
        write(made.files)
        target.reload(made, server.url)
        assert server.config("light")["instance_group"][0]["count"] == 2


def test_an_export_has_the_flags_that_any_of_the_models_needs(prepared: Prepared) -> None:
    user = {**prepared.target.user_config(), "http_thread_count": 4}
    plain, cached = (prepared.target.export({**user, "light.response_cache": on}) for on in (False, True))
    assert plain.files[FILE] == "--http-thread-count=4\n"
    assert set(cached.files[FILE].splitlines()) == {"--http-thread-count=4", f"--cache-config=local,size={CACHE_BYTES}"}
    assert set(cached.flags) - set(plain.flags) == {f"--cache-config=local,size={CACHE_BYTES}"}


def test_two_configurations_of_several_models_are_compared_by_the_names_of_their_knobs(
    prepared: Prepared, tmp_path: Path
) -> None:
    shutil.copytree(prepared.study.source.path.parent / "models", tmp_path / "models")
    confirm = {"redeployments": 2, "max_redeployments": 2, "rounds": 2, "round": "0.3 s"}
    (tmp_path / "study.yaml").write_text(f"{STUDY}confirm: {json.dumps(confirm)}\n")
    sides = ["--ours", "heavy.max_batch_size=2", "--theirs", "light.instances=2", "--theirs", "http_thread_count=4"]
    ended = tune("compare", "study.yaml", *sides, "--json", cwd=tmp_path)
    assert ended.returncode in (0, NOT_VALID), ended.stderr
    found = json.loads(ended.stdout)
    knobs = ("heavy.max_batch_size", "light.instances", "http_thread_count")
    ours, theirs = ([found[side]["config"].get(knob) for knob in knobs] for side in ("ours", "theirs"))
    assert (ours[0], theirs[0], ours[1], theirs[1], theirs[2]) == (2, 1, 1, 2, 4)


# What is known without the server.


def test_knobs_are_those_of_each_model_and_of_the_server(prepared: Prepared) -> None:
    target = prepared.target
    assert isinstance(target, SeveralTriton)
    assert isinstance(target, ServesSeveral)
    names = [knob.name for knob in target.knobs()]
    assert len(names) == len(set(names))
    assert {"light.instances", "heavy.instances", "heavy.max_queue_delay", "http_thread_count"} <= set(names)
    assert not {"instances", "light.http_thread_count"} & set(names)
    assert [parameter.name for parameter in prepared.space] == [
        "light.instances",
        "light.response_cache",
        "heavy.max_batch_size",
        "http_thread_count",
    ]
    assert target.user_config()["light.instances"] == 1


def test_the_file_of_a_model_that_keeps_its_configuration_gets_no_header(prepared: Prepared) -> None:
    user = prepared.target.user_config()
    tuned, whole = (prepared.target.export({**user, **knobs}) for knobs in ({"light.instances": 2}, {}))
    lines = {path.parent.name: text.splitlines()[0] for path, text in marked(tuned, ["study pair"]).files.items()}
    assert lines["light"] == "# paretune: study pair"
    assert lines["heavy"] == tuned.originals[Path("heavy/config.pbtxt")].splitlines()[0]
    assert whole.commented == frozenset()


def test_a_need_of_one_model_starts_the_server_of_all_with_it(prepared: Prepared) -> None:
    """The study sets the response cache of light."""
    for member in prepared.target._members.values():  # type: ignore[attr-defined]
        assert any(flag.startswith("--cache-config=") for flag in member._usual_flags)


@pytest.mark.parametrize(
    ("models", "expected"),
    [
        ("{light: {}, absent: {}}", r"no model 'absent'"),
        ("{light: {variants: {other: {model: heavy}}}, heavy: {}}", r"target.models.heavy: 'heavy' already stands for"),
    ],
)
def test_models_that_cannot_be_served_together_are_refused(prepared: Prepared, models: str, expected: str) -> None:
    path: Path = prepared.study.source.path
    text = STUDY.replace("{light: {}, heavy: {}}", models)
    if "absent" in models:
        text = text.replace("model: heavy", "model: absent")
    with pytest.raises(TargetError, match=expected):
        prepare(load_study(path, text=text), path.with_name("log.txt"))
