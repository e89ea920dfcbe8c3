"""How requests get to a model that is loaded, and its answers back: in the request, or through shared memory."""

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray
from tritonclient.grpc import model_config_pb2

from targets.base import Endpoint, TargetError, Value
from targets.common import Encoded, a_dataset
from targets.kserve import wire_grpc, wire_http, wire_json
from targets.kserve.wire import Place, Request, Site, Tensor, Wanted, Wire, raw, requests_of
from targets.probe import failure_of
from targets.triton import wire_stream
from targets.triton.cuda import Cuda
from targets.triton.memory import CudaMemory, Memory, SystemMemory
from targets.triton.requesting import RequestOptions
from targets.triton.server import TritonServer
from targets.triton.wire import check_inputs, described, in_types_of, output_bytes
from workloads.datatypes import NUMPY, calculable
from workloads.requests import Requests

US_PER_S = 1_000_000
SOURCES = 16
"""Sources of requests that have shared memory at once; a workload asks for those of all its classes."""


class Memories:
    """Makes shared memory of the kinds that a study asks for. CUDA is needed once a server runs, not for an export."""

    def __init__(self, options: RequestOptions) -> None:
        self._numbers = itertools.count()
        self._kinds, self._device = options.memories, options.cuda_device
        self._cuda: Cuda | None = None

    def check(self) -> None:
        """Check that this machine has such memory. Raises TargetError with the reason where it does not."""
        if "cuda_shared_memory" in self._kinds:
            self._of_gpu()

    def _of_gpu(self) -> Cuda:
        if self._cuda is None:
            found = Cuda()
            if self._device >= found.devices:
                raise TargetError(f"target.cuda_device: there is no GPU {self._device}, of {found.devices}")
            self._cuda = found
        return self._cuda

    def made(self, server: TritonServer, kind: str) -> Memory | None:
        """Return a region for one source of requests; None for tensors that do not travel in one."""
        name = f"{server.shm_prefix}tensors{next(self._numbers)}"
        if kind == "shared_memory":
            return SystemMemory(server, name)
        if kind == "cuda_shared_memory":
            return CudaMemory(server, name, self._of_gpu(), self._device)
        return None


@dataclass
class _Shared:
    """The shared memory of one source of requests.

    Attributes:
        number: of the source, the first part of its requests' ids.
        inputs: where its inputs lie, None: in the requests.
        outputs: where outputs are put, None: into the answers.
        slots: output -> place, for each request. Each has its own, so that answers do not overwrite those of others.
    """

    number: int
    inputs: Memory | None
    outputs: Memory | None
    slots: list[dict[str, Place]] = field(default_factory=list)

    def placed(self, request: Request, sizes: Mapping[str, int], rows: int) -> Request:
        """Return a request with its tensors where they belong.

        Args:
            request: with its values.
            sizes: output -> bytes of one row.
            rows: of the request.
        """
        if self.inputs is not None:
            request = replace(request, inputs=[_put(tensor, self.inputs) for tensor in request.inputs])
        if self.outputs is None:
            return request
        slot = {one.name: self.outputs.reserve(sizes[one.name] * rows) for one in request.outputs}
        self.slots.append(slot)
        wanted = [Wanted(name, place) for name, place in slot.items()]
        return replace(request, outputs=wanted, id=f"{self.number}.{len(self.slots) - 1}")

    def memories(self) -> Iterator[Memory]:
        """Yield the regions that there are."""
        yield from (memory for memory in (self.inputs, self.outputs) if memory is not None)


