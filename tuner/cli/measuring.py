"""Measurements without a search: `bench` and `compare`."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from reports import bench as bench_report
from reports import comparison
from tuner import head_to_head
from tuner.ceiling import cached_ceiling
from tuner.cli.agents import load_makers, takes_agents, told_by
from tuner.cli.frame import (
    NOT_VALID,
    TARGET_UNUSABLE,
    Json,
    Overrides,
    Quiet,
    StudyPath,
    app,
    errors,
    fail,
)
from tuner.document import own_metrics
from tuner.files import write_atomically
from tuner.instruments import Bench, started
from tuner.live import Live
from tuner.load.distributed.fleet import Fleet
from tuner.load.distributed.options import AgentsWanted
from tuner.load_plans import InTurn
from tuner.nesting import override_of
from tuner.results import Comparison, Trial
from tuner.rundir import RunDirectory, StudyMark, locked, open_run
from tuner.space import server_part
from tuner.study.load import load_study
from tuner.terminal import interruptible, plain_console, wide_console
from tuner.wiring import Prepared, prepare
from tuner.workload import every_load


@app.command()
@takes_agents
def bench(
    study: StudyPath,
    overrides: Overrides = None,
    agents: AgentsWanted | None = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Measure one configuration: yours, with every knob fixed by --set space.KNOB=VALUE.

    Each workload is measured at each load level of the space. Exit code 5: a measurement was not valid.
    """
    with errors():
        loaded = load_study(study, overrides or ())
        directory = open_run(Path("runs"), f"{loaded.spec.study}-bench", StudyMark(""), None, fresh=True)
        prepared = prepare(loaded, directory.log)
        ceiling = cached_ceiling()
        with _started(prepared, directory, agents, quiet=quiet) as (live, made, _):
            fixed = {one.name: one.values[0] for one in prepared.space if len(one.values) == 1}
            user = prepared.target.user_config()
            made.trier.learn_reference(user)
            config = {**user, **server_part(prepared.space.active(fixed))}
            live.phase("bench", "one configuration, every workload and load level")
            loads = every_load(prepared.workloads, prepared.space)
            trial = made.trier.trial(0, config, InTurn(loads))
        write_atomically(directory.path / "bench.json", trial.model_dump_json(indent=1))
        if as_json:
            sys.stdout.write(trial.model_dump_json(indent=1) + "\n")
        else:
            console = wide_console(140)
            core_rps = ceiling.core_rps if ceiling else None
            isolation, own = made.environment["isolation"], own_metrics(loaded)
            console.print(bench_report.picture(trial, isolation, core_rps, own))
        _end_bench(trial)


@contextmanager
def _started(
    prepared: Prepared, directory: RunDirectory, agents: AgentsWanted | None, *, quiet: bool
) -> Iterator[tuple[Live, Bench, Fleet | None]]:
    """Start what measures; where agents make the load they are there as well."""
    with (
        locked(directory),
        interruptible(),
        load_makers(agents, [prepared], quiet=quiet) as fleet,
        Live(prepared.space, prepared.goals, quiet=quiet) as live,
        started(prepared, directory.path, fleet) as made,
    ):
        told_by(fleet, live.note)
        yield live, made, fleet


def _end_bench(trial: Trial) -> None:
    if trial.state in ("refused", "crashed", "hung"):
        fail(TARGET_UNUSABLE, f"the configuration could not be measured ({trial.state}): {trial.reason}")
    if trial.state == "invalid":
        fail(NOT_VALID, f"not valid: {trial.reason}")


@app.command()
@takes_agents
def compare(
    ours: Annotated[Path, typer.Argument(metavar="STUDY.yaml|RUN", help="a study, or a run to compare with another")],
    theirs: Annotated[Path | None, typer.Argument(metavar="[RUN]", help="the other run", show_default=False)] = None,
    first: Annotated[
        list[str] | None, typer.Option("--ours", metavar="KNOB=VALUE", help="of our configuration")
    ] = None,
    second: Annotated[list[str] | None, typer.Option("--theirs", metavar="KNOB=VALUE", help="of theirs")] = None,
    overrides: Overrides = None,
    agents: AgentsWanted | None = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Compare two configurations of a study, measured in turn; or two stored runs.

    A side keeps your own configuration but for the knobs that are given. Exit code 5: not valid.
    """
    with errors():
        if theirs is not None:
            _check_stored(first, second, overrides, agents)
            ratios = head_to_head.of_stored(ours, theirs)
            if as_json:
                sys.stdout.write(
                    json.dumps(ratios, indent=1, default=lambda ratio: ratio.model_dump(mode="json")) + "\n"
                )
            else:
                plain_console().print(comparison.ratios(ratios))
            _end_valid([*head_to_head.reasons_of_stored(ours), *head_to_head.reasons_of_stored(theirs)])
            return
        if ours.is_dir():
            raise typer.BadParameter(f"{ours} is a run: give another one to compare it with")
        made = _compare(ours, (first or [], second or []), overrides or [], agents, quiet=quiet)
        if as_json:
            sys.stdout.write(made.model_dump_json(indent=1) + "\n")
        else:
            plain_console().print(comparison.sides(made), comparison.ratios(made.ratios))
            for one in made.notes:
                plain_console().print(one, soft_wrap=True)
        _end_valid([*made.ours.reasons, *made.theirs.reasons])


def _end_valid(reasons: list[str]) -> None:
    """Fail where there are reasons why what was compared is not valid."""
    if reasons:
        fail(NOT_VALID, f"not valid: {'; '.join(reasons)}")


def _check_stored(
    first: list[str] | None, second: list[str] | None, overrides: list[str] | None, agents: AgentsWanted | None
) -> None:
    """Raise BadParameter where an option is about a measurement: two stored runs are compared without one."""
    if agents is not None:
        raise typer.BadParameter("--agents is about a load, and stored runs are compared without one")
    for name, given in (("--ours", first), ("--theirs", second), ("--set", overrides)):
        if given:
            raise typer.BadParameter(
                f"{name} goes with STUDY.yaml, whose configurations are measured; stored runs are compared as they are"
            )


def _compare(
    study: Path,
    settings: tuple[list[str], list[str]],
    overrides: list[str],
    agents: AgentsWanted | None,
    *,
    quiet: bool,
) -> Comparison:
    base = load_study(study, overrides)
    directory = open_run(Path("runs"), f"{base.spec.study}-compare", StudyMark(""), None, fresh=True)
    of_models = any("." in one.partition("=")[0] or one[:1] in ("'", '"') for knobs in settings for one in knobs)
    known = prepare(base, directory.log).target.knobs() if of_models else ()
    loaded = [
        load_study(study, [*overrides, *(override_of(option, one, known) for one in knobs)])
        for option, knobs in zip(("--ours", "--theirs"), settings, strict=True)
    ]
    prepared, other = (prepare(one, directory.log) for one in loaded)
    user = prepared.target.user_config()
    pair = tuple(
        head_to_head.contender(number, user, one.space, one.workloads) for number, one in enumerate((prepared, other))
    )
    with _started(prepared, directory, agents, quiet=quiet) as (live, made, fleet):
        made.trier.learn_reference(user)
        live.phase("compare", f"two configurations in turn, deployed {prepared.study.spec.confirm.redeployments} times")
        found = head_to_head.measure(made.trier, (pair[0], pair[1]), prepared.study.spec.confirm)
    found = found.model_copy(update={"notes": [*found.notes, *(fleet.losses if fleet else ())]})
    write_atomically(directory.path / "compare.json", found.model_dump_json(indent=1))
    return found
