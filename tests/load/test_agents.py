"""Load from several agents: the same as from one machine, whoever is lost, and refused to whoever has no token.

One story for all tests, since agents take their time to start: four agents in networks of their own make loads; two are
killed in one, another one in the next; at last the master is.
"""

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pytest
import zmq

from targets.base import Endpoint, Outcome
from tests.support.agent_runs import DELAY_MS, TOKEN, Networks, end_agent, networks, start_agent
from tests.support.load_runs import ends_behind_window
from tests.support.locust_page import Seen, answered, browsed, charted
from tuner.load.distributed.fleet import AgentsUnavailable, Fleet
from tuner.load.distributed.generator import AgentGenerator
from tuner.load.distributed.options import AgentsWanted
from tuner.load.generator import Generator, LoadLost, LoadRun
from tuner.load.null_server import REQUEST, NullServer
from tuner.load.plan import ClosedLoop, OpenLoop, Plan, Rewindow
from tuner.metrics import generator_report
from workloads.arrivals import Poisson
from workloads.order import Order
from workloads.schedule import make_schedule

pytestmark = pytest.mark.long

MS = 1_000_000
SCHEDULE = make_schedule(Poisson(600.0), 0.5, Order(3), seed=4)
PATIENCE_S = 60.0


def plan(endpoint: Endpoint, load: ClosedLoop | OpenLoop, folder: Path, window_ms: int = 500) -> Plan:
    return Plan(
        endpoint=replace(endpoint, requests=(REQUEST,) * 3),
        load=load,
        start_ns=0,
        warmup_ns=0,
        window_ns=window_ms * MS,
        timeout_ns=10_000 * MS,
        records_path=folder / "records.bin",
    )


def closed(concurrency: int, total: int | None = None) -> ClosedLoop:
    return ClosedLoop(concurrency, np.arange(3, dtype=np.int32), total=total)


def begin(generator: AgentGenerator, made: Plan) -> Plan:
    """Begin a plan as a measurement does."""
    lead_ns = generator.prepare(made)
    begun = replace(made, start_ns=time.monotonic_ns() + lead_ns + 30 * MS)
    generator.begin(begun)
    return begun


@dataclass
class Story:
    """What happened."""

    network: Networks
    said: list[str]
    on: dict[int, LoadRun] = field(default_factory=dict)
    single: LoadRun | None = None
    counted: LoadRun | None = None
    looked: tuple[Plan, Any, LoadRun] | None = None
    skews: list[tuple[float, float]] = field(default_factory=list)
    lost: str = ""
    locust: dict[str, Any] = field(default_factory=dict)
    charted: dict[str, Any] = field(default_factory=dict)
    page: Seen | None = None
    state: str = ""
    total: int = 0
    failed: int = 0
    refusals: list[tuple[int, str]] = field(default_factory=list)
    in_the_end: str = ""
    last: tuple[int, str] = (0, "")


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    folder = tmp_path_factory.mktemp("agents")
    with networks(4) as network, NullServer(host=network.host) as server:
        said: list[str] = []
        told = Story(network, said)
        wanted = AgentsWanted(4, network.host, 0, ui=True, wait_s=PATIENCE_S)
        with Fleet(wanted, TOKEN.encode(), said.append) as fleet:
            agents = [start_agent(network.host, fleet.port, before=network.command(index)) for index in range(4)]
            try:
                fleet.wait()
                generator = AgentGenerator(fleet)
                tell_of_four(told, generator, server.endpoint, folder)
                tell_of_strangers(told, fleet, network)
                told.locust = locust_counts(fleet.ui_port, told.total)
                told.charted = charted(fleet.ui_port, PATIENCE_S)
                told.page = browsed(fleet.ui_port)
                told.state = json.loads(answered(fleet.ui_port, "/stats/requests"))["state"]
                tell_of_the_lost(told, generator, server.endpoint, folder, agents)
            finally:
                for agent in agents:
                    end_agent(agent)
        with Generator() as alone:
            single = plan(server.endpoint, OpenLoop(SCHEDULE, 16), folder)
            told.single = alone.run(replace(single, start_ns=time.monotonic_ns() + 50 * MS))
        yield told


