"""The protocol's questions about a server and its models, over HTTP or gRPC."""

import json
import ssl
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Any, Protocol
from urllib.parse import quote

import grpc
import tritonclient.grpc
from google.protobuf import json_format
from tritonclient.utils import InferenceServerException

from targets.base import ServerCounters, ServerHung, TargetError
from targets.found import NothingFound
from targets.kserve import statistics
from targets.kserve.wire import ModelSpec, Site
from targets.probe import CHANNEL_OPTIONS
from targets.trust import roots_of
from workloads.requests import TensorSpec

CONTROL_TIMEOUT_S = 10.0
_SILENT = ("UNAVAILABLE", "DEADLINE_EXCEEDED", "CANCELLED")
_SHOWN = 300


@dataclass(frozen=True)
class ServerInfo:
    """What a server says of itself."""

    name: str
    version: str
    extensions: frozenset[str]


class Control(Protocol):
    """Questions to a server.

    Each raises ServerHung when the server does not answer, and TargetError with the server's own message when it
    refuses.
    """

    def live(self) -> None:
        """Raise ServerHung unless the server answers that it is live."""
        ...

    def ready(self) -> bool:
        """Whether the server is ready. Raises NothingFound where it answers that it does not speak the protocol."""
        ...

    def server(self) -> ServerInfo:
        """Return what the server says of itself."""
        ...

    def models(self) -> list[str]:
        """Return the names of the server's models; none where it does not tell."""
        ...

    def model_ready(self, model: str, version: str) -> bool:
        """Whether a model is ready; False as well where the server does not have it."""
        ...

    def model(self, model: str, version: str) -> ModelSpec:
        """Return what a model takes and gives; the shapes are the server's, with a batch axis if it has one."""
        ...

    def statistics(self, model: str, version: str) -> Callable[[], ServerCounters]:
        """Read the statistics extension now; the function returned makes sense of the reading."""
        ...

    def config(self, model: str) -> Mapping[str, Any]:
        """Return the configuration that a model is loaded with, an extension, in the server's own field names."""
        ...

    def load(self, model: str, config: str, timeout_s: float) -> None:
        """Load a model with a configuration, an extension.

        Args:
            model: its name.
            config: in JSON.
            timeout_s: how long it may take.
        """
        ...

    def why_not_load(self) -> str:
        """Return why the server does not let models be loaded, "" where it does. Nothing of it is changed."""
        ...

    def share(self, region: str, size: int) -> None:
        """Have the server map shared memory of its machine, an extension.

        Args:
            region: its name there, without the slash, and the one that requests have for it.
            size: in bytes.
        """
        ...

    def unshare(self, region: str) -> None:
        """Have the server forget shared memory; that it has none of that name is no error."""
        ...

    def close(self) -> None:
        """Close the connections that are kept."""
        ...


def described(model: str, version: str, metadata: Mapping[str, Any]) -> ModelSpec:
    """Return what the metadata of a model says, with the server's shapes.

    Raises:
        TargetError: it is not of the protocol.
    """
    try:
        inputs = tuple(
            TensorSpec(one["name"], one["datatype"], tuple(int(size) for size in one.get("shape", ())))
            for one in metadata.get("inputs") or ()
        )
        outputs = tuple(one["name"] for one in metadata.get("outputs") or ())
    except (KeyError, TypeError, ValueError):
        raise TargetError(f"the metadata of model {model!r} is not of the protocol: {dict(metadata)}") from None
    return ModelSpec(model, inputs, outputs, batched=False, version=version)


