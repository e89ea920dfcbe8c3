"""The study file: read, validated, overridden; every error points at its line."""

import os
from pathlib import Path
from typing import Any

import pytest

from tuner.slo import Slo
from tuner.study.arrivals import BurstySpec, ClosedSpec, ConstantSpec, PoissonSpec
from tuner.study.load import Study, load_study
from tuner.study.source import StudyError
from tuner.study.spec import IsolationSpec
from tuner.wiring import prepare

STUDY = """\
# A study
study: digits
target:
  kind: triton
  model: digits
  repository: models
workloads:
  steady:
    arrival: {process: closed}
    requests: {source: dataset, path: test.npz}
  bursty:
    arrival:
      process: bursty
      burst_size: 10
      pause: 20 ms
    requests: {source: dataset, path: test.npz}
space:
  max_batch_size: {low: 1, high: 64, scale: log2}
  concurrency: [1, 2, 4]
slo:
  p99: 10 ms
  error_rate: 0.1%
objectives: [maximize throughput, minimize bursty.p99]
search:
  budget: {trials: 12, time: 2 min}
"""
OVERRIDES = ("slo.p99=5 ms", "search.budget.trials=3")


def written(folder: Path, text: str = STUDY) -> Path:
    path = folder / "study.yaml"
    path.write_text(text)
    return path


def load(folder: Path, *overrides: str, text: str = STUDY) -> Study:
    return load_study(written(folder, text), overrides)


def failure(folder: Path, *overrides: str, text: str = STUDY) -> str:
    with pytest.raises(StudyError) as error:
        load(folder, *overrides, text=text)
    return str(error.value).replace(f"{folder}/", "")


def edited(old: str, new: str) -> str:
    assert STUDY.count(old) == 1
    return STUDY.replace(old, new)


# What is read.


def test_quantities_become_seconds_and_fractions(tmp_path: Path) -> None:
    spec = load(tmp_path).spec
    assert spec.slo.bounds() == {"p99": 0.01, "error_rate": 0.001}
    assert spec.search.budget.time == 120.0


def test_workloads_keep_their_order_and_kind(tmp_path: Path) -> None:
    workloads = load(tmp_path).spec.workloads
    assert list(workloads) == ["steady", "bursty"]
    assert isinstance(workloads["steady"].arrival, ClosedSpec)
    arrival = workloads["bursty"].arrival
    assert isinstance(arrival, BurstySpec)
    assert (arrival.burst_size, arrival.pause, arrival.spacing) == (10, 0.02, 0.0)


@pytest.mark.parametrize(
    ("arrival", "kind"),
    [("{process: constant, rate: 200/s}", ConstantSpec), ("{process: poisson, rate: 6000/min}", PoissonSpec)],
)
def test_open_loops_have_a_rate(tmp_path: Path, arrival: str, kind: type[Any]) -> None:
    spec = load(tmp_path, f"workloads.steady.arrival={arrival}").spec
    assert isinstance(spec.workloads["steady"].arrival, kind)


def test_what_is_not_given_has_its_default(tmp_path: Path) -> None:
    text = STUDY[: STUDY.index("objectives:")]
    spec = load(tmp_path, text=text).spec
    assert spec.objectives == ["maximize goodput", "minimize p99"]
    assert (spec.search.seed, spec.search.budget.trials, spec.isolation) == (0, 40, "auto")


def test_goodput_counts_to_the_bound_of_the_highest_percentile(tmp_path: Path) -> None:
    assert Slo(load(tmp_path).spec.slo.bounds()).latency_bound_s == 0.01
    assert Slo(load(tmp_path, "slo={p50: 1 ms, p95: 4 ms, mean: 2 s}").spec.slo.bounds()).latency_bound_s == 0.004
    assert Slo(load(tmp_path, "slo={error_rate: 1%}").spec.slo.bounds()).latency_bound_s is None


