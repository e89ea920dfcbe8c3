"""A host joins a shared study, and leaves it again however its work ends."""

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tuner import __version__
from tuner.hosts.admission import StudiesDiffer
from tuner.hosts.contents import contents
from tuner.hosts.entries import ABOUT, BUDGET, INTERRUPTED, Book
from tuner.hosts.heart import Heart
from tuner.hosts.ledger import Direction, Ledger
from tuner.hosts.patience import Patience
from tuner.hosts.searching import DoneElsewhere
from tuner.hosts.shared import SharedSearch
from tuner.opening import Opened, opened_with
from tuner.rundir import MOST_NAMED, RunDirectory, changes
from tuner.search import Search
from tuner.space import Space
from tuner.storage import close_storage, open_storage, shared
from tuner.study.load import Study, load_study
from tuner.study.source import StudyError
from tuner.wiring import Prepared

MAY_DIFFER = (
    "search.storage",
    "target.url",
    "target.grpc_url",
    "target.metrics_url",
    "target.repository",
    "target.port",
    "target.http_port",
    "target.grpc_port",
    "isolation",
    "report",
    "search.budget.trials",
    "search.budget.time",
)
"""What may differ in the study from host to host, with all that is below: where things are, not what is measured.

Of the budgets the largest counts, see `Book.budget`.
"""


@dataclass(frozen=True)
class Terms:
    """How a host takes part.

    Attributes:
        run: name of the run in the storage, the same on every host.
        name: of this host.
        lease_s: after so long without a heartbeat it is taken for dead, in seconds.
        wait_s: how long a storage may stay away, in seconds.
        within: see `admission.WITHIN`.
        groups: see `HostTuning`.
    """

    run: str
    name: str
    lease_s: float
    wait_s: float
    within: float
    groups: bool


@dataclass(frozen=True)
class Joined:
    """A host's place in a shared study.

    Attributes:
        shared: the search.
        opened: what it searches with.
        heart: says what it does.
        files: of the server, before that is started; see `contents.contents`.
    """

    shared: SharedSearch
    opened: Opened
    heart: Heart
    files: Mapping[str, str]


def name_in_storage(study: Study, run: str) -> str:
    """Return what a run of a study is called in a storage that hosts share."""
    return f"{study.spec.study}@{run}"


@contextmanager
def joined(prepared: Prepared, run: RunDirectory, terms: Terms, say: Callable[[str], None]) -> Iterator[Joined]:
    """Join a study, and give back on the way out what this host holds.

    Raises:
        StorageError: the storage cannot be used.
        StudiesDiffer: the other hosts have another study.
        DoneElsewhere: the best was confirmed already.
        StudyError: there is nothing to divide among hosts.
    """
    study = prepared.study
    if not prepared.space.of_server:
        raise study.source.error(("space",), "it has load levels alone; hosts share a search of the server's knobs")
    patience = Patience(terms.wait_s, say)
    storage = patience(lambda: open_storage(study.spec.search.storage, run.path))
    try:
        quick, name = shared(storage), name_in_storage(study, terms.run)
        directions: list[Direction] = ["maximize" if goal.maximize else "minimize" for goal in prepared.goals]
        ledger = Ledger(quick, name, patience, directions)
        about = _about(study, terms)
        _check(ledger.read(), study)
        if not terms.groups:
            _check_undone(ledger.book)

        def make(space: Space, sampler: str) -> Search:
            spec = study.spec.search
            return patience(
                lambda: SharedSearch(
                    ledger,
                    about,
                    spec.budget.trials,
                    storage=quick,
                    space=space,
                    goals=prepared.goals,
                    sampler=sampler,
                    seed=spec.seed,
                    name=name,
                    focused=spec.choose == "first",
                )
            )

        opened = opened_with(prepared, make)
        assert isinstance(opened.search, SharedSearch), "made here"
        files = contents(study)
        ledger.join(about)
        with Heart(ledger, terms.lease_s) as heart:
            try:
                _check(ledger.book, study)  # of hosts that start together each looked before the others were there
                yield Joined(opened.search, opened, heart, files)
            except BaseException as error:
                ledger.leave(_reason(error))
                raise
            ledger.leave("done")
    finally:
        close_storage(storage)


def _about(study: Study, terms: Terms) -> dict[str, Any]:
    """Return what a host says about itself."""
    budget = study.spec.search.budget
    return {
        "name": terms.name,
        "pid": os.getpid(),
        "lease_s": terms.lease_s,
        "paretune": __version__,
        "study": study.shown,
        BUDGET: [budget.trials, budget.time],
    }


def study_there(book: Book, study: Study) -> Study:
    """Return the study that the hosts have, which may be another one than the given; that, where there is no host yet.

    Raises:
        StudiesDiffer: another version of Paretune wrote it, and this one cannot read it.
    """
    first = next(iter(book.hosts()), None)
    if first is None:
        return study
    about = first.attributes[ABOUT]
    try:
        return load_study(study.source.path, text=json.dumps(about["study"]))
    except StudyError as error:
        raise StudiesDiffer(
            f"{book.name(first.number)} began this run with Paretune {about.get('paretune')}, and {__version__} cannot "
            f"read its study ({error}); look with the same version"
        ) from None


def _reason(error: BaseException) -> str:
    """Return why a host leaves."""
    if isinstance(error, KeyboardInterrupt):
        return INTERRUPTED
    return "done" if isinstance(error, DoneElsewhere) else "ended early"


def _check(book: Book, study: Study) -> None:
    """Check that the first host has the same Paretune and the same study. Raises StudiesDiffer."""
    first = next(iter(book.hosts()), None)
    if first is None:
        return
    name, about = book.name(first.number), first.attributes[ABOUT]
    if (version := about.get("paretune")) != __version__:
        raise StudiesDiffer(
            f"{study.source.path}: {name} began this run with Paretune {version}, and this host has {__version__}; "
            "install the same on every host, or name another run with --run"
        )
    found = [
        f"{place} is {there} there and {here} here"
        for place, there, here in changes(about["study"], study.shown)
        if not any(place == key or place.startswith(f"{key}.") for key in MAY_DIFFER)
    ]
    if found:
        more = f" (and {len(found) - MOST_NAMED} more)" if len(found) > MOST_NAMED else ""
        raise StudiesDiffer(
            f"{study.source.path}: {name} began this run with another study: "
            f"{'; '.join(found[:MOST_NAMED])}{more}; give every host the same study, or name another run with --run"
        )


def _check_undone(book: Book) -> None:
    """Check that there is something left to do. Raises DoneElsewhere."""
    for host in book.hosts():
        said = book.done(host.number) if host.group == host.number else None
        if said is not None:
            raise DoneElsewhere(said)
