"""What a study says of accuracy, checked before anything starts; what is wrong with it points at its line."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tuner.accuracy.scoring import Cosine, Own, Regression, TopK
from tuner.study.load import load_study
from tuner.study.source import StudyError
from tuner.traffic import make_workloads
from tuner.wiring import prepare

WriteStudy = Callable[..., Path]


def written(small_study: WriteStudy, accuracy: object) -> Path:
    requests = {"source": "dataset", "path": "test.npz", "accuracy": accuracy}
    study = small_study(
        workloads={"steady": {"arrival": {"process": "closed"}, "requests": requests}}, slo={"p99": "20 s"}
    )
    (study.parent / "scores.py").write_text("def f1(outputs, labels):\n    return labels * 0\n")
    return study


def refusal(study: Path) -> str:
    with pytest.raises(StudyError) as raised:
        prepare(load_study(study), study.parent / "log.txt")
    return str(raised.value)


def test_each_kind_becomes_its_scoring(small_study: WriteStudy) -> None:
    for accuracy, expected in (
        ({"kind": "top_k", "k": 5}, TopK(5)),
        ({"kind": "absolute_error"}, Regression(squared=False)),
        ({"kind": "squared_error"}, Regression(squared=True)),
        ({"kind": "cosine"}, Cosine()),
    ):
        (made,) = make_workloads(load_study(written(small_study, accuracy)))
        assert made.classes[0].scoring == expected
    study = written(small_study, {"kind": "function", "function": "scores:f1", "better": "less"})
    own = make_workloads(load_study(study))[0].classes[0].scoring
    assert isinstance(own, Own)
    assert own.is_error


def test_classes_are_judged_by_the_highest_score_where_nothing_is_said(small_study: WriteStudy) -> None:
    assert {one.classes[0].scoring for one in make_workloads(load_study(small_study()))} == {TopK(1)}


def test_a_run_is_another_one_when_the_function_changes(small_study: WriteStudy) -> None:
    study = written(small_study, {"kind": "function", "function": "scores:f1"})
    before = load_study(study).fingerprint()
    (study.parent / "scores.py").write_text("def f1(outputs, labels):\n    return labels * 0 + 1\n")
    assert load_study(study).fingerprint() != before


@pytest.mark.parametrize(
    ("accuracy", "line", "message"),
    [
        ({"kind": "top_k", "k": 0}, "k:", "Input should be greater than or equal to 1"),
        ({"kind": "best"}, "accuracy:", "`kind` must be one of 'top_k', 'absolute_error', 'squared_error', 'cosine'"),
        ({"k": 2}, "accuracy:", "`kind` must be one of 'top_k'"),
        ({"kind": "cosine", "k": 2}, "k:", "unknown key `k`"),
        ({"kind": "function", "function": "scores"}, "function:", "expected `FILE:FUNCTION`, like `scores:f1`"),
        ({"kind": "function", "function": "other:f"}, "function:", "no such file; `other:f` is the function f"),
        ({"kind": "function", "function": "scores:f"}, "function:", "scores.py has no function 'f'; it has f1"),
    ],
)
def test_a_kind_that_cannot_be_is_told_at_its_line(
    accuracy: dict[str, object], line: str, message: str, small_study: WriteStudy
) -> None:
    study = written(small_study, accuracy)
    at = next(n for n, text in enumerate(study.read_text().splitlines(), 1) if text.strip().startswith(line))
    told = refusal(study)
    assert f"study.yaml:{at}: workloads.steady.requests.accuracy" in told
    assert message in told


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        (
            {"slo": {"prediction_error": 1.0}},
            "slo.prediction_error: the requests' accuracy is no error: give `accuracy`",
        ),
        (
            {"slo": {"p99": "1 s"}, "objectives": ["maximize throughput", "minimize prediction_error"]},
            "objectives.1: the requests' accuracy is no error",
        ),
        (
            {"slo": {"p99": "1 s"}, "objectives": ["maximize accuracy", "maximize throughput"]},
            "objectives.0: accuracy cannot be the first objective: it is the same at every load",
        ),
        (
            {"slo": {"p99": "1 s"}, "objectives": ["maximize throughput", "minimize accuracy"]},
            "objectives.1: expected `maximize throughput|",
        ),
    ],
)
def test_bounds_and_objectives_have_to_go_with_the_kind(
    sections: dict[str, object], message: str, small_study: WriteStudy
) -> None:
    assert re.search(rf"study\.yaml:\d+: {re.escape(message)}", refusal(small_study(**sections)))


def test_a_bound_on_the_accuracy_of_an_error_is_refused(small_study: WriteStudy) -> None:
    study = written(small_study, {"kind": "absolute_error"})
    study.write_text(study.read_text().replace("slo:", "slo:\n  accuracy: 90%"))
    assert "slo.accuracy: the requests' accuracy is an error: give `prediction_error`" in refusal(study)