@pytest.mark.parametrize(
    ("server", "generator"), [('"2-4"', '"0,1"'), ("[2, 3, 4]", "[0, 1]"), ('" 2 , 3-4"', "0-1"), ("2,3,4", '"1,0"')]
)
def test_cores_are_named_as_the_kernel_does_or_as_numbers(tmp_path: Path, server: str, generator: str) -> None:
    text = STUDY + f"isolation:\n  cores:\n    server: {server}\n    generator: {generator}\n"
    isolation = load(tmp_path, text=text).spec.isolation
    assert isinstance(isolation, IsolationSpec)
    assert (isolation.cores.server, isolation.cores.generator) == ({2, 3, 4}, {0, 1})


def test_one_core_may_be_a_plain_number(tmp_path: Path) -> None:
    isolation = load(tmp_path, "isolation={cores: {server: 2, generator: 0}}").spec.isolation
    assert isinstance(isolation, IsolationSpec)
    assert (isolation.cores.server, isolation.cores.generator) == ({2}, {0})


def test_paths_are_relative_to_the_study_file(tmp_path: Path) -> None:
    study = load(tmp_path)
    assert study.resolve(study.spec.target.repository) == tmp_path.resolve() / "models"
    assert study.resolve(Path("/abs/models")) == Path("/abs/models")


def test_the_source_knows_the_line_of_every_key(tmp_path: Path) -> None:
    source = load(tmp_path).source
    assert source.lines[("study",)] == 2
    assert source.lines[("workloads", "bursty", "arrival", "pause")] == 15
    assert source.lines[("space", "max_batch_size", "high")] == 18
    assert source.lines[("space", "concurrency", 2)] == 19


def test_a_yaml_anchor_may_be_merged(tmp_path: Path) -> None:
    text = edited(
        "requests: {source: dataset, path: test.npz}\n  bursty:",
        "requests: &data {source: dataset, path: test.npz}\n  bursty:",
    )
    text = text.replace(
        "      pause: 20 ms\n    requests: {source: dataset, path: test.npz}",
        "      pause: 20 ms\n    requests: {<<: *data, path: other.npz}",
    )
    assert load(tmp_path, text=text).spec.workloads["bursty"].requests.path == Path("other.npz")


# Errors of the file.


def test_fails_with_the_name_of_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(
        StudyError, match=r"nowhere\.yaml: cannot be read \(No such file.*give the path of a study file"
    ):
        load_study(tmp_path / "nowhere.yaml")


def test_fails_for_a_directory(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=r"cannot be read \(Is a directory\)"):
        load_study(tmp_path)


