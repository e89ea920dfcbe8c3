"""The entries of a shared study, read: hosts, the proposals that they hold or told, and who confirms. Pure."""

from bisect import bisect_left, insort
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

ENTRY, ABOUT, BEAT, BASELINE, VERDICT, LEFT = (
    f"paretune:{name}" for name in ("entry", "about", "beat", "baseline", "verdict", "left")
)
"""Attributes of a host's entry."""
HOST, GROUP, KEY, CONFIG, ORDINAL, WITHDRAWN, WORTH, DONE, TOKEN = (
    f"paretune:{name}" for name in ("host", "group", "key", "config", "ordinal", "withdrawn", "worth", "done", "token")
)
"""Attributes of what a host holds."""
BUDGET = "budget"
"""In what a host says about itself: the trials and the seconds of its study's budget."""
INTERRUPTED = "interrupted"
"""What is written in LEFT by a host that its user ended."""
Kind = Literal["host", "ready", "proposal", "again", "finish"]
State = Literal["open", "told", "ended"]
"""An entry is open while its host works on it; it is told with a result, or ended without one, once and for all."""


@dataclass(frozen=True)
class Entry:
    """One entry, as the storage has it.

    Attributes:
        number: its place in the study: a lower one was there earlier.
        state: see `State`.
        attributes: what is written in it.
        at: when it began, on the clock of its host; "" where nobody knows.
    """

    number: int
    state: State
    attributes: Mapping[str, Any]
    at: str = ""

    @property
    def kind(self) -> Kind | None:
        """What it is; None: not of a shared study."""
        found: Kind | None = self.attributes.get(ENTRY)
        return found

    @property
    def host(self) -> int:
        """Number of the host that it belongs to: its own, of a host's entry."""
        return int(self.attributes.get(HOST, self.number))

    @property
    def key(self) -> tuple[int, str]:
        """What tells its proposal from others: the group it is of, and its configuration."""
        return int(self.attributes[GROUP]), str(self.attributes[KEY])

    @property
    def withdrawn(self) -> bool:
        """Whether its host took it back at once: another had the same, or the budget was used up."""
        return WITHDRAWN in self.attributes

    @property
    def decided(self) -> bool:
        """Of a host: whether it was admitted, refused, or is gone."""
        return self.state != "open" or VERDICT in self.attributes

    @property
    def group(self) -> int | None:
        """Of a host: the group that it was admitted to, named by the number of its first host; None: it was not."""
        found = self.attributes.get(VERDICT, {}).get("group")
        return None if found is None else int(found)


