"""What a run recommends when its best trials were measured again, and which exit code that makes."""

from types import SimpleNamespace

import pytest
from result_builders import GOALS, estimate, point, trial
from workload_builders import workload

from tuner.confirm import Contender
from tuner.findings import Findings
from tuner.preference import Preference
from tuner.recommendation import (
    DONE,
    NOT_BETTER,
    NOTHING_BETTER,
    NOTHING_KEPT,
    NOTHING_TRIED,
    ONLY_THE_LOAD,
    SLO_MISSED,
    UNDECIDED,
    exit_code,
    recommend,
    settle,
    without_challengers,
)
from tuner.remarks import APART
from tuner.results import Confirmation, Load, Ratio, Side, SloVerdict, Trial, Verdict

LOAD = Load(mode="closed", level=1)
P99_S = 0.01
"""The bound."""
OPEN = (
    "the confirmation could not decide on steady.p99 (1.84% of the requests were over the bound, 1% may be); "
    "a longer `search.budget.time` or a wider bound can"
)


def findings(*trials: Trial) -> Findings:
    study = SimpleNamespace(spec=SimpleNamespace(bounds=lambda: {"steady": {"p99": P99_S}}))
    return Findings(study, None, [workload()], GOALS, list(trials))  # type: ignore[arg-type]


def met(number: int, throughput: float) -> Trial:
    """Return a trial that met the SLO in the search."""
    return trial(number, point(throughput=throughput, p99=P99_S / 2))


def missed(number: int) -> Trial:
    """Return a trial that missed it there."""
    return trial(number, point(violations={"p99": 1.0}))


def side(number: int, throughput: float, verdict: SloVerdict, p99: float) -> Side:
    return Side(
        trial=number,
        config={},
        load=LOAD,
        metrics={
            "steady": {
                "throughput_rps": estimate(throughput),
                "latency_p99_s": estimate(p99),
                "over_p99_bound": estimate(0.0184),
            }
        },
        verdicts={"steady": {"p99": verdict}},
        server={},
        valid=True,
    )


def confirmed(
    found: Findings,
    number: int,
    verdict: SloVerdict,
    gain: Verdict = "better",
    p99: float = P99_S / 2,
    *,
    apart: bool = False,
    own: SloVerdict = "met",
    own_level: float = 1,
) -> None:
    """Tell the findings of the confirmation of a trial against a baseline of 100 requests per second."""
    load = Load(mode="closed", level=own_level)
    own_p99 = P99_S * 1.2 if own == "missed" else P99_S / 2
    ratio = {"better": 1.5, "worse": 0.5}.get(gain, 1.0)
    made = Confirmation(
        candidate=side(number, 100 * ratio, verdict, p99),
        baseline=side(0, 100, own, own_p99).model_copy(update={"load": load}),
        redeployments=4,
        rounds=24,
        gains={"throughput_rps": Ratio(**estimate(ratio).model_dump(), verdict=gain)},
        verdict=verdict,
    )
    pair = Contender(number, {}, {"steady": LOAD}), Contender(0, {}, {"steady": load})
    recommend(found, pair, made, apart=apart)


def chosen(found: Findings) -> tuple[int, bool]:
    """Return the number of the best trial, and whether it is confirmed."""
    assert found.best is not None
    return found.best.trial, found.best.confirmed


# several candidates, one after the other


def test_of_several_undecided_candidates_the_first_is_the_best() -> None:
    found = findings(met(0, 100), met(1, 300), met(2, 200))
    confirmed(found, 1, "undecided")
    confirmed(found, 2, "undecided", "no difference")
    assert chosen(found) == (1, False)
    assert found.confirmation is not None
    assert found.confirmation.candidate.trial == 1
    assert found.message == OPEN
    assert exit_code(found, out_of_time=False) == UNDECIDED


def test_an_undecided_candidate_that_is_certainly_worse_than_yours_is_not_recommended() -> None:
    found = findings(met(0, 100), met(1, 300))
    confirmed(found, 1, "undecided", "worse")
    assert found.best is None
    settle(found)
    assert chosen(found) == (0, False)
    assert found.message == NOT_BETTER
    assert exit_code(found, out_of_time=False) == DONE


def test_after_one_that_is_worse_another_one_may_be_recommended() -> None:
    found = findings(met(0, 100), met(1, 300), met(2, 200))
    confirmed(found, 1, "undecided", "worse")
    confirmed(found, 2, "undecided", "inconclusive")
    assert chosen(found) == (2, False)


def test_a_candidate_that_is_slower_than_a_baseline_without_the_slo_is_recommended() -> None:
    found = findings(missed(0), met(1, 80))
    confirmed(found, 1, "undecided", "worse")
    assert chosen(found) == (1, False)


