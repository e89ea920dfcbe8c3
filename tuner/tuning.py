"""Tune: baseline, search, shortlist, confirmation, export. Reads as the run goes; every step can be resumed."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from targets.base import Target, TargetError
from tuner import recommendation
from tuner.budget import Budget, Prices, least_reserve_s, shown_by
from tuner.confirming import Confirming
from tuner.document import document
from tuner.endings import SAID
from tuner.exporting import own_files
from tuner.files import write_atomically
from tuner.instruments import Bench
from tuner.listener import Listener
from tuner.load.generator import GeneratorError
from tuner.opening import Opened
from tuner.provenance import of_best, signed
from tuner.rank import Candidate
from tuner.results import NEWER, Best, Result, RunState, Trial, note_newer, to_json
from tuner.run_info import Timing
from tuner.rundir import RunDirectory, read_files, write_files
from tuner.searching import Searching
from tuner.serving import verify
from tuner.space import server_part
from tuner.wiring import Prepared

PUBLISH_EVERY_S = 3.0
PUBLISH_SHARE = 0.05
"""The result is written while a run goes on when so much time has passed, and it takes this share of it at most."""


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
        self._space, self._chooses = opened.search.space, opened.choose
        spent = self._search.remembered("spent") or {"wall_s": 0.0}
        started_s = bench.trier.applied_s
        self._publish_at = -math.inf
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
        self._confirming = Confirming(
            self._spec, bench.trier, opened.found, self._budget, listener, self._report_progress
        )
        bench.trier.take_up(spent)
        if bench.fleet is not None:
            bench.fleet.pausing = self._budget.held

    def run(self) -> Result:
        """Go through the whole run; what an earlier one measured is kept.

        Raises:
            TargetError: the target cannot be used (any more).
            GeneratorError: it could not measure the user's configuration.
            KeyboardInterrupt: passed on, after the result so far was written.
        """
        try:
            self._measure_baseline()
            self._search_space()
            self._choose()
        except KeyboardInterrupt:
            self._settle("interrupted", 130)
            raise
        except (TargetError, GeneratorError) as error:
            self._found.message = str(error)
            self._settle("failed", 3 if isinstance(error, TargetError) else recommendation.UNDECIDED)
            raise
        code = recommendation.exit_code(self._found, out_of_time=self._out_of_time())
        return self._publish("done", code)

    # -- baseline --

    def _measure_baseline(self) -> None:
        """Measure the configuration that the user has, at every load level that candidates may get.

        Raises:
            TargetError: the server does not take it, or was lost.
            GeneratorError: the load generator failed before it had a point on every workload.
        """
        config = self._target.user_config()
        self._trier.accuracies.reference = self._trier.variant(config)
        stored = self._search.remembered("baseline")
        if stored is not None:
            self._trier.accuracies.restore(self._search.remembered("accuracies") or {})
            baseline = Trial.model_validate(stored)
            if baseline.own_loads or not self._trier.climbs_apart:
                self._restore(baseline)
                return
            self._listener.note("your configuration was climbed with all workloads at one level: it is measured anew")
        self._listener.phase("baseline", "your configuration, at every load level")
        trial = self._trier.baseline(config, self._found.space)
        if trial.state in ("refused", "crashed", "hung"):
            raise TargetError(f"your own configuration cannot be measured ({trial.state}): {trial.reason}")
        missing = {one.name for one in self._workloads} - {point.workload for point in trial.points}
        if missing:
            raise GeneratorError(
                f"your own configuration was not measured on {', '.join(sorted(missing))}, so nothing can be compared "
                f"with it: {trial.reason}; the same command measures it again"
            )
        if count := self._trier.in_doubt:
            self._listener.note(
                f"{count} of {len(trial.points)} points had too few requests for a verdict on their latency, so their "
                "load does not count as sustained; raise `measure.max_window`"
            )
        self._remember_accuracies()
        self._search.remember("baseline", trial.model_dump(mode="json"))
        self._trial_ended(trial)
        if stored is not None:
            self._restore(trial)

    def _restore(self, baseline: Trial) -> None:
        """Take up what an earlier session measured."""
        self._found.trials = trials = [baseline, *self._search.trials()]
        self._trier.climbed_before(trials)
        self._listener.note(f"resuming {self._run.path.name}: the baseline and {len(trials) - 1} trials are kept")
        self._listener.resumed(trials, self._found.leader())

    # -- search --

    def _search_space(self) -> None:
        """Try proposals until there is a reason to end; where only the load is searched there are none."""
        if not self._space.of_server:
            return
        self._listener.phase("search", f"{self._space.size} configurations in the space")
        self._choose_sampler()
        self._listener.note(f"sampler {self._sampler.sampler}: {self._sampler.reason}")
        if (left_out := self._space.left_out()) is not None and left_out.of is not None:
            self._listener.note(str(left_out))
        self._listener.note(f"the search ends: {SAID[self._searching.run()]}")
        if (left_out := self._space.left_out()) is not None and left_out.of is None:
            self._listener.note(str(left_out))

    def _choose_sampler(self) -> None:
        """Choose the sampler again, now that the baseline has shown what a trial takes."""
        baseline, total_s = self._found.trials[0], self._budget.total_s
        shown_s = shown_by(baseline, climbs=self._spec.load.search != "sampled")
        reserve_s = least_reserve_s(self._spec.confirm, Prices(baseline.apply_s), self._workloads, total_s)
        self._sampler = self._chooses(shown_s, total_s - baseline.wall_s - reserve_s)
        self._searching.sampler = self._sampler
        self._search.take(self._sampler.sampler)

    # -- shortlist, confirmation, export --

    def _choose(self) -> None:
        """Measure the best trials again, confirm one against the baseline, and export it."""
        self._trier.release()
        challengers = self._found.challengers(self._spec.confirm.candidates)
        if challengers:
            self._confirm_one_of(challengers)
        else:
            recommendation.without_challengers(
                self._found, of_server=self._space.of_server, out_of_time=self._out_of_time()
            )
        if self._found.best is not None:
            self._export(self._found.best)
        else:
            self._keep_yours({})

    def _confirm_one_of(self, challengers: Sequence[Candidate]) -> None:
        """Confirm the best that can be, while there is time."""
        contenders = self._confirming.shortlisted(challengers)
        for number, contender in enumerate(contenders, 1):
            self._listener.phase("confirm", f"trial {contender.trial} against your configuration")
            made = self._confirming.confirm(contender, contenders[number:])
            if made is not None:
                pair = (contender, self._confirming.baseline)
                recommendation.recommend(self._found, pair, made, apart=self._confirming.apart)
                if made.verdict == "met" or not self._confirming.time_for_next(contender):
                    break
        if self._found.best is None:
            recommendation.settle(self._found, self._confirming.failed)

    def _export(self, best: Best) -> None:
        """Write the best configuration in the server's own format and load it once as it is."""
        self._listener.phase("export", "writing the configuration and loading it")
        self._measured()
        made = self._target.export(server_part(best.config))
        known = of_best(best, self._found.confirmation, self._found.goals[0], self._workloads[0].name)
        export = signed(made, self._spec.study, self._run.path.name, self._environment, best.trial, known.lines)
        self._keep_yours(export.originals)
        write_files(self._run.best, export.files)
        with self._trier.applying():
            verify(self._target, export, self._workloads)
        if export.files:
            best = best.model_copy(update={"export": self._run.best.name, "export_verified": True})
        self._found.best = best

    def _keep_yours(self, originals: Mapping[Path, str]) -> None:
        """Keep the user's own files that an export changes, of whichever trial; `originals` are those of the best."""
        found = {**own_files(self._target, self._found.trials), **originals}
        if found != read_files(self._run.yours):
            write_files(self._run.yours, found)

    def _trial_ended(self, trial: Trial) -> None:
        self._found.trials.append(trial)
        self._listener.trial(trial, self._found.leader())
        self._report_progress()
        if time.monotonic() >= self._publish_at:
            self._publish("running", None)
        else:
            self._remember_spent()
            note_newer(self._run.path, trial)

    def _remember_accuracies(self) -> None:
        self._search.remember("accuracies", self._trier.accuracies.stored())

    def _report_progress(self) -> None:
        self._listener.progress(self._budget.spent_s(), self._budget.total_s)

    def _out_of_time(self) -> bool:
        """Whether there was something to try, and no time for any of it."""
        return self._space.of_server and self._searching.ended != "space" and len(self._found.trials) == 1

    def _settle(self, state: RunState, exit_code: int) -> None:
        """Write what there is when a run ends early."""
        left = self._found.not_missed()
        if self._found.best is None and left:
            self._found.best = self._found.unconfirmed(left[0])
        self._publish(state, exit_code)
        self._keep_yours({})  # a trial of an unfinished run can be exported, too

    def _remember_spent(self) -> None:
        self._search.remember("spent", {"wall_s": self._budget.spent_s(), **self._trier.spent()})

    def _publish(self, state: RunState, exit_code: int | None) -> Result:
        began, wall_s, spent = time.monotonic(), self._budget.spent_s(), self._trier.spent()
        self._remember_spent()
        timing = Timing(wall_s=wall_s, overhead_s=max(0.0, wall_s - sum(spent.values())), **spent)
        search, costs = self._searching.info(), self._searching.planner.costs()
        result = document(self._found, state, exit_code, self._environment, timing, search, costs)
        write_atomically(self._run.result, to_json(result))
        (self._run.path / NEWER).unlink(missing_ok=True)
        now = time.monotonic()
        self._publish_at = now + max(PUBLISH_EVERY_S, (now - began) / PUBLISH_SHARE)
        return result