def test_fails_for_a_file_that_is_no_text(tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    path.write_bytes(b"study: \xff\xfe\n")
    with pytest.raises(StudyError, match=r"study\.yaml"):
        load_study(path)


def test_fails_with_the_line_where_it_is_no_yaml(tmp_path: Path) -> None:
    assert failure(tmp_path, text="study: digits\ntarget: [1, 2\nslo: {\n").startswith("study.yaml:3: not YAML: ")


def test_fails_with_the_line_of_a_tab(tmp_path: Path) -> None:
    assert failure(tmp_path, text="study: digits\ntarget:\n\tkind: triton\n").startswith("study.yaml:3: not YAML: ")


def test_fails_for_a_character_that_yaml_forbids(tmp_path: Path) -> None:
    assert failure(tmp_path, text="study: a\x00b\n").startswith("study.yaml:1: not YAML: ")


@pytest.mark.parametrize("value", ["2024-02-30", "!!int ten", "!!bool maybe", "!!timestamp today", "0x_", "1" * 5000])
def test_fails_with_the_line_of_a_value_that_is_not_what_it_is_written_like(tmp_path: Path, value: str) -> None:
    message = failure(tmp_path, text=edited("study: digits", f"study: {value}"))
    text = value.removeprefix("!!int ").removeprefix("!!bool ").removeprefix("!!timestamp ")[:40]
    assert message.startswith(f"study.yaml:2: not YAML: {text!r} is written like a value of type `")
    assert message.endswith("` and is none; put a text in quotes")


@pytest.mark.parametrize("text", ["", "# nothing\n", "- a\n- b\n", "just words\n"])
def test_fails_for_anything_but_a_mapping(tmp_path: Path, text: str) -> None:
    assert failure(tmp_path, text=text).startswith("study.yaml:1: expected a mapping with `study`, `target`,")


def test_fails_with_the_line_of_a_key_given_twice(tmp_path: Path) -> None:
    message = failure(tmp_path, text=edited("  error_rate: 0.1%", "  p99: 5 ms"))
    assert message == "study.yaml:22: slo.p99: given twice; keep one"


def test_fails_with_the_line_of_a_top_level_key_given_twice(tmp_path: Path) -> None:
    assert failure(tmp_path, text=STUDY + "slo: {}\n") == "study.yaml:26: slo: given twice; keep one"


# Errors of keys.


def test_fails_with_the_line_of_an_unknown_key_and_suggests_one(tmp_path: Path) -> None:
    message = failure(tmp_path, text=edited("  error_rate: 0.1%", "  eror_rate: 0.1%"))
    assert message == "study.yaml:22: slo.eror_rate: unknown key `eror_rate`; did you mean `error_rate`?"


def test_lists_the_known_keys_where_none_is_close(tmp_path: Path) -> None:
    message = failure(tmp_path, text=edited("  error_rate: 0.1%", "  zzz: 0.1%"))
    assert message.startswith("study.yaml:22: slo.zzz: unknown key `zzz`; known here: mean, p50, p90, p95, p99, ")


def test_fails_with_the_line_of_a_body_that_is_no_json(tmp_path: Path) -> None:
    target = "kind: openai\n  url: http://127.0.0.1:8000\n  body: {metadata: {since: 2024-01-01}}\n  model: digits"
    text = edited("kind: triton\n  model: digits\n  repository: models", target)
    assert failure(tmp_path, text=text).startswith("study.yaml:6: target.body: `metadata` cannot be sent as JSON (")


def test_fails_with_the_line_of_an_unknown_section(tmp_path: Path) -> None:
    message = failure(tmp_path, text=edited("search:", "serch:"))
    assert message == "study.yaml:24: serch: unknown key `serch`; did you mean `search`?"


def test_fails_with_the_line_of_an_unknown_key_of_an_arrival(tmp_path: Path) -> None:
    message = failure(tmp_path, text=edited("      burst_size: 10", "      burstsize: 10"))
    assert message.startswith(
        "study.yaml:14: workloads.bursty.arrival.burstsize: unknown key `burstsize`; did you mean"
    )


def test_fails_for_a_key_that_is_no_word(tmp_path: Path) -> None:
    assert failure(tmp_path, text=edited("  error_rate: 0.1%", "  5: 0.1%")).startswith(
        "study.yaml:22: slo.5: unknown key"
    )


@pytest.mark.parametrize(
    ("line", "place"), [("study: digits\n", "study"), ("slo:\n  p99: 10 ms\n  error_rate: 0.1%\n", "slo")]
)
def test_fails_for_a_missing_section(tmp_path: Path, line: str, place: str) -> None:
    assert failure(tmp_path, text=edited(line, "")) == f"study.yaml:1: {place}: missing; add it"


def test_a_missing_key_is_reported_at_the_line_of_its_section(tmp_path: Path) -> None:
    assert failure(tmp_path, text=edited("  model: digits\n", "")) == "study.yaml:3: target.model: missing; add it"


def test_a_missing_key_of_an_arrival_is_reported_without_the_branch_of_its_union(tmp_path: Path) -> None:
    message = failure(tmp_path, text=edited("      pause: 20 ms\n", ""))
    assert message == "study.yaml:12: workloads.bursty.arrival.pause: missing; add it"


# Errors of values.


def test_fails_with_the_line_of_a_duration_without_a_unit(tmp_path: Path) -> None:
    message = failure(tmp_path, text=edited("  p99: 10 ms", "  p99: 10"))
    assert message == "study.yaml:21: slo.p99: expected a duration with a unit, like `10 ms` or `2 s`, but got 10"


@pytest.mark.parametrize("number", ["0.01", "10.0", "1.0e-2", ".inf"])
def test_a_decimal_number_needs_a_unit_too(tmp_path: Path, number: str) -> None:
    message = failure(tmp_path, text=edited("  p99: 10 ms", f"  p99: {number}"))
    assert message.startswith("study.yaml:21: slo.p99: expected a duration with a unit")


@pytest.mark.parametrize("value", ["-1.5", "-1 s"])
def test_a_pause_cannot_be_negative(tmp_path: Path, value: str) -> None:
    assert "workloads.steady.arrival.think_time" in failure(tmp_path, f"workloads.steady.arrival.think_time={value}")


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("  p99: 10 ms", "  p99: 10 parsecs", "study.yaml:21: slo.p99: expected a duration with a unit"),
        ("  p99: 10 ms", "  p99: -10 ms", "study.yaml:21: slo.p99: must not be negative, but got '-10 ms'"),
        ("  p99: 10 ms", "  p99: 0 ms", "study.yaml:21: slo.p99: Input should be greater than 0"),
        ("0.1%", "0.001", "study.yaml:22: slo.error_rate: expected a percentage, like `1%`, but got 0.001"),
        (
            "      pause: 20 ms",
            "      pause: 20/s",
            "study.yaml:15: workloads.bursty.arrival.pause: expected a duration",
        ),
        (
            "      burst_size: 10",
            "      burst_size: 0",
            "study.yaml:14: workloads.bursty.arrival.burst_size: Input should",
        ),
        (
            "      burst_size: 10",
            "      burst_size: ten",
            "study.yaml:14: workloads.bursty.arrival.burst_size: Input should",
        ),
        ("trials: 12", "trials: 0", "study.yaml:25: search.budget.trials: Input should be greater than or equal to 1"),
        ("study: digits", "study: a/b", "study.yaml:2: study: String should match pattern"),
        (
            "  kind: triton",
            "  kind: [triton]",
            "study.yaml:4: target.kind: expected the name of a kind",
        ),
        (
            "  repository: models",
            "  repository: models\n  protocol: smtp",
            "study.yaml:7: target.protocol: Input should",
        ),
        (
            "  repository: models",
            "  repository: models\n  http_port: 8000\n  grpc_port: 8000",
            "study.yaml:8: target.grpc_port: 8000 is `http_port` already",
        ),
        ("slo:\n  p99: 10 ms\n  error_rate: 0.1%", "slo: fast", "study.yaml:20: slo: Input should be"),
        (
            "  error_rate: 0.1%",
            "  throughput_at_least: 500",
            "study.yaml:22: slo.throughput_at_least: expected a rate with a unit, like `200/s`, but got 500",
        ),
        (
            "  error_rate: 0.1%",
            "  throughput_at_least: 0/s",
            "study.yaml:22: slo.throughput_at_least: a rate must be > 0, but got '0/s'",
        ),
        (
            "  error_rate: 0.1%",
            "  throughput: 500/s",
            "study.yaml:22: slo.throughput: unknown key `throughput`; did you mean `throughput_at_least`?",
        ),
    ],
)
def test_fails_with_the_line_of_a_bad_value(tmp_path: Path, old: str, new: str, expected: str) -> None:
    assert failure(tmp_path, text=edited(old, new)).startswith(expected)


