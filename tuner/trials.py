"""Try one configuration: deploy it, measure every workload, and turn whatever happens into a trial."""

import math
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import count
from pathlib import Path
from statistics import median

from targets.base import (
    Config,
    ConfigRefused,
    Deployment,
    LoadsTogether,
    ServerDied,
    ServerHung,
    Target,
    TargetError,
    Unfit,
)
from tuner.accuracy.variants import Accuracies
from tuner.budget import ROUND_OVERHEAD_S
from tuner.catalog import TOTALS
from tuner.load.generator import GeneratorError, LoadLost
from tuner.load_plans import Climb, InTurn, Ladder, LoadPlan
from tuner.measure import Meter
from tuner.objective import Goal
from tuner.offered import Offered
from tuner.results import Load, Point, Trial, TrialState
from tuner.runs import Run
from tuner.space import Space, server_part
from tuner.stopping import Aims, Pace
from tuner.sustained import settled, sustained
from tuner.validity import answered, require_answers, short_of_requests
from tuner.window_points import points_of, records_path, save_run
from tuner.workload import Workload, at_once, every_load, groups, load_level

ALIAS = "candidate"
ATTEMPTS = 2
"""How often a point is measured before it is given up as spoiled by the load generator."""


@dataclass
class Trier:
    """Tries configurations on a target.

    Attributes:
        target: the server.
        meter: the instruments.
        workloads: every configuration meets all of them.
        accuracies: filled as variants are met.
        pace: how long a point takes.
        goals: the study's objectives.
        tolerance: half of the width of the objective's interval over its value that is tight enough.
        confidence: of an SLO's verdict.
        ladder: load levels, where the highest sustainable ones are looked for; None: a proposal has its level.
        run_path: the run directory; records go to its `records` folder.
        measured_s: time spent under load so far.
        applied_s: time that the server took to start, and to load and unload configurations, so far.
        repeated: measurements that were begun anew so far, because a part of the load generator was lost in them.
        in_doubt: points of climbs so far that had too few requests for a verdict.
        room: deployments that fit side by side, as far as that was found out.
        at_once_s: what each of several deployments took that were loaded at once, the last time; None: none were.
    """

    target: Target
    meter: Meter
    workloads: Sequence[Workload]
    accuracies: Accuracies
    pace: Pace
    goals: Sequence[Goal]
    tolerance: float
    confidence: float
    run_path: Path
    ladder: Ladder | None = None
    measured_s: float = 0.0
    applied_s: float = 0.0
    repeated: int = 0
    in_doubt: int = 0
    room: float = math.inf
    at_once_s: float | None = None
    _beside_s: list[float] = field(default_factory=list)
    _deployed: Deployment | None = None
    _serves: Config | None = None
    _ahead_s: float = 0.0
    _reached: dict[str, float] = field(default_factory=dict)

    def deploy(self, config: Config, alias: str) -> Deployment:
        """Load the server's part of a configuration, see `Target.deploy`, and account for its time."""
        self._serves = None  # it may take the place of what was tried last
        with self.applying():
            return self.target.deploy(server_part(config), alias)

    def deploy_ahead(self, config: Config) -> None:
        """Load what is tried first; its trial counts what that took as its own, or is refused as this was."""
        applied_s = self.applied_s
        with suppress(TargetError):
            self._deployed = self.deploy(config, ALIAS)
            self._serves, self._ahead_s = server_part(config), self.applied_s - applied_s

    def _taken_ahead_s(self, config: Config) -> float:
        """Return what it took to load a configuration ahead, once; 0 where it was not."""
        ahead_s, self._ahead_s = self._ahead_s, 0.0
        return ahead_s if self._serves == server_part(config) else 0.0

    def deploy_together(self, target: LoadsTogether, wanted: Sequence[tuple[Config, str]]) -> Sequence[Deployment]:
        """Load the server's part of several configurations at once, as `deploy` loads one."""
        self._serves = None
        began = time.monotonic()
        with self.applying():
            made = target.deploy_together([(server_part(config), alias) for config, alias in wanted])
        self.at_once_s = (time.monotonic() - began) / len(wanted)
        return made

    def _in_place(self, config: Config, *, ahead: bool) -> Deployment:
        """Return what serves a configuration: the server of the trial before, where only their loads differ.

        It is kept where any other change starts it anew. Other servers are told again, and take the same for no change;
        but what was loaded `ahead` stands as it is.
        """
        wanted = server_part(config)
        kept = ahead or all(knob.applied == "restart" for knob in self.target.knobs())
        if self._deployed is None or self._serves != wanted or not kept or not self.target.alive():
            self._deployed = self.deploy(config, ALIAS)
            self._serves = wanted
        return self._deployed

    def retire(self, deployment: Deployment) -> None:
        """Unload what was deployed, and account for its time."""
        with self.applying():
            deployment.retire()

    def spent(self) -> dict[str, float]:
        """Return the seconds that went into measuring and applying, as `take_up` takes them up."""
        return {"measured_s": self.measured_s, "applied_s": self.applied_s}

    def take_up(self, spent: Mapping[str, float]) -> None:
        """Add what an earlier session of the run spent."""
        self.measured_s += float(spent.get("measured_s", 0.0))
        self.applied_s += float(spent.get("applied_s", 0.0))

    @contextmanager
    def applying(self) -> Iterator[None]:
        """Account for what the server takes to load or unload something."""
        started = time.monotonic()
        try:
            yield
        finally:
            self.applied_s += time.monotonic() - started

    def learn_reference(self, config: Config) -> None:
        """Measure the accuracy that drops are counted from.

        Raises:
            ConfigRefused, ServerDied: the configuration cannot be measured.
        """
        self.accuracies.reference = self.variant(config)
        self.learn_accuracy(self.deploy(config, ALIAS), self.variant(config))

    def variant(self, config: Config) -> str:
        """Return what a configuration says of the knobs that change answers, "" where it says nothing of them."""
        changing = [knob.name for knob in self.target.knobs() if knob.changes_answers and knob.name in config]
        return ", ".join(f"{name} {config[name]}" for name in changing)

    def release(self) -> None:
        """Unload the configuration tried last."""
        if self._deployed is not None:
            with suppress(TargetError):
                self.retire(self._deployed)
            self._deployed = self._serves = None

    def baseline(self, config: Config, space: Space) -> Trial:
        """Measure the user's configuration at every load level that candidates may get, or climb as they do.

        Raises:
            TargetError: the server was lost and could not be started again.
        """
        if self.ladder is not None:
            return self.climbed(0, config)
        return self.trial(0, config, InTurn(every_load(self.workloads, space)))

    def attempt(self, number: int, config: Config, rivals: Sequence[Point]) -> Trial:
        """Try a proposal at its load level: one point per workload.

        Args:
            number: of the trial.
            config: the proposal.
            rivals: the front so far; a point that they certainly dominate is not measured to the end.

        Raises:
            TargetError: the server was lost and could not be started again.
        """
        if self.ladder is not None:
            return self.climbed(number, config)
        windows = [
            tuple((workload, workload.at(load_level(workload, config))) for workload in group)
            for group in groups(self.workloads)
        ]
        return self.trial(number, config, InTurn(windows), rivals)

    def climbed(self, number: int, config: Config) -> Trial:
        """Try a configuration at the loads that lead to the highest sustainable ones; begin at those of the one before.

        Raises:
            TargetError: the server was lost and could not be started again.
        """
        assert self.ladder is not None, "asked for where the study climbs"
        trial = self.trial(number, config, Climb(self.workloads, self.ladder, self._reached))
        self.climbed_before([trial])
        found = [self._with_doubts(point) for point in trial.points]
        self.in_doubt += sum(one is not before for one, before in zip(found, trial.points, strict=True))
        return trial.model_copy(update={"points": found})

    def climbed_before(self, trials: Iterable[Trial]) -> None:
        """Begin the next climb of each workload at the load that the last of these trials sustained of it, if any."""
        for trial in trials:
            for point in filter(sustained, trial.points):
                levels = [one.load.level for one in trial.points if one.workload == point.workload and sustained(one)]
                self._reached[point.workload] = max(levels)

    @property
    def climbs_apart(self) -> bool:
        """Whether several workloads climb, each by itself."""
        climbing = [one for one in self.workloads if self.ladder is not None and self.ladder.of(one)]
        return len(climbing) > 1 and not at_once(self.workloads)

    def _with_doubts(self, point: Point) -> Point:
        """Return a point of a climb, with a warning where too few requests say whether its load is sustained."""
        workload = next(one for one in self.workloads if point.workload in [part.name for part in one.parts])
        error = self._aims(workload, (), climbs=True).error(len(self.pace.looks_s()))
        validity, short = point.validity, short_of_requests(point, error)
        warnings = {"warnings": [*validity.warnings, *short]}
        return point.model_copy(update={"validity": validity.model_copy(update=warnings)}) if short else point

    def trial(self, number: int, config: Config, loads: LoadPlan, rivals: Sequence[Point] | None = None) -> Trial:
        """Measure a configuration under the loads of a plan, deployed unless the trial before left it so.

        Args:
            number: of the trial.
            config: what is tried.
            loads: say which workloads, at which levels.
            rivals: the front so far if this is a proposal: once it missed an SLO or is dominated, what is left of it is
                measured for the shortest time. None: every load is a question of its own.

        Raises:
            TargetError: what concerns more than this configuration.
        """
        ahead_s = self._taken_ahead_s(config)
        started, applied_s = time.monotonic() - ahead_s, self.applied_s - ahead_s
        points: list[Point] = []
        apply_s, windows = 0.0, 0

        def ended(state: TrialState, reason: str | None = None) -> Trial:
            return Trial(
                number=number,
                config=dict(config),
                state=state,
                reason=reason,
                points=points,
                apply_s=apply_s,
                wall_s=time.monotonic() - started,
                own_loads=loads.own_loads,
            )

        try:
            deployment = self._in_place(config, ahead=ahead_s > 0)
            apply_s = self.applied_s - applied_s
            while (at := loads.next(points)) is not None:
                lost = rivals is not None and any(map(settled, points))
                pace = self.pace.shortest() if lost else self.pace
                offered = [
                    Offered(workload, load, self._aims(workload, rivals or (), climbs=loads.climbs))
                    for workload, load in at
                ]
                points += self._points(deployment, offered, pace, f"trial{number:04d}", windows, self.variant(config))
                windows += 1
        except (ConfigRefused, Unfit) as error:
            return ended("refused", str(error))
        except ServerDied as error:
            self._deployed = self._serves = None
            self.target.start()
            return ended("hung" if isinstance(error, ServerHung) else "crashed", str(error))
        except GeneratorError as error:
            return ended("invalid", str(error))
        whole = [point for point in points if point.workload in [workload.name for workload in self.workloads]]
        if loads.climbs and any(point.validity.valid for point in whole):
            whole = []  # a climb goes up until something is in the way: what is below it counts
        reasons = [f"{point.workload}: {reason}" for point in whole for reason in point.validity.reasons]
        return ended("invalid", "; ".join(reasons)) if reasons else ended("complete")

    def measure(
        self, deployment: Deployment, workload: Workload, load: Load, pace: Pace, aims: Aims | None = None
    ) -> Run:
        """Make a measurement, see `Meter.run`, and account for its time."""
        (run,) = self.measure_at_once(deployment, [Offered(workload, load, aims)], pace)
        return run

    def measure_at_once(self, deployment: Deployment, offered: Sequence[Offered], pace: Pace) -> list[Run]:
        """Make a measurement of one or several workloads, see `Meter.run_at_once`, and account for its time.

        One in which a part of the load generator was lost is made again with what is left of it, a few times.
        """
        began = time.monotonic()
        for attempt in count(1):
            try:
                runs = self.meter.run_at_once(deployment, offered, pace)
                break
            except LoadLost as lost:
                if (error := lost.after(attempt)) is not None:
                    raise error from None
                self.repeated += 1
        loaded_s = runs[0].warmup_s + runs[0].records.window_s
        self.measured_s += loaded_s
        if attempt == 1:  # what was waited for after a loss is not what a measurement takes
            self._beside_s.append(max(0.0, time.monotonic() - began - loaded_s))
        return runs

    @property
    def beside_s(self) -> float:
        """What a measurement takes beside the load itself: the median so far, or a guess before the first."""
        return median(self._beside_s or [ROUND_OVERHEAD_S])

    def _aims(self, workload: Workload, rivals: Sequence[Point], *, climbs: bool = False) -> Aims:
        """Return what a point of a workload is measured for.

        In a climb only the verdict leads on; how much throughput there is tells the confirmation. A total is known
        well where each of its parts is.
        """
        objective = self.goals[0]
        if objective.metric in TOTALS:
            objective = replace(objective, metric=TOTALS[objective.metric], workload=workload.name)
        parts = {part.name: part.index for part in workload.parts}
        all_here = all(goal.workload == workload.name for goal in self.goals)
        return Aims(
            slo=self.meter.slos[workload.name],
            objective=objective.metric if objective.workload in parts and not climbs else None,
            of_class=parts.get(objective.workload),
            goals=[(goal.metric, goal.maximize) for goal in self.goals] if all_here else (),
            rivals=[rival.metrics for rival in rivals if rival.workload == workload.name],
            tolerance=self.tolerance,
            confidence=self.confidence,
            longest_s=self.pace.longest_window_s,
        )

    def _points(
        self, deployment: Deployment, offered: Sequence[Offered], pace: Pace, name: str, window: int, variant: str
    ) -> list[Point]:
        """Measure the workloads of a window: of each a point of all its requests, and one of each class of a mix.

        What a generator spoiled is measured once more, as is what waited behind the overload of the window before.

        Raises:
            ServerHung: of one of them not a single request was answered in any way.
        """
        number = window if at_once(self.workloads) else None
        for attempt in range(1, ATTEMPTS + 1):
            runs = self.measure_at_once(deployment, offered, pace)
            if window and attempt < ATTEMPTS and not all(map(answered, runs)):
                continue
            for run, one in zip(runs, offered, strict=True):
                require_answers(run, one.workload)
            self.learn_accuracy(deployment, variant)
            points = [
                point.model_copy(update={"window": number})
                for run, one in zip(runs, offered, strict=True)
                for point in points_of(
                    run,
                    one,
                    pace,
                    self.meter,
                    partial(self.accuracies.metrics, variant),
                    records_path(name, one, number),
                )
            ]
            if all(point.validity.valid for point in points):
                break
        for run, one in zip(runs, offered, strict=True):
            save_run(run, self.run_path / records_path(name, one, number))
        return points

    def learn_accuracy(self, deployment: Deployment, variant: str) -> None:
        """Ask a variant what its accuracy is measured by, once.

        Raises:
            ServerDied, GeneratorError: it cannot be asked.
            Unfit, StudyError: its answers cannot be scored, see `Accuracies.learn`.
        """
        ask = self.meter.asking(deployment)
        self.accuracies.learn(variant, self.workloads, ask)
