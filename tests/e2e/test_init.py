"""Studies that `tune init` writes for models that it finds: they are valid, and they run."""

import json
import shlex
import shutil
from pathlib import Path

import pytest

from tests.support.foreign_triton import foreign_triton
from tests.support.triton_models import COUNTER, SUM, write_alone, write_model
from tests.support.tune import tune
from tuner.results import read_result
from tuner.study.load import load_study
from tuner.wiring import prepare

pytestmark = pytest.mark.long

STUDIES = Path(__file__).parents[2] / "studies"
SMALL = [
    "--trials", "1", "--set", "space.concurrency=[2]", "--set", "slo={p90: 900 ms, error_rate: 10%}",
    "--set", "measure.warmup=0.1 s", "--set", "measure.max_warmup=0.2 s",
    "--set", "measure.window=0.2 s", "--set", "measure.max_window=0.3 s",
    "--set", "confirm.redeployments=2", "--set", "confirm.max_redeployments=2", "--set", "confirm.rounds=2",
    "--set", "confirm.round=0.2 s",
]  # fmt: skip
UNCONFIRMED = ["--set", "slo.mean=1 us"]
"""No server answers within this: two configurations are measured, and there is none to confirm.

A percentile so low would call each request that was sent a millisecond late a spoiled measurement.
"""
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


def test_a_repository_that_is_found_gets_a_study_that_runs_and_so_does_the_starter_filled_in_for_it(
    repository: Path, tmp_path: Path
) -> None:
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
    study = fill_in(repository, tmp_path / "filled")
    ended = tune("study.yaml", *SMALL, *UNCONFIRMED, cwd=study.parent)
    assert ended.returncode == 4, ended.stderr
    yours, tried = read_result(study.parent / "runs/digits/latest").trials
    for point in (*yours.points, *tried.points):
        assert point.outcomes["ok"] > 0, (point.workload, point.outcomes)


def fill_in(repository: Path, folder: Path) -> Path:
    """Write the starter that no model was found for, and fill its marked lines in for digits; return the study."""
    folder.mkdir()
    made = tune("init", cwd=folder)
    assert "so a study to fill in; for your models: tune init FOLDER, or --url URL" in made.stderr
    assert "`tune init digits` writes one that runs as it is" in made.stderr
    shutil.copytree(repository, folder / "models")
    shutil.copy(STUDIES / "digits" / "test.npz", folder / "requests.npz")
    study = folder / "study.yaml"
    lines = study.read_text().splitlines(keepends=True)
    study.write_text("".join(line.replace("my_model", "digits") if "# <-" in line else line for line in lines))
    return study


def test_several_models_are_listed_with_the_command_of_each_and_each_study_runs(
    repository: Path, tmp_path: Path
) -> None:
    """One of them is without a configuration: Triton completes it, and it gets a file with what was tuned."""
    shutil.copytree(STUDIES / "language" / "models" / "language", repository / "language")
    write_alone(repository, "twice", fixed=True)
    made = tune("init", "models", cwd=tmp_path)
    assert made.returncode == 2
    commands = [line.strip() for line in made.stderr.splitlines()[1:]]
    names = ["digits", "language", "twice"]
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
    check_the_file_of(repository, "twice", tmp_path / "twice")
    missing = tune("init", "models", "--model", "digit", cwd=tmp_path)
    assert (missing.returncode, missing.stdout) == (3, "")
    assert "did you mean 'digits'" in missing.stderr


def check_the_file_of(repository: Path, model: str, folder: Path) -> None:
    """Check what a run of a model without a configuration writes: Triton is not asked for it again."""
    assert set(load_study(folder / "study.yaml").spec.space) == {"max_queue_delay", "instances", "concurrency"}
    run = folder / "runs" / model / "latest"
    log = (run / "log.txt").read_text()
    shown = tune("export", run, "--trial", "1", "--diff", "--no-header", cwd=folder)
    assert "+instance_group {" in shown.stdout, shown.stderr
    assert "input" not in shown.stdout
    applied = tune("export", run, "--trial", "1", "--apply", "--no-header", cwd=folder)
    assert applied.returncode == 0, applied.stderr
    assert (run / "log.txt").read_text() == log
    assert "instance_group {\n  count: " in (repository / model / "config.pbtxt").read_text()


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
    gives = 'output [ { name: "scores" data_type: TYPE_FP32 dims: [ -1 ] } ]'
    add(tmp_path / "models", "no", f'name: "no"\n{config}\n{takes}\n{gives}\n')
    assert tune("init", cwd=tmp_path).returncode == 0
    study = load_study(tmp_path / "study.yaml")
    assert set(study.spec.space) == knobs | {"concurrency"}
    assert study.spec.target.model == "no", "a name that YAML would take for a truth value"
    drawn = study.spec.workloads["steady"].requests
    assert drawn is not None
    assert drawn.shapes == {"ids": ["axis1"]}
    assert prepare(study, tmp_path / "log.txt").workloads