def test_fails_with_the_line_of_a_timeout_without_an_end(tmp_path: Path) -> None:
    text = edited("arrival: {process: closed}", "arrival: {process: closed}\n    timeout: 1e400 s")
    assert failure(tmp_path, text=text).startswith("study.yaml:10: workloads.steady.timeout: is too large for a number")


def test_a_rate_needs_a_unit(tmp_path: Path) -> None:
    text = edited("{process: closed}", "{process: poisson, rate: 200}")
    assert failure(tmp_path, text=text).startswith(
        "study.yaml:9: workloads.steady.arrival.rate: expected a rate with a unit"
    )


def test_an_unknown_process_lists_the_known_ones(tmp_path: Path) -> None:
    message = failure(tmp_path, text=edited("{process: closed}", "{process: uniform}"))
    assert message.startswith("study.yaml:9: workloads.steady.arrival: `process` must be one of ")
    assert all(name in message for name in ("closed", "constant", "poisson", "bursty"))


def test_a_missing_process_lists_the_known_ones(tmp_path: Path) -> None:
    message = failure(tmp_path, text=edited("{process: closed}", "{rate: 5/s}"))
    assert message.startswith("study.yaml:9: workloads.steady.arrival: `process` must be one of 'closed', 'constant', ")
    assert message.endswith("'trace', 'sum'")


