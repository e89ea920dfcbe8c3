"""An agent looks for a master for as long as it was told to, however soon Locust itself would give up."""

import os
import subprocess
import sys
from typing import Any

import msgpack
import pytest
import zmq

from tests.support.agent_runs import TOKEN, end_agent

pytestmark = pytest.mark.long

TRIES = 3
"""Locust's own are 60, of 5 s each."""
HURRIED = f"""
from locust import runners
runners.CONNECT_TIMEOUT, runners.CONNECT_RETRY_COUNT = 0.01, {TRIES}
from tuner.load.distributed.agent import main
main()
"""
TWOFOLD = """
import socket
from tuner.load.distributed.agent import main

known = socket.getaddrinfo


def both(host, *others, **named):
    addresses = ("::1", "127.0.0.1") if host == "twofold.invalid" else (host,)
    return [found for one in addresses for found in known(one, *others, **named)]


socket.getaddrinfo = both
main()
"""
"""An agent for which a name has an address of either kind, the one of IPv6 first."""
LINKED = """
import socket
from tuner.load.distributed import agent

LO = socket.if_nametoindex("lo")
FOUND = [(socket.AF_INET, ("192.0.2.1", 5557)), (socket.AF_INET6, ("fe80::1", 5557, 0, LO))]


class Probe:
    def __init__(self, family, kind):
        self.family = family

    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass

    def settimeout(self, timeout_s):
        pass

    def connect(self, address):
        if self.family == socket.AF_INET:
            raise OSError("nobody listens")

    def getsockname(self):
        return "fe80::2", 40000, 0, LO


socket.getaddrinfo = lambda *_, **__: [(family, socket.SOCK_STREAM, 0, "", place) for family, place in FOUND]
socket.socket = Probe
print(*agent._way_to("linked.invalid", 5557))
"""
"""The way to a master on a link-local address, as a host without a network cannot have it."""
MORE = 4 * TRIES
ANSWER_S = 60


def hurried(port: int, wait_s: float, host: str = "127.0.0.1", script: str = HURRIED) -> "subprocess.Popen[str]":
    """Start an agent after whose first 50 ms Locust would give up, or that of another script."""
    command = [sys.executable, "-P", "-c", script, host, str(port), str(wait_s)]
    environment = {**os.environ, "PARETUNE_TOKEN": TOKEN}
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)


def received(master: "zmq.Socket[bytes]") -> tuple[bytes, str, Any]:
    """Return who said something to a master, of what type, and what."""
    client, word = master.recv_multipart()
    kind, data, _ = msgpack.unpackb(word)
    return client, kind, data


def test_an_agent_goes_on_when_locust_would_give_up_and_a_master_that_refuses_it_is_heard_at_once() -> None:
    with zmq.Context() as context, context.socket(zmq.ROUTER) as master:
        master.setsockopt(zmq.RCVTIMEO, 1000 * ANSWER_S)
        master.setsockopt(zmq.LINGER, 0)
        port = master.bind_to_random_port("tcp://127.0.0.1")
        agent = hurried(port, wait_s=3600.0)
        try:
            for _ in range(MORE):
                client, kind, data = received(master)
                assert kind == "client_ready"
            master.send_multipart([client, msgpack.packb(("ack", {"index": 0}, client.decode()))])
            while kind != "paretune":
                _, kind, data = received(master)
            assert data["kind"] == "hello"
            refusal = {"kind": "refused", "reason": "it came too late"}
            master.send_multipart([client, msgpack.packb(("paretune", refusal, client.decode()))])
            assert agent.wait(ANSWER_S) == 2
            assert agent.stderr is not None
            assert "the master refused this agent: it came too late" in agent.stderr.read()
        finally:
            end_agent(agent)


def test_an_agent_whose_time_is_up_says_so() -> None:
    agent = hurried(1, wait_s=1.0)
    try:
        assert agent.wait(ANSWER_S) == 3
        assert agent.stderr is not None
        assert "no master answered at 127.0.0.1:1 within 1 s" in agent.stderr.read()
    finally:
        end_agent(agent)


def test_a_name_that_is_not_known_yet_is_asked_for_until_the_time_is_up() -> None:
    agent = hurried(1, wait_s=2.5, host="nowhere.invalid")
    try:
        assert agent.wait(ANSWER_S) == 3
        assert agent.stderr is not None
        assert "no master answered at nowhere.invalid:1 within 2.5 s: " in agent.stderr.read()
    finally:
        end_agent(agent)


def test_a_name_with_addresses_of_both_kinds_stands_for_the_one_that_somebody_listens_on() -> None:
    with zmq.Context() as context, context.socket(zmq.ROUTER) as master:
        master.setsockopt(zmq.RCVTIMEO, 1000 * ANSWER_S)
        master.setsockopt(zmq.LINGER, 0)
        port = master.bind_to_random_port("tcp://127.0.0.1")
        agent = hurried(port, wait_s=ANSWER_S, host="twofold.invalid", script=TWOFOLD)
        try:
            _, kind, _ = received(master)
            assert kind == "client_ready"
        finally:
            end_agent(agent)


def test_of_a_name_that_nobody_listens_on_an_agent_says_what_it_met() -> None:
    agent = hurried(1, wait_s=2.0, host="twofold.invalid", script=TWOFOLD)
    try:
        assert agent.wait(ANSWER_S) == 3
        assert agent.stderr is not None
        assert "no master answered at twofold.invalid:1 within 2 s: " in agent.stderr.read()
    finally:
        end_agent(agent)


def test_the_way_over_a_link_local_address_keeps_its_zone_on_both_ends() -> None:
    found = subprocess.run([sys.executable, "-P", "-c", LINKED], capture_output=True, text=True, check=True)
    assert found.stdout.split() == ["fe80::1%lo", "fe80::2%lo"]
