"""What has to be the same for two measurements to be comparable, and what differs. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from tuner.gate.document import Measurement
from tuner.results import Load

FACTS = ("cpu", "cores", "gpu", "driver", "server", "place", "protocol", "model", "agents", "workload")
"""What may differ; `tune gate --despite` takes these."""
HERE = "this host"
"""The place of a server that Paretune starts."""
ELSEWHERE = "measure the baseline anew here, compare both sides in one run with --ab"
"""What can be done about a baseline that was measured elsewhere."""
TOGETHER = "give both sides the same workloads at the same load"
"""What can be done about two sides of one run."""
RELEASED = ("server", "place", "model")
"""What may differ between two sides of one run: it is what they are compared for."""
_WITHOUT = {"agents": "none"}
"""What a fact is of a host that does not have it."""
_LATER = ("place", "protocol", "model")
"""Facts that baselines of earlier versions do not have: there is nothing to hold them against then."""


class HostsDiffer(Exception):
    """Two measurements that are not comparable; the message says what differs."""


@dataclass(frozen=True)
class Setting:
    """Where and under which traffic a side is measured.

    Attributes:
        host: see `facts`.
        traffic: workload -> its hash.
        loads: workload -> its load.
        earlier_traffic: workload -> the hash that earlier versions gave it; {} where `traffic` is that.
    """

    host: Mapping[str, str]
    traffic: Mapping[str, str]
    loads: Mapping[str, Load]
    earlier_traffic: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, measurement: Measurement) -> "Setting":
        """Return that of a stored measurement."""
        loads = {name: one.load for name, one in measurement.workloads.items()}
        return cls(measurement.host, measurement.traffic, loads, measurement.earlier_traffic)


def place_of(one: Measurement) -> str:
    """Return where the server of a measurement is: HERE, or its URL; of some servers earlier versions did not tell."""
    return one.host.get("place", one.environment.get("server_url", HERE))


def facts(
    environment: Mapping[str, str],
    cpus: int,
    server_cpus: int,
    driver: str,
    agents: Sequence[int] = (),
    asked: Mapping[str, str] | None = None,
    cpu_time: float | None = None,
) -> dict[str, str]:
    """Return what matters of a host, of the server that is asked, and of the machines that make the load.

    Args:
        environment: of a run.
        cpus: that may be used.
        server_cpus: that the server may use.
        driver: version of the GPUs' driver, "" without one.
        agents: CPUs of each agent that makes the load; (): this host does.
        asked: see `traffic.asked`.
        cpu_time: CPUs' worth of time that a container is limited to; None: it is not.
    """
    limited = "" if cpu_time is None else f", CPU time of {cpu_time:g}"
    of_agents = {"agents": _of_agents(agents)} if agents else {}
    gpu = environment.get("gpu", "")
    return {
        "cpu": environment.get("cpu", ""),
        "cores": f"{server_cpus} of {cpus} for the server{limited}",
        "gpu": gpu if driver else "none",
        "driver": driver or "none",
        "server": environment.get("server", "unknown"),
        **(asked or {}),
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


def fact(host: Mapping[str, str], name: str) -> str:
    """Return one of the facts of a host; "none" or "unknown" where it does not have it.

    Args:
        host: see `facts`.
        name: of FACTS, not `workload`.
    """
    return host.get(name, _WITHOUT.get(name, "unknown"))


def _untold(old: Setting, new: Setting) -> list[str]:
    """Return the facts that one of two measurements does not have, as an earlier version made it."""
    return [name for name in _LATER if (name in old.host) != (name in new.host)]


def differences(old: Setting, new: Setting) -> dict[str, str]:
    """Return what differs of FACTS: its name -> how, in words."""
    left_out = {"workload", *_untold(old, new)}
    found = {
        name: f"{was} then, {now} now"
        for name in FACTS
        if name not in left_out and (was := fact(old.host, name)) != (now := fact(new.host, name))
    }
    if how := _of_workloads(old, new):
        found["workload"] = how
    return found


def _of_workloads(old: Setting, new: Setting) -> str:
    told = []
    was_sent, is_sent = old.traffic, new.traffic
    if not (old.earlier_traffic and new.earlier_traffic):
        was_sent, is_sent = old.earlier_traffic or was_sent, new.earlier_traffic or is_sent
    for name in dict.fromkeys([*old.traffic, *new.traffic]):
        if name not in old.traffic or name not in new.traffic:
            told.append(f"{name} is measured {'now' if name in new.traffic else 'then'} only")
        elif was_sent[name] != is_sent[name]:
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
    untold = _untold(old, new)
    notes = [f"{', '.join(untold)}: not compared, an earlier version of Paretune did not tell"] if untold else []
    return [*notes, *(f"{name} differs ({how})" for name, how in found.items())]


def same_traffic(measurements: Sequence[Measurement]) -> list[dict[str, str]]:
    """Return the traffic of each measurement by hashes that can be compared: those of earlier versions by today's.

    Args:
        measurements: the oldest first.
    """
    today: dict[tuple[str, str], str] = {}
    for one in reversed(measurements):
        today |= {(name, told): one.traffic[name] for name, told in one.earlier_traffic.items()}
    return [{name: today.get((name, told), told) for name, told in one.traffic.items()} for one in measurements]
