"""Triton's knobs on the real server: each is loaded, read back, and exported in a file that loads as it is."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from targets.base import Config, ConfigRefused
from targets.triton.config import from_loaded, knob_values
from targets.triton.flags import FILE
from targets.triton.knobs import CATALOGUE
from targets.triton.rules import CACHE_BYTES
from targets.triton.target import TritonTarget
from tests.conftest import DIGITS, VARIANTS, MakeTriton
from tests.support.targets import loads_since, triton_target
from tests.triton.test_triton_target import USER, settled
from workloads.requests import Dataset

pytestmark = pytest.mark.long

CHANGES: tuple[Config, ...] = (
    {"preferred_batch_size": "4,8"},
    {"preserve_ordering": True},
    {"priority_levels": 3, "default_priority_level": 2},
    {"timeout_action": "delay", "default_timeout": 2.0},
    {"allow_timeout_override": True},
    {"max_queue_size": 64},
    {"eager_batching": True},
    {"instance_kind": "auto"},
    {"instance_kind": "model"},
    {"rate_limiter_priority": 2},
    {"response_cache": True},
    {"warmup": "zero"},
    {"warmup": "random", "warmup_batch_size": 8},
    {"input_pinned_memory": False, "output_pinned_memory": False, "gather_kernel_buffer_threshold": 4},
)
TOGETHER: Config = {
    name: value for one in CHANGES for name, value in one.items() if name not in ("preserve_ordering", "instance_kind")
} | {"max_batch_size": 16, "max_queue_delay": 0.001, "instances": 2, "instance_kind": "model", "warmup_batch_size": 16}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TritonTarget]:
    """A Triton that was started for every knob."""
    log = tmp_path_factory.mktemp("knobs") / "log.txt"
    target = triton_target(log, model="digits", repository=DIGITS / "models", variants=VARIANTS)
    target.expect([one.name for one in CATALOGUE])
    target.start()
    yield target
    target.stop()


def loaded_values(target: TritonTarget, name: str, config: Config) -> Config:
    """Ask the server itself what is loaded, past the target's own reading."""
    document = json.loads(target._running().get(f"/v2/models/{name}/config"))
    return knob_values(from_loaded(document), config)


@pytest.mark.parametrize("change", CHANGES, ids=" ".join)
def test_a_knob_is_loaded_and_serves(change: Config, server: TritonTarget, digits: Dataset) -> None:
    deployment = server.deploy({**USER, **change}, "one")
    deployment.ask_once(digits)
    expected = {**change, **({"instance_kind": "cpu"} if change.get("instance_kind") == "auto" else {})}
    assert loaded_values(server, deployment._name, change) == expected
    deployment.retire()


def test_every_knob_together_is_loaded_exported_and_loaded_as_exported(server: TritonTarget, digits: Dataset) -> None:
    config = {**USER, **TOGETHER}
    deployment = server.deploy(config, "all")
    deployment.ask_once(digits)
    assert loaded_values(server, deployment._name, TOGETHER) == TOGETHER
    deployment.retire()
    export = server.export(config)
    (path,) = set(export.files) - {FILE}
    text, original = export.files[path], export.originals[path]
    assert export.files[FILE] == f"--cache-config=local,size={CACHE_BYTES}\n--rate-limit=execution_count\n"
    comments = [line.partition("#")[2] for line in original.splitlines() if "#" in line]
    assert [line.partition("#")[2] for line in text.splitlines() if "#" in line] == comments
    server.verify(export, digits)
    assert str(path) == "digits/config.pbtxt"


def test_the_way_back_is_loaded_over_the_values_before(server: TritonTarget, digits: Dataset) -> None:
    """A value that is Triton's default has to be read back too: a field of the one before must not be left."""
    changed: Config = {"preferred_batch_size": "4", "max_queue_size": 5, "response_cache": True, "warmup": "zero"}
    server.deploy({**USER, **changed}, "back")
    back: Config = {"preferred_batch_size": "none", "max_queue_size": 0, "response_cache": False, "warmup": "none"}
    deployment = server.deploy({**USER, **back}, "back")
    found = loaded_values(server, deployment._name, back)
    assert found == {**back, "preferred_batch_size": "8"}, "Triton adds the largest batch"
    deployment.ask_once(digits)
    deployment.retire()


def test_the_response_cache_answers_what_came_before(server: TritonTarget, digits: Dataset) -> None:
    deployment = server.deploy({**USER, "response_cache": True}, "cached")
    for _ in range(3):
        deployment.ask_once(digits)
    counters = settled(deployment, 3)
    assert (counters.requests, counters.executions) == (3, 1)
    deployment.retire()


def test_a_strategy_of_sequences_is_loaded_and_exported(make_triton: MakeTriton, repository: Path) -> None:
    path = repository / "digits" / "config.pbtxt"
    path.write_text(path.read_text().replace("dynamic_batching { }", "sequence_batching { direct { } }  # turns"))
    target = make_triton(repository=repository)
    target.expect(["sequence_strategy", "max_candidate_sequences"])
    assert target.user_config()["sequence_strategy"] == "direct"
    target.start()
    change: Config = {"sequence_strategy": "oldest", "max_candidate_sequences": 4}
    target.deploy({**target.user_config(), **change}, "turns")
    assert loaded_values(target, "digits__turns", change) == change
    (text,) = target.export({**target.user_config(), **change}).files.values()
    assert "# turns" in text
    with pytest.raises(ConfigRefused, match="does not support a model with a sequence batching scheduler"):
        target.deploy({**target.user_config(), "response_cache": True}, "turns")


def test_a_refused_knob_leaves_the_server_and_what_it_serves_alone(server: TritonTarget, digits: Dataset) -> None:
    mark = server._log.mark()
    kept = server.deploy({**USER, "preferred_batch_size": "4"}, "kept")
    assert loads_since(server, mark), "this one the server was asked for"
    mark = server._log.mark()
    for change in ({"preferred_batch_size": "16"}, {"default_priority_level": 1}, {"gpus": "0"}):
        with pytest.raises(ConfigRefused):
            server.deploy({**USER, **change}, "kept")
    assert loads_since(server, mark) == [], "the server was not asked"
    kept.ask_once(digits)
    kept.retire()


def test_a_server_without_the_flags_has_neither_cache_nor_rate_limiter(make_triton: MakeTriton) -> None:
    target = make_triton()
    target.start()
    for change, flag in (({"response_cache": True}, "--cache-config"), ({"rate_limiter_priority": 2}, "--rate-limit")):
        with pytest.raises(ConfigRefused, match=f"needs a server that was started with {flag}"):
            target.deploy({**USER, **change}, "x")
