"""One host's part in a shared study: its baseline, its admission, its trials; one of the hosts confirms the best."""

import json
import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields

from tuner.files import write_atomically
from tuner.gate.hosts import facts
from tuner.gate.traffic import traffic_hash
from tuner.hosts.admission import Host, figures_of
from tuner.hosts.admitting import Admission
from tuner.hosts.entries import BASELINE, VERDICT, Book
from tuner.hosts.heart import Heart
from tuner.hosts.ledger import Evicted
from tuner.hosts.searching import HostSearching
from tuner.hosts.shared import SharedSearch
from tuner.instruments import Bench
from tuner.listener import Listener
from tuner.opening import Opened
from tuner.results import Result, RunState, Trial, to_json
from tuner.run_info import HostFigure, HostInfo
from tuner.rundir import RunDirectory
from tuner.telemetry.nvml import Gpus
from tuner.tuning import Tuning
from tuner.wiring import Prepared


class HostTuning(Tuning):
    """What one host does for a shared study; see `Tuning`.

    Args:
        shared: the search.
        heart: says what this host does.
        within: see `admission.WITHIN`.
        groups: a host that differs gets a group of its own, in place of being refused.
        agents: CPUs of each agent that makes the load; (): this host does.
        files: of the server, see `contents.contents`.
        arguments: of `Tuning`.
    """

    def __init__(
        self,
        shared: SharedSearch,
        heart: Heart,
        within: float,
        prepared: Prepared,
        run: RunDirectory,
        opened: Opened,
        bench: Bench,
        listener: Listener,
        measured: Callable[[], object],
        *,
        groups: bool,
        agents: Sequence[int] = (),
        files: Mapping[str, str],
    ) -> None:
        super().__init__(prepared, run, opened, bench, listener, measured)
        self._shared, self._heart = shared, heart
        self._admission = Admission(shared, heart, self._budget, within, groups=groups)
        self._facts, self._files = _facts(prepared, bench, agents), files
        study = prepared.study
        self._traffic = {name: traffic_hash(one, study.resolve) for name, one in study.spec.workloads.items()}
        base = self._searching
        self._searching: HostSearching = HostSearching(
            **{one.name: getattr(base, one.name) for one in fields(base)},
            shared=shared,
            heart=heart,
            note=listener.note,
            heard=lambda trial: listener.trial(trial, self._found.leader()),
        )
        # A server that starts while other hosts measure takes none of the study's time.
        self._budget.before_s = shared.ledger.book.spent_s() or bench.trier.applied_s
        heart.spent_s = self._budget.spent_s

    def _measure_baseline(self) -> None:
        """Measure your configuration on this host, and find out whether it may take part.

        Raises:
            HostDiffers: it may not.
        """
        self._heart.says("measures your configuration")
        super()._measure_baseline()
        own = self._found.trials[0] = self._found.trials[0].model_copy(update={"host": self._shared.name})
        config = {name: json.dumps(value) for name, value in sorted(own.config.items())}
        figures = figures_of(own, self._goal)
        mine = Host(self._shared.name, self._facts, self._traffic, figures, config, self._files)
        self._admission.admit(mine, self._searching.notes)
        self._heart.says("takes part")

    def _trial_ended(self, trial: Trial) -> None:
        """Take up a trial of this host; the storage has it, and the result is written at the end."""
        self._found.trials.append(trial)
        self._listener.trial(trial, self._found.leader())
        self._report_progress()

    def _publish(self, state: RunState, exit_code: int | None) -> Result:
        """Write the result, from all hosts' trials."""
        self._heart.says("writes the report")
        result = super()._publish(state, exit_code)
        result = result.model_copy(update={"hosts": host_infos(self._shared.ledger.book, result.trials)})
        write_atomically(self._run.result, to_json(result))
        return result

    def tell(self, result: Result) -> None:
        """Tell the other hosts what came of it, now that its report is there."""
        best, ledger = result.best, self._shared.ledger
        said = {
            "host": self._shared.name,
            "run": str(self._run.path),
            "exit_code": result.exit_code,
            "message": result.message,
            "best": None
            if best is None
            else best.model_dump(mode="json", include={"trial", "config", "load", "confirmed", "gain_vs_baseline"}),
        }
        try:
            ledger.done(self._shared.group or 0, said)
        except Evicted:
            self._listener.note("this host was silent for too long while it confirmed the best: another one does, too")


def host_infos(book: Book, trials: Sequence[Trial]) -> list[HostInfo]:
    """Return what a result says of its hosts.

    Args:
        book: of the study.
        trials: of the result.
    """
    told = Counter(trial.host for trial in trials if trial.number)
    found = []
    for entry in book.hosts():
        refused = entry.attributes.get(VERDICT, {}).get("refused")
        name = book.name(entry.number)
        baseline = entry.attributes.get(BASELINE)
        found.append(
            HostInfo(
                name=name,
                group=entry.group,
                trials=told[name],
                facts=dict(baseline["facts"]) if baseline else {},
                baseline=[HostFigure(**one) for one in baseline["figures"]] if baseline else [],
                refused=refused,
            )
        )
    return found


def _facts(prepared: Prepared, bench: Bench, agents: Sequence[int]) -> dict[str, str]:
    """Return what matters of this host, as a gate sees it."""
    server, generator = prepared.cores.server, prepared.cores.generator
    mine = len(os.sched_getaffinity(0) | (server or frozenset()))
    total = len((server or frozenset()) | (generator or frozenset())) or mine
    return facts(bench.environment, total, mine if server is None else len(server), Gpus().driver, agents)
