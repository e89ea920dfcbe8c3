"""Deploy several configurations side by side, where the server takes them and what is asked can be told of each."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

from targets.base import Config, ConfigRefused, Deployment, LoadsTogether, ServerDied
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
    """Deploy all contenders, in the order of their turn; those of one trial share a deployment.

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
    trials = [trial for trial, _ in contenders]
    if not trier.target.side_by_side or len(set(trials)) > trier.room:
        return found, None
    order = list(dict.fromkeys(trials.index(trials[index]) for index in turn))
    if made := _at_once(trier, [(contenders[index][1], f"contender{index}") for index in order]):
        found = dict(zip(order, made, strict=True))
        return {index: found[trials.index(trials[index])] for index in turn}, None
    for index in order:
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
    return {index: found[trials.index(trials[index])] for index in turn}, None


def _at_once(trier: Trier, wanted: Sequence[tuple[Config, str]]) -> Sequence[Deployment]:
    """Deploy all at once; () where the target does not, or takes them one after the other at most.

    Which of them is refused, and what the memory is of, shows when one comes after the other.
    """
    target = trier.target
    if not isinstance(target, LoadsTogether) or not target.loads_together:
        return ()
    if len(wanted) < 2 or trier.meter.asked & MEMORY:
        return ()
    try:
        return trier.deploy_together(target, wanted)
    except ConfigRefused:
        return ()
    except ServerDied:
        trier.target.start()
        return ()


def distinct(deployments: Collection[Deployment]) -> list[Deployment]:
    """Return deployments that contenders may share, each once."""
    return list({id(one): one for one in deployments}.values())


def parted(deployments: Collection[Deployment]) -> Callable[[Run], Run]:
    """Return what takes from a run of one of the deployments the memory that others have a part in.

    Which processes they have is asked once: looking for them takes longer than what a round may wait.
    """
    beside = distinct(deployments)
    if len(beside) < 2:
        return lambda run: run
    shared = _share_processes(beside)
    return lambda run: replace(run, used=without_memory(run.used, shared=shared))


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
