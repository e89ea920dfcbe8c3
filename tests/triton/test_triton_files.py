"""Configurations as people write them, tuned and written, are loaded by a real Triton as they are."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from tritonclient import http
from tritonclient.utils import InferenceServerException

from targets.base import ConfigRefused, TargetError
from targets.triton.config import ModelConfig, from_loaded, knob_values, mismatches, parse
from targets.triton.server import TritonServer
from tests.conftest import DIGITS, MakeTriton
from tests.support.pbtxt_files import BY_NAME, FILES, Written
from tests.support.targets import triton_target

pytestmark = pytest.mark.long

MODEL = '''
import json
import triton_python_backend_utils as pb_utils

class TritonPythonModel:
    """Answers what it is asked."""

    def initialize(self, args):
        config = json.loads(args["model_config"])
        self.output = config["output"][0]["name"]
        self.decoupled = config.get("model_transaction_policy", {}).get("decoupled", False)

    def execute(self, requests):
        answers = []
        for request in requests:
            rows = pb_utils.get_input_tensor_by_name(request, "X").as_numpy()
            answer = pb_utils.InferenceResponse([pb_utils.Tensor(self.output, rows)])
            if self.decoupled:
                request.get_response_sender().send(answer, flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)
            answers.append(answer)
        return None if self.decoupled else answers
'''
VERSIONS = {"version_policy": ("1", "2", "3")}
TOLD = {"sequence_direct", "sequence_oldest"}
SERVED = [one for one in FILES if one.served]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TritonServer]:
    """A Triton whose repository is filled by hand."""
    target = triton_target(tmp_path_factory.mktemp("files") / "log.txt", model="digits", repository=DIGITS / "models")
    target.start()
    yield target._running()
    target.stop()


def put(repository: Path, name: str, text: str, versions: tuple[str, ...] = ("1",)) -> str:
    """Write a model whose code is the same for all; return its name."""
    parsed = parse(text, Path(name))
    folder = repository / (parsed.name or name)
    folder.mkdir(exist_ok=True)
    (folder / "config.pbtxt").write_bytes(text.encode())
    for version in versions:
        (folder / version).mkdir(exist_ok=True)
        if not parsed.HasField("ensemble_scheduling"):
            (folder / version / "model.py").write_text(MODEL)
    return folder.name


def answered(server: TritonServer, model: str, config: ModelConfig, **options: object) -> np.ndarray:
    shape = [1, *config.input[0].dims]
    rows = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    tensor = http.InferInput("X", shape, "FP32")
    tensor.set_data_from_numpy(rows)
    answer = server.ask(lambda client: client.infer(model, [tensor], **options))
    np.testing.assert_array_equal(answer.as_numpy(config.output[0].name), rows)
    return rows


@pytest.mark.parametrize("written", SERVED, ids=lambda one: one.name)
def test_a_tuned_file_is_loaded_as_it_is_and_serves(written: Written, server: TritonServer) -> None:
    if written.name == "ensemble":
        for part in ("twice", "commented"):
            put(server.repository, part, BY_NAME[part].tuned)
    name = put(server.repository, written.name, written.tuned, VERSIONS.get(written.name, ("1",)))
    wanted = parse(written.tuned, Path(name))
    server.load(name)
    loaded = from_loaded(server.ask(lambda client: client.get_model_config(name)))
    assert list(mismatches(wanted, loaded)) == []
    assert {knob: knob_values(loaded)[knob] for knob in written.wanted} == written.wanted
    if written.name in TOLD:
        answered(server, name, wanted, sequence_id=7, sequence_start=True, sequence_end=True)
    elif not wanted.model_transaction_policy.decoupled:  # its answers are streamed over gRPC alone
        answered(server, name, wanted)
    server.ask(lambda client: client.unload_model(name, unload_dependents=True))


def test_a_field_that_the_server_does_not_know_is_refused_by_the_server(server: TritonServer) -> None:
    name = put(server.repository, "newer_server", BY_NAME["newer_server"].tuned)
    with pytest.raises(ConfigRefused, match="failed to read text proto"):
        server.load(name)
    shutil.rmtree(server.repository / name)


@pytest.mark.parametrize("text", ["input [ { name: 'X' } { name: 'Z' } ]", "max_batch_size: 8 max_batch_size: 9"])
def test_what_is_no_configuration_to_us_is_none_to_triton(text: str, server: TritonServer) -> None:
    with pytest.raises(TargetError):
        parse(text, Path("config.pbtxt"))
    folder = server.repository / "broken"
    (folder / "1").mkdir(parents=True, exist_ok=True)
    (folder / "1" / "model.py").write_text(MODEL)
    (folder / "config.pbtxt").write_text(text)
    with pytest.raises((ConfigRefused, InferenceServerException)):
        server.load("broken")
    shutil.rmtree(folder)


def test_a_configuration_with_fields_that_we_do_not_know_is_deployed_from_its_text(
    make_triton: MakeTriton, tmp_path: Path
) -> None:
    """A server that knows them gets them; this one does not, and says so instead of measuring without them."""
    put(tmp_path, "newer_server", BY_NAME["newer_server"].text)
    target = make_triton(model="newer_server", repository=tmp_path, variants={})
    target.start()
    with pytest.raises(ConfigRefused, match="newer server may know: `prefill_offload`"):
        target.deploy(target.user_config(), "candidate")
    staged = (target._running().repository / "newer_server__candidate" / "config.pbtxt").read_text()
    assert 'name: "newer_server__candidate"' in staged
    assert 'numa_affinity: "strict"' in staged
