"""A host joins with the study of the others, in which where things are is its own."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from optuna.storages import BaseStorage

from targets.base import TargetError
from tests.support.simulated_study import write_simulated_study
from tuner import __version__
from tuner.hosts import joining
from tuner.hosts.admission import StudiesDiffer
from tuner.hosts.entries import INTERRUPTED, LEFT
from tuner.hosts.joining import Terms, joined, study_there
from tuner.hosts.ledger import Ledger
from tuner.hosts.patience import Patience
from tuner.hosts.searching import DoneElsewhere
from tuner.hosts.tuning import HostTuning
from tuner.instruments import started
from tuner.listener import Listeners
from tuner.opening import Opened
from tuner.rundir import RunDirectory
from tuner.storage import JOURNAL, StorageAway, open_storage, shared
from tuner.study.load import Study, load_study
from tuner.wiring import prepare

DIGITS = Path(__file__).parents[2] / "studies" / "digits.yaml"


@pytest.fixture(scope="module")
def digits() -> Study:
    return load_study(DIGITS)


def with_target(study: Study, **target: object) -> Study:
    return replace(study, given={**study.given, "target": {**study.given["target"], **target}})


def ledger(folder: Path, name: str = "digits@shared") -> Ledger:
    storage = shared(open_storage(f"{JOURNAL}{folder / 'study.log'}", folder))
    return Ledger(storage, name, Patience(0.0, lambda _: None), ["maximize"])


def about(study: Study, version: str = __version__) -> Mapping[str, object]:
    """Return what a host says of itself."""
    return {"name": "first", "lease_s": 60.0, "paretune": version, "study": dict(study.given)}


def join(folder: Path, first: Study, second: Study, version: str = __version__) -> None:
    """Have a host join that has the second study where another one began with the first. Raises StudiesDiffer."""
    made = ledger(folder)
    made.join(about(first, version))
    joining._check(made.read(), second)


@pytest.mark.parametrize("key", ["url", "grpc_url", "metrics_url", "repository", "port", "http_port", "grpc_port"])
def test_each_host_may_have_its_own_address_and_port_of_the_server(key: str, digits: Study, tmp_path: Path) -> None:
    join(tmp_path, with_target(digits, **{key: "one"}), with_target(digits, **{key: "other"}))


def test_a_host_may_come_with_another_budget(digits: Study, tmp_path: Path) -> None:
    join(tmp_path, digits, load_study(DIGITS, ["search.budget.trials=99", "search.budget.time=9 min"]))
    with pytest.raises(StudiesDiffer, match=r"search\.budget\.patience is absent there and 9 here"):
        join(tmp_path, digits, load_study(DIGITS, ["search.budget.patience=9"]))


@pytest.mark.parametrize("key", ["protocol", "urls", "port_of_another"])
def test_what_is_measured_is_the_same_on_every_host(key: str, digits: Study, tmp_path: Path) -> None:
    with pytest.raises(StudiesDiffer, match=rf"target\.{key} is one there and other here"):
        join(tmp_path, with_target(digits, **{key: "one"}), with_target(digits, **{key: "other"}))


def test_a_section_of_which_all_may_differ_is_left_out_with_what_is_in_it(digits: Study, tmp_path: Path) -> None:
    here = replace(digits, given={**digits.given, "isolation": {"cores": {"server": "0-3", "generator": "4"}}})
    join(tmp_path, digits, here)


def test_a_host_with_another_version_of_paretune_is_told_what_to_install(digits: Study, tmp_path: Path) -> None:
    with pytest.raises(
        StudiesDiffer, match=rf"first began .* Paretune 0\.0\.9, and this host has {__version__}; install"
    ):
        join(tmp_path, digits, digits, version="0.0.9")


def test_of_hosts_that_start_together_with_different_studies_the_first_alone_takes_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = f"search.storage=journal://{tmp_path / 'study.log'}"
    study = load_study(write_simulated_study(tmp_path), [storage])
    prepared = prepare(study, tmp_path / "log.txt")
    name, terms = "queue@shared", Terms("shared", "second", 60.0, 0.0, 0.1, groups=True)
    opened_with = joining.opened_with

    def slowly(*arguments: Any) -> Opened:
        ledger(tmp_path, name).join(about(load_study(study.source.path, [storage, "slo.p90=1 s"])))
        return opened_with(*arguments)

    monkeypatch.setattr(joining, "opened_with", slowly)
    with (
        pytest.raises(StudiesDiffer, match=r"first began .*slo\.p90 is 1 s there and 900 ms here"),
        joined(prepared, RunDirectory(tmp_path), terms, lambda _: None),
    ):
        raise AssertionError("it takes part")
    first, second = ledger(tmp_path, name).read().hosts()
    assert (first.state, second.state) == ("open", "ended")


def test_a_storage_that_is_not_there_yet_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = load_study(write_simulated_study(tmp_path), [f"search.storage=journal://{tmp_path / 'study.log'}"])
    prepared, said, tries = prepare(study, tmp_path / "log.txt"), list[str](), iter([True])

    def opening(*arguments: Any) -> BaseStorage:
        if next(tries, False):
            raise StorageAway("search.storage: it starts")
        return open_storage(*arguments)

    monkeypatch.setattr(joining, "open_storage", opening)
    terms = Terms("shared", "host", 60.0, 60.0, 0.1, groups=True)
    with joined(prepared, RunDirectory(tmp_path), terms, said.append) as made:
        assert made.shared.name == "host"
        assert set(made.files) == {"queue.json"}
    assert said == ["the storage does not answer, trying again for 60 s: search.storage: it starts",
                    "the storage answers again"]  # fmt: skip


@pytest.mark.parametrize(
    ("error", "left"),
    [(DoneElsewhere({}), "done"), (KeyboardInterrupt(), INTERRUPTED), (TargetError("it is gone"), "ended early")],
)
def test_a_host_says_why_it_leaves(error: BaseException, left: str, tmp_path: Path) -> None:
    study = load_study(write_simulated_study(tmp_path), [f"search.storage=journal://{tmp_path / 'study.log'}"])
    terms = Terms("shared", "host", 60.0, 0.0, 0.1, groups=True)
    prepared = prepare(study, tmp_path / "log.txt")
    with pytest.raises(type(error)), joined(prepared, RunDirectory(tmp_path), terms, lambda _: None):
        raise error
    (host,) = ledger(tmp_path, "queue@shared").read().hosts()
    assert (host.state, host.attributes[LEFT]) == ("ended", left)


def test_who_looks_at_a_study_sees_it_as_the_hosts_have_it(digits: Study, tmp_path: Path) -> None:
    made = ledger(tmp_path)
    assert study_there(made.read(), digits) is digits
    other = load_study(DIGITS, ["objectives=[minimize p99]", "search.budget.trials=7"])
    made.join(about(other))
    assert study_there(made.read(), digits).spec == other.spec


def test_a_study_of_another_version_that_cannot_be_read_is_said_to_be_one(digits: Study, tmp_path: Path) -> None:
    made = ledger(tmp_path)
    made.join(about(replace(digits, given={**digits.given, "invention": 1}), "9.0"))
    with pytest.raises(StudiesDiffer, match=r"first began this run with Paretune 9\.0, and .* \(.*invention.*\); look"):
        study_there(made.read(), digits)


@pytest.mark.parametrize("others", [True, False])
def test_a_server_that_took_long_to_start_takes_nothing_of_a_study_that_goes_on(others: bool, tmp_path: Path) -> None:
    study = load_study(write_simulated_study(tmp_path), [f"search.storage=journal://{tmp_path / 'study.log'}"])
    prepared, run = prepare(study, tmp_path / "log.txt"), RunDirectory(tmp_path)
    terms = Terms("shared", "slow", 60.0, 0.0, 0.1, groups=True)
    with joined(prepared, run, terms, lambda _: None) as made, started(prepared, tmp_path) as bench:
        if others:
            other = ledger(tmp_path, "queue@shared")
            other.join(about(study))
            other.beat("measures trial 3", 20.0)
        bench.trier.applied_s = 1e6
        HostTuning(
            made.shared, made.heart, 0.1, prepared, run, made.opened, bench, Listeners([]), lambda: None,
            groups=True, files=made.files,
        )  # fmt: skip
        spent_s = made.heart.spent_s()
    assert 20.0 <= spent_s < 1e6 if others else spent_s >= 1e6