def test_a_workload_is_needed(tmp_path: Path) -> None:
    text = "study: a\ntarget: {kind: triton, model: a, repository: a}\nworkloads: {}\nspace: {}\nslo: {}\n"
    assert failure(tmp_path, text=text).startswith("study.yaml:3: workloads: ")


@pytest.mark.parametrize(
    "objective", ["maximize p99", "minimize throughput", "maximise goodput", "goodput", "minimize", "maximize speed"]
)
def test_an_objective_names_a_direction_and_a_metric(tmp_path: Path, objective: str) -> None:
    message = failure(tmp_path, text=edited("maximize throughput", objective))
    assert message.startswith(
        "study.yaml:23: objectives.0: expected `maximize throughput|goodput|accuracy|gpu_utilization` or `minimize "
    )
    assert message.endswith(f"but got {objective!r}")


def test_an_objective_names_a_workload_of_the_study(tmp_path: Path) -> None:
    message = failure(tmp_path, text=edited("minimize bursty.p99", "minimize spiky.p99"))
    assert "objective 'minimize spiky.p99' names no workload of this study (steady, bursty)" in message


ISOLATED = STUDY + "generator:\n  processes: 2\nisolation:\n  cores:\n    server: 2-7\n    generator: 0\n"


@pytest.mark.parametrize("cpus", ["0-", "2-1", "0;1", "one", "-1", "1.5", "[0, x]", "[true]", "{0: 1}", "0,,1", "1e3"])
def test_fails_with_the_line_of_what_is_no_list_of_cpus(tmp_path: Path, cpus: str) -> None:
    message = failure(tmp_path, text=ISOLATED.replace("2-7", cpus))
    assert message.startswith("study.yaml:30: isolation.cores.server: expected CPUs, like `0,2-5` or [0, 2], but got ")


@pytest.mark.parametrize("cpus", ['""', "[]"])
def test_fails_with_the_line_of_an_empty_list_of_cpus(tmp_path: Path, cpus: str) -> None:
    message = failure(tmp_path, text=ISOLATED.replace("2-7", cpus))
    assert message.startswith("study.yaml:30: isolation.cores.server: expected at least one CPU, like `0,2-5`, but got")


def test_fails_with_the_line_of_cores_that_overlap(tmp_path: Path) -> None:
    assert failure(tmp_path, text=ISOLATED.replace("generator: 0", "generator: 0-3,7")) == (
        "study.yaml:29: isolation.cores: server (2-7) and generator (0-3,7) must not share CPUs, but both have 2-3,7"
    )


def test_a_side_without_cores_is_missing(tmp_path: Path) -> None:
    message = failure(tmp_path, text=ISOLATED.replace("    generator: 0\n", ""))
    assert message == "study.yaml:29: isolation.cores.generator: missing; add it"


def test_fails_with_the_line_of_an_unknown_side(tmp_path: Path) -> None:
    message = failure(tmp_path, text=ISOLATED.replace("    server:", "    servers:"))
    assert message.startswith("study.yaml:30: isolation.cores.servers: unknown key `servers`; did you mean `server`?")


@pytest.mark.parametrize("isolation", ["atuo", "5", "true", "[0, 1]", "2-7"])
def test_fails_with_the_forms_that_isolation_takes(tmp_path: Path, isolation: str) -> None:
    message = failure(tmp_path, text=STUDY + f"isolation: {isolation}\n")
    assert message == (
        'study.yaml:26: isolation: expected `auto`, `none` or `{cores: {server: "2-7", generator: "0,1"}}`'
    )


