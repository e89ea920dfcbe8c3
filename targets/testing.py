"""What every target has to keep, as tests: subclass `TargetContract` in your own test module and pytest runs them.

    class TestMyServer(TargetContract):
        other = {"workers": 2}
        refused = {"workers": 0}

        @staticmethod
        def make(folder: Path, **options: object) -> Target: ...

pytest is not needed to use Paretune: install it with `pip install 'paretune[testing]'`.
"""

import multiprocessing
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import ClassVar

import psutil
import pytest

from targets.base import (
    Config,
    ConfigRefused,
    Deployment,
    Export,
    Knob,
    LoadsTogether,
    ServerDied,
    Target,
    TargetError,
    difference,
    metric_values,
)
from targets.evidence import ANSWER_S, children, failures, halt, listens, runs, settled, shared_memory, soon
from targets.probe import failure_of
from workloads.requests import Requests

_KINDS: Mapping[str, type | tuple[type, ...]] = {
    "int": int, "float": (int, float), "duration": (int, float), "bool": bool, "choice": str, "list": str,
}  # fmt: skip


class RemoteTargetContract:
    """The contract of a target whose server runs elsewhere: it is asked, observed and left as it is.

    Attributes:
        counts: whether its statistics count requests.
    """

    counts: ClassVar[bool] = True

    @staticmethod
    def make(folder: Path, **options: object) -> Target:
        """Make a target that is not started.

        Args:
            folder: an empty folder, for the user's files and the log.
            options: keys of the study's `target` section that a test wants otherwise.
        """
        raise NotImplementedError

    @staticmethod
    def requests() -> Requests:
        """Return requests that the server answers."""
        raise NotImplementedError

    @pytest.fixture
    def target(self, tmp_path: Path) -> Iterator[Target]:
        """A target that is not started; it is stopped at the end."""
        made = self.make(_subfolder(tmp_path, "target"))
        yield made
        made.stop()

    @pytest.fixture
    def started(self, target: Target) -> Target:
        """A target that is started."""
        target.start()
        return target

    # -- what it declares --

    def test_knobs_are_declared_with_all_that_a_study_needs(self, target: Target) -> None:
        names = [knob.name for knob in target.knobs()]
        assert len(set(names)) == len(names), "each once"
        for knob in target.knobs():
            assert knob.name.rpartition(".")[2].isidentifier(), knob.name
            assert "." not in knob.name or knob.place, f"{knob.name} says where a study's `space` has it"
            assert knob.doc, f"{knob.name} says in a line what it is"
            assert "\n" not in knob.doc, knob.name
            assert knob.low is None or knob.high is None or knob.low <= knob.high, knob.name
            assert (knob.type == "choice") or not knob.choices, knob.name

    def test_the_users_configuration_is_of_declared_knobs_and_legal(self, target: Target) -> None:
        knobs = {knob.name: knob for knob in target.knobs()}
        for name, value in target.user_config().items():
            assert name in knobs, "the user's configuration has knobs that are declared"
            assert isinstance(value, _KINDS[knobs[name].type]), f"{name}: {value!r}"
            assert _legal(value, knobs[name]), f"{name}: {value!r}"

    def test_metrics_are_declared_with_unit_and_meaning(self, target: Target) -> None:
        for metric in target.metrics():
            assert metric.name.isidentifier(), metric.name
            assert metric.doc, metric.name
            assert bool(metric.per) == (metric.kind == "ratio"), metric.name

    def test_requests_that_fit_are_taken(self, target: Target) -> None:
        target.check_requests(self.requests())

    # -- serving --

    def test_a_started_target_answers_and_says_what_it_is(self, started: Target) -> None:
        deployment = started.deploy(started.user_config(), "one")
        assert started.alive()
        assert deployment.config == started.user_config()
        assert failures(deployment, self.requests(), 3) == []
        assert started.environment()
        assert all(isinstance(value, str) and value for value in started.environment().values())
        deployment.retire()

    def test_requests_are_encoded_once(self, started: Target) -> None:
        deployment, requests = started.deploy(started.user_config(), "one"), self.requests()
        endpoint = deployment.endpoint(requests)
        assert len(endpoint.requests) == len(requests)
        assert deployment.endpoint(requests) is endpoint

    def test_an_answer_that_is_none_is_not_taken_for_one(self, started: Target) -> None:
        endpoint = started.deploy(started.user_config(), "one").endpoint(self.requests())
        status = 0 if endpoint.grpc else 500
        assert endpoint.judge(status, b"").name != "OK"

    def test_statistics_are_of_exactly_what_happened_between_two_readings(self, started: Target) -> None:
        deployment, requests = started.deploy(started.user_config(), "counted"), self.requests()
        assert failures(deployment, requests, 2) == []
        before = settled(deployment)
        assert failures(deployment, requests, 7) == []
        after = settled(deployment)
        stats = difference(before, after)
        assert stats.window_s > 0
        if self.counts:
            assert (stats.requests, stats.failures) == (7, 0)
            assert sum(batch.size * batch.count for batch in stats.batch_sizes) in (0, 7)
        declared = {metric.name for metric in started.metrics()}
        assert set(metric_values(stats, started.metrics())) <= declared

    def test_stopping_twice_is_stopping_once(self, target: Target) -> None:
        target.start()
        target.stop()
        target.stop()
        assert not target.alive()


