"""A host joins a shared study, and leaves it again however its work ends."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tuner import __version__
from tuner.hosts.admission import StudiesDiffer
from tuner.hosts.entries import ABOUT, INTERRUPTED, Book
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
from tuner.study.load import Study
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
)
"""What may differ in the study from host to host, with all that is below: where things are, not what is measured."""


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
    """

    shared: SharedSearch
    opened: Opened
    heart: Heart


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
    storage = open_storage(study.spec.search.storage, run.path)
    try:
        quick, name = shared(storage), name_in_storage(study, terms.run)
        directions: list[Direction] = ["maximize" if goal.maximize else "minimize" for goal in prepared.goals]
        ledger = Ledger(quick, name, Patience(terms.wait_s, say), directions)
        about = {
            "name": terms.name,
            "pid": os.getpid(),
            "lease_s": terms.lease_s,
            "paretune": __version__,
            "study": dict(study.given),
        }
        _check(ledger.read(), study)
        if not terms.groups:
            _check_undone(ledger.book)

        def make(space: Space, sampler: str) -> Search:
            spec = study.spec.search
            return SharedSearch(
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

        opened = opened_with(prepared, make)
        assert isinstance(opened.search, SharedSearch), "made here"
        ledger.join(about)
        with Heart(ledger, terms.lease_s) as heart:
            try:
                yield Joined(opened.search, opened, heart)
            except BaseException as error:
                ledger.leave(INTERRUPTED if isinstance(error, KeyboardInterrupt) else "ended early")
                raise
            ledger.leave("done")
    finally:
        close_storage(storage)


def _check(book: Book, study: Study) -> None:
    """Check that the first host has the same study. Raises StudiesDiffer."""
    first = next(iter(book.hosts()), None)
    if first is None:
        return
    given: dict[str, Any] = dict(first.attributes[ABOUT]["study"])
    found = [
        f"{place} is {there} there and {here} here"
        for place, there, here in changes(given, study.given)
        if not any(place == key or place.startswith(f"{key}.") for key in MAY_DIFFER)
    ]
    if found:
        more = f" (and {len(found) - MOST_NAMED} more)" if len(found) > MOST_NAMED else ""
        raise StudiesDiffer(
            f"{study.source.path}: {book.name(first.number)} began this run with another study: "
            f"{'; '.join(found[:MOST_NAMED])}{more}; give every host the same study, or name another run with --run"
        )


def _check_undone(book: Book) -> None:
    """Check that there is something left to do. Raises DoneElsewhere."""
    for host in book.hosts():
        said = book.done(host.number) if host.group == host.number else None
        if said is not None:
            raise DoneElsewhere(said)
