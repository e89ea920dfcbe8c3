"""What has to be the same for two measurements to be comparable, and what differs. Pure, but for the files it reads."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from tuner.gate.document import Measurement
from tuner.results import Load

FACTS = ("cpu", "cores", "gpu", "driver", "server", "agents", "workload")
"""What may differ; `tune gate --despite` takes these."""
ELSEWHERE = "measure the baseline anew here, compare both sides in one run with --ab"
"""What can be done about a baseline that was measured elsewhere."""
TOGETHER = "give both sides the same workloads at the same load"
"""What can be done about two sides of one run."""
_DIGITS = 12
_WITHOUT = {"agents": "none"}
"""What a fact is of a host that does not have it."""


class HostsDiffer(Exception):
    """Two measurements that are not comparable; the message says what differs."""


@dataclass(frozen=True)
class Setting:
    """Where and under which traffic a side is measured.

    Attributes:
        host: see `facts`.
        traffic: workload -> its hash.
        loads: workload -> its load.
    """

    host: Mapping[str, str]
    traffic: Mapping[str, str]
    loads: Mapping[str, Load]

    @classmethod
    def of(cls, measurement: Measurement) -> "Setting":
        """Return that of a stored measurement."""
        loads = {name: one.load for name, one in measurement.workloads.items()}
        return cls(measurement.host, measurement.traffic, loads)


def facts(
    environment: Mapping[str, str], cpus: int, server_cpus: int, driver: str, agents: Sequence[int] = ()
) -> dict[str, str]:
    """Return what matters of a host, and of the machines that make the load.

    Args:
        environment: of a run.
        cpus: that may be used.
        server_cpus: that the server may use.
        driver: version of the GPUs' driver, "" without one.
        agents: CPUs of each agent that makes the load; (): this host does.
    """
    of_agents = {"agents": _of_agents(agents)} if agents else {}
    gpu = environment.get("gpu", "")
    return {
        "cpu": environment.get("cpu", ""),
        "cores": f"{server_cpus} of {cpus} for the server",
        "gpu": gpu if driver else "none",
        "driver": driver or "none",
        "server": environment.get("server", "unknown"),
        **of_agents,
    }


def _of_agents(cpus: Sequence[int]) -> str:
    return f"{len(cpus)} (CPUs: {', '.join(map(str, sorted(cpus)))})"


def as_it_went(host: Mapping[str, str], agents: Sequence[int]) -> dict[str, str]:
    """Return the facts of a host once it was measured: agents may have been lost meanwhile.

    Args:
        host: its facts when it began.
        agents: CPUs of each agent that is there now; (): this host makes the load.
    """
    if not agents or (now := _of_agents(agents)) == host.get("agents"):
        return dict(host)
    return {**host, "agents": f"{host['agents'].partition(' ')[0]}, then {now}"}


def traffic_hash(workload: BaseModel, files: Iterable[Path]) -> str:
    """Identify a workload: its definition, and the content of the files it reads, not where they are.

    The bounds that it is held against are left out: they change nothing of what is sent.

    Args:
        workload: its section of the study.
        files: that it names, as absolute paths.
    """
    digest = hashlib.sha256(json.dumps(_unbound(workload.model_dump(mode="json")), sort_keys=True).encode())
    for file in sorted(files):
        if file.is_file():
            digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()[:_DIGITS]


def _unbound(section: Mapping[str, Any]) -> dict[str, Any]:
    """Return the section of a workload as it is where neither it nor a class of it has a bound."""
    found = {**section, "slo": dict.fromkeys(section["slo"])}
    for classes in ("mix", "classes"):
        if section.get(classes):
            found[classes] = {name: {**one, "slo": dict.fromkeys(one["slo"])} for name, one in section[classes].items()}
    return found


def fact(host: Mapping[str, str], name: str) -> str:
    """Return one of the facts of a host; "none" or "unknown" where it does not have it.

    Args:
        host: see `facts`.
        name: of FACTS, not `workload`.
    """
    return host.get(name, _WITHOUT.get(name, "unknown"))


def differences(old: Setting, new: Setting) -> dict[str, str]:
    """Return what differs of FACTS: its name -> how, in words."""
    found = {
        name: f"{was} then, {now} now"
        for name in FACTS
        if name != "workload" and (was := fact(old.host, name)) != (now := fact(new.host, name))
    }
    if how := _of_workloads(old, new):
        found["workload"] = how
    return found


def _of_workloads(old: Setting, new: Setting) -> str:
    told = []
    for name in dict.fromkeys([*old.traffic, *new.traffic]):
        if name not in old.traffic or name not in new.traffic:
            told.append(f"{name} is measured {'now' if name in new.traffic else 'then'} only")
        elif old.traffic[name] != new.traffic[name]:
            told.append(f"{name} sends something else")
        elif (was := old.loads[name]) != (now := new.loads[name]):
            told.append(f"{name} was measured at {was.level:g} ({was.mode} loop), now at {now.level:g} ({now.mode})")
    return ", ".join(told)


def check(old: Setting, new: Setting, despite: Iterable[str], remedy: str = ELSEWHERE) -> list[str]:
    """Check that two measurements are comparable; return what differs and was allowed to.

    Args:
        old: the baseline.
        new: what is compared with it.
        despite: of FACTS, those that may differ.
        remedy: what else can be done about it.

    Raises:
        HostsDiffer: anything else differs.
    """
    allowed, found = set(despite), differences(old, new)
    refused = {name: how for name, how in found.items() if name not in allowed}
    if refused:
        told = "; ".join(f"{name}: {how}" for name, how in refused.items())
        options = " ".join(f"--despite {name}" for name in refused)
        raise HostsDiffer(f"not comparable: {told}; {remedy}, or accept that with {options}")
    return [f"{name} differs ({how})" for name, how in found.items()]
