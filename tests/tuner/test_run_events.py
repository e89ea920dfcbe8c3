"""The events of a run: every field that is written is documented, and every number is JSON's."""

import io
import json
import math
import re
from pathlib import Path
from typing import Any

from tests.tuner.result_builders import GOALS, point, result, trial
from tuner.events import Events, write_finished, write_started
from tuner.results import Validity

PAGE = Path(__file__).parents[2] / "docs" / "commands" / "run.md"


def told(*trials: Any) -> list[dict[str, Any]]:
    """Return what is written of a run that calls every method."""
    out = io.StringIO()
    events = Events(out, (), GOALS)  # type: ignore[arg-type] - a space is iterated over
    write_started(out, "queue", Path("runs/queue/1"), 40, 300.0)
    events.phase("search", "12 configurations")
    events.attempt(1, {"instances": 2})
    for one in trials:
        events.trial(one, None)
    events.progress(1.5, 300.0)
    events.note("words")
    write_finished(out, result(*trials), Path("runs/queue/1"))
    return [json.loads(line, parse_constant=_refused) for line in out.getvalue().splitlines()]


def _refused(constant: str) -> float:
    raise AssertionError(f"{constant} is no JSON")


def documented() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for event, field in re.findall(r"^\| `(\w+)` \| `(\w+)` \|", PAGE.read_text(), re.MULTILINE):
        found.setdefault(event, []).append(field)
    return found


def measured(number: int, **values: Any) -> Any:
    one = point(**values)
    goodput = {"goodput_rps": one.metrics["throughput_rps"]}
    return trial(number, one.model_copy(update={"metrics": {**one.metrics, **goodput}}))


def test_every_field_of_an_event_is_documented() -> None:
    written = {one["event"]: [name for name in one if name not in ("event", "at")] for one in told(measured(0))}
    assert written == documented()


def test_a_gain_is_over_a_baseline_that_meets_the_slo() -> None:
    fine, better = measured(0, throughput=100), measured(1, throughput=150)
    assert [one["gain"] for one in told(fine, better) if one["event"] == "trial"] == [None, 1.5]
    missing = measured(0, throughput=100, violations={"p99": 0.5})
    assert [one["gain"] for one in told(missing, better) if one["event"] == "trial"] == [None, None]
    assert [one["missed"] for one in told(missing) if one["event"] == "trial"] == [["steady.p99"]]


def test_an_infinite_latency_is_null() -> None:
    (one,) = [one for one in told(measured(0, p99=math.inf)) if one["event"] == "trial"]
    assert one["values"] == {"steady.throughput": 100.0, "steady.p99": None}


def test_a_trial_that_was_spoiled_in_part_has_the_numbers_that_count() -> None:
    fine, late = measured(1, throughput=150, level=8).points[0], measured(1, throughput=50, level=16).points[0]
    spoiled = late.model_copy(update={"validity": Validity(valid=False, reasons=["late"])})
    made = trial(1, fine, spoiled, state="invalid").model_copy(update={"reason": "steady: late"})
    (one,) = [one for one in told(measured(0), made) if one["event"] == "trial" and one["trial"] == 1]
    assert (one["state"], one["reason"], one["level"], one["gain"]) == ("invalid", "steady: late", 8.0, 1.5)
    assert one["values"]["steady.throughput"] == 150.0


def test_a_trial_of_which_nothing_counts_has_no_numbers() -> None:
    made = trial(1, *measured(1).points, state="crashed").model_copy(update={"reason": "it died"})
    (one,) = [one for one in told(made) if one["event"] == "trial"]
    assert (one["level"], one["values"], one["missed"], one["gain"]) == (None, {}, [], None)
