"""The last part of a run: the best trials are measured against one another, and one of them against yours."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from targets.base import ConfigRefused, ServerDied
from tuner import budget, confirm
from tuner.budget import Budget
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

    def confirm(self, candidate: Contender) -> Confirmation | None:
        """Measure a candidate against the baseline until every verdict is certain or the time is up."""
        pair = (candidate, self.baseline)
        gathered = (Rounds(), Rounds())
        settings = self.spec.confirm
        rounds = self._first_rounds(pair)
        made: Confirmation | None = None
        for number in range(1, max(settings.redeployments, settings.max_redeployments) + 1):
            if not self._measure(pair, gathered, rounds):
                break
            if number < settings.redeployments:
                continue
            error = confirm.allowed_error(self.trier.confidence, settings, number)
            least = min(gathered[0].count(workload.name) for workload in self.trier.workloads)
            made = confirm.confirmation(self.trier, pair, gathered, least, self.found.goals[0].workload, error)
            if made.verdict != "undecided":
                break
            left_s = self.budget.left_s() - budget.FINISH_S
            more = confirm.more_rounds(rounds, made.candidate, settings)
            fitting = budget.fitting(more, left_s, lambda wanted: self._cost_s(pair, wanted))
            if fitting is None:
                break
            rounds = fitting
        return made

    @property
    def apart(self) -> bool:
        """Whether two cannot be side by side, so that a candidate and yours are measured one after the other."""
        return self.trier.room < 2

    def time_for_next(self, contender: Contender) -> bool:
        """Whether there is time to confirm another one after a contender."""
        pair = [contender, contender]
        return self.budget.left_s() >= 2 * self._cost_s(pair, self._rounds(pair))

    def _measure(self, contenders: Sequence[Contender], gathered: Sequence[Rounds], rounds: Mapping[str, int]) -> bool:
        """Measure contenders once more; False, and nothing is added, when server or load generator did not stand it."""
        before = gathered[0].redeployments
        try:
            full = confirm.redeploy_and_measure(self.trier, contenders, gathered, rounds, self.spec.confirm.round)
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
        roomy = all(has_room(metrics, self.found.bounds[name]) for name, metrics in side.metrics.items())
        return roomy and self._score(side) > self._score(own)

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
        kept_s = budget.confirmation_s(
            self.spec.confirm, self.found.prices(self.trier.beside_s), needed, self.trier.workloads
        )
        return self.budget.left_s() > self._cost_s(contenders, rounds) + kept_s

    def _time_for_shortlist(self, everyone: Sequence[Contender], rounds: Mapping[str, int]) -> bool:
        """Whether a first pass of the shortlist leaves time for the shortest confirmation."""
        least = dict.fromkeys(rounds, budget.FEWEST_ROUNDS)
        kept_s = budget.FINISH_S + self.spec.confirm.redeployments * self._cost_s(everyone[:2], least)
        return self.budget.left_s() > self._cost_s(everyone, rounds) + kept_s

    def _score(self, side: Side) -> float:
        """Return a number that is larger for the better of two, by the study's preference."""
        return self.found.score(side.metrics)

    def _rounds(self, contenders: Sequence[Contender]) -> dict[str, int]:
        return confirm.rounds_needed(self.trier, contenders, self.found.by_number(), self.spec.confirm)

    def _first_rounds(self, pair: Sequence[Contender]) -> dict[str, int]:
        """Return the rounds of the redeployments that are made in any case: those that fit, and a few at least."""
        settings = self.spec.confirm
        left_s = self.budget.left_s() - budget.FINISH_S
        needed = self._rounds(pair)
        fitting = budget.fitting(needed, left_s, lambda wanted: settings.redeployments * self._cost_s(pair, wanted))
        return fitting or dict.fromkeys(needed, budget.FEWEST_ROUNDS)

    def _cost_s(self, contenders: Sequence[Contender], rounds: Mapping[str, int]) -> float:
        length = self.spec.confirm.round
        return budget.redeployment_cost_s(
            len(contenders), self.found.prices(self.trier.beside_s), rounds, self.trier.workloads, length
        )
