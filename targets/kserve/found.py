"""The models of a server that runs, as a study for one of them needs to know them."""

from collections.abc import Sequence
from contextlib import closing

from pydantic import ValidationError

from targets.base import TargetError, Tls
from targets.found import FoundModel, NothingFound
from targets.kserve.control import Control
from targets.kserve.options import KServeOptions
from targets.kserve.site import control_of, site_of
from targets.kserve.wire import items_of


def models_of(url: str, model: str | None, key_env: str | None) -> Sequence[FoundModel]:
    """Return the models of a server that are ready, or the one that is wanted.

    Args:
        url: of the server.
        model: the one that is wanted, None: every one.
        key_env: the environment variable with the token that the server wants, None for none.

    Raises:
        NothingFound: the server does not speak the protocol.
        TargetError: no such URL, the server does not answer or does not list its models, or has no such model ready.
    """
    with closing(control_at(url, key_env)) as control:
        return _asked(control, url, model)


def control_at(url: str, key_env: str | None) -> Control:
    """Return what asks a server; to be closed. Raises TargetError of a URL that is none."""
    options = _options(url, key_env)
    return control_of(options, site_of(options, Tls() if options.place.secure else None))


def _options(url: str, key_env: str | None) -> KServeOptions:
    headers = {"Authorization": f"Bearer ${{{key_env}}}"} if key_env else {}
    try:
        return KServeOptions(url=url, model="any", headers=headers)
    except ValidationError as error:
        raise TargetError(f"{url}: {error.errors()[0]['msg'].removeprefix('Value error, ')}") from None


def _asked(control: Control, url: str, model: str | None) -> Sequence[FoundModel]:
    try:
        ready = control.ready()
    except NothingFound:
        raise NothingFound("GET /v2/health/ready: HTTP 404") from None
    if not ready:
        raise TargetError(f"{url} answers that it is not ready; wait for it, or read its log")
    listed = list(dict.fromkeys(control.models()))
    wanted = listed if model is None else [model]
    if not wanted:
        raise TargetError(f"{url} lists no models; name the one that you mean with --model")
    names = [name for name in wanted if control.model_ready(name, "")]
    if not names:
        what = f"no model {model!r} that is ready" if model else "no model that is ready"
        others = f"; it has: {', '.join(listed)}" if listed else ""
        raise TargetError(f"{url} has {what}{others}")
    info = control.server()
    server = f"{info.name} {info.version}".strip()
    return [FoundModel(name, items_of(control.model(name, "")), server=server) for name in sorted(names)]
