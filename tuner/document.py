"""The document that a run is stored as: what it knows, with what is to be said of its study and its knobs."""

from collections.abc import Mapping, Sequence

from tuner import rank
from tuner.applying import ApplyCosts
from tuner.findings import Findings
from tuner.nesting import knob_names
from tuner.rank import Candidate
from tuner.results import FrontPoint, KnobInfo, Result, RunState, Validity
from tuner.run_info import MetricInfo, SearchInfo, StudyInfo, Timing
from tuner.space import Space
from tuner.study.load import Study


def document(
    found: Findings,
    state: RunState,
    exit_code: int | None,
    environment: Mapping[str, str],
    timing: Timing,
    search: SearchInfo | None = None,
    costs: ApplyCosts = ApplyCosts(),  # noqa: B008 - immutable
) -> Result:
    """Return what is known as a result.

    Args:
        found: what is known.
        state: of the run.
        exit_code: None while it goes on.
        environment: where and with what it runs.
        timing: what took how long.
        search: what is told of it, None where there was none.
        costs: what changes of the knobs took.
    """
    baseline, made = found.baseline(), found.confirmation
    reasons = [*made.candidate.reasons, *made.baseline.reasons] if made else []
    front = rank.pareto(found.candidates(), found.goals)
    return Result(
        state=state,
        exit_code=exit_code,
        message=found.message,
        study=study_info(found.study),
        environment=dict(environment),
        knobs=knob_infos(found.space, costs),
        search=search,
        own_metrics=own_metrics(found.study),
        trials=found.trials,
        front=front,
        baseline=front_point(baseline, front) if baseline else None,
        shortlist=found.shortlist,
        confirmation=made,
        best=found.best,
        closest=found.closest,
        validity=Validity(valid=not reasons, reasons=reasons),
        timing=timing,
    )


def front_point(candidate: Candidate, front: Sequence[FrontPoint]) -> FrontPoint:
    """Return a candidate as the front lists it, or with a membership of 0 where it does not."""
    unlisted = rank.front_point(candidate, 0.0, on_front=False)
    place = unlisted.trial, unlisted.point, unlisted.loads
    return next((one for one in front if (one.trial, one.point, one.loads) == place), unlisted)


def study_info(study: Study) -> StudyInfo:
    """Return what a result says of its study."""
    spec = study.spec
    return StudyInfo(
        name=spec.study,
        path=str(study.source.path.resolve()),
        text=study.shown_text,
        overrides=study.shown_overrides,
        fingerprint=study.fingerprint(),
        seed=spec.search.seed,
        slo=spec.slo.bounds(),
        bounds=spec.bounds(),
        objectives=spec.objectives,
        workloads=list(spec.bounds()),
        price_usd_per_h=spec.report.price,
    )


def own_metrics(study: Study) -> list[MetricInfo]:
    """Return what a result says of the metrics that only this kind of server has."""
    metrics = study.spec.target.metrics_with(knob_names(study.spec.space))
    return [MetricInfo(name=one.name, unit=one.unit, doc=one.doc) for one in metrics]


def knob_infos(space: Space, costs: ApplyCosts) -> list[KnobInfo]:
    """Return what a result says of the parameters searched."""
    return [
        KnobInfo(
            name=parameter.name,
            unit=parameter.knob.unit,
            applied=parameter.knob.applied,
            doc=parameter.knob.doc,
            values=list(parameter.values),
            apply_s=costs.knobs.get(parameter.name),
            changes_answers=parameter.knob.changes_answers,
        )
        for parameter in space
    ]
