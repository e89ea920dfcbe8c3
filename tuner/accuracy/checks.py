"""What bounds and objectives on accuracy need of the requests."""

from collections.abc import Mapping, Sequence

from tuner.accuracy.scored import scorings_of
from tuner.accuracy.scoring import Scoring
from tuner.catalog import LABELLED
from tuner.objective import parse_goals
from tuner.study.load import Study
from tuner.study.source import Keys
from tuner.study.traffic import WorkloadSpec
from tuner.workload import Workload

_NAMES = (*LABELLED, "accuracy_drop")


def check_labels(study: Study, workloads: Sequence[Workload]) -> None:
    """Check that what the study asks of accuracy is measured.

    Raises:
        StudyError: a bound or an objective needs labels, or another kind of accuracy, than the requests have.
    """
    scorings = scorings_of(workloads)
    for name in set(_NAMES) & set(study.spec.slo.bounds()):
        require(study, ("slo", name), name, scorings)
    for workload, spec in study.spec.workloads.items():
        parts = {part: one for part, one in scorings.items() if part.partition(".")[0] == workload}
        for name in set(_NAMES) & set(spec.slo.bounds()):
            require(study, ("workloads", workload, "slo", name), name, parts, "this workload")
        classes = "mix" if isinstance(spec, WorkloadSpec) else "classes"
        for of_class, one in (spec.mix or {}).items():
            part = f"{workload}.{of_class}"
            own = {part: scorings[part]} if part in scorings else {}
            for name in set(_NAMES) & set(one.slo.bounds()):
                require(study, ("workloads", workload, classes, of_class, "slo", name), name, own, "this class")
    for index, goal in enumerate(parse_goals(study.spec.objectives, workloads[0].name)):
        if goal.metric in LABELLED:
            own = {goal.workload: scorings[goal.workload]} if goal.workload in scorings else {}
            require(study, ("objectives", index), goal.metric, own, f"workload {goal.workload!r}")
            if index == 0:
                raise study.source.error(
                    ("objectives", 0),
                    f"{goal.metric} cannot be the first objective: it is the same at every load, so nothing would be "
                    "searched under load; give it after another one, or as a bound in `slo`",
                )


def require(study: Study, place: Keys, name: str, scorings: Mapping[str, Scoring], whose: str = "no workload") -> None:
    """Check that scores tell of what is asked of accuracy.

    Args:
        study: that asks.
        place: where it does.
        name: of the metric.
        scorings: workload, or class of one -> how its labelled items are scored.
        whose: these are, in words.

    Raises:
        StudyError: there are none, or they are of another kind.
    """
    if not scorings:
        of = (
            "no workload's requests have labels"
            if whose == "no workload"
            else f"the requests of {whose} have no labels"
        )
        raise study.source.error(place, f"{of} to judge accuracy by")
    errors = [one.is_error for one in scorings.values()]
    if name == "accuracy" and all(errors):
        raise study.source.error(place, "the requests' accuracy is an error: give `prediction_error` in its place")
    if name == "prediction_error" and not any(errors):
        raise study.source.error(
            place, "the requests' accuracy is no error: give `accuracy`, or an `accuracy.kind` that is one"
        )