class HttpControl:
    """Questions over HTTP, each on a connection of its own.

    Args:
        site: where the server is, and the headers that it wants.
    """

    def __init__(self, site: Site) -> None:
        self._site = site
        self._url = f"{'https' if site.tls else 'http'}://{site.authority}{site.prefix}"

    def live(self) -> None:
        """Ask `/v2/health/live`."""
        status, answer = self._ask("GET", "/v2/health/live")
        if status != 200:
            raise ServerHung(f"{self._url} does not answer that it is live: HTTP {status}: {_said(answer)}")

    def ready(self) -> bool:
        """Ask `/v2/health/ready`."""
        status, answer = self._ask("GET", "/v2/health/ready")
        if status in (401, 403):
            raise TargetError(f"{self._url} refuses us (HTTP {status}: {_said(answer)}); give it what it wants in "
                              "`target.headers`")  # fmt: skip
        if status == 404:
            raise NothingFound(f"{self._url}/v2/health/ready is not there (HTTP 404): no server of the Open Inference "
                              "Protocol; one with OpenAI's API gets a study of `target: {kind: openai}`")  # fmt: skip
        return status == 200

    def server(self) -> ServerInfo:
        """Ask `/v2`."""
        found = self._json("GET", "/v2")
        return ServerInfo(str(found.get("name")), str(found.get("version")), frozenset(found.get("extensions") or ()))

    def models(self) -> list[str]:
        """Ask `/v2/repository/index`, an extension."""
        try:
            status, answer = self._ask("POST", "/v2/repository/index", "{}")
            return [str(one["name"]) for one in json.loads(answer)] if status == 200 else []
        except (ServerHung, ValueError, KeyError, TypeError):
            return []

    def model_ready(self, model: str, version: str) -> bool:
        """Ask `/v2/models/MODEL/ready`."""
        return self._ask("GET", f"{_path(model, version)}/ready")[0] == 200

    def model(self, model: str, version: str) -> ModelSpec:
        """Ask `/v2/models/MODEL`."""
        return described(model, version, self._json("GET", _path(model, version)))

    def statistics(self, model: str, version: str) -> Callable[[], ServerCounters]:
        """Ask `/v2/models/MODEL/stats`."""
        taken_ns, path = time.monotonic_ns(), f"{_path(model, version)}/stats"
        status, answer = self._ask("GET", path)
        if status != 200:
            raise ServerHung(f"{self._url}{path}: no answer with statistics, but HTTP {status}: {_said(answer)}")
        return lambda: statistics.counters(taken_ns, json.loads(answer)["model_stats"])

    def config(self, model: str) -> Mapping[str, Any]:
        """Ask `/v2/models/MODEL/config`."""
        return self._json("GET", f"{_path(model, '')}/config")

    def load(self, model: str, config: str, timeout_s: float) -> None:
        """Ask `/v2/repository/models/MODEL/load`."""
        path = f"/v2/repository/models/{quote(model, safe='')}/load"
        status, answer = self._ask("POST", path, json.dumps({"parameters": {"config": config}}), timeout_s)
        if status != 200:
            raise TargetError(f"{self._url}{path}: HTTP {status}: {_said(answer)}")

    def why_not_load(self) -> str:
        """Ask to unload a model that there is none of."""
        status, answer = self._ask("POST", f"/v2/repository/models/{_nobodys()}/unload", "{}")
        return "" if status == 200 else f"HTTP {status}: {_said(answer)}"

    def share(self, region: str, size: int) -> None:
        """Ask `/v2/systemsharedmemory/region/REGION/register`."""
        self._region(f"{region}/register", {"key": f"/{region}", "offset": 0, "byte_size": size})

    def unshare(self, region: str) -> None:
        """Ask `/v2/systemsharedmemory/region/REGION/unregister`."""
        self._region(f"{region}/unregister", {})

    def _region(self, what: str, said: Mapping[str, object]) -> None:
        path = f"/v2/systemsharedmemory/region/{what}"
        status, answer = self._ask("POST", path, json.dumps(said))
        if status != 200:
            raise TargetError(f"{self._url}{path}: HTTP {status}: {_said(answer)}")

    def get(self, path: str, timeout_s: float = CONTROL_TIMEOUT_S) -> bytes:
        """Return the body of a GET, whatever it is. Raises ServerHung when it is none with status 200."""
        status, answer = self._ask("GET", path, timeout_s=timeout_s)
        if status != 200:
            raise ServerHung(f"{self._url}{path}: HTTP {status}: {_said(answer)}")
        return answer

    def close(self) -> None:
        """Nothing is kept."""

    def _json(self, method: str, path: str) -> Mapping[str, Any]:
        status, answer = self._ask(method, path)
        if status != 200:
            raise TargetError(f"{self._url}{path}: HTTP {status}: {_said(answer)}")
        try:
            found = json.loads(answer)
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise TargetError(f"{self._url}{path}: not an answer of the Open Inference Protocol: {_said(answer)}")
        return found

    def _ask(
        self, method: str, path: str, body: str | None = None, timeout_s: float = CONTROL_TIMEOUT_S
    ) -> tuple[int, bytes]:
        connection = self._connection(timeout_s)
        headers = {**dict(self._site.headers), **({"Content-Type": "application/json"} if body else {})}
        try:
            connection.request(method, f"{self._site.prefix}{path}", body, headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        except (OSError, HTTPException) as error:
            raise ServerHung(f"{self._url} does not answer ({error or type(error).__name__})") from None
        finally:
            connection.close()

    def _connection(self, timeout_s: float) -> HTTPConnection:
        site = self._site
        if site.tls is None:
            return HTTPConnection(site.host, site.port, timeout=timeout_s)
        return HTTPSConnection(site.host, site.port, timeout=timeout_s, context=self._trusted)

    @cached_property
    def _trusted(self) -> ssl.SSLContext:
        """What servers are trusted; reading the certificates takes longer than a question."""
        tls = self._site.tls
        return ssl.create_default_context(cafile=str(tls.ca) if tls is not None and tls.ca else None)


class GrpcControl:
    """Questions over gRPC, on one channel.

    Args:
        site: where the server is, and the metadata that it wants.
    """

    def __init__(self, site: Site) -> None:
        self._url = f"{'grpcs' if site.tls else 'grpc'}://{site.authority}"
        self._metadata = {name.lower(): value for name, value in site.headers}
        self._client = tritonclient.grpc.InferenceServerClient(
            site.authority,
            creds=grpc.ssl_channel_credentials(roots_of(site.tls)) if site.tls else None,
            channel_args=list(CHANNEL_OPTIONS),
        )

    def live(self) -> None:
        """Call `ServerLive`."""
        if not self._ask(self._client.is_server_live):
            raise ServerHung(f"{self._url} answers that it is not live")

    def ready(self) -> bool:
        """Call `ServerReady`."""
        return bool(self._ask(self._client.is_server_ready))

    def server(self) -> ServerInfo:
        """Call `ServerMetadata`."""
        found = self._ask(self._client.get_server_metadata)
        return ServerInfo(found.name, found.version, frozenset(found.extensions))

    def models(self) -> list[str]:
        """Call `RepositoryIndex`, an extension."""
        try:
            return [one.name for one in self._ask(self._client.get_model_repository_index).models]
        except TargetError:
            return []

    def model_ready(self, model: str, version: str) -> bool:
        """Call `ModelReady`."""
        try:
            return bool(self._ask(self._client.is_model_ready, model, version))
        except ServerHung:
            raise
        except TargetError:
            return False

    def model(self, model: str, version: str) -> ModelSpec:
        """Call `ModelMetadata`."""
        return described(model, version, _dict(self._ask(self._client.get_model_metadata, model, version)))

    def statistics(self, model: str, version: str) -> Callable[[], ServerCounters]:
        """Call `ModelStatistics`."""
        taken_ns, found = time.monotonic_ns(), self._ask(self._client.get_inference_statistics, model, version)
        return lambda: statistics.counters(taken_ns, _dict(found)["model_stats"])

    def config(self, model: str) -> Mapping[str, Any]:
        """Call `ModelConfig`."""
        found: Mapping[str, Any] = _dict(self._ask(self._client.get_model_config, model))["config"]
        return found

    def load(self, model: str, config: str, timeout_s: float) -> None:
        """Call `RepositoryModelLoad`."""
        self._ask(partial(self._client.load_model, config=config), model, timeout_s=timeout_s)

    def why_not_load(self) -> str:
        """Call `RepositoryModelUnload` for a model that there is none of."""
        try:
            self._client.unload_model(_nobodys(), headers=self._metadata, client_timeout=CONTROL_TIMEOUT_S)
        except InferenceServerException as error:
            return f"gRPC {str(error.status()).removeprefix('StatusCode.')}: {error.message()}"
        return ""

    def share(self, region: str, size: int) -> None:
        """Call `SystemSharedMemoryRegister`."""
        self._ask(self._client.register_system_shared_memory, region, f"/{region}", size)

    def unshare(self, region: str) -> None:
        """Call `SystemSharedMemoryUnregister`."""
        self._ask(self._client.unregister_system_shared_memory, region)

    def close(self) -> None:
        """Close the channel."""
        self._client.close()

    def _ask(self, call: Callable[..., Any], *arguments: str | int, timeout_s: float = CONTROL_TIMEOUT_S) -> Any:
        try:
            return call(*arguments, headers=self._metadata, client_timeout=timeout_s)
        except InferenceServerException as error:
            status = str(error.status()).removeprefix("StatusCode.")
            if status in _SILENT:
                raise ServerHung(f"{self._url} does not answer (gRPC {status}: {error.message()})") from None
            raise TargetError(f"{self._url}: gRPC {status}: {error.message()}") from None


def _nobodys() -> str:
    """Return a name that no model has."""
    return f"paretune_asks_{uuid.uuid4().hex[:12]}"


def _path(model: str, version: str) -> str:
    path = f"/v2/models/{quote(model, safe='')}"
    return f"{path}/versions/{quote(version, safe='')}" if version else path


def _said(answer: bytes) -> str:
    """Return what an answer says, as far as it is worth showing."""
    text = answer[:_SHOWN].decode(errors="replace")
    try:
        return str(json.loads(answer)["error"])
    except (ValueError, KeyError, TypeError):
        return text or "nothing"


def _dict(message: Any) -> dict[str, Any]:
    return json_format.MessageToDict(message, preserving_proto_field_name=True)
