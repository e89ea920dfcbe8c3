"""Workloads that locustfiles describe, made ready; what cannot work with one is refused."""

import math
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path

from tuner.catalog import STREAMED
from tuner.load.generator import Generator
from tuner.load.users.generator import look_into, users_generator
from tuner.load.users.messages import Locustfile, LocustfileError
from tuner.objective import parse_goals
from tuner.request_class import RequestClass
from tuner.study.load import Study
from tuner.study.locustfile import OTHERS, LocustSpec
from tuner.study.source import Keys
from tuner.users import NO_REQUESTS, Users
from tuner.workload import Workload

NO_TOKENS = "Locust does not tell when tokens come, so a locustfile's requests have none; "


def make_users_workload(study: Study, name: str, spec: LocustSpec, seed: int) -> Workload:
    """Return a workload of a locustfile.

    Raises:
        StudyError: the file cannot be used, or the study asks of it what it cannot give; with its line.
    """
    place = ("workloads", name)
    _check_names(study, place, spec)
    _check_metrics(study, name, spec)
    path = study.resolve(spec.locustfile)
    found = _looked_into(study, place, spec, path)
    spawn_rate, own = spec.spawn_rate or math.inf, spec.host == "own"
    users = Users(path, spawn_rate, spec.names(), own, found.longest_wait_s, found.unused)
    longest_s = max(study.spec.measure.window, study.spec.measure.max_window)
    if users.window_s > longest_s:
        raise study.source.error(
            (*place, "locustfile"),
            f"its users wait up to {users.wait_s:.3g} s between tasks, and the longest window is {longest_s:g} s; make "
            f"the waits shorter, or give a `measure.max_window` of {math.ceil(users.window_s)} s or more",
        )
    classes = [*(one for one in spec.classes if one != OTHERS), OTHERS] if spec.classes else [""]
    return Workload(
        name=name,
        classes=tuple(RequestClass(NO_REQUESTS, spec.timeout, one) for one in classes),
        arrivals=None,
        connections=1,
        keep_alive=True,
        seed=seed,
        model=spec.model or "",
        concurrency=spec.users,
        users=users,
    )


def tell_of_unused(workloads: Sequence[Workload], say: Callable[[str], None]) -> None:
    """Say what locustfiles and Locust's configuration beside them say that is not done; measurements say it, too."""
    for text in dict.fromkeys(text for one in workloads if one.users for text in one.users.unused):
        say(text)


def users_generators(
    workloads: Sequence[Workload], shares: Sequence[frozenset[int] | None], log: Path, stack: ExitStack
) -> dict[str, Generator]:
    """Start the load generator of each workload that is a locustfile; they are not waited for.

    Args:
        workloads: of the study.
        shares: the CPUs of each load engine: that of a workload does nothing while its users are at work.
        log: where what Locust and the locustfiles print goes.
        stack: ends the generators.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    return {
        one.name: stack.enter_context(users_generator(one.users.path, shares[index % len(shares)], log))
        for index, one in enumerate(workloads)
        if one.users is not None
    }


def _check_names(study: Study, place: Keys, spec: LocustSpec) -> None:
    """Check that no request is of two classes. Raises StudyError."""
    of: dict[str, str] = {}
    for one, given in spec.classes.items():
        if one == OTHERS and given.names:
            raise study.source.error((*place, "classes", one, "names"), f"`{OTHERS}` has what no other class names")
        for name in given.names or [one]:
            if (before := of.setdefault(name, one)) != one:
                raise study.source.error((*place, "classes", one), f"{name!r} is a request of `{before}` already")


def _check_metrics(study: Study, name: str, spec: LocustSpec) -> None:
    """Check that the study asks for no tokens of a locustfile's requests. Raises StudyError."""
    own: Keys = ("workloads", name)
    asked: dict[Keys, Iterable[str]] = {("slo",): study.spec.slo.bounds(), (*own, "slo"): spec.slo.bounds()}
    asked |= {(*own, "classes", one, "slo"): given.slo.bounds() for one, given in spec.classes.items()}
    for place, metrics in asked.items():
        for metric in metrics:
            if metric in STREAMED:
                remedy = "take it out" if place[0] == "workloads" else "give the bound to the other workloads"
                raise study.source.error((*place, metric), NO_TOKENS + remedy)
    first = next(iter(study.spec.workloads))
    for index, goal in enumerate(parse_goals(study.spec.objectives, first)):
        if goal.workload.partition(".")[0] == name and goal.metric in STREAMED:
            raise study.source.error(("objectives", index), NO_TOKENS + "take another objective")


def _looked_into(study: Study, place: Keys, spec: LocustSpec, path: Path) -> Locustfile:
    """Return what is in the file, if Locust can load it and it leaves to the study what the study says.

    Raises:
        StudyError: it cannot, or does not.
    """
    where = (*place, "locustfile")
    if not path.is_file():
        raise study.source.error(where, f"there is no file {path}")
    try:
        found = look_into(path)
    except LocustfileError as error:
        raise study.source.error(where, str(error)) from None
    if not found.users:
        raise study.source.error(
            where, f"{path.name} has no class of users: give it one, like `class Shopper(HttpUser)`, without `abstract`"
        )
    without = [user for user, host in found.users if not host]
    if spec.host == "own" and without:
        raise study.source.error(
            (*place, "host"),
            f"{without[0]} of {path.name} has no `host`, and neither has a locust.conf",
        )
    return found