def test_a_model_that_does_not_say_what_it_takes_needs_a_file_of_requests(tmp_path: Path) -> None:
    """Where there is no Triton that could be asked."""
    (tmp_path / "models").mkdir()
    add(tmp_path / "models", "plain", 'name: "plain"\nmax_batch_size: 2\n')
    assert tune("init", cwd=tmp_path, TRITONSERVER=str(tmp_path / "nowhere")).returncode == 0
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
        (["empty"], 3, "empty: no folder in it holds a config.pbtxt, or a version"),
        (["bare"], 3, "bare: no folder in it holds a config.pbtxt, or a version of a model (1/model.*), and"),
        (["--url", "localhost:8000"], 3, "expected http://HOST:PORT, https://HOST, grpc://HOST:PORT or grpcs://HOST"),
        (["--url", "http://127.0.0.1:9"], 3, "http://127.0.0.1:9 does not answer"),
    ],
)
@pytest.mark.usefixtures("repository")
def test_a_place_that_cannot_be_used_is_named(arguments: list[str], code: int, message: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "bare" / "resnet" / "1").mkdir(parents=True)
    made = tune("init", *arguments, cwd=tmp_path)
    assert (made.returncode, made.stdout) == (code, "")
    assert message in made.stderr
    assert len(made.stderr.splitlines()) == 1


def test_two_places_at_once_are_one_too_many(tmp_path: Path) -> None:
    made = tune("init", "models", "--url", "http://127.0.0.1:9", cwd=tmp_path)
    assert made.returncode == 2
    assert made.stderr == "tune: give one of FOLDER, KIND, --url and --from-model-analyzer\n"


@pytest.mark.parametrize(("protocol", "mode"), [("http", "explicit"), ("grpc", "none")])
def test_a_triton_that_runs_is_asked_for_its_models_and_gets_a_study_that_runs(
    protocol: str, mode: str, tmp_path: Path
) -> None:
    with foreign_triton(tmp_path / "theirs", mode) as theirs:
        url = theirs.url if protocol == "http" else theirs.grpc_url
        before = theirs.config()
        made = tune("init", "--url", url, cwd=tmp_path)
        assert made.returncode == 0, made.stderr
        study = tmp_path / "study.yaml"
        spec = load_study(study).spec
        assert (spec.target.kind, set(spec.space)) == ("triton", {"concurrency"})
        assert ("It does not let models be loaded." in study.read_text()) == (mode == "none")
        offered = uncomment(study, "max_batch_size", "max_queue_delay", "instances")
        assert len(offered) == (3 if mode == "explicit" else 0)
        ended = tune("study.yaml", *SMALL, cwd=tmp_path)
        assert ended.returncode in DECIDED, ended.stderr
        result = read_result(tmp_path / "runs/digits/latest")
        assert result.trial(0).points[0].outcomes["ok"] > 0
        assert len(result.trials) == (2 if offered else 1)
        assert theirs.config() == before
        missing = tune("init", "--url", url, "--model", "digit", "--to", "there", cwd=tmp_path)
        assert missing.returncode == 3
        assert "has no model 'digit' that is ready; it has: digits" in missing.stderr


def uncomment(study: Path, *knobs: str) -> list[str]:
    """Make the lines of knobs that a study has as comments part of it; return them."""
    lines = study.read_text().splitlines(keepends=True)
    found = [line for line in lines if line.startswith(tuple(f"  # {knob}: " for knob in knobs))]
    study.write_text("".join(line.replace("# ", "", 1) if line in found else line for line in lines))
    return found
