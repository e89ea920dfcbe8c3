"""Run a gate: measure, look, decide, until every rule is decided or the time cap is reached."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from tuner.gate import hosts
from tuner.gate.concluding import decided, result
from tuner.gate.deciding import Look, decide, figures, unspread
from tuner.gate.document import Form, GateResult, Measurement, RuleFound
from tuner.gate.ending import unfinished
from tuner.gate.gathering import stored_scores
from tuner.gate.intervals import LEAST_OF_A_SPREAD, looks
from tuner.gate.rounds import Rounds, Side, least
from tuner.gate.rules import COLD_START, Rule, rules_of
from tuner.load.distributed.fleet import Fleet
from tuner.study.gating import GateSpec
from tuner.workload import groups, parts_of

UNPAIRED = "{}: the sides were asked another number of labelled items, so that no accuracy_drop can be counted"


class Progress(Protocol):
    """What is told how a gate goes on."""

    def progress(self, spent_s: float, budget_s: float) -> None:
        """Take note of the time spent measuring."""
        ...

    def note(self, text: str) -> None:
        """Take note of a remark."""
        ...


@dataclass(frozen=True)
class About:
    """What belongs beside the figures of a side.

    Attributes:
        study: its name.
        label: what the side is called.
        started: when.
        host: what matters to the figures.
        traffic: workload -> its hash.
        earlier_traffic: the same as earlier versions told it.
        environment: everything else.
        rules: workload -> rule -> limit.
        bounds: workload, or class of one -> SLO -> bound.
    """

    study: str
    label: str
    started: str
    host: Mapping[str, str]
    traffic: Mapping[str, str]
    earlier_traffic: Mapping[str, str]
    environment: Mapping[str, str]
    rules: Mapping[str, Mapping[str, float]]
    bounds: Mapping[str, Mapping[str, float]]


@dataclass
class Gate:
    """A gate that measures.

    Attributes:
        form: `ab`: two sides; `against`: one side and a baseline; `alone`: one side and its SLOs.
        spec: the study's `gate` section; that of the new side.
        rounds: the sides.
        about: of each side.
        baseline: of `against`.
        notes: what a reader should know.
        fleet: agents that make the load in the place of this host.
        found: what the rules said at the last look.
    """

    form: Form
    spec: GateSpec
    rounds: Rounds
    about: Sequence[About]
    baseline: Measurement | None
    notes: list[str]
    fleet: Fleet | None = None
    found: list[RuleFound] = field(default_factory=list)
    _began: float = 0.0

    def run(self, told: Progress) -> GateResult:
        """Measure until decided.

        Raises:
            TargetError, GeneratorError: a side cannot be deployed or measured.
            HostsDiffer: the hosts or workloads of the two sides differ in what matters.
        """
        self._began = time.monotonic()
        about, rules = self.about[-1], self.rules
        planned = self._planned()
        old, new = self.baseline, None
        for index, count in enumerate(planned):
            seen = self._count
            while self._count < count and self._fits(planned[0]):
                self.rounds.redeploy()
                self._compare_answers()
                told.progress(self._measured_s, self.spec.time)
            if self._count == seen:
                break
            look = Look(1 - self.spec.confidence, planned, index, len(rules))
            old, new = self._documents(look)
            self.found = decide(rules, old, new, look, together=self.form == "ab")
            told.note(f"{self._count} redeployments: {_counted(self.found)}")
            if decided(self.found, spread=self._has_spread) or self._count < count:
                break
        assert new is not None, "there is one look at least"
        others = figures(old, new, rules, self.spec.confidence, together=self.form == "ab") if old else []
        return self._result(about, (self.found, others), (old, new), planned, time.monotonic() - self._began)

    def unfinished(self, error: BaseException) -> GateResult:
        """Return what there is of a gate that one of `ending.ENDS` ended while it ran."""
        planned = self._planned()
        return unfinished(
            self.form,
            self._documents(Look(1 - self.spec.confidence, planned, 0, len(self.rules))),
            (error, self.rounds.sides[self.rounds.asked].label),
            rules=self.found,
            planned=planned,
            times_s=(self._measured_s, time.monotonic() - self._began),
            notes=[*self.notes, *self.rounds.notes],
        )

    @property
    def rules(self) -> tuple[Rule, ...]:
        """The rules."""
        about = self.about[-1]
        cold = [one.name for one in groups(self.rounds.workloads)[0]]
        return rules_of(about.rules, about.bounds, cold, changes=self.form != "alone")

    @property
    def _count(self) -> int:
        return min(len(runs) for runs in self.rounds.sides[-1].gathered.runs.values()) if self._begun else 0

    @property
    def _begun(self) -> bool:
        return bool(self.rounds.sides[-1].gathered.runs)

    @property
    def _measured_s(self) -> float:
        return sum(side.trier.measured_s for side in self.rounds.sides)

    @property
    def _has_spread(self) -> bool:
        """Whether more deployments can decide how the figures changed: not against a side that has no spread."""
        if self.baseline is None:
            return True
        places = {hosts.place_of(self.baseline), self.about[-1].host.get("place", hosts.HERE)}
        return self.baseline.restarts >= LEAST_OF_A_SPREAD and not unspread(places, self.spec.elsewhere)

    def _planned(self) -> tuple[int, ...]:
        """Return after how many redeployments is looked; as many as fit where each settles at once come last.

        Where they take longer to settle the time cap comes sooner, and the look that is next then is the last one. When
        that is depends on how long a server warms up, not on the figures of the rules.
        """
        first = least(self.form, self.spec)
        return looks(first, max(first, int(self.spec.time / self.rounds.shortest_s())))

    def _fits(self, least_count: int) -> bool:
        """Whether another redeployment is sure to end within the time cap; the first ones are made in any case."""
        return self._count < least_count or self._measured_s + self.rounds.redeployment_s() <= self.spec.time

    def _compare_answers(self) -> None:
        """Count accuracy drops from the other side's answers, once both are known."""
        new = self.rounds.sides[-1].gathered
        if self.form == "ab":
            unpaired = new.compare_answers_with(self.rounds.sides[0].gathered.scores())
        elif self.baseline is not None:
            unpaired = new.compare_answers_with(stored_scores(self.baseline))
        else:
            unpaired = new.compare_answers_with(new.scores())
        for name in unpaired:
            if (said := UNPAIRED.format(name)) not in self.notes:
                self.notes.append(said)

    def _documents(self, look: Look) -> tuple[Measurement | None, Measurement]:
        pairs = zip(self.about, self.rounds.sides, strict=True)
        agents = [one.cores for one in self.fleet.agents] if self.fleet else []
        made = [_document(about, self.spec, side, look, agents) for about, side in pairs]
        return (made[0] if self.form == "ab" else self.baseline), made[-1]

    def _result(
        self,
        about: About,
        found: tuple[list[RuleFound], list[RuleFound]],
        sides: tuple[Measurement | None, Measurement],
        planned: tuple[int, ...],
        wall_s: float,
    ) -> GateResult:
        judged = [side.gathered.validity() for side in self.rounds.sides]
        warned = [
            f"{side.label}: {warning}"
            for side, own in zip(self.rounds.sides, judged, strict=True)
            for warning in own.warnings
        ]
        old, new = sides[0], sides[1].model_copy(update={"invalid": judged[-1].reasons})
        if old is not None and self.form == "ab":
            old = old.model_copy(update={"invalid": judged[0].reasons})
        made = result(
            form=self.form,
            study=about.study,
            found=found,
            sides=(old, new),
            planned=planned,
            redeployments=self._count,
            times_s=(self._measured_s, wall_s),
            notes=[*self.notes, *self.rounds.notes, *warned],
        )
        return made.model_copy(update={"in_turn": self.rounds.in_turn})


