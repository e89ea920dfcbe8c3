"""The search of a study that many hosts share: it knows what the others told, and claims what it proposes."""

from collections.abc import Iterable, Mapping
from typing import Any

from targets.base import Config
from tuner.hosts.entries import KEY, WORTH
from tuner.hosts.ledger import Evicted, Held, Ledger, Outcome
from tuner.objective import Objective
from tuner.results import Trial
from tuner.search import TRIAL, Proposal, Search


class Taken(Exception):
    """What was to be proposed is not to be had: another host has it, or the budget is used up."""


class SharedSearch(Search):
    """A search on one of several hosts. It counts what its own group tells alone; see `Search` for the rest.

    Args:
        ledger: of the study; this host has joined.
        about: what this host says about itself.
        budget: trials that all hosts may make together.
        arguments: of `Search`.

    Attributes:
        ledger: of the study.
        budget: trials that all hosts may make together; it may be raised.
        group: that this host is in; None before it was admitted.
        held: the proposal that this host holds.
    """

    def __init__(self, ledger: Ledger, about: Mapping[str, Any], budget: int, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.ledger, self.about = ledger, about
        self.group: int | None = None
        self.held: Held | None = None
        self.budget = budget
        self._forget()

    def _forget(self) -> None:
        """Begin with nothing: what counts is what the own group told."""
        self._told.clear()
        self._known: set[str] = set()
        self._seen = 0
        self._own: set[int] = set()
        self.tried = set()

    @property
    def name(self) -> str:
        """Of this host."""
        assert self.ledger.host is not None, "this host has joined"
        return self.ledger.book.name(self.ledger.host)

    # -- what `Tuning` and `Searching` use --

    def remembered(self, key: str) -> Any:
        """Return what all hosts have in common: the time that is spent. Every host measures its own baseline."""
        return {"wall_s": self.ledger.read().spent_s()} if key == "spent" else None

    def remember(self, key: str, value: object) -> None:
        """Nothing: a host that is started again measures its baseline and its variants' accuracy anew."""

    def skip(self, configs: Iterable[Config]) -> None:
        """Take note of configurations of the space that are known without having been proposed."""
        self._known |= {self.key(config) for config in configs}
        self.tried |= self._known

    def ask(
        self, planned: Config | None = None, kept: Config | None = None, expected: Config | None = None
    ) -> Proposal | None:
        """Propose a configuration that nobody holds or told, and hold it; None when there is none.

        Raises:
            Taken: it was claimed at the same moment by another host.
            Evicted: this host was taken for dead.
        """
        made = super().ask(planned, kept, expected)
        if made is None:
            return None
        key = self._group(), self._key_of(self._open.chosen)
        self.held = self.ledger.claim(key, made.config, self._open.chosen, self._distributions(), self.budget)
        if self.held is None:
            self._refresh()
            raise Taken
        return Proposal(self.held.number, made.config)

    def tell(self, trial: Trial, objective: Objective) -> None:
        """Tell the outcome of the proposal that this host holds.

        Raises:
            Evicted: it was given to another host meanwhile.
        """
        assert self.held is not None, "a proposal is held"
        held, self.held = self.held, None
        made = self._made(trial, objective)
        worth = {
            "state": trial.state,
            "values": made.values,
            "feasible": objective.feasible and trial.state == "complete",
        }
        written = {key: value for key, value in made.user_attrs.items() if value}  # each is a word to the storage
        self.ledger.tell(held, Outcome(tuple(made.values), {**written, WORTH: worth}, made.system_attrs))
        self._own.add(held.entry)
        self._told.append(made)
        self._known.add(held.key[1])
        self.tried.add(held.key[1])

    # -- the others --

    def take_up(self) -> list[Trial]:
        """Take up what other hosts of the group told since the last time, and what is held or free now."""
        book, found = self.ledger.book, []
        for number in book.told[self._seen :]:
            entry = book.entries[number]
            if number in self._own or entry.key[0] != self.group:
                continue
            self._told.append(self.ledger.trial(number))
            self._known.add(entry.key[1])
            found.append(_of_another(Trial.model_validate_json(entry.attributes[TRIAL])))
        self._seen = len(book.told)
        self._refresh()
        return found

    def again(self) -> Proposal | None:
        """Hold the oldest proposal that was given back; None where there is none. Raises Evicted."""
        for entry in self.ledger.book.given_back(self._group(), self.budget):
            chosen = dict(self.ledger.trial(entry.number).params)
            config = self._config(chosen)
            self.held = self.ledger.claim(entry.key, config, chosen, self._distributions(), self.budget, entry)
            if self.held is not None:
                self._resume(chosen)
                return Proposal(self.held.number, config)
        return None

    def lost(self) -> int:
        """Return how many hosts were lost with the proposal that this one holds."""
        return 0 if self.held is None else self.ledger.book.losses(self.held.key)

    def release(self) -> None:
        """Take the proposal that this host holds back, as if it had never been made. Raises Evicted."""
        if self.held is not None:
            self.ledger.withdraw(self.held)
            self.held = None

    def full(self) -> bool:
        """Whether the budget leaves no further proposal."""
        return self.ledger.book.budgeted() >= self.budget

    def busy(self) -> bool:
        """Whether a host of the group, this one or another, holds a proposal, or one is to be measured again."""
        book, group = self.ledger.book, self._group()
        return bool(book.held(group) or book.given_back(group, self.budget))

    def rejoin(self, notes: Mapping[str, object]) -> None:
        """Take part again after this host was taken for dead.

        Args:
            notes: what its entry says.
        """
        self.held = None
        while True:
            self.ledger.join(self.about)
            try:
                for key, value in notes.items():
                    self.ledger.note(key, value)
            except Evicted:
                continue
            break
        self.ledger.read()

    def _group(self) -> int:
        assert self.group is not None, "this host was admitted"
        return self.group

    def _turn(self) -> int:
        return self.ledger.book.budgeted() + 1

    def _refresh(self) -> None:
        """Leave out what others hold, and what was given back: that is taken before anything new is proposed."""
        book, group = self.ledger.book, self._group()
        taken = [*book.held(group), *book.given_back(group, self.budget)]
        self.tried = self._known | {entry.attributes[KEY] for entry in taken}


def _of_another(trial: Trial) -> Trial:
    """Return another host's trial; the records of its requests are there."""
    points = [point.model_copy(update={"records": None}) for point in trial.points]
    return trial.model_copy(update={"points": points})
