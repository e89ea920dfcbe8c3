"""What a study says where its server has several models at once: who is asked by which workload."""

from tuner.study.arrivals import ClosedSpec
from tuner.study.locustfile import LocustSpec
from tuner.study.source import Source
from tuner.study.spec import StudySpec


def check_several(source: Source, spec: StudySpec) -> None:
    """Check that workloads and models go together.

    Raises:
        StudyError: a workload names no model of several, or one where there is only one; a model that nobody asks; a
            load of one workload's own where workloads are not measured at once.
    """
    models = spec.target.several
    for name, workload in spec.workloads.items():
        place = ("workloads", name)
        if models and workload.model not in models:
            known = ", ".join(models)
            if workload.model is None:
                raise source.error(place, f"`target.models` has several: say which `model` is asked ({known})")
            raise source.error((*place, "model"), f"{workload.model!r} is none of `target.models` ({known})")
        if not models and workload.model is not None:
            raise source.error(
                (*place, "model"), "the server has one model; take it out, or name several in `target.models`"
            )
        arrival = None if isinstance(workload, LocustSpec) else workload.arrival
        if not models and isinstance(arrival, ClosedSpec) and arrival.concurrency is not None:
            raise source.error(
                (*place, "arrival", "concurrency"),
                "is for workloads that are measured at once (`target.models`); give `space.concurrency`",
            )
    asked = {workload.model for workload in spec.workloads.values()}
    for model in models:
        if model not in asked:
            raise source.error(
                ("target", "models", model), "no workload asks it; give one `model: " + model + "`, or take it out"
            )
