"""The ledger of a shared study: who takes part, who holds which proposal, what was told. Optuna's storage keeps it.

Every entry is an Optuna trial, for what both kinds of storage promise of these: a new one gets the next number, and
ending one succeeds once. So the lowest number of two that claim the same thing has it, on every host's word, and a host
that was taken for dead cannot tell any more what it measured. Samplers see what was told alone.
"""

import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

import optuna
from optuna.distributions import BaseDistribution
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

from tuner.hosts.entries import (
    ABOUT,
    BEAT,
    CONFIG,
    DONE,
    ENTRY,
    GROUP,
    HOST,
    KEY,
    LEFT,
    ORDINAL,
    TOKEN,
    VERDICT,
    WITHDRAWN,
    Book,
    Entry,
    Kind,
    State,
)
from tuner.hosts.patience import Patience
from tuner.storage import StorageError

LEAVING_S = 3.0
Direction = Literal["maximize", "minimize"]


class Evicted(Exception):
    """This host was silent for too long: it was taken for dead, and what it held was given to others."""


@dataclass(frozen=True)
class Held:
    """A proposal that this host holds.

    Attributes:
        entry: number of its entry.
        number: of its trial.
        key: see `Entry.key`.
    """

    entry: int
    number: int
    key: tuple[int, str]


@dataclass(frozen=True)
class Outcome:
    """What is told of a proposal, as Optuna takes it.

    Attributes:
        values: of the objectives.
        attributes: what is written beside them.
        system: what samplers read.
    """

    values: tuple[float, ...]
    attributes: Mapping[str, Any]
    system: Mapping[str, Any] = field(default_factory=dict)