class TargetContract(RemoteTargetContract):
    """The contract of a target that starts and configures its server.

    Attributes:
        other: knobs of a legal configuration that differs from the user's in each of them.
        refused: knobs that the server refuses, within the declared ranges or not; None where it takes all that is
            legal.
        silent: whether a server without statistics is found to hang by `alive` alone.
    """

    other: ClassVar[Config] = {}
    refused: ClassVar[Config | None] = None
    silent: ClassVar[bool] = False

    @staticmethod
    def reread(export: Export, folder: Path) -> Target:
        """Make a target whose user's files are those of an export, put over the ones that `make` starts from.

        Args:
            export: with paths as `tune export` writes them.
            folder: an empty folder.
        """
        raise NotImplementedError

    @staticmethod
    def spoiled(export: Export) -> Export:
        """Return an export that the server cannot load."""
        return replace(export, files=dict.fromkeys(export.files, "\x00 not a configuration"))

    def changed(self, target: Target) -> Config:
        """Return the user's configuration with other values for some of its knobs."""
        return {**target.user_config(), **self.other}

    # -- knobs: declared, applied, read back, exported --

    def test_a_legal_configuration_is_applied_and_read_back(self, started: Target) -> None:
        knobs = {knob.name: knob for knob in started.knobs()}
        assert self.other, "a target without knobs is a RemoteTargetContract"
        assert all(_legal(value, knobs[name]) for name, value in self.other.items())
        wanted = self.changed(started)
        deployment = started.deploy(wanted, "other")
        assert deployment.config == wanted
        assert failures(deployment, self.requests(), 2) == []

    def test_an_export_says_what_was_applied(self, target: Target, tmp_path: Path) -> None:
        wanted = self.changed(target)
        again = self.reread(target.export(wanted), _subfolder(tmp_path, "again"))
        assert dict(again.user_config()) == dict(wanted)

    def test_an_export_of_the_users_own_configuration_changes_nothing(self, target: Target) -> None:
        export = target.export(target.user_config())
        assert {path: export.files[path] for path in export.originals} == dict(export.originals)

    def test_an_export_is_loaded_as_it_is(self, started: Target) -> None:
        started.verify(started.export(self.changed(started)), self.requests())
        assert started.alive()

    def test_an_export_that_does_not_load_is_not_verified(self, started: Target) -> None:
        with pytest.raises(TargetError):
            started.verify(self.spoiled(started.export(self.changed(started))), self.requests())

    def test_a_refused_configuration_gives_the_reason_and_leaves_the_target_usable(self, started: Target) -> None:
        if self.refused is None:
            return
        with pytest.raises(ConfigRefused) as raised:
            started.deploy({**started.user_config(), **self.refused}, "refused")
        assert str(raised.value).strip()
        again = started.deploy(started.user_config(), "after")
        assert failures(again, self.requests(), 1) == []

    # -- deployments --

    def test_deployments_stand_side_by_side_or_replace_one_another(self, started: Target) -> None:
        requests = self.requests()
        first = started.deploy(started.user_config(), "first")
        endpoint = first.endpoint(requests)
        second = started.deploy(self.changed(started), "second")
        assert second.endpoint(requests) is not endpoint
        assert failures(second, requests, 1) == []
        if started.side_by_side:
            assert failures(first, requests, 1) == []
            assert (first.config, second.config) == (started.user_config(), self.changed(started))

    def test_what_is_loaded_at_once_answers_and_a_refused_one_leaves_nothing(self, started: Target) -> None:
        if not isinstance(started, LoadsTogether) or not started.loads_together:
            return
        wanted, requests = [(self.changed(started), "one"), (started.user_config(), "two")], self.requests()
        both = started.deploy_together(wanted)
        assert [one.config for one in both] == [config for config, _ in wanted]
        assert [failures(one, requests, 1) for one in both] == [[], []]
        for one in both:
            endpoint = one.endpoint(requests)
            one.retire()
            assert failure_of(endpoint, ANSWER_S) != ""
        if self.refused is not None:
            refused = {**started.user_config(), **self.refused}
            with pytest.raises(ConfigRefused) as raised:
                started.deploy_together([(started.user_config(), "one"), (refused, "two")])
            assert str(raised.value).strip()
            assert failures(started.deploy(started.user_config(), "one"), requests, 1) == []

    def test_a_retired_deployment_does_not_answer(self, started: Target) -> None:
        kept = started.deploy(self.changed(started), "kept") if started.side_by_side else None
        deployment = started.deploy(started.user_config(), "gone")
        endpoint = deployment.endpoint(self.requests())
        deployment.retire()
        assert failure_of(endpoint, ANSWER_S) != ""
        if kept is not None:
            assert failures(kept, self.requests(), 1) == []

    def test_an_alias_is_taken_over(self, started: Target) -> None:
        started.deploy(started.user_config(), "same")
        again = started.deploy(self.changed(started), "same")
        assert again.config == self.changed(started)
        assert failures(again, self.requests(), 1) == []

    # -- starting, and what can go wrong --

    def test_a_server_that_is_not_ready_in_time_is_an_error_and_leaves_nothing(self, tmp_path: Path) -> None:
        before = children()
        target = self.make(_subfolder(tmp_path, "hasty"), apply_timeout="1 ms")
        with pytest.raises(TargetError, match=r"\S"):
            _start_and_deploy(target)
        target.stop()
        assert soon(lambda: children() <= before), "processes are left"

    def test_a_target_that_was_not_started_says_so(self, target: Target) -> None:
        assert not target.alive()
        with pytest.raises(TargetError):
            target.deploy(target.user_config(), "one")

    def test_a_crash_is_noticed_and_the_target_can_be_started_again(self, started: Target) -> None:
        deployment = started.deploy(started.user_config(), "one")
        processes = [psutil.Process(pid) for pid in deployment.processes()]
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        assert soon(lambda: not any(map(runs, processes))), "a process that was killed is gone a moment later"
        with pytest.raises(ServerDied):
            deployment.statistics()
        assert not started.alive()
        started.start()
        again = started.deploy(started.user_config(), "one")
        assert failures(again, self.requests(), 1) == []

    def test_a_hang_is_noticed_and_the_server_can_be_stopped(
        self, started: Target, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.be_impatient(monkeypatch)
        deployment = started.deploy(started.user_config(), "one")
        processes = [psutil.Process(pid) for pid in deployment.processes()]
        halt(processes)
        if not self.silent:
            with pytest.raises(ServerDied, match="answer"):
                deployment.statistics()
        assert not started.alive()
        started.stop()
        assert soon(lambda: not any(map(runs, processes)))

    def be_impatient(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Shorten the time after which the server counts as hung, if it is long."""

    def test_nothing_is_left_when_it_was_stopped(self, started: Target) -> None:
        deployment = started.deploy(self.changed(started), "one")
        processes = [psutil.Process(pid) for pid in deployment.processes()]
        endpoint = deployment.endpoint(self.requests())
        assert processes, "a local server has processes"
        shared = shared_memory(processes)
        started.stop()
        assert soon(lambda: not any(map(runs, processes)))
        assert not listens(endpoint)
        assert not [path for path in shared if path.exists()]

    def test_nothing_is_left_of_a_tuner_that_is_killed(self, tmp_path: Path) -> None:
        spawning = multiprocessing.get_context("spawn")
        ours, theirs = spawning.Pipe()
        tuner = spawning.Process(target=_hold, args=(self.make, _subfolder(tmp_path, "killed"), theirs))
        tuner.start()
        try:
            pids: Sequence[int] = ours.recv()
            processes = [psutil.Process(pid) for pid in pids]
            assert processes
            assert all(map(runs, processes))
        finally:
            tuner.kill()
            tuner.join()
        assert soon(lambda: not any(map(runs, processes))), "the server outlived the tuner"


def _start_and_deploy(target: Target) -> Deployment:
    target.start()
    return target.deploy(target.user_config(), "one")


def _hold(make: Callable[[Path], Target], folder: Path, pipe: Connection) -> None:
    """Start and deploy, tell the processes, and wait to be killed."""
    target = make(folder)
    pipe.send(list(_start_and_deploy(target).processes()))
    time.sleep(3600)


def _legal(value: object, knob: Knob) -> bool:
    if knob.type == "choice":
        return value in knob.choices
    if knob.type == "list":
        return value == "none" or all(_legal(int(part), replace(knob, type="int")) for part in str(value).split(","))
    if isinstance(value, int | float) and not isinstance(value, bool):
        return (knob.low is None or value >= knob.low) and (knob.high is None or value <= knob.high)
    return isinstance(value, bool)


def _subfolder(folder: Path, name: str) -> Path:
    made = folder / name
    made.mkdir()
    return made