def test_with_a_preference_among_objectives_its_score_says_what_is_worse() -> None:
    found = findings(met(0, 100), met(1, 300))
    found.preference = Preference("weighted", (1.0, 0.0))
    confirmed(found, 1, "undecided", "worse")
    assert found.best is None
    found.preference = Preference("weighted", (0.0, 1.0))
    confirmed(found, 1, "undecided", "worse", p99=P99_S / 4)
    assert chosen(found) == (1, False)


def test_a_candidate_that_is_certain_takes_the_place_of_an_undecided_one() -> None:
    found = findings(met(0, 100), met(1, 300), met(2, 200))
    confirmed(found, 1, "undecided")
    confirmed(found, 2, "met")
    assert chosen(found) == (2, True)
    assert exit_code(found, out_of_time=False) == DONE


def test_a_candidate_that_is_no_better_leaves_you_your_own() -> None:
    found = findings(met(0, 100), met(1, 300))
    confirmed(found, 1, "met", "inconclusive")
    assert chosen(found) == (0, False)
    assert found.message == NOT_BETTER


# no confirmation


def test_where_no_confirmation_could_be_made_the_run_is_not_decided() -> None:
    found = findings(met(0, 100), met(1, 300))
    settle(found, "out of memory")
    assert chosen(found) == (0, False)
    assert found.message == "no confirmation could be made: out of memory"
    assert exit_code(found, out_of_time=False) == UNDECIDED


def test_where_one_could_be_made_what_failed_does_not_count() -> None:
    found = findings(met(0, 100), met(1, 300), met(2, 200))
    confirmed(found, 1, "missed")
    settle(found, "out of memory")
    assert found.message == "trial 1 missed its SLO when it was confirmed"
    assert exit_code(found, out_of_time=False) == DONE


def test_a_gain_of_sides_that_did_not_fit_together_says_so() -> None:
    found = findings(met(0, 100), met(1, 300))
    confirmed(found, 1, "met", apart=True)
    assert found.message == APART
    confirmed(found, 1, "undecided", apart=True)
    assert found.message == APART, "there is a certain one"
    other = findings(met(0, 100), met(1, 300))
    confirmed(other, 1, "undecided", apart=True)
    assert other.message == f"{OPEN}; {APART}"


# missed when measured again


def test_what_missed_the_slo_when_it_was_confirmed_is_not_recommended() -> None:
    found = findings(missed(0), met(1, 300), met(2, 200))
    confirmed(found, 1, "missed", p99=0.015)
    settle(found)
    assert chosen(found) == (2, False)
    assert found.message == "trial 1 missed its SLO when it was confirmed"
    assert exit_code(found, out_of_time=False) == UNDECIDED


def test_where_everything_missed_it_when_it_was_measured_again_nothing_is_recommended() -> None:
    found = findings(missed(0), met(1, 300), met(2, 200), met(3, 100))
    found.missed[3] = side(3, 100, "missed", 0.04)  # in the shortlist
    confirmed(found, 1, "missed", p99=0.015)
    confirmed(found, 2, "missed", p99=0.013)
    settle(found)
    assert found.best is None
    assert found.message == NOTHING_KEPT
    assert found.closest is not None
    assert (found.closest.trial, found.closest.point) == (2, 0)
    assert found.closest.missed == pytest.approx({"steady.p99": 0.3})
    assert exit_code(found, out_of_time=False) == SLO_MISSED


def test_what_came_closer_in_the_search_came_closest() -> None:
    found = findings(missed(0), met(1, 300), trial(2, point(violations={"p99": 0.1})))
    confirmed(found, 1, "missed", p99=0.015)
    settle(found)
    assert found.closest is not None
    assert (found.closest.trial, found.closest.missed) == (2, {"steady.p99": 0.1})


def test_your_own_configuration_is_left_where_no_candidate_kept_the_slo() -> None:
    found = findings(met(0, 100), met(1, 300))
    confirmed(found, 1, "missed", p99=0.015)
    settle(found)
    assert chosen(found) == (0, False)
    assert exit_code(found, out_of_time=False) == DONE


# yours missed it when it was measured again

OWN_MISSED_AGAIN = (
    "your own configuration missed an SLO when it was measured again; the gain is against it all the same"
)


def at_two_levels() -> Trial:
    """Return the user's configuration that met the SLO in the search at 32 and, with more throughput, at 64."""
    points = [point(level=level, throughput=3 * level, p99=P99_S / 2) for level in (32, 64)]
    return trial(0, *points)


def best_level(found: Findings) -> float:
    assert found.best is not None
    return found.best.load.level