def test_fails_with_the_line_of_an_unknown_form_of_isolation(tmp_path: Path) -> None:
    message = failure(tmp_path, text=STUDY + "isolation: {server: 1, generator: 0}\n")
    assert message == "study.yaml:26: isolation.server: unknown key `server`; known here: cores"


def test_fails_with_the_line_of_cores_that_this_process_may_not_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 3})
    study = load(tmp_path, text=ISOLATED)
    with pytest.raises(StudyError) as error:
        prepare(study, tmp_path / "log.txt")
    assert str(error.value).replace(f"{tmp_path}/", "") == (
        "study.yaml:30: isolation.cores.server: this process may not use CPUs 4-7; it may use CPUs 0-3"
    )


@pytest.mark.parametrize("processes", ["0", "65", "many"])
def test_fails_with_the_line_of_a_number_of_processes_that_cannot_be(tmp_path: Path, processes: str) -> None:
    message = failure(tmp_path, text=ISOLATED.replace("processes: 2", f"processes: {processes}"))
    assert message.startswith("study.yaml:27: generator.processes: Input should be ")


# --set


def test_overrides_set_values(tmp_path: Path) -> None:
    study = load(tmp_path, *OVERRIDES)
    assert study.spec.slo.p99 == 0.005
    assert study.spec.search.budget.trials == 3
    assert study.spec.search.budget.time == 120.0
    assert study.overrides == OVERRIDES


def test_an_override_may_make_a_new_section(tmp_path: Path) -> None:
    assert load(tmp_path, "confirm.redeployments=2").spec.confirm.redeployments == 2


def test_an_override_may_be_any_yaml(tmp_path: Path) -> None:
    spec = load(tmp_path, "space.concurrency=[8, 16]", "workloads.steady.timeout=3 s").spec
    assert spec.space["concurrency"] == [8, 16]
    assert spec.workloads["steady"].timeout == 3.0


ANCHORED = STUDY.replace(
    """\
  steady:
    arrival: {process: closed}
    requests: {source: dataset, path: test.npz}
""",
    """\
  steady: &base
    arrival: {process: poisson, rate: 100/s}
    requests: {source: dataset, path: test.npz}
  merged: {<<: *base, timeout: 5 s}
  alias: *base
""",
)


@pytest.mark.parametrize("changed", ["steady", "merged", "alias"])
def test_an_override_changes_no_other_part_that_shares_an_anchor(changed: str, tmp_path: Path) -> None:
    workloads = load(tmp_path, f"workloads.{changed}.arrival.rate=200/s", text=ANCHORED).spec.workloads
    rates = {name: workloads[name].arrival.rate for name in ("steady", "merged", "alias")}
    assert rates == {"steady": 100, "merged": 100, "alias": 100} | {changed: 200}


def test_overrides_of_parts_that_share_an_anchor_add_up(tmp_path: Path) -> None:
    overrides = (
        "workloads.merged.arrival.rate=200/s",
        "workloads.merged.arrival.rate=300/s",
        "workloads.alias.timeout=1 s",
    )
    workloads = load(tmp_path, *overrides, text=ANCHORED).spec.workloads
    assert [workloads[name].arrival.rate for name in ("steady", "merged", "alias")] == [100, 300, 100]
    assert [workloads[name].timeout for name in ("steady", "merged", "alias")] == [2, 5, 1]


def test_the_last_override_of_a_value_wins(tmp_path: Path) -> None:
    assert load(tmp_path, "slo.p99=5 ms", "slo.p99=7 ms").spec.slo.p99 == 0.007


def test_a_value_may_hold_an_equals_sign(tmp_path: Path) -> None:
    study = load(tmp_path, "target.variants.a={parameters: {flags: a=b}}")
    assert study.spec.target.variants["a"] == {"parameters": {"flags": "a=b"}}


