"""What runs where: the roles of a study on several hosts, the command of each, and what it needs."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal
from urllib.parse import urlsplit

from pydantic import ValidationError

from tuner import __version__
from tuner.load.distributed.options import is_loopback
from tuner.manifests.files import HOME, Files, Needed, check_settings, split
from tuner.manifests.names import ManifestError, a_label, a_subdomain, name_of
from tuner.study.load import Study
from tuner.study.locustfile import LocustSpec
from tuner.study.spec import IsolationSpec, SearchSpec
from workloads.units import parse_duration

Form = Literal["kubernetes", "compose"]
Component = Literal["worker", "run", "agent"]
USER = 1000
"""Of every container, and of its group; most images know no name of it."""
HERE = {"HOME": "/tmp", "USER": "paretune", "LOGNAME": "paretune"}  # noqa: S108 - of the container's own
"""What a server of such a user looks up in vain: where to write, and its name (Python's `getpass.getuser`)."""
MASTER_PORT = 5557
"""Where the run listens for its agents."""
PASSWORD, TOKEN = "PGPASSWORD", "PARETUNE_TOKEN"
DATABASE = "postgresql://tune@postgres/trials"
"""The trials of a compose file that has a database of its own."""
_OURS = (*HERE, "HOST_INDEX")
_NAME = re.compile(r"[A-Za-z_]\w*", re.ASCII)
_VARIABLE = re.compile(r"\$(?:(\w+)|\{(\w+)\})")
_MEMORY = re.compile(r"[1-9]\d*(Mi|Gi)")
_CERTIFIED = re.compile(r"[?&](?:password|passfile|sslcert)=")
"""Of an address whose user shows who it is by other means than `PGPASSWORD`."""
_IMAGE = re.compile(r"[a-z0-9][\w.\-/:]*(@sha256:[0-9a-f]{64})?")
_TAKEN = (HOME, *map(PurePosixPath, ("/tmp", "/dev", "/paretune", "/proc", "/sys")))  # noqa: S108 - in containers
_ADDRESSES = ("url", "grpc_url", "metrics_url")
"""Options of targets that have the address of a server that runs already, or of its metrics."""
_ANY = ("0.0.0.0", "::")  # noqa: S104 - whoever asks them asks itself


@dataclass(frozen=True)
class Resources:
    """What a container gets, and nobody else: whole CPUs, memory (like `8Gi`) and GPUs."""

    cpus: int
    memory: str
    gpus: int = 0


@dataclass(frozen=True)
class Role:
    """Containers that do the same.

    Attributes:
        component: what they do.
        count: of them.
        arguments: of `tune`.
        resources: of each.
        secrets: environment variables that they read; the values come from a secret.
        studies: whether they read the study's files, and write runs.
    """

    component: Component
    count: int
    arguments: tuple[str, ...]
    resources: Resources
    secrets: tuple[str, ...]
    studies: bool


@dataclass(frozen=True)
class Asked:
    """What somebody wants to have rendered; None where that is left to the study or to the form."""

    form: Form = "kubernetes"
    workers: int | None = None
    agents: int | None = None
    image: str | None = None
    server: Resources = Resources(4, "8Gi")
    agent: Resources = Resources(2, "2Gi")
    storage: str | None = None
    name: str | None = None
    namespace: str | None = None
    secret: str | None = None
    volume: str | None = None
    results: str | None = None
    env: tuple[str, ...] = ()
    agents_wait: str | None = None


@dataclass(frozen=True)
class Plan:
    """What is rendered.

    Attributes:
        name: that those of all objects begin with.
        namespace: of the objects; None: where they are applied.
        image: of every container.
        roles: in the order in which they start.
        files: of the study.
        study: its file.
        secret: name of the Kubernetes Secret that has the variables of the roles.
        database: whether the form has to bring the database.
        volume: claim of the volume with the files that no ConfigMap carries, None without one.
        mounted: the folder that it is mounted on as a whole; None: it has paths as the study, each mounted by itself.
        results: claim of the volume that runs are written to, None without one.
    """

    name: str
    namespace: str | None
    image: str
    roles: tuple[Role, ...]
    files: Files
    study: Path
    secret: str
    database: bool
    volume: str | None
    mounted: PurePosixPath | None
    results: str | None

    def in_volume(self, one: Needed) -> bool:
        """Whether the containers have a file that no ConfigMap carries from the volume."""
        if self.mounted is not None:
            return one.place.is_relative_to(self.mounted)
        return self.volume is not None and one.inside

    @property
    def secrets(self) -> tuple[str, ...]:
        """The variables that somebody has to give values to."""
        return tuple(dict.fromkeys(name for role in self.roles for name in role.secrets))

    @property
    def master(self) -> str:
        """The host that agents join, where there are any."""
        return master_of(self.name)


def master_of(name: str) -> str:
    """Return the host name of the one that agents join."""
    return f"{name}-master"


def plan_of(study: Study, asked: Asked) -> Plan:
    """Say what runs where.

    Args:
        study: the study.
        asked: what is wanted of it.

    Raises:
        ManifestError: something that was asked for cannot be rendered.
        StudyError: the study cannot run in a container.
    """
    _check(study, asked)
    name = name_of(study.spec.study, asked.name)
    storage = _storage(study, asked)
    roles = _with_agents(study, asked, name, storage) if asked.agents is not None else _workers(study, asked, storage)
    claim, mounted = _volume(asked.volume)
    return Plan(
        name,
        asked.namespace and a_label("--namespace", asked.namespace),
        asked.image or f"paretune:{__version__}",
        roles,
        split(study, mounted),
        study.source.path,
        a_subdomain("--secret", asked.secret or f"{name}-secrets"),
        asked.form == "compose" and storage == DATABASE and asked.storage is None,
        claim,
        mounted,
        asked.results and a_subdomain("--results", asked.results),
    )


def _check(study: Study, asked: Asked) -> None:
    if asked.agents is not None and asked.workers is not None:
        raise ManifestError(
            "--workers and --agents do not go together: each worker starts a server of its own, which its own "
            "container alone reaches, and agents are in others. Give --agents N, with the address of a server that all "
            "reach, or --workers N, whose load each pod makes itself"
        )
    _check_words(asked)
    check_settings(study, overrides_alone=asked.form == "compose")
    if asked.agents is not None:
        _check_for_agents(study)
    else:
        _check_for_workers(study, asked.workers or 1)
    if asked.form == "compose":
        for place, given in (
            ("--namespace", asked.namespace),
            ("--secret", asked.secret),
            ("--volume", asked.volume),
            ("--results", asked.results),
        ):
            if given is not None:
                raise ManifestError(f"{place} is for --format kubernetes; take it out")
    if getattr(study.spec.target, "launch", None) == "docker":
        raise study.source.error(
            ("target", "launch"),
            "a container has no engine to start another one with: use `launch: local`, with an image that has both "
            "the server and Paretune",
        )
    if isinstance(study.spec.isolation, IsolationSpec):
        raise study.source.error(
            ("isolation", "cores"),
            "names CPUs of one host, and a container gets others: use `isolation: auto`, which takes those it has",
        )


def _check_words(asked: Asked) -> None:
    """Check what is given as a text of a certain form. Raises ManifestError."""
    if asked.agents_wait is not None:
        if asked.agents is None:
            raise ManifestError("--agents-wait is about agents: say how many with --agents N")
        try:
            parse_duration(asked.agents_wait)
        except ValueError as error:
            raise ManifestError(f"--agents-wait: {error}") from None
    for variable in asked.env:
        if not _NAME.fullmatch(variable) or variable in _OURS:
            what = f"the variable {variable} is set by Paretune" if variable in _OURS else "expected a variable's name"
            raise ManifestError(
                f"--env: {what}; give the name alone, like HF_TOKEN: the value comes from the Secret or the file .env"
            )
    for place, value, form, rule in (
        ("--image", asked.image or "paretune", _IMAGE, "a container image, like registry/paretune:1.0"),
        ("--memory", asked.server.memory, _MEMORY, "a size in Mi or Gi, like 8Gi"),
        ("--agent-memory", asked.agent.memory, _MEMORY, "a size in Mi or Gi, like 2Gi"),
    ):
        if not form.fullmatch(value):
            raise ManifestError(f"{place}: expected {rule}, but got {value!r}")


def _check_for_agents(study: Study) -> None:
    """Check that agents, which are in containers of their own, can make the load of a study. Raises StudyError."""
    target, error = study.spec.target, study.source.error
    for name, workload in study.spec.workloads.items():
        if isinstance(workload, LocustSpec):
            raise error(
                ("workloads", name, "locustfile"),
                "its users run where the study runs, and no agent takes a share of them: leave out --agents",
            )
    remedy = "with --agents use a server that has an address of its own"
    key = target.url_key
    if key is None:
        raise error(
            ("target",),
            "Paretune starts this server, on an address that its own container alone reaches, and each agent is in "
            f"another one: {remedy} (`launch: remote` with `url` of kind triton, `url` of kind command, or the kinds "
            "kserve and openai)",
        )
    _check_address(study, key, f"each agent is in one of its own: {remedy}")


def _check_for_workers(study: Study, workers: int) -> None:
    """Check that each worker has a server of its own that it reaches. Raises StudyError."""
    key = study.spec.target.url_key
    if key is None:
        return
    if workers > 1:
        raise study.source.error(
            ("target", key),
            f"is one server that runs already, and {workers} workers would measure on it at once: each needs a server "
            "of its own. Have Paretune start it, or leave out --workers",
        )
    _check_address(study, key, "the worker is in one of its own: give an address that it reaches the server by")


def _check_address(study: Study, key: str, remedy: str) -> None:
    """Check that a server that runs already is reached from another container. Raises StudyError."""
    error = study.source.error
    for one in dict.fromkeys((key, *_ADDRESSES)):
        given = getattr(study.spec.target, one, None)
        try:
            host = urlsplit(str(given or "")).hostname or ""
        except ValueError as wrong:
            raise error(("target", one), f"no address of a server: {wrong}") from None
        if _is_itself(host):
            raise error(("target", one), f"{host} is each container itself, and {remedy}")


def _is_itself(host: str) -> bool:
    """Whether the name of a host leads each container to itself."""
    return is_loopback(host) or host in _ANY


def _storage(study: Study, asked: Asked) -> str | None:
    """Return the address of the database that all hosts share, None where a single run needs none."""
    said = study.spec.search.storage
    given = asked.storage or (said if "://" in said or _VARIABLE.fullmatch(said) else None)
    if given is None:
        if asked.agents is not None:
            return None
        if asked.form == "compose":
            return DATABASE
        raise ManifestError("--storage: workers share their trials in a database that all of them reach; give its "
                            "address, like postgresql://tune@db/trials, or write it into `search.storage`")  # fmt: skip
    place = "--storage" if asked.storage else "search.storage"
    try:
        SearchSpec(storage=given)
    except ValidationError as error:
        raise ManifestError(f"{place}: {error.errors()[0]['msg'].removeprefix('Value error, ')}") from None
    try:
        url = urlsplit(given)
        host = url.hostname
    except ValueError as error:
        raise ManifestError(f"{place}: no address of a database: {error}") from None
    if _VARIABLE.fullmatch(given):
        return given
    if "://" not in given or url.scheme.startswith(("sqlite", "journal")):
        raise ManifestError(f"{place}: {given!r} is a file of one host; give a database that all of them reach, like "
                            "postgresql://tune@db/trials")  # fmt: skip
    if host is not None and _is_itself(host):
        raise ManifestError(f"{place}: {host} is each container itself; give the name that they know the database by")
    return given


def _volume(given: str | None) -> tuple[str | None, PurePosixPath | None]:
    """Return the claim of the volume and the folder that it is mounted on, of `CLAIM` or `CLAIM:FOLDER`."""
    if given is None:
        return None, None
    claim, colon, text = given.partition(":")
    folder = PurePosixPath(text)
    unfit = not folder.is_absolute() or ".." in folder.parts or any(one.is_relative_to(folder) for one in _TAKEN)
    if colon and unfit:
        raise ManifestError(
            f"--volume: {text!r} is no folder to mount a volume on: give an absolute path, like {claim}:/models, that "
            f"hides none of {', '.join(map(str, _TAKEN))}"
        )
    return a_subdomain("--volume", claim), folder if colon else None


def _workers(study: Study, asked: Asked, storage: str | None) -> tuple[Role, ...]:
    assert storage is not None, "workers have one"
    arguments = ("worker", _inside(study), "--storage", storage, *_overrides(study))
    secrets = _once(*_of_storage(storage), *study.spec.target.secrets(), *asked.env)
    count = 1 if asked.workers is None else asked.workers
    return (Role("worker", count, arguments, asked.server, secrets, studies=True),)


def _with_agents(study: Study, asked: Asked, name: str, storage: str | None) -> tuple[Role, ...]:
    assert asked.agents is not None, "they were asked for"
    kept = () if storage is None else ("--set", f"search.storage={storage}")
    wait = asked.agents_wait
    joined = ("--agents", str(asked.agents), "--agents-bind", f"0.0.0.0:{MASTER_PORT}",
              *(("--agents-wait", wait) if wait is not None else ()))  # fmt: skip
    looked_for = ("agent", "--master", master_of(name), *(("--wait", wait) if wait is not None else ()))
    arguments = ("run", _inside(study), *joined, *_overrides(study), *kept)
    secrets = _once(TOKEN, *_of_storage(storage), *study.spec.target.secrets(), *asked.env)
    return (
        Role("run", 1, arguments, asked.server, secrets, studies=True),
        Role("agent", asked.agents, looked_for, asked.agent, (TOKEN,), studies=False),
    )


def _once(*names: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))


def _inside(study: Study) -> str:
    return str(HOME / study.source.path.name)


def _overrides(study: Study) -> Sequence[str]:
    return [word for one in study.overrides for word in ("--set", one)]


def _of_storage(storage: str | None) -> list[str]:
    """Return the variables of a database's address, and that of its password where it has none."""
    if storage is None:
        return []
    named = [one or other for one, other in _VARIABLE.findall(storage)]
    without = storage.startswith("postgres") and ":" not in urlsplit(storage).netloc.rpartition("@")[0]
    return [*([PASSWORD] if without and not _CERTIFIED.search(storage) else []), *named]
