"""What runs where: the roles of a study on several hosts, the command of each, and what it needs."""

import re
from collections.abc import Sequence, Set
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal
from urllib.parse import urlsplit

from tuner import __version__
from tuner.load.distributed.options import EVERYWHERE
from tuner.manifests.asked import INDEX, Asked, Resources
from tuner.manifests.files import HOME, TAKEN, Files, Needed, check_settings, hides, split
from tuner.manifests.names import ManifestError, a_label, a_subdomain, name_of
from tuner.manifests.storage import DATABASE, Storage, is_itself, storage_of
from tuner.study.load import Study
from tuner.study.locustfile import LocustSpec
from tuner.study.spec import IsolationSpec
from workloads.units import parse_duration

Component = Literal["worker", "run", "agent"]
USER = 1000
"""Of every container, and of its group; most images know no name of it."""
HERE = {"HOME": "/tmp", "USER": "paretune", "LOGNAME": "paretune"}  # noqa: S108 - of the container's own
"""What a server of such a user looks up in vain: where to write, and its name (Python's `getpass.getuser`)."""
MASTER_PORT = 5557
"""Where the run listens for its agents."""
TOKEN = "PARETUNE_TOKEN"  # noqa: S105 - what it is called
_OURS = (*HERE, "HOST_INDEX")
_NAME = re.compile(r"[A-Za-z_]\w*", re.ASCII)
_MEMORY = re.compile(r"[1-9]\d*(Mi|Gi)")
_IMAGE = re.compile(r"[a-z0-9][\w.\-/:]*(@sha256:[0-9a-f]{64})?")
_ADDRESSES = ("url", "grpc_url", "metrics_url")
"""Options of targets that have the address of a server that runs already, or of its metrics."""


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
        each: more arguments, with INDEX in place of the number of the container.
    """

    component: Component
    count: int
    arguments: tuple[str, ...]
    resources: Resources
    secrets: tuple[str, ...]
    studies: bool
    each: tuple[str, ...] = ()


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
        storage: what keeps the trials, where it is not a file of the run's own.
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
    storage: Storage | None

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
    def certificates(self) -> tuple[PurePosixPath, ...]:
        """Files of the storage's address, which containers have at the same paths."""
        return () if self.storage is None else self.storage.certificates

    @property
    def certified(self) -> str:
        """Name of the Kubernetes Secret that has the files of the storage's address."""
        return f"{self.name}-certificates"

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
    storage = storage_of(study, asked)
    roles = _with_agents(study, asked, name, storage) if asked.agents is not None else _workers(study, asked, storage)
    claim, mounted = _volume(asked.volume)
    _check_apart(storage, mounted)
    return Plan(
        name,
        asked.namespace and a_label("--namespace", asked.namespace),
        asked.image or f"paretune:{__version__}",
        roles,
        split(study, mounted),
        study.source.path,
        a_subdomain("--secret", asked.secret or f"{name}-secrets"),
        asked.form == "compose" and storage is not None and storage.address == DATABASE and asked.storage is None,
        claim,
        mounted,
        asked.results and a_subdomain("--results", asked.results),
        storage,
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
        _check_for_workers(study, asked.workers or 1, {one.partition("=")[0] for one in asked.each})
    if asked.form == "compose":
        for place, given in (
            ("--namespace", asked.namespace),
            ("--secret", asked.secret),
            ("--volume", asked.volume),
            ("--results", asked.results),
            ("--journal", asked.journal),
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
    if asked.run is not None and asked.agents is not None:
        raise ManifestError("--run is the name under which workers share a study; a run with --agents shares none")
    _check_each(asked)
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


def _check_each(asked: Asked) -> None:
    """Check what is each worker's own. Raises ManifestError."""
    if asked.each and asked.agents is not None:
        raise ManifestError("--each is about workers, and a run with --agents has one server")
    for one in asked.each:
        name, _, value = one.partition("=")
        if INDEX not in value or name not in [f"target.{key}" for key in _ADDRESSES]:
            raise ManifestError(
                f"--each: expected the address of each worker's own server, with {INDEX} in place of the worker's "
                f"number, like target.url=http://triton-{INDEX}.triton:8000, but got {one!r}"
            )


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


def _check_for_workers(study: Study, workers: int, own: Set[str]) -> None:
    """Check that each worker has a server of its own that it reaches. Raises StudyError."""
    key = study.spec.target.url_key
    if key is None:
        return
    given = [one for one in dict.fromkeys((key, *_ADDRESSES)) if getattr(study.spec.target, one, None) is not None]
    shared = [one for one in given if f"target.{one}" not in own]
    if workers > 1 and shared:
        raise study.source.error(
            ("target", shared[0]),
            f"is one server that runs already, and {workers} workers would measure on it at once: each needs a server "
            f"of its own. Give each its address with --each target.{shared[0]}=..., with {INDEX} in it; have Paretune "
            "start the servers; or leave out --workers",
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
        if is_itself(host):
            raise error(("target", one), f"{host} is each container itself, and {remedy}")


def _volume(given: str | None) -> tuple[str | None, PurePosixPath | None]:
    """Return the claim of the volume and the folder that it is mounted on, of `CLAIM` or `CLAIM:FOLDER`."""
    if given is None:
        return None, None
    claim, colon, text = given.partition(":")
    folder = PurePosixPath(text)
    if colon and hides(folder):
        raise ManifestError(
            f"--volume: {text!r} is no folder to mount a volume on: give an absolute path, like {claim}:/models, that "
            f"hides none of {', '.join(map(str, TAKEN))}"
        )
    return a_subdomain("--volume", claim), folder if colon else None


def _check_apart(storage: Storage | None, mounted: PurePosixPath | None) -> None:
    """Check that the folder of a journal is none of the volume of files, which is read-only. Raises ManifestError."""
    if storage is None or storage.folder is None or mounted is None:
        return
    if storage.folder.is_relative_to(mounted) or mounted.is_relative_to(storage.folder):
        raise ManifestError(f"--volume: {mounted} and {storage.folder}, the folder of the journal, are in one another; "
                            "give them folders of their own")  # fmt: skip


def _workers(study: Study, asked: Asked, storage: Storage | None) -> tuple[Role, ...]:
    assert storage is not None, "workers have one"
    named = ("--run", asked.run) if asked.run is not None else ()
    arguments = ("worker", _inside(study), "--storage", storage.address, *named, *_overrides(study, len(asked.each)))
    each = tuple(word for one in asked.each for word in ("--set", one))
    secrets = _once(*storage.secrets, *study.spec.target.secrets(), *asked.env)
    count = 1 if asked.workers is None else asked.workers
    return (Role("worker", count, arguments, asked.server, secrets, studies=True, each=each),)


def _with_agents(study: Study, asked: Asked, name: str, storage: Storage | None) -> tuple[Role, ...]:
    assert asked.agents is not None, "they were asked for"
    kept = () if storage is None else ("--set", f"search.storage={storage.address}")
    wait = asked.agents_wait
    joined = ("--agents", str(asked.agents), "--agents-bind", f"{EVERYWHERE}:{MASTER_PORT}",
              *(("--agents-wait", wait) if wait is not None else ()))  # fmt: skip
    looked_for = ("agent", "--master", master_of(name), *(("--wait", wait) if wait is not None else ()))
    arguments = ("run", _inside(study), *joined, *_overrides(study), *kept)
    secrets = _once(TOKEN, *(storage.secrets if storage else ()), *study.spec.target.secrets(), *asked.env)
    return (
        Role("run", 1, arguments, asked.server, secrets, studies=True),
        Role("agent", asked.agents, looked_for, asked.agent, (TOKEN,), studies=False),
    )


def _once(*names: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))


def _inside(study: Study) -> str:
    return str(HOME / study.source.path.name)


def _overrides(study: Study, left_out: int = 0) -> Sequence[str]:
    """Return the options of a study's overrides; the last ones may be left out."""
    kept = study.overrides[: len(study.overrides) - left_out]
    return [word for one in kept for word in ("--set", one)]
