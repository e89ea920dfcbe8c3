"""The comment at the head of an exported file: written once, replaced, taken away; and what it says."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from targets.exports import Export
from tests.tuner.result_builders import best
from tuner.provenance import MARK, headed_as, header, marked, signed, with_header, without_header

ENVIRONMENT = {"paretune": "0.9.0", "started": "2026-11-27 00:12 UTC"}
LINES = ("one", "two")
PIECES = st.sampled_from(["a", " ", "#", "#!", "\n", "\r\n", MARK, "# paretune\n", '"'])
TEXT = st.lists(PIECES, max_size=12).map("".join)


def test_a_confirmed_gain_is_said_with_its_interval() -> None:
    said = header("digits", "2026-11-27_00-12-02", ENVIRONMENT, 12, best(12, gain=(1.84, 1.79, 1.9)))
    assert said == (
        "study digits, trial 12, tuned with Paretune 0.9.0",
        "run 2026-11-27_00-12-02, started 2026-11-27 00:12 UTC",
        "confirmed: throughput 1.84x that of the configuration before, 95% interval 1.79 to 1.90",
    )


def test_a_bound_that_is_not_known_is_said_to_be_unknown() -> None:
    assert header("s", "r", {}, 1, best(1, gain=(1.5, 1.2, float("inf"))))[-1].endswith("1.20 to unknown")


@pytest.mark.parametrize(
    ("trial", "found", "said"),
    [
        (3, best(12, gain=(2, 1.9, 2.1)), "measured in the search, not confirmed"),
        (12, None, "measured in the search, not confirmed"),
        (12, best(12, confirmed=False), "measured in the search, not confirmed"),
        (12, best(12), "confirmed to meet the SLO; no gain is claimed"),
    ],
    ids=["another trial", "no best", "not confirmed", "no gain"],
)
def test_nothing_is_claimed_that_was_not_confirmed(trial: int, found: object, said: str) -> None:
    assert header("s", "r", ENVIRONMENT, trial, found)[-1] == said  # type: ignore[arg-type]


def test_a_name_with_line_ends_stays_in_its_line() -> None:
    assert all("\n" not in line for line in header("a\nb: 1", "r\r\nx", {}, 1, None))


@given(TEXT)
def test_a_second_header_takes_the_place_of_the_first(text: str) -> None:
    once = with_header(text, LINES)
    assert with_header(once, LINES) == once
    assert without_header(once) == without_header(text)
    assert once.count(f"{MARK}one") == without_header(text).count(f"{MARK}one") + 1


def test_it_stands_at_the_head_behind_the_interpreter_with_the_files_line_ends() -> None:
    assert with_header("a: 1\n", LINES) == f"{MARK}one\n{MARK}two\na: 1\n"
    assert with_header("a: 1\r\n", LINES) == f"{MARK}one\r\n{MARK}two\r\na: 1\r\n"
    assert with_header("#!/bin/sh\nexit\n", ("one",)) == f"#!/bin/sh\n{MARK}one\nexit\n"
    assert with_header("", ("one",)) == f"{MARK}one\n"


@given(TEXT)
def test_a_text_that_was_signed_is_headed_as_before(text: str) -> None:
    assert headed_as(with_header(text, LINES), text) == text


def test_comments_of_the_users_stay() -> None:
    text = f"# mine\n{MARK}not at the head\na: 1\n"
    assert without_header(with_header(text, LINES)) == text


def test_a_format_without_comments_gets_none() -> None:
    with_comments, without = Path("a.yaml"), Path("b.json")
    files = {with_comments: "a: 1\n", without: "{}\n"}
    made = marked(Export(files, {}, commented=frozenset({with_comments})), LINES)
    assert made.files == {with_comments: f"{MARK}one\n{MARK}two\na: 1\n", without: "{}\n"}


def test_the_users_own_configuration_is_left_as_it_is() -> None:
    path = Path("a.yaml")
    export = Export({path: f"{MARK}of an earlier run\na: 1\n"}, {}, commented=frozenset({path}))
    assert signed(export, "s", "r", ENVIRONMENT, 0, best(0)) == export


def test_the_header_in_the_documentation_is_the_one_that_is_written() -> None:
    page = (Path(__file__).parents[2] / "docs" / "triton.md").read_text()
    found = best(12, gain=(1.84, 1.79, 1.9)).model_copy(update={"objective": "goodput_rps"})
    made = with_header("", header("digits", "2026-11-27_00-12-02", ENVIRONMENT, 12, found))
    assert f"```pbtxt\n{made}```" in page
    assert f"`{header('s', 'r', {}, 1, None)[-1]}`" in page
