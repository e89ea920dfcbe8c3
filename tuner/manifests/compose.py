"""A plan as a docker compose file: a service for each host on this machine, and the database where none is given."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tuner.cpus import format_cpus
from tuner.manifests.asked import INDEX
from tuner.manifests.files import HOME
from tuner.manifests.plan import HERE, USER, Plan, Role
from tuner.manifests.storage import PASSWORD

POSTGRES = "postgres:17"
TRIALS = "./trials"
"""The folder of a journal, beside the compose file."""
_Service = dict[str, Any]


def compose_file(plan: Plan, folder: Path) -> _Service:
    """Return the compose file of a plan.

    Each service has CPUs and GPUs of its own, counted from 0: containers of one machine would else measure each other.
    A database has one behind those of the others.

    Args:
        plan: what runs.
        folder: where the file will stand; the paths in it start there.
    """
    services: dict[str, _Service] = {}
    cpus = gpus = 0
    for role in plan.roles:
        for index in range(role.count):
            own_cpus = range(cpus, cpus + role.resources.cpus)
            own_gpus = range(gpus, gpus + role.resources.gpus)
            name = _named(role, index)
            services[name] = _service(plan, _numbered(role, index), name, own_cpus, own_gpus, folder)
            cpus, gpus = own_cpus.stop, own_gpus.stop
    if plan.database:
        services["postgres"] = _postgres(cpus)
    return {"name": plan.name, "services": services, **({"volumes": {"trials": {}}} if plan.database else {})}


def folders(plan: Plan) -> Sequence[str]:
    """Return the folders beside the compose file that have to be there."""
    runs = [_runs(_named(role, index)) for role in plan.roles if role.studies for index in range(role.count)]
    return [*runs, *([TRIALS] if plan.storage and plan.storage.folder else [])]


def variable(name: str) -> str:
    """Return what compose puts the value of a variable in place of; it refuses to start where there is none."""
    return f"${{{name}:?set it in the file .env beside this one}}"


def _named(role: Role, index: int) -> str:
    return role.component if role.component == "run" else f"{role.component}-{index}"


def _numbered(role: Role, index: int) -> Role:
    """Return a role with the arguments of one of its containers."""
    return replace(role, arguments=(*role.arguments, *(word.replace(INDEX, str(index)) for word in role.each)))


def _runs(service: str) -> str:
    return f"./runs/{service}"


def _service(plan: Plan, role: Role, name: str, cpus: range, gpus: range, folder: Path) -> _Service:
    devices = [{"driver": "nvidia", "device_ids": [str(one) for one in gpus], "capabilities": ["gpu"]}]
    memory = role.resources.memory.removesuffix("i").lower()  # compose counts in powers of two
    reserved: _Service = {"memory": memory, **({"devices": devices} if gpus else {})}
    return {
        "image": plan.image,
        "entrypoint": ["tune"],
        "command": [word.replace("$", "$$") for word in role.arguments],
        "hostname": name,
        "environment": {**HERE, **{one: variable(one) for one in role.secrets}},
        **_after(plan, role),
        **({"networks": {"default": {"aliases": [plan.master]}}} if role.component == "run" else {}),
        "restart": "on-failure:3" if role.studies else "on-failure:20",
        "init": True,
        "stop_grace_period": "60s",
        "user": f"{USER}:{USER}",
        "read_only": True,
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges:true"],
        "working_dir": "/paretune",
        "tmpfs": ["/tmp:exec,mode=1777"],  # noqa: S108 - as an engine mounts it, compiled code cannot be loaded there
        "cpuset": format_cpus(frozenset(cpus)),
        **({"shm_size": "1gb"} if role.studies else {}),
        "deploy": {"resources": {"limits": {"memory": memory}, "reservations": reserved}},
        **({"volumes": list(_mounts(plan, name, folder))} if role.studies else {}),
    }


def _after(plan: Plan, role: Role) -> _Service:
    if plan.database and role.studies:
        return {"depends_on": {"postgres": {"condition": "service_healthy"}}}
    return {"depends_on": {"run": {"condition": "service_started"}}} if role.component == "agent" else {}


def _mounts(plan: Plan, name: str, folder: Path) -> Iterable[_Service]:
    """Yield what containers see of this machine: the study's folder, files outside of it, and where runs go."""
    yield _bound(_from(folder, plan.study.absolute().parent), str(HOME))
    for one in (*plan.files.carried, *plan.files.elsewhere):
        if not one.inside and one.files:
            yield _bound(_from(folder, one.here), str(one.place))
    for file in plan.certificates:
        yield _bound(str(file), str(file))
    if plan.storage and plan.storage.folder:
        yield _bound(TRIALS, str(plan.storage.folder), read_only=False)
    yield _bound(_runs(name), "/paretune/runs", read_only=False)


def _from(folder: Path, path: Path) -> str:
    """Return a path as it is written in a file of a folder."""
    inner = os.path.relpath(path, folder.absolute())
    return inner if inner.startswith("..") else f"./{inner}" if inner != "." else "."


def _bound(source: str, target: str, *, read_only: bool = True) -> _Service:
    return {
        "type": "bind",
        "source": source.replace("$", "$$"),
        "target": target,
        **({"read_only": True} if read_only else {}),
        "bind": {"create_host_path": False},  # the engine would make it root's
    }


def _postgres(cpu: int) -> _Service:
    return {
        "image": POSTGRES,
        "cpuset": format_cpus(frozenset({cpu})),
        "environment": {"POSTGRES_USER": "tune", "POSTGRES_DB": "trials", "POSTGRES_PASSWORD": variable(PASSWORD)},
        "restart": "unless-stopped",
        "volumes": [{"type": "volume", "source": "trials", "target": "/var/lib/postgresql/data"}],
        "healthcheck": {
            # The server that sets the database up answers as well, but on its socket alone.
            "test": ["CMD", "pg_isready", "--host=127.0.0.1", "--username=tune", "--dbname=trials"],
            "interval": "2s",
            "timeout": "5s",
            "retries": 30,
        },
    }
