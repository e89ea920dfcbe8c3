"""Sequences on the real server: a model that adds each of them up, and answers an error where the sum is not right."""

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml

from targets.base import Config, Endpoint, TargetError
from targets.triton.options import TritonOptions
from targets.triton.target import TritonTarget
from tests.support.targets import triton_target
from tests.support.triton_models import RUNNING_SUM, write_model
from tests.support.tune import tune
from tuner.accuracy.asking import outputs_of
from tuner.load import engine
from tuner.load.generator import Generator, LoadRun
from tuner.load.plan import ClosedLoop, OpenLoop, Plan
from tuner.load.sequences import SequenceOrder
from tuner.records import Records, read_records
from tuner.request_class import RequestClass
from tuner.results import read_result
from workloads.requests import Dataset
from workloads.schedule import Schedule
from workloads.sequences import Sequences

pytestmark = pytest.mark.long

LENGTHS = np.array([1, 2, 7, 5] * 12, np.int64)
SEQUENCES = Sequences(LENGTHS, first_id=1001)
SECOND = 1_000_000_000
OLDEST: Config = {"sequence_strategy": "oldest", "max_candidate_sequences": 6, "max_sequence_idle": 50.0}


def numbers(lengths: np.ndarray = LENGTHS) -> dict[str, np.ndarray]:
    """Return numbers, each another one, and what each sequence has added up to by then."""
    values = np.random.default_rng(5).permutation(10_000)[: lengths.sum()]
    sums = np.concatenate([np.cumsum(part) for part in np.split(values, np.cumsum(lengths)[:-1])])
    return {"X": values.astype(np.int64)[:, None], "EXPECTED": sums.astype(np.int64)[:, None]}


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return Dataset(numbers(), sequences=SEQUENCES)


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("sequences") / "models", "sums", RUNNING_SUM)


@pytest.fixture(scope="module", params=["http", "grpc"])
def target(request: pytest.FixtureRequest, repository: Path) -> Iterator[TritonTarget]:
    made = triton_target(
        repository.parent / f"{request.param}.txt", model="sums", repository=repository, protocol=request.param
    )
    made.expect(["sequence_strategy", "max_candidate_sequences", "max_sequence_idle", "sequence_queue_delay",
                 "minimum_slot_utilization"])  # fmt: skip
    made.start()
    yield made
    made.stop()


def driven(
    endpoint: Endpoint, load: ClosedLoop | OpenLoop, folder: Path, sequences: Sequences | None, timeout_ns: int
) -> Records:
    order = sequences and SequenceOrder(sequences.firsts, sequences.lengths)
    plan = Plan(
        endpoint, load, time.monotonic_ns(), 0, SECOND // 2, timeout_ns, folder / "records.bin", sequences=order
    )
    engine.run(plan)
    return read_records(plan.records_path, plan.window)


def outcomes(records: Records) -> set[int]:
    """Return how requests of the load ended; those that end what is live after it leave numbers out."""
    return set(records.in_window()["outcome"].tolist())


@pytest.mark.parametrize(
    "config",
    [{"max_sequence_idle": 50.0, "sequence_queue_delay": 0.001, "minimum_slot_utilization": 0.5}, OLDEST],
    ids=str,
)
def test_every_sum_is_right_while_several_sequences_run_at_once(
    config: Config, target: TritonTarget, dataset: Dataset, tmp_path: Path
) -> None:
    deployment = target.deploy({**target.user_config(), **config}, "one")
    endpoint = deployment.endpoint(dataset)
    records = driven(endpoint, ClosedLoop(6, np.zeros(1, np.int32)), tmp_path, SEQUENCES, 60 * SECOND)
    assert outcomes(records) == {0}
    schedule = Schedule(np.arange(50, dtype=np.int64) * 9_000_000, np.zeros(50, np.int32))
    records = driven(endpoint, OpenLoop(schedule, 5), tmp_path, SEQUENCES, 60 * SECOND)
    assert outcomes(records) == {0}
    assert len(set(records.in_window()["request"].tolist())) > 5, "they go on after their first requests"
    assert 50 <= len(records.rows["request"]) <= 50 + 5, (
        "each sequence that is live at the end is ended by one request more"
    )
    deployment.retire()


