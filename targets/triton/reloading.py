"""A Triton that runs elsewhere is asked to load a model anew, and what it then has is compared with the file."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar
from urllib.parse import urlsplit

import tritonclient.http
from tritonclient.utils import InferenceServerException

from targets.base import ConfigRefused, ServerHung, TargetError
from targets.triton import config as model_config

CONNECT_TIMEOUT_S = 10.0
LOAD_TIMEOUT_S = 600.0
_Answer = TypeVar("_Answer")
_Loaded = Mapping[str, Any] | None


def check(url: str) -> None:
    """Check that a Triton answers at a URL.

    Raises:
        TargetError: it does not, or the URL is none.
    """
    with _client(url) as client:
        if not _asked(url, client.is_server_live):
            raise TargetError(f"--reload {url}: the server answers that it is not live")


def reload(url: str, wanted: Mapping[str, model_config.ModelConfig]) -> None:
    """Load models of the server's own repository anew, and compare what is loaded with their configurations.

    Where one of them is refused, those that have another configuration by then get back what they had.

    Args:
        url: of Triton's HTTP port, like `http://localhost:8000`.
        wanted: model -> what its file says, in the order in which they are loaded.

    Raises:
        ConfigRefused: the server did not load one of them, and goes on with what it had of all.
        TargetError: the server did not answer, loaded something else, or did not take back what it had.
    """
    with _client(url) as client:
        had = {model: _config_of(url, client, model) for model in wanted}
        for model, config in wanted.items():
            try:
                _load(url, client, model)
            except ConfigRefused as refused:
                _give_back(url, client, had, refused)
                raise
            loaded = model_config.from_loaded(_config_of(url, client, model) or {})
            if wrong := list(model_config.mismatches(config, loaded)):
                raise TargetError(
                    f"--reload {url}: the server has another configuration of {model!r} than was written: "
                    f"{'; '.join(wrong)}; is it on the same model repository?"
                )


def _load(url: str, client: tritonclient.http.InferenceServerClient, model: str, config: _Loaded = None) -> None:
    """Load a model, with a configuration in place of that of its file where one is given."""
    _asked(url, lambda: client.load_model(model, config=config and json.dumps(config)))


def _config_of(url: str, client: tritonclient.http.InferenceServerClient, model: str) -> _Loaded:
    """Return the configuration that a model has, None where it is not loaded."""
    try:
        found: _Loaded = _asked(url, lambda: client.get_model_config(model))
    except ConfigRefused:
        return None
    return found


def _give_back(
    url: str, client: tritonclient.http.InferenceServerClient, had: Mapping[str, _Loaded], refused: ConfigRefused
) -> None:
    """Load models with the configurations that they had, the last one first; unload those that were not loaded.

    Raises:
        TargetError: the server does not do that; it says for which of them.
    """
    left = [model for model, config in had.items() if _config_of(url, client, model) != config]
    while left:
        model = left[-1]
        try:
            if had[model] is None:
                _asked(url, lambda: client.unload_model(model))  # noqa: B023 - called at once
            else:
                _load(url, client, model, had[model])
        except TargetError as error:
            raise TargetError(
                f"{refused}; before that, {', '.join(left)} got the new configuration, and the old one could not be "
                f"loaded again: {error}"
            ) from None
        left.pop()


@contextmanager
def _client(url: str) -> Iterator[tritonclient.http.InferenceServerClient]:
    parts = urlsplit(url if "://" in url else f"http://{url}")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise TargetError(f"--reload {url}: give the URL of Triton's HTTP port, like http://localhost:8000")
    secure = parts.scheme == "https"
    client = tritonclient.http.InferenceServerClient(
        f"{parts.hostname}:{parts.port or (443 if secure else 8000)}{parts.path.rstrip('/')}",
        ssl=secure,
        connection_timeout=CONNECT_TIMEOUT_S,
        network_timeout=LOAD_TIMEOUT_S,
    )
    try:
        yield client
    finally:
        client.close()


def _asked(url: str, call: Callable[[], _Answer]) -> _Answer:
    try:
        return call()
    except InferenceServerException as error:
        raise ConfigRefused(f"--reload {url}: the server refused: {error.message()}") from None
    except Exception as error:  # the client passes on whatever its transport raises; none of it is an answer
        raise ServerHung(f"--reload {url}: the server does not answer ({error or type(error).__name__})") from None
