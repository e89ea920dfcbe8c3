"""What a run recommends, and what it says of that. Takes findings and writes into them; no clock, no I/O."""

from tuner import confirm, rank, remarks
from tuner.confirm import Contender
from tuner.findings import Findings
from tuner.results import Confirmation

DONE, SLO_MISSED, UNDECIDED = 0, 4, 5
OWN_MISSED = "your own configuration misses the SLO"
NOTHING_BETTER = "no configuration tried meets the SLO but your own"
NOTHING_TRIED = "there was no time to try another one; raise `search.budget.time`"
ONLY_THE_LOAD = "only the load was searched, nothing of the server"
NOT_BETTER = "no configuration was measurably better than your own"
NOTHING_KEPT = "what met the SLO in the search missed it when it was measured again"


def recommend(found: Findings, pair: tuple[Contender, Contender], made: Confirmation, *, apart: bool = False) -> None:
    """Take a confirmed candidate as the best, unless the user's own configuration is as good and keeps the SLO.

    Where the confirmation could not decide on every SLO, a candidate is the best as long as nothing else is: those that
    come after it were ranked below it. It is none if it is certainly worse than the user's configuration.

    Args:
        found: what is known.
        pair: who was confirmed, and the user's configuration at the loads that it was measured at beside it.
        made: its confirmation.
        apart: see `remarks.remark`.
    """
    candidate, own = pair
    own_missed = confirm.overall(made.baseline) == "missed"
    if own_missed:
        found.drop_own(own.loads, made.baseline)
    if made.verdict == "missed":
        found.missed[candidate.trial] = made.candidate
        if found.best is None:
            found.confirmation = made
            found.message = f"trial {candidate.trial} missed its SLO when it was confirmed"
        return
    if made.verdict == "undecided" and found.best is not None:
        return
    found.confirmation = made
    baseline = None if own_missed else found.baseline()
    if baseline is not None and made.verdict == "met" and not _improves(found, made):
        found.message = NOT_BETTER
        found.best = found.unconfirmed(baseline)
        return
    if baseline is not None and made.verdict == "undecided" and _worsens(found, made):
        found.message = NOT_BETTER
        return
    found.message = remarks.remark(made, apart=apart)
    found.best = found.confirmed(candidate, made)


def _improves(found: Findings, made: Confirmation) -> bool:
    """Whether the candidate is better: on the first objective with its whole interval, else by the preference."""
    if found.preference.how == "first":
        return found.improves(made)
    return found.score(made.candidate.metrics) > found.score(made.baseline.metrics)


def _worsens(found: Findings, made: Confirmation) -> bool:
    """Whether the candidate is worse, likewise."""
    if found.preference.how == "first":
        gain = found.gain(made)
        return gain is not None and gain.verdict == "worse"
    return found.score(made.candidate.metrics) < found.score(made.baseline.metrics)


def settle(found: Findings, failed: str = "") -> None:
    """Take what is left when no candidate was confirmed: the user's configuration, or the best as measured.

    What missed its SLO when it was measured again is not. With nothing left the run has no best.

    Args:
        found: what is known.
        failed: why the last measurement that could not be made was not, "" where all were.
    """
    if found.confirmation is None:
        found.unmade = failed
        found.message = f"no confirmation could be made: {failed}"
    left = found.baseline() or next(iter(found.not_missed()), None)
    if left is not None:
        found.best = found.unconfirmed(left)
        return
    found.closest = found.closest_measured()
    if not found.unmade:
        found.message = NOTHING_KEPT


def without_challengers(found: Findings, *, of_server: bool, out_of_time: bool) -> None:
    """Take the user's configuration as the best known where no trial met the SLO, or say what came closest.

    Args:
        found: what is known.
        of_server: whether anything of the server was searched.
        out_of_time: whether there was no time to try anything.
    """
    baseline = found.baseline()
    if baseline is not None:
        tried = NOTHING_TRIED if out_of_time else NOTHING_BETTER
        found.message = tried if of_server else ONLY_THE_LOAD
        found.best = found.unconfirmed(baseline)
        return
    found.closest = rank.closest(found.candidates())
    found.message = f"{OWN_MISSED}, and {NOTHING_TRIED}" if out_of_time and not found.spoiled() else found.nothing_met()


def exit_code(found: Findings, *, out_of_time: bool) -> int:
    """Return the exit code of a run that went through.

    Args:
        found: what is known.
        out_of_time: whether there was no time to try anything.
    """
    if found.best is None:
        return UNDECIDED if out_of_time or found.spoiled() or found.unmade else SLO_MISSED
    if out_of_time or found.unmade:
        return UNDECIDED
    return DONE if found.best.confirmed or found.best.trial == 0 else UNDECIDED
