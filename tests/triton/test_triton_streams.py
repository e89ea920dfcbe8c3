"""Decoupled models, asked over gRPC streams on the real server."""

from pathlib import Path

import numpy as np
import pytest

from targets.base import Context, Outcome, TargetError
from targets.triton.options import TritonOptions
from targets.triton.target import TritonTarget
from tests.conftest import MakeTriton
from tests.support.foreign_triton import ForeignTriton, foreign_triton
from tests.support.triton_models import COUNTER, drive, write_model
from tests.triton.test_triton_target import settled
from tuner.catalog import ITL, TTFT
from tuner.found_studies import write_for_server
from tuner.study.load import load_study
from tuner.timings import misplaced, values_s
from tuner.wiring import prepare
from workloads.requests import Dataset

pytestmark = pytest.mark.long

USER = {"max_batch_size": 8, "instances": 1, "max_queue_delay": 0.0, "precision": "fp32"}


@pytest.fixture
def counter(make_triton: MakeTriton, tmp_path: Path) -> TritonTarget:
    """A model that gives as many answers as it is asked for, and writes down when it sends each."""
    target = make_triton(
        model="counter",
        repository=write_model(tmp_path / "models", "counter", COUNTER),
        variants={},
        protocol="grpc",
        streaming=True,
        parameters={"log": str(tmp_path / "sent.txt")},
    )
    target.start()
    return target


def asked(*counts: int) -> Dataset:
    return Dataset({"N": np.array(counts, np.int32).reshape(-1, 1)})


def test_a_request_has_as_many_answers_as_the_model_gives(counter: TritonTarget, tmp_path: Path) -> None:
    counts = [3, 0, 1, 7, 0, 200]
    deployment = counter.deploy({}, "x")
    report, records = drive(deployment.endpoint(asked(*counts)), tmp_path)
    rows = records.rows.in_order_of("request")
    assert report.failures == ()
    assert rows["tokens"].tolist() == counts
    assert (rows["outcome"] == Outcome.OK).all()
    assert misplaced(records) == (0, 4)
    assert len(values_s(ITL, records)) == sum(max(0, count - 1) for count in counts)
    assert np.isinf(values_s(TTFT, records)).sum() == 2  # without an answer there is no first one


def test_each_answer_has_the_time_at_which_it_came(counter: TritonTarget, tmp_path: Path) -> None:
    counts = [5, 9]
    deployment = counter.deploy({}, "x")
    _, records = drive(deployment.endpoint(asked(*counts)), tmp_path, at_once=1)
    sent = [line.split() for line in (tmp_path / "sent.txt").read_text().splitlines()]
    events = records.events[records.events["tokens"] > 0]
    for row, count in enumerate(records.columns["request"]):
        came = events["at_ns"][events["row"] == row]
        left = [int(at_ns) for name, at_ns in sent if int(name) == counts[count]]
        assert len(came) == len(left) == counts[count]
        assert (came > left).all()
        assert records.columns["done_ns"][row] >= came[-1]


def test_the_first_answer_is_read_before_the_last_is_sent(make_triton: MakeTriton, tmp_path: Path) -> None:
    target = make_triton(
        model="counter",
        repository=write_model(tmp_path / "models", "counter", COUNTER),
        variants={},
        protocol="grpc",
        streaming=True,
        parameters={"log": str(tmp_path / "sent.txt"), "pause_s": 0.7},
    )
    target.start()
    _, records = drive(target.deploy({}, "x").endpoint(asked(3)), tmp_path)
    last_ns = int((tmp_path / "sent.txt").read_text().split()[-1])
    assert records.columns["first_ns"][0] < last_ns < records.columns["done_ns"][0]
    assert values_s(ITL, records).sum() > 0.7


def test_an_error_after_some_answers_is_a_failure_with_its_text(counter: TritonTarget, tmp_path: Path) -> None:
    deployment = counter.deploy({}, "x")
    report, records = drive(deployment.endpoint(asked(2, -2)), tmp_path)
    assert sorted(records.columns["outcome"].tolist()) == [Outcome.OK, Outcome.GRPC_ERROR]
    assert report.failures[0].text == "counted backwards"
    deployment.ask_once(asked(2))
    with pytest.raises(TargetError, match="counted backwards"):
        deployment.ask_once(asked(-2))


