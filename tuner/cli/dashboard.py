"""The command that opens Optuna's dashboard: `ui`. Apart from the others, since Optuna takes long to import."""

from importlib import import_module
from typing import Annotated

import typer

from tuner.cli.frame import BAD_USAGE, RunPath, app, errors, fail
from tuner.exporting import prepared_again
from tuner.results import read_result
from tuner.rundir import RunDirectory
from tuner.storage import kept_in, open_storage
from tuner.terminal import plain_console

DASHBOARD_PORT = 8080


@app.command()
def ui(
    run_path: RunPath,
    port: Annotated[int, typer.Option(min=1, max=65535, help="to serve it on, for this machine alone")] = (
        DASHBOARD_PORT
    ),
) -> None:
    """Open Optuna's own dashboard on a run's trials. It needs the extra `ui`; Ctrl-C ends it."""
    with errors():
        result = read_result(run_path)
        try:
            dashboard = import_module("optuna_dashboard")
        except ImportError as error:
            fail(BAD_USAGE, f"Optuna's dashboard is needed ({error}); it comes with: pip install 'paretune[ui]'")
        directory = RunDirectory(run_path.resolve())
        prepared = prepared_again(result, directory)
        asked = prepared.study.spec.search.storage if prepared else None
        storage = open_storage(kept_in(directory.path, asked), directory.path)
        plain_console().print(f"http://localhost:{port}  (Ctrl-C ends it)")
        try:
            dashboard.run_server(storage, host="localhost", port=port)
        except OSError as error:
            fail(BAD_USAGE, f"port {port} cannot be used: {error.strerror}; give another one with --port")