@pytest.mark.parametrize("key", ["""'my.net=v2'""", '"my.net=v2"'])
def test_a_key_that_has_dots_stands_in_quotes(tmp_path: Path, key: str) -> None:
    study = load(tmp_path, f"target.variants.{key}.version=2")
    assert study.spec.target.variants["my.net=v2"] == {"version": 2}


@pytest.mark.parametrize("override", ['slo."p99=5 ms', 'slo."p99"9=5 ms', "'slo.p99=5 ms"])
def test_quotes_that_are_not_around_a_key_are_named(tmp_path: Path, override: str) -> None:
    quote = override[override.index("'" if override.startswith("'") else '"') :]
    assert failure(tmp_path, override).startswith(
        f"--set {override}: the quotes at {quote!r} are not around a whole key, as in composing."
    )


@pytest.mark.parametrize("override", ["slo.p99", "=5", "slo..p99=5 ms", ".p99=5 ms", "slo.=5"])
def test_an_override_is_a_path_and_a_value(tmp_path: Path, override: str) -> None:
    assert failure(tmp_path, override).startswith(
        f"--set {override}: expected PATH=VALUE, like --set search.budget.trials=10"
    )


def test_an_override_that_is_no_yaml_is_named(tmp_path: Path) -> None:
    assert failure(tmp_path, "slo.p99=[1, 2") == "--set slo.p99: '[1, 2' is not a YAML value"


def test_an_override_that_is_a_date_of_no_calendar_is_named(tmp_path: Path) -> None:
    message = failure(tmp_path, "study=2024-02-30")
    assert message == "--set study: '2024-02-30' is not a YAML value"


def test_an_override_cannot_go_through_a_value(tmp_path: Path) -> None:
    message = failure(tmp_path, "slo.p99.high=5")
    assert message == "--set slo.p99.high: `p99` (line 21 of the study) holds a value, not a mapping"


def test_a_bad_override_is_named_instead_of_a_line(tmp_path: Path) -> None:
    assert failure(tmp_path, "slo.p99=5").startswith("--set slo.p99: expected a duration with a unit")


def test_a_bad_override_of_a_key_that_is_not_in_the_file_is_named(tmp_path: Path) -> None:
    assert failure(tmp_path, "search.seed=-1").startswith(
        "--set search.seed: Input should be greater than or equal to 0"
    )


def test_an_unknown_key_in_an_override_is_named(tmp_path: Path) -> None:
    assert failure(tmp_path, "slo.p98=5 ms").startswith("--set slo.p98: unknown key `p98`; did you mean `p9")


def test_an_unknown_section_in_an_override_is_named(tmp_path: Path) -> None:
    message = failure(tmp_path, "serch.seed=1")
    assert message.startswith("--set serch")
    assert "did you mean `search`?" in message


def test_an_error_inside_an_overridden_section_names_the_override_not_the_old_line(tmp_path: Path) -> None:
    assert failure(tmp_path, "slo={p99: 3 parsecs}").startswith("--set slo")


def test_an_override_that_an_option_stands_for_is_named_by_the_option(tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(STUDY)
    with pytest.raises(StudyError, match=r"^--time: expected a duration"):
        load_study(path, ["search.budget.time=5"], options={"search.budget.time": "--time"})
    with pytest.raises(StudyError, match=r"^--set slo\.p99: expected a duration"):
        load_study(path, ["slo.p99=5"], options={"search.budget.time": "--time"})


def test_an_error_elsewhere_still_has_its_line(tmp_path: Path) -> None:
    message = failure(tmp_path, "slo.p99=5 ms", text=edited("0.1%", "a lot"))
    assert message.startswith("study.yaml:22: slo.error_rate: ")


# The source's own errors, as the space uses them.


def test_the_nearest_known_ancestor_gives_the_line(tmp_path: Path) -> None:
    source = load(tmp_path).source
    message = str(source.error(("space", "max_batch_size", "step", "x"), "wrong")).replace(f"{tmp_path}/", "")
    assert message == "study.yaml:18: space.max_batch_size.step.x: wrong"


def test_an_error_about_the_whole_study_is_on_its_first_line(tmp_path: Path) -> None:
    assert str(load(tmp_path).source.error((), "wrong")) == f"{tmp_path}/study.yaml:1: wrong"


# The fingerprint.


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "models/digits/1").mkdir(parents=True)
    (tmp_path / "models/digits/config.pbtxt").write_text('name: "digits"\n')
    (tmp_path / "models/digits/1/model.onnx").write_bytes(b"weights")
    (tmp_path / "models/other").mkdir()
    (tmp_path / "models/other/config.pbtxt").write_text('name: "other"\n')
    (tmp_path / "test.npz").write_bytes(b"rows")
    return tmp_path


