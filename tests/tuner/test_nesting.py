"""Knobs that stand in groups of the space: conditions, constraints and starts name them, errors point at them."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from targets.base import Knob
from tests.conftest import DIGITS
from tuner.nesting import flat, override_of
from tuner.space import Space, make_space, with_starts
from tuner.study.load import _collect_lines, load_study
from tuner.study.source import Keys, Source, StudyError


def knob(model: str, name: str) -> Knob:
    return Knob(f"{model}.{name}", "int", 1, 64, 1, "", "reload", "", place=("composing", model, name))


KNOBS = (
    Knob("max_batch_size", "int", 1, 64, 1, "", "reload", ""),
    *(knob(model, name) for model in ("first", "my-second.v2") for name in ("instances", "batch")),
)
OWN = {"max_batch_size": 4, "first.instances": 1, "first.batch": 8, "my-second.v2.instances": 2}


def source_of(text: str) -> Source:
    lines: dict[Keys, int] = {}
    root = yaml.compose(text)
    assert root is not None
    _collect_lines(Path("study.yaml"), root, (), lines)
    return Source(Path("study.yaml"), text, lines, frozenset())


def space_of(text: str) -> Space:
    source, study = source_of(text), yaml.safe_load(text)
    found = make_space(flat(study["space"], KNOBS, source), KNOBS, source, study.get("constraints", ()), OWN)
    starts: list[dict[str, Any]] = study.get("search", {}).get("start", [])
    return with_starts(found, starts, source)


STUDY = """
space:
  max_batch_size: 8
  composing:
    first:
      instances: {low: 1, high: 3}
      batch: {values: [2, 4], when: first.instances > 1 and my-second.v2.instances == 2}
    my-second.v2: {batch: [1, 2]}
constraints: [my-second.v2.batch <= first.instances]
search:
  start:
    - {composing: {first: {instances: 2}}, my-second.v2.batch: 2}
"""


def test_conditions_constraints_and_starts_name_the_knobs_of_a_group() -> None:
    space = space_of(STUDY)
    assert [one.name for one in space] == ["max_batch_size", "first.instances", "first.batch", "my-second.v2.batch"]
    assert space.starts == ({"first.instances": 2, "my-second.v2.batch": 2},)
    configs = list(space.configs())
    assert all(("first.batch" in one) == (one["first.instances"] > 1) for one in configs)
    assert all(one["my-second.v2.batch"] <= one["first.instances"] for one in configs)
    assert len(configs) == 1 + 2 * 2 + 2 * 2


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("low: 1,", "low: 0,", "6: space.composing.first.instances.low: 0 is out of the legal range, 1 to 64"),
        ("first.instances > 1", "frst.instances > 1", "7: space.composing.first.batch.when: 'frst.instances' is no "
         "knob of this target or load; did you mean `first.instances`?"),
        ("batch: [1, 2]", "bach: [1, 2]", "8: space.composing.my-second.v2.bach: no such name under "
         "`composing.my-second.v2`; did you mean `batch`?"),
        ("my-second.v2: {batch: [1, 2]}", "my-second.v2:", "8: space.composing.my-second.v2: expected a mapping of "
         "instances, batch, but got None"),
        ("  max_batch_size: 8", "  first.instances: 8", "3: space.first.instances: stands deeper; write "
         "`composing: {first: {instances: ...}}`"),
        ("first: {instances: 2}", "first: {instances: 9}", "12: search.start.0.first.instances: 9 is not in the space"),
        ("first: {instances: 2}", "frist: {instances: 2}", "12: search.start.0.composing.frist: no such name under "
         "`composing`; did you mean `first`?"),
        ("max_batch_size: 8", "batch: 8", "3: space.batch: no such knob; known: max_batch_size, concurrency, rate, "
         "users"),
    ],
)  # fmt: skip
def test_an_error_in_a_group_points_at_its_line(old: str, new: str, message: str) -> None:
    assert old in STUDY
    with pytest.raises(StudyError) as raised:
        space_of(STUDY.replace(old, new))
    assert str(raised.value).startswith(f"study.yaml:{message}")


def test_a_target_without_groups_has_no_composing_models() -> None:
    source = source_of(STUDY)
    with pytest.raises(StudyError, match=r"study\.yaml:4: space\.composing: has the models that an ensemble is"):
        flat(yaml.safe_load(STUDY)["space"], KNOBS[:1], source)


@pytest.mark.parametrize(
    ("given", "override"),
    [
        ("max_batch_size=8", "space.max_batch_size=8"),
        ("concurrency=16", "space.concurrency=16"),
        ("first.instances=2", "space.composing.first.instances=2"),
        ("composing.first.instances=2", "space.composing.first.instances=2"),
        ("first.batch={low: 1, high: 8}", "space.composing.first.batch={low: 1, high: 8}"),
        ("my-second.v2.batch=2", 'space.composing."my-second.v2".batch=2'),
        ('"my-second.v2".batch=2', 'space.composing."my-second.v2".batch=2'),
        ("composing.'my-second.v2'.batch=2", 'space.composing."my-second.v2".batch=2'),
        ("composing.my-second.v2.batch=2", 'space.composing."my-second.v2".batch=2'),
    ],
)
def test_a_knob_of_a_model_is_overridden_where_the_study_has_it(given: str, override: str) -> None:
    assert override_of("--ours", given, KNOBS) == override


def test_a_model_may_have_the_name_of_a_group() -> None:
    named = knob("models", "instances")
    for given in ("models.instances=2", "composing.models.instances=2"):
        assert override_of("--ours", given, [named]) == "space.composing.models.instances=2"


@pytest.mark.parametrize("given", ["my-second.v2.batch", 'composing."my-second.v2".batch'])
def test_a_model_whose_name_has_dots_is_overridden_in_the_study(given: str, tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    path.write_text((DIGITS.parent / "digits.yaml").read_text())
    study = load_study(path, [override_of("--ours", f"{given}=[1, 2]", KNOBS)])
    assert study.given["space"]["composing"] == {"my-second.v2": {"batch": [1, 2]}}
    assert flat({"composing": study.given["space"]["composing"]}, KNOBS, study.source) == {"my-second.v2.batch": [1, 2]}


def test_a_name_that_an_override_has_cut_at_its_dots_is_named_with_its_quotes(tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    path.write_text((DIGITS.parent / "digits.yaml").read_text())
    study = load_study(path, ["space.composing.my-second.v2.batch=2"])
    with pytest.raises(StudyError) as raised:
        flat({"composing": study.given["space"]["composing"]}, KNOBS, study.source)
    assert str(raised.value) == (
        "--set space.composing.my-second: no such name under `composing`; a name that has dots stands in quotes: "
        'space.composing."my-second.v2"; single quotes around the whole argument make the shell keep them'
    )


def test_quotes_that_have_no_end_are_named() -> None:
    with pytest.raises(
        StudyError, match=r"^--ours composing\.\"first\.batch=2: the quotes at '\"first\.batch=2' are not"
    ):
        override_of("--ours", 'composing."first.batch=2', KNOBS)


def test_a_knob_that_no_model_has_is_named_with_one_that_is_like_it() -> None:
    with pytest.raises(StudyError, match=r"--theirs first\.batches=2: there is no knob .*did you mean `first\.batch`"):
        override_of("--theirs", "first.batches=2", KNOBS)
