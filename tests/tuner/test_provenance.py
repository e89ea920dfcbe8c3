"""The comment at the head of an exported file: written once, replaced, taken away; and what it says."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from targets.exports import Export
from tests.tuner.result_builders import GOALS, best, point, result, trial
from tuner.provenance import (
    MARK,
    Standing,
    headed_as,
    header,
    marked,
    of_best,
    signed,
    standing,
    with_header,
    without_header,
)
from tuner.results import Best, Confirmation, Load, Result, Side, SloVerdict, Trial, Validity

ENVIRONMENT = {"paretune": "0.9.0", "started": "2026-11-27 00:12 UTC"}
LINES = ("one", "two")
AT_BEST = {"steady": Load(mode="closed", level=4)}
PIECES = st.sampled_from(["a", " ", "#", "#!", "\n", "\r\n", MARK, "# paretune\n", '"'])
TEXT = st.lists(PIECES, max_size=12).map("".join)


FIRST, SECOND = GOALS


def test_a_confirmed_gain_is_said_with_its_interval() -> None:
    known = of_best(best(12, gain=(1.84, 1.79, 1.9)), None, FIRST, "steady")
    assert header("digits", "2026-11-27_00-12-02", ENVIRONMENT, 12, known.lines) == (
        "study digits, trial 12, tuned with Paretune 0.9.0",
        "run 2026-11-27_00-12-02, started 2026-11-27 00:12 UTC",
        "confirmed: throughput 1.84x that of the configuration before, 95% interval 1.79 to 1.90",
        "at 4 in flight",
    )


def test_a_gain_on_a_latency_is_how_many_times_lower_it_is() -> None:
    lower = best(12, gain=(0.5, 0.4, 0.8)).model_copy(update={"objective": "latency_p99_s"})
    said = "confirmed: p99 2.00x lower than that of the configuration before, 95% interval 1.25 to 2.50"
    assert of_best(lower, None, SECOND, "steady") == Standing(said, loads=AT_BEST)


def test_a_bound_that_is_not_known_is_said_to_be_unknown() -> None:
    assert of_best(best(1, gain=(1.5, 1.2, float("inf"))), None, FIRST, "steady").said.endswith("1.20 to unknown")


def tried(number: int, verdict: SloVerdict) -> Confirmation:
    """A confirmation of a trial; only its verdict matters here."""
    side = Side(trial=number, config={}, load=point().load, metrics={}, verdicts={}, server={}, valid=True)
    return Confirmation(
        candidate=side,
        baseline=side.model_copy(update={"trial": 0}),
        redeployments=3,
        rounds=3,
        gains={},
        verdict=verdict,
    )


@pytest.mark.parametrize(
    ("found", "made", "said", "doubtful"),
    [
        (best(12), None, "confirmed to meet the SLO; no gain is claimed", False),
        (best(12, confirmed=False), None, "measured in the search, not confirmed", False),
        (best(12, confirmed=False), tried(3, "missed"), "measured in the search, not confirmed", False),
        (best(12, confirmed=False), tried(12, "undecided"), "not confirmed: the confirmation was undecided", False),
    ],
    ids=["no gain", "not confirmed", "another was", "undecided"],
)
def test_of_the_best_nothing_is_claimed_that_was_not_confirmed(
    found: Best, made: Confirmation | None, said: str, doubtful: bool
) -> None:
    known = of_best(found, made, FIRST, "steady")
    assert (known.said, known.doubtful) == (said, doubtful)
    assert known.loads == ({"steady": point().load} if made and made.candidate.trial == 12 else AT_BEST)


LATE = point().model_copy(update={"validity": Validity(valid=False, reasons=["late"])})


@pytest.mark.parametrize(
    ("one", "said", "doubtful"),
    [
        (trial(7, state="refused"), "not measured: the server refused it in the run", True),
        (trial(7, point(), state="crashed"), "not measured: the server crashed with it in the run", True),
        (trial(7, state="hung"), "not measured: the server hung with it in the run", True),
        (trial(7, LATE, state="invalid"), "not measured: the load generator was in the way", True),
        (trial(7, point(violations={"p99": 0.5})), "measured in the search, where it missed the SLO", True),
        (trial(7, point(level=2), point(violations={"p99": 0.5})), "measured in the search, not confirmed", False),
        (trial(7, point(level=2), LATE, state="invalid"), "measured in the search, not confirmed", False),
    ],
    ids=["refused", "crashed", "hung", "spoiled", "missed", "met at one load", "spoiled in part"],
)
def test_a_trial_is_what_came_of_it(one: Trial, said: str, doubtful: bool) -> None:
    for chosen in (None, best(12, gain=(2, 1.9, 2.1))):
        known = standing(result(one).model_copy(update={"best": chosen}), 7)
        assert (known.said, known.doubtful) == (said, doubtful)


@pytest.mark.parametrize(
    ("verdict", "said"),
    [
        ("missed", "not confirmed: it missed the SLO in the confirmation"),
        ("undecided", "not confirmed: the confirmation was undecided"),
        ("met", "confirmed to meet the SLO, and not recommended"),
    ],
)
def test_a_trial_that_was_confirmed_for_nothing_says_so(verdict: SloVerdict, said: str) -> None:
    found = result(trial(7, point())).model_copy(update={"confirmation": tried(7, verdict), "best": best(0)})
    assert standing(found, 7) == Standing(said, verdict == "missed", {"steady": point().load})


def test_a_name_with_line_ends_stays_in_its_line() -> None:
    assert all("\n" not in line for line in header("a\nb: 1", "r\r\nx", {}, 1, ["y"]))


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
    assert signed(export, "s", "r", ENVIRONMENT, 0, ["measured"]) == export


def test_the_header_in_the_documentation_is_the_one_that_is_written() -> None:
    page = (Path(__file__).parents[2] / "docs" / "triton.md").read_text()
    found = best(12, gain=(1.84, 1.79, 1.9)).model_copy(update={"objective": "goodput_rps"})
    found = found.model_copy(update={"load": Load(mode="closed", level=16)})
    lines = of_best(found, None, FIRST, "steady").lines
    made = with_header("", header("digits", "2026-11-27_00-12-02", ENVIRONMENT, 12, lines))
    assert f"```pbtxt\n{made}```" in page
    assert f"`{standing(result(trial(1, point())), 1).said}`" in page


# The loads that it is said of.


WEB = Load(mode="open", level=300)


def several(*others: Trial) -> Result:
    """A run of two workloads that climbed each by itself."""
    own = trial(
        7,
        point(level=4),
        point(level=8, throughput=800),
        point(level=16, violations={"p99": 0.5}),
        *(point("web", level, mode="open") for level in (200, 300)),
        point("web", 400, mode="open", violations={"p99": 0.5}),
    )
    found = result(own.model_copy(update={"own_loads": True}), *others)
    return found.model_copy(update={"study": found.study.model_copy(update={"workloads": ["steady", "web"]})})


def test_a_trial_is_told_of_at_the_highest_load_of_each_workload() -> None:
    assert standing(several(), 7).lines == (
        "measured in the search, not confirmed",
        "at 8 in flight, web 300/s offered",
    )


def test_what_was_confirmed_is_told_of_at_the_loads_of_the_confirmation() -> None:
    made = tried(7, "undecided")
    there = made.candidate.model_copy(update={"load": Load(mode="closed", level=6), "loads": {"web": WEB}})
    found = several().model_copy(update={"confirmation": made.model_copy(update={"candidate": there}), "best": best(0)})
    assert standing(found, 7).lines[1] == "at 6 in flight, web 300/s offered"
    chosen = best(7).model_copy(update={"loads": {"web": WEB}})
    assert standing(several().model_copy(update={"best": chosen}), 7).lines[1] == "at 4 in flight, web 300/s offered"


def test_what_is_picked_for_other_loads_is_not_told_of_at_those_where_it_is_best() -> None:
    assert standing(several(), 7, {"steady": Load(mode="closed", level=4), "web": WEB}).lines == (
        "measured in the search, not confirmed",
    )


def test_what_was_not_measured_has_no_loads() -> None:
    assert standing(several(trial(8, state="refused")), 8).lines == ("not measured: the server refused it in the run",)
