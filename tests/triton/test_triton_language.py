"""Requests of different lengths on the real Triton: batched together, answered right however they are run."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from targets.base import Deployment, TargetError, difference
from targets.triton.target import TritonTarget
from tests.support.targets import triton_target
from tests.triton.test_triton_target import drive, settled
from workloads.datasets import Listed, load_dataset
from workloads.lengths import Uniform
from workloads.tensors import Drawn

pytestmark = pytest.mark.long

LANGUAGE = Path(__file__).parents[2] / "studies" / "language"
VARIANTS = {name: {"parameters": {"batching": name}} for name in ("padded", "bucketed", "single")}
CONFIG = {"max_batch_size": 16, "instances": 1, "max_queue_delay": 0.005}


@pytest.fixture(scope="module")
def language(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TritonTarget]:
    log = tmp_path_factory.mktemp("language") / "log.txt"
    target = triton_target(log, model="language", repository=LANGUAGE / "models", variants=VARIANTS)
    target.start()
    yield target
    target.stop()


@pytest.fixture(scope="module")
def texts() -> Listed:
    found = load_dataset(LANGUAGE / "test.jsonl")
    assert isinstance(found, Listed)
    return found


def classes(target: TritonTarget, texts: Listed, batching: str, folder: Path) -> tuple[np.ndarray, float]:
    """Return the language that each text is taken for, and the mean size of the batches."""
    deployment = target.deploy({**CONFIG, "precision": batching}, batching)
    before = deployment.statistics()()
    report, _ = drive(deployment, texts, folder, keep_answers=True)
    stats = difference(before, settled(deployment, len(texts)))
    found = np.full(len(texts), -1)
    for index, answer in report.answers:
        found[index] = np.argmax(deployment.outputs(answer)["SCORES"])
    deployment.retire()
    return found, stats.requests / stats.executions


def test_texts_of_any_length_share_batches_and_are_told_apart_however_they_are_run(
    language: TritonTarget, texts: Listed, tmp_path: Path
) -> None:
    found = {name: classes(language, texts, name, tmp_path) for name in VARIANTS}
    assert texts.labels is not None
    for name, (languages, batch) in found.items():
        assert batch > 1.5, f"{name}: hardly any batches"
        assert np.mean(languages == texts.labels) > 0.7, name
    agreed = [np.mean(found["padded"][0] == languages) for languages, _ in found.values()]
    assert min(agreed) > 0.99, "padding changes nothing but rounding"


def test_the_texts_have_many_lengths(texts: Listed) -> None:
    lengths = [len(row["TOKENS"]) for row in texts.rows]
    assert min(lengths) < 10
    assert max(lengths) > 200
    assert len(set(lengths)) > 100


def test_tensors_are_drawn_for_what_the_model_takes(language: TritonTarget, tmp_path: Path) -> None:
    source = Drawn(200, 3, {"bytes": Uniform(1, 60)}, {"TOKENS": ["bytes"]}, {"TOKENS": (1, 255)}, batch=None)
    language.check_requests(source)
    deployment: Deployment = language.deploy({**CONFIG, "precision": "bucketed"}, "drawn")
    _, records = drive(deployment, source, tmp_path)
    assert len(records.rows) == 200
    assert not records.rows["outcome"].any(), "all are ok"
    deployment.retire()


def test_several_items_a_request_are_one_request(triton: TritonTarget, tmp_path: Path) -> None:
    source = Drawn(100, 3, batch=Uniform(1, 4))
    deployment = triton.deploy({"max_batch_size": 8, "instances": 1, "max_queue_delay": 0.0}, "items")
    report, records = drive(deployment, source, tmp_path, keep_answers=True)
    assert len(records.rows) == 100
    sizes = {index: len(deployment.outputs(answer)["LOGITS"]) for index, answer in report.answers}
    assert [sizes[index] for index in range(100)] == source.drawn_lengths()["items"].tolist()
    deployment.retire()


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (Drawn(5, 1), r"input 'TOKENS' has the shape \[-1\], so `shapes` must name 1 length"),
        (Drawn(5, 1, ranges={"WORDS": (0, 1)}), "the model has no input 'WORDS'; it has TOKENS"),
    ],
)
def test_what_the_model_does_not_take_is_named_before_anything_starts(
    language: TritonTarget, source: Drawn, message: str
) -> None:
    with pytest.raises(TargetError, match=message):
        language.check_requests(source)


def test_lines_that_do_not_fit_the_model_are_named(language: TritonTarget, tmp_path: Path) -> None:
    path = tmp_path / "some.jsonl"
    path.write_text(json.dumps({"TOKENS": [1, 2]}) + "\n" + json.dumps({"TOKENS": ["a"]}) + "\n")
    with pytest.raises(TargetError, match=r"some\.jsonl: line 2: TOKENS: expected values of INT64, but got"):
        language.check_requests(load_dataset(path))
