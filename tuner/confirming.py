"""The last part of a run: the best trials are measured against one another, and one of them against yours."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from targets.base import ConfigRefused, ServerDied
from tuner import budget, confirm
from tuner.budget import Budget, Prices
from tuner.compare import Standing, standing
from tuner.confirm import Contender, Rounds
from tuner.findings import Findings
from tuner.listener import Listener
from tuner.load.generator import GeneratorError
from tuner.rank import Candidate
from tuner.results import Confirmation, Side
from tuner.study.spec import StudySpec
from tuner.trials import Trier
from tuner.verdicts import has_room

FEWEST_PAIRS = 2
"""Redeployments that a gain has an interval from."""
EARLY_ERROR = 1e-9
"""What a verdict may err by before the planned redeployments: so little that nothing is taken from theirs."""


@dataclass
class Confirming:
    """Measures the best trials again.

    Attributes:
        spec: the study.
        trier: target and instruments.
        found: what came of the search; the shortlist, and who missed an SLO in it, yours included, is added.
        budget: of time.
        listener: who watches.
        progress: called after each measurement.
        failed: why the last measurement that could not be made was not; "" while all could.
    """

    spec: StudySpec
    trier: Trier
    found: Findings
    budget: Budget
    listener: Listener
    progress: Callable[[], None]
    failed: str = ""
    _baseline: Contender = field(init=False)

    def shortlisted(self, ranked: Sequence[Candidate]) -> list[Contender]:
        """Return the contenders that did not miss an SLO when measured again, best first.

        The user's configuration is measured again at its two best load levels, and meets the winner at the better
        one whose values are within the SLO again: a level that met it by luck would make for a false comparison.
        Where it is not, and the confirmation does not measure it either, it does not count any more.
        """
        contenders = [confirm.contender_of(one) for one in ranked]
        own = self.found.baseline_contenders(budget.BASELINE_LEVELS)
        self._baseline = own[0]
        quick = budget.shortlist_rounds(self.spec.confirm, self.trier.workloads)
        if len(contenders) == len(own) == 1 or not self._time_for_shortlist([*contenders, *own], quick):
            return contenders
        self.listener.phase("shortlist", f"the {len(contenders)} best and yours again, side by side")
        everyone = [*contenders, *own]
        gathered = [Rounds() for _ in everyone]
        if not self._measure(everyone, gathered, quick):
            return contenders
        sides = self._sides(everyone, gathered)
        self.found.shortlist = sides
        count = len(contenders)
        side = self._choose_own(own, sides[count:])
        return self._raced(contenders, gathered[:count], side) or contenders

    def _choose_own(self, own: Sequence[Contender], sides: Sequence[Side]) -> Side:
        """Choose the loads of the user's configuration by what was measured again, and return that of those chosen."""
        pairs = list(zip(own, sides, strict=True))
        within = [pair for pair in pairs if not any(self.found.over(pair[1]).values())]
        best = max(within, key=lambda pair: self._score(pair[1]), default=pairs[-1])
        for pair in pairs:
            if confirm.overall(pair[1]) == "missed" or (pair not in within and pair is not best):
                self.found.drop_own(pair[0].loads, pair[1])
        self._baseline = best[0]
        return best[1]

    @property
    def baseline(self) -> Contender:
        """The user's configuration as a candidate meets it: once it missed an SLO there, at its best other loads."""
        left = self.found.baseline()
        if left is None or self.found.keeps(0, self._baseline.loads):
            return self._baseline
        return confirm.contender_of(left)

    def confirm(self, candidate: Contender, others: Sequence[Contender] = ()) -> Confirmation | None:
        """Measure a candidate against the baseline until every verdict is certain or the time is up.

        One that has no room to a bound is left while there is time for one of the others: it would hardly be certain.

        Args:
            candidate: which one.
            others: who would be next, best first.

        Returns:
            What was found, None where it could not be measured.
        """
        pair = (candidate, self.baseline)
        gathered = (Rounds(), Rounds())
        settings = self.spec.confirm
        most = max(settings.redeployments, settings.max_redeployments)
        rounds: dict[str, int] = {}
        made: Confirmation | None = None
        for number in range(1, most + 1):
            fitting = (
                self._first_rounds(pair, settings.redeployments + 1 - number)
                if made is None
                else self._further_rounds(pair, rounds, made.candidate, last=number == most)
            )
            if fitting is None or not self._measure(pair, gathered, fitting, settings.rounds):
                break
            rounds = fitting
            planned = number >= settings.redeployments
            if not planned and (number < FEWEST_PAIRS or not others):
                continue
            error = confirm.allowed_error(self.trier.confidence, settings, number) if planned else EARLY_ERROR
            least = min(one.count(workload.name) for one in gathered for workload in self.trier.workloads)
            seen = confirm.confirmation(self.trier, pair, gathered, least, self.found.goals[0].workload, error)
            ends = self._gives_way(seen.candidate, others)
            if planned or ends:
                made = seen
            if ends or (planned and seen.verdict != "undecided"):
                break
        return made

    def _gives_way(self, candidate: Side, others: Sequence[Contender]) -> bool:
        """Whether an undecided candidate has no room to a bound, and there is time to confirm one of the others."""
        return bool(others) and not self._has_room(candidate) and self.time_for_next(others[0])

    @property
    def apart(self) -> bool:
        """Whether two cannot be side by side, so that a candidate and yours are measured one after the other."""
        return self.trier.room < 2

    def time_for_next(self, contender: Contender) -> bool:
        """Whether there is time to confirm another one after a contender."""
        pair = [contender, contender]
        return self.budget.left_s() >= 2 * self._pair_cost_s(pair, self._rounds([contender]))

    def _measure(
        self,
        contenders: Sequence[Contender],
        gathered: Sequence[Rounds],
        rounds: Mapping[str, int],
        others: int | None = None,
    ) -> bool:
        """Measure contenders once more; False, and nothing is added, when server or load generator did not stand it.

        `others` is how many rounds all but the first take at most.
        """
        before = gathered[0].redeployments
        length = self.spec.confirm.round
        try:
            full = confirm.redeploy_and_measure(self.trier, contenders, gathered, rounds, length, others)
        except (ConfigRefused, ServerDied, GeneratorError) as error:
            numbers = ", ".join(str(one.trial) for one in contenders)
            self.failed = str(error)
            self.listener.note(f"trials {numbers} could not be measured again: {error}")
            for runs in gathered:
                runs.cut(before)
            self.trier.target.start()
            return False
        if full is not None:
            self.listener.note(f"so many are measured one after the other from here on: {full}")
        self.progress()
        return True

    def _raced(self, contenders: Sequence[Contender], gathered: Sequence[Rounds], own: Side) -> list[Contender]:
        """Return those that did not miss an SLO and may be the best, best first.

        They are measured on until their order is certain, or until only the confirmation's time is left. Those without
        room to a bound come last, as they are: of them the confirmation will hardly be certain. So do those that are no
        better than the user's configuration.
        """
        kept = self._kept(contenders, gathered)
        entries = [entry for entry in kept if self._promises(entry, own)]
        others = [one for one, _ in kept if one not in [other for other, _ in entries]]
        if not entries:
            entries, others = kept, []
        rounds = budget.shortlist_rounds(self.spec.confirm, self.trier.workloads)
        for _ in range(1, self.spec.confirm.max_redeployments):
            still = self._standing(entries)
            entries = [entries[index] for index in still.order]
            if still.certain or not self._time_for_another([one for one, _ in entries], rounds):
                break
            if not self._measure([one for one, _ in entries], [runs for _, runs in entries], rounds):
                break
            entries = self._kept(*zip(*entries, strict=True))
        return [*(entries[index][0] for index in self._standing(entries).order), *others]

    def _promises(self, entry: tuple[Contender, Rounds], own: Side) -> bool:
        """Whether a contender is better than the baseline with room to every bound."""
        (side,) = self._sides([entry[0]], [entry[1]])
        return self._has_room(side) and self._score(side) > self._score(own)

    def _has_room(self, side: Side) -> bool:
        """Whether a side has room to every bound."""
        return all(has_room(metrics, self.found.bounds[name]) for name, metrics in side.metrics.items())

    def _sides(self, contenders: Sequence[Contender], gathered: Sequence[Rounds]) -> list[Side]:
        error = (1 - self.trier.confidence) / self.spec.confirm.max_redeployments
        return [confirm.side(self.trier, one, runs, error) for one, runs in zip(contenders, gathered, strict=True)]

    def _kept(self, contenders: Sequence[Contender], gathered: Sequence[Rounds]) -> list[tuple[Contender, Rounds]]:
        """Return the contenders that did not miss an SLO, with what was measured of them."""
        sides = self._sides(contenders, gathered)
        self.found.missed |= {side.trial: side for side in sides if confirm.overall(side) == "missed"}
        entries = zip(contenders, gathered, strict=True)
        return [(one, runs) for one, runs in entries if one.trial not in self.found.missed]

    def _standing(self, entries: Sequence[tuple[Contender, Rounds]]) -> Standing:
        if not entries:
            return Standing((), certain=True)
        if self.found.preference.how != "first":
            scores = [self._score(side) for side in self._sides(*zip(*entries, strict=True))]
            return Standing(tuple(sorted(range(len(scores)), key=lambda index: -scores[index])), certain=True)
        measured = [confirm.per_redeployment(self.trier, runs, self.found.goals[0].workload) for _, runs in entries]
        return standing(measured, self.found.goals[0].metric, own=self.trier.meter.directions)

    def _time_for_another(self, contenders: Sequence[Contender], rounds: Mapping[str, int]) -> bool:
        """Whether another pass of the shortlist leaves time for the confirmation."""
        needed = self._rounds([self.baseline])
        kept_s = budget.confirmation_s(self.spec.confirm, self._prices(), needed, self.trier.workloads)
        return self.budget.left_s() > self._cost_s(contenders, rounds) + kept_s

    def _time_for_shortlist(self, everyone: Sequence[Contender], rounds: Mapping[str, int]) -> bool:
        """Whether a first pass of the shortlist leaves time for the shortest confirmation."""
        least = dict.fromkeys(rounds, budget.FEWEST_ROUNDS)
        kept_s = budget.FINISH_S + self.spec.confirm.redeployments * self._cost_s(everyone[:2], least, deployed=2)
        return self.budget.left_s() > self._cost_s(everyone, rounds) + kept_s

    def _score(self, side: Side) -> float:
        """Return a number that is larger for the better of two, by the study's preference."""
        return self.found.score(side.metrics)

    def _rounds(self, contenders: Sequence[Contender]) -> dict[str, int]:
        return confirm.rounds_needed(self.trier, contenders, self.found.by_number(), self.spec.confirm)

    def _first_rounds(self, pair: Sequence[Contender], count: int) -> dict[str, int]:
        """Return the rounds of redeployments that are made in any case: those that fit, and a few at least."""
        left_s = self.budget.left_s() - budget.FINISH_S
        needed = self._rounds(pair[:1])
        fitting = budget.fitting(needed, left_s, lambda wanted: count * self._pair_cost_s(pair, wanted))
        return fitting or dict.fromkeys(needed, budget.FEWEST_ROUNDS)

    def _further_rounds(
        self, pair: Sequence[Contender], rounds: Mapping[str, int], candidate: Side, *, last: bool
    ) -> dict[str, int] | None:
        """Return the rounds of one redeployment more; None: there is no time for it.

        After the last one, by the study or by the time, nothing could be measured any more: it takes all that it can.
        """
        left_s = self.budget.left_s() - budget.FINISH_S
        more = confirm.more_rounds(rounds, candidate, self.spec.confirm)
        fewest = dict.fromkeys(more, budget.FEWEST_ROUNDS)
        if last or self._pair_cost_s(pair, more) + self._pair_cost_s(pair, fewest) > left_s:
            more = confirm.more_rounds(rounds, candidate, self.spec.confirm, most=True)
        return budget.fitting(more, left_s, lambda wanted: self._pair_cost_s(pair, wanted))

    def _prices(self) -> Prices:
        return self.found.prices(self.trier.beside_s, self.trier.at_once_s)

    def _pair_cost_s(self, pair: Sequence[Contender], rounds: Mapping[str, int]) -> float:
        """Return what one redeployment of the confirmation costs, in which the second takes the study's rounds."""
        return self._cost_s(pair, rounds, deployed=2, others=self.spec.confirm.rounds)

    def _cost_s(
        self,
        contenders: Sequence[Contender],
        rounds: Mapping[str, int],
        deployed: int | None = None,
        others: int | None = None,
    ) -> float:
        prices, length = self._prices(), self.spec.confirm.round
        apart = deployed or len({one.trial for one in contenders})  # those of one trial share a deployment
        return budget.redeployment_cost_s(len(contenders), prices, rounds, self.trier.workloads, length, apart, others)