def test_a_model_that_gives_one_answer_is_right_over_a_stream_too(
    make_triton: MakeTriton, digits: Dataset, tmp_path: Path
) -> None:
    target = make_triton(protocol="grpc", streaming=True, tensors="shared_memory")
    target.start()
    deployment = target.deploy(USER, "x")
    target.check_requests(digits)
    report, records = drive(deployment.endpoint(digits), tmp_path)
    assert set(records.columns["tokens"]) == {1}
    assert digits.labels is not None
    right = sum(
        np.argmax(deployment.outputs(answer)["LOGITS"]) == digits.labels[index] for index, answer in report.answers
    )
    assert 0.97 <= right / 600 <= 1.0


def test_an_export_of_a_decoupled_model_loads_and_answers(counter: TritonTarget) -> None:
    counter.verify(counter.export({"instances": 2}), asked(3))


SEEDED = (
    COUNTER[0].replace(
        '{ name: "N" ', '{ name: "SEED" data_type: TYPE_INT32 dims: [ 1 ] optional: true }, { name: "N" '
    ),
    COUNTER[1],
)
"""The same with an input that may be left out, as the backends of language models have several."""


def remote(folder: Path, server: ForeignTriton, **options: object) -> TritonTarget:
    given = {"model": server.model, "launch": "remote", "protocol": "grpc", "grpc_url": server.grpc_url, **options}
    return TritonTarget(TritonOptions.model_validate(given), Context(folder, folder / "log.txt"))


def test_a_server_that_runs_already_is_asked_over_streams_too(tmp_path: Path) -> None:
    write_model(tmp_path / "models", "counter", SEEDED)
    counts = [3, 0, 1, 7, 0, 50]
    with foreign_triton(tmp_path, "explicit", model="counter") as server:
        with pytest.raises(TargetError, match=r"'counter' is decoupled: .* and `streaming: true`"):
            remote(tmp_path, server)
        found = load_study(write_for_server(server.url, tmp_path / "found", None))
        assert found.spec.target.streams
        assert prepare(found, tmp_path / "log.txt").workloads
        before = server.config()
        target = remote(tmp_path, server, streaming=True, parameters={"log": str(tmp_path / "sent.txt")})
        target.check_requests(asked(*counts))
        target.start()
        deployment = target.deploy({"instances": 2}, "x")
        first = deployment.statistics()()
        report, records = drive(deployment.endpoint(asked(*counts)), tmp_path)
        rows = records.rows.in_order_of("request")
        assert report.failures == ()
        assert rows["tokens"].tolist() == counts
        assert (rows["outcome"] == Outcome.OK).all()
        assert len(values_s(ITL, records)) == 2 + 6 + 49
        assert len((tmp_path / "sent.txt").read_text().splitlines()) == sum(counts), "parameters go along"
        counted = settled(deployment, first.requests + len(counts))
        assert counted.requests - first.requests == len(counts)
        target.verify(target.export({}), asked(2))
        with pytest.raises(TargetError, match="counted backwards"):
            target.verify(target.export({}), asked(-2))
        assert target.environment()["protocol"] == "grpc, binary tensors, streamed"
        target.stop()
        assert server.config() == before


def test_a_decoupled_model_that_is_not_asked_over_a_stream_is_refused(make_triton: MakeTriton, tmp_path: Path) -> None:
    repository = write_model(tmp_path / "models", "counter", COUNTER)
    with pytest.raises(
        TargetError, match=r"target.model: 'counter' is decoupled: .* `protocol: grpc` and `streaming: tr"
    ):
        make_triton(model="counter", repository=repository, variants={}, protocol="grpc")


def test_labels_of_a_decoupled_model_are_refused(make_triton: MakeTriton, tmp_path: Path) -> None:
    repository = write_model(tmp_path / "models", "counter", COUNTER)
    target = make_triton(model="counter", repository=repository, variants={}, protocol="grpc", streaming=True)
    with pytest.raises(TargetError, match="the requests have labels, but the model is decoupled"):
        target.check_requests(Dataset({"N": np.ones((2, 1), np.int32)}, np.array([0, 1])))
