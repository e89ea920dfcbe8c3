"""The search on one of many hosts: what others told is taken up, what was given back comes before anything new."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tuner.endings import SearchEnding
from tuner.hosts.heart import Heart
from tuner.hosts.ledger import Evicted
from tuner.hosts.shared import SharedSearch, Taken
from tuner.objective import Objective
from tuner.results import Trial
from tuner.search import Proposal
from tuner.searching import Searching

POLL_S = 0.5
"""How often a host that waits for others looks what they did."""
MOST_LOST = 3
"""Hosts that may be lost with a proposal before it counts as one that crashes its host."""


class DoneElsewhere(Exception):
    """Another host confirmed the best.

    Attributes:
        said: what came of it.
    """

    def __init__(self, said: Mapping[str, Any]) -> None:
        super().__init__("another host confirmed the best")
        self.said = said


@dataclass(kw_only=True)
class HostSearching(Searching):
    """Tries proposals together with other hosts.

    Attributes:
        shared: the search.
        heart: says what this host does.
        note: told what a person should know.
        heard: told of each trial of another host.
        notes: what this host's entry says, for when it has to join again.
    """

    shared: SharedSearch
    heart: Heart
    note: Callable[[str], None]
    heard: Callable[[Trial], None]
    notes: dict[str, object] = field(default_factory=dict)

    def run(self) -> SearchEnding:
        """Try proposals until there is a reason to end, and this host is the one to confirm the best.

        Raises:
            DoneElsewhere: another host did.
        """
        self.shared.skip(self.planner.space.at_every_load(self.user))
        while True:
            try:
                if self._claims(self._search()):
                    self._await_the_others()
                    break
            except Evicted:
                self._rejoin()
        self.found.trials[1:] = sorted(self.found.trials[1:], key=lambda trial: trial.number)
        self.heart.says("confirms the best")
        return self.ended or "trials"

    def _search(self) -> SearchEnding | None:
        """Try proposals until there is a reason to end, or another host confirms the best: None."""
        while True:
            self.follow()
            if self.shared.ledger.book.finisher(self.shared.group or 0) is not None:
                return None
            ending = self._ending() or self._step()
            if ending is not None:
                return ending

    def _claims(self, ending: SearchEnding | None) -> bool:
        """Whether this host confirms the best; waits for the one that does otherwise, in case it is lost."""
        group = self.shared.group or 0
        self.ended = ending or self.ended
        if not self.shared.ledger.claim_finish(group):
            self._wait("waits for the host that confirms the best")
            self.follow()
            said = self.shared.ledger.book.done(group)
            if said is not None:
                raise DoneElsewhere(said)
            return False
        return True

    def _await_the_others(self) -> None:
        """Wait for what other hosts are measuring: it was paid for."""
        self.follow()
        while self.shared.ledger.book.held(self.shared.group):
            self._wait("waits for the trials of other hosts")
            self.follow()

    def _step(self) -> SearchEnding | None:
        """Try one proposal, or wait where others have all of them; return why the search ends, None: it goes on."""
        again = self.shared.again()
        if again is not None:
            self._try_again(again)
            return None
        try:
            made = None if self.shared.full() else self.planner.next()
        except Taken:
            return None
        if made is None:
            if not self.shared.busy():
                return "trials" if self.shared.full() else "space"
            self._wait("waits for the trials of other hosts")
            return None
        if self.planner.certain(self.spec.search.budget.certain):
            self.shared.release()
            return "certain"
        self._try(*made)
        return None

    def _try_again(self, proposal: Proposal) -> None:
        """Measure what was given back, unless it seems to be what its hosts were lost of."""
        lost = self.shared.lost()
        if lost >= MOST_LOST:
            self._give_up(proposal, f"{lost} hosts were lost while they measured it")
            return
        self.note(f"trial {proposal.number} was given back by a host that is gone: it is measured again")
        self._try(proposal, {})

    def _give_up(self, proposal: Proposal, why: str) -> None:
        """Tell of a proposal that it crashes its host: nobody measures it again."""
        self.note(f"trial {proposal.number} is given up: {why}")
        trial = Trial(
            number=proposal.number,
            config={**self.user, **proposal.config},
            state="crashed",
            reason=why,
            points=[],
            apply_s=0.0,
            wall_s=0.0,
            host=self.shared.name,
        )
        self.search.tell(trial, self._worst())
        self.trial_ended(trial)

    def _try(self, proposal: Proposal, predicted: Mapping[str, Any]) -> None:
        self.heart.doing = f"measures trial {proposal.number}"
        trial, objective = self._attempt(proposal, dict(predicted))
        self.search.tell(trial, objective)
        self.trial_ended(trial)

    def _attempt(self, proposal: Proposal, predicted: dict[str, Any]) -> tuple[Trial, Objective]:
        trial, objective = super()._attempt(proposal, predicted)
        return trial.model_copy(update={"host": self.shared.name}), objective

    def follow(self) -> None:
        """Take up what the other hosts did."""
        ledger = self.shared.ledger
        for host in ledger.bury():
            self.note(f"{ledger.book.name(host)} was silent for too long: what it held goes to others")
        assert ledger.host is not None, "this host has joined"
        if not ledger.book.alive(ledger.host):
            raise Evicted
        new = self.shared.take_up()
        if new:
            self._place(new)
        for trial in new:
            self.heard(trial)
        self.budget.before_s += max(0.0, ledger.book.spent_s() - self.budget.spent_s())
        self._raise_budget()

    def _place(self, new: Sequence[Trial]) -> None:
        """Put trials of other hosts where they belong."""
        # A change's cost is learnt from one trial to the next on the same host: its own stay together, and come last.
        name = self.shared.name
        own = [one for one in self.found.trials[1:] if one.host == name]
        others = [one for one in self.found.trials[1:] if one.host != name]
        self.found.trials[1:] = [*sorted([*others, *new], key=lambda one: one.host or ""), *own]

    def _raise_budget(self) -> None:
        """Take up the budget of a host that came with a larger one."""
        trials, time_s = self.shared.ledger.book.budget()
        search = self.spec.search
        if trials <= search.budget.trials and time_s <= search.budget.time:
            return
        more = {"trials": max(trials, search.budget.trials), "time": max(time_s, search.budget.time)}
        search = search.model_copy(update={"budget": search.budget.model_copy(update=more)})
        self.spec = self.spec.model_copy(update={"search": search})
        self.shared.budget, self.budget.total_s = search.budget.trials, search.budget.time
        self.note(
            f"the budget is {search.budget.trials} trials in {search.budget.time:g} s: another host has the larger"
        )

    def _wait(self, why: str) -> None:
        if self.heart.doing != why:
            self.heart.says(why)
        time.sleep(POLL_S)

    def _rejoin(self) -> None:
        self.note("this host was silent for too long, and was taken for dead: it takes part again, as a new one")
        self.shared.rejoin(self.notes)
