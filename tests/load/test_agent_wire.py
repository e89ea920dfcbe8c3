"""What travels between master and agents arrives as it was; addresses and options say what is wrong with them."""

import socket
import ssl
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import trustme

from targets.base import Endpoint, Outcome, Tls
from tuner.load.distributed import options, wire
from tuner.load.distributed.trust import AgentsUsageError
from tuner.load.generator import GeneratorError
from tuner.load.null_server import REQUEST, judge
from tuner.load.plan import ClosedLoop, Failure, Plan, RunReport
from tuner.load.wire import connection
from tuner.records import EVENT, ROW, WINDOW, Records

ENDPOINT = Endpoint("10.0.0.5", 8000, (REQUEST, b"another"), judge)
PLAN = Plan(ENDPOINT, ClosedLoop(4, np.arange(2, dtype=np.int32)), 5, 6, 7, 8, Path("here"))


def test_a_plan_arrives_as_it_was_with_a_place_for_its_records() -> None:
    _, endpoint = wire.packed_endpoint(ENDPOINT)
    made = wire.unpacked_plan(wire.packed_plan(PLAN), endpoint, Path("there"))
    assert made.endpoint == ENDPOINT
    assert made.records_path == Path("there")
    assert np.array_equal(made.load.order, PLAN.load.order) if isinstance(made.load, ClosedLoop) else False
    assert (made.start_ns, made.warmup_ns, made.window_ns, made.timeout_ns) == (5, 6, 7, 8)


def test_a_plan_travels_without_its_requests() -> None:
    large = replace(PLAN, endpoint=replace(ENDPOINT, requests=(b"x" * 100_000,)))
    assert len(wire.packed_plan(large)) < 10_000


def test_requests_that_are_the_same_have_the_same_name() -> None:
    same = Endpoint("10.0.0.5", 8000, (REQUEST, b"another"), judge)
    assert wire.packed_endpoint(ENDPOINT)[0] == wire.packed_endpoint(same)[0]
    assert wire.packed_endpoint(ENDPOINT)[0] != wire.packed_endpoint(replace(ENDPOINT, port=1))[0]


def test_certificates_to_trust_travel_with_the_requests(tmp_path: Path) -> None:
    authority, file = trustme.CA(), tmp_path / "ca.pem"
    file.write_bytes("# Főtanúsítvány\n".encode() + authority.cert_pem.bytes())
    trusting = replace(ENDPOINT, tls=Tls(file, server_name="model.example"))
    _, endpoint = wire.packed_endpoint(trusting)
    file.unlink()
    made = wire.unpacked_plan(wire.packed_plan(PLAN), endpoint, Path("there")).endpoint.tls
    assert made is not None
    assert (made.ca, made.server_name) == (None, "model.example")
    (trusted,) = connection._context(made, ["http/1.1"]).get_ca_certs(binary_form=True)
    assert trusted == ssl.PEM_cert_to_DER_cert(authority.cert_pem.bytes().decode())
    with pytest.raises(GeneratorError, match=rf"certificates to trust cannot be read: {file}: No such file"):
        wire.packed_endpoint(trusting)


def test_what_is_no_plan_is_an_error() -> None:
    _, endpoint = wire.packed_endpoint(ENDPOINT)
    with pytest.raises(TypeError, match="a plan and an endpoint were expected"):
        wire.unpacked_plan(endpoint, endpoint, Path("there"))


def test_a_report_arrives_as_it_was() -> None:
    failure = Failure(Outcome.HTTP_ERROR, 503, "overloaded")
    report = RunReport(3, 0.5, 1, 0.01, 2, 0, (failure,), ((1, b"one"), (0, b"")), spare_s=-0.25, kept_share=0.125)
    assert wire.report_of(wire.plain_report(report), wire.packed_answers(report.answers)) == report


@pytest.mark.parametrize("cut", [1, 9])
def test_answers_that_are_cut_off_are_an_error(cut: int) -> None:
    data = wire.packed_answers(((1, b"one"),))
    with pytest.raises(ValueError, match="cut off"):
        wire.unpacked_answers(data[:-cut])