def test_requests_that_do_not_follow_their_sequences_are_counted_as_wrong(
    target: TritonTarget, dataset: Dataset, tmp_path: Path
) -> None:
    """So that the test above can fail: the same requests, shuffled, are answered with errors."""
    deployment = target.deploy(target.user_config(), "wrong")
    order = np.random.default_rng(1).permutation(len(dataset)).astype(np.int32)
    records = driven(deployment.endpoint(dataset), ClosedLoop(4, order, total=40), tmp_path, None, SECOND)
    assert outcomes(records) & {1, 2}
    deployment.retire()


def test_several_processes_of_the_generator_share_the_sequences(
    target: TritonTarget, dataset: Dataset, tmp_path: Path
) -> None:
    deployment = target.deploy({**target.user_config(), **OLDEST}, "shared")
    with Generator(processes=2) as generator:
        plan = Plan(
            deployment.endpoint(dataset),
            ClosedLoop(6, np.zeros(1, np.int32)),
            time.monotonic_ns() + SECOND // 10,
            0,
            SECOND,
            60 * SECOND,
            tmp_path / "records.bin",
            sequences=SequenceOrder(SEQUENCES.firsts, SEQUENCES.lengths),
        )
        records = generator.run(plan).records
    assert outcomes(records) == {0}
    deployment.retire()


def test_a_sequence_that_a_sample_cuts_off_is_ended(target: TritonTarget, dataset: Dataset, tmp_path: Path) -> None:
    """The model serves one sequence at a time here: while one lives on, no other is answered for 50 s."""
    alone: Config = {"sequence_strategy": "oldest", "max_candidate_sequences": 1, "max_sequence_idle": 50.0}
    deployment = target.deploy({**target.user_config(), **alone}, "cut")
    one = RequestClass(dataset, timeout_s=5.0, sequences=SEQUENCES)
    with Generator() as generator:
        for items in (5, 9):  # within the third sequence
            found = outputs_of(generator, tmp_path, deployment, one, items, "sums")
            sums = [None if answer is None else int(answer["SUM"][0, 0]) for answer in found]
            assert sums == dataset.inputs["EXPECTED"][:items, 0].tolist()
    deployment.retire()


class Cutting(Generator):
    """Ends each load after 12 requests, as the end of a window does."""

    def run(self, plan: Plan) -> LoadRun:
        """Run the first 12 requests of a plan."""
        assert isinstance(plan.load, ClosedLoop)
        assert plan.load.total is not None
        return super().run(replace(plan, load=replace(plan.load, total=min(12, plan.load.total))))


def test_a_sequence_that_the_end_of_a_round_cuts_off_is_asked_again(
    target: TritonTarget, dataset: Dataset, tmp_path: Path
) -> None:
    """Its last request comes too early then, and is answered with an error."""
    deployment = target.deploy(target.user_config(), "rounds")
    one = RequestClass(replace(dataset, labels=dataset.inputs["EXPECTED"]), timeout_s=5.0, sequences=SEQUENCES)
    with Cutting() as generator:
        for items in (len(dataset), 50):
            found = outputs_of(generator, tmp_path, deployment, one, items, "sums")
            sums = [None if answer is None else int(answer["SUM"][0, 0]) for answer in found]
            assert sums == dataset.inputs["EXPECTED"][:items, 0].tolist()
    deployment.retire()


