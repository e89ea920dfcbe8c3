"""The lead of a plan: twice what was needed, and longer at once when that was too short."""

import pytest

from tuner.lead import LEAST, MOST, Lead
from tuner.results import Load

EIGHT = [Load(mode="closed", level=8)]
USUAL_NS = 30_800_000


def learnt(*needed_s: float) -> int:
    """Return the lead in ns after plans that needed so long each."""
    lead = Lead()
    for needed in needed_s:
        lead.learn(EIGHT, lead.ns(EIGHT) / 1e9 - needed)
    return lead.ns(EIGHT)


def test_the_first_lead_has_time_for_every_connection() -> None:
    assert learnt() == USUAL_NS
    assert Lead().ns([*EIGHT, Load(mode="open", level=1000)]) == USUAL_NS + 30_000_000


def test_a_lead_becomes_twice_what_is_needed() -> None:
    assert learnt(*[0.005] * 20) == pytest.approx(10e6, rel=0.01)


def test_a_lead_becomes_shorter_slowly() -> None:
    assert learnt(0.001) == pytest.approx(0.8 * USUAL_NS, rel=0.01)


def test_a_lead_becomes_longer_at_once() -> None:
    assert learnt(*[0.004] * 20, 0.007) == pytest.approx(14e6, rel=0.01)


def test_a_lead_that_was_too_short_is_doubled() -> None:
    assert learnt(*[0.005] * 20, 0.012) == pytest.approx(20e6, rel=0.01)


def test_a_lead_stays_within_its_bounds() -> None:
    assert learnt(*[0.0] * 50) == pytest.approx(LEAST * USUAL_NS, rel=0.01)
    assert learnt(*[1.0] * 50) == pytest.approx(MOST * USUAL_NS, rel=0.01)
