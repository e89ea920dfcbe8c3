"""Where the hosts of a study keep their trials, and what containers need to get there."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from urllib.parse import parse_qs, urlsplit

from pydantic import ValidationError

from tuner.load.distributed.options import is_loopback
from tuner.manifests.asked import Asked
from tuner.manifests.files import TAKEN, hides
from tuner.manifests.names import ManifestError, a_subdomain
from tuner.storage import JOURNAL
from tuner.study.load import Study
from tuner.study.spec import SearchSpec

PASSWORD = "PGPASSWORD"  # noqa: S105 - what it is called
DATABASE = "postgresql://tune@postgres/trials"
"""The trials of a compose file that has a database of its own."""
_VARIABLE = re.compile(r"\$(?:(\w+)|\{(\w+)\})")
_ANY = ("0.0.0.0", "::")  # noqa: S104 - whoever asks them asks itself
_CERTIFICATES = ("sslcert", "sslkey", "sslrootcert", "sslcrl")
"""Parameters of an address of PostgreSQL that name files of certificates."""
_SHOWN = ("password", "passfile", "sslcert", "service")
"""Parameters by which a user shows who it is, so that `PGPASSWORD` is not needed."""
_SHOWN_BY = ("PGPASSFILE", "PGSSLCERT", "PGSERVICE")
"""Variables that do the same, see `--env`."""
_BY_PASSWORD = {"password", "md5", "scram-sha-256"}
"""What `require_auth` of an address may allow; the other ways take no password."""
_FILE = re.compile(r"[-.\w]+", re.ASCII)


@dataclass(frozen=True)
class Storage:
    """What keeps the trials.

    Attributes:
        address: as `--storage` has it.
        secrets: variables that containers need for it.
        certificates: files that the address names, which containers have at the same paths.
        folder: of a journal, which all containers write.
        claim: of the volume that is mounted on it; None: a folder beside the compose file is.
    """

    address: str
    secrets: tuple[str, ...] = ()
    certificates: tuple[PurePosixPath, ...] = ()
    folder: PurePosixPath | None = None
    claim: str | None = None


def is_itself(host: str) -> bool:
    """Whether the name of a host leads each container to itself."""
    return is_loopback(host) or host in _ANY


def storage_of(study: Study, asked: Asked) -> Storage | None:
    """Return what all hosts share, None where a single run needs nothing of that kind.

    Raises:
        ManifestError: it cannot be shared.
    """
    said = study.spec.search.storage
    given = asked.storage or (said if "://" in said or _VARIABLE.fullmatch(said) else None)
    place = "--storage" if asked.storage else "search.storage"
    if given is not None and (given.startswith((JOURNAL, "/"))):
        return _journal(place, PurePosixPath(given.removeprefix(JOURNAL)), asked)
    if asked.journal is not None:
        raise ManifestError(
            "--journal is the volume of a journal: give its path with --storage, like /shared/study.log"
        )
    if given is None:
        if asked.agents is not None:
            return None
        if asked.form == "compose":
            return Storage(DATABASE, (PASSWORD,))
        raise ManifestError("--storage: workers share their trials in a database that all of them reach; give its "
                            "address, like postgresql://tune@db/trials, or write it into `search.storage`")  # fmt: skip
    _check(place, given)
    return Storage(given, _secrets(given, asked.env), _certificates(place, given, asked))


def _journal(place: str, file: PurePosixPath, asked: Asked) -> Storage:
    """Return a journal, in a folder that all containers have.

    Raises:
        ManifestError: they cannot have it there.
    """
    folder = file.parent
    if hides(folder) or any(folder.is_relative_to(one) for one in TAKEN):
        raise ManifestError(
            f"{place}: a journal cannot stand in {str(folder)!r}: all of that folder is a volume; give a folder of its "
            f"own, like /shared/{file.name}, that is none of {', '.join(map(str, TAKEN))}"
        )
    if asked.form == "kubernetes" and asked.journal is None:
        raise ManifestError(
            f"{place}: {str(file)!r} is a file that no two pods share: give --journal CLAIM, a volume that all of them "
            f"can write (ReadWriteMany), or a database, like postgresql://tune@db/trials"
        )
    claim = asked.journal and a_subdomain("--journal", asked.journal)
    return Storage(f"{JOURNAL}{file}", folder=folder, claim=claim)


def _check(place: str, given: str) -> None:
    """Check that an address is one that all containers reach. Raises ManifestError."""
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
        return
    if "://" not in given or url.scheme.startswith("sqlite"):
        raise ManifestError(
            f"{place}: {given!r} is a file of one host; give a database that all of them reach, like "
            "postgresql://tune@db/trials, or a journal in a folder that they share, like /shared/study.log"
        )
    if host is not None and is_itself(host):
        raise ManifestError(f"{place}: {host} is each container itself; give the name that they know the database by")


def _asked_of(address: str) -> Mapping[str, Sequence[str]]:
    """Return the parameters of an address of PostgreSQL, {} of another one."""
    return parse_qs(urlsplit(address).query) if address.startswith("postgres") else {}


def _secrets(address: str, env: Sequence[str]) -> tuple[str, ...]:
    """Return the variables of an address, and that of the password where it needs one."""
    named = [one or other for one, other in _VARIABLE.findall(address)]
    parameters = _asked_of(address)
    ways = {way for one in parameters.get("require_auth", ()) for way in one.split(",")}
    shown = (
        not address.startswith("postgres")
        or ":" in urlsplit(address).netloc.rpartition("@")[0]
        or any(one in parameters for one in _SHOWN)
        or any(one in env for one in _SHOWN_BY)
        or (bool(ways) and not any(way.startswith("!") for way in ways) and not ways & _BY_PASSWORD)
    )
    return (*(() if shown else (PASSWORD,)), *named)


def _certificates(place: str, address: str, asked: Asked) -> tuple[PurePosixPath, ...]:
    """Return the files that an address names; not those that a variable does, and `system` is none.

    Raises:
        ManifestError: containers cannot have them there.
    """
    parameters = _asked_of(address)
    if "passfile" in parameters and asked.form == "kubernetes":
        raise ManifestError(
            f"{place}: PostgreSQL's client takes a `passfile` from its owner alone, and what a pod has of a Secret is "
            f"its group's as well; take it out, and put {PASSWORD} into the Secret"
        )
    named = [one for name in (*_CERTIFICATES, "passfile") for one in parameters.get(name, ())]
    known = [one for one in named if one != "system" and "$" not in one]
    found = tuple(dict.fromkeys(map(PurePosixPath, known)))
    for one in found:
        if not one.is_absolute() or ".." in one.parts or not _FILE.fullmatch(one.name):
            raise ManifestError(
                f"{place}: containers cannot have {str(one)!r}; name a file by its absolute path, of letters, digits, "
                "`-`, `_` and dots, like /tls/own.crt"
            )
    names = [one.name for one in found]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise ManifestError(
            f"{place}: two files are called {twice}, and a Secret has each name once; give one another name"
        )
    return found
