"""How a shared study stands, as plain data: what `tune status --json` prints."""

from typing import Any, Literal

from pydantic import Field

from tuner.data import Data, Number
from tuner.results import TrialState, Value

StudyState = Literal["waiting", "searching", "confirming", "done"]
HostState = Literal["alive", "silent", "left", "lost", "refused"]


class HostStatus(Data):
    """One host."""

    name: str
    state: HostState = Field(description="silent: no heartbeat for longer than it said; lost: so another host gave up")
    since: str = Field(description="when it joined, on its own clock")
    doing: str = Field(description="what it does, in words")
    heard_s: float | None = Field(description="since its last heartbeat, by this machine's clock; null: none came yet")
    group: int | None = Field(description="hosts of one group are compared; null: it was not admitted")
    trials: int = Field(description="that it told")
    reason: str | None = Field(description="why it was refused")


class HeldTrial(Data):
    """A proposal that a host measures."""

    trial: int
    host: str
    config: dict[str, Value]


class ToldTrial(Data):
    """A trial that was told."""

    trial: int
    group: int
    host: str
    state: TrialState
    meets_slo: bool
    values: dict[str, Number] = Field(description="objective -> value; {} of one that is not complete")
    config: dict[str, Value]


class BestSoFar(Data):
    """The best trial of a group that was told, not confirmed yet."""

    group: int
    trial: int
    host: str
    config: dict[str, Value]
    meets_slo: bool
    values: dict[str, float] = Field(description="objective -> value")


class Status(Data):
    """A shared study at a moment."""

    study: str
    run: str
    state: StudyState = Field(description="waiting: no host is alive, and the study is not done")
    budget_trials: int
    budget_s: float
    spent_s: float
    told: dict[str, int] = Field(description="state of a trial -> how many were told")
    given_back: int = Field(description="proposals of hosts that are gone, to be measured again")
    hosts: list[HostStatus]
    held: list[HeldTrial]
    best: list[BestSoFar]
    trials: list[ToldTrial] = Field(description="the best of each group, then the second of each, and so on")
    not_listed: int = Field(description="trials that were told and are not among these")
    outcomes: list[dict[str, Any]] = Field(description="of each group that is done: its host, run, exit code and best")
