"""result.json: its numbers, its schema, reading and writing."""

import json
import math
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from result_builders import point, result, trial

from targets.base import Value
from tuner.files import write_atomically
from tuner.results import (
    SCHEMA,
    Closest,
    Estimate,
    Point,
    ResultError,
    Trial,
    read_result,
    result_schema,
    to_json,
)
from tuner.rundir import StudyMark, open_run

FULL = result(
    trial(0, point(), point("bursty", mode="open", level=500), config={"instances": 1, "precision": "fp32"}),
    trial(1, point(p99=math.inf), config={"instances": 2, "max_queue_delay": 0.001, "on": True}),
    trial(2, state="refused"),
)


def stored(folder: Path, document: str) -> Path:
    (folder / "result.json").write_text(document)
    return folder


def valid(document: str) -> None:
    jsonschema.validate(json.loads(document), result_schema(), cls=jsonschema.Draft202012Validator)


# Numbers.


def test_infinite_bounds_are_stored_as_null() -> None:
    one = Estimate(value=1.5, low=-math.inf, high=math.inf, n=7)
    assert json.loads(one.model_dump_json()) == {"value": 1.5, "low": None, "high": None, "n": 7, "note": None}


@given(
    st.floats(allow_nan=False) | st.just(math.inf),
    st.floats(allow_nan=False, allow_infinity=False) | st.just(-math.inf),
    st.floats(allow_nan=False, allow_infinity=False) | st.just(math.inf),
)
def test_an_estimate_comes_back_as_it_was(value: float, low: float, high: float) -> None:
    one = Estimate(value=abs(value), low=low, high=high, n=3)
    assert Estimate.model_validate_json(one.model_dump_json()) == one


def test_a_percentile_that_is_surely_infinite_comes_back_as_it_was() -> None:
    """Most requests failed: the lower bound of the p99 is infinite too."""
    one = Estimate(value=math.inf, low=math.inf, high=math.inf, n=900)
    assert Estimate.model_validate_json(one.model_dump_json()) == one


def test_a_point_with_an_infinite_percentile_comes_back_as_it_was() -> None:
    """More than 1% of the requests failed: p99 and its violation are infinite."""
    one = point(p99=math.inf, violations={"p99": math.inf})
    assert Point.model_validate_json(one.model_dump_json()).violations == {"p99": math.inf}


def test_the_closest_may_miss_by_an_infinite_amount() -> None:
    one = Closest(trial=1, point=0, missed={"steady.p99": math.inf})
    assert Closest.model_validate_json(one.model_dump_json()) == one


def test_a_trial_keeps_the_types_of_its_values() -> None:
    config: dict[str, Value] = {"instances": 2, "max_queue_delay": 0.0, "precision": "2", "on": True}
    back = Trial.model_validate_json(trial(1, config=config).model_dump_json()).config
    assert back == config
    assert [type(value) for value in back.values()] == [int, float, str, bool]


# The document.


def test_a_result_is_read_as_it_was_written(tmp_path: Path) -> None:
    assert read_result(stored(tmp_path, to_json(FULL))) == FULL


def test_the_document_names_its_schema() -> None:
    assert json.loads(to_json(FULL))["schema"] == SCHEMA == "paretune.result/1"


def test_the_document_has_no_numbers_that_json_lacks() -> None:
    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    json.loads(to_json(FULL), parse_constant=refuse)


def test_the_schema_is_one_and_validates_a_result() -> None:
    jsonschema.Draft202012Validator.check_schema(result_schema())
    valid(to_json(FULL))


def test_the_schema_allows_a_violation_without_end() -> None:
    valid(to_json(result(trial(1, point(p99=math.inf, violations={"p99": math.inf})))))


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (["schema"], "paretune.result/2"),
        (["state"], "finished"),
        (["trials", 0, "number"], "one"),
        (["trials", 0, "points", 0, "load", "mode"], "half-open"),
        (["trials", 0, "points", 0, "metrics", "latency_p99_s", "value"], "fast"),
        (["timing"], None),
        (["surprise"], 1),
    ],
)
def test_the_schema_refuses_what_is_no_result(place: list[Any], value: object) -> None:
    document = json.loads(to_json(FULL))
    inner = document
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    with pytest.raises(jsonschema.ValidationError):
        valid(json.dumps(document))


def test_a_trial_is_found_by_its_number() -> None:
    assert FULL.trial(2).state == "refused"
    with pytest.raises(KeyError, match="9"):
        FULL.trial(9)


def test_a_result_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        FULL.state = "failed"


# Reading.


def read_error(folder: Path) -> str:
    with pytest.raises(ResultError) as error:
        read_result(folder)
    assert str(folder / "result.json") in str(error.value)
    return str(error.value)


def test_a_missing_result_says_what_to_give(tmp_path: Path) -> None:
    assert read_error(tmp_path).endswith(
        "No such file or directory; give the directory of a run, like runs/digits/latest"
    )


def test_a_run_that_has_no_result_yet_is_said_to_have_only_begun(tmp_path: Path) -> None:
    open_run(tmp_path, "digits", StudyMark(""), tmp_path / "run", fresh=True)
    assert read_error(tmp_path / "run").endswith("not there yet: the run has only begun; look again in a while")


def test_a_truncated_result_is_refused(tmp_path: Path) -> None:
    document = to_json(FULL)
    assert "not a paretune.result/1 document" in read_error(stored(tmp_path, document[: len(document) // 2]))


@pytest.mark.parametrize("document", ["", "[]", "null", "{}", '"text"', "\x00"])
def test_something_else_is_refused(tmp_path: Path, document: str) -> None:
    assert "not a paretune.result/1 document" in read_error(stored(tmp_path, document))


def test_another_schema_is_refused_by_its_name(tmp_path: Path) -> None:
    document = to_json(FULL).replace('"paretune.result/1"', '"paretune.result/2"')
    assert "schema: Input should be 'paretune.result/1'" in read_error(stored(tmp_path, document))


def test_a_wrong_field_is_named_with_its_place(tmp_path: Path) -> None:
    document = json.loads(to_json(FULL))
    document["trials"][1]["points"][0]["window_s"] = "long"
    assert "trials.1.points.0.window_s: " in read_error(stored(tmp_path, json.dumps(document)))


# Writing.


@pytest.mark.parametrize("content", ["größe\n", b"\x00\xff"])
def test_writes_text_and_bytes(tmp_path: Path, content: str | bytes) -> None:
    write_atomically(tmp_path / "a.txt", content)
    assert (tmp_path / "a.txt").read_bytes() == (content.encode() if isinstance(content, str) else content)


def test_writing_replaces_the_old_file_and_leaves_no_other(tmp_path: Path) -> None:
    for content in ("one", "two", ""):
        write_atomically(tmp_path / "a.txt", content)
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]
    assert (tmp_path / "a.txt").read_text() == ""


def test_others_may_read_what_was_written(tmp_path: Path) -> None:
    write_atomically(tmp_path / "a.txt", "x")
    assert (tmp_path / "a.txt").stat().st_mode & 0o777 == 0o644


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    (tmp_path / "a.txt").mkdir()
    with pytest.raises(OSError, match=r"a\.txt"):
        write_atomically(tmp_path / "a.txt", "x")
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]
