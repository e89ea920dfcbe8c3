"""Tune: baseline, search, shortlist, confirmation, export. Reads as the run goes; every step can be resumed."""

from collections.abc import Callable, Mapping, Sequence

from targets.base import ConfigRefused, ServerDied, Target, TargetError
from tuner import budget, confirm, rank
from tuner.budget import Budget
from tuner.compare import Standing, standing
from tuner.confirm import Contender, Rounds
from tuner.endings import SAID
from tuner.files import write_atomically
from tuner.listener import Listener
from tuner.load.generator import GeneratorError
from tuner.metrics import violations
from tuner.opening import Opened
from tuner.provenance import signed
from tuner.rank import Candidate
from tuner.results import Best, Confirmation, Result, RunState, Side, Trial, to_json
from tuner.run_info import Timing
from tuner.rundir import RunDirectory, write_files
from tuner.searching import Searching
from tuner.serving import verify
from tuner.space import server_part
from tuner.verdicts import has_room
from tuner.wiring import Bench, Prepared

DONE, SLO_MISSED, UNDECIDED = 0, 4, 5
NOTHING_BETTER = "no configuration tried meets the SLO but your own"
NOTHING_TRIED = "there was no time to try another one; raise `search.budget.time`"
ONLY_THE_LOAD = "only the load was searched, nothing of the server"