class Ledger:
    """The entries of one shared study.

    Args:
        storage: that has the study, see `storage.shared`.
        name: of the study there.
        patience: waits for the storage.
        directions: `maximize` or `minimize` of each objective: the study is made where it is not there.

    Raises:
        StorageError: the storage cannot be used, or has no such study.

    Attributes:
        book: the entries as they were read last.
        host: number of this host's entry; None before it joined.
    """

    def __init__(
        self, storage: BaseStorage, name: str, patience: Patience, directions: Sequence[Direction] | None = None
    ) -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)  # a database that is away would be told with its SQL
        self._storage, self._patience = storage, patience
        self._study = patience(lambda: _number_of(storage, name, directions))
        patience.missed = self._missed
        self.book = Book()
        self.host: int | None = None
        self._ids: dict[int, int] = {}
        self._trials: dict[int, FrozenTrial] = {}
        self._count, self._again = 0, list[int]()
        """How many trials were read last; numbers of those among them that are looked at again."""
        self._heard: dict[int, tuple[object, float]] = {}
        self._beats = 0
        self._once = Patience(0.0, lambda _: None, self._missed)

    # -- reading --

    def read(self) -> Book:
        """Read what is new, and return the book."""
        trials = self._patience(lambda: self._storage.get_all_trials(self._study, deepcopy=False))
        new = self._new_of(trials)
        self._ids |= {trial.number: trial._trial_id for trial in new}
        self._trials |= {trial.number: trial for trial in new}
        self.book.take_up([_entry(trial) for trial in new])
        self._again = [trial.number for trial in new if not self._is_settled(trial.number)]
        self._count = len(trials)
        return self.book

    def _new_of(self, trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
        """Return those of all trials, in the order of their numbers, that are not known, or that may have changed."""
        if len(trials) >= self._count and trials and trials[-1].number == len(trials) - 1:  # no number is left out
            trials = [*(trials[number] for number in self._again), *trials[self._count :]]
        return [trial for trial in trials if not self._is_settled(trial.number)]

    def _is_settled(self, number: int) -> bool:
        return number in self.book.entries and number not in self.book.unended

    def trial(self, number: int) -> FrozenTrial:
        """Return what Optuna has of an entry, as it was read last."""
        return self._trials[number]

    # -- hosts --

    def join(self, about: Mapping[str, Any]) -> None:
        """Take part, as one more host."""
        self.host = self._add("host", {ABOUT: dict(about)})

    def beat(self, doing: str, spent_s: float) -> None:
        """Say that this host is alive, and what it does. May be called beside everything else.

        Raises:
            Evicted: nobody believed it any more.
            StorageError: the storage does not answer; nothing is waited for.
        """
        self._beats += 1
        now = datetime.now(UTC).isoformat(timespec="seconds")
        said = {"count": self._beats, "at": now, "doing": doing, "spent_s": round(spent_s, 3)}
        trial = self._ids[self._own()]
        self._once(_fencing(self._storage.set_trial_user_attr, trial, BEAT, said))

    def is_ready(self) -> None:
        """Say that this host has its baseline, as the next of those that have theirs. Raises Evicted."""
        self._add("ready", {})

    def note(self, key: str, value: object) -> None:
        """Write something into this host's entry. Raises Evicted."""
        self._write(self._own(), key, value)

    def leave(self, reason: str) -> None:
        """Give back what this host holds, and take part no longer; a storage that is away is not waited for."""
        self._patience = Patience(LEAVING_S, lambda _: None)
        try:
            self._write(self._own(), LEFT, reason)
            self._end(self._own())
            self.bury()
        except (Evicted, StorageError):
            return

    def bury(self) -> list[int]:
        """Find out which hosts are dead, give back what they held, and return their numbers.

        A host is dead when nothing was heard of it for as long as it said it would never be silent, as this host has
        watched it by its own clock: what the clocks of other hosts say does not matter.
        """
        book, now, dead = self.read(), time.monotonic(), []
        for host in [one for one in book.hosts() if one.state == "open" and one.number != self.host]:
            said = host.attributes.get(BEAT, {}).get("count")
            before, since = self._heard.get(host.number, (None, now))
            if host.number not in self._heard or before != said:
                self._heard[host.number] = said, now
            elif now - since > float(host.attributes[ABOUT]["lease_s"]):
                self._end_other(host.number)
                dead.append(host.number)
        if dead:
            self.read()
        orphans = [book.entries[number] for number in book.unended]
        orphans = [one for one in orphans if one.kind != "host" and not book.alive(one.host)]
        for one in orphans:
            self._end_other(one.number)
        if orphans:
            self.read()
        return dead

    # -- proposals --

    def claim(
        self,
        key: tuple[int, str],
        config: Mapping[str, Any],
        params: Mapping[str, int | str],
        distributions: Mapping[str, BaseDistribution],
        budget: int,
        again: Entry | None = None,
    ) -> Held | None:
        """Claim a proposal; None where another host has it, the budget is used up, or the best is being confirmed.

        Args:
            key: see `Entry.key`.
            config: its configuration, for people.
            params: its configuration, as Optuna is told of it.
            distributions: of these.
            budget: proposals that may be made.
            again: an entry of it, where it was given back.

        Raises:
            Evicted: this host was taken for dead.
        """
        attributes: dict[str, Any] = {GROUP: key[0], KEY: key[1], CONFIG: dict(config)}
        if again is not None:
            attributes[ORDINAL] = self.book.number(again)
        number = self._add("proposal" if again is None else "again", attributes, params, distributions)
        book = self.book  # as it was read with the entry in it: what came before is there
        holder = book.holder(key)
        over = again is None and book.budgeted(number) >= budget
        finisher = book.finisher(key[0])
        late = finisher is not None and finisher.number < number  # who confirms has seen what is held, but not this
        if holder is None or holder.number != number or over or late:
            self._withdraw(number)
            return None
        return Held(number, book.number(book.entries[number]), key)

    def tell(self, held: Held, outcome: Outcome) -> None:
        """Tell what came of a proposal; from then on it counts, and does not change any more.

        Raises:
            Evicted: it was given to another host.
        """
        trial = self._ids[held.entry]
        for key, value in outcome.system.items():
            self._patience(_fencing(self._storage.set_trial_system_attr, trial, key, value))
        for key, value in outcome.attributes.items():
            self._write(held.entry, key, value)
        try:
            self._set(held.entry, TrialState.COMPLETE, outcome.values)
        except Evicted:
            if self.read().entries[held.entry].state != "told":  # an answer that was lost: it had been told
                raise

    def withdraw(self, held: Held) -> None:
        """Take a proposal back, as if it had never been made. Raises Evicted."""
        self._withdraw(held.entry)

    def give_back(self, held: Held) -> None:
        """Let another host measure a proposal."""
        self._end_other(held.entry)

    # -- the end --

    def claim_finish(self, group: int) -> bool:
        """Claim the confirmation of a group's best; False where another host has it. Raises Evicted."""
        if self.read().finisher(group) is not None:
            return self.finishes(group)
        number = self._add("finish", {GROUP: group})
        if self.finishes(group):
            return True
        self._withdraw(number)
        return False

    def finishes(self, group: int) -> bool:
        """Whether this host confirms a group's best, and is not done with it."""
        entry = self.read().finisher(group)
        return entry is not None and entry.host == self.host and entry.state == "open" and DONE not in entry.attributes

    def done(self, group: int, said: Mapping[str, Any]) -> None:
        """Say what came of it. Raises Evicted."""
        entry = self.book.finisher(group)
        assert entry is not None, "this host confirms"
        self._write(entry.number, DONE, dict(said))
        self._end_other(entry.number)
        self.read()

    def decide(self, verdict: Mapping[str, Any]) -> None:
        """Say whether this host takes part: `{group: N}`, or `{refused: WHY}`. Raises Evicted."""
        self.note(VERDICT, dict(verdict))
        self.read()

    # -- writing --

    def _own(self) -> int:
        assert self.host is not None, "this host has joined"
        return self.host

    def _add(
        self,
        kind: Kind,
        attributes: Mapping[str, Any],
        params: Mapping[str, int | str] | None = None,
        distributions: Mapping[str, BaseDistribution] | None = None,
    ) -> int:
        """Add an entry of this host and return its number; added twice, where an answer was lost, the first counts."""
        token = uuid.uuid4().hex
        belongs = {} if kind == "host" else {HOST: self._own()}
        template = optuna.create_trial(
            state=TrialState.RUNNING,
            params=dict(params or {}),
            distributions=dict(distributions or {}),
            user_attrs={ENTRY: {ENTRY: kind, TOKEN: token, **belongs, **attributes}},  # in one: each is two statements
        )
        self._patience(lambda: self._storage.create_new_trial(self._study, template))
        book = self.read()
        same = [number for number in sorted(book.unended) if book.entries[number].attributes.get(TOKEN) == token]
        if not same:
            raise Evicted
        for number in same[1:]:
            self._end_other(number)
        if kind != "host" and not book.alive(self._own()):
            self._end_other(same[0])
            raise Evicted
        return same[0]

    def _withdraw(self, number: int) -> None:
        self._write(number, WITHDRAWN, value=True)
        self._end_other(number)
        self.read()

    def _write(self, number: int, key: str, value: object) -> None:
        trial = self._ids[number]
        self._patience(_fencing(self._storage.set_trial_user_attr, trial, key, value))

    def _end(self, number: int) -> None:
        self._set(number, TrialState.FAIL, None)

    def _end_other(self, number: int) -> None:
        """End an entry that another may end as well."""
        try:
            self._end(number)
        except Evicted:
            return

    def _set(self, number: int, state: TrialState, values: tuple[float, ...] | None) -> None:
        trial = self._ids[number]
        self._patience(_fencing(self._storage.set_trial_state_values, trial, state, values))

    def _missed(self) -> None:
        """Begin anew to watch the others: while the storage was away nobody could be heard."""
        self._heard.clear()


def _number_of(storage: BaseStorage, name: str, directions: Sequence[Direction] | None) -> int:
    if directions is not None:
        optuna.create_study(storage=storage, study_name=name, directions=directions, load_if_exists=True)
    try:
        return int(storage.get_study_id_from_name(name))
    except KeyError:
        raise StorageError(
            f"search.storage: no host has worked on {name} there yet; start one with `tune worker`"
        ) from None


def _fencing(write: Callable[..., object], *arguments: object) -> Callable[[], object]:
    """Return what writes, and raises Evicted where the entry was ended meanwhile."""

    def action() -> object:
        try:
            return write(*arguments)
        except UpdateFinishedTrialError:
            raise Evicted from None

    return action


def _entry(trial: FrozenTrial) -> Entry:
    state: State = "ended"
    if trial.state in (TrialState.RUNNING, TrialState.WAITING):
        state = "open"
    elif trial.state == TrialState.COMPLETE:
        state = "told"
    began = trial.datetime_start
    attributes = {**trial.user_attrs, **trial.user_attrs.get(ENTRY, {})}
    return Entry(trial.number, state, attributes, "" if began is None else began.isoformat(timespec="seconds"))
