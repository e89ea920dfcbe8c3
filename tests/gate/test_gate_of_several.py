"""Which rules there are where several models share a server, and what belongs to a workload."""

from pathlib import Path

import pytest

from tuner.gate import asked
from tuner.gate.traffic import earlier_hash, traffic_hash
from tuner.study.load import Study, load_study
from tuner.study.source import StudyError

SEVERAL = """
study: pair
target: {kind: triton, repository: models, models: {digits: {}, language: {}}}
workloads:
  shop:
    model: digits
    arrival: {process: closed, concurrency: 4}
    requests: {source: tensors}
    slo: {p99: 5 ms}
  chat:
    model: language
    arrival: {process: poisson, rate: 50/s}
    mix:
      short: {requests: {source: tensors}, slo: {p95: 80 ms}}
      long: {requests: {source: tensors}}
space: {models: {digits: {instances: 1}}}
slo: {p99: 100 ms}
objectives: [maximize total_throughput]
gate:
  throughput: -5%
  memory: +10%
  energy: +10%
  cpu: +10%
  cold_start: +50%
  workloads:
    chat: {throughput: -20%}
    chat.short: {p95: +10%}
"""
ONE_MODEL = (
    ("models: {digits: {}, language: {}}", "model: digits"),
    ("    model: digits\n", ""),
    ("    model: language\n", ""),
    (", concurrency: 4}", "}"),
    ("{models: {digits: {instances: 1}}}", "{instances: 1, concurrency: 4}"),
    ("total_throughput", "throughput"),
)


def study(folder: Path, *replaced: tuple[str, str]) -> Study:
    text = SEVERAL
    for old, new in replaced:
        assert old in text
        text = text.replace(old, new)
    return load_study(folder / "pair.yaml", text=text)


def rules(made: Study) -> dict[str, set[str]]:
    return {name: set(limits) for name, limits in asked.limits(made).items()}


OF_SERVER = {"memory", "energy", "cpu"}


def test_every_model_has_a_cold_start_and_what_the_server_uses_is_judged_once(tmp_path: Path) -> None:
    made = study(tmp_path)
    assert rules(made) == {
        "shop": {"throughput", "cold_start", *OF_SERVER},
        "chat": {"throughput", "cold_start"},
        "chat.short": {"p95"},
    }
    assert [asked.limits(made)[name]["throughput"] for name in ("shop", "chat")] == [0.05, 0.2]


def test_of_one_model_the_first_workload_is_cold_and_each_has_what_the_server_uses_for_it(tmp_path: Path) -> None:
    assert rules(study(tmp_path, *ONE_MODEL)) == {
        "shop": {"throughput", "cold_start", *OF_SERVER},
        "chat": {"throughput", *OF_SERVER},
        "chat.short": {"p95"},
    }


TOGETHER = "what the server uses is told of all requests together"


@pytest.mark.parametrize(
    ("replaced", "name", "rule", "why", "whose"),
    [
        ((), "chat", "memory", TOGETHER, "shop"),
        ((), "chat.long", "cpu", TOGETHER, "shop"),
        ((), "chat.long", "cold_start", "a cold start is told of a whole workload", "chat"),
        (ONE_MODEL, "chat", "cold_start", "a server is cold for the first workload only", "shop"),
        (ONE_MODEL, "chat.long", "energy", TOGETHER, "chat"),
    ],
)
def test_a_rule_that_another_workload_tells_of_is_refused_with_its_name(
    replaced: tuple[tuple[str, str], ...], name: str, rule: str, why: str, whose: str, tmp_path: Path
) -> None:
    made = study(tmp_path, *replaced, ("chat: {throughput: -20%}", f"{name}: {{{rule}: +5%}}"))
    with pytest.raises(StudyError) as refused:
        asked.check(made)
    assert str(refused.value).partition("gate.workloads.")[2] == f"{name}.{rule}: {why}; give the rule to {whose}"


def test_rules_where_they_are_told_are_taken(tmp_path: Path) -> None:
    given = "{cold_start: +5%, throughput: -1%}\n    shop: {memory: +5%, cpu: +5%, cold_start: +5%}"
    asked.check(study(tmp_path, ("{throughput: -20%}", given), ("  energy: +10%\n", "")))


def hashes(made: Study) -> dict[str, tuple[str, str]]:
    """What identifies each workload, today and in baselines of earlier versions."""
    return {name: (traffic_hash(one, Path), earlier_hash(one, [])) for name, one in made.spec.workloads.items()}


def test_a_workload_is_the_same_under_other_bounds_but_not_where_another_model_is_asked(tmp_path: Path) -> None:
    usual = hashes(study(tmp_path))
    bounds = (("slo: {p99: 5 ms}", "slo: {p99: 4 ms}"), ("slo: {p95: 80 ms}", "slo: {p95: 90 ms}"))
    assert hashes(study(tmp_path, *bounds)) == usual
    swap = (("model: digits", "model: x"), ("model: language", "model: digits"), ("model: x", "model: language"))
    swapped = study(tmp_path, *swap)
    assert all(not set(one) & set(usual[name]) for name, one in hashes(swapped).items())
    other = hashes(study(tmp_path, ("rate: 50/s", "rate: 60/s")))
    assert (other["shop"] == usual["shop"], other["chat"] == usual["chat"]) == (True, False)
