"""Accuracy and differences of INT8 against FP32, through the real server."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from targets.base import TargetError
from targets.triton.target import TritonTarget
from tests.conftest import DIGITS, STUDIES, MakeTriton
from tests.support.foreign_triton import foreign_triton
from tests.support.targets import triton_target
from tests.support.triton_models import HALVES, WHOLES, write_model
from tuner.accuracy.answers import Outputs
from tuner.accuracy.asking import outputs_of
from tuner.accuracy.scored import scorings_of
from tuner.accuracy.scoring import Cosine, Scoring, TopK
from tuner.accuracy.variants import UNLABELLED_ITEMS, Accuracies
from tuner.load.generator import Generator
from tuner.metrics import violations
from tuner.request_class import RequestClass
from tuner.verdicts import slo_verdicts
from tuner.workload import Workload
from workloads.datasets import load_dataset
from workloads.labels import Labels
from workloads.requests import Dataset

pytestmark = pytest.mark.long

USER = {"max_batch_size": 8, "instances": 1, "max_queue_delay": 0.0}


def workload(dataset: Dataset, scoring: Scoring | None, labels: Labels | None) -> Workload:
    one = RequestClass(replace(dataset, labels=labels), timeout_s=5.0, scoring=scoring)
    return Workload("steady", (one,), None, 1, keep_alive=True, seed=0)


def learnt(target: TritonTarget, made: Workload, variants: Sequence[str], folder: Path) -> tuple[Accuracies, list[int]]:
    """Ask each variant in turn, the first of them as the baseline; return what is known and how many items it took."""
    known = Accuracies(scorings_of([made]), compares=True, folder=folder / "answers", reference=variants[0])
    asked: list[int] = []
    folder.mkdir(exist_ok=True)
    with Generator() as generator:
        for name in variants:
            deployment = target.deploy({**USER, "precision": name}, "accuracy")

            def ask(
                of: Workload, one: RequestClass, items: int, served: object = deployment
            ) -> Sequence[Outputs | None]:
                asked.append(items)
                return outputs_of(generator, folder, served, one, items, of.name)  # type: ignore[arg-type]

            known.learn(name, [made], ask)
            deployment.retire()
    return known, asked


@pytest.fixture(scope="module")
def logits(digits: Dataset) -> dict[str, np.ndarray]:
    """What ONNX Runtime makes of every digit without a server, by the name of the variant."""
    files = {"fp32": "model.onnx", "int8": "model.int8.onnx"}
    return {
        name: onnxruntime.InferenceSession(
            str(DIGITS / "models" / "digits" / "1" / file), providers=["CPUExecutionProvider"]
        ).run(None, {"image": digits.inputs["IMAGE"]})[0]
        for name, file in files.items()
    }


@pytest.mark.parametrize("k", [1, 2])
def test_top_k_is_what_the_model_gives_without_a_server(
    k: int, triton: TritonTarget, digits: Dataset, logits: dict[str, np.ndarray], tmp_path: Path
) -> None:
    known, _ = learnt(triton, workload(digits, TopK(k), digits.labels), ["fp32", "int8"], tmp_path)
    assert digits.labels is not None
    for name in ("fp32", "int8"):
        among = np.any(np.argsort(-logits[name])[:, :k] == digits.labels[:, None], axis=1)
        found = known.metrics(name, "steady")["accuracy"]
        assert found.n == 600
        assert found.value == pytest.approx(among.mean(), abs=1.5 / 600)
        assert found.low < found.value


def test_answers_differ_from_the_baselines_as_without_a_server(
    triton: TritonTarget, digits: Dataset, logits: dict[str, np.ndarray], tmp_path: Path
) -> None:
    known, asked = learnt(triton, workload(digits, TopK(), digits.labels), ["fp32", "int8", "fp32"], tmp_path)
    assert asked == [600, 600], "a variant is asked once"
    assert set(known.metrics("fp32", "steady")) == {"accuracy", "accuracy_drop"}
    found, apart = known.metrics("int8", "steady"), np.abs(logits["fp32"] - logits["int8"])
    assert found["answer_difference_max"].value == pytest.approx(apart.max(), rel=0.05)
    assert found["answer_difference_mean"].value == pytest.approx(apart.mean(), rel=0.05)
    assert found["answer_difference_mean"].low < apart.mean() < found["answer_difference_mean"].high


def test_answers_without_labels_are_compared_too(triton: TritonTarget, digits: Dataset, tmp_path: Path) -> None:
    known, asked = learnt(triton, workload(digits, None, None), ["fp32", "int8"], tmp_path)
    assert asked == [UNLABELLED_ITEMS] * 2
    found = known.metrics("int8", "steady")
    assert set(found) == {"answer_difference_max", "answer_difference_mean"}
    assert 0 < found["answer_difference_mean"].value < found["answer_difference_max"].value


def test_a_later_session_compares_with_the_answers_that_were_kept(
    triton: TritonTarget, digits: Dataset, tmp_path: Path
) -> None:
    made = workload(digits, TopK(), digits.labels)
    whole, _ = learnt(triton, made, ["fp32", "int8"], tmp_path / "whole")
    first, _ = learnt(triton, made, ["fp32"], tmp_path / "parts")
    second = Accuracies(first.scorings, compares=True, folder=tmp_path / "parts" / "answers", reference="fp32")
    second.restore(first.stored())
    with Generator() as generator:
        deployment = triton.deploy({**USER, "precision": "int8"}, "later")
        second.learn(
            "int8", [made], lambda of, one, items: outputs_of(generator, tmp_path, deployment, one, items, of.name)
        )
        deployment.retire()
    for key, expected in whole.metrics("int8", "steady").items():
        assert second.metrics("int8", "steady")[key].value == pytest.approx(expected.value, rel=0.05, abs=0.01)
    again = Accuracies(first.scorings, reference="fp32")
    again.restore(second.stored())
    assert again.metrics("int8", "steady") == second.metrics("int8", "steady")


def test_an_embedding_is_judged_by_its_cosine_with_a_reference(
    triton: TritonTarget, digits: Dataset, logits: dict[str, np.ndarray], tmp_path: Path
) -> None:
    """The reference is what FP32 gives, so its own similarity is 1 and that of INT8 a little less."""
    made = workload(digits, Cosine(), logits["fp32"].astype(np.float64))
    known, _ = learnt(triton, made, ["fp32", "int8"], tmp_path)
    own, other = (known.metrics(name, "steady") for name in ("fp32", "int8"))
    assert own["accuracy"].value == pytest.approx(1.0, abs=1e-5)
    assert 0.99 < other["accuracy"].value < 1 - 1e-5
    drop = other["accuracy_drop"]
    assert 0 < drop.low < drop.value < drop.high < 0.01


@pytest.fixture(scope="module")
def language(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TritonTarget]:
    variants = {
        "fp32": {"parameters": {"model_file": "model.onnx"}},
        "int8": {"parameters": {"model_file": "model.int8.onnx"}},
    }
    log = tmp_path_factory.mktemp("language") / "log.txt"
    target = triton_target(log, model="language", repository=STUDIES / "language" / "models", variants=variants)
    target.start()
    yield target
    target.stop()


def test_a_loose_bound_admits_int8_and_a_tight_one_refuses_it(language: TritonTarget, tmp_path: Path) -> None:
    texts = load_dataset(STUDIES / "language" / "test.jsonl")
    one = RequestClass(texts, timeout_s=5.0, scoring=TopK())
    made = Workload("steady", (one,), None, 1, keep_alive=True, seed=0)
    known, _ = learnt(language, made, ["fp32", "int8"], tmp_path)
    found = known.metrics("int8", "steady")
    assert slo_verdicts(found, {"accuracy_drop": 0.04}) == {"accuracy_drop": "met"}
    assert violations(found, {"accuracy_drop": 0.04})["accuracy_drop"] < 0
    assert violations(found, {"accuracy_drop": 0.002})["accuracy_drop"] > 0
    assert slo_verdicts(found, {"accuracy": 0.6}) == {"accuracy": "met"}
    assert slo_verdicts(found, {"accuracy": 0.9}) == {"accuracy": "missed"}
    assert violations(found, {"accuracy": 0.9})["accuracy"] > 0


@pytest.fixture
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[dict[str, object]]:
    """Where the server of the model `whole` is: started by the target, or there already."""
    repository = write_model(tmp_path / "models", "whole", WHOLES)
    if request.param == "local":
        yield {"model": "whole", "repository": repository}
        return
    with foreign_triton(tmp_path, "explicit", model="whole") as server:
        yield {"model": "whole", "repository": repository, "launch": "remote", "grpc_url": server.grpc_url}


def half_of(place: Mapping[str, object], of_type: str) -> dict[str, object]:
    """Return the variant in half precision: a model of its own, or where that cannot be an overlay."""
    if "launch" not in place:
        write_model(Path(str(place["repository"])), "half", (HALVES[0].replace("BF16", of_type), HALVES[1]))
        return {"model": "half"}
    return {
        "input": [{"name": "X", "data_type": f"TYPE_{of_type}", "dims": [4]}],
        "output": [{"name": "Y", "data_type": f"TYPE_{of_type}", "dims": [4]}],
    }


@pytest.mark.parametrize(
    ("of_type", "most", "protocol", "outputs", "place"),
    [
        ("BF16", 256, "http", "inline", "local"),
        ("BF16", 256, "http", "shared_memory", "local"),
        ("BF16", 256, "grpc", "inline", "remote"),
        ("FP16", 2048, "http", "inline", "local"),
    ],
    indirect=["place"],
)
def test_a_variant_in_half_precision_is_asked_the_same_and_scored(
    of_type: str,
    most: int,
    protocol: str,
    outputs: str,
    place: dict[str, object],
    make_triton: MakeTriton,
    tmp_path: Path,
) -> None:
    """BF16 keeps 8 bits of a number: 257 becomes 256, which is no longer above the 256 beside it; FP16 keeps 11."""
    variants = {"fp32": {}, "half": half_of(place, of_type)}
    target = make_triton(**place, variants=variants, protocol=protocol, outputs=outputs)
    rows = np.array([[1, 2, 0, 0], [most, most + 1, 0, 0]], np.float32)
    made = workload(Dataset({"X": rows}), TopK(), np.array([1, 1]))
    target.check_requests(made.classes[0].dataset)
    target.start()
    known = Accuracies(scorings_of([made]), compares=True, folder=tmp_path / "answers", reference="fp32")
    with Generator() as generator:
        for name in variants:
            deployment = target.deploy({"precision": name}, "accuracy")
            known.learn(
                name,
                [made],
                lambda of, one, items, served=deployment: outputs_of(  # type: ignore[misc]
                    generator, tmp_path, served, one, items, of.name
                ),
            )
    assert [known.metrics(name, "steady")["accuracy"].value for name in variants] == [1.0, 0.5]
    assert known.metrics("half", "steady")["answer_difference_max"].value == 1.0


@pytest.mark.parametrize(
    ("taken", "dataset", "message"),
    [
        ("INT32", [[1.0] * 4], r"'X' is INT32 in the model, but float32 in the dataset; a variant is sent the same"),
        ("FP16", [[1.0, 70000.0, 0, 0]], r"'X' is FP16 in the model, which cannot hold 70000\.0"),
        ("FP32", [[1.0] * 5], r"'X' has shape \[4\] in the model, but \[5\] a row"),
    ],
)
def test_a_variant_that_cannot_take_the_requests_is_refused_before_the_start(
    taken: str, dataset: list[list[float]], message: str, make_triton: MakeTriton, tmp_path: Path
) -> None:
    own = (WHOLES[0].replace("dims: [ 4 ]", "dims: [ -1 ]"), WHOLES[1])
    other = (WHOLES[0].replace("FP32", taken), WHOLES[1])
    write_model(write_model(tmp_path / "models", "whole", own), "other", other)
    target = make_triton(model="whole", repository=tmp_path / "models", variants={"v": {}, "w": {"model": "other"}})
    with pytest.raises(TargetError, match=rf"target\.variants\.w: input {message}"):
        target.check_requests(Dataset({"X": np.array(dataset, np.float32)}))
