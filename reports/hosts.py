"""How a shared study stands, in the terminal."""

from collections.abc import Mapping, Sequence

from rich import box
from rich.console import RenderableType
from rich.table import Table

from reports import words
from tuner.hosts.standing import BestSoFar, Status
from tuner.results import Value
from tuner.run_info import MetricInfo
from tuner.units import format_setting


def picture(
    status: Status, units: Mapping[str, str] | None = None, own: Sequence[MetricInfo] = ()
) -> list[RenderableType]:
    """Return what `tune status` prints, from top to bottom.

    Args:
        status: of the study.
        units: knob -> unit of its values; one that is not there has none.
        own: the metrics that only this kind of server has, for their units.
    """
    told = sum(status.told.values())
    states = ", ".join(f"{count} {state}" for state, count in status.told.items())
    groups = {host.name: host.group for host in status.hosts if host.group is not None}
    several = len(set(groups.values())) > 1
    lines = [
        f"{status.study}, run {status.run}: {status.state}",
        f"trials   {told} of {status.budget_trials} told{f' ({states})' if states else ''}, {len(status.held)} held, "
        f"{status.given_back} given back",
        f"time     {words.duration(status.spent_s)} of {words.duration(status.budget_s)}",
        *(
            _best(one, f"best of group {one.group}:" if several else "best    ", units or {}, own)
            for one in status.best
        ),
        *(
            _outcome(one, f"done in group {groups.get(str(one['host']))}:" if several else "done    ")
            for one in status.outcomes
        ),
    ]
    made = ["\n".join(lines), _hosts(status, several=several), *_trials(status, units or {}, own, several=several)]
    return [*made, f"{status.not_listed:,} trials more: --list N"] if status.not_listed else made


def _hosts(status: Status, *, several: bool) -> Table:
    made = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    made.add_column("host", overflow="fold")
    made.add_column("state")
    made.add_column("since")
    made.add_column("heard")
    made.add_column("trials", justify="right")
    made.add_column("does", overflow="fold", ratio=1)
    for host in status.hosts:
        name = f"{host.name} (group {host.group})" if several and host.group is not None else host.name
        heard = "" if host.heard_s is None or host.state not in ("alive", "silent") else f"{host.heard_s:.0f} s ago"
        made.add_row(name, host.state, host.since, heard, str(host.trials), host.reason or host.doing)
    return made


def _trials(
    status: Status, units: Mapping[str, str], own: Sequence[MetricInfo], *, several: bool
) -> list[RenderableType]:
    """Return a table of the trials, those that are measured now at the end; [] without any."""
    if not status.trials and not status.held:
        return []
    objectives = list(dict.fromkeys(name for one in status.trials for name in one.values))
    made = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    made.add_column("trial", justify="right")
    made.add_column("host", overflow="fold")
    made.add_column("state")
    made.add_column("SLO")
    for name in objectives:
        made.add_column(name, justify="right", overflow="fold")
    made.add_column("configuration", overflow="fold", ratio=1)
    for one in status.trials:
        values = [
            words.metric_value(name.rpartition(".")[2], one.values[name], own) if name in one.values else ""
            for name in objectives
        ]
        met = ("met" if one.meets_slo else "missed") if one.state == "complete" else ""
        host = f"{one.host} (group {one.group})" if several else one.host
        made.add_row(str(one.trial), host, one.state, met, *values, _config(one.config, units))
    for held in status.held:
        made.add_row(str(held.trial), held.host, "held", "", *[""] * len(objectives), _config(held.config, units))
    return [made]


def _best(best: BestSoFar, word: str, units: Mapping[str, str], own: Sequence[MetricInfo]) -> str:
    metrics = ((name, name.rpartition(".")[2], value) for name, value in best.values.items())
    values = ", ".join(f"{name} {words.metric_value(metric, value, own)}" for name, metric, value in metrics)
    met = "" if best.meets_slo else "; it misses the SLO, and so does every other"
    return f"{word} trial {best.trial} on {best.host}: {values}; {_config(best.config, units)}{met}"


def _config(config: Mapping[str, Value], units: Mapping[str, str]) -> str:
    """Return a configuration; a knob of a model of an ensemble has the unit of its name without the model's."""
    unit_of = {name: units.get(name, units.get(name.rpartition(".")[2], "")) for name in config}
    return " ".join(f"{name}={format_setting(value, unit_of[name])}" for name, value in config.items())


def _outcome(said: dict[str, object], word: str) -> str:
    return f"{word} {said['host']} confirmed it, exit code {said['exit_code']}; its report is there in {said['run']}"
