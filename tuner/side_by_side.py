"""Deploy several configurations side by side, where the server takes them and what is asked can be told of each."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

from targets.base import Config, ConfigRefused, Deployment, ServerDied
from tuner.runs import Run
from tuner.trials import Trier
from tuner.usage_metrics import MEMORY, without_memory


@dataclass(frozen=True)
class Full:
    """That no more stand side by side: how many do if the server takes the next one alone, and why."""

    fitting: int
    why: str


def deployed(
    trier: Trier, contenders: Sequence[tuple[int, Config]], turn: Sequence[int]
) -> tuple[dict[int, Deployment], Full | None]:
    """Deploy all contenders, in the order of their turn.

    Args:
        trier: target and instruments.
        contenders: trial and configuration of each.
        turn: the order of deploying, as indices.

    Returns:
        Index -> deployment. None where one is refused beside others, or the memory that the study asks for could not be
        told of each; with what it is, if it is new.

    Raises:
        ConfigRefused, ServerDied: of the first of them, with nothing beside it.
    """
    found: dict[int, Deployment] = {}
    if not trier.target.side_by_side or len(contenders) > trier.room:
        return found, None
    for index in turn:
        trial, config = contenders[index]
        try:
            found[index] = trier.deploy(config, f"contender{index}")
        except (ConfigRefused, ServerDied) as error:
            if not found:
                raise
            if isinstance(error, ServerDied):
                trier.target.start()
            else:
                _retire(trier, found.values())
            beside = ", ".join(str(contenders[other][0]) for other in found)
            return {}, Full(len(found), f"trial {trial} could not be loaded beside {beside}: {error}")
        if why := _not_of_each(trier.meter.asked, list(found.values())):
            _retire(trier, found.values())
            return {}, Full(1, why)
    return found, None


def of_one(run: Run, deployments: Collection[Deployment]) -> Run:
    """Return what was measured of one of the deployments, without the memory that others have a part in."""
    if len(deployments) < 2:
        return run
    return replace(run, used=without_memory(run.used, shared=_share_processes(list(deployments))))


def _not_of_each(asked: frozenset[str], deployments: Sequence[Deployment]) -> str:
    """Say why the memory that a study asks for is not told of each deployment, "" where it is, or is not asked."""
    names = " and ".join(sorted(asked & MEMORY))
    if not names or len(deployments) < 2:
        return ""
    if _share_processes(deployments):
        return f"they are on one server, and {names} would be of everything that it has loaded"
    if "gpu_memory" in asked:
        return "not every GPU tells whose its memory is, and gpu_memory would be of all that are on it"
    return ""


def _share_processes(deployments: Sequence[Deployment]) -> bool:
    processes = [frozenset(one.processes()) for one in deployments]
    return any(one & other for one, other in combinations(processes, 2))


def _retire(trier: Trier, deployments: Collection[Deployment]) -> None:
    for one in deployments:
        trier.retire(one)