def tell_of_four(told: Story, generator: AgentGenerator, endpoint: Endpoint, folder: Path) -> None:
    told.on[4] = run = generator.run(plan(endpoint, OpenLoop(SCHEDULE, 16), folder))
    start_ns = run.records.windows_ns[0][0]
    skews = [agent.start_skew_s for agent in run.report.agents]
    told.skews = [
        ((theirs - start_ns) / 1e9, skew) for theirs, skew in zip(generator.starts_ns.values(), skews, strict=True)
    ]
    told.counted = generator.run(plan(endpoint, closed(6, total=101), folder, window_ms=20_000))
    refused = replace(endpoint, port=free_port())
    gone = generator.run(plan(refused, closed(4, total=20), folder, window_ms=20_000))
    told.failed = int((gone.records.rows["outcome"] != Outcome.OK).sum())
    begun = begin(generator, plan(endpoint, closed(4), folder, window_ms=60_000))
    deadline = time.monotonic() + PATIENCE_S
    while len(seen := generator.look()) < 200:
        assert time.monotonic() < deadline, "no requests to be seen"
        time.sleep(0.01)
    ahead_ns = generator.ahead_ns
    window = Rewindow(time.monotonic_ns() + ahead_ns, time.monotonic_ns() + ahead_ns + 1_000 * MS)
    generator.rewindow(window)
    told.looked = window.of(begun), seen, generator.finish()
    told.total = sum(len(one.records.rows) for one in (run, told.counted, gone, told.looked[2]))


def tell_of_strangers(told: Story, fleet: Fleet, network: Networks) -> None:
    strangers = [start_agent(network.host, fleet.port, token=token) for token in ("another token, as long", TOKEN)]
    for stranger in strangers:
        _, words = stranger.communicate(timeout=PATIENCE_S)
        told.refusals.append((stranger.returncode, words))
    shout(network.host, fleet.port)
    fleet.refresh()  # hands over what the master has to say


def shout(host: str, port: int) -> None:
    """Send the master what nobody should: no msgpack, no message, and messages of Locust's in the name of others."""
    stats = {"stats": [], "stats_total": {"name": "Aggregated", "method": "", "num_requests": 1 << 20}, "errors": {}}
    bad_date = {"__datetime__": True, "as_str": "never"}
    messages = [
        b"\xc1 no msgpack",
        msgpack.packb(3),
        msgpack.packb(("client_ready", "2.47.0", "stranger")),
        msgpack.packb(("client_ready", bad_date, "stranger")),
        msgpack.packb(("locustfile", {"version": "2"}, "stranger")),
        msgpack.packb(("stats", stats, "stranger")),
        msgpack.packb(("quit", None, "somebody else")),
        msgpack.packb(("paretune", {"sealed": b"x" * 100}, "stranger")),
        msgpack.packb(("paretune", {"kind": "hello", "hello": {"cores": bad_date}, "nonce": b""}, "stranger")),
        msgpack.packb(("paretune", {"kind": "proof", "proof": b"x" * 32}, "stranger")),
    ]
    with zmq.Context() as context, context.socket(zmq.DEALER) as stranger:
        stranger.setsockopt(zmq.IDENTITY, b"stranger")
        stranger.connect(f"tcp://{host}:{port}")
        for one in messages:
            stranger.send(one)
        stranger.close(linger=5_000)


def tell_of_the_lost(
    told: Story, generator: AgentGenerator, endpoint: Endpoint, folder: Path, agents: list["subprocess.Popen[str]"]
) -> None:
    begin(generator, plan(endpoint, OpenLoop(SCHEDULE, 16), folder))
    for agent in agents[:2]:
        os.kill(agent.pid, signal.SIGKILL)
    try:
        generator.finish()
    except LoadLost as error:
        told.lost = str(error)
    told.on[2] = generator.run(plan(endpoint, OpenLoop(SCHEDULE, 16), folder))
    os.kill(agents[2].pid, signal.SIGKILL)
    told.on[1] = generator.run(plan(endpoint, OpenLoop(SCHEDULE, 16), folder))
    os.kill(generator.fleet.pid, signal.SIGKILL)
    _, words = agents[3].communicate(timeout=PATIENCE_S)
    told.last = agents[3].returncode, words
    try:
        generator.prepare(plan(endpoint, closed(1), folder))
    except AgentsUnavailable as error:
        told.in_the_end = str(error)


