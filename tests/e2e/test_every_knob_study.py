"""The shipped study over every knob of Triton that works without a GPU, on the real server, from file to export."""

import csv
import html
import json
import re
import shutil
from pathlib import Path

import pytest
import yaml

from targets.base import Config, Value
from targets.triton.config import from_loaded, knob_mismatches, knob_values, parse
from targets.triton.flags import NAMES as FLAGS
from targets.triton.knobs import BY_NAME, CATALOGUE, LEVELS
from targets.triton.rules import unusable
from tests.conftest import DIGITS
from tests.support.tune import tune
from tuner.results import Result, Trial, read_result

pytestmark = pytest.mark.long

STUDY = DIGITS / "every_knob.yaml"


def every_level(**values: object) -> dict[str, object]:
    """Return knobs of a queue policy, set for each priority level."""
    return {f"level_{level}_{name}": value for level in range(1, LEVELS + 1) for name, value in values.items()}


ILLEGAL: list[dict[str, object]] = [
    {"max_batch_size": 8, "preferred_batch_size": [4, 16], "warmup": "zero", "warmup_batch_size": 16,
     "instance_kind": "gpu"},
    {"preserve_ordering": True, "priority_levels": 4, "timeout_action": "delay", "default_timeout": "1 s"},
]  # fmt: skip
"""Starting points that break every rule of `RULES` together."""
LEGAL: list[dict[str, object]] = [
    {"max_batch_size": 8, "max_queue_delay": "0 us", "preferred_batch_size": [], "preserve_ordering": False,
     **every_level(timeout_action="reject", default_timeout="0 us", allow_timeout_override=False, max_queue_size=512),
     "priority_levels": 4, "default_priority_level": 1, "timeout_action": "reject", "default_timeout": "0 us",
     "allow_timeout_override": False, "max_queue_size": 0, "eager_batching": False, "instances": 1,
     "instance_kind": "cpu", "response_cache": False, "warmup": "zero", "warmup_batch_size": 1, "warmup_count": 1,
     "precision": "fp32", "http_thread_count": 4, "grpc_infer_allocation_pool_size": 8, "model_load_thread_count": 2,
     "buffer_manager_thread_count": 0, "pinned_memory_pool_size": 0, "cache_size": 1048576,
     "rate_limit": "execution_count", "rate_limiter_priority": 1, "concurrency": 4},
    {"max_batch_size": 16, "max_queue_delay": "500 us", "preferred_batch_size": [4, 16], "preserve_ordering": False,
     **every_level(timeout_action="delay", default_timeout="1 s", allow_timeout_override=True, max_queue_size=0),
     "priority_levels": 4, "default_priority_level": 2, "timeout_action": "delay", "default_timeout": "1 s",
     "allow_timeout_override": True, "max_queue_size": 512, "eager_batching": True, "instances": 2,
     "instance_kind": "model", "response_cache": True, "warmup": "random", "warmup_batch_size": 16, "warmup_count": 4,
     "precision": "int8", "http_thread_count": 8, "grpc_infer_allocation_pool_size": 16, "model_load_thread_count": 4,
     "buffer_manager_thread_count": 2, "pinned_memory_pool_size": 268435456, "cache_size": 67108864,
     "rate_limit": "execution_count", "rate_limiter_priority": 2, "concurrency": 16},
    {"preserve_ordering": True, "priority_levels": 0, "timeout_action": "reject", "default_timeout": "0 us",
     "warmup": "none", "rate_limit": "off", "instance_kind": "cpu"},
]  # fmt: skip
"""Starting points that show two values of every knob together."""
PROPOSED = 4
TRIALS = len(ILLEGAL) + len(LEGAL) + PROPOSED
SHORT = {
    "search.budget.trials": TRIALS,
    "search.start": json.dumps([*ILLEGAL, *LEGAL]),
    "measure": "{warmup: 50 ms, max_warmup: 50 ms, window: 100 ms, max_window: 100 ms}",
    "confirm": "{candidates: 1, redeployments: 2, max_redeployments: 2, rounds: 2, round: 100 ms}",
    "slo": "{p90: 10 s, error_rate: 50%, accuracy_drop: 5%}",
    "target.flags": "{log-verbose: 1}",  # Triton then writes down what it loads
}
RULES = (
    "dynamic batching preferred size must be <= max batch size, but 16 > 8",
    "only one priority level is allowed when preserve_ordering is true, but priority_levels is 4",
    "a queue policy cannot have DELAY as timeout action when preserve_ordering is true",
    "a warm-up batch must be within 1 and max_batch_size, but 16 > 8",
    "an instance group has kind KIND_GPU but no GPUs are available",
)
TABLE = {"pinned_memory_pool_size": "pinned_memory_pool_byte_size", "rate_limit": "rate_limit"}
"""Flags that Triton tells of in the table that it logs -> their row there."""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of one run of the study, made short."""
    folder = Path(shutil.copytree(DIGITS, tmp_path_factory.mktemp("every-knob") / "digits"))
    settings = [argument for key, value in SHORT.items() for argument in ("--set", f"{key}={value}")]
    ended = tune(folder / STUDY.name, "--out", "out", *settings, cwd=folder, CUDA_VISIBLE_DEVICES="")
    assert ended.returncode in (0, 4, 5), ended.stderr
    return folder / "out"


@pytest.fixture(scope="module")
def result(run: Path) -> Result:
    return read_result(run)


def space() -> dict[str, object]:
    found: dict[str, object] = yaml.safe_load(STUDY.read_text())["space"]
    return found


def deployed(result: Result) -> list[Trial]:
    return [one for one in result.trials if one.state == "complete"]


def test_the_study_has_every_knob_that_works_on_its_model_without_a_gpu() -> None:
    path = DIGITS / "models" / "digits" / "config.pbtxt"
    config = parse(path.read_text(), path)
    usable = {one.name for one in CATALOGUE if not one.gpu and not unusable(one, config, ())}
    assert set(space()) == usable | FLAGS - {"cuda_memory_pool_size"} | {"precision", "concurrency"}


def test_the_run_ends_with_an_answer_and_an_export_that_triton_loaded(run: Path, result: Result) -> None:
    assert len(result.trials) == 1 + TRIALS
    assert {one.state for one in result.trials} == {"complete", "refused"}
    assert result.best is not None
    assert (run / "best" / "digits" / "config.pbtxt").is_file()
    rows = list(csv.DictReader((run / "trials.csv").read_text().splitlines()))
    without_unit = {name.removesuffix("_s").removesuffix("_bytes") for name in rows[0]}
    assert set(space()) - {"concurrency"} <= without_unit
    assert "preferred_batch_size" in (run / "report.html").read_text()


@pytest.mark.parametrize("knob", sorted(space()))
def test_a_knob_is_deployed_with_two_values_at_least(knob: str, result: Result) -> None:
    values: set[Value] = {one.config[knob] for one in deployed(result) if knob in one.config}
    assert len(values) >= 2, f"{knob} was always {values}"


def test_what_triton_says_that_it_loaded_is_what_each_trial_asked_for(run: Path, result: Result) -> None:
    """Past the target's own reading: the configurations stand in the server's log, in the order of the trials."""
    told = loaded(run)
    for trial in deployed(result):
        asked: Config = {name: value for name, value in trial.config.items() if name in BY_NAME}
        assert any(not list(knob_mismatches(asked, config)) for config in told), f"trial {trial.number}: {asked}"
    for name in (name for name in space() if name in BY_NAME and name != "instance_kind"):
        values = {knob_values(config, [name]).get(name) for config in told}
        assert len(values - {None}) >= 2, f"{name} has no effect on what Triton loads"


def test_what_triton_says_of_its_flags_is_what_the_trials_asked_for(run: Path, result: Result) -> None:
    log = (run / "log.txt").read_text()
    for knob, option in TABLE.items():
        told = set(re.findall(rf"^\| {option} +\| (\w+) +\|$", log, re.MULTILINE))
        asked = {str(one.config[knob]) for one in deployed(result) if knob in one.config}
        assert {value.replace("execution_count", "EXEC_COUNT").replace("off", "OFF") for value in asked} <= told


def test_what_breaks_a_rule_is_refused_with_it_before_triton_is_asked(run: Path, result: Result) -> None:
    """Where the user wants it tried, that is."""
    refused = {one.number: one.reason or "" for one in result.trials if one.state == "refused"}
    assert list(refused) == [number for number, _ in enumerate(ILLEGAL, 1)]
    for rule in RULES:
        assert any(rule in reason for reason in refused.values()), rule
    assert "failed to load" not in (run / "log.txt").read_text()


def test_nothing_that_breaks_a_rule_is_proposed_and_the_result_says_what_was_left_out(
    run: Path, result: Result
) -> None:
    assert {one.state for one in result.trials[1 + len(ILLEGAL) :]} == {"complete"}
    assert result.search is not None
    left_out = result.search.left_out
    assert left_out is not None
    assert left_out.of is None, "the space is too large to be counted"
    assert 0 < left_out.configurations <= sum(left_out.rules.values())
    assert left_out.rules.keys() <= set(RULES)
    assert html.escape(str(left_out)) in (run / "report.html").read_text()


def loaded(run: Path) -> list[object]:
    """Return the configurations that Triton's log says were given to the backend."""
    found = re.findall(
        r'python_be\.cc:\d+\] "model configuration:\\n(.*)"$', (run / "log.txt").read_text(), re.MULTILINE
    )
    return [from_loaded(json.loads(text.encode().decode("unicode_escape"))) for text in found]
