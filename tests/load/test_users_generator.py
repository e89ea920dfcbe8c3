"""A locustfile written for Locust alone runs as it is, and Locust's own statistics are those of the records."""

import json
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from targets.base import Endpoint, Outcome
from tests.support.locustfiles import RAISING, SHAPED, SHOP
from tests.support.simulated_servers import deploy, simulated_server, statistics
from tuner.load.generator import Generator, GeneratorError, LoadRun
from tuner.load.plan import NAMES, ClassPlan, Plan, Rewindow, UsersLoop
from tuner.load.users.generator import look_into, users_generator
from tuner.load.users.messages import LocustfileError, unjudged
from tuner.named_requests import by_name

MS = 1_000_000
SERVICE = {"kind": "deterministic", "mean_s": 0.002, "cv": 1.0}
ALIAS = "queue__candidate"


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with simulated_server() as port:
        deploy(port, ALIAS, service=SERVICE)
        yield port


def plan(port: int, path: Path, window_ms: int = 500) -> Plan:
    return Plan(
        endpoint=Endpoint("127.0.0.1", port, (), unjudged),
        load=UsersLoop(4, 100.0, (("ask",),), "/deployments/queue", f"/deployments/{ALIAS}"),
        start_ns=time.monotonic_ns() + 300 * MS,
        warmup_ns=100 * MS,
        window_ns=window_ms * MS,
        timeout_ns=2000 * MS,
        records_path=path,
        classes=(ClassPlan(0, 2000 * MS), ClassPlan(NAMES, 2000 * MS)),
    )


@dataclass(frozen=True)
class Seen:
    """A run, what Locust counted in it, what the server did, and what a look at the running load showed."""

    run: LoadRun
    locust: list[list[object]]
    server: dict[str, object]
    looked: int
    on_their_way: int


@pytest.fixture(scope="module")
def generator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Generator]:
    folder = tmp_path_factory.mktemp("shop")
    (folder / "shop.py").write_text(SHOP)
    with users_generator(folder / "shop.py", None, folder / "locust.log") as found:
        found.ready()
        yield found


@pytest.fixture(scope="module")
def seen(generator: Generator, port: int, tmp_path_factory: pytest.TempPathFactory) -> Seen:
    folder = tmp_path_factory.mktemp("rows")
    began = statistics(port, ALIAS)["requests"]
    given = plan(port, folder / "rows.bin", window_ms=1500)  # each of the four names is drawn many times
    generator.begin(given)
    time.sleep(max(0.0, (given.window[1] - time.monotonic_ns()) / 1e9 - 0.75))
    on_their_way, looked = generator.on_their_way(), len(generator.look())
    run = generator.finish()
    assert on_their_way is not None
    assert 0 < looked < len(run.records.rows)  # here, so that a rerun looks in time
    ended = statistics(port, ALIAS)
    ended["requests"] = int(str(ended["requests"])) - int(str(began))
    stored = next(Path(str(folder)).parent.glob("shop*")) / "statistics.json"
    return Seen(run, json.loads(stored.read_text()), ended, looked, len(on_their_way))


def test_requests_and_failures_of_each_name_are_those_of_locusts_statistics(seen: Seen) -> None:
    columns, named = seen.run.records.columns, {one.request: one for one in seen.run.report.named}
    failed = columns["outcome"] != Outcome.OK
    names = [(named[one].method, named[one].name) for one in columns["request"].tolist()]
    requests = Counter(names)
    failures = Counter(name for name, bad in zip(names, failed, strict=True) if bad)
    assert {(method, name): (count, bad) for method, name, count, bad, *_ in seen.locust} == {
        name: (count, failures[name]) for name, count in requests.items()
    }
    assert set(requests) == {
        ("POST", "ask"), ("POST", "judged"), ("GET", "/nowhere?page=2"), ("GET", "/nowhere")
    }  # fmt: skip
    assert failures[("POST", "ask")] == 0
    assert failures[("POST", "judged")] == requests[("POST", "judged")] > 0
    assert failures[("GET", "/nowhere")] == requests[("GET", "/nowhere")] > 0


def test_response_times_of_each_name_are_those_of_locusts_statistics(seen: Seen) -> None:
    columns = seen.run.records.columns
    took_ms = (columns["done_ns"] - columns["intended_ns"]) / 1e6
    for method, name, _, _, average, longest in seen.locust:
        (number,) = [one.request for one in seen.run.report.named if (one.method, one.name) == (method, name)]
        mine = took_ms[columns["request"] == number]
        assert mine.mean() == pytest.approx(average, abs=1e-5)
        assert mine.max() == pytest.approx(longest, abs=1e-5)


def test_each_name_has_results_of_its_own_without_being_a_class(seen: Seen) -> None:
    found = {(one.method, one.name): one for one in by_name(seen.run.records, seen.run.report.named)}
    assert found.keys() == {(method, name) for method, name, *_ in seen.locust}
    rows = seen.run.records.in_window()
    for number, method, name in ((one.request, one.method, one.name) for one in seen.run.report.named):
        mine = rows["request"] == number
        told = found[method, name]
        assert told.requests == told.metrics["error_rate"].n == mine.sum() > 0
        failed = rows["outcome"][mine] != Outcome.OK
        assert told.metrics["error_rate"].value == failed.mean()
    assert found["POST", "ask"].metrics["latency_p50_s"].value >= 0.001
    assert found["POST", "judged"].metrics["throughput_rps"].value == 0


