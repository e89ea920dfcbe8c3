"""Join a run as a machine that makes load: `agent`."""

import os
import sys
from typing import Annotated

import typer

from tuner.cli.frame import app, errors
from tuner.load.distributed.options import address_of, check_able
from workloads.units import parse_duration


@app.command()
def agent(
    master: Annotated[
        str, typer.Option("--master", metavar="HOST[:PORT]", help="where `tune run --agents` waits for agents")
    ],
    wait: Annotated[
        str, typer.Option("--wait", metavar="T", help="how long to look for the master, like `5 min`")
    ] = "5 min",
) -> None:
    """Make load for a run on another machine, until that run ends.

    Both sides share a token, PARETUNE_TOKEN. Exit codes: 0 the run is over, 2 the token or the version is another one,
    3 there is no master, it has vanished, or the run was not done, 130 interrupted.
    """
    with errors():
        check_able(os.environ)
        host, port = address_of(master)
        wait_s = _seconds(wait)
        command = [sys.executable, "-P", "-m", "tuner.load.distributed.agent", host, str(port), str(wait_s)]
        os.execv(sys.executable, command)  # noqa: S606 - Locust has a process of its own, in the place of this one


def _seconds(wait: str) -> float:
    try:
        return parse_duration(wait)
    except ValueError as error:
        raise typer.BadParameter(f"--wait: {error}") from None
