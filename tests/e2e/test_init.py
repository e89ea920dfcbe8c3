"""Studies that `tune init` writes for models that it finds: they are valid, and they run."""

import json
import shlex
import shutil
from pathlib import Path

import pytest

from targets.ports import choose_ports
from tests.support.targets import triton_target
from tests.support.triton_models import COUNTER, SUM, write_model
from tests.support.tune import tune
from tuner.results import read_result
from tuner.study.load import load_study
from tuner.wiring import prepare

pytestmark = pytest.mark.long

STUDIES = Path(__file__).parents[2] / "studies"
SMALL = [
    "--trials", "1", "--set", "space.concurrency=[2]", "--set", "slo={p90: 900 ms, error_rate: 10%}",
    "--set", "measure.warmup=0.1 s", "--set", "measure.window=0.2 s", "--set", "measure.max_window=0.3 s",
    "--set", "confirm.redeployments=2", "--set", "confirm.max_redeployments=2", "--set", "confirm.rounds=2",
    "--set", "confirm.round=0.2 s",
]  # fmt: skip
UNCONFIRMED = ["--set", "slo.p99=1 us"]
"""No server answers within this: two configurations are measured, and there is none to confirm."""
DECIDED = (0, 5)
"""So short a confirmation may leave an SLO undecided."""


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository of one model, where `tune init` looks for one."""
    return Path(shutil.copytree(STUDIES / "digits" / "models", tmp_path / "models"))


def add(repository: Path, name: str, config: str) -> None:
    """Add a model that has a configuration and nothing else."""
    (repository / name).mkdir()
    (repository / name / "config.pbtxt").write_text(config)


@pytest.mark.usefixtures("repository")
def test_a_repository_that_is_found_gets_a_study_that_runs(tmp_path: Path) -> None:
    made = tune("init", cwd=tmp_path)
    assert made.returncode == 0, made.stderr
    assert made.stdout == "study.yaml  (next: tune study.yaml)\n"
    assert "found in models" in made.stderr
    spec = load_study(tmp_path / "study.yaml").spec
    assert set(spec.space) == {"max_batch_size", "max_queue_delay", "instances", "concurrency"}
    ended = tune("study.yaml", *SMALL, cwd=tmp_path)
    assert ended.returncode in DECIDED, ended.stderr
    assert read_result(tmp_path / "runs/digits/latest").trial(1).state == "complete"
    again = tune("init", cwd=tmp_path)
    assert (again.returncode, again.stdout) == (2, "")
    assert "study.yaml is there already" in again.stderr


def test_several_models_are_listed_with_the_command_of_each_and_each_study_runs(
    repository: Path, tmp_path: Path
) -> None:
    shutil.copytree(STUDIES / "language" / "models" / "language", repository / "language")
    write_model(repository, "sums", SUM)
    made = tune("init", "models", cwd=tmp_path)
    assert made.returncode == 2
    commands = [line.strip() for line in made.stderr.splitlines()[1:]]
    names = ["digits", "language", "sums"]
    assert commands == [f"tune init models --model {name}" for name in names]
    assert not list(tmp_path.glob("*.yaml"))
    for name, command in zip(names, commands, strict=True):
        assert tune(*command.split()[1:], "--to", name, cwd=tmp_path).returncode == 0
        ended = tune("study.yaml", *SMALL, *UNCONFIRMED, cwd=tmp_path / name)
        assert ended.returncode == 4, ended.stderr
        yours, tried = read_result(tmp_path / name / "runs" / name / "latest").trials
        assert (yours.state, tried.state) == ("complete", "complete")
        assert yours.config != tried.config
        assert all(one.points[0].outcomes["ok"] > 0 for one in (yours, tried))
    missing = tune("init", "models", "--model", "digit", cwd=tmp_path)
    assert (missing.returncode, missing.stdout) == (3, "")
    assert "did you mean 'digits'" in missing.stderr


def test_commands_that_are_named_can_be_pasted_where_a_folder_has_a_blank(repository: Path, tmp_path: Path) -> None:
    spaced = repository.rename(tmp_path / "my models")
    write_model(spaced, "sums", SUM)
    made = tune("init", "my models", cwd=tmp_path)
    commands = [line.strip() for line in made.stderr.splitlines()[1:]]
    assert commands == [f"tune init 'my models' --model {name}" for name in ("digits", "sums")]
    written = tune(*shlex.split(commands[1])[1:], "--to", "my study", cwd=tmp_path)
    assert written.stdout == "my study/study.yaml  (next: tune 'my study/study.yaml')\n"


@pytest.mark.parametrize(
    ("config", "knobs"),
    [
        ("max_batch_size: 0", {"instances"}),
        ("max_batch_size: 4\nsequence_batching { }", {"instances"}),
        ("max_batch_size: 4\ninstance_group [ { count: 1 }, { count: 2 } ]", {"max_batch_size", "max_queue_delay"}),
        ("ensemble_scheduling { step [ ] }", set()),
    ],
)
def test_only_the_knobs_that_fit_a_model_are_searched(config: str, knobs: set[str], tmp_path: Path) -> None:
    """An ensemble, and one that forms no batches of its own: what cannot be changed is no knob of the study."""
    (tmp_path / "models").mkdir()
    takes = 'input [ { name: "ids" data_type: TYPE_INT64 dims: [ -1 ] } ]'
    add(tmp_path / "models", "no", f'name: "no"\n{config}\n{takes}\n')
    assert tune("init", cwd=tmp_path).returncode == 0
    study = load_study(tmp_path / "study.yaml")
    assert set(study.spec.space) == knobs | {"concurrency"}
    assert study.spec.target.model == "no", "a name that YAML would take for a truth value"
    drawn = study.spec.workloads["steady"].requests
    assert drawn is not None
    assert drawn.shapes == {"ids": ["axis1"]}
    assert prepare(study, tmp_path / "log.txt").workloads


def test_a_model_that_does_not_say_what_it_takes_needs_a_file_of_requests(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    add(tmp_path / "models", "plain", 'name: "plain"\nmax_batch_size: 2\n')
    assert tune("init", cwd=tmp_path).returncode == 0
    drawn = load_study(tmp_path / "study.yaml").spec.workloads["steady"].requests
    assert drawn is not None
    assert (drawn.source, drawn.path) == ("dataset", Path("requests.npz"))


def test_a_decoupled_model_is_asked_over_a_stream_and_has_knobs(tmp_path: Path) -> None:
    write_model(tmp_path / "models", "counter", COUNTER)
    assert tune("init", cwd=tmp_path).returncode == 0
    study = load_study(tmp_path / "study.yaml")
    assert study.spec.target.streams
    assert prepare(study, tmp_path / "log.txt").workloads
    told = tune("knobs", "triton", "--model", "counter", "--repository", "models", "--json", cwd=tmp_path)
    assert told.returncode == 0, told.stderr
    rows = {row["knob"]: row for row in json.loads(told.stdout)}
    assert rows["instances"]["now"] == "1"
    assert rows["response_cache"]["legal"].startswith("not here: ")


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["nowhere"], 2, "no folder 'nowhere', and no starter study of that name; there are: triton, digits"),
        (["models/digits"], 3, "models/digits is the folder of one model; give the repository that it stands in"),
        (["empty"], 3, "empty: no folder in it holds a config.pbtxt"),
        (["--url", "localhost:8000"], 3, "expected http://HOST:PORT, https://HOST or grpc://HOST:PORT"),
        (["--url", "http://127.0.0.1:9"], 3, "http://127.0.0.1:9 does not answer"),
    ],
)
@pytest.mark.usefixtures("repository")
def test_a_place_that_cannot_be_used_is_named(arguments: list[str], code: int, message: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    made = tune("init", *arguments, cwd=tmp_path)
    assert (made.returncode, made.stdout) == (code, "")
    assert message in made.stderr
    assert len(made.stderr.splitlines()) == 1


def test_two_places_at_once_are_one_too_many(tmp_path: Path) -> None:
    made = tune("init", "models", "--url", "http://127.0.0.1:9", cwd=tmp_path)
    assert made.returncode == 2
    assert made.stderr == "tune: give one of FOLDER, KIND, --url and --from-model-analyzer\n"


@pytest.mark.parametrize("scheme", ["http", "grpc"])
def test_a_server_that_runs_is_asked_for_its_models_and_gets_a_study_that_runs(scheme: str, tmp_path: Path) -> None:
    ports = choose_ports({"http": None, "grpc": None})
    options = {"http_port": ports["http"], "grpc_port": ports["grpc"], "protocol": "grpc"}
    theirs = triton_target(tmp_path / "theirs.txt", model="digits", repository=STUDIES / "digits" / "models", **options)
    try:
        theirs.start()
        theirs.deploy(theirs.user_config(), "theirs")
        url = f"{scheme}://127.0.0.1:{ports[scheme]}"
        made = tune("init", "--url", url, cwd=tmp_path)
        assert made.returncode == 0, made.stderr
        assert load_study(tmp_path / "study.yaml").spec.target.kind == "kserve"
        ended = tune("study.yaml", *SMALL, cwd=tmp_path)
        assert ended.returncode in DECIDED, ended.stderr
        (point,) = read_result(tmp_path / "runs/digits__theirs/latest").trial(0).points
        assert point.outcomes["ok"] > 0
        missing = tune("init", "--url", url, "--model", "digit", "--to", "there", cwd=tmp_path)
        assert missing.returncode == 3
        assert "has no model 'digit' that is ready; it has: " in missing.stderr
    finally:
        theirs.stop()