def locust_counts(port: int, requests: int) -> dict[str, Any]:
    """Return the line of all requests in Locust's web interface, when its workers have reported."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        found = json.loads(answered(port, "/stats/requests"))
        (total,) = [one for one in found["stats"] if one["name"] == "Aggregated"]
        if total["num_requests"] >= requests or time.monotonic() > deadline:
            return {**total, "errors": found["errors"]}
        time.sleep(0.2)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.parametrize("count", [1, 2, 4])
def test_agents_offer_the_schedule_of_one_machine(story: Story, count: int) -> None:
    assert story.single is not None
    merged, single = (
        np.stack([rows["intended_ns"] - run.records.windows_ns[0][0], rows["request"]])
        for run in (story.on[count], story.single)
        for rows in [run.records.rows.in_order_of("intended_ns")]
    )
    assert np.array_equal(merged[0], SCHEDULE.offsets_ns)
    assert np.array_equal(merged, single)
    assert len(set(story.on[count].records.rows["worker"].tolist())) == count
    assert np.all(story.on[count].records.rows["outcome"] == Outcome.OK)


def test_each_agent_says_what_it_did(story: Story) -> None:
    report = generator_report(story.on[4].records, story.on[4].report)
    assert report.processes == 4
    assert sum(agent.requests for agent in report.agents) == len(SCHEDULE)
    assert [agent.name.split(" (")[0] for agent in report.agents] == [f"agent {number}" for number in (1, 2, 3, 4)]
    assert all(agent.cpu_share > 0 and agent.cores == len(os.sched_getaffinity(0)) for agent in report.agents)
    assert sum("is there" in line for line in story.said) == 4
    if story.network.namespaces:
        assert len({agent.name.split(", ")[1] for agent in report.agents}) == 4


def test_the_starts_are_not_farther_apart_than_is_said(story: Story) -> None:
    # Agents of one host have one monotonic clock: what the clocks seem to differ by is what the starts are off by.
    assert len(story.skews) == 4
    for off_s, bound_s in story.skews:
        assert abs(off_s) <= bound_s + 1e-9
    if story.network.delayed:
        assert all(bound_s >= DELAY_MS / 2e3 for _, bound_s in story.skews)


def test_a_closed_loop_is_split(story: Story) -> None:
    assert story.counted is not None
    rows = story.counted.records.rows
    assert len(rows) == 101
    assert np.bincount(rows["worker"]).tolist() == [26, 25, 25, 25]


def test_a_running_load_can_be_looked_at_and_ended(story: Story) -> None:
    assert story.looked is not None
    begun, seen, run = story.looked
    assert set(seen["outcome"]) == {Outcome.OK}
    assert seen["intended_ns"].min() >= begun.start_ns
    assert run.records.windows_ns == [begun.window]
    rows = run.records.rows
    assert len(rows) > len(seen)
    assert set(seen["done_ns"].tolist()) <= set(rows["done_ns"].tolist())
    assert ends_behind_window(run.records, 4)


def test_the_statistics_of_locust_count_what_the_records_count(story: Story) -> None:
    assert story.locust["num_requests"] == story.total
    assert story.locust["num_failures"] == story.failed == 20
    assert sum(one["occurrences"] for one in story.locust["errors"]) == 20


def test_the_page_of_locust_shows_the_statistics_and_has_a_history(story: Story) -> None:
    assert story.charted["state"] == "running"  # in any other the page shows a form, and charts get nothing
    assert any(one["total_avg_response_time"][1] > 0 for one in story.charted["history"])
    assert story.page is not None
    assert story.page.requests == story.total


def test_the_buttons_of_the_page_change_no_load(story: Story) -> None:
    assert story.page is not None
    for answer in (story.page.edited, story.page.stopped):
        assert not answer["success"]
        assert answer["message"] == "Paretune says when load is made, and how much: nothing was changed"
    assert story.state == "running"
    assert len(story.on[2].report.agents) == 2  # loads go on afterwards


def test_a_wrong_token_is_refused_on_both_sides(story: Story) -> None:
    code, words = story.refusals[0]
    assert code == 2
    assert "has another PARETUNE_TOKEN: it has to be the same on both sides" in words
    assert any("was refused: its PARETUNE_TOKEN is not the one of this run" in line for line in story.said)


def test_what_strangers_say_changes_nothing(story: Story) -> None:
    assert story.locust["num_requests"] == story.total  # theirs are not counted
    assert len(story.on[2].report.agents) == 2  # the master has gone on


def test_an_agent_too_many_is_refused(story: Story) -> None:
    code, words = story.refusals[1]
    assert code == 2
    assert "the run has the 4 agents that it asked for" in words


def test_a_measurement_that_agents_were_lost_in_names_them(story: Story) -> None:
    assert story.lost.count("agent ") == 2
    assert "not been heard of" in story.lost
    assert any(note.startswith("made by 2 agents: lost agent ") for note in story.on[2].report.notes)


def test_a_load_is_made_again_by_those_that_are_left(story: Story) -> None:
    assert len(story.on[1].report.agents) == 1
    assert any(note.startswith("made by 1 agent: lost agent ") for note in story.on[1].report.notes)


def test_an_agent_says_that_its_master_has_vanished(story: Story) -> None:
    code, words = story.last
    assert code == 3
    assert "has vanished: nothing of it for 10 s" in words


def test_the_run_says_that_locusts_master_has_ended(story: Story) -> None:
    assert "Locust's master ended" in story.in_the_end
