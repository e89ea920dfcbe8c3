"""What a study would send: `preview`."""

from pathlib import Path
from typing import Annotated

import typer

from reports import preview as preview_report
from tuner.cli.frame import BAD_USAGE, Overrides, StudyPath, app, errors, fail
from tuner.files import write_atomically
from tuner.previewing import previews as previewed
from tuner.study.load import load_study
from tuner.terminal import plain_console, shown
from tuner.traffic import make_workloads
from workloads.units import parse_duration


@app.command()
def preview(
    study: StudyPath,
    workload: Annotated[str | None, typer.Option("--workload", metavar="NAME", help="this one only")] = None,
    time: Annotated[str | None, typer.Option(metavar="T", help="how much of it, like `30 s`")] = None,
    page: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="write a page with charts as well")
    ] = None,
    overrides: Overrides = None,
) -> None:
    """Show the traffic of a study: arrivals over time, gaps, lengths. No server is needed."""
    with errors():
        loaded = load_study(study, overrides or ())
        workloads = make_workloads(loaded)
        if workload is not None and workload not in loaded.spec.workloads:
            fail(BAD_USAGE, f"{study} has no workload {workload!r}; it has {', '.join(loaded.spec.workloads)}")
        try:
            duration_s = None if time is None else parse_duration(time)
        except ValueError as error:
            fail(BAD_USAGE, f"--time: {error}")
        chosen = [one for one in workloads if workload in (None, one.name)]
        previews = [part for one in chosen for part in previewed(one, loaded, duration_s)]
        plain_console().print(preview_report.picture(previews))
        if page is not None:
            page.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(page, preview_report.page(loaded.spec.study, previews))
            plain_console().print(f"page     {shown(page)}", soft_wrap=True)
