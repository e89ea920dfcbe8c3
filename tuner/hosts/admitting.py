"""A host is admitted: the first one that has its baseline makes a group, and those that come are compared with it."""

import time
from dataclasses import dataclass

from tuner.budget import Budget
from tuner.hosts.admission import Host, HostDiffers, differences
from tuner.hosts.entries import ABOUT, BASELINE, VERDICT, Entry
from tuner.hosts.heart import Heart
from tuner.hosts.ledger import Evicted
from tuner.hosts.searching import POLL_S
from tuner.hosts.shared import SharedSearch

MOST_ALIKE = 3
"""Hosts that a refusal names beside the first one."""


@dataclass(frozen=True)
class Admission:
    """Finds out which group a host is in.

    Attributes:
        shared: the search; its group is what is found.
        heart: says what this host does.
        budget: of the study, of which waiting for others takes nothing.
        within: see `admission.WITHIN`.
        groups: a host that differs gets a group of its own, in place of being refused.
    """

    shared: SharedSearch
    heart: Heart
    budget: Budget
    within: float
    groups: bool

    def admit(self, mine: Host, notes: dict[str, object]) -> None:
        """Take part in a group, that of the hosts that are like this one.

        Args:
            mine: this host, with its baseline.
            notes: what its entry says, for when it has to join again; it gets the baseline and the group.

        Raises:
            HostDiffers: it may not take part.
        """
        ledger = self.shared.ledger
        notes[BASELINE] = mine.stored()
        with self.budget.held():
            while self.shared.group is None:
                try:
                    ledger.note(BASELINE, notes[BASELINE])
                    ledger.is_ready()
                    group = self._group_of(mine)
                    notes[VERDICT] = {"group": group}
                    ledger.decide({"group": group})
                    self.shared.group = group
                except Evicted:
                    notes.pop(VERDICT, None)
                    self.shared.rejoin(notes)

    def _group_of(self, mine: Host) -> int:
        """Return the group of this host; the first that has its baseline makes one, and no host waits for a slower one.

        Raises:
            HostDiffers: it differs from the hosts that are there.
            Evicted: it was taken for dead.
        """
        ledger = self.shared.ledger
        while True:
            ledger.bury()
            if ledger.host is None or not ledger.book.alive(ledger.host):
                raise Evicted
            founders = [one for one in ledger.book.hosts() if one.group == one.number]
            told = {one.number: differences(_host(one), mine, self.within) for one in founders}
            same = next((one for one, found in told.items() if not found), None)
            if same is not None:
                return same
            if told and not self.groups:
                raise self._refused(mine, founders[0], told[founders[0].number])
            queue = ledger.book.ready()
            before = queue[: [one.number for one in queue].index(ledger.host)]
            if all(one.decided for one in before):
                return ledger.host
            self.heart.doing = "waits for the hosts that had their baselines before it"
            time.sleep(POLL_S)

    def _refused(self, mine: Host, founder: Entry, found: list[str]) -> HostDiffers:
        why, alike, name = "; ".join(found), self._like(mine), self.shared.ledger.book.name(founder.number)
        others = f"it is like {', '.join(alike[:MOST_ALIKE])}, refused as well" if alike else ""
        self.shared.ledger.decide({"refused": "; ".join(filter(None, (why, others)))})
        anew = "end it, and begin anew on the others with another --run NAME"
        remedy = (
            f"{others[0].upper()}{others[1:]}, so that {name} may be the odd one: if it is, {anew}"
            if alike
            else f"Take a host of the same kind; if {name} is the odd one, {anew}"
        )
        return HostDiffers(
            f"this host differs from {name}, on which the study began: {why}; what they measure is not comparable. "
            f"{remedy}; or let those that differ form groups, compared inside alone: --groups"
        )

    def _like(self, mine: Host) -> list[str]:
        """Return the names of other hosts that were refused and are like this one."""
        found = {
            str(one.attributes[ABOUT]["name"]): None
            for one in self.shared.ledger.book.hosts()
            if "refused" in one.attributes.get(VERDICT, {}) and not differences(_host(one), mine, self.within)
        }
        found.pop(mine.name, None)  # it tries again
        return list(found)


def _host(entry: Entry) -> Host:
    return Host.of(entry.attributes[BASELINE])
