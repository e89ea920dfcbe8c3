"""Head to head: two configurations measured against one another, or two stored runs compared."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import ValidationError

from targets.base import Config
from tuner import confirm
from tuner.compare import Metrics, ratios_of_pairs, ratios_of_runs
from tuner.confirm import Contender, Rounds
from tuner.remarks import APART
from tuner.results import Comparison, Ratio, ResultError, Trial, read_result
from tuner.space import Space, server_part
from tuner.study.spec import ConfirmSpec
from tuner.trials import Trier
from tuner.workload import Workload, load_level, parts_of


class NotOneConfig(Exception):
    """A parameter has several values where one configuration is asked for."""


def contender(number: int, user: Config, space: Space, workloads: Sequence[Workload]) -> Contender:
    """Return the configuration that a space of single values says, over the user's own.

    A server knob with several values keeps the user's own value.

    Args:
        number: of the side.
        user: the user's configuration.
        space: with one load level.
        workloads: those of the study.

    Raises:
        NotOneConfig: it has several load levels.
    """
    fixed = {one.name: one.values[0] for one in space if len(one.values) == 1}
    for workload in workloads:
        if len(levels := space.levels(workload.level_name)) > 1:
            raise NotOneConfig(
                f"space.{workload.level_name} has {len(levels)} values; a comparison is made at one: "
                f"add `--set space.{workload.level_name}={levels[-1]:g}`"
            )
    loads = {part.name: workload.at(load_level(workload, fixed)) for workload, part in parts_of(workloads)}
    return Contender(number, {**user, **server_part(space.active(fixed))}, loads)


def measure(trier: Trier, pair: tuple[Contender, Contender], settings: ConfirmSpec) -> Comparison:
    """Measure two configurations in turn (A B B A), both deployed anew several times.

    Args:
        trier: target and instruments.
        pair: ours and theirs.
        settings: redeployments, rounds and their length.

    Raises:
        TargetError, GeneratorError: as `confirm.redeploy_and_measure`.
    """
    gathered = (Rounds(), Rounds())
    rounds = {workload.name: settings.rounds for workload in trier.workloads}
    said = [
        confirm.redeploy_and_measure(trier, pair, gathered, rounds, settings.round)
        for _ in range(settings.redeployments)
    ]
    error = 1 - trier.confidence
    ours, theirs = (confirm.side(trier, one, runs, error) for one, runs in zip(pair, gathered, strict=True))
    ratios = {}
    for _, part in parts_of(trier.workloads):
        sides = (confirm.per_redeployment(trier, runs, part.name) for runs in gathered)
        ratios[part.name] = ratios_of_pairs(list(zip(*sides, strict=True)), own=trier.meter.directions)
    return Comparison(
        ours=ours,
        theirs=theirs,
        redeployments=settings.redeployments,
        rounds=settings.redeployments * settings.rounds,
        ratios=ratios,
        notes=[f"{APART}: {one}" for one in said if one is not None],
    )


def of_stored(ours: Path, theirs: Path) -> dict[str, dict[str, Ratio]]:
    """Compare what two runs found: workload -> metric -> ours / theirs, for the workloads that both have.

    Raises:
        ResultError: a run cannot be read, has found nothing, or no workload is in both.
    """
    first, second = stored_metrics(ours), stored_metrics(theirs)
    common = [name for name in first if name in second]
    if not common:
        raise ResultError(f"{ours} ({', '.join(first)}) and {theirs} ({', '.join(second)}) share no workload")
    return {name: ratios_of_runs(first[name], second[name]) for name in common}


def reasons_of_stored(run: Path) -> list[str]:
    """Return why what `tune bench` measured is not valid; [] where it is, and for a run, whose best was valid.

    Raises:
        ResultError: it cannot be read.
    """
    path = run / "bench.json"
    if not path.exists():
        return []
    trial = _read_bench(path)
    said = [f"{point.workload}: {reason}" for point in trial.points for reason in point.validity.reasons]
    return [f"{path}: {why}" for why in said or ([trial.reason or trial.state] if trial.state == "invalid" else [])]


def stored_metrics(run: Path) -> Mapping[str, Metrics]:
    """Return workload -> metrics of a run's best configuration, or of what `tune bench` measured.

    Raises:
        ResultError: it cannot be read, has no best configuration, was measured at several load levels, or not to its
            end.
    """
    if (run / "bench.json").exists():
        return _of_bench(run / "bench.json")
    result = read_result(run)
    if result.best is None:
        raise ResultError(f"{run}: this run found no configuration to compare: {result.message or result.state}")
    return result.best.metrics


def _of_bench(path: Path) -> dict[str, Metrics]:
    trial = _read_bench(path)
    found: dict[str, Metrics] = {}
    for point in trial.points:
        if point.workload in found:
            raise ResultError(f"{path}: {point.workload} was measured at several load levels; measure one with --set")
        found[point.workload] = point.metrics
    if not found:
        raise ResultError(f"{path}: nothing was measured ({trial.state}): {trial.reason}")
    if trial.state not in ("complete", "invalid"):
        raise ResultError(f"{path}: was not measured to its end ({trial.state}): {trial.reason}; measure it again")
    return found


def _read_bench(path: Path) -> Trial:
    try:
        return Trial.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise ResultError(f"{path}: not a measurement of `tune bench`: {error.errors()[0]['msg']}") from None