def test_the_same_study_has_the_same_fingerprint(folder: Path) -> None:
    assert load(folder).fingerprint() == load(folder).fingerprint()


def test_comments_do_not_change_the_fingerprint(folder: Path) -> None:
    assert load(folder, text="# more\n" + STUDY).fingerprint() == load(folder).fingerprint()


@pytest.mark.parametrize(
    "override",
    [
        *OVERRIDES,
        "search.seed=9",
        "space.concurrency=[1]",
        "target.variants.a={}",
        "isolation={cores: {server: 1, generator: 0}}",
    ],
)
def test_an_override_changes_the_fingerprint(folder: Path, override: str) -> None:
    assert load(folder, override).fingerprint() != load(folder).fingerprint()


def test_an_override_to_the_same_value_is_the_same_study(folder: Path) -> None:
    assert load(folder, "slo.p99=10 ms").fingerprint() == load(folder).fingerprint()


@pytest.mark.parametrize("name", ["models/digits/config.pbtxt", "models/digits/1/model.onnx", "test.npz"])
def test_another_size_of_a_file_changes_the_fingerprint(folder: Path, name: str) -> None:
    before = load(folder).fingerprint()
    status = (folder / name).stat()
    with (folder / name).open("ab") as file:
        file.write(b"x")
    os.utime(folder / name, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert load(folder).fingerprint() != before


@pytest.mark.parametrize("name", ["models/digits/config.pbtxt", "models/digits/1/model.onnx", "test.npz"])
def test_a_newer_file_changes_the_fingerprint(folder: Path, name: str) -> None:
    before = load(folder).fingerprint()
    os.utime(folder / name, ns=(1, 1))
    assert load(folder).fingerprint() != before


def test_a_new_file_of_the_model_changes_the_fingerprint(folder: Path) -> None:
    before = load(folder).fingerprint()
    (folder / "models/digits/1/labels.txt").write_text("0\n")
    assert load(folder).fingerprint() != before


def test_compiled_python_does_not_change_the_fingerprint(folder: Path) -> None:
    before = load(folder).fingerprint()
    (folder / "models/digits/1/__pycache__").mkdir()
    (folder / "models/digits/1/__pycache__/model.pyc").write_bytes(b"x")
    assert load(folder).fingerprint() == before


def test_another_model_of_the_repository_does_not_change_the_fingerprint(folder: Path) -> None:
    before = load(folder).fingerprint()
    os.utime(folder / "models/other/config.pbtxt", ns=(1, 1))
    assert load(folder).fingerprint() == before


def test_the_model_of_a_variant_belongs_to_the_study(folder: Path) -> None:
    override = "target.variants.small={model: other}"
    before = load(folder, override).fingerprint()
    os.utime(folder / "models/other/config.pbtxt", ns=(1, 1))
    assert load(folder, override).fingerprint() != before


def test_a_missing_model_still_has_a_fingerprint(tmp_path: Path) -> None:
    assert len(load(tmp_path).fingerprint()) == 16


# The templates that `tune init` writes.


@pytest.mark.parametrize("name", ["digits.yaml", "templates/triton.yaml"])
def test_the_studies_that_ship_are_valid(name: str) -> None:
    assert load_study(Path(__file__).parents[2] / "studies" / name).spec.workloads
