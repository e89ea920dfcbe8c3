"""A Triton that runs elsewhere is asked to load a model anew, and what it then has is compared with the file."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar
from urllib.parse import urlsplit

import tritonclient.http
from tritonclient.utils import InferenceServerException

from targets.base import ConfigRefused, ServerHung, TargetError
from targets.triton import config as model_config

CONNECT_TIMEOUT_S = 10.0
LOAD_TIMEOUT_S = 600.0
_Answer = TypeVar("_Answer")


def check(url: str) -> None:
    """Check that a Triton answers at a URL.

    Raises:
        TargetError: it does not, or the URL is none.
    """
    with _client(url) as client:
        if not _asked(url, client.is_server_live):
            raise TargetError(f"--reload {url}: the server answers that it is not live")


def reload(url: str, model: str, wanted: model_config.ModelConfig) -> None:
    """Load a model of the server's own repository anew, and compare what is loaded with a configuration.

    Args:
        url: of Triton's HTTP port, like `http://localhost:8000`.
        model: its name.
        wanted: what its file says.

    Raises:
        ConfigRefused: the server did not load it.
        TargetError: the server did not answer, or loaded something else.
    """
    with _client(url) as client:
        _asked(url, lambda: client.load_model(model))
        loaded = model_config.from_loaded(_asked(url, lambda: client.get_model_config(model)))
    if wrong := list(model_config.mismatches(wanted, loaded)):
        raise TargetError(
            f"--reload {url}: the server has another configuration of {model!r} than was written: {'; '.join(wrong)}; "
            "is it on the same model repository?"
        )


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
