"""The options of agents, for every command that measures: what they ask for, and the machines that come."""

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import wraps
from typing import Annotated, Any
from urllib.parse import urlsplit

import typer

from targets.options import TargetOptions
from tuner.cli.frame import errors
from tuner.load.distributed.fleet import Fleet, gathered
from tuner.load.distributed.generator import check_reach
from tuner.load.distributed.options import LOOPBACK, AgentsWanted, agents_wanted
from tuner.terminal import note, unsaid
from tuner.wiring import Prepared, check_agents

AGENTS = "agents"
"""The parameter of a command that the options are turned into."""
_OPTIONS = {
    AGENTS: (
        None,
        Annotated[
            int | None,
            typer.Option("--agents", metavar="N", min=1, help="have N agents make the load, see `tune agent`"),
        ],
    ),
    "agents_bind": (
        None,
        Annotated[
            str | None,
            typer.Option(
                "--agents-bind", metavar="ADDRESS[:PORT]", help="where agents come to; this host alone if absent"
            ),
        ],
    ),
    "agents_wait": (
        None,
        Annotated[
            str | None,
            typer.Option(
                "--agents-wait",
                metavar="T",
                help="how long agents may take to come, also when all are lost; 5 min if absent",
            ),
        ],
    ),
    "locust_ui": (
        False,
        Annotated[bool, typer.Option("--locust-ui", help="serve Locust's web interface for this host")],
    ),
}
"""Parameter -> its default and the option."""


def takes_agents(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of agents in the place of its parameter `agents`, an `AgentsWanted` or None.

    Options that do not go together end it as every wrong usage does, before anything is done.
    """

    @wraps(command)
    def taking(
        *, agents: int | None, agents_bind: str | None, agents_wait: str | None, locust_ui: bool, **others: Any
    ) -> None:
        with errors():
            wanted = agents_wanted(agents, agents_bind, agents_wait, ui=locust_ui)
        command(**others, agents=wanted)

    own = inspect.signature(command)
    parameters: list[inspect.Parameter] = []
    for one in own.parameters.values():
        parameters += _parameters() if one.name == AGENTS else [one]
    taking.__signature__ = own.replace(parameters=parameters)  # type: ignore[attr-defined] # what Typer reads
    taking.__annotations__ = {one.name: one.annotation for one in parameters}
    return taking


def _parameters() -> list[inspect.Parameter]:
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    return [
        inspect.Parameter(name, kind, default=default, annotation=option)
        for name, (default, option) in _OPTIONS.items()
    ]


@contextmanager
def load_makers(
    wanted: AgentsWanted | None, prepared: Sequence[Prepared], *, quiet: bool, say: Callable[[str], None] = note
) -> Iterator[Fleet | None]:
    """Wait for the agents that are wanted and yield them, None: this host makes the load.

    Args:
        wanted: what the options ask for.
        prepared: every study that they are to make the load of.
        quiet: say nothing of them.
        say: is told what a person should know of them, unless it is quiet.

    Raises:
        StudyError: a workload cannot be offered by agents.
        AgentsUnavailable: they cannot be waited for, do not come, or do not reach a server.
    """
    if wanted is not None:
        for one in prepared:
            check_agents(one)
    with gathered(wanted, unsaid if quiet else say) as fleet:
        if fleet is not None:
            for host in {host for one in prepared for host in _server_hosts(one.study.spec.target)}:
                check_reach(host, fleet.agents)
        yield fleet


def _server_hosts(target: TargetOptions) -> Sequence[str]:
    """Return the hosts that requests go to; a server that Paretune starts is on the loopback interface."""
    return [urlsplit(url).hostname or "" for url in target.urls] or [LOOPBACK]


def told_by(fleet: Fleet | None, say: Callable[[str], None]) -> None:
    """Have what agents have to say told by what watches the run from now on."""
    if fleet is not None:
        fleet.say = say
