"""Locust's web interface over a master that makes no users: it shows the load, and cannot change it."""

import socket
from contextlib import closing

import gevent
from flask import Response, jsonify, request
from locust.runners import STATE_RUNNING, MasterRunner
from locust.stats import stats_history

from tuner.load.distributed.options import LOOPBACK, UI_PORT

REFUSED = "Paretune says when load is made, and how much: nothing was changed"
_CHANGES = ("/swarm", "/stop", "/user")
"""What Start, Edit and Stop of the page ask for."""


def show(master: MasterRunner) -> int:
    """Serve the page of a master on loopback until its process ends; return the port.

    In any state but `running` the page shows a form in place of the statistics, and the charts get no history; and it
    asks for the state again in `running` only. So the master has that one throughout, between two loads as well.
    """
    master.update_state(STATE_RUNNING)
    port = _free(UI_PORT)
    ui = master.environment.create_web_ui(LOOPBACK, port, delayed_start=True)
    assert ui.app is not None, "it has one until it ends"
    ui.app.before_request(_refusal)
    ui.start()  # type: ignore[no-untyped-call]  # Locust's
    gevent.spawn(stats_history, master)
    return port


def _refusal() -> Response | None:
    """Answer what would change the load, as the page expects it; its form shows the words."""
    return jsonify({"success": False, "message": REFUSED}) if request.path in _CHANGES else None


def _free(port: int) -> int:
    """Return a port if nobody listens on it, and another one otherwise."""
    for one in (port, 0):
        with closing(socket.socket()) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((LOOPBACK, one))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    return port