@dataclass
class Book:
    """All entries, and what follows from them. An entry that is not open does not change any more.

    What is asked between any two trials is kept up entry by entry: there may be ten thousand of them.

    Attributes:
        entries: by number.
        unended: numbers of those that may change.
        told: numbers of proposals that were told, in the order in which this book saw it.
    """

    entries: dict[int, Entry] = field(default_factory=dict)
    unended: set[int] = field(default_factory=set)
    told: list[int] = field(default_factory=list)
    _of_kind: dict[Kind, list[int]] = field(default_factory=dict)
    _of_key: dict[tuple[int, str], list[int]] = field(default_factory=dict)
    _first_of: dict[tuple[int, str], int] = field(default_factory=dict)
    """Of each proposal its first entry that was not withdrawn; all of these in order, and those that nobody has."""
    _firsts: list[int] = field(default_factory=list)
    _free: set[int] = field(default_factory=set)
    _ordinals: dict[int, int] = field(default_factory=dict)
    _names: dict[int, str] = field(default_factory=dict)

    def take_up(self, read: Sequence[Entry]) -> None:
        """Take up entries as they are now, in the order of their numbers."""
        for entry in read:
            if entry.kind is None:
                continue
            is_new = entry.number not in self.entries
            self.entries[entry.number] = entry  # first: a heartbeat may look through the hosts meanwhile
            if is_new:
                self._count(entry, entry.kind)
            if entry.kind in ("proposal", "again"):
                self._place(entry.key)
            if entry.state == "open":
                self.unended.add(entry.number)
                continue
            self.unended.discard(entry.number)
            if entry.state == "told":
                self.told.append(entry.number)

    def _count(self, entry: Entry, kind: Kind) -> None:
        same = self._of_kind.setdefault(kind, [])
        same.append(entry.number)
        if kind == "host":
            said = str(entry.attributes[ABOUT]["name"])
            self._names[entry.number] = f"{said}.{entry.number}" if said in self._names.values() else said
        if kind == "proposal":
            self._ordinals[entry.number] = len(same)
        if kind in ("proposal", "again"):
            self._of_key.setdefault(entry.key, []).append(entry.number)

    def _place(self, key: tuple[int, str]) -> None:
        """Take note of where a proposal stands now."""
        entries = [self.entries[number] for number in self._of_key[key]]
        before, first = self._first_of.get(key), next((one.number for one in entries if not one.withdrawn), None)
        if before is not None and before != first:
            del self._firsts[bisect_left(self._firsts, before)], self._first_of[key]
            self._free.discard(before)
        if first is None:
            return
        if before != first:
            insort(self._firsts, first)
            self._first_of[key] = first
        if any(one.state != "ended" for one in entries):
            self._free.discard(first)
        else:
            self._free.add(first)

    def _all(self, kind: Kind) -> list[Entry]:
        return [self.entries[number] for number in self._of_kind.get(kind, ())]

    def hosts(self) -> list[Entry]:
        """Return the hosts, those that are gone too, in the order of their coming."""
        return self._all("host")

    def ready(self) -> list[Entry]:
        """Return the hosts that have their baselines, those that are gone too, in the order in which they had them."""
        return [self.entries[number] for number in dict.fromkeys(one.host for one in self._all("ready"))]

    def name(self, host: int) -> str:
        """Return what a host is called: as it says itself, and by its number where one before it says the same."""
        return self._names[host]

    def alive(self, host: int) -> bool:
        """Whether a host still takes part."""
        return host in self.unended

    def held(self, group: int | None = None) -> list[Entry]:
        """Return the proposals that hosts hold, of one group or of all."""
        found = [self.entries[number] for number in sorted(self.unended)]
        held = [one for one in found if one.kind in ("proposal", "again")]
        return [one for one in held if group is None or one.key[0] == group]

    def holder(self, key: tuple[int, str]) -> Entry | None:
        """Return the entry that counts of a proposal: the first that is held or was told; None: it is free."""
        entries = (self.entries[number] for number in self._of_key.get(key, ()))
        return next((one for one in entries if one.state != "ended"), None)

    def losses(self, key: tuple[int, str]) -> int:
        """Return how many hosts were lost while they held a proposal; one that was interrupted is not lost."""
        held = (self.entries[number] for number in self._of_key.get(key, ()))
        gone = [one for one in held if one.state == "ended" and not one.withdrawn]
        return sum(1 for one in gone if self.entries[one.host].attributes.get(LEFT) != INTERRUPTED)

    def number(self, entry: Entry) -> int:
        """Return the number of a proposal's trial: 1 for the first one, and the same when it is measured again."""
        return int(entry.attributes.get(ORDINAL, self._ordinals.get(entry.number, 0)))

    def budgeted(self, before: int | None = None) -> int:
        """Return how many proposals the budget was used for: measured, held, or to be measured again.

        Args:
            before: those that came before this entry; None: all.
        """
        return len(self._firsts) if before is None else bisect_left(self._firsts, before)

    def given_back(self, group: int, budget: int) -> list[Entry]:
        """Return the proposals of a group that are to be measured again, the oldest first: an entry of each.

        Args:
            group: the group.
            budget: trials of the study; what is beyond them is left out.
        """
        free = [number for number in sorted(self._free) if bisect_left(self._firsts, number) < budget]
        return [one for number in free if (one := self.entries[number]).key[0] == group]

    def finisher(self, group: int) -> Entry | None:
        """Return who confirms the best of a group, or has; None while nobody does."""
        found = [one for one in self._all("finish") if one.attributes[GROUP] == group]
        done = next((one for one in found if DONE in one.attributes), None)
        return done or next((one for one in found if one.state == "open"), None)

    def done(self, group: int) -> Mapping[str, Any] | None:
        """Return what came of a group whose best was confirmed, None while it was not."""
        entry = self.finisher(group)
        return None if entry is None else entry.attributes.get(DONE)

    def budget(self) -> tuple[int, float]:
        """Return the most trials and the most seconds that a host which was admitted came with; none: (0, 0.0)."""
        said = [one.attributes[ABOUT].get(BUDGET, (0, 0.0)) for one in self.hosts() if one.group is not None]
        trials, times_s = [int(one) for one, _ in said], [float(one) for _, one in said]
        return max(trials, default=0), max(times_s, default=0.0)

    def spent_s(self) -> float:
        """Return how much of the time budget the hosts say is spent, in seconds."""
        return max((float(one.attributes.get(BEAT, {}).get("spent_s", 0.0)) for one in self.hosts()), default=0.0)
