"""Many hosts on one study: `worker` and `status`."""

import json
import os
import platform
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer

from targets.base import TargetError
from tuner.cli.agents import load_makers, takes_agents, told_by
from tuner.cli.frame import BAD_USAGE, Json, Out, Overrides, Quiet, StudyPath, app, errors, fail
from tuner.cli.running import show, write_report
from tuner.document import own_metrics
from tuner.hosts.admission import WITHIN
from tuner.hosts.joining import Joined, Terms, joined, name_in_storage, study_there
from tuner.hosts.ledger import Ledger
from tuner.hosts.patience import Patience
from tuner.hosts.searching import DoneElsewhere
from tuner.hosts.status import status_of
from tuner.hosts.tuning import HostTuning
from tuner.instruments import started
from tuner.knob_rows import units_of
from tuner.live import Live
from tuner.load.distributed.fleet import Fleet
from tuner.load.distributed.options import AgentsWanted
from tuner.load.generator import GeneratorError
from tuner.objective import parse_goals
from tuner.results import Result, read_result
from tuner.rundir import RunDirectory, StudyMark, locked, make_latest, open_run, unused
from tuner.storage import FILES, JOURNAL, close_storage, open_storage, shared
from tuner.study.hidden import tell_of_secrets
from tuner.study.load import Study, load_study
from tuner.terminal import interruptible, note, plain_console, shown
from tuner.users_traffic import tell_of_unused
from tuner.wiring import Prepared, prepare
from workloads.units import parse_duration, parse_fraction

RUN, WAIT, LISTED = "shared", "10 min", 20
LEASE_S, LEASE_OF_JOURNAL_S = 30.0, 60.0
"""A host that is killed with a journal's lock makes the others wait for SILENCE_S: that is no death."""
SHORTEST_LEASE_S = 1.0


def _duration(given: str) -> float:
    try:
        return parse_duration(given)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def _share(given: str) -> float:
    try:
        return parse_fraction(given)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


Storage = Annotated[
    str | None,
    typer.Option("--storage", metavar="URL", help="search.storage: a database's URL, or a file in a shared folder"),
]
Run = Annotated[str, typer.Option("--run", metavar="NAME", help="of the run, the same on every host")]


