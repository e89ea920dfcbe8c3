"""Requests and answers: a dataset encoded once for a server, and the outputs that an answer names.

A further protocol is a class like `HttpWire`; `CommandTarget` takes it by the name that `request.protocol` has.
"""

import json
from collections.abc import Mapping
from functools import partial
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from targets.base import Config, Endpoint, TargetError
from targets.command.address import Address
from targets.command.judge import judge
from targets.command.options import AnswerSpec, RequestSpec
from targets.command.templates import BadTemplate, Template, compiled, undefined
from workloads.requests import Dataset

_JSON = "application/json"


class Wire(Protocol):
    """One protocol: requests encoded, answers decoded."""

    @property
    def secrets(self) -> frozenset[str]:
        """The environment variables that the requests hold."""
        ...

    def check(self, dataset: Dataset, values: Config) -> None:
        """Check that a dataset has what the requests are made of. Raises TargetError naming it."""
        ...

    def endpoint(self, dataset: Dataset, values: Config, at: Address, environment: Mapping[str, str]) -> Endpoint:
        """Encode each item of a dataset for a server.

        Args:
            dataset: the items.
            values: of the knobs.
            at: where the server is.
            environment: of Paretune.
        """
        ...

    def decode(self, answer: bytes) -> Mapping[str, NDArray[np.generic]]:
        """Return the outputs of one answer that was ok, each with the batch axis first."""
        ...


class HttpWire:
    """HTTP/1.1 with a path, headers and a body made of templates, and JSON in the answer."""

    def __init__(self, request: RequestSpec, answer: AnswerSpec) -> None:
        self._method, self._answer = request.method, answer
        headers = dict(request.headers)
        if request.body is not None and "content-type" not in map(str.lower, headers):
            headers["Content-Type"] = _JSON
        self._path = compiled(request.path, None)
        self._headers = {name: compiled(text, None) for name, text in headers.items()}
        self._body = None if request.body is None else compiled(request.body, None)

    @property
    def secrets(self) -> frozenset[str]:
        """The environment variables that the requests hold."""
        return frozenset().union(*(template.secrets for template in self._templates().values()))

    def check(self, dataset: Dataset, values: Config) -> None:
        """Check the templates' variables against the dataset, and make the first request of it."""
        known = {*dataset.inputs, *values, "inputs", "env"}
        for place, template in self._templates().items():
            for name in sorted(template.names - known):
                raise TargetError(f"{place}: {undefined(name, known)}")
            for name in sorted(template.names & dataset.inputs.keys() & values.keys()):
                raise TargetError(f"{place}: `{name}` is a knob and an input of the dataset; rename the knob")
        environment = dict.fromkeys(self.secrets, "value")
        head, body = self._made(_row(dataset, 0, _texts(dataset)), values, environment)
        if _JSON in head.lower():
            _require_json(body)

    def endpoint(self, dataset: Dataset, values: Config, at: Address, environment: Mapping[str, str]) -> Endpoint:
        """Encode each item as the bytes of a whole request."""
        texts = _texts(dataset)
        requests = []
        for index in range(len(dataset)):
            head, body = self._made(_row(dataset, index, texts), values, environment, at)
            requests.append(head.encode("latin-1") + body)
        judged = partial(judge, frozenset(self._answer.ok), (self._answer.contains or "").encode())
        return Endpoint(at.host, at.port, tuple(requests), judged, tls=at.tls)

    def decode(self, answer: bytes) -> Mapping[str, NDArray[np.generic]]:
        """Return the output that `answer.output` names; without it, every number and list that the JSON has."""
        _, _, body = answer.partition(b"\r\n\r\n")
        try:
            found = json.loads(body)
        except ValueError as error:
            raise TargetError(f"target.answer: an answer is no JSON ({error}): {body[:100]!r}") from None
        name = self._answer.output
        if name is not None:
            return {name: _array(_inside(found, name), name)}
        if not isinstance(found, dict):
            return {"answer": _array(found, "answer")}
        numbers = {key: value for key, value in found.items() if isinstance(value, int | float | list)}
        if not numbers:
            raise TargetError(f"target.answer.output: the answer has no number or list; it has {', '.join(found)}")
        return {key: _array(value, key) for key, value in numbers.items()}

    def _templates(self) -> dict[str, Template]:
        headers = {f"target.request.headers.{name}": template for name, template in self._headers.items()}
        body = {} if self._body is None else {"target.request.body": self._body}
        return {"target.request.path": self._path, **headers, **body}

    def _made(
        self, row: Mapping[str, object], values: Config, environment: Mapping[str, str], at: Address | None = None
    ) -> tuple[str, bytes]:
        """Return head and body of one request."""
        filling = {**values, **row, "inputs": row, "env": environment}
        texts = {place: _filled(template, place, filling) for place, template in self._templates().items()}
        body = texts.pop("target.request.body", "").encode()
        path = _on_a_line(texts.pop("target.request.path"), "target.request.path")
        if not path.startswith("/") or " " in path or not path.isascii():
            raise TargetError(f"target.request.path: not a path: {path!r}; the filter `urlencode` makes one")
        lines = [f"{self._method} {(at.prefix if at else '') + path} HTTP/1.1", f"Host: {at.authority if at else ''}"]
        lines += [f"{place.rpartition('.')[2]}: {_on_a_line(text, place)}" for place, text in texts.items()]
        lines += [f"Content-Length: {len(body)}"] if body or self._body is not None else []
        return "".join(f"{line}\r\n" for line in [*lines, ""]), body