class Tuning:
    """One run of a study on a started target.

    Args:
        prepared: the study.
        run: its directory.
        opened: its search.
        bench: target and instruments, and what belongs beside every number.
        listener: who watches.
        measured: called when nothing is measured any more.
    """

    def __init__(
        self,
        prepared: Prepared,
        run: RunDirectory,
        opened: Opened,
        bench: Bench,
        listener: Listener,
        measured: Callable[[], object],
    ) -> None:
        self._measured = measured
        self._spec, self._run, self._workloads = prepared.study.spec, run, prepared.workloads
        self._trier, self._environment, self._listener = bench.trier, bench.environment, listener
        self._target: Target = bench.trier.target
        self._goal = prepared.goals[0]
        self._search, self._sampler, self._found = opened.search, opened.sampler, opened.found
        self._space = opened.search.space
        spent = self._search.remembered("spent") or {"wall_s": 0.0}
        started_s = bench.trier.applied_s
        self._budget = Budget(self._spec.search.budget.time, float(spent["wall_s"]) + started_s)
        self._searching = Searching(
            self._spec,
            self._target.user_config(),
            bench.trier,
            opened.search,
            opened.found,
            opened.planner,
            opened.sampler,
            self._budget,
            listener.attempt,
            self._trial_ended,
        )
        bench.trier.take_up(spent)

    def run(self) -> Result:
        """Go through the whole run; what an earlier one measured is kept.

        Raises:
            TargetError: the target cannot be used (any more).
            KeyboardInterrupt: passed on, after the result so far was written.
        """
        try:
            self._measure_baseline()
            self._search_space()
            self._choose()
        except KeyboardInterrupt:
            self._settle("interrupted", 130)
            raise
        except TargetError as error:
            self._found.message = str(error)
            self._settle("failed", 3)
            raise
        return self._publish("done", self._exit_code())

    # -- baseline --

    def _measure_baseline(self) -> None:
        """Measure the configuration that the user has, at every load level that candidates may get."""
        config = self._target.user_config()
        self._trier.accuracies.reference = self._trier.variant(config)
        stored = self._search.remembered("baseline")
        if stored is not None:
            self._restore(Trial.model_validate(stored))
            return
        self._listener.phase("baseline", "your configuration, at every load level")
        trial = self._trier.baseline(config, self._found.space)
        if trial.state in ("refused", "crashed", "hung"):
            raise TargetError(f"your own configuration cannot be measured ({trial.state}): {trial.reason}")
        self._remember_accuracies()
        self._search.remember("baseline", trial.model_dump(mode="json"))
        self._trial_ended(trial)

    def _restore(self, baseline: Trial) -> None:
        """Take up what an earlier session measured."""
        self._trier.accuracies.restore(self._search.remembered("accuracies") or {})
        self._found.trials = trials = [baseline, *self._search.trials()]
        self._listener.note(f"resuming {self._run.path.name}: the baseline and {len(trials) - 1} trials are kept")
        self._listener.resumed(trials, self._found.leader())

    # -- search --

    def _search_space(self) -> None:
        """Try proposals until there is a reason to end; where only the load is searched there are none."""
        if not self._space.of_server:
            return
        self._listener.phase("search", f"{self._space.size} configurations in the space")
        self._listener.note(f"sampler {self._sampler.sampler}: {self._sampler.reason}")
        self._listener.note(f"the search ends: {SAID[self._searching.run()]}")

    # -- shortlist, confirmation, export --

    def _choose(self) -> None:
        """Measure the best trials again, confirm one against the baseline, and export it."""
        self._trier.release()
        challengers = self._found.challengers(self._spec.confirm.candidates)
        if not challengers:
            self._nothing_better()
            return
        for contender in self._shortlisted(challengers):
            self._listener.phase("confirm", f"trial {contender.trial} against your configuration")
            made = self._confirm(contender)
            if made is not None:
                self._recommend(contender, made)
                if made.verdict == "met" or self._budget.left_s() < self._redeployment_s([contender] * 2) * 2:
                    break
        if self._found.best is None:
            self._found.best = self._fallback()
            self._found.message = self._found.message or "no candidate kept its SLO in the confirmation"
        self._export(self._found.best)

    def _nothing_better(self) -> None:
        """No trial met the SLO: the user's configuration is the best known, or nothing is."""
        baseline = self._found.baseline()
        if baseline is not None:
            tried = NOTHING_TRIED if self._out_of_time() else NOTHING_BETTER
            self._found.message = tried if self._space.of_server else ONLY_THE_LOAD
            self._export(self._found.unconfirmed(baseline))
            return
        self._found.closest = rank.closest(self._found.candidates())
        self._found.message = self._found.nothing_met()

    def _fallback(self) -> Best:
        """Return what is left when no candidate was confirmed: the user's configuration, or the best as measured."""
        baseline = self._found.baseline()
        return self._found.unconfirmed(baseline or self._found.ranked()[0])

    def _shortlisted(self, ranked: Sequence[Candidate]) -> list[Contender]:
        """Return the contenders that did not miss an SLO when measured again, best first.

        The user's configuration is measured again at its two best load levels, and meets the winner at the better
        one whose values are within the SLO again: a level that met it by luck would make for a false comparison.
        """
        contenders = [confirm.contender_of(one) for one in ranked]
        own = self._found.baseline_contenders(budget.BASELINE_LEVELS)
        self._baseline = own[0]
        quick = budget.shortlist_rounds(self._spec.confirm, self._workloads)
        if len(contenders) == len(own) == 1 or not self._time_for_shortlist([*contenders, *own], quick):
            return contenders
        self._listener.phase("shortlist", f"the {len(contenders)} best and yours again, side by side")
        everyone = [*contenders, *own]
        gathered = [Rounds() for _ in everyone]
        if not self._measure(everyone, gathered, quick):
            return contenders
        sides = self._sides(everyone, gathered)
        self._found.shortlist = sides
        count = len(contenders)
        within = [pair for pair in zip(own, sides[count:], strict=True) if self._within_bounds(pair[1])]
        best = max(within, key=lambda pair: self._score(pair[1]), default=(own[-1], sides[-1]))
        self._baseline = best[0]
        return self._raced(contenders, gathered[:count], self._score(best[1])) or contenders

    def _raced(self, contenders: Sequence[Contender], gathered: Sequence[Rounds], baseline: float) -> list[Contender]:
        """Return those that did not miss an SLO and may be the best, best first.

        They are measured on until their order is certain, or until only the confirmation's time is left. Those without
        room to a bound come last, as they are: of them the confirmation will hardly be certain. So do those that are no
        better than the baseline, whose rank is given.
        """
        kept = self._kept(contenders, gathered)
        entries = [entry for entry in kept if self._promises(entry, baseline)]
        others = [one for one, _ in kept if one not in [other for other, _ in entries]]
        if not entries:
            entries, others = kept, []
        rounds = budget.shortlist_rounds(self._spec.confirm, self._workloads)
        for _ in range(1, self._spec.confirm.max_redeployments):
            still = self._standing(entries)
            entries = [entries[index] for index in still.order]
            if still.certain or not self._time_for_another([one for one, _ in entries], rounds):
                break
            if not self._measure([one for one, _ in entries], [runs for _, runs in entries], rounds):
                break
            entries = self._kept(*zip(*entries, strict=True))
        return [*(entries[index][0] for index in self._standing(entries).order), *others]

    def _promises(self, entry: tuple[Contender, Rounds], baseline: float) -> bool:
        """Whether a contender is better than the baseline with room to every bound."""
        (side,) = self._sides([entry[0]], [entry[1]])
        roomy = all(has_room(metrics, self._found.bounds[name]) for name, metrics in side.metrics.items())
        return roomy and self._score(side) > baseline

    def _sides(self, contenders: Sequence[Contender], gathered: Sequence[Rounds]) -> list[Side]:
        error = (1 - self._trier.confidence) / self._spec.confirm.max_redeployments
        return [confirm.side(self._trier, one, runs, error) for one, runs in zip(contenders, gathered, strict=True)]

    def _kept(self, contenders: Sequence[Contender], gathered: Sequence[Rounds]) -> list[tuple[Contender, Rounds]]:
        """Return the contenders that did not miss an SLO, with what was measured of them."""
        sides = self._sides(contenders, gathered)
        entries = zip(contenders, gathered, sides, strict=True)
        return [(one, runs) for one, runs, side in entries if confirm.overall(side) != "missed"]

    def _standing(self, entries: Sequence[tuple[Contender, Rounds]]) -> Standing:
        if not entries:
            return Standing((), certain=True)
        if self._found.preference.how != "first":
            scores = [self._score(side) for side in self._sides(*zip(*entries, strict=True))]
            return Standing(tuple(sorted(range(len(scores)), key=lambda index: -scores[index])), certain=True)
        measured = [confirm.per_redeployment(self._trier, runs, self._goal.workload) for _, runs in entries]
        return standing(measured, self._goal.metric, own=self._trier.meter.directions)

    def _time_for_another(self, contenders: Sequence[Contender], rounds: Mapping[str, int]) -> bool:
        """Whether another pass of the shortlist leaves time for the confirmation."""
        needed = self._rounds([self._baseline])
        kept_s = budget.confirmation_s(
            self._spec.confirm, self._found.prices(self._trier.beside_s), needed, self._workloads
        )
        return self._budget.left_s() > self._cost_s(contenders, rounds) + kept_s

    def _time_for_shortlist(self, everyone: Sequence[Contender], rounds: Mapping[str, int]) -> bool:
        """Whether a first pass of the shortlist leaves time for the shortest confirmation."""
        least = dict.fromkeys(rounds, budget.FEWEST_ROUNDS)
        kept_s = budget.FINISH_S + self._spec.confirm.redeployments * self._cost_s(everyone[:2], least)
        return self._budget.left_s() > self._cost_s(everyone, rounds) + kept_s

    def _within_bounds(self, side: Side) -> bool:
        bounds = self._found.bounds
        found = (violations(metrics, bounds[name]) for name, metrics in side.metrics.items())
        return all(over <= 0 for violated in found for over in violated.values())

    def _score(self, side: Side) -> float:
        """Return a number that is larger for the better of two, by the study's preference."""
        return self._found.score(side.metrics)

    def _confirm(self, candidate: Contender) -> Confirmation | None:
        """Measure a candidate against the baseline until every verdict is certain or the time is up."""
        pair = (candidate, self._baseline)
        gathered = (Rounds(), Rounds())
        settings = self._spec.confirm
        rounds = self._first_rounds(pair)
        made: Confirmation | None = None
        for number in range(1, max(settings.redeployments, settings.max_redeployments) + 1):
            if not self._measure(pair, gathered, rounds):
                break
            if number < settings.redeployments:
                continue
            error = confirm.allowed_error(self._trier.confidence, settings, number)
            least = min(gathered[0].count(workload.name) for workload in self._workloads)
            made = confirm.confirmation(self._trier, pair, gathered, least, self._goal.workload, error)
            if made.verdict != "undecided":
                break
            left_s = self._budget.left_s() - budget.FINISH_S
            more = confirm.more_rounds(rounds, made.candidate, settings)
            fitting = budget.fitting(more, left_s, lambda wanted: self._cost_s(pair, wanted))
            if fitting is None:
                break
            rounds = fitting
        return made

    def _measure(self, contenders: Sequence[Contender], gathered: Sequence[Rounds], rounds: Mapping[str, int]) -> bool:
        """Measure contenders side by side once more; False when the server did not stand it."""
        try:
            confirm.redeploy_and_measure(self._trier, contenders, gathered, rounds, self._spec.confirm.round)
        except (ConfigRefused, ServerDied, GeneratorError) as error:
            numbers = ", ".join(str(one.trial) for one in contenders)
            self._listener.note(f"the server did not stand trials {numbers} side by side: {error}")
            self._target.start()
            return False
        self._report_progress()
        return True

    def _recommend(self, candidate: Contender, made: Confirmation) -> None:
        """Take a confirmed candidate as the best, unless the user's own configuration is as good."""
        if made.verdict == "missed":
            if self._found.best is None:
                self._found.confirmation = made
                self._found.message = f"trial {candidate.trial} missed its SLO when it was confirmed"
            return
        self._found.confirmation = made
        baseline = self._found.baseline()
        if baseline is not None and made.verdict == "met" and not self._improves(made):
            self._found.message = "no configuration was measurably better than your own"
            self._found.best = self._found.unconfirmed(baseline)
            return
        self._found.message = confirm.remark(made)
        self._found.best = self._found.confirmed(candidate, made)

    def _improves(self, made: Confirmation) -> bool:
        """Whether the candidate is better: on the first objective with its whole interval, else by the preference."""
        if self._found.preference.how == "first":
            return self._found.improves(made)
        return self._score(made.candidate) > self._score(made.baseline)

    def _export(self, best: Best) -> None:
        """Write the best configuration in the server's own format and load it once as it is."""
        self._listener.phase("export", "writing the configuration and loading it")
        self._measured()
        made = self._target.export(server_part(best.config))
        export = signed(made, self._spec.study, self._run.path.name, self._environment, best.trial, best)
        write_files(self._run.yours, export.originals)
        write_files(self._run.best, export.files)
        with self._trier.applying():
            verify(self._target, export, self._workloads)
        if export.files:
            best = best.model_copy(update={"export": self._run.best.name, "export_verified": True})
        self._found.best = best

    def _rounds(self, contenders: Sequence[Contender]) -> dict[str, int]:
        return confirm.rounds_needed(self._trier, contenders, self._found.by_number(), self._spec.confirm)

    def _first_rounds(self, pair: Sequence[Contender]) -> dict[str, int]:
        """Return the rounds of the redeployments that are made in any case: those that fit, and a few at least."""
        settings = self._spec.confirm
        left_s = self._budget.left_s() - budget.FINISH_S
        needed = self._rounds(pair)
        fitting = budget.fitting(needed, left_s, lambda wanted: settings.redeployments * self._cost_s(pair, wanted))
        return fitting or dict.fromkeys(needed, budget.FEWEST_ROUNDS)

    def _redeployment_s(self, contenders: Sequence[Contender]) -> float:
        return self._cost_s(contenders, self._rounds(contenders))

    def _cost_s(self, contenders: Sequence[Contender], rounds: Mapping[str, int]) -> float:
        length = self._spec.confirm.round
        return budget.redeployment_cost_s(
            len(contenders), self._found.prices(self._trier.beside_s), rounds, self._workloads, length
        )

    def _trial_ended(self, trial: Trial) -> None:
        self._found.trials.append(trial)
        self._listener.trial(trial, self._found.leader())
        self._report_progress()
        self._publish("running", None)

    def _remember_accuracies(self) -> None:
        self._search.remember("accuracies", self._trier.accuracies.stored())

    def _report_progress(self) -> None:
        self._listener.progress(self._budget.spent_s(), self._budget.total_s)

    def _out_of_time(self) -> bool:
        """Whether there was something to try, and no time for any of it."""
        return self._space.of_server and self._searching.ended != "space" and len(self._found.trials) == 1

    def _exit_code(self) -> int:
        if self._found.best is None:
            return UNDECIDED if self._found.spoiled() else SLO_MISSED
        if self._out_of_time():
            return UNDECIDED
        return DONE if self._found.best.confirmed or self._found.best.trial == 0 else UNDECIDED

    def _settle(self, state: RunState, exit_code: int) -> None:
        """Write what there is when a run ends early."""
        ranked = self._found.ranked()
        if self._found.best is None and ranked:
            self._found.best = self._found.unconfirmed(ranked[0])
        self._publish(state, exit_code)

    def _publish(self, state: RunState, exit_code: int | None) -> Result:
        wall_s, spent = self._budget.spent_s(), self._trier.spent()
        self._search.remember("spent", {"wall_s": wall_s, **spent})
        timing = Timing(wall_s=wall_s, overhead_s=max(0.0, wall_s - sum(spent.values())), **spent)
        search, costs = self._searching.info(), self._searching.planner.costs()
        result = self._found.result(state, exit_code, self._environment, timing, search, costs)
        write_atomically(self._run.result, to_json(result))
        return result