def test_a_sequence_that_fails_in_a_round_is_not_asked_again(target: TritonTarget, tmp_path: Path) -> None:
    arrays = numbers()
    sums = arrays["EXPECTED"][:, 0].tolist()
    arrays["EXPECTED"][4] += 1  # the second request of the third sequence is answered with an error
    dataset = Dataset(arrays, sequences=SEQUENCES, labels=arrays["EXPECTED"])
    deployment = target.deploy(target.user_config(), "failing")
    with Cutting() as generator:
        one = RequestClass(dataset, timeout_s=5.0, sequences=SEQUENCES)
        found = outputs_of(generator, tmp_path, deployment, one, len(dataset), "sums")
    answered = [None if answer is None else int(answer["SUM"][0, 0]) for answer in found]
    assert answered == [*sums[:4], *[None] * 6, *sums[10:]]
    deployment.retire()


def test_a_model_of_sequences_is_not_asked_without_any(target: TritonTarget, dataset: Dataset) -> None:
    target.check_requests(dataset)
    with pytest.raises(TargetError, match=r"each request has to belong to a sequence; give the workload `sequences"):
        target.check_requests(replace(dataset, sequences=None))


def test_triton_takes_sequences_and_others_say_that_they_do_not() -> None:
    assert TritonOptions(model="x", repository=Path("models")).takes_sequences


STARTS = [
    {"sequence_strategy": "oldest", "max_candidate_sequences": 4, "sequence_queue_delay": "500 us"},
    {"sequence_strategy": "direct", "minimum_slot_utilization": 0.5, "sequence_queue_delay": "500 us"},
]


@pytest.fixture
def study(repository: Path, tmp_path: Path) -> Path:
    arrays = numbers(np.full(36, 5))
    np.savez(tmp_path / "numbers.npz", **arrays, labels=arrays["EXPECTED"])
    requests = {"source": "dataset", "path": "numbers.npz", "accuracy": {"kind": "absolute_error"}}
    loops = {"closed": {"process": "closed"}, "open": {"process": "poisson", "rate": "100/s"}}
    path = tmp_path / "study.yaml"
    document = {
        "study": "sums",
        "target": {"kind": "triton", "model": "sums", "repository": str(repository)},
        "workloads": {
            name: {
                "arrival": arrival,
                "requests": requests,
                "sequences": {"length": 5, **({"at_once": 8} if name == "open" else {})},
            }
            for name, arrival in loops.items()
        },
        "space": {
            "sequence_strategy": ["direct", "oldest"],
            "max_candidate_sequences": {"values": [4, 16], "when": "sequence_strategy == oldest"},
            "minimum_slot_utilization": {"values": [0, 0.5], "when": "sequence_strategy == direct"},
            "sequence_queue_delay": ["0 us", "500 us"],
            "max_sequence_idle": ["50 s", "60 s"],
            "concurrency": [8],
        },
        "slo": {"p90": "5 s", "error_rate": "10%"},
        "search": {"budget": {"trials": 3, "time": "5 min"}, "seed": 2, "sampler": "random", "start": STARTS},
        "measure": {"warmup": "50 ms", "max_warmup": "50 ms", "window": "200 ms", "max_window": "300 ms"},
        "confirm": {"candidates": 1, "redeployments": 2, "max_redeployments": 2, "rounds": 2, "round": "0.1 s"},
    }
    path.write_text(yaml.safe_dump(document, sort_keys=False))
    return path


def test_a_study_of_a_model_of_sequences_runs_through_without_a_wrong_answer(study: Path, tmp_path: Path) -> None:
    ended = tune(study, "--out", "out", cwd=tmp_path)
    assert ended.returncode in (0, 5), ended.stderr
    result = read_result(tmp_path / "out")
    assert {one.state for one in result.trials} == {"complete"}
    points = [point for trial in result.trials for point in trial.points]
    assert points
    for point in points:
        assert set(point.outcomes) == {"ok"}, point.failures
    assert {one.config.get("sequence_strategy") for one in result.trials} == {"direct", "oldest"}
    assert 0.5 in {one.config.get("minimum_slot_utilization") for one in result.trials}
    assert result.search is not None
    assert result.search.left_out is not None
    assert any("ignored unless minimum_slot_utilization" in rule for rule in result.search.left_out.rules)
