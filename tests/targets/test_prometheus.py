"""Numbers out of a Prometheus text exposition."""

import re

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from targets.base import TargetError
from targets.exposed import Told
from targets.prometheus import BadExposition, NoSuchSeries, parse, selector, told

TEXT = b"""
# HELP http_requests_total answered
# TYPE http_requests_total counter
http_requests_total{code="200",path="/predict"} 40
http_requests_total{code="500",path="/predict"} 2
http_requests_total{code="200",path="/health"} 5
# TYPE served counter
served 12
# TYPE waiting gauge
waiting{pool="a"} 3
waiting{pool="b"} NaN
# TYPE retries_total counter
plain_number 7.5
"""


@pytest.mark.parametrize(
    ("series", "value"),
    [
        ("http_requests_total", 47.0),
        ('http_requests_total{code="200"}', 45.0),
        ('http_requests_total{path="/predict", code="500"}', 2.0),
        ('http_requests_total{code="404"}', None),
        ("served", 12.0),
        ("waiting", 3.0),
        ('waiting{pool="b"}', None),
        ("retries_total", None),
        ("plain_number", 7.5),
    ],
)
def test_the_series_that_a_selector_means_are_summed(series: str, value: float | None) -> None:
    assert parse(TEXT).value(selector(series)) == value


def test_what_the_clients_own_library_writes_is_read() -> None:
    registry = CollectorRegistry()
    counter = Counter("requests", "answered", ["code"], registry=registry)
    counter.labels("200").inc(3)
    counter.labels("500").inc()
    Counter("refusals", "not yet one", ["reason"], registry=registry)
    Gauge("depth", "waiting", registry=registry).set(4)
    Histogram("wait_seconds", "waited", registry=registry).observe(0.25)
    exposition = parse(generate_latest(registry))
    named = ("requests_total", "depth", "wait_seconds_sum", "wait_seconds_count", "refusals_total")
    assert [exposition.value(selector(name)) for name in named] == [4.0, 4.0, 0.25, 1.0, None]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "http_request_total",
            "the server's metrics have no `http_request_total`; did you mean `http_requests_total`?",
        ),
        ("unlike", "the server's metrics have no `unlike`; there are: http_requests_total, plain_number, "),
    ],
)
def test_a_name_that_is_not_there_is_named_with_what_there_is(name: str, message: str) -> None:
    with pytest.raises(NoSuchSeries, match=re.escape(message)):
        parse(TEXT).value(selector(name))


def test_a_long_list_of_names_is_cut() -> None:
    with pytest.raises(NoSuchSeries, match=r"m00, .*m11, and 8 more$"):
        parse(b"".join(b"m%02d 1\n" % number for number in range(20))).value(selector("zzzz"))


@pytest.mark.parametrize("text", [b"<html><body>Not Found</body></html>", b"requests_total many\n", b"\xff\xfe 1\n"])
def test_a_text_that_is_no_exposition_is_refused(text: bytes) -> None:
    with pytest.raises(BadExposition, match=r"not in Prometheus' text format \(.*\); it begins with b'"):
        parse(text)


@pytest.mark.parametrize(
    "text", ["", "two names", "name 5", "name 5 6", "name{code=200}", '{code="200"} x', "# TYPE a b"]
)
def test_what_is_no_series_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected a series like `requests_total` or"):
        selector(text)


def test_numbers_are_told_as_the_server_names_them_without_those_of_other_models() -> None:
    text = b"""
# TYPE nv_inference_count counter
nv_inference_count{model="digits__candidate",version="1"} 7
nv_inference_count{model="digits__contender0",version="1"} 9
# TYPE nv_pinned_memory_pool_used_bytes gauge
nv_pinned_memory_pool_used_bytes 64
# TYPE mine gauge
mine{model="what the model likes",place="a \\"b\\""} 3
mine{model="nothing"} NaN
# TYPE took_ms histogram
took_ms_bucket{model="digits__candidate",version="1",le="5"} 1
took_ms_count{model="digits__candidate",version="1"} 1
took_ms_sum{model="digits__candidate",version="1"} 4.5
# TYPE parts_total counter
parts_total 2
"""
    assert told(text, {"digits__candidate": "digits"}) == [
        Told('nv_inference_count{model="digits",version="1"}', 7.0, grows=True),
        Told("nv_pinned_memory_pool_used_bytes", 64.0, grows=False),
        Told('mine{model="what the model likes",place="a \\"b\\""}', 3.0, grows=False),
        Told('took_ms_count{model="digits",version="1"}', 1.0, grows=True),
        Told('took_ms_sum{model="digits",version="1"}', 4.5, grows=True),
        Told("parts_total", 2.0, grows=True),
    ]
    with pytest.raises(TargetError, match="the server's metrics: not in Prometheus' text format"):
        told(b"<html>")