class Transport:
    """The way to one model that is loaded.

    Args:
        options: of the requests.
        config: of the model.
        name: that requests ask for it by.
        site: where they go.
        made: kind of memory -> a region of it for one source of requests, None for tensors that travel otherwise.
    """

    def __init__(
        self,
        options: RequestOptions,
        config: model_config_pb2.ModelConfig,
        name: str,
        site: Site,
        made: Callable[[str], Memory | None],
    ) -> None:
        self._options, self._config, self._site, self._made = options, config, site, made
        self._model = described(config, name)
        self._wire = _wire(options)
        self._parameters = parameters_of(options)
        self._sizes = output_bytes(config, name) if options.outputs != "inline" else {}
        self._numbers = itertools.count()
        self._shared: dict[int, tuple[Endpoint, _Shared]] = {}
        self.endpoint = Encoded(self._encode, SOURCES, self._release) if options.memories else Encoded(self._encode)
        """Encode requests for the model, once."""

    def _encode(self, requests: Requests) -> Endpoint:
        dataset = in_types_of(a_dataset(requests, self._model.inputs), self._config)
        check_inputs(dataset, self._config)
        asked = requests_of(dataset, self._model, self._parameters)
        if not self._options.memories:
            return self._wire.encoded(asked, self._model, self._site)
        inputs, outputs = self._made(self._options.tensors), self._made(self._options.outputs)
        shared = _Shared(next(self._numbers), inputs, outputs)
        try:
            endpoint = self._wire.encoded(self._placed(asked, shared), self._model, self._site)
            for memory in shared.memories():
                memory.register()
        except BaseException:
            _give_back(shared)
            raise
        self._shared[id(endpoint)] = endpoint, shared
        return endpoint

    def _placed(self, asked: Iterable[Request], shared: _Shared) -> Iterator[Request]:
        for request in asked:
            rows = request.inputs[0].array.shape[0] if self._model.batched and request.inputs else 1
            yield shared.placed(request, self._sizes, rows)

    def outputs(self, answer: bytes) -> Mapping[str, NDArray[np.generic]]:
        """Decode one answer that was ok: a complete HTTP answer, or the message of a gRPC answer."""
        if self._options.outputs == "inline":
            return self._wire.decode(answer, self._model.outputs)
        said = self._wire.said(answer)
        number, _, index = said.id.partition(".")
        shared = next(one for _, one in self._shared.values() if one.number == int(number))
        assert shared.outputs is not None, "it was asked for"
        slot = shared.slots[int(index)]
        return {
            name: calculable(np.frombuffer(shared.outputs.read(slot[name]), NUMPY[datatype]).reshape(shape))
            for name, (datatype, shape) in said.outputs.items()
        }

    def ask_once(self, requests: Requests, timeout_s: float) -> None:
        """Send the first item and check that it is answered in time. Raises TargetError with what came instead."""
        if len(requests) and (failure := failure_of(self.endpoint(requests), timeout_s)):
            raise TargetError(f"{self._model.name}: a request to the loaded model failed: {failure}")

    def _release(self, endpoint: Endpoint) -> None:
        _, shared = self._shared.pop(id(endpoint))
        _give_back(shared)

    def close(self) -> None:
        """Give back all shared memory."""
        for endpoint, _ in list(self._shared.values()):
            self._release(endpoint)


def check_model(options: RequestOptions, config: model_config_pb2.ModelConfig, name: str) -> None:
    """Check that a model can be asked in the way that a study wants.

    Raises:
        TargetError: it gives any number of answers and is not asked over a stream, or nobody knows the size of an
            output that is to be in shared memory.
    """
    if config.model_transaction_policy.decoupled and not options.streaming:
        raise TargetError(
            f"target.model: {name!r} is decoupled: it may give any number of answers to a request, which only a stream "
            "can carry; give `protocol: grpc` and `streaming: true`"
        )
    if options.outputs != "inline":
        output_bytes(config, name)


def _give_back(shared: _Shared) -> None:
    for memory in shared.memories():
        memory.release()


def _put(tensor: Tensor, memory: Memory) -> Tensor:
    """Place a tensor's values; one without any stays in the request."""
    data = raw(tensor)
    return replace(tensor, place=memory.put(data)) if data else tensor


def _wire(options: RequestOptions) -> Wire:
    if options.streaming:
        return wire_stream
    if options.protocol == "grpc":
        return wire_grpc
    return wire_json if options.tensors == "json" else wire_http


def parameters_of(options: RequestOptions) -> Mapping[str, Value]:
    """Return what goes along with every request."""
    timeout = {} if options.queue_timeout is None else {"timeout": max(1, round(options.queue_timeout * US_PER_S))}
    return {**timeout, **options.parameters}


def shown(options: RequestOptions) -> Sequence[str]:
    """Return how tensors travel, in a few words, for the environment that stands beside every number."""
    how = [options.protocol, f"{options.tensors.replace('_', ' ')} tensors"]
    if options.outputs != "inline":
        how.append(f"outputs in {options.outputs.replace('_', ' ')}")
    return [*how, *(["streamed"] if options.streaming else [])]