def compare(old: Measurement, new: Measurement, despite: Sequence[str]) -> GateResult:
    """Compare two stored measurements by the rules that the new one has, and as surely as its study says.

    Args:
        old: the one.
        new: the other.
        despite: of `hosts.FACTS`, those that may differ.

    Raises:
        HostsDiffer: they differ in something else.
    """
    notes = hosts.check(hosts.Setting.of(old), hosts.Setting.of(new), despite)
    cold = [name for name, one in new.workloads.items() if any(COLD_START in each.metrics for each in one.restarts)]
    rules = rules_of(new.rules, new.bounds, cold, changes=True)
    found = decide(rules, old, new, Look.single(new.confidence, len(rules)), together=False)
    others = figures(old, new, rules, new.confidence, together=False)
    return result(
        form="compare",
        study=new.study,
        found=(found, others),
        sides=(old, new),
        planned=(new.restarts,),
        redeployments=new.restarts,
        times_s=(0.0, 0.0),
        notes=notes,
    )


def _document(about: About, spec: GateSpec, side: Side, look: Look, agents: Sequence[int]) -> Measurement:
    return Measurement(
        study=about.study,
        label=about.label,
        started=about.started,
        host=hosts.as_it_went(about.host, agents),
        traffic=dict(about.traffic),
        earlier_traffic=dict(about.earlier_traffic),
        environment=dict(about.environment),
        config=dict(side.config),
        rules={name: dict(limits) for name, limits in about.rules.items()},
        bounds={name: dict(bounds) for name, bounds in about.bounds.items()},
        confidence=spec.confidence,
        elsewhere=spec.elsewhere,
        inconclusive=spec.inconclusive,
        workloads=side.gathered.measured(side.loads, look) if _has_all(side) else {},
    )


def _has_all(side: Side) -> bool:
    """Whether a deployment of a side was measured on every workload: a gate may end before, and within one."""
    parts = [part.name for _, part in parts_of(side.trier.workloads)]
    return all(name in side.gathered.restarts and name in side.gathered.latency for name in parts)


def _counted(found: Sequence[RuleFound]) -> str:
    states = [one.state for one in found]
    told = ((states.count(name), name) for name in ("pass", "fail", "inconclusive"))
    return ", ".join(f"{count} {name}" for count, name in told if count) or "no rules"
