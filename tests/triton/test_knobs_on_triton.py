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
    {"priority_levels": 4, "default_priority_level": 3, "level_1_timeout_action": "delay",
     "level_1_default_timeout": 2.0, "level_2_allow_timeout_override": True, "level_3_max_queue_size": 64,
     "level_4_default_timeout": 0.5, "level_4_max_queue_size": 8},
    {"timeout_action": "delay", "default_timeout": 2.0},
    {"allow_timeout_override": True},
    {"max_queue_size": 64},
    {"eager_batching": True},
    {"instance_kind": "auto"},
    {"instance_kind": "model"},
    {"rate_limiter_priority": 2},
    {"response_cache": True},
    {"warmup": "zero"},
    {"warmup": "random", "warmup_batch_size": 8, "warmup_count": 3},
    {"input_pinned_memory": False, "output_pinned_memory": False, "gather_kernel_buffer_threshold": 4},
)  # fmt: skip
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


def test_the_policy_of_a_level_is_that_of_its_requests_alone(
    make_triton: MakeTriton, repository: Path, digits: Dataset
) -> None:
    """The file has a policy for the first level; the second one is given a policy of its own beside it."""
    path = repository / "digits" / "config.pbtxt"
    own = """dynamic_batching {
  priority_levels: 2
  default_priority_level: 1
  default_queue_policy { default_timeout_microseconds: 3000000 }
  priority_queue_policy { key: 1 value { max_queue_size: 32 } }  # the urgent ones
}"""
    path.write_text(path.read_text().replace("dynamic_batching { }", own))
    change: Config = {"level_1_max_queue_size": 16, "level_2_timeout_action": "delay"}
    target = make_triton(repository=repository)
    target.expect(list(change))
    target.start()
    assert target.user_config().items() >= {"level_1_max_queue_size": 32, "level_2_timeout_action": "reject"}.items()
    config = {**target.user_config(), **change}
    deployment = target.deploy(config, "levels")
    deployment.ask_once(digits)
    document = json.loads(target._running().get(f"/v2/models/{deployment._name}/config"))
    policies = from_loaded(document).dynamic_batching.priority_queue_policy
    said = {level: (one.timeout_action, one.default_timeout_microseconds, one.max_queue_size)
            for level, one in policies.items()}  # fmt: skip
    assert said == {1: (0, 0, 16), 2: (1, 3_000_000, 0)}
    export = target.export(config)
    (text,) = export.files.values()
    assert "{ key: 1 value { max_queue_size: 16 } }  # the urgent ones" in text
    target.verify(export, digits)
    with pytest.raises(ConfigRefused, match=r"must have priority level in range \[1, 2\], but has 3"):
        target.deploy({**config, "level_3_max_queue_size": 4}, "levels")


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
    target.expect([one.name for one in CATALOGUE if one.field.startswith("sequence_batching")])
    assert target.user_config()["sequence_strategy"] == "direct"
    target.start()
    own = target.user_config()
    waiting: Config = {"sequence_queue_delay": 0.002, "minimum_slot_utilization": 0.7, "max_sequence_idle": 2.0}
    target.deploy({**own, **waiting}, "turns")
    assert loaded_values(target, "digits__turns", waiting) == waiting
    mark = target._log.mark()
    with pytest.raises(ConfigRefused, match="will be ignored unless minimum_slot_utilization is set to a non-zero"):
        target.deploy({**own, "sequence_queue_delay": 0.002}, "turns")
    assert loads_since(target, mark) == [], "the server was not asked"
    first: Config = {"sequence_strategy": "oldest", "max_candidate_sequences": 4}
    oldest = {**own, **first}
    target.deploy(oldest, "turns")
    change: Config = {**first, "sequence_preferred_batch_size": "2,4", "sequence_preserve_ordering": True,
                      "sequence_queue_delay": 0.003}  # fmt: skip
    target.deploy({**oldest, **change}, "turns")
    assert loaded_values(target, "digits__turns", change) == change
    back: Config = {**first, "sequence_preferred_batch_size": "none", "sequence_preserve_ordering": False}
    target.deploy({**oldest, **back}, "turns")
    (text,) = target.export({**oldest, **change}).files.values()
    assert "# turns" in text
    with pytest.raises(ConfigRefused, match="does not support a model with a sequence batching scheduler"):
        target.deploy({**target.user_config(), "response_cache": True}, "turns")


def test_a_refused_knob_leaves_the_server_and_what_it_serves_alone(server: TritonTarget, digits: Dataset) -> None:
    mark = server._log.mark()
    kept = server.deploy({**USER, "preferred_batch_size": "4"}, "kept")
    assert loads_since(server, mark), "this one the server was asked for"
    mark = server._log.mark()
    for change in (
        {"preferred_batch_size": "16"},
        {"default_priority_level": 1},
        {"level_2_max_queue_size": 4},
        {"gpus": "0"},
    ):
        with pytest.raises(ConfigRefused):
            server.deploy({**USER, **change}, "kept")
    assert loads_since(server, mark) == [], "the server was not asked"
    kept.ask_once(digits)
    kept.retire()


def test_what_an_instance_takes_of_a_resource_is_within_what_the_server_has(
    make_triton: MakeTriton, repository: Path, digits: Dataset
) -> None:
    path = repository / "digits" / "config.pbtxt"
    limited = 'kind: KIND_CPU\n    rate_limiter { resources { name: "R" count: 1 } }  # a half'
    path.write_text(path.read_text().replace("kind: KIND_CPU", limited))
    target = make_triton(repository=repository, flags={"rate-limit-resource": ["R:4", "S:1:0"]})
    target.expect(["rate_limiter_count", "rate_limiter_priority"])
    target.start()
    own = target.user_config()
    assert (own["rate_limiter_count"], own["rate_limiter_priority"]) == (1, 1)
    change: Config = {"rate_limiter_count": 4, "rate_limiter_priority": 3}
    deployment = target.deploy({**own, **change}, "taking")
    deployment.ask_once(digits)
    assert loaded_values(target, "digits__taking", change) == change
    mark = target._log.mark()
    with pytest.raises(
        ConfigRefused, match="for 'R' is limited to 4 by --rate-limit-resource, but an instance takes 5"
    ):
        target.deploy({**own, "rate_limiter_count": 5}, "taking")
    assert loads_since(target, mark) == [], "the server was not asked"
    deployment.ask_once(digits)
    export = target.export({**own, **change})
    text = next(text for path, text in export.files.items() if path != FILE)
    assert 'rate_limiter { resources { name: "R" count: 4 } priority: 3 }  # a half' in text
    assert "--rate-limit-resource=R:4" in export.files[FILE]
    target.verify(export, digits)


def test_a_server_without_the_flags_has_neither_cache_nor_rate_limiter(make_triton: MakeTriton) -> None:
    target = make_triton()
    target.start()
    for change, flag in (({"response_cache": True}, "--cache-config"), ({"rate_limiter_priority": 2}, "--rate-limit")):
        with pytest.raises(ConfigRefused, match=f"needs a server that was started with {flag}"):
            target.deploy({**USER, **change}, "x")