@pytest.mark.parametrize(("verdict", "p99"), [("missed", P99_S * 1.2), ("undecided", P99_S * 1.1)])
def test_yours_is_not_kept_at_a_load_that_missed_the_slo_in_the_shortlist(verdict: SloVerdict, p99: float) -> None:
    found = findings(at_two_levels(), met(1, 300))
    found.drop_own({"steady": Load(mode="closed", level=64)}, side(0, 192, verdict, p99))
    confirmed(found, 1, "met", "no difference", own_level=32)
    assert chosen(found) == (0, False)
    assert best_level(found) == 32
    assert found.message == NOT_BETTER


@pytest.mark.parametrize("gain", ["no difference", "worse"])
def test_a_candidate_that_meets_the_slo_is_recommended_where_yours_missed_it_beside_it(gain: Verdict) -> None:
    found = findings(met(0, 100), met(1, 300))
    confirmed(found, 1, "met", gain, own="missed")
    assert chosen(found) == (1, True)
    assert found.message == OWN_MISSED_AGAIN
    assert found.best is not None
    assert found.best.gain_vs_baseline is not None, "the message is about it"
    assert found.baseline() is None
    assert exit_code(found, out_of_time=False) == DONE


def test_an_undecided_candidate_is_not_passed_over_for_yours_that_missed_the_slo() -> None:
    found = findings(met(0, 100), met(1, 300))
    confirmed(found, 1, "undecided", "worse", own="missed")
    assert chosen(found) == (1, False)
    assert exit_code(found, out_of_time=False) == UNDECIDED


def test_where_yours_missed_it_beside_the_only_candidate_nothing_is_recommended() -> None:
    found = findings(met(0, 100), met(1, 300))
    confirmed(found, 1, "missed", p99=0.015, own="missed")
    settle(found)
    assert found.best is None
    assert found.message == NOTHING_KEPT
    assert found.closest is not None
    assert (found.closest.trial, found.closest.missed) == (0, pytest.approx({"steady.p99": 0.2}))
    assert exit_code(found, out_of_time=False) == SLO_MISSED


def test_yours_is_left_at_another_load_that_it_did_not_miss_the_slo_at() -> None:
    found = findings(at_two_levels(), met(1, 300))
    confirmed(found, 1, "missed", p99=0.015, own="missed", own_level=64)
    settle(found)
    assert chosen(found) == (0, False)
    assert best_level(found) == 32


def test_a_run_that_is_interrupted_does_not_fall_back_on_what_missed_the_slo() -> None:
    found = findings(at_two_levels(), met(1, 50))
    assert [(one.trial.number, one.loads["steady"].level) for one in found.not_missed()] == [(0, 64), (0, 32), (1, 1)]
    found.drop_own({"steady": Load(mode="closed", level=64)}, side(0, 192, "missed", P99_S * 1.2))
    assert [(one.trial.number, one.loads["steady"].level) for one in found.not_missed()] == [(0, 32), (1, 1)]


# nothing to confirm


def test_a_baseline_that_misses_its_slo_and_uses_up_the_time_decides_nothing() -> None:
    found = findings(missed(0))
    without_challengers(found, of_server=True, out_of_time=True)
    assert found.best is None
    assert found.closest is not None
    assert found.message == (
        "your own configuration misses the SLO, and there was no time to try another one; raise `search.budget.time`"
    )
    assert exit_code(found, out_of_time=True) == UNDECIDED


def test_where_others_were_tried_and_missed_it_too_nothing_met_the_slo() -> None:
    found = findings(missed(0), missed(1))
    without_challengers(found, of_server=True, out_of_time=False)
    assert found.message == "no configuration met the SLO"
    assert exit_code(found, out_of_time=False) == SLO_MISSED


def test_a_baseline_that_the_generator_spoiled_is_said_to_be() -> None:
    found = findings(missed(0).model_copy(update={"state": "invalid", "reason": "sent late"}))
    without_challengers(found, of_server=True, out_of_time=True)
    assert found.message is not None
    assert found.message.endswith("sent late")
    assert exit_code(found, out_of_time=True) == UNDECIDED


@pytest.mark.parametrize(
    ("of_server", "out_of_time", "message", "code"),
    [(True, True, NOTHING_TRIED, UNDECIDED), (True, False, NOTHING_BETTER, DONE), (False, False, ONLY_THE_LOAD, DONE)],
)
def test_where_only_yours_meets_the_slo_it_is_the_best_known(
    of_server: bool, out_of_time: bool, message: str, code: int
) -> None:
    found = findings(met(0, 100))
    without_challengers(found, of_server=of_server, out_of_time=out_of_time)
    assert chosen(found) == (0, False)
    assert found.message == message
    assert exit_code(found, out_of_time=out_of_time) == code
