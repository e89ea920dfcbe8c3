"""Locustfiles of the tests, as teams write them for Locust alone."""

SHOP = """
import json
from pathlib import Path

from locust import FastHttpUser, HttpUser, between, events, task


class Visitor(HttpUser):
    wait_time = between(0.001, 0.01)

    @task(3)
    def ask(self):
        self.client.post("/deployments/queue/infer", data=b"1234", headers={"Class": "1"}, name="ask")

    @task
    def miss(self):
        self.client.get("/nowhere?page=2")

    @task
    def judge(self):
        with self.client.post("/deployments/queue/infer", data=b"1", catch_response=True, name="judged") as answer:
            answer.failure("not what was asked for")


class Hurried(FastHttpUser):
    wait_time = between(0.001, 0.01)

    @task
    def ask(self):
        with self.client.post("/deployments/queue/infer", data=b"1234", name="ask", catch_response=True) as answer:
            if answer.status_code == 404:
                answer.success()

    @task
    def miss(self):
        self.client.get("/nowhere")


@events.test_stop.add_listener
def write_statistics(environment, **kwargs):
    counted = [
        [one.method, one.name, one.num_requests, one.num_failures, one.avg_response_time, one.max_response_time]
        for one in environment.stats.entries.values()
    ]
    Path("statistics.json").write_text(json.dumps(counted))
"""
"""Users of both HTTP clients, requests with and without names, failures of both kinds; Locust's own statistics."""

ASKING = """
from locust import FastHttpUser, constant, task


class Visitor(FastHttpUser):
    wait_time = constant(0.01)

    @task
    def ask(self):
        self.client.post("/deployments/queue/infer", data=b"1234", name="ask")

    @task
    def look(self):
        self.client.post("/deployments/queue/infer", data=b"12", name="look")
"""
"""Two names, of a server that answers all."""

SHAPED = (
    ASKING
    + """

from locust import LoadTestShape


class Ramp(LoadTestShape):
    def tick(self):
        return None
"""
)
"""With a load shape, which would end the test at once."""

RAISING = """
from locust import HttpUser, constant, task


class Broken(HttpUser):
    wait_time = constant(0.02)

    @task
    def ask(self):
        cart = {}
        self.client.get("/" + cart["id"])
"""
"""A task that never gets to its request."""