@app.command()
@takes_agents
def worker(
    study: StudyPath,
    storage: Storage = None,
    run: Run = RUN,
    name: Annotated[str | None, typer.Option(metavar="NAME", help="of this host; its own by default")] = None,
    groups: Annotated[bool, typer.Option("--groups", help="hosts that differ form groups of their own")] = False,
    within: Annotated[
        float, typer.Option(parser=_share, metavar="P", help="by which the baselines of two hosts may differ")
    ] = f"{WITHIN:.0%}",  # type: ignore[assignment]
    lease: Annotated[
        float | None,
        typer.Option(parser=_duration, metavar="T", help="a host that is silent for so long is taken for dead"),
    ] = None,
    wait: Annotated[
        float, typer.Option(parser=_duration, metavar="T", help="how long the storage may stay away")
    ] = WAIT,  # type: ignore[assignment]
    out: Out = None,
    overrides: Overrides = None,
    agents: AgentsWanted | None = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Work on a study together with other hosts: each measures its proposals on a server of its own.

    The storage is between them: a database, or a journal in a folder that all of them see. When the budget is used up
    one of the hosts confirms the best and writes the report. Exit codes are those of `run`; 5 also: this host differs
    from the others.
    """
    with errors():
        if lease is not None and lease < SHORTEST_LEASE_S:
            fail(BAD_USAGE, f"--lease {lease:g} s: at least {SHORTEST_LEASE_S:g} s")
        loaded = _loaded(study, storage, overrides)
        lease = lease or (LEASE_OF_JOURNAL_S if loaded.spec.search.storage.startswith(JOURNAL) else LEASE_S)
        terms = Terms(run, name or platform.node() or "host", lease, wait, within, groups)
        directory = _directory(loaded, out)
        try:
            with locked(directory), interruptible():
                prepared = prepare(loaded, directory.log)
                result = _work(prepared, directory, terms, agents, quiet=quiet)
        except DoneElsewhere as done:
            _told(done.said, as_json=as_json)
            raise typer.Exit(int(done.said.get("exit_code") or 0)) from None
        show(result, directory, prepared, as_json=as_json)
        raise typer.Exit(result.exit_code or 0)


@app.command()
def status(
    study: StudyPath,
    storage: Storage = None,
    run: Run = RUN,
    most: Annotated[int, typer.Option("--list", metavar="N", min=0, help="so many trials, the best first")] = LISTED,
    overrides: Overrides = None,
    as_json: Json = False,
) -> None:
    """Show how a study that hosts share stands: hosts, trials, the best so far. No server is needed."""
    with errors():
        loaded = _loaded(study, storage, overrides)
        opened = open_storage(loaded.spec.search.storage, Path(), there=True)
        try:
            ledger = Ledger(shared(opened), name_in_storage(loaded, run), Patience(0.0, note))
            book = ledger.read()
            spec = study_there(book, loaded).spec
            goals = parse_goals(spec.objectives, next(iter(spec.workloads)))
            found = status_of(book, (spec.study, run), spec.search.budget, goals, datetime.now(UTC), most=most)
        finally:
            close_storage(opened)
        if as_json:
            sys.stdout.write(found.model_dump_json(indent=1) + "\n")
        else:
            from reports import hosts  # noqa: PLC0415 - imported where it is printed

            for part in hosts.picture(found, units_of(spec.target.kind), own_metrics(loaded)):
                plain_console().print(part)


def _loaded(study: Path, storage: str | None, overrides: list[str] | None) -> Study:
    """Return the study with the storage that hosts share."""
    given = [] if storage is None else [f"search.storage={json.dumps(_address(storage))}"]
    loaded = load_study(study, [*(overrides or ()), *given], options={"search.storage": "--storage"} if given else {})
    if loaded.spec.search.storage in FILES:
        raise loaded.source.error(
            ("search", "storage"),
            f"`{loaded.spec.search.storage}` is a file of one run: hosts share a database or a journal in a shared "
            "folder, like --storage postgresql://tune:$PASSWORD@db/trials or --storage /shared/study.log",
        )
    return loaded


def _address(storage: str) -> str:
    """Return what a study says for a storage; a path is that of a journal."""
    return (
        storage if "://" in storage or storage in FILES or "$" in storage[:1] else f"{JOURNAL}{Path(storage).resolve()}"
    )


def _directory(loaded: Study, out: Path | None) -> RunDirectory:
    """Return the directory of this host's part: workers that start at the same moment each get their own."""
    mark = StudyMark(loaded.fingerprint(), loaded.fingerprint_of_files(), loaded.shown)
    name = f"{datetime.now().astimezone():%Y-%m-%d_%H-%M-%S}-worker-{os.getpid()}"
    path = out or unused(Path("runs") / loaded.spec.study / name)
    return open_run(Path("runs"), loaded.spec.study, mark, path, fresh=True)


def _work(
    prepared: Prepared, directory: RunDirectory, terms: Terms, agents: AgentsWanted | None, *, quiet: bool
) -> Result:
    loaded = prepared.study
    tell_of_secrets(loaded.source, loaded.given, note)
    tell_of_unused(prepared.workloads, note)
    trials = loaded.spec.search.budget.trials
    own = own_metrics(loaded)
    with Live(prepared.space, prepared.goals, trials=trials, quiet=quiet, own=own) as live:
        say = (lambda _: None) if quiet else live.note
        with _kept(directory, prepared), joined(prepared, directory, terms, say) as made:
            with load_makers(agents, [prepared], quiet=quiet, say=live.note) as fleet:
                told_by(fleet, live.note)
                result = _tuned(prepared, directory, made, terms, live, fleet)
            if isinstance(result, DoneElsewhere):
                raise result
            return result


@contextmanager
def _kept(directory: RunDirectory, prepared: Prepared) -> Iterator[None]:
    """Report what there is when a host's work is interrupted, or its server or load generator is lost."""
    try:
        yield
    except (KeyboardInterrupt, TargetError, GeneratorError):
        if directory.result.exists():
            write_report(read_result(directory.path), directory, prepared)
            note(
                f"what this host knew: {shown(directory.path)}; the others go on, and the same command joins them again"
            )
        raise


def _tuned(
    prepared: Prepared, directory: RunDirectory, made: Joined, terms: Terms, live: Live, fleet: Fleet | None
) -> Result | DoneElsewhere:
    """Do this host's part; return the result, or who confirmed the best: the agents have done theirs either way."""
    with started(prepared, directory.path, fleet) as bench:
        tuning = HostTuning(
            made.shared,
            made.heart,
            terms.within,
            prepared,
            directory,
            made.opened,
            bench,
            live,
            lambda: import_module("tuner.cli.writing"),
            groups=terms.groups,
            agents=[one.cores for one in fleet.agents] if fleet else [],
            files=made.files,
        )
        try:
            result = tuning.run()
        except DoneElsewhere as done:
            return done
        write_report(result, directory, prepared)
        make_latest(Path("runs"), prepared.study.spec.study, directory)
        tuning.tell(result)
        return result


def _told(said: Mapping[str, Any], *, as_json: bool) -> None:
    """Say where the result is."""
    if as_json:
        sys.stdout.write(json.dumps(dict(said), indent=1) + "\n")
        return
    best = said.get("best")
    found = f"trial {best['trial']}" if best else "nothing that meets the SLO"
    line = f"done: {said['host']} confirmed {found}; its report is there in {said['run']}"
    plain_console().print(line, soft_wrap=True)
