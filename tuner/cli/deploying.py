"""A study for several hosts, in files that a cluster or an engine takes: `manifests`."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from tuner.cli.frame import Overrides, StudyPath, app, errors
from tuner.manifests.asked import INDEX, Asked, Form, Resources
from tuner.manifests.compose import compose_file, folders
from tuner.manifests.files import LIMIT, Needed
from tuner.manifests.kubernetes import objects
from tuner.manifests.plan import Plan, plan_of
from tuner.manifests.text import yaml_of
from tuner.study.load import load_study
from tuner.terminal import note, plain_console, shown
from tuner.writing import write_all


@app.command()
def manifests(
    study: StudyPath,
    form: Annotated[Form, typer.Option("--format", help="kubernetes or compose")] = "kubernetes",
    to: Annotated[Path | None, typer.Option("--to", metavar="DIR", help="folder to write into; else stdout")] = None,
    workers: Annotated[int | None, typer.Option(metavar="N", min=1, help="hosts that share the study")] = None,
    agents: Annotated[int | None, typer.Option(metavar="N", min=1, help="load agents of one run")] = None,
    image: Annotated[str | None, typer.Option(metavar="IMAGE", help="with Paretune and the server")] = None,
    cpus: Annotated[int, typer.Option(metavar="N", min=1, help="CPUs of each worker, or of the run")] = 4,
    memory: Annotated[str, typer.Option(metavar="SIZE", help="memory of each worker, or of the run")] = "8Gi",
    gpus: Annotated[int, typer.Option(metavar="N", min=0, help="GPUs of each worker, or of the run")] = 0,
    agent_cpus: Annotated[int, typer.Option("--agent-cpus", metavar="N", min=1, help="CPUs of each agent")] = 2,
    agent_memory: Annotated[str, typer.Option("--agent-memory", metavar="SIZE", help="memory of each agent")] = "2Gi",
    agents_wait: Annotated[
        str | None, typer.Option("--agents-wait", metavar="T", help="how long run and agents wait for each other")
    ] = None,
    storage: Annotated[str | None, typer.Option(metavar="URL", help="of the trials, without a password")] = None,
    secret: Annotated[str | None, typer.Option(metavar="NAME", help="Secret with the variables")] = None,
    volume: Annotated[str | None, typer.Option(metavar="CLAIM[:DIR]", help="volume with files of the study")] = None,
    results: Annotated[str | None, typer.Option(metavar="CLAIM", help="volume that runs are written to")] = None,
    journal: Annotated[str | None, typer.Option(metavar="CLAIM", help="volume of a journal in --storage")] = None,
    namespace: Annotated[str | None, typer.Option(metavar="NAME", help="of every object")] = None,
    run: Annotated[str | None, typer.Option(metavar="NAME", help="that workers share, as in tune worker")] = None,
    name: Annotated[str | None, typer.Option(metavar="NAME", help="in place of the study's")] = None,
    env: Annotated[list[str] | None, typer.Option(metavar="NAME", help="variable of the server; repeatable")] = None,
    each: Annotated[
        list[str] | None,
        typer.Option(metavar="PATH=VALUE", help="address of each worker's server; {index}: its number"),
    ] = None,
    overrides: Overrides = None,
) -> None:
    """Render a study for several hosts: as Kubernetes manifests, or as a docker compose file."""
    with errors():
        asked = Asked(
            form,
            workers,
            agents,
            image,
            Resources(cpus, memory, gpus),
            Resources(agent_cpus, agent_memory),
            storage,
            name,
            namespace,
            secret,
            volume,
            results,
            journal,
            tuple(env or ()),
            agents_wait,
            run,
            tuple(each or ()),
        )
        first = [one.replace(INDEX, "0") for one in asked.each]  # the study of one worker says what holds for all
        plan = plan_of(load_study(study, [*(overrides or ()), *first]), asked)
        _write(plan, form, to)
        for line in _notes(plan, form):
            note(line)


def _write(plan: Plan, form: Form, to: Path | None) -> None:
    documents = objects(plan) if form == "kubernetes" else [compose_file(plan, to or Path())]
    text = yaml_of(documents)
    if to is None:
        sys.stdout.write(text)
        return
    for one in write_all({to / ("kubernetes.yaml" if form == "kubernetes" else "compose.yaml"): text}):
        plain_console().print(shown(one.path), soft_wrap=True)
    if form == "compose":
        for folder in folders(plan):
            (to / folder).mkdir(parents=True, exist_ok=True)


def _notes(plan: Plan, form: Form) -> list[str]:
    """Say what the reader has to see to."""
    if form == "compose":
        found = [f"before it starts: a file .env beside it with {', '.join(plan.secrets)}"] if plan.secrets else []
        if plan.certificates:
            found.append(f"before it starts, on its machine: {', '.join(map(str, plan.certificates))}")
        return found
    files = plan.files
    carried = ", ".join(str(one.given) for one in files.carried)
    found = [f"in the ConfigMap: {carried} ({files.size:,} of {LIMIT:,} bytes)"]
    found += [_missing(one, plan) for one in files.elsewhere]
    if files.fetched is not None:
        found.append(f"a name in a hub: {files.fetched}; the server fetches it (a folder of a volume is ./FOLDER)")
    if plan.secrets:
        found.append(f"before it starts: a Secret {plan.secret} with {', '.join(plan.secrets)}")
    if plan.certificates:
        files_of_it = ", ".join(str(one) for one in plan.certificates)
        found.append(f"before it starts: a Secret {plan.certified}, made of the files {files_of_it}")
    if plan.results is None:
        found.append("runs are gone with their pods: --results CLAIM keeps them in a volume")
    return found


def _missing(one: Needed, plan: Plan) -> str:
    why = (
        f"{one.size:,} bytes in {len(one.files):,} file{'s' * (len(one.files) > 1)}"
        if one.files
        else "not on this machine"
    )
    if plan.in_volume(one):
        return f"in the volume {plan.volume}: {one.given} ({why})"
    other = (
        "; or give --volume CLAIM, a volume that has it under that path"
        if one.inside
        else f"; or give --volume CLAIM:{one.place.parent}, a volume that has it as {one.place.name}"
    )
    return f"not in the ConfigMap: {one.given} ({why}); the image has to have it as {one.place}{other}"
