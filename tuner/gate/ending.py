"""What there is of a gate that came to no end: a side could not be used, or died, or the gate was interrupted."""

from collections.abc import Sequence

from targets.base import TargetError
from tuner.gate.asked import limits
from tuner.gate.baseline import now
from tuner.gate.document import Form, GateResult, Measurement, RuleFound
from tuner.load.generator import GeneratorError
from tuner.study.load import Study

ENDS = (TargetError, GeneratorError, KeyboardInterrupt)
"""What ends a gate before it has decided anything."""
UNUSABLE, SPOILED, INTERRUPTED = 3, 5, 130


def code_of(error: BaseException) -> int:
    """Return the exit code of one of ENDS."""
    if isinstance(error, TargetError):
        return UNUSABLE
    return SPOILED if isinstance(error, GeneratorError) else INTERRUPTED


def said_of(error: BaseException, label: str = "") -> str:
    """Say in a line what ended a gate.

    Args:
        error: one of ENDS.
        label: of the side that was deployed or measured, "" where that is not known.
    """
    if isinstance(error, KeyboardInterrupt):
        return "interrupted"
    return f"{label}: {error}" if label and isinstance(error, TargetError) else str(error)


def unfinished(
    form: Form,
    sides: tuple[Measurement | None, Measurement],
    why: tuple[BaseException, str],
    *,
    rules: Sequence[RuleFound] = (),
    planned: Sequence[int] = (),
    times_s: tuple[float, float] = (0.0, 0.0),
    notes: Sequence[str] = (),
) -> GateResult:
    """Put together what there is of a gate that came to no end.

    Args:
        form: of the gate.
        sides: what was measured of old and new, which may be nothing.
        why: one of ENDS, and the label of the side, see `said_of`.
        rules: what the last look said.
        planned: after how many redeployments it was to be decided.
        times_s: measured, and in all.
        notes: what a reader should know.
    """
    error, label = why
    old, new = sides
    return GateResult(
        form=form,
        state="unfinished",
        exit_code=code_of(error),
        message=said_of(error, label),
        study=new.study,
        confidence=new.confidence,
        warns=new.inconclusive == "warn",
        redeployments=new.restarts,
        looks=list(planned),
        measured_s=times_s[0],
        wall_s=times_s[1],
        notes=list(notes),
        rules=list(rules),
        figures=[],
        old=old,
        new=new,
    )


def not_begun(
    form: Form,
    sides: Sequence[tuple[str, Study]],
    baseline: Measurement | None,
    error: BaseException,
    notes: Sequence[str] = (),
) -> GateResult:
    """Return what there is of a gate that ended before a side was measured.

    Args:
        form: of the gate.
        sides: label and study of each; the last is the one that is judged.
        baseline: of the form `against`.
        error: one of ENDS.
        notes: what a reader should know.
    """
    made = [_nothing(label, study) for label, study in sides]
    return unfinished(form, (made[0] if form == "ab" else baseline, made[-1]), (error, ""), notes=notes)


def late(result: GateResult, error: BaseException) -> GateResult:
    """Return a verdict after which something went wrong: it stands, with the exit code of that and a note."""
    told = f"after the verdict: {said_of(error)}"
    return result.model_copy(update={"exit_code": code_of(error), "notes": [*result.notes, told]})


def _nothing(label: str, study: Study) -> Measurement:
    """Return the measurement of a side of which nothing was measured."""
    gate = study.spec.gate
    return Measurement(
        study=study.spec.study,
        label=label,
        started=now(),
        host={},
        traffic={},
        environment={},
        config={},
        rules={name: dict(own) for name, own in limits(study).items()},
        bounds={name: dict(own) for name, own in study.spec.bounds().items()},
        confidence=gate.confidence,
        inconclusive=gate.inconclusive,
        workloads={},
    )
