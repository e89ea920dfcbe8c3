"""The models of a server that runs, as a study for one of them needs to know them."""

from collections.abc import Sequence

from pydantic import ValidationError

from targets.base import TargetError, Tls
from targets.found import FoundModel
from targets.kserve.control import Control, GrpcControl, HttpControl
from targets.kserve.options import KServeOptions, Place
from targets.kserve.wire import Site, items_of


def models_of(url: str, model: str | None) -> Sequence[FoundModel]:
    """Return the models of a server that are ready, or the one that is wanted.

    Raises:
        TargetError: no such URL, the server does not answer or does not list its models, or has no such model ready.
    """
    place = _place(url)
    site = Site(place.host, place.port, (), Tls(None) if place.scheme == "https" else None, place.prefix)
    control: Control = GrpcControl(site) if place.scheme == "grpc" else HttpControl(site)
    try:
        return _asked(control, url, model)
    finally:
        control.close()


def _place(url: str) -> Place:
    try:
        return KServeOptions(url=url, model="any").place
    except ValidationError as error:
        raise TargetError(f"{url}: {error.errors()[0]['msg'].removeprefix('Value error, ')}") from None


def _asked(control: Control, url: str, model: str | None) -> Sequence[FoundModel]:
    if not control.ready():
        raise TargetError(f"{url} answers that it is not ready; wait for it, or read its log")
    listed = list(dict.fromkeys(control.models()))
    wanted = listed if model is None else [model]
    if not wanted:
        raise TargetError(f"{url} lists no models; name the one that you mean with --model")
    ready = [name for name in wanted if control.model_ready(name, "")]
    if not ready:
        what = f"no model {model!r} that is ready" if model else "no model that is ready"
        others = f"; it has: {', '.join(listed)}" if listed else ""
        raise TargetError(f"{url} has {what}{others}")
    return [FoundModel(name, items_of(control.model(name, ""))) for name in sorted(ready)]
