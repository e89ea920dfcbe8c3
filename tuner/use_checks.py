"""What a study asks for of the server's use of its host: whether it can be told, and by whom."""

from collections.abc import Collection, Sequence

from targets.base import Deployment, Exposes, TargetError, TellsGpus
from tuner.study.load import Study
from tuner.study.source import Keys
from tuner.telemetry.nvml import Gpus

OF_GPUS = {
    "energy_per_inference": ("energy_joules", "power_watts"),
    "gpu_utilization": ("utilization",),
    "gpu_memory": ("memory_used_bytes",),
}
"""Metric -> fields of GPUs, one of which it needs."""


def check_use(study: Study, asked: Sequence[tuple[Keys, str]], *, by_server: bool = False) -> None:
    """Check that what the server uses can be told where a study asks for it.

    Args:
        study: that asks.
        asked: place in the study, and the metric, one of those of use.
        by_server: whether a server that runs already may tell it of its GPUs, see `check_told`.

    Raises:
        StudyError: the server runs already and does not tell it, or no GPU of this host does; at that place.
    """
    options = study.spec.target
    if (key := options.url_key) is not None:
        if untold := [one for one in asked if not (by_server and options.tells_gpus and one[1] in OF_GPUS)]:
            place, name = untold[0]
            could = name in OF_GPUS and options.gpus_key is not None and not options.tells_gpus
            hint = f"give `target.{options.gpus_key}`, where it tells of its GPUs, " if could else ""
            raise study.source.error(
                place,
                f"`{name}` is measured of the server's processes, and that at `target.{key}` runs already: its "
                f"processes and GPUs are not known here; {hint}take it out, or let Paretune start the server",
            )
        return
    of_gpus = [(place, name) for place, name in asked if name in OF_GPUS]
    gpus = Gpus() if of_gpus else None
    for place, name in of_gpus:
        if gpus is not None and (why := gpus.lacking(*OF_GPUS[name])):
            raise study.source.error(place, f"no GPU of this host tells `{name}`: {why}; take it out")


def check_told(study: Study, target: object, asked: Sequence[tuple[Keys, str]]) -> None:
    """Check that a server that runs already tells of its GPUs what a study asks for of them.

    Args:
        study: that asks.
        target: its server, which is asked.
        asked: see `check_use`, which has passed it.

    Raises:
        StudyError: none of them tells it; at the place that asks.
        TargetError: the server does not answer.
    """
    if not (study.spec.target.tells_gpus and isinstance(target, TellsGpus)):
        return
    for place, name in asked:
        if name in OF_GPUS and (why := target.lacking_of_gpus(OF_GPUS[name])):
            raise study.source.error(place, f"the server does not tell `{name}`: {why}; take it out")


def processes_of(deployment: Deployment, asked: Collection[str]) -> Sequence[int]:
    """Return the server's processes.

    Args:
        deployment: of the server.
        asked: the metrics of use that a study asks for.

    Raises:
        TargetError: one of them is measured of the processes, and none is known.
    """
    processes = deployment.processes()
    if asked and not processes and (needed := set(asked) - (OF_GPUS.keys() if _tells_gpus(deployment) else set())):
        raise TargetError(
            f"{', '.join(sorted(needed))}: cannot be measured, for the server's processes are not known here; "
            "take it out of `objectives` and `slo`, or let Paretune start the server on this host"
        )
    return processes


def _tells_gpus(deployment: Deployment) -> bool:
    try:
        return isinstance(deployment, Exposes) and deployment.exposed().gpus is not None
    except TargetError:
        return False