def test_records_arrive_on_the_clock_of_this_host() -> None:
    rows = np.zeros(2, ROW)
    rows["intended_ns"], rows["done_ns"], rows["worker"], rows["phase"] = [100, 101], [110, 120], [0, 1], WINDOW
    events = np.array([(1, 3, 115)], EVENT)
    sent = Records({name: rows[name] for name in ROW.names or ()}, [(100, 200)], events)
    came = wire.unpacked_records(wire.packed_rows(sent), events.tobytes(), 1000, 6, (1100, 1200))
    assert came.rows["intended_ns"].tolist() == [1100, 1101]
    assert came.rows["done_ns"].tolist() == [1110, 1120]
    assert came.rows["sent_ns"].tolist() == [0, 0]  # what never happened did not happen here either
    assert came.rows["worker"].tolist() == [6, 7]
    assert came.events["at_ns"].tolist() == [1115]
    assert came.windows_ns == [(1100, 1200)]
    assert wire.shifted_rows(rows.tobytes(), 1000)["done_ns"].tolist() == [1110, 1120]


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("gpu-1", ("gpu-1", 5557)),
        ("10.0.0.5:7000", ("10.0.0.5", 7000)),
        ("a:0", ("a", 0)),
        ("::1", ("::1", 5557)),
        ("[::1]", ("::1", 5557)),
        ("[fd00::5]:7000", ("fd00::5", 7000)),
        ("[fe80::1%eth0]:0", ("fe80::1%eth0", 0)),
    ],
)
def test_an_address_has_the_port_of_locust_where_it_names_none(text: str, address: tuple[str, int]) -> None:
    assert options.address_of(text) == address


@pytest.mark.parametrize(("host", "written"), [("10.0.0.5", "10.0.0.5:7000"), ("fd00::5", "[fd00::5]:7000")])
def test_an_address_is_written_so_that_it_is_read_again(host: str, written: str) -> None:
    assert options.spelled(host, 7000) == written
    assert options.address_of(written) == (host, 7000)


@pytest.mark.parametrize(
    ("address", "host"),
    [
        (("10.0.0.5", 5557), "10.0.0.5"),
        (("fd00::5", 5557, 0, 0), "fd00::5"),
        (("fe80::5", 5557, 0, socket.if_nametoindex("lo")), "fe80::5%lo"),
    ],
)
def test_the_host_of_a_link_local_address_has_its_zone(address: tuple[str | int, ...], host: str) -> None:
    assert options.host_of(address) == host
    assert options.address_of(options.spelled(host, 5557)) == (host, 5557)


@pytest.mark.parametrize(
    "text",
    ["", ":5557", "gpu-1:", "gpu-1:x", "gpu-1:70000", "a:b:c", "[]:1", "[::1", "[::1]1", "[::1]:", "[10.0.0.5]:1"],
)
def test_what_is_no_address_is_an_error(text: str) -> None:
    with pytest.raises(AgentsUsageError, match="is no address: write HOST or HOST:PORT"):
        options.address_of(text)


@pytest.mark.parametrize(
    ("bind", "wait", "ui", "option"),
    [
        ("10.0.0.5", None, False, "--agents-bind"),
        (None, "1 min", False, "--agents-wait"),
        (None, None, True, "--locust-ui"),
    ],
)
def test_options_about_agents_need_agents(bind: str | None, wait: str | None, ui: bool, option: str) -> None:
    with pytest.raises(AgentsUsageError, match=f"{option} is about agents: say how many with --agents N"):
        options.agents_wanted(None, bind, wait, ui=ui)


def test_agents_are_waited_for_as_long_as_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PARETUNE_TOKEN", "a token of the tests' own")
    waits = [options.agents_wanted(2, None, wait, ui=False) for wait in (None, "20 min")]
    assert [one.wait_s for one in waits if one is not None] == [300.0, 1200.0]
    with pytest.raises(AgentsUsageError, match=r"--agents-wait: expected a duration with a unit, .* got '20'"):
        options.agents_wanted(2, None, "20", ui=False)


def test_without_locust_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(options, "find_spec", lambda _: None)
    with pytest.raises(AgentsUsageError, match=r"pip install 'paretune\[locust\]'"):
        options.check_able({})


@pytest.mark.parametrize(("address", "local"), [("127.0.0.1", True), ("10.0.0.5", False), ("localhost", True)])
def test_a_loopback_address_is_of_this_host_alone(address: str, local: bool) -> None:
    assert options.AgentInfo(0, "gpu-1", address, 4).is_local == local
