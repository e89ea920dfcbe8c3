"""The vLLM target on the real vLLM: what the contract does not ask for."""

import os
import signal
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from targets.base import ConfigRefused, Deployment, Outcome, TargetError, difference, metric_values
from targets.probe import failure_of
from targets.vllm.target import VLLMTarget
from tests.support.load_runs import closed, outcomes, plan, run
from tests.vllm.conftest import MODEL_VARIABLE, MakeVLLM, some_prompts
from tuner.records import Records
from workloads.requests import Prompts

pytestmark = pytest.mark.vllm
SPECULATIVE = {"plain": {}, "ngram": {"method": "ngram", "num_speculative_tokens": 3, "prompt_lookup_max": 3}}
PATIENCE_NS = 60 * 10**9


def loaded(deployment: Deployment, prompts: Prompts, folder: Path, total: int, at_once: int = 8) -> Records:
    """Send prompts in turn, as a measurement does, and return what was recorded."""
    endpoint = deployment.endpoint(prompts)
    made = plan(
        endpoint.port,
        closed(at_once, len(prompts), total),
        folder,
        list(endpoint.requests),
        judge=endpoint.judge,
        tokens=endpoint.tokens,
        timeout_ns=PATIENCE_NS,
        window_ns=PATIENCE_NS,
    )
    return run(made)[1]


def started(target: VLLMTarget) -> VLLMTarget:
    target.start()
    return target


def test_every_token_of_a_stream_is_counted_and_vllm_counts_the_same(make_vllm: MakeVLLM, tmp_path: Path) -> None:
    target = started(make_vllm())
    deployment, prompts = target.deploy(target.user_config(), "one"), some_prompts(6, tokens=24)
    before = deployment.statistics()()
    records = loaded(deployment, prompts, tmp_path, total=24)
    between = deployment.statistics()()
    after = deployment.statistics()()
    assert outcomes(records) == {Outcome.OK}
    assert set(records.columns["tokens"].tolist()) == {24}
    stats = difference(before, after, [between])
    assert (stats.requests, stats.failures) == (24, 0)
    assert set(stats.mean_s) == {"queue", "prefill", "decode"}
    values = metric_values(stats, target.metrics())
    assert set(values) == {metric.name for metric in target.metrics()} - {"draft_acceptance_rate"}
    assert values["tokens_per_step"] > 1, "sequences are decoded together"
    assert values["preemptions"] == 0


def test_a_chat_is_answered_and_its_first_event_is_no_token(make_vllm: MakeVLLM, tmp_path: Path) -> None:
    target = started(make_vllm(endpoint="chat"))
    deployment = target.deploy(target.user_config(), "one")
    texts = Prompts(["Tell me of the sea.", "Und nun auf Deutsch: ä, ö, ü."], np.array([5, 9]))
    records = loaded(deployment, texts, tmp_path, total=4, at_once=2)
    assert outcomes(records) == {Outcome.OK}
    assert sorted(records.columns["tokens"].tolist()) == [5, 5, 9, 9]


def test_prompts_that_begin_alike_are_found_in_the_prefix_cache(make_vllm: MakeVLLM, tmp_path: Path) -> None:
    target = started(make_vllm())
    deployment = target.deploy({**target.user_config(), "enable_prefix_caching": True}, "one")
    alike = Prompts([[*range(300, 700), last] for last in range(8)], np.full(8, 4))
    before = deployment.statistics()()
    assert outcomes(loaded(deployment, alike, tmp_path, total=8, at_once=1)) == {Outcome.OK}
    values = metric_values(difference(before, deployment.statistics()()), target.metrics())
    assert 0.5 < values["prefix_cache_hit_rate"] < 1


def test_an_answer_that_vllm_fails_in_the_stream_is_a_failure(make_vllm: MakeVLLM, tmp_path: Path) -> None:
    # vLLM answers with status 200, an event that says what is wrong, and the event that ends a stream.
    target = started(make_vllm())
    deployment = target.deploy(target.user_config(), "one")
    wrong = Prompts([[5, 999_999]], np.array([4]))
    assert outcomes(loaded(deployment, wrong, tmp_path, total=2, at_once=1)) == {Outcome.HTTP_ERROR}


def test_speculation_is_applied_and_exported_by_its_name(make_vllm: MakeVLLM, tmp_path: Path) -> None:
    target = started(make_vllm(speculative=SPECULATIVE))
    assert target.user_config()["speculative_config"] == "plain"
    wanted = {**target.user_config(), "speculative_config": "ngram"}
    deployment = target.deploy(wanted, "one")
    repeating = Prompts([[300, 301, 302, 303] * 20], np.array([32]))
    before = deployment.statistics()()
    records = loaded(deployment, repeating, tmp_path, total=4, at_once=1)
    assert set(records.columns["tokens"].tolist()) == {32}
    assert difference(before, deployment.statistics()()).grown["drafted"] > 0
    (text,) = target.export(wanted).files.values()
    assert "speculative-config:\n  method: ngram\n" in text


def test_deployments_stand_side_by_side_where_the_study_says_so(make_vllm: MakeVLLM) -> None:
    target = started(make_vllm(side_by_side=True))
    assert target.side_by_side
    first = target.deploy(target.user_config(), "first")
    second = target.deploy({**target.user_config(), "max_num_seqs": 8}, "second")
    endpoints = [one.endpoint(some_prompts()) for one in (first, second)]
    assert endpoints[0].port != endpoints[1].port
    assert [failure_of(one, 30) for one in endpoints] == ["", ""]
    first.retire()
    assert failure_of(endpoints[0], 30) != ""
    assert failure_of(endpoints[1], 30) == ""
    assert target.alive()


def test_a_study_without_a_file_gets_a_new_one_that_vllm_starts_with(make_vllm: MakeVLLM) -> None:
    target = started(make_vllm(config=None, served_model_name=None, args=["--seed=3"]))
    assert target.user_config() == {}
    export = target.export({"max_num_seqs": 2, "enforce_eager": True})
    target.verify(export, some_prompts())
    (text,) = export.files.values()
    model = os.environ[MODEL_VARIABLE]
    assert text == (f"# vllm serve --config vllm.yaml --seed=3\nmodel: {model}\nmax-num-seqs: 2\nenforce-eager: true\n")


def test_a_value_that_this_version_does_not_know_is_refused_before_anything_is_started(make_vllm: MakeVLLM) -> None:
    target = started(make_vllm())
    with pytest.raises(ConfigRefused, match=r"vLLM \d+\..* does not know `kv_cache_dtype` fp3; it knows auto, "):
        target.deploy({**target.user_config(), "kv_cache_dtype": "fp3"}, "one")


def test_a_key_that_this_version_does_not_know_ends_the_start(make_vllm: MakeVLLM, tmp_path: Path) -> None:
    (tmp_path / "vllm.yaml").write_text("max-num-seqs: 4\nmax_num_sequences: 4\n")
    with pytest.raises(TargetError, match=r"vllm\.yaml:2: max_num_sequences: vLLM \d+\..* has no option"):
        make_vllm().start()


def test_a_server_that_was_killed_leaves_no_shared_memory(make_vllm: MakeVLLM) -> None:
    def segments() -> set[str]:
        return {path.name for path in Path("/dev/shm").glob("psm_*")}

    before = segments()
    target = started(make_vllm())
    deployment = target.deploy(target.user_config(), "one")
    assert segments() - before
    for pid in deployment.processes():
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    target.stop()
    assert not segments() - before
