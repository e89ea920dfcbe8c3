"""Confirm: measure configurations against one another in short interleaved rounds, both sides alive, redeployed anew.

A machine drifts over seconds, so many short rounds in turn (A B B A) beat few long ones; a deployment has its own luck
(memory layout, thread placement), so the intervals are over redeployments, not over rounds.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from targets.base import Config
from tuner import results, side_by_side, verdicts
from tuner.cache_latencies import server_of
from tuner.catalog import BOUNDED, METRICS
from tuner.compare import ratios_of_pairs
from tuner.metrics import generator_report
from tuner.offered import Offered
from tuner.rank import Candidate
from tuner.results import Confirmation, Estimate, Load, Point, Side, SloVerdict, Trial
from tuner.runs import Run, pooled_runs
from tuner.stats import P99_MIN_SAMPLES, certain_from
from tuner.stopping import Pace, slo_verdicts
from tuner.study.spec import ConfirmSpec
from tuner.trials import Trier
from tuner.workload import Workload, at_most, groups, longest_round_s, part_named, parts_of, rounds_of

DROPPED_SHARE = 0.2
"""Share of a round that is its transient and not counted."""
MAX_ROUNDS_FACTOR = 4
MOST_ROUNDS = 1000
"""Draws of a workload that a redeployment may take; each round of it has one that all sides share."""
MARGIN = 1.5


@dataclass(frozen=True)
class Contender:
    """A configuration in the comparison, with the load it is measured at on each workload, and each class of a mix."""

    trial: int
    config: Config
    loads: Mapping[str, Load]

    def offered(self, workloads: Sequence[Workload]) -> list[Offered]:
        """Return workloads at the loads that this one is measured at."""
        return [Offered(workload, self.loads[workload.name]) for workload in workloads]


@dataclass
class Rounds:
    """Runs of one contender: workload -> one list of runs per redeployment."""

    runs: dict[str, list[list[Run]]] = field(default_factory=dict)

    def begin(self, workloads: Sequence[Workload]) -> None:
        """Begin with a redeployment on workloads."""
        for one in workloads:
            self.runs.setdefault(one.name, []).append([])

    def add(self, offered: Sequence[Offered], runs: Sequence[Run]) -> None:
        """Add what was measured of them, in the same order."""
        for one, run in zip(offered, runs, strict=True):
            self.runs[one.workload.name][-1].append(run)

    @property
    def redeployments(self) -> int:
        """How many there are so far."""
        return len(next(iter(self.runs.values()), ()))

    def cut(self, redeployments: int) -> None:
        """Forget what came after so many redeployments."""
        for redeployed in self.runs.values():
            del redeployed[redeployments:]

    def count(self, workload: str) -> int:
        """Return how many rounds, or longer measurements in their place, there are of a workload."""
        return sum(map(len, self.runs[workload]))

    def pooled(self, workload: str) -> Run:
        """Return all runs of a workload together."""
        return pooled_runs([run for group in self.runs[workload] for run in group])

    def per_redeployment(self, workload: str) -> list[Run]:
        """Return one pooled run for each redeployment."""
        return [pooled_runs(group) for group in self.runs[workload]]


def contender_of(one: Candidate) -> Contender:
    """Return a candidate as a contender: at the loads that its points were measured at."""
    return Contender(one.trial.number, one.trial.config, one.loads)


def contender(trial: Trial, point: int, workloads: Sequence[Workload]) -> Contender:
    """Return a trial's point as a contender where nothing valid goes with it: at any load that it was measured at.

    That is its own load on every workload that was measured under it, and the first one on the others.
    """
    chosen = trial.points[point]
    if chosen.window is not None:
        together = {one.workload: one.load for one in trial.points if one.window == chosen.window}
        return Contender(trial.number, trial.config, together)
    loads = {}
    for workload in workloads:
        same = [one.load for one in trial.points if one.workload == workload.name]
        loads[workload.name] = chosen.load if chosen.load in same else same[0]
    loads[chosen.workload] = chosen.load
    return Contender(
        trial.number, trial.config, {part.name: loads[workload.name] for workload, part in parts_of(workloads)}
    )


def redeploy_and_measure(
    trier: Trier,
    contenders: Sequence[Contender],
    gathered: Sequence[Rounds],
    rounds: Mapping[str, int],
    round_s: float,
    others: int | None = None,
) -> str | None:
    """Deploy every contender anew and measure all of them on every workload.

    Where the server can have them side by side they are measured in turn, and the order of measuring alternates from
    one round to the next. Where it cannot, or has no room for so many, or the memory that the study asks for would be
    that of all, each is deployed and measured for as long as all its rounds would take, one after the other. The order
    of deployment alternates from one call to the next. Each round is another draw of the traffic, the same one for all
    contenders.

    Args:
        trier: target, instruments and workloads; it learns how many deployments there is room for.
        contenders: the configurations.
        gathered: one per contender; what was measured is added.
        rounds: workload -> rounds of each contender.
        round_s: length of a round; a bursty workload gets four of its periods at least.
        others: most rounds of a workload that all but the first take; None: as many as the first.

    Returns:
        Why they cannot be side by side, if that was found out here.

    Raises:
        ConfigRefused, ServerDied, GeneratorError: one cannot be deployed, or not be measured.
    """
    calls = gathered[0].redeployments
    turn = list(range(len(contenders)))[:: 1 if calls % 2 == 0 else -1]
    deployments, full = side_by_side.deployed(trier, [(one.trial, one.config) for one in contenders], turn)
    if not deployments:
        for index in turn:
            own = rounds if index == 0 else at_most(rounds, others)
            _measure_alone(trier, contenders[index], gathered[index], own, round_s)
        if full is None:
            return None
        trier.room = full.fitting  # not before each was loaded alone: what is never taken says nothing of the room
        return full.why
    for index, deployment in deployments.items():  # what is known of a variant is not asked again
        trier.learn_accuracy(deployment, trier.variant(contenders[index].config))
    own_part = side_by_side.parted(deployments.values())
    for group in groups(trier.workloads):
        length = longest_round_s(group, round_s)
        pace = Pace.fixed(DROPPED_SHARE * length, (1 - DROPPED_SHARE) * length)
        for one in gathered:
            one.begin(group)
        most, shared = rounds_of(group, rounds), rounds_of(group, at_most(rounds, others))
        for number, turns in enumerate(in_turn(len(contenders), most, shared, reverse=calls % 2 == 1)):
            drawn = [workload.drawn_anew(calls * MOST_ROUNDS + number) for workload in group]
            for index in turns:
                offered = contenders[index].offered(drawn)
                runs = trier.measure_at_once(deployments[index], offered, pace)
                gathered[index].add(offered, [own_part(run) for run in runs])
    for deployment in side_by_side.distinct(deployments.values()):
        trier.retire(deployment)
    return None


def in_turn(sides: int, most: int, shared: int, *, reverse: bool) -> Iterator[Sequence[int]]:
    """Yield, for each round, which sides are measured in it, and in what order.

    The first side is in all of them. The others are in `shared`, evenly spread over the time, since a machine drifts;
    in these the order is swapped from one to the next.

    Args:
        sides: how many.
        most: rounds of the first.
        shared: rounds of the others, `most` at most.
        reverse: begin with the last side.
    """
    so_far = 0
    for number in range(1, most + 1):
        if ((2 * number - 1) * shared + most) // (2 * most) == so_far:
            yield (0,)
            continue
        order = range(sides)
        yield order if (so_far % 2 == 1) == reverse else order[::-1]
        so_far += 1


def _measure_alone(trier: Trier, one: Contender, gathered: Rounds, rounds: Mapping[str, int], round_s: float) -> None:
    """Deploy one contender and measure each workload once, for as long as its rounds together."""
    deployment = trier.deploy(one.config, "contender")
    trier.learn_accuracy(deployment, trier.variant(one.config))
    for group in groups(trier.workloads):
        window_s = rounds_of(group, rounds) * (1 - DROPPED_SHARE) * longest_round_s(group, round_s)
        pace = Pace(trier.pace.warmup_s, trier.pace.max_warmup_s, window_s, window_s)
        calls = len(gathered.runs.get(group[0].name, ()))
        offered = one.offered([workload.drawn_anew(calls) for workload in group])
        gathered.begin(group)
        gathered.add(offered, trier.measure_at_once(deployment, offered, pace))
    trier.retire(deployment)


def rounds_needed(
    trier: Trier, contenders: Sequence[Contender], trials: Mapping[int, Trial], settings: ConfirmSpec
) -> dict[str, int]:
    """Return workload -> rounds per redeployment that the first look at the SLO's verdicts needs, within reason.

    It is the candidate whose verdicts end the confirmation; the baseline takes `settings.rounds` of them.

    A class of a mix needs as many of its own requests.

    "At most a share q of the requests" is certain with an error e, without a single one seen, from ln(e) / ln(1 - q)
    independent requests on; MARGIN times as many leave room for some that are seen. A p99 needs P99_MIN_SAMPLES.
    """
    error = allowed_error(trier.confidence, settings, settings.redeployments)
    needed = {}
    for workload in trier.workloads:
        group = next(one for one in groups(trier.workloads) if workload in one)
        length = (1 - DROPPED_SHARE) * longest_round_s(group, settings.round)
        points = [
            (_measured(trials[one.trial], part.name, one.loads[part.name]), trier.meter.slos[part.name].bounds)
            for part in workload.parts
            for one in contenders
        ]
        seconds = max(
            (_seconds_needed(point, bounds, error / len(workload.parts)) for point, bounds in points), default=0.0
        )
        rounds = math.ceil(seconds / (length * settings.redeployments))
        needed[workload.name] = min(max(settings.rounds, rounds), MAX_ROUNDS_FACTOR * settings.rounds)
    return needed


def _seconds_needed(point: Point, bounds: Mapping[str, float], error: float) -> float:
    """Return how long the load of a point has to be measured for verdicts on these bounds, in seconds."""
    shares = {name: one.allowed for name, one in BOUNDED.items() if one.allowed is not None}
    independent = max((certain_from(shares[name], error) for name in bounds if name in shares), default=0.0)
    requests = certain_from(bounds.get("error_rate", 0.0), error)
    if "p99" in bounds:
        requests = max(requests, P99_MIN_SAMPLES)
    return max(requests / _offered(point), MARGIN * independent * point.window_s / max(1.0, point.independent))


def more_rounds(rounds: Mapping[str, int], one: Side, settings: ConfirmSpec, *, most: bool = False) -> dict[str, int]:
    """Return workload -> rounds of the next redeployment: more where an SLO is undecided, the fewest elsewhere.

    Args:
        rounds: of the redeployment before.
        one: the candidate.
        settings: rounds of the study, a multiple of which are the most.
        most: as many as there can be, and not twice those before.
    """
    limit = MAX_ROUNDS_FACTOR * settings.rounds
    return {
        name: (limit if most else min(2 * count, limit))
        if results.overall(_verdicts_on(one, name)) == "undecided"
        else settings.rounds
        for name, count in rounds.items()
    }


def _verdicts_on(one: Side, workload: str) -> list[SloVerdict]:
    """Return the verdicts on a workload and on the classes of its mix."""
    found = (by_slo for name, by_slo in one.verdicts.items() if name.partition(".")[0] == workload)
    return [verdict for by_slo in found for verdict in by_slo.values()]


def allowed_error(confidence: float, settings: ConfirmSpec, redeployments: int) -> float:
    """Return the error that the verdicts after so many redeployments may make.

    The confirmation looks at them after the planned redeployments, and after each further one while an SLO is
    undecided. Half of the error is the first look's, the others share the rest.
    """
    further = settings.max_redeployments - settings.redeployments
    if further <= 0:
        return 1 - confidence
    return (1 - confidence) / 2 if redeployments <= settings.redeployments else (1 - confidence) / 2 / further


def _measured(trial: Trial, workload: str, load: Load) -> Point:
    return next(one for one in trial.points if one.workload == workload and one.load == load)


def _offered(point: Point) -> float:
    return max(1.0, point.metrics[METRICS["offered"].key].value)


def side(trier: Trier, one: Contender, gathered: Rounds, error: float) -> Side:
    """Summarise everything gathered of a contender, with a verdict on every SLO and workload.

    Args:
        trier: target and instruments.
        one: the contender.
        gathered: what was measured of it.
        error: that a verdict may make.
    """
    metrics, judged, server, generator, reasons = {}, {}, {}, {}, []
    for workload in trier.workloads:
        run = gathered.pooled(workload.name)
        for part in workload.parts:
            own, slo = run.of_part(part), trier.meter.slos[part.name]
            found = trier.meter.summary(own, part.name)
            found |= trier.accuracies.metrics(trier.variant(one.config), part.name)
            metrics[part.name] = found
            judged[part.name] = {
                **verdicts.slo_verdicts(found, slo.bounds),
                **slo_verdicts(own.records, slo.bounds, error / len(workload.parts)),
            }
        validity = trier.meter.validity(run, workload, workload.parts[0], metrics[workload.name])
        server[workload.name] = server_of(run)
        generator[workload.name] = generator_report(run.records, run.report)
        reasons += [f"{workload.name}: {reason}" for reason in validity.reasons]
    return Side(
        trial=one.trial,
        config=dict(one.config),
        load=one.loads[trier.workloads[0].name],
        loads={workload.name: one.loads[workload.name] for workload in trier.workloads[1:]},
        metrics=metrics,
        verdicts=judged,
        server={name: numbers for name, numbers in server.items() if numbers is not None},
        generator=generator,
        valid=not reasons,
        reasons=reasons,
    )


def overall(one: Side) -> SloVerdict:
    """Return missed if any SLO is missed on any workload, undecided if any is undecided or not valid, else met."""
    together = results.overall(verdict for by_slo in one.verdicts.values() for verdict in by_slo.values())
    return "undecided" if together == "met" and not one.valid else together


def confirmation(
    trier: Trier,
    pair: tuple[Contender, Contender],
    gathered: tuple[Rounds, Rounds],
    rounds: int,
    workload: str,
    error: float,
) -> Confirmation:
    """Compare a candidate with the baseline: ratios on one workload, with intervals over redeployments.

    Args:
        trier: target and instruments.
        pair: candidate and baseline.
        gathered: what was measured of each.
        rounds: of the side and the workload measured least.
        workload: whose ratios are wanted: that of the first objective.
        error: that an SLO's verdict may make.
    """
    candidate, baseline = (side(trier, one, runs, error) for one, runs in zip(pair, gathered, strict=True))
    ours, theirs = (per_redeployment(trier, runs, workload) for runs in gathered)
    return Confirmation(
        candidate=candidate,
        baseline=baseline,
        redeployments=len(ours),
        rounds=rounds,
        gains=ratios_of_pairs(list(zip(ours, theirs, strict=True)), own=trier.meter.directions),
        verdict=overall(candidate),
    )


def per_redeployment(trier: Trier, gathered: Rounds, name: str) -> list[dict[str, Estimate]]:
    """Return the metrics of each redeployment on a workload, or on a class of one."""
    workload, part = part_named(trier.workloads, name)
    return [trier.meter.summary(run.of_part(part), name) for run in gathered.per_redeployment(workload.name)]