def test_the_class_of_the_study_has_its_requests_and_the_other_class_the_rest(seen: Seen) -> None:
    asked = sum(int(str(count)) for _, name, count, *_ in seen.locust if name == "ask")
    classes = seen.run.records.columns["class"]
    assert np.count_nonzero(classes == 0) == asked
    assert np.count_nonzero(classes == 1) == len(classes) - asked > 0


def test_the_paths_of_the_users_model_lead_to_what_is_tuned(seen: Seen) -> None:
    asked = sum(int(str(count)) for _, name, count, *_ in seen.locust if name in ("ask", "judged"))
    assert seen.server["requests"] == asked


def test_rows_can_be_seen_while_the_load_runs(seen: Seen) -> None:
    assert 0 < seen.looked < len(seen.run.records.rows)
    assert 0 <= seen.on_their_way <= 4


def test_the_records_have_warm_up_and_window_and_what_the_process_used(seen: Seen) -> None:
    assert {0, 1} <= set(seen.run.records.columns["phase"].tolist())
    assert seen.run.report.locust
    assert 0 < seen.run.report.cpu_share < 2
    assert seen.run.records.rows["sent_ns"].tolist() == seen.run.records.rows["ready_ns"].tolist()


def test_a_window_can_be_ended_early_and_another_run_follows(generator: Generator, port: int, tmp_path: Path) -> None:
    given = plan(port, tmp_path / "rows.bin", window_ms=20_000)
    generator.begin(given)
    time.sleep(max(0.0, (given.window[0] - time.monotonic_ns()) / 1e9) + 0.1)
    began = time.monotonic()
    generator.rewindow(Rewindow(given.window[0], time.monotonic_ns() + 10 * MS))
    run = generator.finish()
    assert time.monotonic() - began < 10
    (window,) = run.records.windows_ns
    assert window[0] == given.window[0]
    assert run.records.columns["intended_ns"].min() >= given.start_ns
    assert len(run.records.in_window())


def test_users_that_wait_for_an_answer_are_ended_after_a_while_and_their_requests_have_timed_out(
    generator: Generator, port: int, tmp_path: Path
) -> None:
    deploy(port, "queue__slow", service={**SERVICE, "mean_s": 60.0})
    load = UsersLoop(2, 100.0, (("ask",),), "/deployments/queue", "/deployments/queue__slow")
    given = replace(plan(port, tmp_path / "rows.bin", window_ms=300), load=load, timeout_ns=200 * MS)
    generator.begin(given)
    time.sleep(max(0.0, (given.window[1] - time.monotonic_ns()) / 1e9 - 0.05))
    on_their_way = generator.on_their_way()
    run = generator.finish()
    timed_out = run.records.columns["outcome"] == Outcome.TIMEOUT
    assert on_their_way is not None
    assert sorted(run.records.columns["intended_ns"][timed_out]) == sorted(on_their_way)
    assert len(on_their_way) > 0


def test_what_locusts_configuration_says_holds_and_what_does_not_is_told(port: int, tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(SHAPED)
    (tmp_path / "users.json").write_text('{"user_class_name": "Visitor", "tasks": ["look"]}')
    lines = [f"host = http://127.0.0.1:{port}", "config-users = users.json", "users = 9", "run-time = 1s"]
    (tmp_path / "locust.conf").write_text("\n".join(lines))
    nobody = Endpoint("127.0.0.1", 1, (), unjudged)
    own = UsersLoop(4, 100.0, (), "/deployments/queue", f"/deployments/{ALIAS}", own_host=True)
    with users_generator(tmp_path / "shop.py", None, tmp_path / "log") as generator:
        generator.ready()
        given = replace(plan(port, tmp_path / "rows.bin", window_ms=300), endpoint=nobody, load=own)
        run = generator.run(given)
    assert {one.name for one in run.report.named} == {"look"}
    assert run.report.notes == (
        "shop.py: its load shape Ramp is not used: in each measurement there are as many users as the study says "
        "(`users`)",
        "locust.conf: `users`, `run-time` not used: the study says how many users there are, how they begin and for "
        "how long, and Paretune keeps the results",
    )


def test_a_task_that_raises_before_any_request_is_told_with_its_line(port: int, tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text(RAISING)
    with users_generator(tmp_path / "broken.py", None, tmp_path / "log") as generator:
        generator.ready()
        with pytest.raises(GeneratorError) as raised:
            generator.run(plan(port, tmp_path / "rows.bin", window_ms=100))
    assert str(raised.value) == "broken.py made no request: broken.py:11: in ask KeyError: 'id'"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("import locust\nimport no_such_module\n", "shop.py:2: ModuleNotFoundError: No module named 'no_such_module'"),
        ("def task(:\n", "shop.py:1: SyntaxError: invalid syntax"),
    ],
)
def test_a_file_that_cannot_be_imported_is_told_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "shop.py").write_text(text)
    with pytest.raises(LocustfileError) as raised:
        look_into(tmp_path / "shop.py")
    assert str(raised.value) == message