def _filled(template: Template, place: str, filling: Mapping[str, object]) -> str:
    try:
        return template.render(filling)
    except BadTemplate as error:
        line = f"line {error.line}: " if error.line and "\n" in template.text.strip() else ""
        raise TargetError(f"{place}: {line}{error.message}") from None


def _on_a_line(text: str, place: str) -> str:
    """Return what is written into a request's head. Raises TargetError for what would break it."""
    if any(ord(character) < 32 or ord(character) > 255 for character in text):
        raise TargetError(f"{place}: must be one line of plain text, but is {text!r}")
    return text


def _require_json(body: bytes) -> None:
    try:
        json.loads(body)
    except ValueError as error:
        raise TargetError(
            f"target.request.body: not JSON, as `Content-Type` says ({error}): {body[:100]!r}; "
            "write inputs with the filter `tojson`"
        ) from None


def _texts(dataset: Dataset) -> dict[str, NDArray[np.generic]]:
    """Return the inputs that hold bytes as text."""
    found: dict[str, NDArray[np.generic]] = {}
    for name, array in dataset.inputs.items():
        if isinstance(array, np.ndarray) and array.dtype.kind == "S":
            try:
                found[name] = np.char.decode(array.astype(np.bytes_), "utf-8")
            except UnicodeDecodeError as error:
                raise TargetError(f"input {name!r} holds bytes that are no text in UTF-8 ({error.reason})") from None
    return found


def _row(dataset: Dataset, index: int, texts: Mapping[str, NDArray[np.generic]]) -> dict[str, object]:
    """Return the inputs of an item as numbers, texts and nested lists of them."""
    return {name: texts.get(name, array)[index].tolist() for name, array in dataset.inputs.items()}


def _inside(found: object, path: str) -> object:
    """Return what stands at a JSON pointer, or at keys and indices with dots between them."""
    if isinstance(found, dict) and path in found:
        return found[path]
    pointer = [part.replace("~1", "/").replace("~0", "~") for part in path[1:].split("/")]
    for part in pointer if path.startswith("/") else path.split("."):
        if isinstance(found, dict) and part in found:
            found = found[part]
        elif isinstance(found, list) and part.isdigit() and int(part) < len(found):
            found = found[int(part)]
        else:
            has = ", ".join(found) if isinstance(found, dict) else f"{found!r:.60}"
            raise TargetError(f"target.answer.output: no {part!r} of {path!r} in the answer; there is: {has}")
    return found


def _array(value: object, name: str) -> NDArray[np.generic]:
    try:
        array: NDArray[np.generic] = np.atleast_1d(np.asarray(value))
    except ValueError:  # lists of different lengths
        array = np.array([], dtype=np.object_)
    if array.dtype.kind not in "biuf" or array.size == 0:
        raise TargetError(f"target.answer.output: {name!r} is no number and no list of numbers, but {value!r:.60}")
    return array
